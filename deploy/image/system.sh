#!/bin/sh
# The system part of the image's last stage: the interpreter, tini and the user; and
# nothing that differs from one build to the next.
set -eu

fail() {
    printf 'the image cannot be built: %s\n' "$1" >&2
    exit 1
}

for each in USER_ID GROUP_ID; do
    eval "value=\${$each}"
    case $value in
        '' | *[!0-9]*) fail "$each=$value is not a number" ;;
    esac
    [ "$value" -gt 0 ] || fail "$each=$value is root's; the router does not run as root"
done

export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -qq -y --no-install-recommends python3 tini >/dev/null
apt-get clean

printf 'autopilot:x:%s:\n' "$GROUP_ID" >>/etc/group
printf 'autopilot:x:%s:%s:chutes-autopilot:/run/autopilot:/usr/sbin/nologin\n' "$USER_ID" "$GROUP_ID" >>/etc/passwd
mkdir -p /run/autopilot /etc/ssl/certs

library=$(echo /usr/lib/python3.[0-9]*)
# What a server without a terminal has no use for; bytecode of what is used comes in a layer of its own.
rm -rf "$library"/ensurepip "$library"/idlelib "$library"/lib2to3 "$library"/pydoc_data "$library"/curses \
    "$library"/tkinter "$library"/turtle* "$library"/test "$library"/unittest/test "$library"/distutils \
    "$library"/sqlite3 "$library"/dbm "$library"/lib-dynload/_test* "$library"/lib-dynload/_codecs_* \
    "$library"/lib-dynload/_sqlite3* "$library"/lib-dynload/nis* "$library"/lib-dynload/readline* \
    "$library"/lib-dynload/_curses* "$library"/_pydecimal.py "$library"/pydoc.py
dpkg --purge --force-depends libsqlite3-0 libnsl2 libtirpc3 libtirpc-common libgssapi-krb5-2 libkrb5-3 \
    libk5crypto3 libkrb5support0 libkeyutils1 libncursesw6 libreadline8 readline-common >/dev/null 2>&1
find /usr/lib/python3 "$library" -name __pycache__ -type d -prune -exec rm -rf {} +
rm -rf /usr/share/doc/* /usr/share/man/* /usr/share/lintian \
    /usr/share/locale/* /usr/bin/tini-static /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/* /var/lib/dpkg/*-old /var/log/* \
    /var/cache/ldconfig/aux-cache /etc/ld.so.cache~ /etc/machine-id /var/lib/dbus
rm -rf /tmp/hsperfdata* /root/.cache

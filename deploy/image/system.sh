#!/bin/sh
# The system part of the image's last stage: `check` validates the router's user and group; `install`
# adds the interpreter, tini and that user, and removes everything that differs between two builds.
set -eu
umask 022

fail() {
    printf 'the image cannot be built: %s\n' "$1" >&2
    exit 1
}

check() {
    for each in "USER_ID=$USER_ID" "GROUP_ID=$GROUP_ID"; do
        value=${each#*=}
        case $value in
            '' | *[!0-9]*) fail "$each is not a number" ;;
        esac
        [ "$value" -gt 0 ] || fail "$each is root's; choose a number above 0, because the router does not run as root"
    done
}

packages() {
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq -o Acquire::Retries=3
    apt-get install -qq -y -o Acquire::Retries=3 --no-install-recommends python3 tini >/dev/null
    apt-get clean

    printf 'autopilot:x:%s:\n' "$GROUP_ID" >>/etc/group
    printf 'autopilot:x:%s:%s:chutes-autopilot:/run/autopilot:/usr/sbin/nologin\n' "$USER_ID" "$GROUP_ID" >>/etc/passwd
    mkdir -p /run/autopilot /etc/ssl/certs
}

# Remove what a server without a terminal does not need, and what differs between two builds.
trim() {
    library=$(echo /usr/lib/python3.[0-9]*)
    # Python treats a charset without a table like one that does not exist.
    for each in ensurepip idlelib lib2to3 pydoc_data curses tkinter turtle.py turtledemo test unittest distutils \
        sqlite3 dbm multiprocessing xml/dom xml/etree _pydecimal.py _pyio.py pydoc.py doctest.py pickletools.py; do
        rm -rf "${library:?}/$each"
    done
    rm -rf "$library"/lib-dynload/_test* "$library"/lib-dynload/_codecs_* "$library"/lib-dynload/_sqlite3* \
        "$library"/lib-dynload/nis* "$library"/lib-dynload/readline* "$library"/lib-dynload/_curses*
    find "$library/encodings" \( -name 'cp[0-9]*' -o -name 'iso*' -o -name 'mac_*' -o -name 'koi8*' \
        -o -name '*_jis*' -o -name '*jisx*' -o -name 'euc_*' -o -name 'big5*' -o -name 'gb*' \) \
        ! -name 'cp437.py' ! -name 'cp1252.py' ! -name 'iso8859_1.py' ! -name 'iso8859_15.py' -delete
    dpkg --purge --force-depends libsqlite3-0 libnsl2 libtirpc3 libtirpc-common libgssapi-krb5-2 libkrb5-3 \
        libk5crypto3 libkrb5support0 libkeyutils1 libncursesw6 libreadline8 readline-common >/dev/null 2>&1
    find /usr/lib/python3 "$library" -name __pycache__ -type d -prune -exec rm -rf {} +
    rm -rf /usr/lib/*/ossl-modules /usr/lib/*/libexpatw.so* /usr/bin/tini-static /usr/share/python3 \
        /usr/share/applications /usr/share/binfmts /usr/share/bug /usr/share/doc-base /usr/share/pixmaps \
        /usr/share/man/* /usr/share/locale/* /usr/share/lintian
    # The licences of the redistributed packages must stay.
    find /usr/share/doc ! -type d ! -name copyright -delete
    rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/* /var/lib/dpkg/*-old /var/log/* \
        /var/lib/dpkg/info/libssl3*.symbols /var/lib/dbus /etc/machine-id \
        /var/cache/ldconfig/aux-cache /etc/ld.so.cache~
    rm -rf /tmp/hsperfdata* /root/.cache
}

case $1 in
    check)
        check
        ;;
    install)
        check
        packages
        trim
        ;;
esac

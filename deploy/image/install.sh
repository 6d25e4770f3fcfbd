#!/bin/sh
# The two steps of the Dockerfile that install Python packages: `dependencies` from the hashed lock
# into /opt/autopilot, `application` as a wheel into /build/application, which is laid over it.
set -eu
umask 022
home=/opt/autopilot
[ ! -s /run/secrets/ca ] || export PIP_CERT=/run/secrets/ca

fail() {
    printf 'the image cannot be built: %s\n' "$1" >&2
    exit 1
}

# Hashes are in the lock; whatever does not match them is refused.
locked() {
    lock=$1
    shift
    [ -s "$lock" ] || fail "$lock is missing; 'make locks' writes it"
    "$@" install --quiet --no-compile --require-hashes --only-binary=:all: --requirement "$lock" ||
        fail "what $lock names could not be installed as it is locked"
}

dependencies() {
    python3 -m venv --without-pip "$home"
    python3 -m venv /build/tools
    locked runtime.txt /build/tools/bin/python -m pip --python "$home/bin/python"
    packages=$(echo "$home"/lib/python3*/site-packages)
    # What only tests, documentation and compilers use, and protocols that are not spoken here. Twisted's
    # other plugins would each be imported at every start, to be offered by a `twistd` that is here for one.
    find "$packages" -type d \( -name test -o -name tests \) -prune -exec rm -rf {} +
    find "$packages" \( -name '*.pyi' -o -name '*.c' -o -name '*.h' -o -name '*.pyx' -o -name '*.pxd' \) -delete
    find "$packages/twisted/plugins" -name 'twisted_*.py' -delete
    for each in conch mail names news pair positioning runner trial words; do
        rm -rf "$packages/twisted/$each"
    done
    find "$home/bin" -type f ! -name twistd -delete
    rm -rf "$home/include" "$packages/pycparser" "$packages/cffi" "$packages/werkzeug/debug/shared" \
        "$packages/packaging/licenses"
    find "$packages" -path '*.dist-info/RECORD' -delete
    find "$packages" -name '*.so' -exec strip --strip-unneeded {} +
}

application() {
    locked build.txt /build/tools/bin/python -m pip
    /build/tools/bin/python -m hatchling build --target wheel --directory /build/wheel >/dev/null
    /build/tools/bin/python -m pip --python "$home/bin/python" install --quiet --no-compile --no-deps --no-index \
        --prefix /build/application /build/wheel/*.whl
    find /build/application -name direct_url.json -delete
    bytecode
}

# Bytecode of what is imported, used as it is whatever the timestamps of the sources become.
bytecode() {
    cp -a /build/application/. "$home/"
    find "$home" /usr/lib/python3* -name __pycache__ -type d -prune -exec rm -rf {} +
    "$home/bin/python" -B imported.py >imported.txt || fail 'the router cannot be imported'
    # The order of a set's constants would follow the hash seed.
    PYTHONHASHSEED=0 python3 -m compileall -q -f --invalidation-mode unchecked-hash -i imported.txt
    find "$home" /usr/lib/python3* -name '*.pyc' >bytecode.txt
    mkdir bytecode
    tar --create --files-from=bytecode.txt --absolute-names | tar --extract --directory=bytecode
}

"$1"

#!/bin/sh
# Run one of the Dockerfile's two steps that install Python packages: `dependencies` from the hashed
# lock into /opt/autopilot, `application` as a wheel into /build/application, which is copied over it.
set -eu
umask 022
home=/opt/autopilot
[ ! -s /run/secrets/ca ] || export PIP_CERT=/run/secrets/ca

fail() {
    printf 'the image cannot be built: %s\n' "$1" >&2
    exit 1
}

# Install a lock's packages; pip rejects any file that does not match its hash.
locked() {
    lock=$1
    shift
    [ -s "$lock" ] || fail "$lock is missing; 'make locks' writes it"
    "$@" install --quiet --no-compile --require-hashes --only-binary=:all: --requirement "$lock" ||
        fail "pip could not install $lock; its output is above"
}

dependencies() {
    python3 -m venv --without-pip "$home"
    python3 -m venv /build/tools
    locked private.txt /build/tools/bin/python -m pip --python "$home/bin/python"
    packages=$(echo "$home"/lib/python3*/site-packages)
    # Remove what only tests, documentation and compilers use, and unused protocols. `twistd` imports each
    # of Twisted's plugins at every start, but only the router's is needed.
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

# Compile the imported modules; unchecked hashes make the bytecode independent of timestamps.
bytecode() {
    cp -a /build/application/. "$home/"
    find "$home" /usr/lib/python3* -name __pycache__ -type d -prune -exec rm -rf {} +
    "$home/bin/python" -B imported.py >imported.txt || fail 'the router cannot be imported'
    # Without a fixed hash seed the order of constants in sets would differ between builds.
    PYTHONHASHSEED=0 python3 -m compileall -q -f --invalidation-mode unchecked-hash -i imported.txt
    find "$home" /usr/lib/python3* -name '*.pyc' >bytecode.txt
    mkdir bytecode
    tar --create --files-from=bytecode.txt --absolute-names | tar --extract --directory=bytecode
}

"$1"

#!/bin/sh
# Build the image, tagged with the version: with Docker if an engine is running, else with buildah as
# root. Variables, all optional:
#   BASE      another base image, possibly as name@digest; if buildah can reach no registry, it builds a
#             base from Debian's packages instead
#   TARGET    `router` or `stub`
#   USER_ID, GROUP_ID   the user and group that the router runs as
#   CA_FILE   the certificate authorities for downloads during the build, by default this machine's; the
#             image does not contain them
#   WORK      the folder of buildah's storage and of the result
#   FORMAT    `docker` or `oci` (which has no health check)
#   LAYERS    `no` caches no layers, which makes a single build faster
set -eu
umask 022
cd "$(dirname "$0")/../.."

fail() {
    printf 'the image was not built: %s\n' "$1" >&2
    exit 1
}

BASE=${BASE:-debian:bookworm-slim}
TARGET=${TARGET:-router}
USER_ID=${USER_ID:-10001}
GROUP_ID=${GROUP_ID:-10001}
FORMAT=${FORMAT:-docker}
LAYERS=${LAYERS:-yes}
WORK=${WORK:-build/image}
[ -n "${CA_FILE+given}" ] || CA_FILE=$(ls /etc/ssl/certs/ca-certificates.crt 2>/dev/null || :)

case $TARGET in
    router) name=chutes-autopilot ;;
    stub) name=chutes-autopilot-stub ;;
    *) fail "TARGET=$TARGET is neither router nor stub" ;;
esac
case $FORMAT in docker | oci) ;; *) fail "FORMAT=$FORMAT is neither docker nor oci" ;; esac
case $LAYERS in yes | no) ;; *) fail "LAYERS=$LAYERS is neither yes nor no" ;; esac
[ -z "$CA_FILE" ] || [ -r "$CA_FILE" ] || fail "CA_FILE=$CA_FILE cannot be read"
USER_ID=$USER_ID GROUP_ID=$GROUP_ID sh deploy/image/system.sh check || exit 1
for lock in locks/runtime.txt locks/private.txt locks/build.txt; do
    [ -s "$lock" ] || fail "$lock is missing; 'make locks' writes it"
done
"${PYTHON:-python3}" tools/locks.py || exit 1

version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' autopilot/_version.py)
REVISION=${REVISION:-$(git rev-parse HEAD 2>/dev/null || echo unknown)}
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
export SOURCE_DATE_EPOCH
image=$name:$version

with() {
    "$@" --build-arg "VERSION=$version" --build-arg "REVISION=$REVISION" \
        --build-arg "USER_ID=$USER_ID" --build-arg "GROUP_ID=$GROUP_ID" --build-arg "BASE=$BASE" \
        ${CA_FILE:+--secret "id=ca,src=$CA_FILE"} --target "$TARGET" --tag "$image" .
}

storage() {
    buildah --storage-driver vfs --root "$WORK/storage" --runroot "$WORK/run" "$@"
}

# Without a registry, build the base from the same packages, downloaded from Debian.
base_of_packages() {
    command -v mmdebstrap >/dev/null || fail "$BASE cannot be pulled, and mmdebstrap is not installed"
    echo "$BASE cannot be pulled; building a base from Debian's packages"
    mmdebstrap --quiet --variant=minbase --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
        --dpkgopt='path-exclude=/usr/share/locale/*' \
        bookworm "$WORK/base.tar" >/dev/null || fail "mmdebstrap could not build a base from Debian's packages"
    printf 'FROM scratch\nADD base.tar /\n' >"$WORK/base.containerfile"
    storage build --quiet --timestamp "$SOURCE_DATE_EPOCH" --file "$WORK/base.containerfile" \
        --tag localhost/base "$WORK" >/dev/null
    BASE=localhost/base
}

if docker info >/dev/null 2>&1; then
    DOCKER_BUILDKIT=1 with docker build --build-arg "SOURCE_DATE_EPOCH=$SOURCE_DATE_EPOCH"
    docker image inspect --format "$image: {{.Size}} bytes" "$image"
    exit
fi
command -v buildah >/dev/null || fail 'no Docker engine is running, and buildah is not installed'
[ "$(id -u)" = 0 ] || fail 'buildah needs root; run as root, or start a Docker engine'
export BUILDAH_ISOLATION=chroot
mkdir -p "$WORK"
if storage inspect --type image localhost/base >/dev/null 2>&1; then
    BASE=localhost/base
else
    storage pull --quiet "$BASE" >/dev/null 2>&1 || base_of_packages
fi
case $LAYERS in yes) layers=--layers ;; no) layers=--no-cache ;; esac
with storage build "$layers" --format "$FORMAT" --pull=never --network=host --timestamp "$SOURCE_DATE_EPOCH"
archive=$WORK/$name-$version.tar
rm -f "$archive"
storage push --quiet "$image" "$FORMAT-archive:$archive:$image"
echo "$image: $(stat -c %s "$archive") bytes in $archive (base included); docker load --input $archive"

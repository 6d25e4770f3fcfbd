#!/bin/sh
# Builds the image, tagged with the version: with Docker where an engine answers, else with buildah (as
# root, without one). Variables, all optional:
#   BASE      another base image, by name@digest if you like; where no registry can be reached buildah
#             makes a base of Debian's packages instead
#   TARGET    `router` or `stub`
#   USER_ID, GROUP_ID   who the router runs as
#   CA_FILE   certificate authorities that downloads during the build trust; by default this machine's.
#             They do not become part of the image
#   WORK      the folder of buildah's storage and of what is made; FORMAT is `docker` or `oci` (which has
#             no health check); LAYERS=no keeps nothing between the steps, which is quicker, once
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
for lock in locks/runtime.txt locks/build.txt; do
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

# Where no registry answers: the same packages, from Debian itself.
base_of_packages() {
    command -v mmdebstrap >/dev/null || fail "$BASE cannot be pulled, and mmdebstrap is not installed"
    echo "$BASE cannot be pulled; making a base of Debian's packages"
    mmdebstrap --quiet --variant=minbase --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
        --dpkgopt='path-exclude=/usr/share/locale/*' \
        bookworm "$WORK/base.tar" >/dev/null || fail "no base could be made of Debian's packages"
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
command -v buildah >/dev/null || fail 'neither an engine of Docker answers nor is buildah installed'
[ "$(id -u)" = 0 ] || fail 'without an engine buildah needs root'
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

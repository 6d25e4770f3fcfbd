#!/bin/sh
# Builds the image, tagged with the version: with Docker where an engine answers, else with buildah (as
# root, without one). BASE is another base image, by name@digest if you like; where no registry can be
# reached buildah gets a base from Debian's packages instead. CA_FILE is a certificate authority that
# downloads during the build are to trust besides the usual ones. TARGET is `router` or `stub`.
set -eu
cd "$(dirname "$0")/../.."

fail() {
    printf 'the image was not built: %s\n' "$1" >&2
    exit 1
}

BASE=${BASE:-debian:bookworm-slim}
TARGET=${TARGET:-router}
case $TARGET in
    router) name=chutes-autopilot ;;
    stub) name=chutes-autopilot-stub ;;
    *) fail "TARGET=$TARGET is neither router nor stub" ;;
esac
for lock in requirements.lock requirements-build.lock; do
    [ -s "$lock" ] || fail "$lock is missing; 'make lock' writes it"
done
"${PYTHON:-python3}" tests/packaging/locks.py || exit 1

version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' autopilot/__init__.py)
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
export SOURCE_DATE_EPOCH
image=$name:$version
work=build/image

with() {
    "$@" --build-arg "VERSION=$version" --build-arg "REVISION=$revision" \
        ${CA_FILE:+--secret "id=ca,src=$CA_FILE"} \
        ${USER_ID:+--build-arg "USER_ID=$USER_ID"} ${GROUP_ID:+--build-arg "GROUP_ID=$GROUP_ID"} \
        --target "$TARGET" --tag "$image" .
}

storage() {
    buildah --storage-driver vfs --root "$work/storage" --runroot "$work/run" "$@"
}

# Where no registry answers: the same packages, from Debian itself.
base_of_packages() {
    command -v mmdebstrap >/dev/null || fail "$BASE cannot be pulled, and mmdebstrap is not installed"
    echo "$BASE cannot be pulled; making a base of Debian's packages"
    mmdebstrap --quiet --variant=minbase --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        bookworm "$work/base.tar" >/dev/null
    printf 'FROM scratch\nADD base.tar /\n' >"$work/base.containerfile"
    storage build --quiet --timestamp "$SOURCE_DATE_EPOCH" --file "$work/base.containerfile" \
        --tag localhost/base "$work" >/dev/null
    BASE=localhost/base
}

if docker info >/dev/null 2>&1; then
    DOCKER_BUILDKIT=1 with docker build --build-arg "BASE=$BASE" --build-arg "SOURCE_DATE_EPOCH=$SOURCE_DATE_EPOCH"
    docker image inspect --format "$image: {{.Size}} bytes" "$image"
    exit
fi
command -v buildah >/dev/null || fail 'neither an engine of Docker answers nor is buildah installed'
[ "$(id -u)" = 0 ] || fail 'without an engine buildah needs root'
export BUILDAH_ISOLATION=chroot
mkdir -p "$work"
if ! storage inspect --type image localhost/base >/dev/null 2>&1; then
    storage pull --quiet "$BASE" >/dev/null 2>&1 || base_of_packages
else
    BASE=localhost/base
fi
# Only Docker's format has a health check.
with storage build --layers --format docker --pull=never --network=host --timestamp "$SOURCE_DATE_EPOCH" \
    --build-arg "BASE=$BASE"
archive=$work/$name-$version.tar
rm -f "$archive"
storage push --quiet "$image" "docker-archive:$archive:$image"
echo "$image: $(stat -c %s "$archive") bytes in $archive (base included); docker load --input $archive"

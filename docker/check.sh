#!/usr/bin/env bash
# Builds the image and serves from it without a Docker engine, with buildah, as root. Other arguments
# go to `buildah bud`, for instance
#
#   docker/check.sh --volume /srv/wheels:/wheels:ro --volume "$PWD/pip.conf:/etc/pip.conf:ro" --build-arg TORCH_INDEX=
#
# The server runs as in docker-compose.yml: as the image's own user, on a root that nobody can write.
# A picture goes to a stream and back.
#   BASE   image to build on; unset, a Debian made with debootstrap
#   WORK   folder for images and logs, a few GB; unset, a temporary one that is removed at the end
set -euo pipefail
cd "$(dirname "$0")/.."

work=${WORK:-$(mktemp -d)}
port=${PORT:-18000}
mkdir -p "$work"
build=(buildah --storage-driver vfs --root "$work/containers" --runroot "$work/run")
server=

# Signals do not pass through buildah: the service itself is some generations below it.
stop() {
    local process=$server
    while [[ -n $process && $(cat "/proc/$process/comm" 2>/dev/null) != ziggurat ]]; do
        process=$(pgrep --parent "$process" | head -n 1)
    done
    [[ -z $process ]] || kill -TERM "$process"
    wait "$server" || true
    server=
}

clean() {
    [[ -z $server ]] || stop
    "${build[@]}" rm --all >/dev/null 2>&1 || true
    [[ -n ${WORK:-} ]] || rm -rf "$work"
}
trap clean EXIT

if [[ -z ${BASE:-} ]]; then
    BASE=localhost/python:bookworm
    if ! "${build[@]}" inspect --type image "$BASE" >/dev/null 2>&1; then
        debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv bookworm "$work/debian" >"$work/debootstrap.log"
        rm -rf "$work"/debian/var/cache/apt/archives/*.deb "$work"/debian/var/lib/apt/lists/*
        debian=$("${build[@]}" from scratch)
        "${build[@]}" add --quiet "$debian" "$work/debian" / >/dev/null
        "${build[@]}" commit --quiet --rm "$debian" "$BASE" >/dev/null
        rm -rf "$work/debian"
    fi
fi

"${build[@]}" bud --isolation chroot --format docker --build-arg BASE="$BASE" --tag ziggurat "$@" . >"$work/build.log" 2>&1 \
    || { tail -n 40 "$work/build.log"; exit 1; }

container=$("${build[@]}" from --pull-never localhost/ziggurat)
root=$("${build[@]}" mount "$container")
echo "image: $(du -sm "$root" | cut -f1) MB, of which $(du -sm "$root/opt/ziggurat" | cut -f1) MB are not its base"

# As Compose's read_only and tmpfs. /run belongs to buildah, which leaves a mark there.
run() {
    unshare --mount bash -c '
        root=$1 && shift
        mount --bind "$root" "$root" && mount -t tmpfs tmpfs "$root/run" && mount -o remount,bind,ro "$root" && exec "$@"
    ' bash "$root" "${build[@]}" run --isolation chroot --env ZIGGURAT_PORT="$port" \
        --volume "$work/data:/data" --mount type=tmpfs,destination=/tmp "$container" -- "$@"
}

install -d -o 10001 -g 10001 "$work/data"
run sh -c 'grep -q "^[^ ]* / [^ ]* ro" /proc/mounts && touch /data/x /tmp/x && rm /data/x && echo "user: $(id -u), root: read-only"'

begun=$SECONDS
run ziggurat serve >"$work/serve.log" 2>&1 &
server=$!
until curl -sf "localhost:$port/readyz" >/dev/null; do
    kill -0 "$server" 2>/dev/null && ((SECONDS - begun < 300)) || { tail -n 40 "$work/serve.log"; exit 1; }
    sleep 0.5
done
echo "ready after $((SECONDS - begun)) s; ziggurat health: $(run ziggurat health)"

curl -sf --data-binary @tests/fixtures/photo.jpg -H 'Content-Type: image/jpeg' \
    "localhost:$port/compress?bpp=0.5" -D "$work/headers" -o "$work/photo.zgt"
location=$(tr -d '\r' <"$work/headers" | sed -n 's/^location: //Ip')
stored=$(cd "$work/data" && ls -- */"${location##*/}.zgt")
cmp "$work/photo.zgt" "$work/data/$stored"
echo "stream: $(run ziggurat info "/data/$stored" --json)"
curl -sf "localhost:$port$location" -o "$work/photo.png"
[[ $(head -c 4 "$work/photo.png" | tail -c 3) == PNG ]]
echo "picture: $(stat -c %s "$work/photo.png") bytes of PNG"

stop
! curl -sf "localhost:$port/livez" >/dev/null && echo "stopped on SIGTERM"

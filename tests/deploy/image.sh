#!/bin/bash
# Builds the image of deploy/Dockerfile without a Docker engine, and unpacks it into a bundle for
# runc. What is up to date is kept: the base for a week, the build's layers by their content.
#
#   tests/deploy/image.sh [WORK]      default WORK: build/deploy-test
#
#   WORK/base.tar      debian:12-slim as debootstrap makes it from this machine's Debian mirror
#   WORK/storage       buildah's images; WORK/oci the image as an OCI layout
#   WORK/bundle        config.json and rootfs, for runc
#   WORK/image.json    the image's configuration as Docker would read it; WORK/size its bytes
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(realpath -m "${1:-build/deploy-test}")
mkdir -p "$work"
say() { printf 'image: %s\n' "$*" >&2; }

# Two at once would build the same twice.
exec 9>"$work/lock"
flock 9

# ---- the base ----

sources=/etc/apt/sources.list.d/debian.sources
[ -e $sources ] || sources=/etc/apt/sources.list
mirror=$(grep -hoE 'https?://[^ ]+/debian/?( |$)' $sources | head -n 1 | tr -d ' ')
mirror=${mirror:-http://deb.debian.org/debian}

make_base() {
    say "debootstrap from $mirror"
    local root=$work/base
    rm -rf "$root"
    debootstrap --variant=minbase bookworm "$root" "$mirror" >"$work/debootstrap.log" 2>&1 ||
        { tail -n 20 "$work/debootstrap.log" >&2; exit 1; }
    # As in the official slim image: no manuals and translations, copyright files kept.
    cat >"$root/etc/dpkg/dpkg.cfg.d/docker" <<'EOF'
path-exclude /usr/share/man/*
path-exclude /usr/share/locale/*
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
EOF
    rm -rf "$root"/usr/share/{man,locale} "$root"/var/cache/apt/archives/*.deb
    rm -f "$root/etc/apt/sources.list"
    cp $sources "$root/etc/apt/$( [ "${sources##*.}" = list ] || echo sources.list.d/)"
    # What apt needs here to reach the mirror.
    apt-config dump | grep -iE '^Acquire::(https?::)?Proxy' >"$root/etc/apt/apt.conf.d/proxy" || true
    tar -C "$root" --one-file-system -cf "$work/base.tar.new" .
    mv "$work/base.tar.new" "$work/base.tar"
    rm -rf "$root"
}

storage=(--root "$work/storage" --runroot "$work/run" --storage-driver "${STORAGE_DRIVER:-overlay}")
base=docker.io/library/debian:12-slim

if [ -z "$(find "$work" -maxdepth 1 -name base.tar -mtime -7)" ]; then
    make_base
    buildah "${storage[@]}" rmi "$base" >/dev/null 2>&1 || true
fi
if ! buildah "${storage[@]}" inspect --type image "$base" >/dev/null 2>&1; then
    say "importing $base"
    container=$(buildah "${storage[@]}" from scratch)
    buildah "${storage[@]}" add -q "$container" "$work/base.tar" / >/dev/null
    buildah "${storage[@]}" config --cmd bash "$container"
    buildah "${storage[@]}" commit -q --rm "$container" "$base" >/dev/null
fi

# ---- the image ----

say "building deploy/Dockerfile"
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
buildah "${storage[@]}" bud --isolation chroot --format docker --layers --pull-never \
    --build-arg "REVISION=$revision" -f deploy/Dockerfile -t rebasind . >"$work/build.log" 2>&1 ||
    { tail -n 40 "$work/build.log" >&2; exit 1; }
buildah "${storage[@]}" inspect --type image rebasind |
    python3 -c 'import json, sys; json.dump(json.load(sys.stdin)["Docker"], sys.stdout)' \
        >"$work/image.json"
rm -rf "$work/oci" "$work/bundle"
buildah "${storage[@]}" push -q rebasind "oci:$work/oci:rebasind"
umoci --log error unpack --image "$work/oci:rebasind" "$work/bundle"
du -sb --apparent-size "$work/bundle/rootfs" | cut -f 1 >"$work/size"
say "$(($(cat "$work/size") / 1000000)) MB unpacked, $(($(du -sb "$work/oci" | cut -f 1) / 1000000)) MB to pull"

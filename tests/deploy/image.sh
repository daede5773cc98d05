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
root=$(realpath "$(dirname "$0")/../..")
work=$(realpath -m "${1:-$root/build/deploy-test}")
mkdir -p "$work"
cd "$root"
SECONDS=0
say() { printf 'image: %3d s  %s\n' "$SECONDS" "$*" >&2; }

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
    local base=$work/base
    # In memory where that is allowed: dpkg syncs each file of each package.
    rm -rf "$base" && mkdir "$base"
    if mount -t tmpfs -o mode=755 base "$base" 2>/dev/null; then trap 'umount "$work/base"' EXIT; fi
    debootstrap --variant=minbase bookworm "$base" "$mirror" >"$work/debootstrap.log" 2>&1 ||
        { tail -n 20 "$work/debootstrap.log" >&2; exit 1; }
    # As in the official slim image: no manuals and translations, copyright files kept, no syncs.
    cat >"$base/etc/dpkg/dpkg.cfg.d/docker" <<'EOF'
force-unsafe-io
path-exclude /usr/share/man/*
path-exclude /usr/share/locale/*
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
EOF
    rm -rf "$base"/usr/share/{man,locale} "$base"/var/cache/apt/archives/*.deb
    rm -f "$base/etc/apt/sources.list"
    cp $sources "$base/etc/apt/$( [ "${sources##*.}" = list ] || echo sources.list.d/)"
    # What apt and npm need here to reach their registries; nothing of it is copied into the image.
    apt-config dump | grep -iE '^Acquire::(https?::)?Proxy' >"$base/etc/apt/apt.conf.d/proxy" || true
    cp /etc/ssl/certs/ca-certificates.crt "$base/etc/machine-ca.crt"
    printf 'registry=%s\ncafile=/etc/machine-ca.crt\n' "$(npm config get registry 2>/dev/null)" \
        >"$base/root/.npmrc"
    tar -C "$base" --one-file-system -cf "$work/base.tar.new" .
    mv "$work/base.tar.new" "$work/base.tar"
    umount "$base" 2>/dev/null || true
    trap - EXIT
    rm -rf "$base"
}

storage=(--root "$work/storage" --runroot "$work/run" --storage-driver "${STORAGE_DRIVER:-overlay}")
slim=docker.io/library/debian:12-slim

if [ -z "$(find "$work" -maxdepth 1 -name base.tar -mtime -7 -newer tests/deploy/image.sh)" ]; then
    make_base
    buildah "${storage[@]}" rmi "$slim" >/dev/null 2>&1 || true
fi
if ! buildah "${storage[@]}" inspect --type image "$slim" >/dev/null 2>&1; then
    say "importing $slim"
    container=$(buildah "${storage[@]}" from scratch)
    buildah "${storage[@]}" add -q "$container" "$work/base.tar" / >/dev/null
    buildah "${storage[@]}" config --cmd bash "$container"
    buildah "${storage[@]}" commit -q --rm "$container" "$slim" >/dev/null
fi

# ---- the image ----

say "buildah: deploy/Dockerfile"
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
buildah "${storage[@]}" bud --isolation chroot --format docker --layers --pull-never \
    --build-arg "REVISION=$revision" -f deploy/Dockerfile -t rebasind . >"$work/build.log" 2>&1 ||
    {
        tail -n 40 "$work/build.log" >&2
        buildah "${storage[@]}" rm --all >/dev/null 2>&1 || true # they stay mounted otherwise
        exit 1
    }
buildah "${storage[@]}" inspect --type image rebasind |
    python3 -c 'import json, sys; json.dump(json.load(sys.stdin)["Docker"], sys.stdout)' \
        >"$work/image.json"
say "umoci: the image as an OCI layout, and unpacked"
rm -rf "$work/oci" "$work/bundle"
buildah "${storage[@]}" push -q rebasind "oci:$work/oci:rebasind"
umoci --log error unpack --image "$work/oci:rebasind" "$work/bundle"
du -sb --apparent-size "$work/bundle/rootfs" | cut -f 1 >"$work/size"
say "$(($(cat "$work/size") / 1000000)) MB unpacked, $(($(du -sb "$work/oci" | cut -f 1) / 1000000)) MB to pull"

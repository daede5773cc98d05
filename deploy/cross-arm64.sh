#!/bin/sh
# Builds rebasind for arm64 on another machine and runs its unit tests under qemu (user mode), with Debian 12's
# cross compiler and Debian's arm64 libraries in a folder of their own: this system's packages are not touched.
#
#   deploy/cross-arm64.sh                the sysroot if it is missing, the daemon, the tests below
#   deploy/cross-arm64.sh test_map ...   other unit tests
#   deploy/cross-arm64.sh --all          every unit test, goldens included (hours; qemu 7.2 has no openat2, which four of them need)
#   deploy/cross-arm64.sh --image OCI    the daemon, and its image for linux/arm64 as an OCI layout: what the Dockerfile's
#                                        last stage says, from the cross-built binary (needs buildah)
#   RB_SYSROOT=/srv/arm64                where the sysroot lies (default: build/arm64-sysroot, 600 MB)
#
# Needs root for debootstrap, and ./deploy/install-deps.sh --cross. Afterwards `cmake --preset arm64` works by itself
# with RB_SYSROOT in the environment.
set -eu
cd "$(dirname "$0")/.."
RB_SYSROOT=${RB_SYSROOT:-$PWD/build/arm64-sysroot}
export RB_SYSROOT
case "${1:-}" in --help | -h) sed -n '2,14s/^# \{0,1\}//p' "$0"; exit 0 ;; esac

sysroot() {
    # Fetched, unpacked and never run: qemu only runs the tests.
    debootstrap --arch arm64 --foreign --variant=minbase --include="libc6-dev,\
libmicrohttpd-dev,libjansson-dev,libsqlite3-dev,libuv1-dev,libopenblas-pthread-dev,libutf8proc-dev,libsodium-dev,\
zlib1g-dev,libssl-dev,libcmocka-dev" bookworm "$RB_SYSROOT" "${RB_MIRROR:-http://deb.debian.org/debian}"
    mkdir -p "$RB_SYSROOT/packages"
    for package in "$RB_SYSROOT"/var/cache/apt/archives/*.deb; do
        dpkg -x "$package" "$RB_SYSROOT"
        name=$(dpkg-deb -f "$package" Package)
        dpkg-deb -f "$package" >"$RB_SYSROOT/packages/$name.control"
        dpkg-deb --fsys-tarfile "$package" | tar -t | sed 's|^\.||' >"$RB_SYSROOT/packages/$name.files"
    done
    # Links of the kind /lib/... would lead into this system.
    find "$RB_SYSROOT/lib" "$RB_SYSROOT/usr" -type l -lname '/*' | while read -r link; do
        ln -sfr "$RB_SYSROOT$(readlink "$link")" "$link"
    done
    rm -f "$RB_SYSROOT"/var/cache/apt/archives/*.deb
}

[ -e "$RB_SYSROOT/usr/include/cmocka.h" ] || sysroot
cmake --preset arm64

# The loader's own list of what the binary needs, as the Dockerfile asks ldd: "name path" a line.
libraries() {
    qemu-aarch64-static -L "$RB_SYSROOT" -E LD_TRACE_LOADED_OBJECTS=1 \
        -E LD_LIBRARY_PATH="$RB_SYSROOT/usr/lib/aarch64-linux-gnu/openblas-pthread" build/arm64/rebasind |
        sed -n 's|^\t\([^ ]*\) => \(/[^ ]*\) .*|\1 \2|p'
}

# Everything that the image holds, in $1: the Dockerfile's list, with this sysroot in place of its build stage.
fill() {
    install -D build/arm64/rebasind "$1/usr/bin/rebasind"
    aarch64-linux-gnu-strip "$1/usr/bin/rebasind"
    install -D -m 644 LICENSE "$1/usr/share/doc/rebasind/copyright"
    install -D -m 644 /etc/ssl/certs/ca-certificates.crt "$1/etc/ssl/certs/ca-certificates.crt"
    mkdir -p "$1/usr/lib/aarch64-linux-gnu" "$1/var/lib/dpkg/status.d" "$1/lib"
    loader=/lib/ld-linux-aarch64.so.1
    install "$(readlink -f "$RB_SYSROOT$loader")" "$1$loader"
    libraries >"$1.libraries"
    echo "ld-linux-aarch64.so.1 $loader" >>"$1.libraries"
    while read -r name path; do
        case $path in "$RB_SYSROOT"/*) ;; *) path=$RB_SYSROOT$path ;; esac
        path=$(readlink -f "$path")
        [ "$name" = ld-linux-aarch64.so.1 ] || install -m 644 "$path" "$1/usr/lib/aarch64-linux-gnu/$name"
        inside=${path#"$RB_SYSROOT"}
        owner=$(grep -lxFe "$inside" -e "${inside#/usr}" "$RB_SYSROOT"/packages/*.files | head -n 1)
        [ -n "$owner" ] || { echo "cross-arm64: no package holds $inside" >&2; exit 1; }
        owner=$(basename "$owner" .files)
        cp "$RB_SYSROOT/packages/$owner.control" "$1/var/lib/dpkg/status.d/$owner"
        install -D -m 644 "$RB_SYSROOT/usr/share/doc/$owner/copyright" "$1/usr/share/doc/$owner/copyright"
    done <"$1.libraries"
    install -D -m 644 "$RB_SYSROOT/etc/debian_version" "$1/etc/debian_version"
    install -D -m 644 "$RB_SYSROOT/usr/lib/os-release" "$1/usr/lib/os-release"
    ln -s ../usr/lib/os-release "$1/etc/os-release"
    echo 'root:x:0:0:root:/:/none' >"$1/etc/passwd"
    echo 'rebasind:x:65532:65532:rebasind:/data:/none' >>"$1/etc/passwd"
    printf 'root:x:0:\nrebasind:x:65532:\n' >"$1/etc/group"
    install -d -m 700 -o 65532 -g 65532 "$1/data"
}

image() {
    cmake --build --preset arm64 --target rebasind -- --quiet
    work=$(mktemp -d "${TMPDIR:-/tmp}/rebasind-arm64-XXXXXX")
    trap 'rm -rf "$work"' EXIT
    fill "$work/image"
    sed -n '/^FROM scratch/,$p' deploy/Dockerfile | sed 's|^COPY --from=build /image/ /|COPY image/ /|' >"$work/Dockerfile"
    buildah --root "$work/storage" --runroot "$work/run" --storage-driver vfs bud --isolation chroot --format docker \
        --arch arm64 --build-arg REVISION="$(git rev-parse HEAD)" -t rebasind-arm64 -f "$work/Dockerfile" "$work"
    buildah --root "$work/storage" --runroot "$work/run" --storage-driver vfs push -q rebasind-arm64 "oci:$1:arm64"
    # Does it start, with nothing but what it holds?
    qemu-aarch64-static -L "$work/image" "$work/image/usr/bin/rebasind" version
}

case "${1:-}" in
--image) image "${2:?expected a folder for the OCI layout}"; exit 0 ;;
--all) tests=all; pattern='^test_' ;;
*)
    [ $# -gt 0 ] || set -- test_kernels test_dtype test_torch_file test_bpe test_sandbox
    tests="rebasind $*"
    pattern="^($(echo "$*" | tr ' ' '|'))$"
    ;;
esac
# shellcheck disable=SC2086
cmake --build --preset arm64 --target $tests -- --quiet
ctest --test-dir build/arm64 --no-tests=error --output-on-failure --parallel 2 -R "$pattern"

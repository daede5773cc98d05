#!/bin/sh
# Builds rebasind for arm64 on another machine and runs its unit tests under qemu (user mode), with Debian 12's
# cross compiler and Debian's arm64 libraries in a folder of their own: this system's packages are not touched.
#
#   deploy/cross-arm64.sh                the sysroot if it is missing, the daemon, the tests below
#   deploy/cross-arm64.sh test_map ...   other unit tests
#   RB_SYSROOT=/srv/arm64                where the sysroot lies (default: build/arm64-sysroot, 600 MB)
#
# Needs root for debootstrap, and ./deploy/install-deps.sh --cross. Afterwards `cmake --preset arm64` works by itself
# with RB_SYSROOT in the environment.
set -eu
cd "$(dirname "$0")/.."
RB_SYSROOT=${RB_SYSROOT:-$PWD/build/arm64-sysroot}
export RB_SYSROOT
case "${1:-}" in --help | -h) sed -n '2,11s/^# \{0,1\}//p' "$0"; exit 0 ;; esac

sysroot() {
    # Fetched, unpacked and never run: qemu only runs the tests.
    debootstrap --arch arm64 --foreign --variant=minbase --include="libc6-dev,\
libmicrohttpd-dev,libjansson-dev,libsqlite3-dev,libuv1-dev,libopenblas-pthread-dev,libutf8proc-dev,libsodium-dev,\
zlib1g-dev,libssl-dev,libcmocka-dev" bookworm "$RB_SYSROOT" "${RB_MIRROR:-http://deb.debian.org/debian}"
    for package in "$RB_SYSROOT"/var/cache/apt/archives/*.deb; do
        dpkg -x "$package" "$RB_SYSROOT"
    done
    # Links of the kind /lib/... would lead into this system.
    find "$RB_SYSROOT/lib" "$RB_SYSROOT/usr" -type l -lname '/*' | while read -r link; do
        ln -sfr "$RB_SYSROOT$(readlink "$link")" "$link"
    done
    rm -f "$RB_SYSROOT"/var/cache/apt/archives/*.deb
}

[ -e "$RB_SYSROOT/usr/include/cmocka.h" ] || sysroot
[ $# -gt 0 ] || set -- test_kernels test_dtype test_torch_file test_bpe test_sandbox
cmake --preset arm64
cmake --build --preset arm64 --target rebasind "$@" -- --quiet
ctest --test-dir build/arm64 --no-tests=error --output-on-failure -R "^($(echo "$*" | tr ' ' '|'))$"

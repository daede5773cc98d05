#!/bin/sh
# Builds rebasind for arm64 on another machine and runs its unit tests under qemu (user mode), with Debian 12's
# cross compiler and Debian's arm64 libraries in a folder of their own: this system's packages are not touched.
#
#   deploy/cross-arm64.sh                the sysroot if it is missing, the daemon, the tests below
#   deploy/cross-arm64.sh test_map ...   other unit tests
#   deploy/cross-arm64.sh --all          every unit test, goldens included (hours; qemu 7.2 has no openat2, which nine of them need)
#   deploy/cross-arm64.sh --image OCI    the daemon, and its image for linux/arm64 as an OCI layout: what the Dockerfile's
#                                        last stage says, from the cross-built binary (needs buildah)
#   deploy/cross-arm64.sh --vm [TEST ...] the image's files on Debian's arm64 kernel, emulated (qemu-system-aarch64): the unit
#                                        tests named (default: ten that need a kernel of their own), then the daemon
#                                        with its sandbox required and two jobs by HTTP, whose losses are compared with
#                                        those of the same jobs here; RB_VM_CPU=cortex-a72: another processor
#   RB_SYSROOT=/srv/arm64                where the sysroot lies (default: build/arm64-sysroot, 600 MB)
#
# Needs root for debootstrap, and ./deploy/install-deps.sh --cross. Afterwards `cmake --preset arm64` works by itself
# with RB_SYSROOT in the environment.
set -eu
cd "$(dirname "$0")/.."
RB_SYSROOT=${RB_SYSROOT:-$PWD/build/arm64-sysroot}
export RB_SYSROOT
case "${1:-}" in --help | -h) sed -n '2,18s/^# \{0,1\}//p' "$0"; exit 0 ;; esac

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

# ---- a machine of its own ----

# package NAME: one of Debian's for arm64, by the list that debootstrap has checked; its file is $work/NAME.deb.
package() {
    entry=$(cat "$RB_SYSROOT"/var/lib/apt/lists/*_Packages |
        awk -v want="Package: $1" 'BEGIN { RS = ""; FS = "\n" } $1 == want { print; exit }')
    file=$(echo "$entry" | sed -n 's/^Filename: //p')
    curl -fsS -o "$work/$1.deb" "${RB_MIRROR:-http://deb.debian.org/debian}/$file"
    echo "$(echo "$entry" | sed -n 's/^SHA256: //p')  $work/$1.deb" | sha256sum -c --quiet -
}

# Debian's arm64 kernel and a static busybox, in $RB_SYSROOT/vm: unpacked, installed nowhere.
fetch_vm() {
    package linux-image-arm64
    kernel=$(echo "$entry" | sed -n 's/^Depends: \([^ ]*\).*/\1/p')
    package "$kernel"
    package busybox-static
    dpkg -x "$work/busybox-static.deb" "$work/busybox"
    mkdir -p "$RB_SYSROOT/vm"
    dpkg-deb --fsys-tarfile "$work/$kernel.deb" | tar -xO --wildcards './boot/vmlinuz-*' >"$RB_SYSROOT/vm/kernel"
    mv "$work/busybox/bin/busybox" "$RB_SYSROOT/vm/busybox"
}

# The jobs, as bodies of POST /v1/jobs: permutations of a pair of BERT; orthogonal maps (LAPACK) of a pair of GPT-2.
job() {
    case $1 in
    bert) echo '{"models":{"a":"bert-a","b":"bert-b"},"interpolate":{"lambdas":[0,0.5,1]},
        "align":{"components":["ff","mha"],"dataset":"align","max_sequences":100,"max_length":48},
        "evaluate":{"task":"mlm","dataset":"eval","block_size":48,"max_blocks":32,"control":true}}' ;;
    gpt2) echo '{"models":{"a":"gpt2-a","b":"gpt2-b"},"interpolate":{"lambdas":[0,0.5,1]},
        "align":{"components":["ff","mha","residual"],"residual_map":"orthogonal","head_map":"orthogonal",
        "dataset":"align","max_sequences":60},"outputs":{"merged":[0.5]},
        "evaluate":{"task":"clm","dataset":"eval","block_size":128,"max_blocks":4,"control":true}}' ;;
    esac
}
jobs="bert gpt2"

# The machine's files in $1: everything is in memory, there is no disk.
fill_vm() {
    fill "$1/image"
    mkdir -p "$1/bin" "$1/lib" "$1/usr/lib" "$1/coreutils" "$1/unit" "$1/jobs" "$1/etc" "$1$PWD/tests"
    install deploy/arm64-init.sh "$1/init"
    install "$RB_SYSROOT/vm/busybox" "$1/bin/busybox"
    install "$RB_SYSROOT/usr/sbin/chroot" "$1/coreutils/chroot"
    ln -s /image/lib/ld-linux-aarch64.so.1 "$1/lib/ld-linux-aarch64.so.1"
    ln -s /image/usr/lib/aarch64-linux-gnu "$1/usr/lib/aarch64-linux-gnu"
    cp -L "$RB_SYSROOT/usr/lib/aarch64-linux-gnu/libcmocka.so.0" "$1/lib"
    cp "$1/image/etc/passwd" "$1/image/etc/group" "$1/etc"
    cp -r docs "$1$PWD/docs"
    cp -r tests/fixtures "$1$PWD/tests/fixtures"
    echo "$PWD/tests/fixtures" >"$1/fixtures"
    sed -n '/^FROM scratch/,$p' deploy/Dockerfile | sed -n '/^ENV /,/[^\\]$/{s/^ENV//;s/ *\\$//;s/^ *//;p}' >"$1/environment"
    for test in $2; do
        aarch64-linux-gnu-strip -o "$1/unit/$test" "$(find build/arm64 -type f -name "$test")"
        echo "$test" >>"$1/tests"
    done
    for name in $jobs; do job "$name" >"$1/jobs/$name"; done
}

# The same job by this machine's own build; answers what the machine's /barrier does.
here() {
    job "$1" | sed 's|"\([a-z0-9]*-[ab]\)"|"models/\1"|g; s|"dataset":"\([a-z]*\)"|"dataset":"data/\1.txt"|g' >"$work/$1.json"
    (cd tests/fixtures && ../../build/release/rebasind run --json --output "$work/$1.out" "$work/$1.json") | jq .barrier
}

vm() {
    # shellcheck disable=SC2086
    cmake --build --preset arm64 --target rebasind $1 -- --quiet
    cmake --preset release >/dev/null
    cmake --build --preset release --target rebasind -- --quiet
    work=$(mktemp -d "${TMPDIR:-/tmp}/rebasind-arm64-XXXXXX")
    trap 'rm -rf "$work"' EXIT
    [ -e "$RB_SYSROOT/vm/busybox" ] || fetch_vm
    fill_vm "$work/root" "$1"
    (cd "$work/root" && find . | cpio -o -H newc --quiet) >"$work/initramfs"
    timeout "${RB_VM_SECONDS:-3600}" qemu-system-aarch64 -machine virt -cpu "${RB_VM_CPU:-neoverse-n1}" -smp 2 -m 3G \
        -nic none -display none -monitor none -serial stdio -no-reboot -kernel "$RB_SYSROOT/vm/kernel" \
        -initrd "$work/initramfs" -append "console=ttyAMA0 quiet panic=-1" </dev/null | sed -u 's|\r||g' | tee "$work/console"
    failed=0
    for name in $jobs; do
        sed -n "s/^vm barrier $name //p" "$work/console" >"$work/$name.there"
        here "$name" >"$work/$name.here"
        jq -n --slurpfile x "$work/$name.there" --slurpfile y "$work/$name.here" '
            [["aligned", "control"][] as $c | $x[0][$c].loss, $y[0][$c].loss] |
            [.[0] + .[2], .[1] + .[3]] | transpose | map((.[0] - .[1]) | if . < 0 then -. else . end) |
            if length == 6 then max else error("expected six losses") end' >"$work/most" || failed=1
        echo "vm: job $name: losses differ from this machine's by at most $(cat "$work/most")"
        jq -e '. <= 2e-4' "$work/most" >/dev/null || failed=1
    done
    grep '^vm end' "$work/console" >/dev/null || failed=1
    ! grep -E '^vm .* FAILED with' "$work/console" || failed=1
    return $failed
}

case "${1:-}" in
--image) image "${2:?expected a folder for the OCI layout}"; exit 0 ;;
--vm)
    shift
    [ $# -gt 0 ] || set -- test_config test_imports test_jobdir test_fsutil test_leftovers test_merged_folder test_room test_tokens test_blas_kernel test_sandbox
    vm "$*"
    exit
    ;;
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

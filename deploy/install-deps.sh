#!/bin/sh
# Installs, from Debian 12's (bookworm's) own packages, what is missing here. Does nothing, and needs
# no network, when all of it is there. Uses sudo when not root.
#
#   ./deploy/install-deps.sh            to build rebasind and run the demo
#   ./deploy/install-deps.sh --tests    and what ./tests/run.sh needs beyond that
#   ./deploy/install-deps.sh --bench    and what tests/bench compares with
#   ./deploy/install-deps.sh --cross    to build, and what deploy/cross-arm64.sh needs
#   ./deploy/install-deps.sh --list     print the packages of all groups and stop
set -eu

# build:   gcc cmake ninja-build pkg-config git; nodejs npm (pack the dashboard); python3-yaml (openapi.json)
# links:   libmicrohttpd jansson SQLite libuv OpenBLAS (pthread build) utf8proc libsodium zlib OpenSSL's libcrypto
# demo:    curl jq mawk
BUILD="
    gcc libc6-dev cmake ninja-build pkg-config git ca-certificates nodejs npm python3-yaml
    libmicrohttpd-dev libjansson-dev libsqlite3-dev libuv1-dev libopenblas-pthread-dev
    libutf8proc-dev libsodium-dev zlib1g-dev libssl-dev
    curl jq mawk
"
# unit:    cmocka        end to end: python3, python3-yaml (openapi.yaml)
# client:  python3-venv (pip installs it), jupyter-nbconvert with python3-ipykernel (run its notebook)
# fuzz:    clang, libclang-rt (libFuzzer), llvm (symbols in reports)
# page:    chromium, a font
# deploy:  an image without a Docker engine, the three proxies, Prometheus with promtool; systemd-analyze;
#          docker-compose reads compose.yaml (no engine needed for that); binutils (readelf)
# slurm:   a real cluster of two nodes on this machine
TESTS="
    libcmocka-dev python3 python3-yaml python3-venv util-linux
    jupyter-nbconvert python3-ipykernel
    clang libclang-rt-dev llvm
    chromium fonts-liberation
    buildah umoci runc debootstrap debian-archive-keyring uidmap
    nginx-light caddy haproxy prometheus systemd docker-compose binutils sqlite3 openssl
    slurmctld slurmd slurm-client munge
"
# bench:   PyTorch and SciPy for the ratios; nginx, and wrk as the client, for the requests per second
BENCH="python3-torch python3-scipy nginx-light wrk"
# cross:   arm64: compiler, emulators of a process and of a machine (cpio packs its files), debootstrap to fetch arm64's
#          libraries into a folder, buildah for its image
CROSS="
    gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static qemu-system-arm cpio
    debootstrap debian-archive-keyring buildah
"

say() { printf 'install-deps: %s\n' "$*" >&2; }

packages=$BUILD
case "${1:-}" in
"") ;;
--tests) packages="$BUILD $TESTS" ;;
--bench) packages="$BUILD $TESTS $BENCH" ;;
--cross) packages="$BUILD $CROSS" ;;
--list)
    for p in $BUILD $TESTS $BENCH $CROSS; do echo "$p"; done | sort -u
    exit 0
    ;;
--help)
    sed -n '2,9s/^# \{0,1\}//p' "$0"
    exit 0
    ;;
*)
    say "unknown argument '$1'; expected nothing, --tests, --bench, --cross or --list"
    exit 2
    ;;
esac

if ! command -v dpkg-query >/dev/null 2>&1; then
    say "this is no Debian: install by hand what these packages hold:"
    # shellcheck disable=SC2086
    say $packages
    exit 1
fi

there() {
    # Another node than Debian's brings its own npm, and excludes Debian's.
    [ "$1" != npm ] || ! command -v npm >/dev/null 2>&1 || return 0
    # nginx comes in several sizes; any will do.
    [ "$1" != nginx-light ] || [ ! -x /usr/sbin/nginx ] || return 0
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null || true)" = installed ]
}

missing=""
for p in $packages; do
    there "$p" || missing="$missing $p"
done

if [ -z "$missing" ]; then
    say "everything is installed"
    exit 0
fi

as_root=""
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
        say "these packages are missing and I am neither root nor is sudo there:$missing"
        exit 1
    fi
    as_root="sudo"
fi

# Packages start their services when they are installed; here nobody wants them. 101: not allowed.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' | $as_root tee $policy >/dev/null
    $as_root chmod 755 $policy
    trap '$as_root rm -f $policy' EXIT
fi

export DEBIAN_FRONTEND=noninteractive
say "installing:$missing"
# A package list that is missing or old is the usual reason for a failure: then fetch it, once.
# shellcheck disable=SC2086
if ! $as_root apt-get install -y -q --no-install-recommends $missing >/dev/null 2>&1; then
    say "updating the package lists first"
    $as_root apt-get update -q >&2
    # shellcheck disable=SC2086
    $as_root apt-get install -y -q --no-install-recommends $missing >&2
fi
say "done"

#!/bin/sh
# Installs what building, testing and the demo need on Debian 12 (bookworm), from Debian's own
# packages. Does nothing, and needs no network, when all of it is there. Uses sudo when not root.
#
#   ./deploy/install-deps.sh            install
#   ./deploy/install-deps.sh --list     print the packages and stop
set -eu

# build:   gcc cmake ninja-build pkg-config git
# links:   libmicrohttpd jansson SQLite libuv OpenBLAS (pthread build) utf8proc libsodium
# tests:   cmocka, python3 (end to end), python3-yaml (openapi.yaml)
# demo:    curl jq mawk
PACKAGES="
    gcc libc6-dev cmake ninja-build pkg-config git ca-certificates
    libmicrohttpd-dev libjansson-dev libsqlite3-dev libuv1-dev libopenblas-pthread-dev
    libutf8proc-dev libsodium-dev libcmocka-dev
    python3 python3-yaml curl jq mawk
"

say() { printf 'install-deps: %s\n' "$*" >&2; }

if [ "${1:-}" = "--list" ]; then
    for p in $PACKAGES; do echo "$p"; done
    exit 0
elif [ $# -gt 0 ]; then
    say "unknown argument '$1'; expected nothing or --list"
    exit 2
fi

if ! command -v dpkg-query >/dev/null 2>&1; then
    say "this is no Debian: install by hand what these packages hold:"
    # shellcheck disable=SC2086
    say $PACKAGES
    exit 1
fi

missing=""
for p in $PACKAGES; do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null || true)
    [ "$status" = installed ] || missing="$missing $p"
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

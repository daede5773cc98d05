#!/bin/sh
# Everything about deploy/, without a Docker engine: builds the image by its Dockerfile's steps
# (buildah, from a base that debootstrap makes), runs it (umoci, runc) as uid 65532 on a read-only
# root without capabilities, behind nginx, Caddy and HAProxy, under Prometheus.
#
#   tests/deploy/run.sh               all of them
#   tests/deploy/run.sh proxies       only test_proxies.py
#
# Needs root: namespaces, cgroups, chroot. About five minutes, half of it for the base and the image,
# which are kept in build/deploy-test for the next time.
set -eu
cd "$(dirname "$0")"

if [ "$(id -u)" -ne 0 ]; then
    echo "deploy: not run, these tests need root (namespaces, chroot)" >&2
    exit 0
fi

./install.sh
./image.sh "${RB_DEPLOY_WORK:-../../build/deploy-test}"
export RB_DEPLOY_BUILT=1

failed=""
passed=0
for name in ${*:-static image monitoring backup drain proxies}; do
    began=$(date +%s)
    printf '== deploy: %s\n' "$name"
    if python3 -B "test_$name.py"; then
        passed=$((passed + 1))
        printf '== deploy: %s ok in %d s\n' "$name" $(($(date +%s) - began))
    else
        failed="$failed $name"
    fi
done

printf 'deploy: %d passed, %d failed\n' "$passed" "$(printf '%s' "$failed" | wc -w)"
[ -z "$failed" ] || { echo "failed:$failed" >&2; exit 1; }

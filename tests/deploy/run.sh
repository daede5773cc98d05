#!/bin/sh
# Everything about deploy/, without a Docker engine: builds the image by its Dockerfile's steps
# (buildah, from a base that debootstrap makes), runs it (umoci, runc) as uid 65532 on a read-only
# root without capabilities, behind nginx, Caddy and HAProxy, under Prometheus.
#
#   tests/deploy/run.sh               all of them
#   tests/deploy/run.sh proxies       only test_proxies.py
#
# Needs root: namespaces, cgroups, chroot. The base and the image, which take most of the time, are
# kept in build/deploy-test for the next run.
set -eu
cd "$(dirname "$0")"

all="static image operations monitoring backup drain proxies"
if [ "$(id -u)" -ne 0 ]; then
    echo "deploy: SKIPPED: these tests need root (namespaces, chroot); none of them has run"
    echo "deploy: 0 passed, 0 failed, $(echo $all | wc -w) skipped"
    # A person reads that. Nobody reads what a green CI has printed.
    [ "${CI:-}" != true ] || exit 1
    exit 0
fi

now() { date +%s; }
began=$(now)
../../deploy/install-deps.sh --tests
printf '== deploy: packages in %d s\n' $(($(now) - began))
began=$(now)
./image.sh ${RB_DEPLOY_WORK:+"$RB_DEPLOY_WORK"}
export RB_DEPLOY_BUILT=1
printf '== deploy: image in %d s\n' $(($(now) - began))

failed=""
passed=0
for name in ${*:-$all}; do
    began=$(now)
    printf '== deploy: %s\n' "$name"
    if python3 -B "test_$name.py"; then
        passed=$((passed + 1))
        printf '== deploy: %s ok in %d s\n' "$name" $(($(now) - began))
    else
        failed="$failed $name"
    fi
done

printf 'deploy: %d passed, %d failed\n' "$passed" "$(printf '%s' "$failed" | wc -w)"
[ -z "$failed" ] || { echo "failed:$failed" >&2; exit 1; }

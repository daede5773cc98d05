#!/bin/sh
# Installs what tests/deploy needs on Debian 12, from Debian's packages: tools that build, unpack and
# run the image without a Docker engine, the three proxies, Prometheus. Starts none of them. Does
# nothing, and needs no network, when all of it is there. Needs root, or sudo.
set -eu

# image:    buildah umoci runc debootstrap
# proxies:  nginx-light caddy haproxy; prometheus (with promtool)
# checks:   systemd (systemd-analyze), docker-compose (reads compose.yaml; needs no engine for that),
#           nodejs npm (schemas of Kubernetes), binutils (readelf)
PACKAGES="
    buildah umoci runc debootstrap debian-archive-keyring uidmap
    nginx-light caddy haproxy prometheus
    systemd docker-compose nodejs npm binutils
    sqlite3 openssl curl jq python3 python3-yaml ca-certificates
"

missing=""
for p in $PACKAGES; do
    # Another node than Debian's brings its own npm, and excludes Debian's.
    if [ "$p" = npm ] && command -v npm >/dev/null 2>&1; then continue; fi
    status=$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null || true)
    [ "$status" = installed ] || missing="$missing $p"
done
[ -n "$missing" ] || exit 0

as_root=""
[ "$(id -u)" -eq 0 ] || as_root=sudo

# Packages start their services when they are installed; here nobody wants them. 101: not allowed.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' | $as_root tee $policy >/dev/null
    $as_root chmod 755 $policy
    trap '$as_root rm -f $policy' EXIT
fi

export DEBIAN_FRONTEND=noninteractive
printf 'tests/deploy: installing%s\n' "$missing" >&2
# shellcheck disable=SC2086
if ! $as_root apt-get install -y -q --no-install-recommends $missing >/dev/null 2>&1; then
    $as_root apt-get update -q >&2
    $as_root apt-get install -y -q --no-install-recommends $missing >&2
fi

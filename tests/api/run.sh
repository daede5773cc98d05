#!/bin/sh
# Holds the contract: openapi.yaml against a public linter, a daemon (and the openapi.json that
# it serves) against openapi.yaml, and a client generated from openapi.yaml against that daemon.
#
#   REBASIND_BIN=build/release/rebasind ./tests/api/run.sh
#
# Needs node 18.18 or newer and npm; fetches its packages when package-lock.json has changed.
set -eu
if [ "${1:-}" = "--help" ]; then
    sed -n '2,7s/^# \{0,1\}//p' "$0"
    exit 0
fi
root=$(cd "$(dirname "$0")/../.." && pwd)
REBASIND_BIN=$(realpath "${REBASIND_BIN:-$root/build/release/rebasind}")
export REBASIND_BIN
cd "$root/tests/api"

stamp=node_modules/.installed-lock.json
if ! cmp -s package-lock.json "$stamp"; then
    npm ci --ignore-scripts --no-audit --no-fund --loglevel error
    cp package-lock.json "$stamp"
fi

npm run --silent lint
npm run --silent contract
npm run --silent client

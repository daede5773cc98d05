#!/bin/sh
# The dashboard through a real daemon in headless Chromium. Fetches what the tests need from npm
# (tests/e2e/dashboard/package-lock.json); Chromium is Debian's.
#
#   REBASIND_BIN=build/release/rebasind ./tests/e2e/test_dashboard.sh [FILE.test.mjs …]
#   REBASIND_SCREENSHOTS=1 …   also writes docs/screenshots
set -eu
cd "$(dirname "$0")/../.."
: "${REBASIND_BIN:=build/release/rebasind}"
export REBASIND_BIN

say() { printf 'test_dashboard: %s\n' "$*" >&2; }
for tool in node npm chromium; do
    command -v "$tool" >/dev/null 2>&1 ||
        { say "there is no $tool here: ./deploy/install-deps.sh installs it"; exit 1; }
done

folder=tests/e2e/dashboard
lock=$folder/package-lock.json
if ! cmp -s "$lock" "$folder/node_modules/.lock-installed"; then
    npm ci --prefix "$folder" --ignore-scripts --no-audit --no-fund >&2
    cp "$lock" "$folder/node_modules/.lock-installed"
fi
if [ $# -eq 0 ]; then set -- "$folder"/*.test.mjs; fi
exec node --test --test-concurrency=2 --test-reporter=spec "$@"

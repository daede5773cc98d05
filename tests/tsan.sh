#!/bin/sh
# The server's and the work's tests under ThreadSanitizer: builds what they need with the preset `tsan`
# and runs them. A race in the daemon ends it with status 66, which fails the test that drives it.
#
# REBASIND_TSAN_BUILD: another build folder than build/tsan. REBASIND_JOBS: compilers and tests at once.
set -eu
cd "$(dirname "$0")/.."
build=${REBASIND_TSAN_BUILD:-build/tsan}
jobs=${REBASIND_JOBS:-$(nproc)}
unit='fsutil ids log metrics pool store store_jobs store_tables tokens'
e2e='auth events http jobs life resume uploads'

export TSAN_OPTIONS="suppressions=$PWD/tests/tsan.supp:second_deadlock_stack=1 ${TSAN_OPTIONS:-}"
# gcc 12's runtime wants its addresses where kernels with 32 random bits do not leave them free.
fixed=
setarch -R true 2>/dev/null && fixed='setarch -R'

cmake --preset tsan -B "$build" >/dev/null
targets=rebasind
for t in $unit; do targets="$targets test_$t"; done
# shellcheck disable=SC2086
cmake --build "$build" --parallel "$jobs" --target $targets
unset REBASIND_TSAN_BUILD REBASIND_JOBS # the daemon refuses variables that it does not know
only="^(test_($(echo "$unit" | tr ' ' '|'))|e2e_test_($(echo "$e2e" | tr ' ' '|')))(_part[0-9])?\$"
# shellcheck disable=SC2086
exec $fixed ctest --no-tests=error --test-dir "$build" --output-on-failure --parallel "$jobs" -R "$only" "$@"

#!/bin/sh
# Installs what is missing, builds with warnings as errors, and runs every test with the release
# build, then most of them with the ASan+UBSan build. Figures of time are not tested: tests/bench
# measures them.
#
#   ./tests/run.sh              everything
#   ./tests/run.sh --quick      the release build only
#   ./tests/run.sh -R pool      only tests whose name matches (any argument of ctest)
#
# REBASIND_JOBS: compilers and tests at once (default: cores).
set -eu
cd "$(dirname "$0")/.."

jobs=${REBASIND_JOBS:-$(nproc)}
builds="release asan"
if [ "${1:-}" = "--quick" ]; then
    builds="release"
    shift
elif [ "${1:-}" = "--help" ]; then
    sed -n '2,9s/^# \{0,1\}//p' "$0"
    exit 0
fi

./deploy/install-deps.sh

# Under the sanitizers these would double the time and show nothing new: they drive the same daemon
# through more of the same.
asan_leaves_out='e2e_test_(kill|faults|clients|latency|uploads|job|experiments)$|test_golden_(authors|overlap)'

# Leaks of libraries that live as long as the process are not ours to fix.
export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=1:abort_on_error=0}"
export UBSAN_OPTIONS="${UBSAN_OPTIONS:-print_stacktrace=1:halt_on_error=1}"

say() { printf '\n== %s\n' "$*"; }

summary=""
failed=0
note() { summary="$summary
  $(printf '%-8s %-6s %s' "$1" "$2" "$3")"; }

for build in $builds; do
    began=$(date +%s)
    say "$build: configure and build"
    cmake --preset "$build" >"build-$build.log" 2>&1 ||
        { cat "build-$build.log"; rm -f "build-$build.log"; exit 1; }
    rm -f "build-$build.log"
    if ! cmake --build --preset "$build" --parallel "$jobs"; then
        note "$build" FAIL "does not build"
        failed=1
        continue
    fi
    say "$build: tests"
    log="build/$build/tests.log"
    status=0
    # End-to-end tests want the machine for themselves: they are marked RUN_SERIAL.
    leave_out='^$'
    [ "$build" = release ] || leave_out=$asan_leaves_out
    ctest --test-dir "build/$build" --output-on-failure --parallel "$jobs" -E "$leave_out" "$@" \
        >"$log" 2>&1 || status=$?
    cat "$log"
    line=$(grep -E 'tests passed|No tests' "$log" | tail -n 1 || true)
    seconds=$(($(date +%s) - began))
    if [ "$status" -eq 0 ]; then
        note "$build" ok "$line, ${seconds} s"
    else
        note "$build" FAIL "$line, ${seconds} s"
        failed=1
    fi
done

printf '\n== summary%s\n' "$summary"
exit "$failed"

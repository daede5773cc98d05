#!/bin/sh
# Line coverage by gcov: builds the preset `coverage`, runs the tests in it, prints what part of the
# lines of each folder ran and the files with the most lines that did not, and fails below core 90 %,
# api and server 85 %.
#
#   tests/coverage.sh             build, run, print
#   tests/coverage.sh --print     print only, from the build's last run
#
# REBASIND_COVERAGE_BUILD: another build folder than build/coverage. A daemon that a test kills writes
# no counts. Left out are tests that run long and reach no line that the others do not.
set -eu
cd "$(dirname "$0")/.."
build=${REBASIND_COVERAGE_BUILD:-build/coverage}
jobs=${REBASIND_JOBS:-$(nproc)}
unset REBASIND_COVERAGE_BUILD REBASIND_JOBS # the daemon refuses variables that it does not know
leave_out='test_(golden_.*|properties|program)$|e2e_test_(job(_part.)?|kill|clients|latency|power|experiments)$'
if [ "${1:-}" != --print ]; then
    # -Og: four times as fast as -O0, and every line is still there.
    cmake --preset coverage -B "$build" -DCMAKE_C_FLAGS='--coverage -Og -DRB_COVERAGE' >/dev/null
    cmake --build "$build" --parallel "$jobs" >"$build/build.log" ||
        { cat "$build/build.log"; exit 1; }
    find "$build" -name '*.gcda' -delete
    ctest --no-tests=error --test-dir "$build" --output-on-failure --parallel "$jobs" \
        -E "$leave_out" >"$build/tests.log" || { cat "$build/tests.log"; exit 1; }
    tail -n 4 "$build/tests.log"
    # Of the longest test, what no other reaches: `rebasind run`.
    REBASIND_BIN=$(realpath "$build")/rebasind python3 -B tests/e2e/test_job.py \
        test_run_writes_a_checkpoint test_run_refuses
fi
exec python3 -B tests/coverage.py "$build"

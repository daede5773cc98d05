#!/bin/sh
# Runs the libFuzzer targets, each on a copy of its corpus, and says what each has done.
#
#   tests/fuzz/run.sh                      20 seconds each
#   tests/fuzz/run.sh 1200                 20 minutes each
#   tests/fuzz/run.sh 60 http config       these only
#   REBASIND_FUZZ_BUILD=build/x            another build than build/fuzz
#   REBASIND_FUZZ_KEEP=folder              the grown corpora are kept there
#
# Needs a build of the preset `fuzz`:  cmake --preset fuzz && cmake --build --preset fuzz -t fuzzers
# REBASIND_JOBS targets run at once (default: cores). An input that breaks a target is kept under
# build/fuzz-found, and the script fails: turn it into a test, and put it into the corpus.
set -eu
cd "$(dirname "$0")/../.."
root=$(pwd)
seconds=${1:-20}
[ $# -gt 0 ] && shift
targets=${*:-"safetensors zip pickle config vocabulary tokenizer tokenizer_json dataset job_spec http gate"}
build=${REBASIND_FUZZ_BUILD:-build/fuzz}
found=$root/build/fuzz-found
work=$(mktemp -d "${TMPDIR:-/tmp}/rb-fuzz-run.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM

export ASAN_OPTIONS="detect_leaks=1:allocator_may_return_null=1"
export UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1"
export OPENBLAS_NUM_THREADS=1

# One target. The corpus in the tree is only read: what is new goes to the first folder.
fuzz() {
    name=$1
    grown=${REBASIND_FUZZ_KEEP:-$work}/$name
    mkdir -p "$grown" "$found"
    status=0
    "$build/tests/fuzz/fuzz_$name" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 \
        -max_len=16384 -print_final_stats=1 -artifact_prefix="$found/$name-" \
        "$grown" "tests/fuzz/corpus/$name" >"$work/$name.log" 2>&1 || status=$?
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/$name.log")
    covered=$(sed -n 's/.* cov: \([0-9]*\) ft: \([0-9]*\) .*/\1 edges, \2 features/p' "$work/$name.log" | tail -n 1)
    if [ "$status" -eq 0 ] && [ -n "$runs" ]; then
        printf 'ok    %-12s %s s, %s executions, %s\n' "$name" "$seconds" "$runs" "$covered"
    else
        printf 'FAIL  %-12s\n' "$name"
        tail -n 60 "$work/$name.log"
        return 1
    fi
}

failed=0
running=""
count=0
most=${REBASIND_JOBS:-$(nproc)}
finish() {
    for pid in $running; do
        wait "$pid" || failed=1
    done
    running=""
    count=0
}
for name in $targets; do
    fuzz "$name" &
    running="$running $!"
    count=$((count + 1))
    [ "$count" -lt "$most" ] || finish
done
finish
exit "$failed"

#!/bin/sh
# Installs what is missing, builds with warnings as errors, and runs every test, stage by stage.
# Figures of time are not tested: tests/bench measures them.
#
#   ./tests/run.sh                     every stage but coverage: about 25 minutes on 2 cores
#   ./tests/run.sh --quick             the stage `release` only
#   ./tests/run.sh --only asan         this stage only (may be given several times)
#   ./tests/run.sh --quick -R pool     only tests whose name matches (any argument of ctest goes to
#                                      the stages that use it: release, asan, tsan)
#
# The stages:
#   release    the release build, all unit and end-to-end tests
#   api        openapi.yaml: linter, contract against a running daemon, a generated client
#   dashboard  the page in headless Chromium
#   slurm      units of jobs on a real Slurm of two nodes on this machine (needs root)
#   asan       all tests again under AddressSanitizer and UBSan
#   tsan       the tests of server and work under ThreadSanitizer
#   fuzz       every fuzz target for 10 seconds on its corpus
#   deploy     image, container, proxies, Prometheus (needs root)
#   coverage   line coverage of core, api and server against its limits; runs only when named
#
# RB_MORE_FIXTURES=FOLDER: goldens of encoder pairs that are not in the tree (DistilBERT, ELECTRA, RoBERTa) are run from
# there; without it their tests are skipped.
# REBASIND_JOBS: compilers at once (default: cores), and two tests more. RB_TEST_WHOLE=1: every lambda of every golden
# result (six times as long as without; tests/unit/golden.h), the long tests of Slurm, a minute of every fuzz target.
set -eu
cd "$(dirname "$0")/.."

all="release api dashboard slurm asan tsan fuzz deploy coverage"
jobs=${REBASIND_JOBS:-$(nproc)}
unset REBASIND_JOBS # the daemon refuses variables that it does not know
# Some machines' images set these; then a daemon and the nodes of its cluster could multiply by different kernels.
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE
fuzzing=10 # seconds a target
[ -z "${RB_TEST_WHOLE:-}" ] || fuzzing=60
stages=""
while [ $# -gt 0 ]; do
    case "$1" in
    --quick) stages=release ;;
    --only)
        case " $all " in
        *" ${2:-} "*) stages="$stages $2" ;;
        *) echo "run.sh: there is no stage '${2:-}'; the stages are: $all" >&2; exit 2 ;;
        esac
        shift
        ;;
    --help) sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) break ;;
    esac
    shift
done
: "${stages:=${all% coverage}}"

./deploy/install-deps.sh --tests

# Leaks of libraries that live as long as the process are not ours to fix.
export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=1:abort_on_error=0}"
export UBSAN_OPTIONS="${UBSAN_OPTIONS:-print_stacktrace=1:halt_on_error=1}"

# One at a time in a build folder: what is compiled beside another stage is waited for.
gently=""
build() { # PRESET [TARGET …]
    preset=$1
    shift
    [ $# -eq 0 ] || set -- --target "$@"
    mkdir -p build
    (
        flock 9
        $gently cmake --preset "$preset" >"build/$preset.log" 2>&1 || { cat "build/$preset.log"; exit 1; }
        $gently cmake --build --preset "$preset" --parallel "$jobs" "$@"
    ) 9>"build/$preset.lock"
}

# Two tests more than cores: many wait for a daemon. Those that fill the machine are marked RUN_SERIAL
# (tests/CMakeLists.txt).
check() { # PRESET [ARGUMENT OF CTEST …]
    preset=$1
    shift
    ctest --no-tests=error --test-dir "build/$preset" --output-on-failure --parallel "$((jobs + 2))" "$@"
}

run() { # STAGE [ARGUMENT OF CTEST …]
    stage=$1
    shift
    case "$stage" in
    release | asan) build "$stage" && check "$stage" "$@" ;;
    tsan) tests/tsan.sh "$@" ;;
    api) build release rebasind && REBASIND_BIN=$PWD/build/release/rebasind tests/api/run.sh ;;
    dashboard) build release rebasind && REBASIND_BIN=$PWD/build/release/rebasind tests/e2e/test_dashboard.sh ;;
    slurm) build release rebasind && REBASIND_BIN=$PWD/build/release/rebasind tests/slurm/run.sh ;;
    fuzz) build fuzz fuzzers && REBASIND_JOBS=$((2 * jobs)) tests/fuzz/run.sh "$fuzzing" ;;
    deploy) tests/deploy/run.sh ;;
    coverage) tests/coverage.sh ;;
    esac
}

# The image takes as long as the two stages before `asan`, and most of it is the network and the disk:
# it is built beside them. tests/deploy/run.sh waits for it, and tells what went wrong.
build_image_beside() {
    [ "$(id -u)" -eq 0 ] || return 0
    tests/deploy/image.sh >/dev/null 2>&1 &
}

# The stages api, dashboard and slurm wait more than they compute: what later stages need is compiled beside them by what
# they leave of the processors. What fails here fails there again, and is told there.
compile_beside() {
    gently="nice -n 19"
    case " $stages " in *" asan "*) build asan ;; esac
    case " $stages " in *" fuzz "*) build fuzz fuzzers ;; esac
}

summary=""
failed=0
for stage in $stages; do
    case "$stage $stages" in api*deploy*) build_image_beside ;; esac
    case "$stage" in api) (set +e; compile_beside >/dev/null 2>&1) & ;; esac
    printf '\n== %s\n' "$stage"
    began=$(date +%s)
    verdict=ok
    # A shell of its own: `set -e` would be off in a function that is asked for its status.
    (set +e; run "$stage" "$@"; exit $?) || { verdict=FAIL; failed=1; }
    summary="$summary
  $(printf '%-10s %-5s %4d s' "$stage" "$verdict" $(($(date +%s) - began)))"
done

printf '\n== summary%s\n' "$summary"
exit "$failed"

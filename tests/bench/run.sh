#!/bin/sh
# How fast is it, on this machine? Builds a release with the benches and prints one table, as text and as
# markdown; each row is a ratio measured in this run, with the absolute figures beside it.
#
#   tests/bench/run.sh             everything: about 65 minutes on 2 quiet cores, at most 120
#   tests/bench/run.sh --quick     smaller inputs: about 6 minutes, at most 30
#   tests/bench/run.sh --only ROW  one of: machine phases features loss workers align eval job assign
#                                  memory open eta large scale http profile decoder merged several
#                                  forecast billion precision startup shapes
#                                  (may be given several times)
#   tests/bench/run.sh ROW...      the same: tests/bench/run.sh decoder
#   tests/bench/run.sh --markdown FILE    the markdown goes there as well
#
# Needs 3 GB of disk under $TMPDIR (6 GB for row large, 18 for billion), 4 GB of memory for the engine's rows and 8 GB
# for PyTorch's. Rows against PyTorch or SciPy say so where those are not installed
# (apt install python3-torch python3-scipy), row http where nginx or wrk is not. Everything it writes is
# removed, also when interrupted.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
build=$root/build/bench
if ! command -v python3 >/dev/null; then
    echo "tests/bench/run.sh: python3 puts the table together: apt install python3" >&2
    exit 1
fi
case " $* " in *" --help "* | *" -h "*) sed -n '2,19s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
cmake --preset release -S "$root" -B "$build" -DRB_BENCH=ON -DRB_TESTS=OFF >/dev/null
cmake --build "$build" --target bench_core bench_open make_model rebasind -- --quiet >&2
python=python3
[ -x /usr/bin/python3 ] && python=/usr/bin/python3 # Debian's, which sees python3-torch
exec "$python" -B "$root/tests/bench/table.py" --build "$build" "$@"

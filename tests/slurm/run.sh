#!/bin/sh
# Units of jobs on a real Slurm of two nodes on this machine (tests/slurm/test_slurm.py); needs root and Debian's packages.
# $REBASIND_BIN: the daemon. RB_TEST_SLURM=skip: leaves all of it out, and says so, where Slurm is not installed.
# RB_TEST_WHOLE=1: twenty kills instead of three, the controller away for 30 s, a real time limit.
set -eu
exec python3 -B "$(dirname "$0")/test_slurm.py"

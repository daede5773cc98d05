#!/bin/bash
# Breaks the source on purpose, one small way at a time, and says which tests notice. Not in CI: each
# mutant is a build.
#
#   tests/mutants.sh                 every patch of tests/mutants
#   tests/mutants.sh eta certify     those whose name has one of these words
#
# The first line of a patch names the tests that must fail with it, as ctest knows them. The tree is
# copied, so nothing here is changed; the script fails if a mutant survives or no longer applies.
set -u
cd "$(dirname "$0")/.."
work=$(mktemp -d "${TMPDIR:-/tmp}/rb-mutants.XXXXXX")
trap 'rm -rf "$work"' EXIT
git ls-files -z | xargs -0 cp --parents -t "$work"
cd "$work" || exit 1
cmake --preset release >/dev/null || exit 1
cmake --build --preset release --parallel >/dev/null || { echo "the tree does not build"; exit 1; }
survivors=0
for patch in tests/mutants/*.patch; do
    name=$(basename "$patch" .patch)
    wanted=$([ $# -eq 0 ] && echo yes; for word in "$@"; do [[ $name == *"$word"* ]] && echo yes; done)
    [ -n "$wanted" ] || continue
    tests=$(sed -n '1s/^# tests: //p' "$patch")
    if ! patch -s -p1 --dry-run <"$patch" >/dev/null; then
        echo "$name: no longer applies"
        survivors=$((survivors + 1))
        continue
    fi
    patch -s -p1 <"$patch"
    if ! cmake --build --preset release --parallel >/dev/null 2>&1; then
        verdict="does not build: killed by the compiler"
    else
        # shellcheck disable=SC2086 # a list of words
        killed=$(for t in $tests; do
            ctest --no-tests=error --test-dir build/release -R "^$t(_part[0-9])?\$" --timeout 600 >/dev/null 2>&1 || echo "$t"
        done | tr '\n' ' ')
        verdict="killed by ${killed:-NOTHING}"
        [ -n "$killed" ] || survivors=$((survivors + 1))
    fi
    echo "$name: $verdict"
    patch -s -p1 -R <"$patch"
done
[ "$survivors" -eq 0 ] || { echo "$survivors not killed"; exit 1; }

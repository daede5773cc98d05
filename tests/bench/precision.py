#!/usr/bin/python3
"""The default job (256 blocks, 21 lambdas) against the same at a precision, on the trained BERT pair of the fixtures,
alternating: seconds from the alignment to the barrier, and whether both say the same.

    tests/bench/precision.py --build build/bench [--precision 0.02] [--rounds 2]
"""
import argparse
import json
import os
import subprocess
import tempfile
import time

from programs import HERE

FIXTURES = os.path.realpath(os.path.join(HERE, "../fixtures"))


def job(build, threads, folder, points, precision):
    evaluate = {"task": "mlm", "dataset": os.path.join(FIXTURES, "data/eval.txt"), "max_blocks": 256}
    if precision is not None:
        evaluate["precision"] = precision
    spec = {"models": {side: os.path.join(FIXTURES, f"models/bert-{side}") for side in "ab"},
            "align": {"dataset": os.path.join(FIXTURES, "data/align.txt"), "max_sequences": 1000},
            "interpolate": {"points": points}, "evaluate": evaluate}
    path = os.path.join(folder, "spec.json")
    with open(path, "w") as f:
        json.dump(spec, f)
    start = time.monotonic()
    done = json.loads(subprocess.run([os.path.join(build, "rebasind"), "run", path, "--json", "--workers", str(threads)],
                                     check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=900,
                                     env=dict(os.environ, TMPDIR=folder)).stdout)
    barrier = done["barrier"]["aligned"]["barrier"]
    return {"whole": time.monotonic() - start, "seconds": done["timings"]["evaluating"], "barrier": barrier,
            "points": len(done["barrier"]["aligned"]["loss"]), "blocks": done["barrier"].get("blocks")}


def compare(build, threads, precision, rounds=2):
    """(the default's best run, that of `precision`, that of `precision` with points "auto")."""
    kinds = [(21, None), (21, precision), ("auto", precision)]
    best = [None] * len(kinds)
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            for i, kind in enumerate(kinds):
                found = job(build, threads, folder, *kind)
                if best[i] is None or found["seconds"] < best[i]["seconds"]:
                    best[i] = found
    return best


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--build", required=True)
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--precision", type=float, default=0.02)
    p.add_argument("--rounds", type=int, default=2)
    args = p.parse_args()
    names = ("256 blocks, 21 lambdas", f"precision {args.precision}, 21 lambdas", f"precision {args.precision}, auto")
    found = compare(args.build, args.threads, args.precision, args.rounds)
    for name, v in zip(names, found):
        print(f"{name:28} evaluating {v['seconds']:.2f} s ({found[0]['seconds'] / v['seconds']:.1f}x), whole "
              f"{v['whole']:.2f} s; {v['points']} points, {v['blocks']} blocks; barrier {json.dumps(v['barrier'])}")


if __name__ == "__main__":
    main()

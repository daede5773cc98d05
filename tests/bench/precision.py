#!/usr/bin/python3
"""The default job (256 blocks, 21 lambdas) against the same at a precision, on trained pairs of the fixtures,
alternating: seconds from the alignment to the barrier, and whether both say the same.

    tests/bench/precision.py --build build/bench [--pair gpt2]... [--preset learned] [--precision 0.02] [--rounds 2]
"""
import argparse
import json
import os
import subprocess
import tempfile
import time

from programs import HERE

FIXTURES = os.path.realpath(os.path.join(HERE, "../fixtures"))


TASKS = {"bert": "mlm", "gpt2": "clm", "neox": "clm", "llama": "clm"}


def job(build, threads, folder, pair, preset, points, precision):
    evaluate = {"task": TASKS[pair], "dataset": os.path.join(FIXTURES, "data/eval.txt"), "max_blocks": 256}
    if precision is not None:
        evaluate["precision"] = precision
    spec = {"models": {side: os.path.join(FIXTURES, f"models/{pair}-{side}") for side in "ab"},
            "align": {"dataset": os.path.join(FIXTURES, "data/align.txt"), "max_sequences": 1000,
                      "preset": preset},
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


def compare(build, threads, pair, precision, rounds=2, preset="paper"):
    """(the default's best run, that of `precision`, that of `precision` with points "auto")."""
    kinds = [(21, None), (21, precision), ("auto", precision)]
    best = [None] * len(kinds)
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            for i, kind in enumerate(kinds):
                found = job(build, threads, folder, pair, preset, *kind)
                if best[i] is None or found["seconds"] < best[i]["seconds"]:
                    best[i] = found
    return best


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--build", required=True)
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--precision", type=float, default=0.02)
    p.add_argument("--rounds", type=int, default=2)
    p.add_argument("--pair", action="append", choices=TASKS, help="default: all")
    p.add_argument("--preset", default="paper")
    args = p.parse_args()
    names = ("256 blocks, 21 lambdas", f"precision {args.precision}, 21 lambdas", f"precision {args.precision}, auto")
    for pair in args.pair or TASKS:
        found = compare(args.build, args.threads, pair, args.precision, args.rounds, args.preset)
        for name, v in zip(names, found):
            print(f"{pair:6} {name:28} evaluating {v['seconds']:.2f} s ({found[0]['seconds'] / v['seconds']:.1f}x), whole "
                  f"{v['whole']:.2f} s; {v['points']} points, {v['blocks']} blocks; barrier {v['barrier']['mean']:.4f} "
                  f"± {v['barrier']['mean_standard_error']:.4f}", flush=True)


if __name__ == "__main__":
    main()

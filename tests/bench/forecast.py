#!/usr/bin/python3
"""How well a job's time is foretold: on a data folder that knows nothing, the same job again and again, each
asked for by a dry run first; and once more after a restart. The first should be within 30 %, the tenth
within 10 (on a quiet machine: what others take of it is not foretold).

    tests/bench/forecast.py --binary build/bench/rebasind [--pair gpt2] [--preset best] [--jobs 10] [--blocks 48]
"""
import argparse
import os
import sys

p = argparse.ArgumentParser()
p.add_argument("--binary", required=True)
p.add_argument("--pair", default="bert", help="of the fixtures: bert, gpt2, llama, neox")
p.add_argument("--preset", default="paper", choices=("paper", "best", "learned"))
p.add_argument("--jobs", type=int, default=10)
p.add_argument("--blocks", type=int, default=48)
args = p.parse_args()
os.environ["REBASIND_BIN"] = os.path.abspath(args.binary)
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../e2e"))
from daemon import FIXTURES, Daemon  # noqa: E402  (reads the variable)

PHASES = ("aligning", "solving", "learning", "certifying", "evaluating")


def job(d, number):
    """Another text each time, or moments would come from the cache."""
    return {"models": {"a": f"{args.pair}-a", "b": f"{args.pair}-b"},
            "align": {"dataset": "align", "max_sequences": 1000 + number, "preset": args.preset},
            "evaluate": {"task": "mlm" if args.pair == "bert" else "clm", "dataset": "eval", "max_blocks": args.blocks}}


def one(d, number, what):
    thought = d.post("/v1/jobs?dry_run=true", job(d, number)).json["estimate"]["seconds"]
    done = d.wait_finished(d.post("/v1/jobs", job(d, number)).json["id"], timeout=600)
    taken = sum(done["timings"].get(phase) or 0 for phase in PHASES)
    print(f"{what:14} foretold {thought:6.2f} s, took {taken:6.2f} s: off by {100 * abs(thought / taken - 1):.0f} %",
          flush=True)


with Daemon() as d:
    d.register_fixtures()
    for side in "ab" if args.pair != "bert" else "":
        d.post("/v1/models", {"name": f"{args.pair}-{side}", "path": f"{FIXTURES}/models/{args.pair}-{side}"})
    for n in range(args.jobs):
        one(d, n, f"job {n + 1}")
    d.stop()
    d.start()
    one(d, args.jobs, "after a restart")

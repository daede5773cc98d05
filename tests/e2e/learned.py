#!/usr/bin/env python3
"""What learned alignment is worth on the fixture pairs, from the daemon itself, as markdown: the table of pairs and
presets; how much text, how many steps; and a text that nothing was learned from. One command:

    tests/e2e/learned.py                 the short part: one-shot maps, 30 steps; some minutes
    tests/e2e/learned.py --long          all of it: 300 and 1,000 steps and more; hours on two cores
    tests/e2e/learned.py --only gpt2     one pair (may be given several times)

Every row that is left out is named, with the reason. Starts a daemon of its own ($REBASIND_BIN, default
build/release/rebasind); python3 is all it needs.
"""
import argparse
import hashlib
import json
import os
import sys

os.environ.setdefault("REBASIND_BIN", "build/release/rebasind")
from daemon import FIXTURES, Daemon, equal  # noqa: E402

PAIRS = ("gpt2", "neox", "llama", "bert")
WANTED = {("gpt2", 300): 0.32, ("neox", 300): 0.27, ("llama", 300): 0.34, ("gpt2", 1000): 0.25, ("neox", 1000): 0.21,
          ("llama", 1000): 0.26, ("bert", 300): 2.0, ("bert near", 300): 1.15, ("bert near", 1200): 0.95}
SHORT, LINES, STEPS = 30, (100, 300, 1000, 4000), (30, 100, 300, 1000, 3000)


def evaluation(pair, dataset="eval"):
    """BERT's tokens are few to a line: what its demo job takes."""
    if pair == "bert":
        return {"task": "mlm", "dataset": dataset, "block_size": 48, "max_blocks": 256}
    return {"task": "clm", "dataset": dataset, "block_size": 128, "max_blocks": 32}


def spec(pair, align, dataset="eval"):
    text = {"max_sequences": 1000, "max_length": 48} if pair == "bert" else {"max_sequences": 500, "max_length": 128}
    return {"models": {"a": f"{pair}-a", "b": f"{pair}-b"}, "align": {"dataset": "align", **text, **align},
            "interpolate": {"points": 11}, "evaluate": evaluation(pair, dataset)}


def learned(pair, steps, **more):
    return spec(pair, {"preset": "learned", "learn": {"steps": steps, "patience": 0}, **more})


def run(d, name, job, wanted=None):
    """A row; of a job that another table has asked for, that one's: the same key answers with the same job."""
    key = json.dumps(job, sort_keys=True)
    r = d.post("/v1/jobs", job, headers={"Idempotency-Key": hashlib.sha256(key.encode()).hexdigest()})
    if r.status not in (200, 202):
        print(f"| {name} | refused: {r.json['detail']} |", flush=True)
        return
    done = d.wait_finished(r.json["id"])
    if done["status"] != "succeeded":
        print(f"| {name} | {done['status']}: {json.dumps(done['error'])} |", flush=True)
        return
    s = done["summary"]
    barrier = d.get(f"/v1/jobs/{r.json['id']}/barrier").json["aligned"]["barrier"]
    error = barrier.get("chord_standard_error")
    text = f"{s['barrier_chord']:.4f}" + (f" ± {error:.4f}" if error is not None else "")
    control = s["control_barrier_chord"]
    kind = s["kind"] or "not moved"
    near = f" (KL {s['kl']:.3f}, B's loss {s['loss_before']:.3f} → {s['loss_after']:.3f})" if kind == "near" else ""
    verdict = "" if wanted is None else f"{wanted} {'met' if s['barrier_chord'] <= wanted else '**missed**'}"
    print(f"| {name} | {text} | {'' if control is None else f'{control:.3f}'} | {kind}{near} | {verdict} | "
          f"{sum(done['timings'].values()):.0f} s |", flush=True)


def head(title):
    print(f"\n## {title}\n\n| | barrier over the chord | control | certificate | asked | took |\n"
          "|---|---:|---:|---|---|---:|", flush=True)


def pairs(d, args):
    head("Pairs and maps")
    for pair in args.pairs:
        run(d, f"{pair}: the paper", spec(pair, {"preset": "paper"}))
        run(d, f"{pair}: best, one shot", spec(pair, {"preset": "best"}))
        for steps in (SHORT, 300, 1000) if args.long and pair != "bert" else (SHORT, 300) if args.long else (SHORT,):
            run(d, f"{pair}: learned, {steps} steps", learned(pair, steps), WANTED.get((pair, steps)))
    if "bert" in args.pairs:
        run(d, "bert, near: best, one shot", spec("bert", {"preset": "best", "equivalence": "near"}))
        for steps in (SHORT, 300, 1200) if args.long else (SHORT,):
            run(d, f"bert, near: learned, {steps} steps", learned("bert", steps, equivalence="near"),
                WANTED.get(("bert near", steps)))


def data(d, args, lines):
    head("How much text (gpt2)")
    steps = 300 if args.long else SHORT
    for n in LINES:
        if n > lines:
            print(f"| {n} lines | not run: the fixture has {lines} | | | | |")
            continue
        with open(f"{FIXTURES}/data/align.txt", "rb") as f:
            text = b"".join(f.readlines()[:n])
        equal(d.request("PUT", f"/v1/datasets/first-{n}?format=text", text).status, 201)
        job = learned("gpt2", steps)
        text = {"dataset": f"first-{n}", "max_sequences": n}
        shot = spec("gpt2", {"preset": "best", **text})
        job["align"] = {**job["align"], **text}
        run(d, f"{n} lines, best, one shot", shot)
        run(d, f"{n} lines, {steps} steps", job)


def lengths(d, args):
    head("How many steps (gpt2)")
    for steps in STEPS if args.long else STEPS[:2]:
        run(d, f"{steps} steps", learned("gpt2", steps))


def transfer(d, args):
    head("Learned on one text, the barrier on another (gpt2)")
    steps = 300 if args.long else SHORT
    for name, on, where in (("prose, prose", "align", "eval"), ("prose, the authors' sentences", "align", "authors"),
                            ("the authors' sentences, prose", "authors", "eval"),
                            ("the authors' sentences, themselves", "authors", "authors")):
        job = learned("gpt2", steps)
        job["align"] = {**job["align"], "dataset": on}
        job["evaluate"] = evaluation("gpt2", where)
        run(d, f"{name}, {steps} steps", job)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--long", action="store_true")
    p.add_argument("--only", action="append", choices=PAIRS)
    args = p.parse_args()
    args.pairs = args.only or list(PAIRS)
    with open(f"{FIXTURES}/data/align.txt", "rb") as f:
        lines = sum(1 for _ in f)
    with Daemon() as d:
        for pair in PAIRS:
            for side in "ab":
                equal(d.post("/v1/models", {"name": f"{pair}-{side}", "path": f"{FIXTURES}/models/{pair}-{side}"}).status,
                      201)
        for name, more in (("align", {"path": f"{FIXTURES}/data/align.txt", "format": "text"}),
                           ("eval", {"path": f"{FIXTURES}/data/eval.txt", "format": "text"}),
                           ("authors", {"path": f"{FIXTURES}/data/authors.jsonl", "format": "jsonl", "text": "sentence"})):
            equal(d.post("/v1/datasets", {"name": name, **more}).status, 201)
        pairs(d, args)
        if "gpt2" in args.pairs:
            data(d, args, lines)
            lengths(d, args)
            transfer(d, args)
    if not args.long:
        print("\nNot run (they take --long): learned maps of 300, 1,000 and 1,200 steps, text and transfer at 300 steps, "
              "300 to 3,000 steps.")
    if args.only:
        print(f"Not run (--only): {', '.join(x for x in PAIRS if x not in args.only)}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())

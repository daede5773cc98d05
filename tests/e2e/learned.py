#!/usr/bin/env python3
"""What maps beyond permutations and learned ones are worth on the fixture pairs, from the daemon itself, as markdown: the
table of pairs and maps; how much text, how many steps; and texts that nothing was learned from. One command:

    tests/e2e/learned.py                   the short part: one-shot maps and 30 steps; some minutes
    tests/e2e/learned.py --long            all of it: 300 and 1,000 steps and more; an hour or two of one core
    tests/e2e/learned.py --only gpt2       one pair (may be given several times)
    tests/e2e/learned.py --keep FILE       results stand in FILE by their spec: what is there is not run again

Runs go from the cheap to the dear; progress to stderr, tables to stdout at the end (with --keep, what is there of them
after Ctrl-C too). A cell that was not run says so. Starts a daemon of its own ($REBASIND_BIN, default
build/release/rebasind) with one worker; python3 is all it needs.
"""
import argparse
import json
import os
import sys
import time

os.environ.setdefault("REBASIND_BIN", "build/release/rebasind")
from daemon import FIXTURES, Daemon, equal  # noqa: E402

PAIRS = ("gpt2", "neox", "llama", "bert", "bert near")
TITLES = {"gpt2": "GPT-2", "neox": "GPT-NeoX", "llama": "Llama", "bert": "BERT", "bert near": 'BERT, `"equivalence":"near"`'}
# The bounds that were set for these figures (on eval.txt, chord).
BOUNDS = {("gpt2", 300): 0.32, ("neox", 300): 0.27, ("llama", 300): 0.34, ("gpt2", 1000): 0.25, ("neox", 1000): 0.21,
          ("llama", 1000): 0.26, ("bert", 300): 2.0, ("bert near", 300): 1.15, ("bert near", 1200): 0.95}
SHORT, MIDDLE, MOST = 30, 300, {"gpt2": 1000, "neox": 1000, "llama": 1000, "bert": None, "bert near": 1200}
LINES, STEPS = (100, 250, 500, 1000, 2000, 4000), (30, 100, 300, 1000, 3000)
TURNED = {"components": ["ff", "mha", "residual"], "residual": "all", "residual_map": "orthogonal",
          "head_map": "orthogonal"}
# The best that permutations (for BERT with bases turned inside heads) gave: experiments.py, all tables.
PERMUTED = {"gpt2": {"residual": "all"}, "neox": {"residual": "first"}, "llama": {"residual": "first", "signed": True},
            "bert": {"residual": "first", "head_map": "orthogonal"}}
# Sentences of one author: authors.jsonl's labels.
AUTHORS = {"austen": 0, "kjv": 3}
TRANSFER_LINES = 130


def spec(pair, align, evaluate="eval", points=11):
    near, name = pair == "bert near", pair.split()[0]
    bert = name == "bert"
    return {"models": {"a": f"{name}-a", "b": f"{name}-b"},
            "align": {"dataset": "align", "max_sequences": 1000 if bert else 500, "max_length": 48 if bert else 128,
                      **({"equivalence": "near"} if near else {}), **align},
            "interpolate": {"points": points},
            "evaluate": {"task": "mlm" if bert else "clm", "dataset": evaluate, "block_size": 48 if bert else 128,
                         "max_blocks": 256 if bert else 32}}


def learned(pair, steps, evaluate="eval", points=11, **more):
    return spec(pair, {"preset": "learned", "learn": {"steps": steps, "patience": 0}, **more}, evaluate, points)


def turned(pair, **more):
    return spec(pair, {**TURNED, **({"signed": True} if pair == "llama" else {}), **more}, points=21)


def columns(pair, args):
    """The row of one pair: what the column is called, and its spec or None."""
    near = pair == "bert near"
    most = MOST[pair] if args.long else None
    return [("paper", None if near else spec(pair, {"preset": "paper"}, points=21)),
            ("permuted", None if near else spec(pair, {"components": ["ff", "mha", "residual"], **PERMUTED[pair]}, points=21)),
            ("turned", turned(pair) if pair != "bert" else None),
            ("best", spec(pair, {"preset": "best"}, points=21)),
            ("middle", learned(pair, MIDDLE if args.long else SHORT, points=21)),
            ("most", learned(pair, most, points=21) if most else None)]


def transfers(args):
    """Rows: what is learned from; columns: where the barrier is."""
    steps = MIDDLE if args.long else SHORT
    for title, dataset, lines in (("all 4,000 lines of all authors (500 for the start)", "align", 500),
                                  (f"{TRANSFER_LINES} lines of all authors", f"first-{TRANSFER_LINES}", TRANSFER_LINES),
                                  (f"{TRANSFER_LINES} sentences of Austen", "austen", TRANSFER_LINES),
                                  (f"{TRANSFER_LINES} sentences of the King James Bible", "kjv", TRANSFER_LINES)):
        yield title, [learned("gpt2", steps, where, 21, dataset=dataset,
                              max_sequences=lines) for where in ("eval", "austen", "kjv")]


def lengths(args):
    return [(steps, learned("gpt2", steps, points=21)) for steps in (STEPS if args.long else STEPS[:1])]


def amounts(args):
    """Learning reads the whole dataset, whatever max_sequences: so each amount is a dataset of its own."""
    steps = MIDDLE if args.long else SHORT
    return [(n, turned("gpt2", max_sequences=n), learned("gpt2", steps, points=21, dataset=f"first-{n}", max_sequences=n))
            for n in LINES]


def straight(pair, args):
    """What permutations learned straight through add to the stream's map and those inside heads."""
    steps = MIDDLE if args.long else SHORT
    maps = ["residual", "heads"] + (["scales"] if pair == "llama" else [])  # what is learned where nothing is named
    return [learned(pair, steps, points=21)] + [
        spec(pair, {"preset": "learned", "learn": {"steps": steps, "patience": 0, "groups": [*maps, group]}}, points=21)
        for group in ("ff", "head_order")]


def straights(args):
    return [pair for pair in args.pairs if not pair.startswith("bert")]


def wanted(args):
    """Every spec of every table, the cheap ones first."""
    found = [s for pair in args.pairs for _, s in columns(pair, args) if s]
    found += [s for pair in straights(args) for s in straight(pair, args)]
    if "gpt2" in args.pairs:
        found += [s for _, once, then in amounts(args) for s in (once, then)]
        found += [s for _, s in lengths(args)] + [s for _, row in transfers(args) for s in row]
    return sorted({key(s): s for s in found}.values(), key=lambda s: s["align"].get("learn", {}).get("steps", 0))


def key(s):
    return json.dumps(s, sort_keys=True)


class Results:
    def __init__(self, path):
        self.path, self.found = path, {}
        if path and os.path.exists(path):
            with open(path, encoding="utf-8") as f:
                self.found = json.load(f)

    def keep(self, s, result):
        self.found[key(s)] = result
        if self.path:
            with open(self.path + ".new", "w", encoding="utf-8") as f:
                json.dump(self.found, f, indent=1)
            os.replace(self.path + ".new", self.path)

    def get(self, s):
        return self.found.get(key(s)) if s else None

    def cell(self, s, member="barrier"):
        if s is None:
            return "–"
        r = self.get(s)
        return "not run" if r is None else r["failed"] if "failed" in r else f"{r[member]:.4f}"


def run(d, s, known):
    """One job. Of a text that is learned from twice, the first one's maps are taken (from_job)."""
    base = key({**s, "evaluate": None, "interpolate": None})
    job = {**s, "align": {"from_job": known[base]}} if base in known else s
    r = d.post("/v1/jobs", job)
    if r.status != 202:
        return {"failed": f"refused: {r.json['detail']}"}
    done = d.wait_finished(r.json["id"], timeout=3600)
    if done["status"] != "succeeded":
        return {"failed": f"{done['status']}: {json.dumps(done['error'])}"}
    known.setdefault(base, done["id"])
    summary = done["summary"]
    error = d.get(f"/v1/jobs/{done['id']}/barrier").json["aligned"]["barrier"].get("chord_standard_error")
    return {"barrier": summary["barrier_chord"], "standard_error": error, "control": summary["control_barrier_chord"],
            "kind": summary["kind"], **{m: summary.get(m) for m in ("kl", "loss_before", "loss_after")}}


def table(head, rows):
    lines = [head, ["---"] + ["---:"] * (len(head) - 1)] + rows
    print("\n".join("| " + " | ".join(str(c) for c in line) + " |" for line in lines), flush=True)


def moved(results, row):
    last = [r for r in (results.get(s) for _, s in row) if r and "failed" not in r]
    kinds = {r["kind"] for r in last}
    if kinds == {"exact"}:
        return "same function"
    if kinds == {"near"}:
        r = last[-1]
        return f"**near** (KL {r['kl']:.3f}, B's loss {r['loss_before']:.3f} → {r['loss_after']:.3f})"
    return ", ".join(sorted(str(k) for k in kinds)) or "not run"


def print_pairs(results, args):
    steps = MIDDLE if args.long else SHORT
    print("### Pairs and maps\n")
    rows = []
    for pair in args.pairs:
        row = columns(pair, args)
        control = results.cell(row[3][1], "control")
        most = results.cell(row[5][1]) + (f" ({MOST[pair]:,})" if row[5][1] else "")
        rows.append([TITLES[pair], control] + [results.cell(s) for _, s in row[:5]] + [most, moved(results, row)])
    table(["pair", "control", "paper", "best permutations", "O, one shot", "`best`", f"learned, {steps} steps",
           "learned, more", "moved B"], rows)
    asked = [[TITLES[pair], f"{n:,}", results.cell(s), bound,
              "" if "barrier" not in (results.get(s) or {}) else
              "met" if results.get(s)["barrier"] <= bound else "**missed**"]
             for pair in args.pairs for n in (MIDDLE, MOST[pair]) if args.long and n
             for s in [learned(pair, n, points=21)] for bound in [BOUNDS[pair, n]]]
    if asked:
        print()
        table(["pair", "steps", "barrier", "asked", ""], asked)


def print_gpt2(results, args):
    steps = MIDDLE if args.long else SHORT
    print("\n### How much text (GPT-2)\n")
    table(["lines", "O, one shot", f"learned, {steps} steps"],
          [[f"{n:,}", results.cell(once), results.cell(then)] for n, once, then in amounts(args)])
    print("\n### How many steps (GPT-2)\n")
    table(["steps", "learned"], [[f"{n:,}", results.cell(s)] for n, s in lengths(args)])
    print(f"\n### Learned on one text, the barrier on another (GPT-2, {steps} steps)\n")
    rows = list(transfers(args))
    table(["learned from", "on eval.txt", "on Austen", "on the King James Bible"],
          [[title] + [results.cell(s) for s in row] for title, row in rows])
    print("\nControls there: " + ", ".join(results.cell(s, "control") for s in rows[0][1]) + ".")


def print_straight(results, args):
    steps = MIDDLE if args.long else SHORT
    print(f"\n### Permutations straight through ({steps} steps)\n")
    table(["pair", "maps alone", "and FF units", "and heads"],
          [[TITLES[pair]] + [results.cell(s) for s in straight(pair, args)] for pair in straights(args)])


def register(d):
    for name in ("gpt2", "neox", "llama", "bert"):
        for side in "ab":
            equal(d.post("/v1/models", {"name": f"{name}-{side}", "path": f"{FIXTURES}/models/{name}-{side}"}).status, 201)
    for name in ("align", "eval"):
        equal(d.post("/v1/datasets", {"name": name, "path": f"{FIXTURES}/data/{name}.txt", "format": "text"}).status, 201)
    with open(f"{FIXTURES}/data/align.txt", "rb") as f:
        lines = f.readlines()
    for n in (*LINES, TRANSFER_LINES):
        equal(d.request("PUT", f"/v1/datasets/first-{n}?format=text", b"".join(lines[:n])).status, 201)
    with open(f"{FIXTURES}/data/authors.jsonl", encoding="utf-8") as f:
        rows = [json.loads(line) for line in f]
    for name, label in AUTHORS.items():
        text = "".join(r["sentence"] + "\n" for r in rows if r["label"] == label)
        equal(d.request("PUT", f"/v1/datasets/{name}?format=text", text.encode()).status, 201)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--long", action="store_true")
    p.add_argument("--only", action="append", choices=PAIRS)
    p.add_argument("--keep")
    args = p.parse_args()
    args.pairs = [pair for pair in PAIRS if pair in (args.only or PAIRS)]
    results, todo, begun = Results(args.keep), wanted(args), time.monotonic()
    todo = [s for s in todo if results.get(s) is None]
    try:
        with Daemon("--workers", "1") as d:
            register(d)
            jobs = {}
            for i, s in enumerate(todo):
                result = run(d, s, jobs)
                results.keep(s, result)
                print(f"{i + 1} of {len(todo)}, {time.monotonic() - begun:.0f} s: {s['models']['a']} {json.dumps(s['align'])} "
                      f"on {s['evaluate']['dataset']}: {json.dumps(result)}", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        print("interrupted: the tables hold what is there", file=sys.stderr)
    print_pairs(results, args)
    print_straight(results, args)
    if "gpt2" in args.pairs:
        print_gpt2(results, args)
    return 0


if __name__ == "__main__":
    sys.exit(main())

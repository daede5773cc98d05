#!/usr/bin/env python3
"""The paper's experiments on the demo models: each a file in experiments/, which is the body of
POST /v1/jobs/batch as it stands.

    tests/e2e/experiments.py NAME...     run these (all without a name) and print their tables
    tests/e2e/experiments.py --write     run all and write docs/experiments.md

Starts a daemon of its own ($REBASIND_BIN, default build/release/rebasind); python3 is all it needs.
"""
import json
import os
import sys
import time

os.environ.setdefault("REBASIND_BIN", "build/release/rebasind")
from daemon import FIXTURES, Daemon, equal  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
FOLDER = os.path.join(HERE, "experiments")

# name: title, what the paper or its code says of it
EXPERIMENTS = {
    "components": ("Which components", "The paper: FF helps, FF + MHA helps more, the residual "
                   "stream alone raises the barrier."),
    "heads": ("Attention heads", "The paper: heads must stay whole; permuting them is best. "
              "`ignore` scores higher and is another function: its certificate says so. Separate "
              "QK comes from the authors' code; rotation inside heads goes beyond the paper."),
    "residual": ("Residual stream", "One permutation for the whole stream from its first tap, its "
                 "last, or all; `separate` gives each tap its own and is no longer the same "
                 "function."),
    "data": ("Amount of alignment data", "The paper: more data changes little."),
    "similarity": ("Similarity and pooling", "The choices of the authors' code."),
    "glue-classification": ("GLUE-shaped classification", "Which of four authors wrote the "
                            "sentence: `authors-a`, `authors-b`, 500 rows."),
    "glue-regression": ("GLUE-shaped regression", "Word overlap of two sentences: `overlap-a`, "
                        "`overlap-b`, 500 rows."),
    "decoders-gpt2": ("A decoder: GPT-2", "Next-token loss on 32 blocks of 128; the paper's own next "
                      "step. One basis of the residual stream counts for more than heads here."),
    "decoders-neox": ("A decoder: GPT-NeoX", "Rotary positions: queries and keys follow the order of "
                      "heads and keep their inner order. Attention and MLP side by side."),
    "decoders-llama": ("A decoder: Llama", "Eight query heads share four key-value heads. With "
                       "`signed`, units of gated MLPs and of the stream (RMSNorm) may change sign."),
}

DATASETS = [
    {"name": "align", "path": "data/align.txt", "format": "text"},
    {"name": "eval", "path": "data/eval.txt", "format": "text"},
    {"name": "authors", "path": "data/authors.jsonl", "format": "jsonl", "text": "sentence",
     "label": "label"},
    {"name": "overlap", "path": "data/overlap.jsonl", "format": "jsonl", "text": "sentence1",
     "text_pair": "sentence2", "label": "label"},
]


def batch(name):
    with open(os.path.join(FOLDER, name + ".json"), encoding="utf-8") as f:
        return json.load(f)


def register(d):
    for pair in ("bert", "authors", "overlap", "gpt2", "neox", "llama"):
        for side in "ab":
            r = d.post("/v1/models", {"name": f"{pair}-{side}",
                                      "path": f"{FIXTURES}/models/{pair}-{side}"})
            equal(r.status, 201, r)
    for dataset in DATASETS:
        r = d.post("/v1/datasets", {**dataset, "path": f"{FIXTURES}/{dataset['path']}"})
        equal(r.status, 201, r)


def row(job, curve, plain):
    barrier = curve["barrier"]
    reduction = f"{100 * (1 - barrier['chord'] / plain):.1f} %" if plain else ""
    equivalent = {"exact": "same function", "near": "**near**", "different": "**another function**"}.get(
        job["summary"]["kind"], "not moved")
    metrics = [f"{name} {values[len(values) // 2]:.3f}"
               for name, values in sorted(curve["metrics"].items())
               if name in ("accuracy", "pearson")]
    return [job["name"], f"{barrier['chord']:.4f}", f"{barrier['chord_lambda']:g}",
            f"{barrier['mean']:.4f}", reduction, curve["shape"], equivalent] + metrics


def table(rows):
    head = ["", "barrier (chord)", "at λ", "barrier (mean)", "reduced by", "shape", "moved B"]
    head += ["at λ = 0.5"] * (len(rows[0]) - len(head))
    lines = [head, ["---"] + ["---:"] * 4 + ["---"] * (len(head) - 5)] + rows
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def run(d, name):
    begun = time.monotonic()
    r = d.post("/v1/jobs/batch", batch(name))
    equal(r.status, 202, r)
    rows, plain = [], None
    for submitted in r.json["data"]:
        job = d.wait_finished(submitted["id"], timeout=3600)
        equal(job["status"], "succeeded", job)
        curve = d.get(f"/v1/jobs/{job['id']}/barrier").json["aligned"]
        rows.append(row(job, curve, plain))
        plain = plain or curve["barrier"]["chord"]
    print(f"{name}: {len(rows)} jobs in {time.monotonic() - begun:.0f} s", file=sys.stderr)
    title, words = EXPERIMENTS[name]
    return (f"## {title}\n\n{words}\n\n    tests/e2e/experiments.py {name}\n\n"
            f"[tests/e2e/experiments/{name}.json](../tests/e2e/experiments/{name}.json)\n\n"
            f"{table(rows)}\n")


INTRODUCTION = """# Experiments

The paper's experiments on the demo models of this repository (4 layers, hidden 128, 4 heads; the same text,
different seeds). Each is a file of job specs, the body of `POST /v1/jobs/batch` as it stands:

    curl -H 'Content-Type: application/json' http://127.0.0.1:8686/v1/jobs/batch \\
         --data-binary @tests/e2e/experiments/components.json

and one command that starts a daemon, registers the models and texts, runs the batch and prints its table. The
tables below are what `tests/e2e/experiments.py --write` gave; barriers in nats (squared error for regression),
over the chord and over the mean of both ends (METHOD 6). The order is the paper's; small models of one
kilobyte of vocabulary are not BERT-base, so sizes differ.
"""


def kept():
    """What of the document no batch here makes: runs of hours, by `rebasind run`."""
    with open(os.path.join(HERE, "..", "..", "docs", "experiments.md"), encoding="utf-8") as f:
        text = f.read()
    at = text.find("## Beyond permutations")
    return text[at:] if at >= 0 else ""


def main():
    write = "--write" in sys.argv
    names = [n for n in sys.argv[1:] if n != "--write"] or list(EXPERIMENTS)
    for name in names:
        if name not in EXPERIMENTS:
            sys.exit(f"no experiment '{name}'; there are: {', '.join(EXPERIMENTS)}")
    with Daemon() as d:
        register(d)
        parts = [run(d, name) for name in names]
    text = "\n".join([INTRODUCTION] + parts + [kept()]) if write else "\n".join(parts)
    if write:
        with open(os.path.join(HERE, "..", "..", "docs", "experiments.md"), "w") as f:
            f.write(text)
    else:
        print(text)


if __name__ == "__main__":
    main()

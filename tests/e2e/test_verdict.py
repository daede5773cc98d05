"""What a merge is worth, everywhere the same: job, list, barrier, table, artifacts, card, `rebasind run`."""
import collections
import json
import math
import os
import subprocess
import tempfile

from daemon import BINARY, ENVIRONMENT, FIXTURES, Daemon, equal, run, true

MLM = {"models": {"a": "bert-a", "b": "bert-b"},
       "align": {"dataset": "align", "max_sequences": 50, "max_length": 48},
       "interpolate": {"points": 5},
       "evaluate": {"task": "mlm", "dataset": "eval", "block_size": 48, "max_blocks": 16}}


def finished(d, spec):
    r = d.post("/v1/jobs", spec)
    equal(r.status, 202, r)
    job = d.wait_finished(r.json["id"])
    equal(job["status"], "succeeded", job)
    return job


def check_figures(verdict, curve, lambdas):
    inner = range(1, len(lambdas) - 1)
    best = min(inner, key=lambda i: curve["loss"][i])
    equal((verdict["best_lambda"], verdict["loss"]), (lambdas[best], curve["loss"][best]))
    middle = [l for l, x in zip(curve["loss"], lambdas) if x == 0.5]
    equal(verdict["midpoint_loss"], middle[0] if middle else None)
    equal([p["loss"] for p in verdict["parents"]], [curve["loss"][0], curve["loss"][-1]])
    name = verdict["metric"]["name"]
    equal(verdict["metric"]["value"], curve["metrics"][name][best])
    equal([p["metric"] for p in verdict["parents"]], [curve["metrics"][name][0], curve["metrics"][name][-1]])


def test_everywhere_the_same():
    with Daemon() as d:
        d.register_fixtures()
        job = finished(d, {**MLM, "outputs": {"merged": [0.5]}})
        verdict = job["summary"]["verdict"]
        barrier = d.get(f"/v1/jobs/{job['id']}/barrier").json
        check_figures(verdict, barrier["aligned"], barrier["lambdas"])
        expected = "no better than chance" if verdict["loss"] >= verdict["chance"] else "worse than both"
        equal(verdict["text"], expected)  # two parents of 3.3, a merge far above
        true(2 < verdict["chance"] < 6.5 and verdict["chance_accuracy"] is None, verdict)
        equal(barrier["verdict"], verdict)
        equal(d.get("/v1/jobs").json["data"][0]["summary"]["verdict"], verdict)
        equal(d.get(f"/v1/barriers?job={job['id']}").json["data"][0]["verdict"], verdict)
        kept = d.get(f"/v1/jobs/{job['id']}/artifacts/barrier.json").json
        equal(kept["verdict"], verdict)
        rows = [r.split(",") for r in
                d.get(f"/v1/jobs/{job['id']}/barrier", {"Accept": "text/csv"}).body.decode().splitlines()]
        equal(rows[0][-2:], ["verdict", "chance_loss"])
        equal([(float(r[0]), r[-2]) for r in rows[1:] if r[-2]], [(verdict["best_lambda"], expected)])
        card = d.get(f"/v1/jobs/{job['id']}/artifacts/merged/lambda-0.50/README.md").body.decode()
        true(f"**{verdict['sentence']}**" in card, card)


def test_not_the_same_function():
    with Daemon() as d:
        d.register_fixtures()
        align = {**MLM["align"], "components": ["ff", "mha", "residual"], "residual": "separate"}
        job = finished(d, {**MLM, "align": align})
        summary = job["summary"]
        equal((summary["equivalent"], summary["verdict"]["text"]), (False, "not the same function"))
        equal((summary["reduction"], summary["reduction_standard_error"]), (None, None))
        barrier = d.get(f"/v1/jobs/{job['id']}/barrier").json
        check_figures(summary["verdict"], barrier["aligned"], barrier["lambdas"])
        true(barrier["reduction"]["mean"] is not None, "the number stays where the curve is")
        nothing = finished(d, {k: v for k, v in MLM.items() if k not in ("evaluate", "interpolate")})
        equal(nothing["summary"]["verdict"], None)


def test_chance_of_labels():
    with open(f"{FIXTURES}/data/authors.jsonl") as f:
        labels = [json.loads(line)["label"] for line in f][:200]
    shares = [n / len(labels) for n in collections.Counter(labels).values()]
    with Daemon() as d:
        d.register_fixtures()
        equal(d.post("/v1/datasets", {"name": "authors", "path": f"{FIXTURES}/data/authors.jsonl",
                                      "format": "jsonl", "text": "sentence", "label": "label"}).status, 201)
        for side in "ab":
            equal(d.post("/v1/models", {"name": f"authors-{side}",
                                        "path": f"{FIXTURES}/models/authors-{side}"}).status, 201)
        job = finished(d, {"models": {"a": "authors-a", "b": "authors-b"}, "align": {"components": []},
                           "interpolate": {"points": 3},
                           "evaluate": {"task": "classification", "dataset": "authors", "max_examples": 200}})
        verdict = job["summary"]["verdict"]
        true(abs(verdict["chance"] + sum(p * math.log(p) for p in shares)) < 1e-9, verdict)
        true(abs(verdict["chance_accuracy"] - max(shares)) < 1e-12, verdict)
        equal(verdict["metric"]["name"], "accuracy")


def test_run_says_it_in_words():
    spec = {**MLM, "models": {k: f"{FIXTURES}/models/{v}" for k, v in MLM["models"].items()}}
    spec["align"] = {**MLM["align"], "dataset": f"{FIXTURES}/data/align.txt",
                     "components": ["ff", "mha", "residual"], "residual": "separate"}
    spec["evaluate"] = {**MLM["evaluate"], "dataset": f"{FIXTURES}/data/eval.txt"}
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "spec.json")
        with open(path, "w") as f:
            json.dump(spec, f)
        out = subprocess.run([BINARY, "run", path], capture_output=True, text=True, env=ENVIRONMENT)
    equal(out.returncode, 0, out.stderr)
    true(out.stdout.splitlines()[-1].startswith("Not the same function: "), out.stdout)
    true("reduced by" not in out.stdout, out.stdout)


if __name__ == "__main__":
    run([test_everywhere_the_same, test_not_the_same_function, test_chance_of_labels,
         test_run_says_it_in_words])

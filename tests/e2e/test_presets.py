"""align.preset: what a recipe becomes for each family, what beside it wins, and what is refused."""
import random
import time

from daemon import FIXTURES, Daemon, equal, run, true

PAPER = {"components": ["ff", "mha"], "rotate_heads": False}
TURNED = {"components": ["ff", "mha", "residual"], "residual": "all", "residual_map": "orthogonal"}


def plan(d, pair, align, task="clm"):
    evaluate = {"task": task, "dataset": "eval", "block_size": 48, "max_blocks": 4}
    return d.post("/v1/jobs?dry_run=true", {
        "models": {"a": f"{pair}-a", "b": f"{pair}-b"}, "align": {"dataset": "align", **align},
        "evaluate": evaluate})


def became(d, pair, align, task="clm"):
    r = plan(d, pair, align, task)
    equal(r.status, 200, r)
    return r.json["spec"]["align"]


def holds(found, expected):
    equal({k: found.get(k) for k in expected}, expected, found)


def test_presets():
    with Daemon() as d:
        d.register_fixtures()
        for pair in ("gpt2", "neox", "llama"):
            for side in "ab":
                equal(d.post("/v1/models", {"name": f"{pair}-{side}", "path":
                             f"{FIXTURES}/models/{pair}-{side}"}).status, 201)
        holds(became(d, "bert", {"preset": "paper"}, "mlm"), PAPER)
        equal(became(d, "bert", {"preset": "paper"}, "mlm"), became(d, "bert", {}, "mlm"))
        holds(became(d, "bert", {"preset": "best"}, "mlm"),
              {"components": ["ff", "mha", "residual"], "residual": "first",
               "head_map": "orthogonal", "residual_map": None, "preset": None, "learn": None})
        holds(became(d, "bert", {"preset": "best", "equivalence": "near"}, "mlm"),
              {**TURNED, "head_map": "orthogonal", "match": "both", "equivalence": "near",
               "output_head": True, "rounds": 3})
        holds(became(d, "gpt2", {"preset": "best"}),
              {**TURNED, "head_map": "orthogonal", "match": "both", "signed": None, "rounds": 3})
        holds(became(d, "gpt2", {"preset": "best", "rounds": 1}), {"match": "both", "rounds": None})
        holds(became(d, "gpt2", {"preset": "learned"}), {"match": "both", "rounds": None})
        holds(became(d, "neox", {"preset": "best"}),
              {**TURNED, "head_map": "orthogonal", "match": None})
        holds(became(d, "llama", {"preset": "best"}), {**TURNED, "head_map": None, "signed": True})
        learned = became(d, "llama", {"preset": "learned", "learn": {"steps": 40}})
        holds(learned, {**TURNED, "head_map": "invertible", "signed": True})
        equal((learned["learn"]["steps"], learned["learn"]["batch_tokens"]), (40, 1024), learned)
        equal(became(d, "bert", {"preset": "learned"}, "mlm")["learn"]["steps"], 300)
        # What stands beside it wins.
        holds(became(d, "gpt2", {"preset": "best", "residual_map": "permutation"}),
              {"residual_map": None, "match": None, "head_map": "orthogonal", "rounds": None})
        holds(became(d, "gpt2", {"preset": "best", "residual": "first", "head_map": "permutation"}),
              {"residual_map": None, "residual": "first", "head_map": None})
        holds(became(d, "llama", {"preset": "best", "components": ["ff"], "signed": False}),
              {"components": ["ff"], "residual_map": None, "head_map": None, "signed": None})
        for align, pointer in (({"preset": "strong"}, "/align/preset"),
                               ({"preset": "best", "match": "weights", "residual_map": "permutation",
                                 "components": ["residual"]}, "/align/match"),
                               ({"preset": "best", "rounds": 2, "residual_map": "permutation"},
                                "/align/rounds"),
                               ({"preset": "best", "rounds": 21}, "/align/rounds"),
                               ({"preset": "best", "equivalence": "near"}, "/align/equivalence"),
                               ({"preset": "best", "learn": {"lambda": [1]}},
                                "/align/learn/lambda")):
            r = plan(d, "gpt2", align)
            equal(r.status, 422, r)
            true(any(f["pointer"] == pointer for f in r.json["errors"]), r)
        # A job keeps what the preset became, for retries and for whoever uses its alignment.
        spec = {"models": {"a": "neox-a", "b": "neox-b"},
                "align": {"dataset": "align", "max_sequences": 100, "preset": "best"},
                "interpolate": {"points": 3},
                "evaluate": {"task": "clm", "dataset": "eval", "block_size": 64, "max_blocks": 8}}
        done = d.wait_finished(d.post("/v1/jobs", spec).json["id"])
        holds(done["spec"]["align"], TURNED)
        true(done["summary"]["kind"] == "exact", done)
        true(done["summary"]["barrier_chord"] < 0.7 * done["summary"]["control_barrier_chord"], done)


def test_rounds():
    """FF and heads by weights, in turn with the stream's map: what each round came to is told."""
    turned = {"dataset": "align", "max_sequences": 100, "components": ["ff", "mha", "residual"],
              "residual_map": "orthogonal", "match": "both"}
    with Daemon() as d:
        for name, path in (("a", "models/gpt2-a"), ("b", "models/gpt2-b")):
            equal(d.post("/v1/models", {"name": name, "path": f"{FIXTURES}/{path}"}).status, 201)
        for name in ("align", "eval"):
            equal(d.post("/v1/datasets", {"name": name, "path": f"{FIXTURES}/data/{name}.txt"}).status,
                  201)
        spec = {"models": {"a": "a", "b": "b"}, "align": {**turned, "rounds": 3},
                "interpolate": {"points": 3},
                "evaluate": {"task": "clm", "dataset": "eval", "block_size": 64, "max_blocks": 4}}
        once = d.post("/v1/jobs?dry_run=true", {**spec, "align": turned}).json
        thrice = d.post("/v1/jobs?dry_run=true", spec).json
        equal((once["spec"]["align"].get("rounds"), thrice["spec"]["align"]["rounds"]), (None, 3), thrice)
        true(thrice["estimate"]["seconds"] > once["estimate"]["seconds"], (once, thrice))
        job = d.wait_finished(d.post("/v1/jobs", spec).json["id"])
        equal((job["status"], job["summary"]["kind"]), ("succeeded", "exact"), job)
        barrier = d.get(f"/v1/jobs/{job['id']}/barrier").json
        folded, control = barrier["folded_control"], barrier["control"]["loss"]
        curve = folded["curve"]
        equal((curve["loss"][0], curve["loss"][-1]), (control[0], control[-1]))  # it is no other function there
        true(abs(curve["loss"][1] - control[1]) > 1e-3, barrier)  # but it is not the raw control
        true(abs(folded["barrier"] - (folded["loss"] - (control[0] + control[-1]) / 2)) < 1e-9, barrier)
        equal((folded["lambda"], folded["loss"], folded["standard_error"], folded["barrier"]),
              (0.5, curve["loss"][1], curve["standard_error"][1], curve["barrier"]["chord"]))
        true(folded["standard_error"] > 0 and curve["barrier"]["chord_standard_error"] > 0, barrier)
        true(barrier["aligned"]["barrier"]["chord"] < folded["barrier"], barrier)
        lines = d.get(f"/v1/jobs/{job['id']}/artifacts/barrier.csv").body.decode().splitlines()
        cells = [dict(zip(lines[0].split(","), line.split(","))) for line in lines[1:]]
        equal([float(c["folded_control_loss"]) for c in cells], curve["loss"], cells)
        equal([float(c["folded_control_standard_error"]) for c in cells], curve["standard_error"], cells)
        points = [e["data"] for e in d.get(f"/v1/jobs/{job['id']}/events?limit=1000").json["data"] if e["type"] == "point"]
        equal(sorted(p["lambda"] for p in points if p["curve"] == "folded"), [0, 0.5, 1], points)
        told = d.get(f"/v1/jobs/{job['id']}/permutations").json["rounds"]
        equal(len(told), 3, told)
        true(told[0]["moved"] == 0 and told[1]["moved"] > 0, told)
        true(told[2]["weights"] > told[0]["weights"] and 0 < told[2]["activations"] <= 1, told)
        # Of a permuted stream FF and heads go by weights at once.
        plain = {"dataset": "align", "max_sequences": 100, "match": "weights"}
        job = d.wait_finished(d.post("/v1/jobs", {**spec, "align": plain}).json["id"])
        equal((job["status"], job["summary"]["kind"]), ("succeeded", "exact"), job)
        equal(d.get(f"/v1/jobs/{job['id']}/permutations").json.get("rounds"), None)
        true("folded_control" not in d.get(f"/v1/jobs/{job['id']}/barrier").json)


def test_the_folded_control_over_kills():
    """By lambda, by rounds and where the points are found: the same curve after kills, and no point of it twice."""
    spec = {"models": {"a": "a", "b": "b"}, "align": {"components": ["ff"], "fold": True, "dataset": "align",
                                                     "max_sequences": 30},
            "interpolate": {"points": 7}, "evaluate": {"task": "clm", "dataset": "eval", "block_size": 64, "max_blocks": 48}}
    kinds = [spec, {**spec, "evaluate": {**spec["evaluate"], "precision": 0.1}}, {**spec, "interpolate": {"points": "auto"}}]

    def start(d):
        for side in "ab":
            equal(d.post("/v1/models", {"name": side, "path": f"{FIXTURES}/models/gpt2-{side}"}).status, 201)
        for name in ("align", "eval"):
            equal(d.post("/v1/datasets", {"name": name, "path": f"{FIXTURES}/data/{name}.txt"}).status, 201)

    def points(d, job):
        events = d.get(f"/v1/jobs/{job}/events?limit=1000").json["data"]
        return [e["data"]["lambda"] for e in events if e["type"] == "point" and e["data"]["curve"] == "folded"]

    random.seed(5)
    with Daemon() as d:
        start(d)
        jobs = [d.post("/v1/jobs", s).json["id"] for s in kinds]
        for job in jobs:
            equal(d.wait_finished(job)["status"], "succeeded")
        expected = [d.get(f"/v1/jobs/{job}/barrier").json for job in jobs]
    with Daemon() as d:
        start(d)
        for s, before in zip(kinds, expected):
            job = d.post("/v1/jobs", s).json["id"]
            for _ in range(4):
                time.sleep(random.uniform(0.1, 0.8))
                d.kill()
                d.start()
            equal(d.wait_finished(job)["status"], "succeeded")
            barrier = d.get(f"/v1/jobs/{job}/barrier").json
            equal({k: v for k, v in barrier.items() if k != "job"}, {k: v for k, v in before.items() if k != "job"})
            equal(sorted(points(d, job)), barrier["lambdas"])


if __name__ == "__main__":
    run([v for k, v in list(globals().items()) if k.startswith("test_")])

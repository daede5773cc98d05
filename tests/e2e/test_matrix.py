"""All pairs of some models as one: POST /v1/jobs/matrix. Features are computed once for all pairs, each pair has the
bits of its own job, what is close stands together; limits, refusals, a cancel, kills at random moments."""
import csv
import io
import os
import random
import shutil
import tempfile
import time

from daemon import FIXTURES, Daemon, equal, problem, run, true
from test_several import shuffled, tokens_read

MODELS = ["gpt2-a", "gpt2-b", "gpt2-a2", "gpt2-b2"]
PAIRS = [(a, b) for i, a in enumerate(MODELS) for b in MODELS[i + 1:]]
LIVE = ("queued", "running")
THREE = {"models": MODELS[:3]}


def body(**more):
    return {"models": MODELS, "name": "seeds",
            "spec": {"align": {"components": ["ff", "mha"], "dataset": "align", "max_sequences": 24},
                     "interpolate": {"points": 3},
                     "evaluate": {"task": "clm", "dataset": "eval", "block_size": 64, "max_blocks": 2}}, **more}


class Seeds(Daemon):
    """gpt2-a2 is gpt2-a with its FF units in another order, gpt2-b2 likewise."""

    def __init__(self, *flags, **more):
        self.made = tempfile.mkdtemp(prefix="rebasind-made-")
        for i, name in enumerate(("gpt2-a", "gpt2-b")):
            shuffled(f"{FIXTURES}/models/{name}", f"{self.made}/{name}2", i)
        super().__init__("--import-root", self.made, *flags, **more)

    def __enter__(self):
        super().__enter__()
        self.register_fixtures()
        for name in MODELS:
            root = self.made if name.endswith("2") else f"{FIXTURES}/models"
            equal(self.post("/v1/models", {"name": name, "path": f"{root}/{name}"}).status, 201)
        return self

    def __exit__(self, *why):
        shutil.rmtree(self.made, ignore_errors=True)
        return super().__exit__(*why)


def submit(d, what=None):
    reply = d.post("/v1/jobs/matrix", what or body())
    equal((reply.status, reply.json.get("kind")), (202, "matrix"), reply)
    equal(reply["Location"], f"/v1/sweeps/{reply.json['id']}")
    return reply["Location"]


def wait(d, matrix):
    for _ in range(3000):
        m = d.get(matrix).json
        if m["status"] not in LIVE:
            return m
        time.sleep(0.05)
    raise AssertionError(f"the matrix does not end: {m['progress']}")


def metric(d, start):
    return sum(float(line.split()[-1]) for line in d.get("/metrics").body.decode().splitlines()
               if line.startswith(start))


def results(d, m):
    """Of each pair: both curves, and the alignment's bits."""
    found = []
    for row in m["table"]:
        curve = d.get(f"/v1/jobs/{row['job']}/barrier").json
        files = {a["name"]: a["sha256"] for a in d.get(f"/v1/jobs/{row['job']}/artifacts").json["data"]}
        found.append((row["models"], curve["aligned"]["loss"], curve["control"]["loss"], files["alignment.safetensors"]))
    return found


def test_features_are_computed_once():
    with Seeds() as d:
        m = wait(d, submit(d))
        equal((m["status"], m["jobs"], m["name"]), ("succeeded", 6, "seeds"), m)
        equal(metric(d, 'rebasind_moments_cache_requests_total{result="miss"'), 1)
        equal(metric(d, 'rebasind_moments_cache_requests_total{result="hit"'), 5)
        read = tokens_read(d)
        true(read > 0, "no token was counted")
        check_answer(d, m)
        alone = {**body()["spec"], "models": {"a": "gpt2-b2", "b": "gpt2-a"}}  # the other way: not kept
        d.wait_finished(d.post("/v1/jobs", alone).json["id"])
        equal(2 * (tokens_read(d) - read), read)  # four models once, two models once
        together = results(d, m)
    with Seeds("--moments-cache-bytes", "0") as d:  # every pair by itself
        equal(results(d, wait(d, submit(d))), together)


def check_answer(d, m):
    equal([(row["models"]["a"], row["models"]["b"]) for row in m["table"]], PAIRS)
    equal(m["table"][3]["name"], "seeds: gpt2-b and gpt2-a2")
    equal(m["matrix"]["models"], MODELS)
    for i in range(4):
        for k in range(4):
            expected = None if i == k else m["table"][PAIRS.index((MODELS[min(i, k)], MODELS[max(i, k)]))]["barrier_chord"]
            equal(m["matrix"]["barriers"][i][k], expected)
    true(abs(m["matrix"]["barriers"][0][2]) < 1e-4 and abs(m["matrix"]["barriers"][1][3]) < 1e-4, m["matrix"])
    order = m["matrix"]["order"]
    equal(sorted(order), [0, 1, 2, 3])
    equal(abs(order.index(0) - order.index(2)), 1)  # what is the same stands together
    equal(abs(order.index(1) - order.index(3)), 1)
    text = d.get(m["links"]["self"], {"Accept": "text/csv"}).body.decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    equal([(row["model_a"], row["model_b"]) for row in rows], PAIRS)
    equal([float(row["barrier_chord"]) for row in rows], [row["barrier_chord"] for row in m["table"]])
    listed = d.get("/v1/sweeps").json["data"][0]
    true(listed["kind"] == "matrix" and "matrix" not in listed, listed)


def check_seconds(plan):
    """The matrix takes what its pairs would take alone, less what they share: features read once instead of twice."""
    alone = sum(row["estimate"]["seconds"] for row in plan["table"])
    saved, passes = plan["shared"]["saved_seconds"], plan["shared"]["model_passes"]
    true(abs(plan["estimate"]["seconds"] + saved - alone) < 1e-9 * alone, plan)
    equal(saved > 0, passes < 2 * plan["jobs"], plan)
    true(saved < alone, plan)


def test_memory_is_bounded_and_told():
    with Seeds() as d:
        whole = d.post("/v1/jobs/matrix?dry_run=true", body(**THREE)).json
        equal((whole["jobs"], whole["shared"]["pairs_at_once"], whole["shared"]["collections"]), (3, 3, 1))
        equal(whole["shared"]["model_passes"], 3)  # each once; a pair alone has two
        check_seconds(whole)
        each = whole["shared"]["moments_bytes"] // 3
    with Seeds("--moments-cache-bytes", str(int(each * 2.5))) as d:
        some = d.post("/v1/jobs/matrix?dry_run=true", body(**THREE)).json
        equal((some["shared"]["pairs_at_once"], some["shared"]["collections"]), (2, 2))
        equal(some["shared"]["model_passes"], 3 + 2)  # (0, 1) and (0, 2), then (1, 2)
        check_seconds(some)
        true(0 < some["shared"]["saved_seconds"] < whole["shared"]["saved_seconds"], (some, whole))
        true(some["estimate"]["peak_bytes"] < whole["estimate"]["peak_bytes"], (some, whole))
        m = wait(d, submit(d, body(**THREE)))
        equal(m["status"], "succeeded", m)
        equal(metric(d, 'rebasind_moments_cache_requests_total{result="miss"'), 2)
        kept = os.path.join(d.data_dir, "cache", "moments")
        true(sum(os.path.getsize(os.path.join(kept, f)) for f in os.listdir(kept)) <= each * 2.5)


def test_seconds_of_what_is_shared():
    """With features alone a third of them is spared in two of three pairs' six readings, whatever the rates are."""
    with Seeds() as d:
        texts = [body(spec={"align": {"components": ["ff"], "dataset": "align", "max_sequences": n}}, **THREE) for n in (24, 240)]
        few, many = (d.post("/v1/jobs/matrix?dry_run=true", t).json for t in texts)
        check_seconds(few)
        check_seconds(many)
        # What ten times the text costs more is features and products: of six readings three stay.
        more = sum(row["estimate"]["seconds"] for row in many["table"]) - sum(row["estimate"]["seconds"] for row in few["table"])
        spared = many["shared"]["saved_seconds"] - few["shared"]["saved_seconds"]
        true(0.25 * more < spared < 0.5 * more, (more, spared))
        none = d.post("/v1/jobs/matrix?dry_run=true", body(spec={"align": {"components": []}, "interpolate": {"points": 2}, "evaluate":
                      body()["spec"]["evaluate"]}, **THREE)).json
        equal((none["shared"]["model_passes"], none["shared"]["saved_seconds"]), (0, 0), none)
        check_seconds({**none, "shared": {**none["shared"], "model_passes": 6}})


def test_a_model_that_is_gone_fails_its_own_pairs():
    with Seeds() as d:
        other = {**body(), "models": ["gpt2-a", "gpt2-a2", "gpt2-b"]}
        before = [d.post("/v1/jobs", {"models": {"a": "bert-a", "b": "bert-b"}, "align": {"dataset": "align"},
                                      "interpolate": {"points": 1001}, "evaluate": {"task": "mlm", "dataset": "eval"}})
                  for _ in range(2)]  # the matrix waits for one of them
        matrix = submit(d, other)
        os.unlink(f"{d.made}/gpt2-a2/model.safetensors")
        for job in before:
            d.post(f"/v1/jobs/{job.json['id']}/cancel", {})
        m = wait(d, matrix)
        equal([row["status"] for row in m["table"]], ["failed", "succeeded", "failed"], m)


def test_refusals():
    with Seeds() as d:
        for more, pointer, words in [
            ({"models": ["gpt2-a"]}, "/models", "2 to 32"),
            ({"models": "gpt2-a"}, "/models", "2 to 32"),
            ({"models": ["gpt2-a", "gpt2-b", "gpt2-a"]}, "/models/2", "there already"),
            ({"models": ["gpt2-a", "gpt2-b", "nobody"]}, "/models/2", "nobody"),
            ({"models": ["gpt2-a", 7]}, "/models/1", "name"),
            ({"models": ["gpt2-a", "gpt2-b", "bert-a"]}, "/models", "bert-a"),
            ({"spec": {**body()["spec"], "models": {"a": "gpt2-a", "b": "gpt2-b"}}}, "/spec/models", "beside"),
            ({"spec": {**body()["spec"], "oops": 1}}, "/spec/oops", ""),
            ({"grid": {}}, "/grid", ""),
        ]:
            reply = d.post("/v1/jobs/matrix", {**body(), **more})
            equal(reply.status, 422, reply)
            true(any(f["pointer"] == pointer and words in f["detail"] for f in reply.json.get("errors", [])), reply)
        equal(d.get("/v1/jobs").json["data"], [])
    with Seeds("--queue-limit", "5") as d:
        problem(d.post("/v1/jobs/matrix", body()), 422, "invalid_request", "/models")


def test_it_ends_as_one():
    with Seeds() as d:
        matrix = submit(d)
        equal(d.post(matrix + "/cancel", {}).status in (200, 202), True)
        m = wait(d, matrix)
        equal((m["status"], m["progress"]["canceled"]), ("canceled", 6), m)
        equal(d.request("DELETE", matrix).status, 204)
        equal(d.get("/v1/jobs").json["data"], [])


def test_kills_change_no_bit():
    random.seed(5)
    with Seeds() as d:
        expected = results(d, wait(d, submit(d, body(**THREE))))
    with Seeds() as d:
        matrix = submit(d, body(**THREE))
        for _ in range(3):
            before = d.get(matrix).json["progress"]["succeeded"]
            while d.get(matrix).json["progress"]["succeeded"] == before and d.get(matrix).json["status"] in LIVE:
                time.sleep(0.02)
            time.sleep(random.uniform(0, 0.1))
            d.kill()
            d.start()
        m = wait(d, matrix)
        equal(m["status"], "succeeded", m)
        equal(results(d, m), expected)


if __name__ == "__main__":
    run([test_features_are_computed_once, test_memory_is_bounded_and_told, test_seconds_of_what_is_shared,
         test_a_model_that_is_gone_fails_its_own_pairs,
         test_refusals, test_it_ends_as_one, test_kills_change_no_bit])

"""Learned maps: a job that learns, its training curve, what is refused, and kills at random moments that
change no bit."""
import platform
import random
import shutil
import tempfile
import time

from daemon import FIXTURES, Daemon, equal, problem, run, true

JOB = {
    "models": {"a": "bert-a", "b": "bert-b"},
    "align": {"components": ["mha"], "rotate_heads": True, "dataset": "align", "max_sequences": 60,
              "learn": {"steps": 75, "batch_tokens": 192, "patience": 0}},
    "interpolate": {"points": 3},
    "evaluate": {"task": "mlm", "dataset": "eval", "max_blocks": 16},
}


def with_learn(**members):
    return {**JOB, "align": {**JOB["align"], "learn": {**JOB["align"]["learn"], **members}}}


def results(d, job):
    barrier = d.get(f"/v1/jobs/{job}/barrier").json
    curve = d.get(f"/v1/jobs/{job}/learning").json
    artifacts = d.get(f"/v1/jobs/{job}/artifacts").json["data"]
    digests = {a["name"]: a["sha256"] for a in artifacts if a["name"].endswith(".safetensors")}
    return barrier["aligned"]["loss"], curve["points"], digests


def test_a_job_that_learns():
    with Daemon() as d:
        d.register_fixtures()
        plan = d.post("/v1/jobs?dry_run=true", JOB).json
        equal(plan["spec"]["align"]["learn"]["learning_rate"], 0.003, plan)
        true(plan["estimate"]["seconds"] > 0, plan)
        plain = {**JOB, "align": {k: v for k, v in JOB["align"].items() if k != "learn"}}
        before = d.wait_finished(d.post("/v1/jobs", plain).json["id"])
        job = d.post("/v1/jobs", JOB).json["id"]
        done = d.wait_finished(job)
        equal(done["status"], "succeeded", done)
        true(done["timings"]["learning"] > 0, done)
        true(done["summary"]["equivalent"], done)
        curve = d.get(f"/v1/jobs/{job}/learning").json
        equal([p["step"] for p in curve["points"]], [0, 25, 50, 75], curve)
        equal((curve["complete"], curve["steps"], curve["steps_done"]), (True, 75, 75), curve)
        held = [p["held_loss"] for p in curve["points"]]
        true(min(held[1:]) < held[0] - 0.05, curve)
        equal(curve["points"][0]["train_loss"], None, curve)
        best = min(range(4), key=lambda i: held[i])
        equal(curve["best_step"], best * 25, curve)
        # What was never learned from: the evaluation's text.
        true(done["summary"]["barrier_chord"] < before["summary"]["barrier_chord"] - 0.05,
             (done["summary"], before["summary"]))
        true("learning.json" in [a["name"] for a in d.get(f"/v1/jobs/{job}/artifacts").json["data"]])
        # An alignment like any other.
        again = {"models": JOB["models"], "align": {"from_job": job},
                 "interpolate": JOB["interpolate"], "evaluate": JOB["evaluate"]}
        reused = d.post("/v1/jobs", again).json["id"]
        d.wait_finished(reused)
        equal(d.get(f"/v1/jobs/{reused}/barrier").json["aligned"]["loss"],
              d.get(f"/v1/jobs/{job}/barrier").json["aligned"]["loss"])
        problem(d.get(f"/v1/jobs/{reused}/learning"), 404, "not_found")
        # Another seed learns from other blocks.
        other = d.post("/v1/jobs", with_learn(seed=7)).json["id"]
        d.wait_finished(other)
        true(results(d, other)[1] != results(d, job)[1])


def test_invertible_heads():
    """Heads are stretched as well as turned: still the same function, also read from the disk again."""
    with Daemon() as d:
        d.register_fixtures()
        align = {**{k: v for k, v in JOB["align"].items() if k != "rotate_heads"},
                 "head_map": "invertible", "learn": {"steps": 30, "batch_tokens": 192, "patience": 0}}
        job = d.post("/v1/jobs", {**JOB, "align": align}).json["id"]
        done = d.wait_finished(job)
        equal(done["summary"]["kind"], "exact", done)
        reused = d.wait_finished(d.post("/v1/jobs", {
            "models": JOB["models"], "align": {"from_job": job}, "interpolate": JOB["interpolate"],
            "evaluate": JOB["evaluate"]}).json["id"])
        equal(reused["summary"]["kind"], "exact", reused)
        equal(reused["summary"]["barrier_chord"], done["summary"]["barrier_chord"])
        group = d.get(f"/v1/jobs/{job}/permutations/layer.0.mha?rotations=true").json
        s = group["value_rotation"][0]
        length = sum(v * v for v in s[0]) ** 0.5
        true(0.1 < length < 10 and abs(length - 1) > 1e-4, length)


def test_units_of_a_gated_mlp():
    """Factors of gated units and which unit goes with which: the same function, also from the disk."""
    with Daemon() as d:
        d.register_fixtures()
        for pair in ("llama", "neox"):
            for side in "ab":
                equal(d.post("/v1/models", {"name": f"{pair}-{side}", "path":
                             f"{FIXTURES}/models/{pair}-{side}"}).status, 201)
        spec = {"models": {"a": "llama-a", "b": "llama-b"}, "interpolate": {"points": 3},
                "evaluate": {"task": "clm", "dataset": "eval", "block_size": 48, "max_blocks": 8}}
        align = {"components": ["ff"], "signed": True, "dataset": "align", "max_sequences": 60,
                 "learn": {"steps": 50, "batch_tokens": 384, "patience": 0, "learning_rate": 0.006,
                           "groups": ["ff", "scales"]}}
        job = d.post("/v1/jobs", {**spec, "align": align}).json["id"]
        done = d.wait_finished(job)
        equal((done["status"], done["summary"]["kind"]), ("succeeded", "exact"), done)
        held = [p["held_loss"] for p in d.get(f"/v1/jobs/{job}/learning").json["points"]]
        true(min(held[1:]) < held[0], held)
        plain = {**align, "learn": None}
        del plain["learn"]
        matched = d.post("/v1/jobs", {**spec, "align": plain}).json["id"]
        d.wait_finished(matched)
        moved = 0
        for layer in range(2):
            path = f"permutations/layer.{layer}.ff"
            ff, before = d.get(f"/v1/jobs/{job}/{path}").json, d.get(f"/v1/jobs/{matched}/{path}").json
            equal(sorted(ff["index"]), list(range(ff["size"])))
            moved += sum(a != b for a, b in zip(ff["index"], before["index"]))
            true(all(0.1 < s < 10 for s in ff["scales"]), ff["scales"][:9])
            true(max(ff["scales"]) > 1.001 and min(ff["scales"]) < 0.999, ff["scales"][:9])
            true("scales" not in before and set(ff["signs"]) == {-1, 1})
        true(moved > 0, "no unit was matched anew")
        reused = d.wait_finished(d.post("/v1/jobs", {**spec, "align": {"from_job": job}}).json["id"])
        equal(reused["summary"]["barrier_chord"], done["summary"]["barrier_chord"], reused)
        r = d.post("/v1/jobs", {**spec, "models": {"a": "neox-a", "b": "neox-b"},
                                "align": {**align, "signed": False}})
        true(r.status == 422 and r.json["errors"][0]["pointer"] == "/align/learn/groups"
             and "gated" in r.json["errors"][0]["detail"], r)


def test_the_order_of_heads():
    """Heads that go elsewhere while they are learned: the same function, also from the disk, and told as heads."""
    with Daemon() as d:
        d.register_fixtures()
        for pair in ("llama", "gpt2"):
            for side in "ab":
                equal(d.post("/v1/models", {"name": f"{pair}-{side}", "path": f"{FIXTURES}/models/{pair}-{side}"}).status, 201)
            spec = {"models": {"a": f"{pair}-a", "b": f"{pair}-b"}, "interpolate": {"points": 3},
                    "evaluate": {"task": "clm", "dataset": "eval", "block_size": 48, "max_blocks": 8}}
            # Matched in B's own order: learning finds others.
            align = {"components": ["mha"], "heads": "monotonic", "head_map": "orthogonal", "dataset": "align",
                     "max_sequences": 60, "learn": {"steps": 60, "batch_tokens": 384, "patience": 0, "learning_rate": 0.02,
                                                    "groups": ["head_order"]}}
            job = d.post("/v1/jobs", {**spec, "align": align}).json["id"]
            done = d.wait_finished(job)
            equal((done["status"], done["summary"]["kind"]), ("succeeded", "exact"), done)
            moved = 0
            for layer in range(2):
                mha = d.get(f"/v1/jobs/{job}/permutations/layer.{layer}.mha").json
                equal(sorted(mha["index"]), list(range(mha["size"])))
                equal(sorted(mha["heads"]), list(range(len(mha["heads"]))))
                size = mha["size"] // len(mha["heads"])
                equal([u // size for u in mha["index"][::size]], mha["heads"])
                moved += mha["heads"] != sorted(mha["heads"])
            print(f"      {pair}: heads moved in {moved} layers")
            true(moved > 0, "no head was matched anew")
            reused = d.wait_finished(d.post("/v1/jobs", {**spec, "align": {"from_job": job}}).json["id"])
            equal(reused["summary"]["barrier_chord"], done["summary"]["barrier_chord"], reused)


def test_refusals():
    with Daemon() as d:
        d.register_fixtures()
        for align, pointer, words in [
            ({"learn": {"steps": 0}}, "/align/learn/steps", "from 1 to 100000"),
            ({"learn": {"lambda": [0.6, 0.4]}}, "/align/learn/lambda", "ascending"),
            ({"learn": {"lambda": [0.6]}}, "/align/learn/lambda", "two numbers"),
            ({"learn": {"groups": ["residual"]}}, "/align/learn/groups", "residual"),
            ({"learn": {"dataset": "nobody"}}, "/align/learn/dataset", "nobody"),
            ({"components": ["ff"], "learn": {}, "rotate_heads": False}, "/align/learn", "mha"),
            ({"heads": "ignore", "rotate_heads": False, "learn": {}}, "/align/learn", "nothing"),
        ]:
            r = d.post("/v1/jobs", {**JOB, "align": {**JOB["align"], **align}})
            problem(r, 422, "invalid_request" if r.json["code"] == "invalid_request"
                    else "models_differ")
            faults = r.json["errors"]
            true(any(f["pointer"] == pointer and words in f["detail"] for f in faults), r)


def test_cancel():
    with Daemon() as d:
        d.register_fixtures()
        job = d.post("/v1/jobs", with_learn(steps=100000, patience=0)).json["id"]
        wait_for_points(d, job, 2)
        d.post(f"/v1/jobs/{job}/cancel")
        began = time.monotonic()
        equal(d.wait_finished(job)["status"], "canceled")
        true(time.monotonic() - began < 20)


def test_the_stream_of_a_decoder():
    """Folded norms, a turned stream, heads: most of the barrier goes, and the function stays."""
    with Daemon() as d:
        d.register_fixtures()
        for side in "ab":
            equal(d.post("/v1/models", {"name": f"neox-{side}", "path":
                         f"{FIXTURES}/models/neox-{side}"}).status, 201)
        align = {"components": ["ff", "mha", "residual"], "residual_map": "orthogonal",
                 "head_map": "orthogonal", "dataset": "align", "max_sequences": 300}
        spec = {"models": {"a": "neox-a", "b": "neox-b"}, "align": align,
                "interpolate": {"points": 3},
                "evaluate": {"task": "clm", "dataset": "eval", "block_size": 128, "max_blocks": 16}}
        first = d.post("/v1/jobs", spec).json["id"]
        turned = d.wait_finished(first)["summary"]
        learning = {**spec, "align": {**align, "learn": {"steps": 30, "patience": 0}}}
        job = d.post("/v1/jobs", learning).json["id"]
        learned = d.wait_finished(job)["summary"]
        maps = d.get(f"/v1/jobs/{job}/alignment").json
        equal({g["name"]: g["kind"] for g in maps["groups"] if g["name"] in ("layer.0.ff", "layer.0.mha", "residual")},
              {"layer.0.ff": "permutation", "layer.0.mha": "orthogonal", "residual": "orthogonal"})
        equal((maps["learned"]["steps"], maps["folded"], maps["residual_map"]), (30, True, "orthogonal"), maps)
        true(maps["learned"]["held_after"] < maps["learned"]["held_before"], maps)
        stream = next(g for g in maps["groups"] if g["name"] == "residual")
        equal(stream["objective"]["name"], "trace", stream)
        true(stream["correlation"]["after"] > stream["correlation"]["before"] + 0.1, stream)
        # What a turn inside heads is worth stands beside what was solved; of what was learned since it is not known.
        at_first = d.get(f"/v1/jobs/{first}/alignment").json
        for g, before in zip(maps["groups"], at_first["groups"]):
            was, now = before["correlation"], g["correlation"]
            equal((now["before"], now["after"]), (was["before"], was["after"]), g)
            if g["kind"] == "permutation":
                true(max(abs(m - was["after"]) for m in (was["moved"], now["moved"])) < 1e-6, (was, now))
            else:
                equal(now["moved"], None, now)
            if g["name"].endswith(".mha"):
                true(was["moved"] > was["after"] + 0.01, was)
        equal(at_first["groups"][-1]["correlation"]["moved"], at_first["groups"][-1]["correlation"]["after"])
        shown = d.get(f"/v1/jobs/{job}/correlations").json["groups"]
        equal([g["moved"] and g["moved"]["mean"] for g in shown], [g["correlation"]["moved"] for g in maps["groups"]])
        one = d.get(f"/v1/jobs/{job}/alignment/residual").json
        turns = one["angles"]["stream"]
        equal((turns["count"], sum(turns["histogram"])), (one["size"], one["size"]), turns)
        true(20 < turns["mean"] < 160 and abs(turns["condition"] - 1) < 1e-5, turns)
        heads = d.get(f"/v1/jobs/{job}/alignment/layer.0.mha?rotations=true").json
        true(heads["angles"]["values"]["mean"] > 1 and heads["value_rotation"], heads["angles"])
        equal(heads["angles"]["stream"], None)
        problem(d.get(f"/v1/jobs/{job}/alignment/nobody"), 404, "not_found")
        true(turned["equivalent"] and learned["equivalent"], (turned, learned))
        control = turned["control_barrier_chord"]
        true(turned["barrier_chord"] < 0.6 * control, turned)
        true(learned["barrier_chord"] < 0.3 * control, learned)
        print(f"      control {control:.2f}, turned {turned['barrier_chord']:.2f}, "
              f"learned {learned['barrier_chord']:.2f}")


def test_changed_inputs():
    """Other bytes under the same name: the job ends and says so; a retry after they are registered anew learns anew,
    and says that, too. The same for a model."""
    with tempfile.TemporaryDirectory() as root, Daemon(import_root=root) as d:
        for name in ("align", "eval"):
            shutil.copy(f"{FIXTURES}/data/{name}.txt", f"{root}/{name}.txt")
        shutil.copy(f"{root}/align.txt", f"{root}/learn.txt")
        for side in "ab":
            shutil.copytree(f"{FIXTURES}/models/bert-{side}", f"{root}/bert-{side}")
            equal(d.post("/v1/models", {"name": f"bert-{side}", "path": f"{root}/bert-{side}"}).status, 201)
        for name in ("align", "eval", "learn"):
            equal(d.post("/v1/datasets", {"name": name, "path": f"{root}/{name}.txt", "format": "text"}).status, 201)
        spec = with_learn(steps=2000, dataset="learn")
        for changed, kind in (("learn.txt", "dataset 'learn'"), ("bert-b/model.safetensors", "model 'bert-b'")):
            job = d.post("/v1/jobs", spec).json["id"]
            wait_for_points(d, job, 3)
            d.kill()
            with open(f"{root}/{changed}", "r+b") as f:
                f.seek(-5, 2)
                f.write(b"y" if changed.endswith("txt") else bytes([17]))
            d.start()
            done = d.wait_finished(job)
            equal((done["status"], done["error"]["code"]), ("failed", "conflict"), done)
            true(kind in done["error"]["detail"] and "has changed" in done["error"]["detail"], done["error"])
            where = f"/v1/datasets/learn" if "learn" in changed else "/v1/models/bert-b"
            true(d.request("DELETE", where).status in (200, 204))
            if "learn" in changed:
                equal(d.post("/v1/datasets", {"name": "learn", "path": f"{root}/learn.txt", "format": "text"}).status, 201)
            else:
                equal(d.post("/v1/models", {"name": "bert-b", "path": f"{root}/bert-b"}).status, 201)
            again = d.post(f"/v1/jobs/{job}/retry").json
            equal(len(again["warnings"]), 1, again)
            true("anew" in again["warnings"][0], again)
            wait_for_points(d, again["id"], 1)
            curve = d.get(f"/v1/jobs/{again['id']}/learning").json
            true(curve["points"][0]["step"] == 0 and curve["steps_done"] < 2000, curve)
            d.post(f"/v1/jobs/{again['id']}/cancel")
            d.wait_finished(again["id"])


def test_another_arithmetic():
    """Another build, library or machine computes other bits: a state of learning from there is not gone on from. The job
    says so, in its warnings, its events and the log, whether it still runs or has ended, and ends with the bits of one that
    learned here from the start."""
    if platform.machine() != "x86_64":
        return
    first, other = ({"OPENBLAS_CORETYPE": name} for name in ("Nehalem", "Prescott"))
    with Daemon(env=other) as d:
        d.register_fixtures()
        job = d.post("/v1/jobs", with_learn(steps=80, batch_tokens=512)).json["id"]
        equal(d.wait_finished(job)["warnings"], [])
        expected = d.get(f"/v1/jobs/{job}/learning").json["points"]
    with Daemon(env=first) as d:
        d.register_fixtures()
        job = d.post("/v1/jobs", with_learn(steps=80, batch_tokens=512)).json["id"]
        wait_for_points(d, job, 3)
        d.kill()
        d.start()  # the same machine: nothing to say
        wait_for_points(d, job, 4)
        equal(d.get(f"/v1/jobs/{job}").json["warnings"], [])
        d.kill()
        d.env = {**d.env, **other}
        d.start()
        wait_for_warning(d, job)
        done = d.wait_finished(job)
        equal((done["status"], len(done["warnings"])), ("succeeded", 1), done)
        words = done["warnings"][0]
        true(all(w in words for w in ("align.learn", "anew", "Nehalem", "Prescott")), words)
        true(words in d.log(), d.log()[-2000:])
        notes = [e["data"] for e in d.get(f"/v1/jobs/{job}/events?limit=1000").json["data"] if e["type"] == "note"]
        equal(notes, [{"unit": "learn", "text": words}])
        held = [p["held_loss"] for p in d.get(f"/v1/jobs/{job}/learning").json["points"]]
        equal(len(held), len(expected))
        true(max(abs(h - e["held_loss"]) for h, e in zip(held, expected)) < 1e-3, (held, expected))


def wait_for_warning(d, job):
    while not d.get(f"/v1/jobs/{job}").json["warnings"]:
        true(d.get(f"/v1/jobs/{job}").json["status"] in ("queued", "running"))
        time.sleep(0.05)


def wait_for_points(d, job, count):
    while True:
        curve = d.get(f"/v1/jobs/{job}/learning").json
        if len(curve["points"]) >= count or curve["complete"]:
            return
        true(d.get(f"/v1/jobs/{job}").json["status"] in ("queued", "running", "succeeded"))
        time.sleep(0.05)


def test_kills_change_no_bit():
    random.seed(11)
    with Daemon() as d:
        d.register_fixtures()
        job = d.post("/v1/jobs", with_learn(steps=150)).json["id"]
        d.wait_finished(job)
        expected = results(d, job)
    with Daemon() as d:
        d.register_fixtures()
        job = d.post("/v1/jobs", with_learn(steps=150)).json["id"]
        for points in (1, 2, 3, 5):
            wait_for_points(d, job, points)
            time.sleep(random.uniform(0, 1.0))
            d.kill()
            d.start()
        done = d.wait_finished(job)
        equal(done["status"], "succeeded", done)
        equal(results(d, job), expected)


if __name__ == "__main__":
    run([v for k, v in list(globals().items()) if k.startswith("test_")])

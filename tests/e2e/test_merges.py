"""Checkpoints that are more than a sum of weights: least squares, told as what they are, refused where they make no
sense, and the same bits whatever happens meanwhile."""
import hashlib
import json
import os
import random
import shutil
import subprocess
import tempfile
import time

from daemon import BINARY, ENVIRONMENT, FIXTURES, Daemon, equal, problem, run, true

JOB = {
    "models": {"a": "gpt2-a", "b": "gpt2-b"},
    "align": {"components": ["ff", "mha", "residual"], "residual_map": "orthogonal", "head_map": "orthogonal",
              "dataset": "align", "max_sequences": 200},
    "interpolate": {"points": 3},
    "evaluate": {"task": "clm", "dataset": "eval", "block_size": 128, "max_blocks": 16, "control": False},
    "merge": {"method": "least_squares"},
    "outputs": {"merged": [0.5]},
}


def registered(d):
    d.register_fixtures()
    for side in "ab":
        equal(d.post("/v1/models", {"name": f"gpt2-{side}", "path": f"{FIXTURES}/models/gpt2-{side}"}).status, 201)


def artifact(d, job, name):
    r = d.get(f"/v1/jobs/{job}/artifacts/{name}")
    equal(r.status, 200, r)
    return r.body


def test_a_merge():
    with Daemon() as d:
        registered(d)
        plan = d.post("/v1/jobs?dry_run=true", JOB).json
        straight = d.post("/v1/jobs?dry_run=true", {k: v for k, v in JOB.items() if k != "merge"}).json
        equal(plan["spec"]["merge"], {"method": "least_squares"}, plan)
        true(plan["estimate"]["seconds"] > straight["estimate"]["seconds"], (plan, straight))
        true(plan["estimate"]["peak_bytes"] >= straight["estimate"]["peak_bytes"], (plan, straight))
        # Making features takes more than solving here; where none are made, solving takes the most.
        bare = {**JOB, "align": {"components": []}}
        straight = d.post("/v1/jobs?dry_run=true", {k: v for k, v in bare.items() if k != "merge"}).json
        plan = d.post("/v1/jobs?dry_run=true", {**bare, "merge": {**JOB["merge"], "dataset": "align"}}).json
        true(plan["estimate"]["peak_bytes"] > straight["estimate"]["peak_bytes"], (plan, straight))
        job = d.post("/v1/jobs", JOB).json["id"]
        done = d.wait_finished(job)
        equal(done["status"], "succeeded", done)
        true(done["timings"]["merging"] > 0, done)
        true(done["summary"]["equivalent"], done)  # of the path; the checkpoint is not on it:
        verdict = done["summary"]["verdict"]
        equal(verdict["written"], "least_squares", verdict)
        true("no points of it" in verdict["sentence"], verdict)
        [merged] = json.loads(artifact(d, job, "merge.json"))["merged"]
        equal((merged["file"], merged["lambda"]), ("merged-0.50.safetensors", 0.5), merged)
        made = merged["made"]
        true(made["fit"]["solved"] < 0.9 * made["fit"]["mean"], made)
        # The sum is the path's point; what is solved is better on text that nothing was solved with.
        barrier = d.get(f"/v1/jobs/{job}/barrier").json["aligned"]
        equal(made["loss"]["linear"], barrier["loss"][1], (made, barrier))
        true(made["loss"]["least_squares"] < made["loss"]["linear"] - 0.05, made)
        print(f"      the sum {made['loss']['linear']:.3f}, solved {made['loss']['least_squares']:.3f}, parents "
              f"{barrier['loss'][0]:.3f} and {barrier['loss'][2]:.3f}")
        card = artifact(d, job, "merged/lambda-0.50/README.md").decode()
        for words in ("solved for by least", "not the same function", "of the plain sum",
                      f"| {made['loss']['linear']:.4f} | {made['loss']['least_squares']:.4f} |"):
            true(words in card, card)
        equal(json.loads(artifact(d, job, "merged/lambda-0.50/rebasind.json"))["merge"], made)
        # A checkpoint like any other: as a model of its own it has the loss that was told.
        with tempfile.TemporaryDirectory() as root:
            for name in ("model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json", "vocab.json",
                         "merges.txt"):
                r = d.get(f"/v1/jobs/{job}/artifacts/merged/lambda-0.50/{name}")
                if r.status == 200:
                    with open(os.path.join(root, name), "wb") as f:
                        f.write(r.body)
            spec = {"models": {"a": root, "b": root}, "align": {"components": []},
                    "interpolate": {"lambdas": []},
                    "evaluate": {**JOB["evaluate"], "dataset": f"{FIXTURES}/data/eval.txt"}}
            out = subprocess.run([BINARY, "run", "-", "--json"], input=json.dumps(spec), env=ENVIRONMENT,
                                 capture_output=True, text=True)
            equal(out.returncode, 0, out)
            found = json.loads(out.stdout)["barrier"]["aligned"]["loss"][0]
            true(abs(found - made["loss"]["least_squares"]) < 2e-3, (found, made))


def test_other_texts():
    """Without alignment and with another job's, over a text of its own; three models; `rebasind run`."""
    with Daemon() as d:
        registered(d)
        with open(f"{FIXTURES}/data/align.txt", "rb") as f:
            short = b"".join(f.readlines()[:60])
        equal(d.request("PUT", "/v1/datasets/short?format=text", short).status, 201)
        alone = {k: v for k, v in JOB.items() if k not in ("evaluate", "interpolate")}
        alone["align"] = {**JOB["align"], "max_sequences": 60}
        first = d.wait_finished(d.post("/v1/jobs", alone).json["id"])
        equal(first["status"], "succeeded", first)
        made = json.loads(artifact(d, first["id"], "merge.json"))["merged"][0]["made"]
        equal(made["loss"], {"linear": None, "least_squares": None}, made)
        again = {**alone, "align": {"from_job": first["id"]}, "merge": {"method": "least_squares", "dataset": "short"}}
        second = d.wait_finished(d.post("/v1/jobs", again).json["id"])
        equal(second["status"], "succeeded", second)
        equal(second["inputs"][-1]["role"], "merge_dataset", second)
        three = {"models": {"anchor": "bert-a", "others": ["bert-b", "bert-a"]},
                 "align": {"dataset": "align", "max_sequences": 60}, "merge": {"method": "least_squares"},
                 "outputs": {"merged": [[0.5, 0.25, 0.25]]}}
        job = d.wait_finished(d.post("/v1/jobs", three).json["id"])
        equal(job["status"], "succeeded", job)
        [merged] = json.loads(artifact(d, job["id"], "merge.json"))["merged"]
        equal(merged["weights"], [0.5, 0.25, 0.25], merged)
        true(merged["made"]["fit"]["solved"] < merged["made"]["fit"]["mean"], merged)
    folder = tempfile.mkdtemp()
    spec = {**alone, "models": {s: f"{FIXTURES}/models/gpt2-{s}" for s in "ab"},
            "align": {"components": []}, "merge": {"method": "least_squares", "dataset": folder + "/short.txt"}}
    with open(folder + "/short.txt", "wb") as f:
        f.write(short)
    out = subprocess.run([BINARY, "run", "-", "--output", folder + "/out"], input=json.dumps(spec), env=ENVIRONMENT,
                         capture_output=True, text=True)
    equal(out.returncode, 0, out)
    true(os.path.exists(folder + "/out/merge.json"), os.listdir(folder + "/out"))
    shutil.rmtree(folder)


TUNED = {**JOB, "merge": {"finetune": {"steps": 20, "learning_rate": 0.001, "tokens": 512}},
         "align": {**JOB["align"], "max_sequences": 100}}


def test_a_trained_merge():
    """Distilled to the parents' mean; a kill in the middle changes no bit."""
    with Daemon("--workers", "2") as d:
        registered(d)
        plan = d.post("/v1/jobs?dry_run=true", TUNED).json
        equal(plan["spec"]["merge"], {"method": "linear",
                                      "finetune": {"steps": 20, "learning_rate": 0.001, "tokens": 512}}, plan)
        longer = {**TUNED, "merge": {"finetune": {"steps": 4000}}}
        true(d.post("/v1/jobs?dry_run=true", longer).json["estimate"]["seconds"] > 2 * plan["estimate"]["seconds"])
        first = d.post("/v1/jobs", TUNED).json["id"]
        second = d.post("/v1/jobs", TUNED).json["id"]
        done = d.wait_finished(first)
        equal(done["status"], "succeeded", done)
        if wait_for_phase(d, second, "merging"):
            time.sleep(random.uniform(0.5, 1.5))
        d.kill()
        d.start()
        equal(d.wait_finished(second)["status"], "succeeded")
        made = [json.loads(artifact(d, j, "merge.json"))["merged"][0]["made"] for j in (first, second)]
        equal(made[1], made[0])
        true(made[0]["loss"]["finetune"] < made[0]["loss"]["linear"] - 0.05, made)
        tuned = made[0]["finetune"]
        true(tuned["held_distance_after"] < 0.97 * tuned["held_distance_before"], tuned)
        equal(done["summary"]["verdict"]["written"], "finetuned", done)
        card = artifact(d, first, "merged/lambda-0.50/README.md").decode()
        true("trained in 20 steps" in card and "no point of the straight path" in card, card)
        print(f"      the sum {made[0]['loss']['linear']:.3f}, trained {made[0]['loss']['finetune']:.3f}")


def test_refusals():
    with Daemon() as d:
        registered(d)
        for change, pointer, words in [
            ({"merge": {"method": "squares"}}, "/merge/method", "least_squares"),
            ({"outputs": {}}, "/merge/method", "outputs.merged"),
            ({"align": {"components": []}}, "/merge/dataset", "required"),
            ({"merge": {"dataset": "align"}}, "/merge/dataset", "least_squares"),
            ({"merge": {"method": "least_squares", "dataset": "nobody"}}, "/merge/dataset", "nobody"),
            ({"executor": "slurm"}, "/executor", "least_squares"),
            ({"merge": {"finetune": {"steps": 0}}}, "/merge/finetune/steps", "from 1"),
            ({"merge": {"finetune": {}}, "outputs": {}}, "/merge/finetune", "outputs.merged"),
        ]:
            r = d.post("/v1/jobs", {**JOB, **change})
            problem(r, 422, "invalid_request")
            true(any(f["pointer"] == pointer and words in f["detail"] for f in r.json["errors"]), r)


def digests(d, job):
    return {n: hashlib.sha256(artifact(d, job, n)).hexdigest()
            for n in ("merged-0.50.safetensors", "merge.json")}


def wait_for_phase(d, job, phase):
    while True:
        found = d.get(f"/v1/jobs/{job}").json
        if found["phase"] == phase or found["status"] in ("succeeded", "failed"):
            return found["status"] == "running"
        time.sleep(0.01)


def test_kills_change_no_bit():
    """merge.json names the job, so its digest is of what stands behind that."""
    random.seed(5)
    with Daemon("--workers", "1") as d:
        registered(d)
        job = d.post("/v1/jobs", JOB).json["id"]
        d.wait_finished(job)
        expected = json.loads(artifact(d, job, "merge.json"))["merged"]
        shape = artifact(d, job, "merged-0.50.safetensors")
        job = d.post("/v1/jobs", JOB).json["id"]
        for _ in range(2):
            if wait_for_phase(d, job, "merging"):
                time.sleep(random.uniform(0.1, 1.2))
            d.kill()
            d.start()
        equal(d.wait_finished(job)["status"], "succeeded")
        equal(json.loads(artifact(d, job, "merge.json"))["merged"], expected)
        again = artifact(d, job, "merged-0.50.safetensors")
        n = int.from_bytes(shape[:8], "little")
        equal(hashlib.sha256(again[8 + n:]).hexdigest(), hashlib.sha256(shape[8 + n:]).hexdigest())


def test_cancel():
    with Daemon("--workers", "1") as d:
        registered(d)
        job = d.post("/v1/jobs", {**JOB, "outputs": {"merged": [i / 20 for i in range(1, 20)]}}).json["id"]
        wait_for_phase(d, job, "merging")
        d.post(f"/v1/jobs/{job}/cancel")
        equal(d.wait_finished(job)["status"], "canceled")


if __name__ == "__main__":
    run([v for k, v in list(globals().items()) if k.startswith("test_")])

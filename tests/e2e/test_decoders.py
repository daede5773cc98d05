"""Decoders end to end over HTTP, against tests/fixtures/golden: GPT-2, GPT-NeoX and Llama (METHOD 9)."""
import json
import os
import shutil
import subprocess
import tempfile

from daemon import BINARY, ENVIRONMENT, FIXTURES, Daemon, equal, problem, run, true

# The golden run, and what align says for it beside its components.
RUNS = {"gpt2": ("ff+mha+residual.all", {"residual": "all"}),
        "neox": ("ff+mha+residual.last", {"residual": "last"}),
        "llama": ("ff+mha+residual.first.signed", {"residual": "first", "signed": True})}
LAMBDAS = [0, 0.25, 0.5, 0.75, 1]


def golden(name):
    with open(f"{FIXTURES}/golden/{name}.json") as f:
        return json.load(f)


def register(d):
    for name in RUNS:
        for side in "ab":
            equal(d.post("/v1/models", {"name": f"{name}-{side}",
                                        "path": f"{FIXTURES}/models/{name}-{side}"}).status, 201)
    d.register_fixtures()


def spec(name, align, **more):
    return {"models": {"a": f"{name}-a", "b": f"{name}-b"}, "align": align,
            "interpolate": {"lambdas": LAMBDAS[1:-1]},
            "evaluate": {"task": "clm", "dataset": "eval", "max_blocks": 32}, **more}


def check_groups(found, expected):
    groups = {g["name"]: g for g in found["groups"]}
    equal(sorted(groups), sorted(expected))
    for name, g in expected.items():
        f = groups[name]
        true(abs(f["score"] - g["score"]) <= 1e-4 * abs(g["score"]), (name, f["score"], g["score"]))
        same = sum(x == y for x, y in zip(f["index"], g["index"])) / len(g["index"])
        true(same >= 0.995, f"{name}: {same:.4f} of the indices")
        for key in ("heads", "kv_heads"):
            if key in g:
                equal(f[key], g[key], f"{name} {key}")


def check_curve(found, expected, lambdas):
    at = {round(x, 6): i for i, x in enumerate(lambdas)}
    for i, x in enumerate(LAMBDAS):
        y = expected["loss"][at[x]]
        true(abs(found["loss"][i] - y) <= 2e-4, f"loss at {x}: {found['loss'][i]}, expected {y}")
    true(abs(found["barrier"]["chord"] - expected["barrier"]["chord"]) <= 1e-3, found["barrier"])
    for loss, perplexity in zip(found["loss"], found["metrics"]["perplexity"]):
        true(abs(perplexity - 2.718281828459045 ** loss) <= 1e-6 * perplexity, perplexity)


def check_job(d, name):
    want, options = RUNS[name]
    g = golden(name)
    align = {"components": ["ff", "mha", "residual"], "dataset": "align", "max_sequences": 500,
             "max_length": 128, **options}
    body = spec(name, align, outputs={"merged": [1]})
    plan = d.post("/v1/jobs?dry_run=true", body)
    equal(plan.status, 200, plan)
    job = d.wait_finished(d.post("/v1/jobs", body).json["id"])
    equal(job["status"], "succeeded", job)
    equal(job["summary"]["equivalent"], True, job)
    equal(job["spec"]["evaluate"]["block_size"], 128)  # the models' positions, below the default 1024
    permutations = d.get(f"/v1/jobs/{job['id']}/permutations").json
    equal(permutations["certificate"]["equivalent"], True, permutations["certificate"])
    check_groups(permutations, g["runs"][want]["permutations"])
    barrier = d.get(f"/v1/jobs/{job['id']}/barrier").json
    equal(barrier["task"], "clm")
    check_curve(barrier["aligned"], g["runs"][want], g["lambdas"])
    check_curve(barrier["control"], g["runs"]["control"], g["lambdas"])
    true(d.get(f"/v1/jobs/{job['id']}/correlations").json["groups"])
    return job, barrier


def check_merged(d, root, name, job, barrier):
    """The merged folder is a model of the family again, and computes what lambda 1 computed."""
    folder = os.path.join(root, f"merged-{name}")
    os.mkdir(folder)
    for artifact in d.get(f"/v1/jobs/{job['id']}/artifacts").json["data"]:
        kept = artifact["name"]
        if "/" not in kept and (kept == "config.json" or ".safetensors" in kept):
            reply = d.get(f"/v1/jobs/{job['id']}/artifacts/{artifact['name']}")
            with open(os.path.join(folder, artifact["name"]), "wb") as f:
                f.write(reply.body)
    for file in os.listdir(f"{FIXTURES}/models/{name}-a"):
        if file.startswith(("tokenizer", "vocab", "merges")):
            shutil.copy(f"{FIXTURES}/models/{name}-a/{file}", folder)
    r = d.post("/v1/models", {"name": f"{name}-merged", "path": folder})
    equal(r.status, 201, r)
    body = spec(name, {"components": []})
    body["models"]["b"] = f"{name}-merged"
    plain = d.wait_finished(d.post("/v1/jobs", body).json["id"])
    equal(plain["status"], "succeeded", plain)
    found = d.get(f"/v1/jobs/{plain['id']}/barrier").json["aligned"]["loss"]
    for x, y in zip(found, barrier["aligned"]["loss"]):
        true(abs(x - y) <= 2e-6 * y, (found, barrier["aligned"]["loss"]))


def test_jobs():
    with tempfile.TemporaryDirectory() as root, Daemon("--import-root", root) as d:
        register(d)
        for name in RUNS:
            job, barrier = check_job(d, name)
            check_merged(d, root, name, job, barrier)
            again = spec(name, {"from_job": job["id"]})
            reused = d.wait_finished(d.post("/v1/jobs", again).json["id"])
            equal(reused["status"], "succeeded", reused)
            equal(d.get(f"/v1/jobs/{reused['id']}/barrier").json["aligned"]["loss"],
                  barrier["aligned"]["loss"])


def test_end_of_text():
    """Where the tokenizer's files name no end of text, config.json's eos_token_id is it (METHOD 9)."""
    losses = []
    with tempfile.TemporaryDirectory() as root:
        for named in (True, False):
            for side in "ab":
                folder = shutil.copytree(f"{FIXTURES}/models/llama-{side}", f"{root}/{named}-{side}")
                with open(f"{folder}/tokenizer_config.json") as f:
                    settings = json.load(f)
                if not named:
                    del settings["eos_token"]
                with open(f"{folder}/tokenizer_config.json", "w") as f:
                    json.dump(settings, f)
            body = {"models": {"a": f"{root}/{named}-a", "b": f"{root}/{named}-b"}, "align": {"components": []},
                    "interpolate": {"points": 2},
                    "evaluate": {"task": "clm", "dataset": f"{FIXTURES}/data/eval.txt", "max_blocks": 2}}
            done = subprocess.run([BINARY, "run", "-", "--json"], input=json.dumps(body), capture_output=True,
                                  text=True, env=ENVIRONMENT)
            equal((done.returncode, done.stderr), (0, ""))
            losses.append(json.loads(done.stdout)["barrier"]["aligned"]["loss"])
    equal(losses[0], losses[1])


def test_refusals():
    with Daemon() as d:
        register(d)
        align = {"components": ["ff", "mha"], "dataset": "align", "max_sequences": 50}
        for name, more, pointer in (("neox", {"separate_qk": True}, "/align/separate_qk"),
                                    ("neox", {"components": ["residual"], "residual": "separate"}, "/align/residual"),
                                    ("gpt2", {"signed": True}, "/align/signed"),
                                    ("gpt2", {"output_head": True}, "/align/output_head")):
            r = d.post("/v1/jobs", spec(name, {**align, **more}))
            true(r.status in (400, 409, 422), r)
            equal(r.json["errors"][0]["pointer"] if "errors" in r.json else r.json.get("pointer"),
                  pointer, r)
        body = spec("gpt2", align)
        body["evaluate"] = {"task": "mlm", "dataset": "eval"}
        problem(d.post("/v1/jobs", body), 422, "head_mismatch", "/evaluate/task")
        body = spec("gpt2", align)
        body["evaluate"]["block_size"] = 129
        true(d.post("/v1/jobs", body).status in (400, 422))
        body = spec("gpt2", align)
        body["models"]["b"] = "neox-b"
        true(d.post("/v1/jobs", body).status in (409, 422))


run([test_jobs, test_end_of_text, test_refusals])

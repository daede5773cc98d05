"""`rebasind work`: a unit computed by hand, without a cluster, gives bit for bit what the local executor gives; a
bundle that is damaged is refused in words."""
import hashlib
import json
import os
import platform
import shutil
import signal
import subprocess
import tempfile
import time

from daemon import BINARY, ENVIRONMENT, FIXTURES, SMALL_JOB, Daemon, equal, run, true

JOB = {**SMALL_JOB, "align": {**SMALL_JOB["align"], "components": ["ff", "mha"]},
       "interpolate": {"points": 5}, "outputs": {"merged": [0.5]}}
LEARNED = {**JOB, "align": {**JOB["align"], "learn": {"steps": 4, "batch_tokens": 512}}}
VERSION = subprocess.run([BINARY, "version", "--json"], env=ENVIRONMENT, capture_output=True, text=True, check=True)
VERSION = json.loads(VERSION.stdout)["version"]
PATHS = {"bert-a": f"{FIXTURES}/models/bert-a", "bert-b": f"{FIXTURES}/models/bert-b",
         "align": f"{FIXTURES}/data/align.txt", "eval": f"{FIXTURES}/data/eval.txt"}


def seal(path):
    data = open(path, "rb").read()
    with open(path + ".seal", "w") as f:
        json.dump({"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), "attempt": 1, "task": 0,
                   "node": "here", "cpu": "", "blas_kernel": "", "threads": 1}, f)


class Bundle:
    def __init__(self, job, unit, tasks=([],), alignment=None, **more):
        self.path, self.unit, self.job = tempfile.mkdtemp(prefix="rebasind-bundle-"), unit, job
        inputs = []
        for i in job["inputs"]:
            inputs.append({"role": i["role"], "name": i["name"], "sha256": i["sha256"], "path": PATHS[i["name"]]})
            if not i["role"].startswith("model"):
                inputs[-1]["format"] = "text"
        self.body = {"format": 1, "version": VERSION, "unit": unit, "job": job["id"], "attempt": 1,
                     "spec": job["spec"], "inputs": inputs, "solved": alignment is not None, "learned": False,
                     "certified": False, "tasks": list(tasks), "merged": [], **more}
        self.write()
        if alignment is not None:
            with open(f"{self.path}/alignment.safetensors", "wb") as f:
                f.write(alignment)
            seal(f"{self.path}/alignment.safetensors")

    def write(self):
        with open(f"{self.path}/bundle.json", "w") as f:
            json.dump(self.body, f)
        seal(f"{self.path}/bundle.json")

    def work(self, *flags, expected=0, **more):
        r = subprocess.run([BINARY, "work", self.path, "--unit", self.unit, *flags], capture_output=True, text=True,
                           timeout=300, env={**ENVIRONMENT, **more})
        equal(r.returncode, expected, r.stderr)
        true(not [n for n in os.listdir(self.path) if n.startswith("scratch")], os.listdir(self.path))
        return r

    def product(self, name):
        data = open(f"{self.path}/{name}", "rb").read()
        s = json.load(open(f"{self.path}/{name}.seal"))
        equal((s["bytes"], s["sha256"], s["attempt"]), (len(data), hashlib.sha256(data).hexdigest(), 1), name)
        true(s["cpu"] and s["blas_kernel"] and s["node"], s)
        return data

    def outcome(self, task=0):
        return json.load(open(f"{self.path}/outcome-{task}.json"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.path)


def local(d, spec):
    d.register_fixtures()
    r = d.post("/v1/jobs", spec)
    equal(r.status, 202, r)
    job = d.wait_finished(r.json["id"])
    equal(job["status"], "succeeded", job)
    barrier = d.get(f"/v1/jobs/{job['id']}/barrier").json
    artifacts = {a["name"]: d.get(f"/v1/jobs/{job['id']}/artifacts/{a['name']}").body
                 for a in job["artifacts"]}
    return job, barrier, artifacts


def check_points(bundle, barrier, tasks):
    for task in tasks:
        for curve, index in task:
            p = json.loads(bundle.product(f"point-{curve}-{index:04d}.json"))
            equal((p["curve"], p["index"]), (curve, index))
            equal(p["loss"], barrier[curve]["loss"][index], (curve, index))
            equal(p["standard_error"], barrier[curve]["standard_error"][index], (curve, index))
            true(len(p["blocks"]) == 3 * 4, p)


def test_units_give_the_bits_of_the_local_executor():
    with Daemon() as d:
        job, barrier, artifacts = local(d, JOB)
    alignment = artifacts["alignment.safetensors"]
    with Bundle(job, "align") as b:
        b.work("--workers", "1")
        equal(b.product("products/alignment.safetensors") == alignment, True, "the alignment's bits")
        equal(b.product("products/permutations.json") == artifacts["permutations.json"], True, "permutations.json")
    tasks = [[["aligned", 0], ["aligned", 2], ["control", 2]], [["aligned", 4], ["control", 1]]]
    with Bundle(job, "points", tasks, alignment, certified=True) as b:
        b.work("--task", "1")
        true(not os.path.exists(f"{b.path}/point-aligned-0000.json"), "task 0's")
        b.work("--workers", "1", SLURM_ARRAY_TASK_ID="0", SLURM_CPUS_ON_NODE="2")
        check_points(b, barrier, tasks)
        true(not os.path.exists(f"{b.path}/point-aligned-0001.json"), "nobody asked for it")
    with Bundle(job, "write", alignment=alignment, certified=True, merged=[0.5]) as b:
        b.work()
        equal(b.product("products/merged-0.50.safetensors") == artifacts["merged-0.50.safetensors"], True, "merged")


def test_learning_is_a_unit():
    with Daemon() as d:
        job, _, artifacts = local(d, LEARNED)
    with Bundle(job, "align") as b:
        b.work()
        solved = b.product("products/alignment.safetensors")
        true(not os.path.exists(f"{b.path}/products/permutations.json"), "nothing is certified before learning")
    with Bundle(job, "learn", alignment=solved) as b:
        b.work()
        for name in ("alignment.safetensors", "permutations.json", "learning.json"):
            equal(b.product(f"products/{name}") == artifacts[name], True, name)


def test_learning_of_another_machine_is_begun_anew():
    """A node that computes other bits than the one that was interrupted: it learns from the start, and its outcome says so."""
    if platform.machine() != "x86_64":
        return
    with Daemon(env={"OPENBLAS_CORETYPE": "Nehalem"}) as d:
        d.register_fixtures()
        job = d.post("/v1/jobs", {**LEARNED, "align": {**LEARNED["align"], "learn": {"steps": 5000, "batch_tokens": 512}}}).json
        path = f"{d.data_dir}/jobs/{job['id']}/learning.state"
        while not os.path.exists(path):
            true(d.get(f"/v1/jobs/{job['id']}").json["status"] in ("queued", "running"))
            time.sleep(0.05)
        d.kill()
        state = open(path, "rb").read()
        alignment = open(f"{d.data_dir}/jobs/{job['id']}/alignment.safetensors", "rb").read()
    with Bundle(job, "learn", alignment=alignment) as b:
        with open(f"{b.path}/learning.state", "wb") as f:
            f.write(state)
        seal(f"{b.path}/learning.state")
        process = subprocess.Popen([BINARY, "work", b.path, "--unit", "learn"], stderr=subprocess.PIPE, text=True,
                                   env={**ENVIRONMENT, "OPENBLAS_CORETYPE": "Prescott"})
        lines = []
        while "anew" not in "".join(lines):
            lines.append(process.stderr.readline())
            true(lines[-1] != "", lines)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        equal(process.returncode, 75)
        words = b.outcome()["warning"]
        true(all(w in words for w in ("align.learn", "anew", "Nehalem", "Prescott")), words)


def test_damage_is_refused_in_words():
    with Daemon() as d:
        job, _, artifacts = local(d, JOB)
    with Bundle(job, "align") as b:
        b.body["version"] = "0.0.0"
        b.write()
        r = b.work(expected=75)
        true("0.0.0" in b.outcome()["detail"] and not b.outcome()["job_failed"], r.stderr)
        b.body["version"], b.body["attempt"] = VERSION, "one"
        b.write()
        true("/attempt" in b.work(expected=1).stderr or "attempt" in b.outcome()["detail"], b.outcome())
        with open(f"{b.path}/bundle.json", "a") as f:
            f.write(" ")
        true("damaged" in b.work(expected=75).stderr, "a byte more")
        os.unlink(f"{b.path}/bundle.json")
        true("bundle.json" in b.work(expected=75).stderr, "none")
    with Bundle(job, "points", [[["aligned", 1]]], artifacts["alignment.safetensors"], certified=True) as b:
        with open(f"{b.path}/alignment.safetensors", "r+b") as f:
            f.seek(200)
            f.write(b"x")
        true("alignment.safetensors is damaged" in b.work(expected=75).stderr, b.outcome())
    # Another text than the job's: its own failure, which no other try changes.
    with Bundle(job, "align") as b:
        b.body["inputs"][2]["path"] = f"{FIXTURES}/data/eval.txt"
        b.write()
        true("has changed" in b.work(expected=1).stderr, b.outcome())
        equal((b.outcome()["job_failed"], b.outcome()["code"]), (True, "conflict"))
        r = subprocess.run([BINARY, "work", b.path, "--unit", "all"], capture_output=True, text=True, env=ENVIRONMENT)
        equal(r.returncode, 2, r.stderr)


def test_a_signal_leaves_what_is_done():
    with Daemon() as d:
        job, barrier, artifacts = local(d, JOB)
    spec = job["spec"]
    spec["interpolate"] = {"points": 1001}
    tasks = [[["aligned", i] for i in range(1001)]]
    with Bundle(job, "points", tasks, artifacts["alignment.safetensors"], certified=True) as b:
        p = subprocess.Popen([BINARY, "work", b.path, "--unit", "points"], env=ENVIRONMENT, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 60
        # Two points are computed at once: the second may be whole before the first.
        while not all(os.path.exists(f"{b.path}/point-aligned-000{i}.json.seal") for i in (0, 1)):
            true(time.monotonic() < deadline and p.poll() is None, "a point in a minute")
            time.sleep(0.02)
        p.send_signal(signal.SIGTERM)
        p.communicate(timeout=60)
        equal(p.returncode, 75)
        done = [n for n in os.listdir(b.path) if n.startswith("point") and n.endswith(".seal")]
        true(2 <= len(done) < 1001, len(done))
        true(f"{len(done)} points" in b.outcome()["detail"], b.outcome())
        equal(json.loads(b.product("point-aligned-0000.json"))["loss"], barrier["aligned"]["loss"][0])


if __name__ == "__main__":
    run([test_units_give_the_bits_of_the_local_executor, test_learning_is_a_unit,
         test_learning_of_another_machine_is_begun_anew, test_damage_is_refused_in_words,
         test_a_signal_leaves_what_is_done])

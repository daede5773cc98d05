"""The nth allocation, write, sync, rename, open or reservation fails, one after the other: while the
daemon starts, takes uploads and jobs, computes, and serves. It never ends by itself once it serves, it
says what went wrong with a code that names it, what it acknowledged is there after a kill, a job that
it refused is not, and with the fault gone the same request succeeds.

Faults come from tests/faults/shim.c. REBASIND_SEED, REBASIND_FAULTS: how many of one operation's calls
are made to fail at most (default 60).
"""
import contextlib
import errno
import http.client
import os
import random
import shutil
import sys
import tempfile
import time

from daemon import FIXTURES, SANITIZED, SMALL_JOB, Daemon, equal, run, true

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "faults"))
from faults import FILES, Control, build_shim, environment

MOST = int(os.environ.get("REBASIND_FAULTS", "8" if SANITIZED else "60"))
SEED = int(os.environ.get("REBASIND_SEED", time.time()))
MERGE = {"models": {"a": "bert-a", "b": "bert-b"}, "align": {"components": []},
         "outputs": {"merged": [0.5]}}
ERRORS = {"write": errno.ENOSPC, "sync": errno.EIO, "rename": errno.EIO, "open": errno.EMFILE,
          "reserve": errno.ENOSPC, "memory": errno.ENOMEM}
# What a client may be told of a machine in trouble; anything else would blame the wrong one.
TROUBLE = {"no_space": 503, "store_unavailable": 503, "out_of_memory": 503, "out_of_files": 503,
           "io_error": 500}
CLASSES = FILES if SANITIZED else ("memory", *FILES)


@contextlib.contextmanager
def shimmed(*flags, data_dir=None):
    """A daemon under the shim, and the control of its faults."""
    folder = tempfile.mkdtemp(prefix="rebasind-inject-")
    try:
        control = Control(folder)
        env = environment(build_shim(folder, memory=not SANITIZED), control)
        with Daemon(*flags, data_dir=data_dir, env=env) as d:
            yield d, control
        control.close()
    finally:
        shutil.rmtree(folder)


def numbers(rng, calls):
    """Which calls fail: all, or a sample with the first and the last in it."""
    if calls <= MOST:
        return range(1, calls + 1)
    return sorted({1, calls, *rng.sample(range(1, calls + 1), MOST - 2)})


def ask(d, method, path, body=None, headers=None):
    """None where the connection ended without an answer."""
    try:
        return d.request(method, path, body, headers, timeout=30)
    except (OSError, http.client.HTTPException):
        return None


def each_failing(d, control, action, succeeded, classes=CLASSES):
    """Calls action(n) with each class's calls failing in turn; returns [(reply, n)] of those that
    were hit. succeeded: the status of an action that nothing disturbed."""
    rng, seen, n, told = random.Random(SEED), [], 0, {}
    for name in classes:
        control.set(name)
        equal(action(n).status, succeeded, name)
        calls = control.calls(name)
        n += 1
        for number in numbers(rng, calls):
            control.set(name, first=number, error=ERRORS[name])
            r = action(n)
            struck = control.clear()
            equal(d.process.poll(), None, f"alive after {name} {number} of {calls}")
            if r is None:
                equal(name, "memory", "only without memory may it fail to answer")
            elif r.status >= 400:
                code = r.json["code"]
                equal(TROUBLE.get(code), r.status, f"{name} {number} of {calls}: {r}")
            else:
                equal(r.status, succeeded, f"{name} {number} of {calls}: {r}")
            what = "no answer" if r is None else r.json["code"] if r.status >= 400 else "done"
            if struck:
                told[f"{name}: {what}"] = told.get(f"{name}: {what}", 0) + 1
            seen.append((r, n))
            n += 1
        r = action(n)
        true(r is not None and r.status == succeeded, f"well again after {name}: {r}")
        seen.append((r, n))
        n += 1
    print(f"      {told}")
    return seen


def restarted(d):
    """As after a kill; no fault is set."""
    d.kill()
    d.start()


def test_submitting():
    with shimmed("--max-connections-per-address", "0") as (d, control):
        d.register_fixtures()

        def action(n):
            return ask(d, "POST", "/v1/jobs", {**MERGE, "labels": {"n": str(n)}})

        seen = each_failing(d, control, action, 202)
        restarted(d)
        for r, n in seen:
            found = d.get(f"/v1/jobs?label=n:{n}").json["data"]
            if r is not None and r.status == 202:
                equal([j["id"] for j in found], [r.json["id"]], "an accepted job is there, once")
            elif r is not None:
                equal(found, [], f"a refused job is not there: {r}")
        for r, _ in seen:
            if r is not None and r.status == 202:
                final = d.wait_finished(r.json["id"])
                true(final["status"] == "succeeded" or final["error"]["code"] in TROUBLE, final)


def test_uploading():
    with shimmed() as (d, control):
        text = b"a line of text\n" * 3000

        def dataset(n):
            return ask(d, "PUT", f"/v1/datasets/d{n}?format=text", text)

        def vocabulary(n):
            return ask(d, "PUT", f"/v1/models/m{n}/files/vocab.txt", text)

        seen = each_failing(d, control, dataset, 201)
        models = each_failing(d, control, vocabulary, 201)
        restarted(d)
        known = {x["name"]: x for x in d.get("/v1/datasets?limit=500").json["data"]}
        for r, n in seen:
            # Where only the answer could not be made it may be there; it is whole then.
            true(r is None or r.status != 201 or f"d{n}" in known, f"lost: {r}")
            equal(known.get(f"d{n}", {"bytes": len(text)})["bytes"], len(text))
        for r, n in models:
            if r is not None and r.status == 201:
                equal(d.get(f"/v1/models/m{n}").json["files"][0]["bytes"], len(text))
        deadline = time.monotonic() + 10
        while os.listdir(f"{d.data_dir}/tmp") if os.path.isdir(f"{d.data_dir}/tmp") else []:
            true(time.monotonic() < deadline, "leftovers in tmp/")
            time.sleep(0.02)


def test_serving():
    with shimmed() as (d, control):
        d.register_fixtures()
        job = d.post("/v1/jobs", {**SMALL_JOB, "outputs": {"merged": [0.5]}}).json["id"]
        equal(d.wait_finished(job)["status"], "succeeded")
        for path in (f"/v1/jobs/{job}/artifacts/merged-0.50.safetensors", f"/v1/jobs/{job}/barrier",
                     "/v1/jobs?sort=-created_at", f"/v1/jobs/{job}", "/v1/models", "/metrics",
                     "/v1/stats"):
            whole = d.get(path)
            equal(whole.status, 200, whole)
            volatile = path in ("/metrics", "/v1/stats")

            def action(n):
                return ask(d, "GET", path)

            for r, _ in each_failing(d, control, action, 200, ("memory", "open") if not SANITIZED
                                     else ("open",)):
                if r is not None and r.status == 200 and not volatile:
                    equal(r.body, whole.body, f"{path} is whole")


def test_starting():
    """It comes up all the same, or says why not and leaves the data as they are."""
    rng, told = random.Random(SEED), {}
    folder = tempfile.mkdtemp(prefix="rebasind-inject-")
    control = Control(folder)
    env = environment(build_shim(folder, memory=not SANITIZED), control)
    try:
        with Daemon(env=env) as d:
            d.register_fixtures()
            job = d.post("/v1/jobs", MERGE).json["id"]
            equal(d.wait_finished(job)["status"], "succeeded")
            equal(d.stop(), 0)
            for name in CLASSES:
                control.set(name)
                d.start()
                calls = control.calls(name)
                equal(d.stop(), 0)
                for number in numbers(rng, calls):
                    control.set(name, first=number, error=ERRORS[name])
                    try:
                        d.start()
                    except AssertionError as e:
                        true(d.process.returncode in (1, 2), f"{name} {number} of {calls}: {e}")
                        true("cannot serve" in str(e) or "rebasind: " in str(e), e)
                        d.process, what = None, "refused"
                    else:
                        what = "served"
                        control.clear()
                        equal(d.get("/livez").status, 200)
                        equal(d.stop(), 0, f"{name} {number} of {calls}")
                    told[f"{name}: {what}"] = told.get(f"{name}: {what}", 0) + 1
            control.clear()
            d.start()
            equal([j["id"] for j in d.get("/v1/jobs").json["data"]], [job])
            equal(len(d.get("/v1/models").json["data"]), 2)
        print(f"      {told}")
    finally:
        control.close()
        shutil.rmtree(folder)


def same_results(d, job, expected):
    found = d.get(f"/v1/jobs/{job}/barrier").json
    found.pop("job")
    if expected:
        equal(found, expected[0], job)
    expected.append(found)


def test_computing():
    """One call in so many fails for as long as jobs run: each ends with the right results, or failed
    with a code that names the trouble."""
    with shimmed() as (d, control):
        d.register_fixtures()
        spec = {**SMALL_JOB, "outputs": {"merged": [0.5]}}
        expected, told = [], {}
        for name in CLASSES:
            control.set(name)
            job = d.post("/v1/jobs", spec).json["id"]
            equal(d.wait_finished(job)["status"], "succeeded")
            calls = control.calls(name)
            same_results(d, job, expected)
            jobs = []
            for seed in range(3):
                jobs.append(d.post("/v1/jobs", {**spec, "name": f"{name} {seed}"}).json["id"])
            # Some two faults a job, for as long as the first of them has time to wait and go on.
            control.set(name, one_in=max(2, calls // 2), seed=SEED % 1000, error=ERRORS[name])
            end = time.monotonic() + 1.5
            while time.monotonic() < end:
                ask(d, "GET", "/v1/jobs")
                time.sleep(0.05)
            struck = control.clear()
            equal(d.process.poll(), None, f"alive after {struck} faults of {name}")
            for job in jobs:
                final = d.wait_finished(job, timeout=60)
                code = final["error"]["code"] if final["error"] else final["status"]
                true(code == "succeeded" or code in TROUBLE, final)
                told[f"{name}: {code}"] = told.get(f"{name}: {code}", 0) + 1
                if code == "succeeded":
                    same_results(d, job, expected)
            equal(d.get("/readyz").status, 200, name)
        print(f"      {told}; waited {d.log().count('job waits')} times")


if __name__ == "__main__":
    print(f"      REBASIND_SEED={SEED}")
    run([test_submitting, test_uploading, test_serving, test_starting, test_computing])

"""A job survives the death of the daemon at any moment, is never run twice where it was recorded,
and a job that kills the daemon is given up."""
import json
import os
import random
import shutil
import sqlite3
import tempfile
import time

from daemon import SANITIZED, SLOW_BUILD, Daemon, equal, names_its_job, run, true

SEQUENCES = 40 if SANITIZED else 120
JOB = {
    "models": {"a": "bert-a", "b": "bert-b"},
    "align": {"components": ["ff", "mha", "residual"], "dataset": "align", "max_sequences": SEQUENCES},
    "interpolate": {"points": 5 if SANITIZED else 9},
    "evaluate": {"task": "mlm", "dataset": "eval", "max_blocks": 16 if SANITIZED else 48},
    "outputs": {"merged": [0.25, 0.5]},
}
KILLS = int(os.environ.get("REBASIND_KILLS", "4" if SANITIZED else "6" if SLOW_BUILD else "14"))


def submit(d, spec):
    r = d.post("/v1/jobs", spec)
    equal(r.status, 202, r)
    return r.json["id"]


def tensors(data):
    """A safetensors file without its header, which names the job."""
    return data[8 + int.from_bytes(data[:8], "little"):]


def results(d, job):
    """Everything a job has measured and written, without what names the job or the clock."""
    barrier = d.get(f"/v1/jobs/{job}/barrier").json
    permutations = d.get(f"/v1/jobs/{job}/permutations").json
    barrier.pop("job")
    permutations.pop("job")
    files = {}
    for a in d.get(f"/v1/jobs/{job}/artifacts").json["data"]:
        body = d.get(f"/v1/jobs/{job}/artifacts/{a['name']}").body
        equal(len(body), a["bytes"], a)
        if a["name"].startswith("merged") and a["name"].endswith(".safetensors"):
            files[a["name"]] = tensors(body)
        elif not names_its_job(a["name"]):
            files[a["name"]] = body
        else:
            files[a["name"]] = None
    return barrier, permutations, files


def points(data_dir):
    """How often each point was recorded, by the events that tell of them."""
    with sqlite3.connect(f"file:{data_dir}/rebasind.db?mode=ro", uri=True) as db:
        return [n for (n,) in db.execute("SELECT COUNT(*) FROM points GROUP BY job, curve, position")]


def recorded(data_dir, job):
    """How much of the job is on disk: stages and points."""
    with sqlite3.connect(f"file:{data_dir}/rebasind.db?mode=ro", uri=True) as db:
        return sum(db.execute(f"SELECT COUNT(*) FROM {table} JOIN jobs ON jobs.seq = {table}.job "
                              "WHERE jobs.id = ?", (job,)).fetchone()[0]
                   for table in ("stages", "points"))


def leftovers(d, jobs):
    """Temporary files, and folders of jobs that do not exist."""
    found = []
    for folder, _, names in os.walk(d.data_dir):
        below = os.path.relpath(folder, d.data_dir)
        found += [f"{below}/{n}" for n in names if ".tmp" in n or below.startswith("tmp")]
    found += [n for n in os.listdir(f"{d.data_dir}/jobs") if n not in jobs]
    return found


def test_killed_at_any_moment():
    seed = int(os.environ.get("REBASIND_SEED", time.time()))
    rng = random.Random(seed)
    print(f"      {KILLS} kills, REBASIND_SEED={seed}")
    data = tempfile.mkdtemp(prefix="rebasind-resume-")
    d = Daemon(data_dir=data)
    try:
        d.register_fixtures()
        begun = time.monotonic()
        undisturbed = d.wait_finished(submit(d, JOB))
        length = time.monotonic() - begun
        equal(undisturbed["status"], "succeeded", undisturbed)
        expected = results(d, undisturbed["id"])
        jobs, killed, phases = [undisturbed["id"]], 0, {}
        job = None
        while killed < KILLS:
            if job is None:
                # Moments of the job before would make its aligning a matter of milliseconds.
                job = submit(d, {**JOB, "priority": killed % 3,
                                 "align": {**JOB["align"], "max_sequences": SEQUENCES}})
                jobs.append(job)
                on_disk, fruitless = 0, 0
            time.sleep(rng.uniform(0, length / 2))
            # A third death in a row without anything new on disk would end the job, rightly. The last thing that a job
            # does leaves nothing new there: who waits for that alone waits for ever.
            state = d.get(f"/v1/jobs/{job}").json
            while fruitless == 2 and state["status"] != "succeeded" and recorded(data, job) == on_disk:
                time.sleep(0.02)
                state = d.get(f"/v1/jobs/{job}").json
            if state["status"] == "succeeded":
                equal(results(d, job), expected)
                job = None
                continue
            d.kill()
            killed += 1
            before, on_disk = on_disk, recorded(data, job)
            fruitless = fruitless + 1 if on_disk == before else 1  # this death, behind what is new, counts
            phase = state["phase"] or state["status"]
            phases[phase] = phases.get(phase, 0) + 1
            if killed % 3 == 0:  # the moments too may be gone
                shutil.rmtree(f"{data}/cache", ignore_errors=True)
            d.start()
        if job is not None:
            final = d.wait_finished(job)
            equal(final["status"], "succeeded", final)
            equal(results(d, job), expected)
        print(f"      killed while {phases}")
        equal(leftovers(d, jobs), [])
        equal(d.stop(), 0)
        equal(set(points(data)), {1})
    finally:
        if d.process is not None:
            d.kill()
        shutil.rmtree(data)
        os.unlink(d.log_path)


def test_drain_charges_no_attempt():
    with Daemon() as d:
        d.register_fixtures()
        job = submit(d, JOB)
        for _ in range(5):
            while d.get(f"/v1/jobs/{job}").json["status"] != "running":
                time.sleep(0.005)
            begun = time.monotonic()
            equal(d.stop(), 0)
            true(time.monotonic() - begun < 10, "SIGTERM ends the daemon within 10 s")
            d.start()
        final = d.wait_finished(job)
        equal((final["status"], final["attempt"]), ("succeeded", 1), final)


def test_crash_loop():
    with Daemon() as d:
        d.register_fixtures()
        # Long enough that nothing of it is on disk before the kill.
        job = submit(d, {**JOB, "align": {**JOB["align"], "max_sequences": 4000}})
        other = submit(d, {**JOB, "priority": -1})
        for attempt in (1, 2, 3):
            while True:
                state = d.get(f"/v1/jobs/{job}").json
                if state["status"] == "running":
                    break
                time.sleep(0.005)
            equal(state["attempt"], attempt, state)
            d.kill()
            d.start()
        state = d.get(f"/v1/jobs/{job}").json
        equal((state["status"], state["error"]["code"]), ("failed", "crash_loop"), state)
        true(not state["error"]["retryable"], state["error"])
        true(len(state["error"]["remedy"]) > 20, state["error"])
        equal(d.wait_finished(other)["status"], "succeeded")


def test_cancel_survives_a_kill():
    with Daemon("--workers", "1") as d:
        d.register_fixtures()
        job = submit(d, {**JOB, "interpolate": {"points": 200}})
        while d.get(f"/v1/jobs/{job}").json["status"] != "running":
            time.sleep(0.005)
        true(d.post(f"/v1/jobs/{job}/cancel").status in (200, 202))
        d.kill()
        d.start()
        equal(d.get(f"/v1/jobs/{job}").json["status"], "canceled")


def test_leftovers_are_swept():
    with Daemon() as d:
        d.register_fixtures()
        job = submit(d, JOB)
        d.wait_finished(job)
        equal(d.stop(), 0)
        stray = "job_019a2c9e-7c1d-7b3e-8f00-1234567890ab"
        os.makedirs(f"{d.data_dir}/jobs/{stray}")
        open(f"{d.data_dir}/jobs/{stray}/merged-0.50.safetensors", "w").close()
        os.makedirs(f"{d.data_dir}/tmp", exist_ok=True)
        open(f"{d.data_dir}/tmp/half-an-upload", "w").close()
        d.start()
        deadline = time.monotonic() + 10
        while leftovers(d, [job]) and time.monotonic() < deadline:
            time.sleep(0.05)
        equal(leftovers(d, [job]), [])
        equal(d.get(f"/v1/jobs/{job}/artifacts/barrier.csv").status, 200)


if __name__ == "__main__":
    run([test_killed_at_any_moment, test_drain_charges_no_attempt, test_crash_loop,
         test_cancel_survives_a_kill, test_leftovers_are_swept])

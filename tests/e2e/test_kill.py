"""kill -9 at random moments under a stream of small jobs: nothing that was acknowledged is lost,
nothing is done twice, and the results are those of a daemon that nobody killed.

REBASIND_KILLS: how often (default 25; docs/reliability.md reports 300). REBASIND_SEED: the moments.
"""
import os
import random
import shutil
import sqlite3
import tempfile
import threading
import time

from daemon import SLOW_BUILD, Daemon, equal, names_its_job, run, true

KILLS = int(os.environ.get("REBASIND_KILLS", "5" if SLOW_BUILD else "25"))
BACKLOG = 4  # jobs waiting or running at once

BASE = {
    "models": {"a": "bert-a", "b": "bert-b"},
    "align": {"components": ["ff"], "dataset": "align", "max_sequences": 20},
    "interpolate": {"points": 3},
    "evaluate": {"task": "mlm", "dataset": "eval", "max_blocks": 4},
}
SPECS = [
    BASE,
    {**BASE, "align": {**BASE["align"], "components": ["ff", "mha"]}, "outputs": {"merged": [0.5]}},
    {**BASE, "align": {**BASE["align"], "max_sequences": 60}, "interpolate": {"points": 7}},
    {**BASE, "align": {**BASE["align"], "components": ["ff", "mha", "residual"]},
     "outputs": {"merged": [0.25, 0.75]}},
]


def submit(d, number, key=None):
    """Returns the job's id, or None if the daemon was killed before it answered."""
    try:
        r = d.post("/v1/jobs", {**SPECS[number % len(SPECS)], "labels": {"number": str(number)}},
                   {"Idempotency-Key": key or f"job-{number}"}, timeout=20)
    except (OSError, EOFError, ValueError):
        return None
    except Exception as e:  # http.client's, of a connection that broke
        if type(e).__module__ != "http.client":
            raise
        return None
    if r.status in (409, 429, 503):
        return None
    equal(r.status, 202, r)
    return r.json["id"]


def results(d, job):
    """Barrier, permutations and artifacts of a job, without what names the job or the clock."""
    barrier = d.get(f"/v1/jobs/{job}/barrier").json
    permutations = d.get(f"/v1/jobs/{job}/permutations").json
    equal((barrier.pop("job"), permutations.pop("job")), (job, job))
    files = {}
    for a in d.get(f"/v1/jobs/{job}/artifacts").json["data"]:
        body = d.get(f"/v1/jobs/{job}/artifacts/{a['name']}").body
        equal(len(body), a["bytes"], a)
        if a["name"].startswith("merged") and a["name"].endswith(".safetensors"):  # its header names the job
            body = body[8 + int.from_bytes(body[:8], "little"):]
        files[a["name"]] = None if names_its_job(a["name"]) else body
    return barrier, permutations, files


class Stream:
    """Posts one job after the other, whatever happens to the daemon, each until it is acknowledged:
    a 202 that never arrived is asked for again with the same key."""

    def __init__(self, daemon):
        self.daemon, self.jobs, self.ended, self.failure = daemon, [], threading.Event(), None
        self.thread = threading.Thread(target=self.go, daemon=True)
        self.thread.start()

    def live(self):
        r = self.daemon.get("/v1/stats", timeout=20).json["jobs"]
        return r["queued"] + r["running"]

    def go(self):
        number = 0
        while not self.ended.is_set():
            try:
                if self.live() < BACKLOG:
                    job = submit(self.daemon, number)
                    if job is not None:
                        self.jobs.append((number, job))
                        number += 1
            except AssertionError as e:
                self.failure = e
                return
            except Exception:
                pass  # killed meanwhile
            time.sleep(0.02)

    def end(self):
        self.ended.set()
        self.thread.join()
        if self.failure is not None:
            raise self.failure


def query(data_dir, sql):
    with sqlite3.connect(f"file:{data_dir}/rebasind.db?mode=ro", uri=True, timeout=20) as db:
        return db.execute(sql).fetchall()


def await_progress(data_dir):
    """Three deaths without anything new on disk are a crash loop: who kills at random waits, before
    the third, until the job has something to show."""
    deadline = time.monotonic() + 60
    while query(data_dir, "SELECT 1 FROM jobs WHERE status = 'running' AND run_attempts > 2"):
        true(time.monotonic() < deadline, "a job that gets nowhere")
        time.sleep(0.01)


def leftovers(data_dir, jobs):
    found = []
    for folder, _, names in os.walk(data_dir):
        below = os.path.relpath(folder, data_dir)
        found += [f"{below}/{n}" for n in names if ".tmp" in n or below.split("/")[0] == "tmp"]
    return found + sorted(set(os.listdir(f"{data_dir}/jobs")) - set(jobs))


def check_store(data_dir, jobs, expected_points):
    equal(query(data_dir, "PRAGMA integrity_check"), [("ok",)])
    known = {i: a for i, a in query(data_dir, "SELECT id, attempt FROM jobs")}
    equal(sorted(known), sorted(jobs), "acknowledged jobs, and no others")
    # The store refuses a second row for a point, so the events tell of every evaluation recorded.
    points = query(data_dir, "SELECT j.id, count(*) FROM points p JOIN jobs j ON j.seq = p.job "
                             "GROUP BY p.job")
    equal(dict(points), {job: expected_points[n % len(SPECS)] for job, n in jobs.items()})
    events = query(data_dir, "SELECT j.id, count(*) FROM events e JOIN jobs j ON j.seq = e.job "
                             "WHERE e.type = 'point' GROUP BY e.job")
    equal(dict(events), dict(points), "events of points")
    return known


def test_kill_under_a_stream_of_jobs():
    seed = int(os.environ.get("REBASIND_SEED", time.time()))
    rng = random.Random(seed)
    data = tempfile.mkdtemp(prefix="rebasind-kill-")
    d = Daemon(data_dir=data)
    try:
        d.register_fixtures()
        begun, expected, expected_points, jobs = time.monotonic(), [], [], {}
        for number in range(len(SPECS)):
            job = submit(d, number, f"undisturbed-{number}")
            jobs[job] = number
            equal(d.wait_finished(job)["status"], "succeeded")
            expected.append(results(d, job))
            expected_points.append(query(data, "SELECT count(*) FROM points p JOIN jobs j "
                                               f"ON j.seq = p.job WHERE j.id = '{job}'")[0][0])
        length = (time.monotonic() - begun) / len(SPECS)
        print(f"      {KILLS} kills, a job takes {length:.2f} s, REBASIND_SEED={seed}", flush=True)
        stream, phases = Stream(d), {}
        for kill in range(KILLS):
            time.sleep(rng.uniform(0, 1.2 * length))
            await_progress(data)
            d.kill()
            for (phase,) in query(data, "SELECT coalesce(phase, '-') FROM jobs WHERE status = 'running'"):
                phases[phase] = phases.get(phase, 0) + 1
            if kill % 4 == 0:
                shutil.rmtree(f"{data}/cache", ignore_errors=True)
            d.start()
        stream.end()
        jobs.update({job: number for number, job in stream.jobs})
        for job, number in jobs.items():
            final = d.wait_finished(job)
            equal((final["status"], final["error"]), ("succeeded", None), final)
            true(results(d, job) == expected[number % len(SPECS)], f"results of {final}")
        equal(d.stop(), 0)
        attempts = check_store(data, jobs, expected_points)
        d.start()
        deadline = time.monotonic() + 20
        while leftovers(data, jobs) and time.monotonic() < deadline:
            time.sleep(0.05)
        equal(leftovers(data, jobs), [])
        equal(d.stop(), 0)
        print(f"      {len(jobs)} jobs, all succeeded with the same bits; running when killed: "
              f"{phases}; most attempts {max(attempts.values())}; points recorded "
              f"{sum(expected_points[n % len(SPECS)] for n in jobs.values())}, none twice")
    except BaseException:
        print(d.log()[-6000:])
        raise
    finally:
        if d.process is not None:
            d.kill()
        os.unlink(d.log_path)
        shutil.rmtree(data)


def tokens_evaluated(d):
    for line in d.get("/metrics").body.decode().splitlines():
        if line.startswith("rebasind_tokens_processed_total{") and '"evaluating"' in line:
            return float(line.split()[-1])
    return 0.0


def test_no_lambda_is_evaluated_twice():
    """Each life of the daemon counts the tokens that it has evaluated. After a kill, the next one
    evaluates exactly those points that were not recorded."""
    spec = {**BASE, "interpolate": {"points": 41},
            "evaluate": {**BASE["evaluate"], "max_blocks": 16, "control": False}}
    with Daemon() as d:
        d.register_fixtures()
        job = d.post("/v1/jobs", spec).json["id"]
        equal(d.wait_finished(job)["status"], "succeeded")
        each = tokens_evaluated(d) / 41
        true(each > 0, "tokens are counted")
        for least in (1, 12, 30):
            job = d.post("/v1/jobs", spec).json["id"]
            sql = ("SELECT count(*) FROM points p JOIN jobs j ON j.seq = p.job "
                   f"WHERE j.id = '{job}'")
            while query(d.data_dir, sql)[0][0] < least:
                time.sleep(0.001)
            d.kill()
            recorded = query(d.data_dir, sql)[0][0]
            true(least <= recorded < 41, f"killed in the middle, at {recorded}")
            d.start()
            equal(d.wait_finished(job)["status"], "succeeded")
            equal(round(tokens_evaluated(d) / each), 41 - recorded, f"{recorded} were recorded")


if __name__ == "__main__":
    run([test_no_lambda_is_evaluated_twice, test_kill_under_a_stream_of_jobs])

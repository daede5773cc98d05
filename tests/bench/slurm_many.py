#!/usr/bin/env python3
"""A thousand jobs of 21 lambdas (and the control's) on a thousand nodes, by simulation: how the daemon fares, not what it
computes. The four commands are tests/bench/slurm_stand_in.py; this process plays the nodes: when a task's time has
come another process of it writes sealed products (the alignment of one real job; losses that mean nothing).

    REBASIND_BIN=build/release/rebasind tests/bench/slurm_many.py [JOBS [SECONDS]]

Prints the p99 of polls of jobs over HTTP (before them and while they run, until their end or for some seconds), the time
between two squeue, and the daemon's memory."""
import hashlib
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "e2e"))
from daemon import Daemon, equal

JOBS = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
SECONDS = int(sys.argv[2]) if len(sys.argv) > 2 else 1800
SPEC = {"models": {"a": "bert-a", "b": "bert-b"},
        "align": {"components": ["ff"], "dataset": "align", "max_sequences": 20},
        "interpolate": {"points": 21}, "evaluate": {"task": "mlm", "dataset": "eval", "max_blocks": 4}}


def seal(path, data, attempt, task):
    with open(path + ".part", "wb") as f:
        f.write(data)
    os.rename(path + ".part", path)
    text = json.dumps({"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), "attempt": attempt, "task": task,
                       "node": f"node{task}", "cpu": "stand-in", "blas_kernel": "none", "threads": 16})
    with open(path + ".seal.part", "w") as f:
        f.write(text)
    os.rename(path + ".seal.part", path + ".seal")


class Nodes(multiprocessing.Process):
    """A process of its own, behind all others: what it does is no part of a poll."""

    def __init__(self, queue, files):
        super().__init__(daemon=True)
        self.queue, self.files, self.done = queue, files, set()

    def compute(self, s, task):
        folder = s["folder"]
        try:
            bundle = json.load(open(f"{folder}/bundle.json"))
            attempt = bundle["attempt"]
            if s["unit"] == "points":
                for curve, index in bundle["tasks"][task]:
                    point = {"curve": curve, "index": index, "lambda": index / 20, "loss": 3 + index % 7 / 10,
                             "standard_error": 0.01, "metrics": [1.5] + [None] * 6, "blocks": [12.5, 40.25, 5] * 4}
                    seal(f"{folder}/point-{curve}-{index:04d}.json", json.dumps(point).encode(), attempt, task)
            else:
                os.makedirs(f"{folder}/products", exist_ok=True)
                for name, data in self.files.items():
                    seal(f"{folder}/products/{name}", data, attempt, task)
            outcome = {"job_failed": False, "code": "ok", "detail": ""}
            seal(f"{folder}/outcome-{task}.json", json.dumps(outcome).encode(), attempt, task)
        except FileNotFoundError:
            pass  # canceled

    def run(self):
        jobs = {}
        os.nice(15)
        while True:
            for name in os.listdir(self.queue):
                if name.endswith(".json") and name not in jobs:
                    try:
                        jobs[name] = json.load(open(f"{self.queue}/{name}"))
                    except (OSError, ValueError):
                        pass
            now = time.time()
            for name, s in list(jobs.items()):
                for t in range(s["tasks"]):
                    if (name, t) not in self.done and now >= s["ends"][t] - 0.5:
                        self.compute(s, t)
                        self.done.add((name, t))
            time.sleep(0.2)


def memory(pid):
    for line in open(f"/proc/{pid}/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024


def poll(d, connection, job):
    begun = time.monotonic()
    d.get(f"/v1/jobs/{job}", connection=connection)
    return time.monotonic() - begun


def told(polls):
    polls.sort()
    return (f"{len(polls)} polls: p50 {polls[len(polls) // 2] * 1e3:.2f} ms, p99 {polls[int(len(polls) * 0.99)] * 1e3:.1f} ms, "
            f"worst {polls[-1] * 1e3:.0f} ms, {sum(p > 0.02 for p in polls)} above 20 ms")


def quantile(text, name, part):
    """The bound of the bucket of a histogram that holds it."""
    rows = [(line.split('le="')[1].split('"')[0], float(line.split()[-1])) for line in text.split("\n")
            if line.startswith(name + "_bucket")]
    return next((float(bound) for bound, count in rows if count >= part * rows[-1][1]), 0)


def main():
    home = tempfile.mkdtemp(prefix="rebasind-many-")
    os.mkdir(f"{home}/queue")
    os.mkdir(f"{home}/bin")
    for name in ("sbatch", "squeue", "scancel", "sacct"):
        os.symlink(f"{HERE}/slurm_stand_in.py", f"{home}/bin/{name}")
    env = {"HOME": home, "PATH": f"{home}/bin:{os.environ['PATH']}"}
    try:
        with Daemon("--executor", "slurm", "--shared-dir", f"{home}/shared", "--log-level", "warn", "--queue-limit",
                    "100000", env=env, start=False) as d:
            d.flags[d.flags.index("warn")] = "info"
            d.start()
            d.register_fixtures()
            one = d.wait_finished(d.post("/v1/jobs", {**SPEC, "executor": "local"}).json["id"])
            files = {n: d.get(f"/v1/jobs/{one['id']}/artifacts/{n}").body
                     for n in ("alignment.safetensors", "permutations.json")}
            nodes = Nodes(f"{home}/queue", files)
            nodes.start()
            c = d.connect()
            idle = [poll(d, c, one["id"]) for _ in range(500) if time.sleep(0.01) is None]
            before, begun, ids = memory(d.process.pid), time.time(), []
            while len(ids) < JOBS:
                r = d.post("/v1/jobs/batch", {"jobs": [SPEC] * min(100, JOBS - len(ids))}, timeout=300)
                equal(r.status, 202, r)
                ids += [j["id"] for j in r.json["jobs" if "jobs" in r.json else "data"]]
            print(f"{JOBS} jobs accepted in {time.time() - begun:.1f} s", flush=True)
            polls, peak, counts = [], before, {}
            while counts.get("succeeded", 0) + counts.get("failed", 0) < JOBS + 1 and time.time() - begun < SECONDS:
                for _ in range(50):
                    polls.append(poll(d, c, ids[(len(polls) * 7) % JOBS]))
                    time.sleep(0.02)
                peak = max(peak, memory(d.process.pid))
                counts = d.get("/v1/stats", connection=c).json["jobs"]
            text = d.get("/metrics", connection=c).body.decode()
            spans = {name: quantile(text, f"rebasind_{name}", 0.99) for name in ("store_commit_duration_seconds",
                                                                                 "loop_lag_seconds")}
            calls = [line.split() for line in open(f"{home}/calls.log")]
            asked = [float(t) for t, what in calls if what == "squeue"]
            between = [b - a for a, b in zip(asked, asked[1:])]
            print(f"nothing to do: {told(idle)}")
            print(f"{counts} in {time.time() - begun:.0f} s; {told(polls)}")
            print(f"p99 at most: a commit {spans['store_commit_duration_seconds'] * 1e3:g} ms, "
                  f"the loop's lag {spans['loop_lag_seconds'] * 1e3:g} ms")
            print(f"{len(asked)} squeue, least {min(between):.2f} s apart; {sum(w == 'sbatch' for _, w in calls)} sbatch")
            print(f"memory {before:.0f} MB before, {peak:.0f} MB at most")
            nodes.kill()
    finally:
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main()

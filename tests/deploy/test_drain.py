#!/usr/bin/env python3
"""The container is stopped under load and started again, as an upgrade does: what was acknowledged
is there, and every job reaches its end."""
import contextlib
import http.client
import json
import threading
import time

from container import TOKEN, Container, equal, run, true, wait_for

SUBMITTERS = 4
LOAD_SECONDS = 2.0
DRAIN_SECONDS = 10.0
TINY = {
    "models": {"a": "bert-a", "b": "bert-b"},
    "align": {"components": ["ff"], "dataset": "align", "max_sequences": 8, "max_length": 48},
    "interpolate": {"points": 3},
    "evaluate": {"task": "mlm", "dataset": "eval", "block_size": 48, "max_blocks": 2},
}
# One that cannot be over before the drain.
LONG = {**TINY, "interpolate": {"points": 401}, "priority": 10,
        "evaluate": {**TINY["evaluate"], "max_blocks": 16}}


class Submitter(threading.Thread):
    """Posts jobs on one connection until the daemon no longer answers; keeps what was accepted."""

    def __init__(self, port, number):
        super().__init__(daemon=True)
        self.port, self.number = port, number
        self.accepted, self.statuses = [], []

    def run(self):
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        with contextlib.suppress(OSError, http.client.HTTPException):
            c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
            while True:
                job = {**TINY, "name": f"{self.number}-{len(self.statuses)}"}
                c.request("POST", "/v1/jobs", json.dumps(job), headers)
                r = c.getresponse()
                body = r.read()
                self.statuses.append(r.status)
                if r.status == 202:
                    self.accepted.append(json.loads(body)["id"])
                time.sleep(0.1)


class Readiness(threading.Thread):
    """Asks /readyz until nobody answers; keeps the statuses."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port, self.statuses = port, []

    def run(self):
        with contextlib.suppress(OSError, http.client.HTTPException):
            c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
            while True:
                c.request("GET", "/readyz")
                r = c.getresponse()
                r.read()
                self.statuses.append(r.status)
                if r.getheader("Connection") == "close":
                    c.close()
                time.sleep(0.005)


def drain(c):
    """Loads the daemon, stops it in the midst of it; the ids of the jobs it has acknowledged."""
    accepted = [c.post("/v1/jobs", LONG).json["id"]]
    wait_for("the long job computes", 30, lambda: c.get(f"/v1/jobs/{accepted[0]}").json["phase"]
             == "evaluating")
    submitters = [Submitter(c.port, i) for i in range(SUBMITTERS)]
    readiness = Readiness(c.port)
    for thread in (*submitters, readiness):
        thread.start()
    time.sleep(LOAD_SECONDS)
    begun = time.monotonic()
    status = c.stop(timeout=20)
    seconds = time.monotonic() - begun
    for thread in (*submitters, readiness):
        thread.join(25)
    equal(status, 0, "a drained daemon exits 0")
    true(seconds <= DRAIN_SECONDS, f"drained in {seconds:.1f} s")
    statuses = [s for t in submitters for s in t.statuses]
    equal(sorted(set(statuses) - {202, 429, 503}), [], "what submitters were told")
    true(200 in readiness.statuses and set(readiness.statuses) <= {200, 503}, readiness.statuses)
    accepted += [j for t in submitters for j in t.accepted]
    print(f"      {len(accepted)} jobs acknowledged, {statuses.count(503)} refused while draining; "
          f"exit 0 after {seconds:.2f} s")
    true(len(accepted) > 10, statuses)
    return accepted


def test_drain_under_load_loses_nothing():
    with Container() as c:
        c.register_fixtures()
        accepted = drain(c)
        c.start()
        known = {j: c.get(f"/v1/jobs/{j}") for j in accepted}
        equal([j for j, r in known.items() if r.status != 200], [], "jobs acknowledged and lost")
        before = known[accepted[0]].json
        true(before["status"] in ("queued", "running"), before)
        # It goes on where it was: points of its curve that were known are not computed again.
        points = len(c.get(f"/v1/jobs/{accepted[0]}/barrier").json["lambdas"])
        true(points > 0, "points survive")
        jobs = {}

        def all_ended():
            for j in accepted:
                if j not in jobs:
                    job = c.get(f"/v1/jobs/{j}").json
                    if job["status"] in ("succeeded", "failed", "canceled"):
                        jobs[j] = job
            return len(jobs) == len(accepted)

        wait_for("every job's end", 400, all_ended)
        equal({j["status"] for j in jobs.values()}, {"succeeded"})
        # No attempt is charged for a drain.
        equal({j["attempt"] for j in jobs.values()}, {1})
        total = c.get("/v1/jobs?limit=500").json["data"]
        equal(len({j["id"] for j in total}), len(set(accepted)), "none lost, none doubled")


def test_readyz_says_503_while_draining():
    """A reply on its way keeps the daemon for a while; then readyz tells balancers to stay away."""
    with Container() as c:
        c.register_fixtures()
        job = c.post("/v1/jobs", LONG).json["id"]
        wait_for("the long job computes", 30,
                 lambda: c.get(f"/v1/jobs/{job}").json["phase"] == "evaluating")
        # The headers of a request have come, its body has not: the daemon waits for it.
        slow = http.client.HTTPConnection("127.0.0.1", c.port, timeout=20)
        slow.putrequest("PUT", "/v1/datasets/slow?format=text")
        slow.putheader("Authorization", f"Bearer {TOKEN}")
        slow.putheader("Content-Length", "1000")
        slow.endheaders()
        slow.send(b"begun\n")
        kept = http.client.HTTPConnection("127.0.0.1", c.port, timeout=20)
        kept.request("GET", "/readyz")
        equal(kept.getresponse().read(), b"ready\n")
        readiness = Readiness(c.port)
        readiness.start()
        time.sleep(0.3)
        c.kill(15)
        wait_for("503", 10, lambda: 503 in readiness.statuses)
        slow.send(b"x" * 994)
        equal(c.process.wait(20), 0)
        slow.close()
        kept.close()
        readiness.join(25)


run([test_drain_under_load_loses_nothing, test_readyz_says_503_while_draining])

"""Jobs over HTTP: submitting, waiting, listing, changing, ending."""
import hashlib
import http.client
import json
import threading
import time

from daemon import (Daemon, FIXTURES, LONG_JOB, SLOW_BUILD, SMALL_JOB, equal, problem, quote, run,
                    true)

EVALUATE_OFF = {k: v for k, v in SMALL_JOB.items() if k not in ("evaluate", "interpolate")}


def submit(d, spec, **headers):
    r = d.post("/v1/jobs", spec, {k.replace("_", "-"): v for k, v in headers.items()})
    equal(r.status, 202, r)
    return r.json["id"]


def test_submit_and_results():
    with Daemon() as d:
        d.register_fixtures()
        r = d.post("/v1/jobs", {**SMALL_JOB, "name": "small", "labels": {"k": "v"},
                                "outputs": {"merged": [0.5]}})
        equal(r.status, 202, r)
        job = r.json["id"]
        equal(r["Location"], f"/v1/jobs/{job}", r)
        true(r["Retry-After"], r)
        equal((r.json["status"], r.json["name"], r.json["labels"]), ("queued", "small", {"k": "v"}))
        equal(r.json["spec"]["interpolate"]["points"], 3, r)
        final = d.wait_finished(job)
        equal(final["status"], "succeeded", final)
        r = d.get(f"/v1/jobs/{job}")
        equal(r["Retry-After"], None, r)
        barrier = d.get(f"/v1/jobs/{job}/barrier")
        equal(barrier["Content-Type"], "application/json", barrier)
        b = barrier.json
        equal((b["job"], b["complete"], b["lambdas"]), (job, True, [0, 0.5, 1]), b)
        equal(len(b["aligned"]["loss"]), 3, b)
        equal(final["summary"]["barrier_chord"], b["aligned"]["barrier"]["chord"], final)
        csv = d.get(f"/v1/jobs/{job}/barrier", {"Accept": "text/csv"})
        equal(csv["Content-Type"], "text/csv; charset=utf-8", csv)
        lines = csv.body.decode().splitlines()
        equal(len(lines), 4, csv)
        true(lines[0].startswith("lambda,aligned_loss"), csv)
        problem(d.get(f"/v1/jobs/{job}/barrier", {"Accept": "text/html"}), 406, "not_acceptable")
        equal(d.get(f"/v1/jobs/{job}/barrier", {"If-None-Match": barrier["ETag"]}).status, 304)
        several = d.get(f"/v1/barriers?job={job}&job={job}")
        equal(several.json["data"], [b, b], several)
        other = "job_019a2c9e-7c1d-7b3e-8f00-1234567890ab"
        problem(d.get(f"/v1/barriers?job={other}"), 404, "not_found")
        check_permutations(d, job)
        check_artifacts(d, job)


def check_permutations(d, job):
    r = d.get(f"/v1/jobs/{job}/permutations")
    equal(r.status, 200, r)
    groups = r.json["groups"]
    names = [g["name"] for g in groups]
    true("layer.0.ff" in names, names)
    for g in groups:
        equal(sorted(g["index"]), list(range(g["size"])), g["name"])
    equal(d.get(f"/v1/jobs/{job}/permutations", {"If-None-Match": r["ETag"]}).status, 304)
    one = d.get(f"/v1/jobs/{job}/permutations/layer.0.ff").json
    equal(one["index"], groups[names.index("layer.0.ff")]["index"])
    problem(d.get(f"/v1/jobs/{job}/permutations/layer.99.ff"), 404, "not_found")
    equal(d.get(f"/v1/jobs/{job}/permutations/layer.0.ff?rotations=true").status, 200)
    problem(d.get(f"/v1/jobs/{job}/permutations?rotations=true"), 400, "invalid_query")
    c = d.get(f"/v1/jobs/{job}/correlations")
    equal([g["name"] for g in c.json["groups"]], names, c)
    c = d.get(f"/v1/jobs/{job}/correlations/layer.0.ff?matrix=true&size=32")
    equal(len(c.json["matrix"]["after"]), 32, c.json["matrix"]["size"])
    problem(d.get(f"/v1/jobs/{job}/correlations/layer.0.ff?matrix=true&size=33"), 400,
            "invalid_query", "size")


def check_artifacts(d, job):
    items = {a["name"]: a for a in d.get(f"/v1/jobs/{job}/artifacts").json["data"]}
    for name in ("alignment.safetensors", "permutations.json", "barrier.json", "barrier.csv",
                 "merged-0.50.safetensors", "config.json", "vocab.txt"):
        true(name in items, items)
    for name, a in items.items():
        path = f"/v1/jobs/{job}/artifacts/{name}"
        r = d.get(path)
        equal((r.status, len(r.body)), (200, a["bytes"]), name)
        equal(hashlib.sha256(r.body).hexdigest(), a["sha256"], name)
        equal(r["ETag"], f'"{a["sha256"]}"', r.headers)
        true(r["Repr-Digest"].startswith("sha-256=:"), r.headers)
        head = d.request("HEAD", path)
        equal((head.status, head.body, head["Content-Length"], head["Repr-Digest"]),
              (200, b"", str(a["bytes"]), r["Repr-Digest"]), name)
    path, whole = f"/v1/jobs/{job}/artifacts/alignment.safetensors", r
    whole = d.get(path)
    n = len(whole.body)
    for value, first, last in (("bytes=0-9", 0, 9), ("bytes=5-", 5, n - 1), ("bytes=-7", n - 7, n - 1),
                               (f"bytes=3-{n + 5}", 3, n - 1)):
        r = d.get(path, {"Range": value})
        equal((r.status, r["Content-Range"]), (206, f"bytes {first}-{last}/{n}"), r)
        equal(r.body, whole.body[first:last + 1], value)
        equal(r["Repr-Digest"], whole["Repr-Digest"])
    for value in ("bytes=0-1,3-4", "bytes=x", "bytes=4-3"):
        equal(d.get(path, {"Range": value}).status, 200, value)
    r = d.get(path, {"Range": f"bytes={n}-"})
    problem(r, 416, "range_not_satisfiable")
    equal(r["Content-Range"], f"bytes */{n}", r)
    equal(d.get(path, {"Range": "bytes=0-1", "If-Range": whole["ETag"]}).status, 206)
    equal(d.get(path, {"Range": "bytes=0-1", "If-Range": '"x"'}).status, 200)
    equal(d.get(path, {"If-None-Match": whole["ETag"]}).status, 304)
    for name in ("nothing", "..%2f..%2frebasind.db", ".."):
        problem(d.get(f"/v1/jobs/{job}/artifacts/{name}"), 404, "not_found")


def test_refused_submissions():
    with Daemon() as d:
        d.register_fixtures()
        def refuse(change, status, code, pointer):
            problem(d.post("/v1/jobs", {**SMALL_JOB, **change}), status, code, pointer)
        refuse({"models": {"a": "bert-a", "b": "nothing"}}, 422, "invalid_request", "/models/b")
        refuse({"models": {"a": "bert-a"}}, 422, "invalid_request", "/models/b")
        refuse({"align": {"components": ["ff"], "dataset": "nothing"}}, 422, "invalid_request",
               "/align/dataset")
        refuse({"interpolate": {"points": 1}}, 422, "invalid_request", "/interpolate/points")
        refuse({"priority": 1e9}, 422, "invalid_request", "/priority")
        r = d.post("/v1/jobs", {**SMALL_JOB, "evaluate": {"task": "classification",
                                                          "dataset": "eval"}})
        equal(r.status, 422, r)
        body = problem(d.post("/v1/jobs", {"models": 1, "x": 2, "priority": "y"}), 422,
                       "invalid_request", "/x")
        true(len(body["errors"]) >= 3, body)
        problem(d.post("/v1/jobs/batch", {"jobs": [SMALL_JOB, {**SMALL_JOB, "priority": 1e9}]}), 422,
                "invalid_request", "/jobs/1/priority")
        problem(d.post("/v1/jobs/batch", {"jobs": []}), 422, "invalid_request", "/jobs")
        equal(d.get("/v1/jobs").json["data"], [])


def test_dry_run():
    with Daemon() as d:
        d.register_fixtures()
        r = d.post("/v1/jobs?dry_run=true", SMALL_JOB)
        equal(r.status, 200, r)
        equal(sorted(r.json), ["estimate", "spec"], r)
        true(r.json["estimate"]["peak_bytes"] > 0, r)
        equal(d.get("/v1/jobs").json["data"], [])
        problem(d.post("/v1/jobs?dry_run=maybe", SMALL_JOB), 400, "invalid_query", "dry_run")
        problem(d.post("/v1/jobs?dry_run", {**SMALL_JOB, "models": {"a": "x", "b": "y"}}), 422,
                "invalid_request")


def test_idempotency():
    with Daemon() as d:
        d.register_fixtures()
        key = {"Idempotency-Key": "k-1"}
        first = d.post("/v1/jobs", EVALUATE_OFF, key)
        equal(first.status, 202, first)
        again = d.post("/v1/jobs", EVALUATE_OFF, key)
        equal((again.status, again.body, again["Location"]),
              (202, first.body, first["Location"]), again)
        problem(d.post("/v1/jobs", SMALL_JOB, key), 422, "idempotency_mismatch")
        problem(d.post("/v1/jobs/batch", {"jobs": [EVALUATE_OFF]}, key), 422, "idempotency_mismatch")
        problem(d.post("/v1/jobs", SMALL_JOB, {"Idempotency-Key": "a b"}), 400, "invalid_header")
        refused = {**SMALL_JOB, "models": {"a": "x", "b": "y"}}
        problem(d.post("/v1/jobs", refused, {"Idempotency-Key": "k-2"}), 422, "invalid_request")
        equal(d.post("/v1/jobs", EVALUATE_OFF, {"Idempotency-Key": "k-2"}).status, 202)
        # The answer outlives the daemon.
        d.stop()
        d.start()
        again = d.post("/v1/jobs", EVALUATE_OFF, key)
        equal((again.status, again.body), (202, first.body), again)
        # Twenty at once make one job.
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(
            d.post("/v1/jobs", EVALUATE_OFF, {"Idempotency-Key": "k-3"}))) for _ in range(20)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        ids = {a.json["id"] for a in answers if a.status == 202}
        equal(len(ids), 1, answers)
        for a in answers:
            if a.status != 202:
                problem(a, 409, "idempotency_in_flight")
        equal(len(d.get("/v1/jobs").json["data"]), 3)


def test_prefer_wait():
    with Daemon() as d:
        d.register_fixtures()
        begun = time.monotonic()
        r = d.post("/v1/jobs", SMALL_JOB, {"Prefer": "wait=60"})
        equal((r.status, r.json["status"]), (200, "succeeded"), r)
        r = d.post("/v1/jobs", LONG_JOB, {"Prefer": "wait=1"})
        equal(r.status, 202, r)
        job = r.json["id"]
        # A long poll answers as soon as something has changed.
        tag, changes = d.get(f"/v1/jobs/{job}")["ETag"], 0
        begun = time.monotonic()
        while changes < 3:
            r = d.get(f"/v1/jobs/{job}", {"Prefer": "wait=20", "If-None-Match": tag})
            equal(r.status, 200, r)
            true(r["ETag"] != tag, r)
            tag, changes = r["ETag"], changes + 1
        true(time.monotonic() - begun < 30)
        threading.Timer(0.3, lambda: d.post(f"/v1/jobs/{job}/cancel")).start()
        while r.json["status"] != "canceled":
            r = d.get(f"/v1/jobs/{job}", {"Prefer": "wait=20", "If-None-Match": r["ETag"]})
            equal(r.status, 200, r)
        begun = time.monotonic()
        late = d.get(f"/v1/jobs/{job}", {"Prefer": "wait=1", "If-None-Match": r["ETag"]})
        equal(late.status, 304, late)
        true(0.9 < time.monotonic() - begun < 3)
        problem(d.get(f"/v1/jobs/{job}", {"Prefer": "wait=61"}), 400, "invalid_header")


def test_lists():
    with Daemon("--workers", "1") as d:
        d.register_fixtures()
        jobs = {"jobs": [{**LONG_JOB, "name": f"n{i}", "priority": -i,
                          "labels": {"parity": str(i % 2), "all": "yes"}} for i in range(12)]}
        r = d.post("/v1/jobs/batch", jobs)
        equal(r.status, 202, r)
        ids = [j["id"] for j in r.json["data"]]
        equal(len(ids), 12)
        def names(query):
            found, path = [], f"/v1/jobs?limit=5&{query}"
            while path:
                page = d.get(path)
                equal(page.status, 200, page)
                found += [j["name"] for j in page.json["data"]]
                token = page.json.get("next_page_token")
                path = f"/v1/jobs?limit=5&{query}&page_token={token}" if token else None
            return found
        everyone = [f"n{i}" for i in range(12)]
        equal(names(""), everyone[::-1])
        equal(names("sort=created_at"), everyone)
        equal(names("sort=-priority"), everyone)
        equal(names("sort=priority"), everyone[::-1])
        equal(names("label=parity:1"), everyone[1::2][::-1])
        equal(names("label=parity:1&label=all:yes&sort=created_at"), everyone[1::2])
        equal(names("label=parity:2"), [])
        equal(names("model=bert-b"), everyone[::-1])
        equal(names("model=bert-c"), [])
        equal(names("created_before=2020-01-01T00:00:00Z"), [])
        equal(len(names("created_after=2020-01-01T00:00:00Z&status=queued,running")), 12)
        r = d.get("/v1/jobs?limit=5")
        token = r.json["next_page_token"]
        problem(d.get(f"/v1/jobs?sort=priority&page_token={token}"), 400, "invalid_query",
                "page_token")
        for job in ids:
            d.post(f"/v1/jobs/{job}/cancel")
        for job in ids:
            equal(d.wait_finished(job)["status"], "canceled")
        equal(len(names("status=canceled")), 12)


def test_patch():
    with Daemon() as d:
        d.register_fixtures()
        job = submit(d, LONG_JOB)
        path = f"/v1/jobs/{job}"
        d.post(f"{path}/cancel")
        d.wait_finished(job)
        problem(d.request("PATCH", path, {"name": "x"}), 428, "precondition_required")
        tag = d.get(path)["ETag"]
        problem(d.request("PATCH", path, {"name": "x"}, {"If-Match": '"0"'}), 412,
                "precondition_failed")
        r = d.request("PATCH", path, {"name": "x", "labels": {"a": "b"}}, {"If-Match": tag})
        equal((r.status, r.json["name"], r.json["labels"]), (200, "x", {"a": "b"}), r)
        true(r["ETag"] != tag, r)
        problem(d.request("PATCH", path, {"name": "y"}, {"If-Match": tag}), 412,
                "precondition_failed")
        r = d.request("PATCH", path, {"name": None}, {"If-Match": "*"})
        equal((r.status, r.json["name"]), (200, None), r)
        problem(d.request("PATCH", path, {}, {"If-Match": "*"}), 422, "invalid_request")
        problem(d.request("PATCH", path, {"status": "queued"}, {"If-Match": "*"}), 422,
                "invalid_request", "/status")
        problem(d.request("PATCH", "/v1/jobs/x", {"name": "x"}, {"If-Match": "*"}), 404, "not_found")
        r = d.request("PATCH", path, b'{"priority": 3}',
                      {"If-Match": "*", "Content-Type": "application/merge-patch+json"})
        equal((r.status, r.json["priority"]), (200, 3), r)


def points(d, job):
    """The losses known so far, by lambda."""
    b = d.get(f"/v1/jobs/{job}/barrier").json
    return {at: loss for at, loss in zip(b["lambdas"], b["aligned"]["loss"]) if loss is not None}


def test_cancel_retry_delete():
    with Daemon() as d:
        d.register_fixtures()
        job = submit(d, SMALL_JOB)
        equal(d.wait_finished(job)["status"], "succeeded")
        problem(d.post(f"/v1/jobs/{job}/cancel"), 409, "conflict")
        running = submit(d, {**SMALL_JOB, "interpolate": {"points": 1001}})
        problem(d.post(f"/v1/jobs/{running}/retry"), 409, "conflict")
        while len(points(d, running)) < 3:
            time.sleep(0.02)
        r = d.post(f"/v1/jobs/{running}/cancel")
        equal(r.status, 202, r)
        true(r.json["status"] in ("canceling", "canceled"), r)
        equal(d.wait_finished(running)["status"], "canceled")
        equal(d.post(f"/v1/jobs/{running}/cancel").status, 200)
        known = points(d, running)
        r = d.post(f"/v1/jobs/{running}/retry", headers={"Idempotency-Key": "retry"})
        equal((r.status, r.json["retry_of"]), (202, running), r)
        taken_over = points(d, r.json["id"])
        equal({k: taken_over.get(k) for k in known}, known, "what the old job has found out")
        again = d.post(f"/v1/jobs/{running}/retry", headers={"Idempotency-Key": "retry"})
        equal(again.body, r.body)
        d.post(f"/v1/jobs/{r.json['id']}/cancel")
        d.wait_finished(r.json["id"])
        equal(d.request("DELETE", f"/v1/jobs/{job}").status, 204)
        for path in ("", "/barrier", "/events", "/artifacts", "/permutations"):
            problem(d.get(f"/v1/jobs/{job}{path}"), 404, "not_found")
        problem(d.request("DELETE", f"/v1/jobs/{job}"), 404, "not_found")


def test_log():
    """One line for each transition of a job, and no other about it."""
    with Daemon("--log-format", "json") as d:
        d.register_fixtures()
        done = submit(d, SMALL_JOB)
        equal(d.wait_finished(done)["status"], "succeeded")
        canceled = submit(d, LONG_JOB)
        while d.get(f"/v1/jobs/{canceled}").json["phase"] != "aligning":
            time.sleep(0.005)
        d.post(f"/v1/jobs/{canceled}/cancel")
        d.wait_finished(canceled)
        lines = [json.loads(x) for x in d.log().splitlines()]
        stories = [[" ".join(filter(None, (x["status"], x.get("phase")))) for x in lines
                    if x["message"] == "job" and x["job"] == job] for job in (done, canceled)]
        equal(stories[0], ["queued", "running", "running aligning", "running solving",
                           "running certifying", "running evaluating", "running writing",
                           "succeeded"])
        equal(stories[1], ["queued", "running", "running aligning", "canceling", "canceled"])


def test_cancel_latency():
    """From the request to `canceled`, where nothing of the job runs any more."""
    with Daemon() as d:
        d.register_fixtures()
        took = []
        for i in range(16):
            job = submit(d, LONG_JOB)
            time.sleep(0.1 + 0.12 * i)
            begun = time.monotonic()
            r = d.post(f"/v1/jobs/{job}/cancel")
            while r.json["status"] != "canceled":
                r = d.get(f"/v1/jobs/{job}", {"Prefer": "wait=10", "If-None-Match": r["ETag"]})
            took.append((time.monotonic() - begun) * 1000)
        took.sort()
        print(f"      cancel: median {took[8]:.0f} ms, slowest {took[-1]:.0f} ms")
        if not SLOW_BUILD:
            true(took[-1] < 300, took)


def test_queue_limit():
    with Daemon("--queue-limit", "2", "--workers", "1") as d:
        d.register_fixtures()
        answers = [d.post("/v1/jobs", LONG_JOB) for _ in range(8)]
        refused = [a for a in answers if a.status != 202]
        true(refused, answers)
        for a in refused:
            problem(a, 429, "queue_full")
            true(a["Retry-After"], a)
        for a in answers:
            if a.status == 202:
                d.post(f"/v1/jobs/{a.json['id']}/cancel")


def test_a_batch_that_never_fits():
    """429 says "later"; this is for ever. And what fits exactly is taken on an empty queue."""
    with Daemon("--queue-limit", "3", "--workers", "1") as d:
        d.register_fixtures()
        r = d.post("/v1/jobs/batch", {"jobs": [LONG_JOB] * 4})
        problem(r, 422, "invalid_request", "/jobs")
        equal(d.get("/v1/jobs").json["data"], [])
        r = d.post("/v1/jobs/batch", {"jobs": [LONG_JOB] * 3})
        equal(r.status, 202, r)
        problem(d.post("/v1/jobs/batch", {"jobs": [LONG_JOB] * 3}), 429, "queue_full")
        for job in d.get("/v1/jobs").json["data"]:
            d.post(f"/v1/jobs/{job['id']}/cancel")


def test_progress_of_writing():
    """A job that only writes has done as much of itself as it has written of its checkpoints."""
    many = [i / 100 for i in range(1, 41)]
    with Daemon("--workers", "1") as d:
        d.register_fixtures()
        spec = {"models": {"a": "bert-a", "b": "bert-b"}, "align": {"components": []}, "outputs": {"merged": many}}
        r = d.post("/v1/jobs", spec)
        equal(r.status, 202, r)
        job, path = r.json["id"], f"/v1/jobs/{r.json['id']}"
        while (row := d.get(path).json)["status"] in ("queued", "running"):
            written = len(d.get(path + "/artifacts").json["data"]) / len(many)
            fraction = row["progress"]["fraction"]
            true(fraction <= written + 0.2, f"{fraction} is done, and {written} of the checkpoints are written")
        equal(d.wait_finished(job)["status"], "succeeded")


if __name__ == "__main__":
    run([v for k, v in list(globals().items()) if k.startswith("test_")])

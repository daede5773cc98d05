"""Many jobs asked for as one: POST /v1/sweeps, its table, its waits and events, its end; all or none."""
import csv
import io
import json
import time
import urllib.parse

from daemon import LONG_JOB, SMALL_JOB, Daemon, equal, problem, run, true

GRID = {"align.similarity": ["correlation", "covariance"], "align.absolute": [False, True]}
SWEEP = {"spec": SMALL_JOB, "grid": GRID, "name": "likeness", "labels": {"paper": "us"}}
UNKNOWN = "grp_019a2c9e-7c1d-7b3e-8f00-1234567890ab"


def count_jobs(d):
    return len(d.get("/v1/jobs?limit=500").json["data"])


def test_a_sweep_from_end_to_end():
    with Daemon() as d:
        d.register_fixtures()
        dry = d.post("/v1/sweeps?dry_run=true", SWEEP)
        equal((dry.status, dry.json["jobs"], count_jobs(d)), (200, 4, 0), dry)
        equal(dry.json["table"][1]["settings"], {"align.similarity": "correlation", "align.absolute": True})
        true(dry.json["estimate"]["seconds"] > dry.json["table"][0]["estimate"]["seconds"], dry.json)
        r = d.post("/v1/sweeps", SWEEP, {"Idempotency-Key": "once"})
        equal((r.status, r["Location"]), (202, f"/v1/sweeps/{r.json['id']}"), r)
        again = d.post("/v1/sweeps", SWEEP, {"Idempotency-Key": "once"})
        equal((again.status, again.json["id"], again["Idempotency-Replayed"]), (202, r.json["id"], "true"))
        problem(d.post("/v1/sweeps", {**SWEEP, "name": "other"}, {"Idempotency-Key": "once"}), 422,
                "idempotency_mismatch")
        sweep = f"/v1/sweeps/{r.json['id']}"
        tag = d.get(sweep)["ETag"]
        for _ in range(600):  # a long poll: each answer is another one
            r = d.get(sweep, {"Prefer": "wait=20", "If-None-Match": tag})
            equal(r.status, 200, r)
            true(r["ETag"] != tag, "an answer that is no news")
            tag = r["ETag"]
            if r.json["status"] not in ("queued", "running"):
                break
        s = r.json
        equal((s["status"], s["name"], s["labels"], s["jobs"]), ("succeeded", "likeness", {"paper": "us"}, 4))
        equal((s["progress"]["succeeded"], s["progress"]["fraction"], s["progress"]["eta_seconds"]), (4, 1, 0))
        equal(s["members"], list(GRID))
        equal((s["spec"], s["grid"]), (SMALL_JOB, GRID))
        check_table(d, s)
        check_csv(d, sweep, s)
        check_lists(d, s)
        check_events(d, sweep, s)
        equal(d.get(sweep, {"If-None-Match": tag}).status, 304)
        problem(d.request("DELETE", sweep, headers={"If-Match": '"1-1-1"'}), 412, "precondition_failed")
        problem(d.post(sweep + "/cancel", {}), 409, "conflict")
        equal(d.request("DELETE", sweep, headers={"If-Match": tag}).status, 204)
        equal(count_jobs(d), 1)  # the one that was none of it
        problem(d.get(sweep), 404, "not_found")
        equal(d.get("/v1/sweeps").json["data"], [])


def check_table(d, s):
    equal([row["settings"] for row in s["table"]],
          [{"align.similarity": a, "align.absolute": b} for a in GRID["align.similarity"]
           for b in GRID["align.absolute"]])
    losses = []
    for row in s["table"]:
        job = d.get(f"/v1/jobs/{row['job']}").json
        equal((job["group"], job["name"], job["labels"]), (s["id"], row["name"], {"paper": "us"}))
        for key, value in row["settings"].items():
            equal(job["spec"]["align"][key.split(".")[1]], value)
        equal(row["verdict"], job["summary"]["verdict"])
        equal(row["barrier_mean"], job["summary"]["barrier_mean"])
        losses.append(row["verdict"]["loss"])
    equal(s["table"][1]["name"], "likeness: similarity=correlation, absolute=true")
    equal([row["rank"] for row in s["table"]], [1 + sum(b < a for b in losses) for a in losses])
    equal(s["best"], s["table"][losses.index(min(losses))]["job"])


def check_csv(d, sweep, s):
    r = d.get(sweep, {"Accept": "text/csv"})
    equal(r["Content-Type"], "text/csv; charset=utf-8")
    rows = list(csv.DictReader(io.StringIO(r.body.decode())))
    equal([row["job"] for row in rows], [row["job"] for row in s["table"]])
    equal([row["align.absolute"] for row in rows], ["false", "true"] * 2)
    equal([float(row["loss"]) for row in rows], [row["verdict"]["loss"] for row in s["table"]])
    equal([(row["midpoint_loss"], row["verdict_label"]) for row in rows],
          [(repr(row["verdict"]["midpoint_loss"]), row["verdict"]["label"]) for row in s["table"]])
    equal([row["verdict"] for row in rows], [row["verdict"]["text"] for row in s["table"]])
    equal(rows[0]["name"], s["table"][0]["name"])  # it has a comma


def check_lists(d, s):
    """A batch's jobs have ids, and stand in lists, in the order they were given."""
    d.post("/v1/jobs", SMALL_JOB, {"Prefer": "wait=60"})
    ids = [row["job"] for row in s["table"]]
    equal(ids, sorted(ids))
    for sort in ("created_at", "-priority", "updated_at"):
        equal(sorted(j["id"] for j in d.get(f"/v1/jobs?group={s['id']}&sort={sort}").json["data"]), ids)
    page = d.get(f"/v1/jobs?group={s['id']}&sort=created_at&limit=3").json
    rest = d.get(f"/v1/jobs?group={s['id']}&sort=created_at&limit=3&page_token={page['next_page_token']}").json
    equal([j["id"] for j in page["data"] + rest["data"]], ids)
    equal(len(d.get(f"/v1/jobs?group={s['id']}&status=failed").json["data"]), 0)
    equal(len(d.get(f"/v1/jobs?group={s['id']}&label=paper:us&model=bert-a").json["data"]), 4)
    equal(len(d.get(f"/v1/jobs?group={UNKNOWN}").json["data"]), 0)
    problem(d.get("/v1/jobs?group=oops"), 400, "invalid_query")
    listed = d.get("/v1/sweeps").json["data"][0]
    equal({k: v for k, v in s.items() if k != "table"}, listed)


def check_events(d, sweep, s):
    page = d.get(sweep + "/events?limit=500").json["data"]
    equal({e["job"] for e in page}, {row["job"] for row in s["table"]})
    equal(sum(e["type"] == "point" for e in page), 4 * 2 * 3)
    raw = d.raw(f"GET {sweep}/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n".encode(),
                timeout=1).decode()
    equal(raw.count("event: point"), 4 * 2 * 3)


def test_waits_until_all_have_ended():
    with Daemon() as d:
        d.register_fixtures()
        r = d.post("/v1/sweeps", {"spec": SMALL_JOB, "grid": {"evaluate.seed": [1, 2]}}, {"Prefer": "wait=60"})
        equal((r.status, r.json["status"]), (200, "succeeded"), r)
        equal([row["rank"] for row in r.json["table"]], [None, None])  # other masks: no losses to compare
        equal(r.json["best"], None)


def test_all_or_none_and_says_what_is_wrong():
    with Daemon("--queue-limit", "3") as d:
        d.register_fixtures()
        post = lambda **more: d.post("/v1/sweeps", {**SWEEP, **more})
        heads = {"align.components": [["mha"]], "align.heads": ["permute", "nonsense"]}
        problem(post(grid=heads), 422, "invalid_request", "/grid/align.heads/1")
        problem(post(grid={"align.nothing": [1]}), 422, "invalid_request", "/grid/align.nothing/0")
        problem(post(grid={"models.b": ["bert-b", "none"]}), 422, "invalid_request", "/grid/models.b/1")
        problem(post(spec={**SMALL_JOB, "oops": 1}), 422, "invalid_request", "/spec/oops")
        for grid in ({}, [], {"align.heads": []}, {"align.heads": "permute"}, {"Align": [1]}, {"align.": [1]},
                     {"align.heads": ["permute", "permute"]}, {"align": [{}], "align.heads": ["permute"]},
                     {"evaluate.seed": list(range(300))}):
            r = post(grid=grid)
            equal((r.status, r.json["errors"][0]["pointer"][:5]), (422, "/grid"), (grid, r.json))
        r = post()  # four jobs, three places: no waiting helps
        problem(r, 422, "invalid_request", "/grid")
        equal((count_jobs(d), d.get("/v1/sweeps").json["data"]), (0, []))


def test_cancel_retry_and_delete():
    with Daemon() as d:
        d.register_fixtures()
        r = d.post("/v1/sweeps", {"spec": LONG_JOB, "grid": {"align.seed": [1]}})
        problem(r, 422, "invalid_request", "/grid/align.seed/0")
        r = d.post("/v1/sweeps", {"spec": LONG_JOB, "grid": {"evaluate.seed": [1, 2, 3]}})
        equal(r.status, 202, r)
        sweep, first = f"/v1/sweeps/{r.json['id']}", r.json["table"][0]["job"]
        while d.get(f"/v1/jobs/{first}").json["status"] == "queued":
            time.sleep(0.02)
        problem(d.request("DELETE", sweep), 409, "in_use")
        equal(d.get(sweep).json["status"], "running")
        r = d.post(sweep + "/cancel", {})
        equal((r.status, r.json["progress"]["canceled"] >= 1), (202, True), r.json["progress"])
        for row in r.json["table"]:
            d.wait_finished(row["job"])
        equal((d.get(sweep).json["status"], d.post(sweep + "/cancel", {}).status), ("canceled", 200))
        retry = d.post(f"/v1/jobs/{first}/retry", {}).json
        s = d.get(sweep).json
        equal((retry["group"], s["table"][0]["job"], len(s["table"])), (s["id"], retry["id"], 3))
        d.post(sweep + "/cancel", {})
        d.wait_finished(retry["id"])
        equal(d.request("DELETE", sweep).status, 204)
        equal(count_jobs(d), 0)


def test_links_resolve():
    """Against the answer's own address, below a prefix and without one, in lists too."""
    for flags, front in (((), ""), (("--route-prefix", "/merge/here"), "/merge/here")):
        with Daemon(*flags) as d:
            d.register_fixtures()
            r = d.post("/v1/sweeps", SWEEP, {"Prefer": "wait=60"})
            for base in ("", front):
                for address in (f"/v1/sweeps/{r.json['id']}", f"/v1/jobs/{r.json['table'][0]['job']}"):
                    for link in d.get(base + address).json["links"].values():
                        target = urllib.parse.urljoin(base + address, link)
                        true(target.startswith(front + "/v1/"), target)
                        equal(d.get(target).status, 200, target)


def test_survives_a_restart():
    with Daemon() as d:
        d.register_fixtures()
        r = d.post("/v1/sweeps", SWEEP)
        d.kill()
        d.start()
        while d.get(f"/v1/sweeps/{r.json['id']}").json["status"] in ("queued", "running"):
            time.sleep(0.05)
        s = d.get(f"/v1/sweeps/{r.json['id']}").json
        equal((s["status"], json.loads(json.dumps(s["grid"]))), ("succeeded", GRID))
        equal([row["job"] for row in s["table"]], [row["job"] for row in r.json["table"]])


if __name__ == "__main__":
    run([test_a_sweep_from_end_to_end, test_waits_until_all_have_ended, test_all_or_none_and_says_what_is_wrong,
         test_cancel_retry_and_delete, test_links_resolve,
         test_survives_a_restart])

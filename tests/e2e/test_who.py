"""Whose it is: two people and an admin; what each may see, change, store and have waiting; whose turn it is."""
import re
import time

from daemon import FIXTURES, LONG_JOB, SMALL_JOB, Daemon, command, equal, problem, run, true

SHORT = {"models": SMALL_JOB["models"], "align": {"components": []}, "outputs": {"merged": [0.5]}}


class Person:
    """A client with a token of its own."""

    def __init__(self, d, name, *more, scopes="submit"):
        made = command("token", "create", "--name", name, "--scopes", scopes, "--data-dir", d.data_dir, *more)
        equal(made.returncode, 0, made.stderr)
        self.d, self.name, self.headers = d, name, {"Authorization": f"Bearer {made.stdout.strip()}"}

    def request(self, method, path, body=None, headers=None):
        return self.d.request(method, path, body, {**self.headers, **(headers or {})})

    def get(self, path, **more):
        return self.request("GET", path, **more)

    def post(self, path, body, headers=None):
        return self.request("POST", path, body, headers)

    def finished(self, job):
        while self.get(f"/v1/jobs/{job}").json["status"] not in ("succeeded", "failed", "canceled"):
            time.sleep(0.03)
        return self.get(f"/v1/jobs/{job}").json


def register(person):
    for name in ("bert-a", "bert-b"):
        equal(person.post("/v1/models", {"name": name, "path": f"{FIXTURES}/models/{name}"}).status, 201)
    for name in ("align", "eval"):
        equal(person.post("/v1/datasets", {"name": name, "path": f"{FIXTURES}/data/{name}.txt"}).status, 201)


def test_each_changes_what_is_theirs():
    with Daemon() as d:
        early = d.post("/v1/models", {"name": "old", "path": f"{FIXTURES}/models/bert-a"})
        equal(early.json["submitted_by"], None)
        ada, bob, root = Person(d, "ada"), Person(d, "bob"), Person(d, "root", scopes="admin")
        reader = Person(d, "rea", scopes="read")
        register(ada)
        equal(bob.get("/v1/models/bert-a").json["submitted_by"], "ada")
        job = ada.post("/v1/jobs", SHORT).json
        equal(job["submitted_by"], "ada")
        sweep = ada.post("/v1/sweeps", {"spec": SHORT, "grid": {"outputs.merged": [[0.2], [0.3]]}}).json
        equal((sweep["submitted_by"], bob.get(f"/v1/jobs/{sweep['table'][0]['job']}").json["submitted_by"]),
              ("ada", "ada"))
        own = bob.post("/v1/jobs", SHORT).json
        for row in [job["id"], own["id"]] + [r["job"] for r in sweep["table"]]:
            ada.finished(row)
        forbidden = [("PATCH", f"/v1/jobs/{job['id']}", {"name": "mine"}), ("DELETE", f"/v1/jobs/{job['id']}", None),
                     ("POST", f"/v1/jobs/{job['id']}/cancel", {}), ("DELETE", f"/v1/sweeps/{sweep['id']}", None),
                     ("POST", f"/v1/sweeps/{sweep['id']}/cancel", {}), ("DELETE", "/v1/models/bert-a", None),
                     ("DELETE", "/v1/datasets/eval", None), ("PUT", "/v1/datasets/eval", b"a line\n"),
                     ("PUT", "/v1/models/bert-a/files/vocab.txt", b"[PAD]\n")]
        for method, path, body in forbidden:
            r = bob.request(method, path, body, {"If-Match": "*"} if method == "PATCH" else None)
            problem(r, 403, "forbidden")
            true("ada" in r.json["detail"] and "admin" in r.json["detail"], r.json)
            equal(reader.request(method, path, body).status, 403, path)
        mine = lambda who, what: sorted(x.get("name") or x["id"] for x in who.get(f"/v1/{what}?mine=true").json["data"])
        equal((mine(ada, "models"), mine(bob, "models")), (["bert-a", "bert-b"], []))
        equal(mine(ada, "datasets"), ["align", "eval"])
        equal([j["id"] for j in bob.get("/v1/jobs?mine").json["data"]], [own["id"]])
        equal(len(ada.get("/v1/jobs?mine=true&sort=-updated_at&status=succeeded").json["data"]), 3)
        equal(len(ada.get(f"/v1/jobs?mine=true&group={sweep['id']}").json["data"]), 2)
        equal(len(bob.get(f"/v1/jobs?mine=true&group={sweep['id']}").json["data"]), 0)
        equal(len(reader.get("/v1/jobs").json["data"]), 4)
        equal(bob.request("DELETE", "/v1/models/old").status, 204)  # nobody's
        retried = bob.post(f"/v1/jobs/{job['id']}/retry", {}).json
        equal(retried["submitted_by"], "bob")
        bob.finished(retried["id"])
        patched = root.request("PATCH", f"/v1/jobs/{job['id']}", {"name": "seen"}, {"If-Match": "*"})
        equal((patched.status, patched.json["submitted_by"]), (200, "ada"))
        equal(root.request("DELETE", f"/v1/sweeps/{sweep['id']}").status, 204)
        equal(ada.request("DELETE", f"/v1/jobs/{job['id']}").status, 204)
        dry = ada.request("POST", "/v1/jobs?dry_run=true", SHORT)
        equal(dry.status, 200)
        d.stop()  # a line is written after its answer
        changes = re.findall(r"INFO  change .*", d.log())
        true(any(f"by=ada operation=deleteJob what={job['id']} status=204" in c for c in changes), changes)
        true(any(f"by=bob operation=createJob what=/v1/jobs/{own['id']} " in c for c in changes), changes)
        equal(len(changes), 13, changes)
        true(not any("by=bob operation=patchJob" in c for c in changes), "what was refused is no change")


def test_self_limits_and_expiry():
    with Daemon() as d:
        nobody = d.get("/v1/tokens/self").json
        equal((nobody["id"], nobody["name"], nobody["scopes"]), (None, None, ["read", "submit", "admin"]))
        ada = Person(d, "ada", "--queued", "2", "--running", "1", "--bytes", "3GiB", "--expires", "30d")
        eve = Person(d, "eve", "--bytes", "3MiB")
        bob = Person(d, "bob")
        register(bob)
        me = ada.get("/v1/tokens/self").json
        equal((me["name"], me["scopes"], me["limits"]),
              ("ada", ["read", "submit"], {"queued": 2, "running": 1, "bytes": 3 << 30}))
        true(me["expires_at"] > me["created_at"], me)
        first = ada.post("/v1/jobs", LONG_JOB).json["id"]
        while ada.get(f"/v1/jobs/{first}").json["status"] != "running":
            time.sleep(0.02)
        waiting = [ada.post("/v1/jobs", LONG_JOB).json["id"] for _ in range(2)]
        r = ada.post("/v1/jobs", LONG_JOB)
        problem(r, 429, "queue_full")
        true("ada" in r.json["detail"], r.json)
        problem(ada.post("/v1/jobs/batch", {"jobs": [LONG_JOB] * 3}), 422, "invalid_request", "/jobs")
        # Two jobs run at once here, but one of hers alone: bob, who came later, is not kept waiting.
        late = bob.post("/v1/jobs", SHORT).json["id"]
        equal(bob.finished(late)["status"], "succeeded")
        equal([ada.get(f"/v1/jobs/{j}").json["status"] for j in [first] + waiting], ["running", "queued", "queued"])
        equal(ada.get("/v1/tokens/self").json["usage"], {"queued": 2, "running": 1, "bytes": 0})
        for job in waiting + [first]:
            ada.post(f"/v1/jobs/{job}/cancel", {})
            ada.finished(job)
        equal(eve.request("PUT", "/v1/datasets/hers", b"a line\n" * 400000).status, 201)
        r = eve.request("PUT", "/v1/datasets/more", b"a line\n" * 400000)
        problem(r, 413, "too_large")
        true("eve may store 3145728 bytes and has 2800000" in r.json["detail"], r.json)
        problem(eve.post("/v1/jobs", SHORT), 413, "too_large")
        equal(bob.request("PUT", "/v1/datasets/his", b"a line\n" * 400000).status, 201)


def test_expired():
    with Daemon() as d:
        ada = Person(d, "ada")
        equal(ada.get("/v1/jobs").status, 200)
        path = f"{d.data_dir}/tokens"
        lines = open(path).read().splitlines()
        with open(path, "w") as f:
            f.write("\n".join(lines[:-1] + [lines[-1] + "\texpires=2020-01-01T00:00:00.000Z"]) + "\n")
        r = ada.get("/v1/jobs")
        problem(r, 401, "unauthorized")
        true("expired" in r.json["detail"], r.json)
        true("expired" in command("token", "list", "--data-dir", d.data_dir).stdout)
        for wrong in ("0d", "yesterday", "2020-01-01T00:00:00Z", "-3d"):
            equal(command("token", "create", "--expires", wrong, "--data-dir", d.data_dir).returncode, 2, wrong)


def test_turns():
    """At one priority each has a turn, however many the other has waiting; a higher priority goes first."""
    with Daemon("--workers", "1") as d:
        ada, bob = Person(d, "ada"), Person(d, "bob")
        register(ada)
        blocker = ada.post("/v1/jobs", LONG_JOB).json["id"]
        while ada.get(f"/v1/jobs/{blocker}").json["status"] != "running":
            time.sleep(0.02)
        second = ada.post("/v1/jobs", LONG_JOB).json["id"]
        many = [j["id"] for j in ada.post("/v1/jobs/batch", {"jobs": [SHORT] * 4}).json["data"]]
        few = [j["id"] for j in bob.post("/v1/jobs/batch", {"jobs": [SHORT] * 2}).json["data"]]
        urgent = ada.post("/v1/jobs", {**SHORT, "priority": 5}).json["id"]
        for job in (second, blocker):
            ada.post(f"/v1/jobs/{job}/cancel", {})
        for job in many + few + [urgent]:
            ada.finished(job)
        started = {j["id"]: j["started_at"] for j in ada.get("/v1/jobs?limit=100").json["data"]}
        order = sorted(many + few + [urgent], key=lambda j: started[j])
        equal(order[0], urgent)
        true(max(order.index(j) for j in few) <= 4, [("bob" if j in few else "ada") for j in order])
        equal([j for j in order if j in many], many)


if __name__ == "__main__":
    run([test_each_changes_what_is_theirs, test_self_limits_and_expiry, test_expired, test_turns])

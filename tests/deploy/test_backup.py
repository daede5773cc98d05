#!/usr/bin/env python3
"""deploy/backup.sh copies the data folder of a container at work; a new one goes on from the copy."""
import hashlib
import os
import subprocess

from container import DEMO_JOB, DEPLOY, FIXTURES, Container, equal, run, true, wait_for

LONG = {**DEMO_JOB, "interpolate": {"points": 401},
        "evaluate": {**DEMO_JOB["evaluate"], "max_blocks": 16}}


def backup(source, target):
    return subprocess.run([os.path.join(DEPLOY, "backup.sh"), source, target],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def upload_model(c):
    folder = os.path.join(FIXTURES, "models", "bert-a")
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name), "rb") as f:
            r = c.request("PUT", f"/v1/models/uploaded/files/{name}", f.read(),
                          {"Content-Type": "application/octet-stream"})
            equal(r.status, 201, r)
    equal(c.get("/v1/models/uploaded").json["status"], "ready")


def known_points(c, job):
    r = c.get(f"/v1/jobs/{job}/barrier")
    return len(r.json["lambdas"]) if r.status == 200 else 0


def artifact_digest(c, job):
    r = c.get(f"/v1/jobs/{job}/artifacts/alignment.safetensors")
    equal(r.status, 200, r)
    return hashlib.sha256(r.body).hexdigest()


def test_backup_while_running_and_restore():
    with Container() as c:
        copy = os.path.join(c.folder, "copy")
        c.register_fixtures()
        upload_model(c)
        done = c.post("/v1/jobs", {**DEMO_JOB, "interpolate": {"points": 3}}).json["id"]
        wait_for("a job's end", 120,
                 lambda: c.get(f"/v1/jobs/{done}").json["status"] == "succeeded")
        going = c.post("/v1/jobs", LONG).json["id"]
        points = wait_for("points of the long job", 60, lambda: known_points(c, going))
        r = backup(c.data, copy)
        equal(r.returncode, 0, r.stdout)
        print("      " + r.stdout.strip())
        # The daemon noticed nothing.
        equal(c.get(f"/v1/jobs/{going}").json["status"], "running")
        digest, barrier = artifact_digest(c, done), c.get(f"/v1/jobs/{done}/barrier").json
        model = c.get("/v1/models/uploaded").json
        c.stop()

        restored = Container(data=copy)
        with restored:
            equal(artifact_digest(restored, done), digest)
            equal(restored.get(f"/v1/jobs/{done}/barrier").json, barrier)
            equal(restored.get("/v1/models/uploaded").json, model)
            true(restored.get(f"/v1/jobs/{going}").json["status"] in ("queued", "running"), going)
            true(known_points(restored, going) >= points, "points known before are still known")
            wait_for("the long job goes on", 60, lambda: known_points(restored, going) > points)


def test_refusals():
    with Container() as c:
        taken = os.path.join(c.folder, "taken")
        os.mkdir(taken)
        r = backup(c.data, taken)
        equal(r.returncode, 2, r.stdout)
        r = backup(taken, os.path.join(c.folder, "copy"))
        equal(r.returncode, 2, r.stdout)
        true("rebasind.db" in r.stdout, r.stdout)


run([test_backup_while_running_and_restore, test_refusals])

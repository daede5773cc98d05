"""The experiments of docs/experiments.md: every job of every file is accepted as it stands, and the
documentation has each file's table."""
import os

import experiments
from daemon import Daemon, equal, run, true


def test_every_job_is_accepted():
    with Daemon() as d:
        experiments.register(d)
        for name in experiments.EXPERIMENTS:
            for job in experiments.batch(name)["jobs"]:
                r = d.post("/v1/jobs?dry_run=true", job)
                equal(r.status, 200, (name, job["name"], r))
                true(r.json["estimate"]["seconds"] > 0, r)


def test_every_file_is_documented():
    files = sorted(f[:-5] for f in os.listdir(experiments.FOLDER))
    equal(files, sorted(experiments.EXPERIMENTS))
    with open(os.path.join(experiments.HERE, "..", "..", "docs", "experiments.md")) as f:
        text = f.read()
    for name in files:
        true(f"experiments.py {name}\n" in text, name)
        for job in experiments.batch(name)["jobs"]:
            true(f"| {job['name']} |" in text, (name, job["name"]))


if __name__ == "__main__":
    run([test_every_job_is_accepted, test_every_file_is_documented])

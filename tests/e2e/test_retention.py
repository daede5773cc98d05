"""What goes by its age: a dry run first; then merged checkpoints, then jobs; never what runs, nor what another job
was aligned by."""
import os
import re
import time

from daemon import LONG_JOB, SMALL_JOB, Daemon, command, equal, problem, run, true

ALIGNED = {"models": SMALL_JOB["models"], "align": SMALL_JOB["align"], "outputs": {"merged": [0.5]}}
EVALUATED = {**SMALL_JOB, "outputs": {"merged": [0.5]}}


def submit(d, spec):
    return d.post("/v1/jobs", spec).json["id"]


def merged(d, job):
    return [a["name"] for a in d.get(f"/v1/jobs/{job}/artifacts").json["data"] if a["name"].startswith("merged")]


def until(what, words, seconds=20):
    end = time.monotonic() + seconds
    while not what():
        true(time.monotonic() < end, words)
        time.sleep(0.05)


def statuses(d, *jobs):
    return [d.get(f"/v1/jobs/{job}").status for job in jobs]


def test_by_age():
    with Daemon() as d:
        d.register_fixtures()
        first = submit(d, ALIGNED)
        d.wait_finished(first)
        second = submit(d, {**EVALUATED, "align": {"from_job": first}})
        sweep = d.post("/v1/sweeps", {"spec": ALIGNED, "grid": {"align.max_sequences": [20, 21]}}).json["id"]
        swept = [row["job"] for row in d.get(f"/v1/sweeps/{sweep}").json["table"]]
        for job in [second] + swept:
            d.wait_finished(job)
        running = submit(d, LONG_JOB)
        until(lambda: d.get(f"/v1/jobs/{running}").json["status"] == "running", "it runs")

        # Dry runs, by ages of the query: a daemon without ages of its own keeps all.
        plain = d.get("/v1/retention").json
        equal((plain["keep_jobs_seconds"], plain["jobs"], plain["artifacts"], plain["more"], plain["data"]),
              (None, 0, 0, False, []))
        r = d.get("/v1/retention?keep_jobs=1ms").json
        equal((r["keep_jobs_seconds"], r["jobs"], r["artifacts"], r["spared"]), (0.001, 3, 0, 1), r)
        # Those that ran side by side ended in an order of their own.
        equal(sorted((x["job"], x["removes"]) for x in r["data"]), sorted((j, "job") for j in [second] + swept))
        true(all(x["bytes"] > 3e6 for x in r["data"]) and r["bytes"] == sum(x["bytes"] for x in r["data"]), r)
        r = d.get("/v1/retention?keep_artifacts=1ms").json
        equal(r["data"][0]["job"], first, "the oldest goes first")
        equal(sorted((x["job"], x["removes"]) for x in r["data"]), sorted((j, "artifacts") for j in [first, second] + swept))
        r = d.get("/v1/retention?keep_jobs=1ms&keep_artifacts=1ms").json
        equal((r["jobs"], r["artifacts"], r["data"][-1]["job"]), (3, 1, first), r)
        equal(d.get("/v1/retention?keep_jobs=1h").json["data"], [])
        problem(d.get("/v1/retention?keep_jobs=soon"), 400, "invalid_query", "keep_jobs")
        true(len(merged(d, first)) >= 8 and len(merged(d, second)) >= 8, "nothing was removed")
        versions = {job: d.get(f"/v1/jobs/{job}").json["version"] for job in (first, second)}

        d.stop()
        d.flags = ["--keep-artifacts", "300ms"]
        d.start()
        until(lambda: merged(d, first) == [] and merged(d, second) == [], "merged checkpoints go")
        equal(statuses(d, first, second, running, *swept), [200] * 5)
        after = d.get(f"/v1/jobs/{second}").json
        true(after["version"] > versions[second], after)
        true("barrier.csv" in [a["name"] for a in after["artifacts"]], after["artifacts"])
        equal(d.get(f"/v1/jobs/{second}/barrier").status, 200)
        true(not os.path.exists(f"{d.data_dir}/jobs/{second}/merged"), "its folder is gone")
        true(os.path.exists(f"{d.data_dir}/jobs/{first}/alignment.safetensors"), "alignments stay")
        again = submit(d, {**SMALL_JOB, "align": {"from_job": first}})
        d.wait_finished(again)
        equal(d.get(f"/v1/jobs/{again}").json["status"], "succeeded")
        until(lambda: 'retention_removed_total{what="artifacts"} 4' in d.get("/metrics").body.decode(), "the metric")

        d.stop()
        d.flags = ["--keep-jobs", "300ms"]
        d.start()
        until(lambda: statuses(d, first, second, again, *swept) == [404] * 5, "jobs go")
        equal(d.get(f"/v1/sweeps/{sweep}").status, 404, "so does a sweep without a job")
        equal(d.get(f"/v1/jobs/{running}").status, 200)
        true(d.get(f"/v1/jobs/{running}").json["status"] in ("queued", "running"), "what runs is never removed")
        until(lambda: set(os.listdir(f"{d.data_dir}/jobs")) <= {running}, "their folders go")
        d.post(f"/v1/jobs/{running}/cancel", {})
        until(lambda: d.get(f"/v1/jobs/{running}").status == 404, "once it has ended its time runs, too")
        d.stop()
        lines = re.findall(r"change +by=retention operation=(\w+) what=(job_\S+)", d.log())
        equal(sorted(what for op, what in lines if op == "deleteMerged"), sorted([first, second] + swept))
        whole = [what for op, what in lines if op == "deleteJob"]
        equal(sorted(whole), sorted([first, second, again, running] + swept))
        true(whole.index(first) > whole.index(second) and whole.index(first) > whole.index(again),
             "a job outlives those that were aligned by it")


def test_settings():
    made = command("check-config", "--keep-jobs", "7d", "--keep-artifacts", "30d", "--data-dir", "/tmp/rebasind-none")
    equal(made.returncode, 1, made.stdout + made.stderr)
    true("keep-artifacts: expected less than keep-jobs" in made.stderr, made.stderr)
    made = command("check-config", "--keep-jobs", "720h", "--keep-artifacts", "7d", "--data-dir", "/tmp/rebasind-none")
    equal(made.returncode, 0, made.stderr)
    true(re.search(r"^keep-jobs = 30d ", made.stdout, re.M) and re.search(r"^keep-artifacts = 7d ", made.stdout, re.M),
         made.stdout)
    made = command("serve", "--keep-jobs", "soon")
    equal(made.returncode, 2)
    true("a time such as" in made.stderr, made.stderr)


if __name__ == "__main__":
    run([test_by_age, test_settings])

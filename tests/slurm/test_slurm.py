"""Units of jobs on a real Slurm of two nodes: the same bits as on this machine, and the right end whatever goes wrong."""
import contextlib
import functools
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
from cluster import Cluster, missing
from daemon import BINARY, ENVIRONMENT, FIXTURES, SMALL_JOB, Daemon, equal, run, true

WHOLE = os.environ.get("RB_TEST_WHOLE", "") != ""
KILLS = 20 if WHOLE else 3
# Long enough on one core to be disturbed in its middle, and not longer.
JOB = {"models": {"a": "bert-a", "b": "bert-b"},
       "align": {"components": ["ff", "mha"], "dataset": "align", "max_sequences": 60},
       "interpolate": {"points": 9}, "evaluate": {"task": "mlm", "dataset": "eval", "max_blocks": 16}}
SLOW = {**JOB, "interpolate": {"points": 21}, "evaluate": {"task": "mlm", "dataset": "eval", "max_blocks": 96}}
CLUSTER = None


class Head(Daemon):
    """A daemon with a folder that both nodes see."""

    def __init__(self, *flags, shared=None, path=None, **more):
        self.own_shared = shared is None
        self.shared = shared or tempfile.mkdtemp(prefix="rebasind-shared-")
        super().__init__("--executor", "slurm", "--shared-dir", self.shared, *flags,
                         env={"SLURM_CONF": CLUSTER.conf, **({"PATH": f"{path}:{os.environ['PATH']}"} if path else {})}, **more)

    def __exit__(self, kind, value, trace):
        try:
            super().__exit__(kind, value, trace)
        finally:
            if kind is not None:
                sys.stderr.write(CLUSTER.out("squeue", "--states=all") + "\n")
            if self.own_shared:
                shutil.rmtree(self.shared, ignore_errors=True)

    def submit(self, spec):
        r = self.post("/v1/jobs", spec)
        equal(r.status, 202, r)
        return r.json["id"]

    def notes(self, job):
        events = self.get(f"/v1/jobs/{job}/events?limit=500").json["data"]
        return [e["data"]["text"] for e in events if e["type"] == "note"]

    def units(self, job):
        path = f"{self.shared}/units/{job}"
        return sorted(os.listdir(path)) if os.path.isdir(path) else []

    def nothing_left(self):
        CLUSTER.wait(lambda: not CLUSTER.jobs(), 20, "an empty queue")
        equal(os.listdir(f"{self.shared}/units"), [], "folders of units")
        CLUSTER.wait(lambda: not os.path.exists(f"{self.shared}/inputs"), 10, "copied inputs removed")


def curves(d, job):
    b = d.get(f"/v1/jobs/{job}/barrier").json
    return {k: b[k] for k in ("lambdas", "aligned", "control", "reduction")}


def maps(d, job):
    return d.get(f"/v1/jobs/{job}/permutations").json["groups"]


@functools.cache
def computed_here(text):
    with Daemon() as d:
        d.register_fixtures()
        r = d.post("/v1/jobs", json.loads(text))
        job = d.wait_finished(r.json["id"], 600)
        equal(job["status"], "succeeded", job)
        return curves(d, job["id"]), maps(d, job["id"])


def local_results(spec):
    """Once for each spec."""
    return computed_here(json.dumps(spec))


def right(d, job, expected):
    final = d.wait_finished(job, 300)
    equal(final["status"], "succeeded", (final["error"], d.notes(job)))
    equal(curves(d, job), expected[0], "the curves' bits")
    equal(maps(d, job), expected[1], "the maps' bits")
    return final


def running(d, job, unit):
    """Waits until a task of that unit runs."""
    CLUSTER.wait(lambda: any(f"{job}-{unit}." in line and " RUNNING " in line for line in CLUSTER.jobs()), 60,
                 f"{unit} running; {d.notes(job)}")


# ---- the same bits ----

def test_two_nodes_give_the_bits_of_one_machine():
    spec = {**JOB, "outputs": {"merged": [0.5]}}
    expected = local_results(spec)
    with Head() as d:
        for name in ("bert-a", "bert-b"):  # uploads, which nodes do not see where they lie
            for file in ("config.json", "vocab.txt", "model.safetensors", "tokenizer_config.json"):
                path = f"{FIXTURES}/models/{name}/{file}"
                if os.path.exists(path):
                    r = d.request("PUT", f"/v1/models/{name}/files/{file}", open(path, "rb").read(),
                                  {"Content-Type": "application/octet-stream"})
                    equal(r.status, 201, r)
        for name in ("align", "eval"):
            r = d.request("PUT", f"/v1/datasets/{name}?format=text", open(f"{FIXTURES}/data/{name}.txt", "rb").read(),
                          {"Content-Type": "application/octet-stream"})
            equal(r.status, 201, r)
        job, here = d.submit(spec), d.submit({**spec, "executor": "local"})
        final = right(d, job, expected)
        e = final["environment"]
        equal((e["executor"], e["threads"], sorted(e["node_names"])), ("slurm", 1, ["n1", "n2"]), e)
        equal(final["spec"]["executor"], "slurm")
        same = d.wait_finished(here)
        equal((same["status"], same["environment"]["executor"]), ("succeeded", "local"))
        equal({a["name"] for a in final["artifacts"]}, {a["name"] for a in same["artifacts"]})
        one, other = (d.get(f"/v1/jobs/{j}/artifacts/merged-0.50.safetensors").body for j in (job, here))
        equal(one[-100000:] == other[-100000:], True, "merged weights")
        true(any("submitted as job" in n for n in d.notes(job)), d.notes(job))
        card = d.get(f"/v1/jobs/{job}/artifacts/merged/lambda-0.50/rebasind.json").json
        equal(card["environment"], e, "the card's environment is the nodes'")
        d.nothing_left()
        text = d.get("/metrics").body.decode()
        true("rebasind_unit_queue_wait_seconds_count" in text and "rebasind_units{" in text, "metrics")


# ---- every kind of job ----

SMALL = {**JOB, "align": {"components": ["ff"], "dataset": "align", "max_sequences": 20}, "interpolate": {"points": 3},
         "evaluate": {"task": "mlm", "dataset": "eval", "max_blocks": 8}}
FOLDED = {"models": {"a": "gpt2-a", "b": "gpt2-b"}, "interpolate": {"points": 5},
          "align": {"components": ["ff", "mha"], "fold": True, "dataset": "align", "max_sequences": 20},
          "evaluate": {"task": "clm", "dataset": "eval", "block_size": 64, "max_blocks": 24}}
KINDS = {
    "folds": FOLDED,
    "folds and finds its points": {**FOLDED, "interpolate": {"points": "auto"}},
    "folds by precision": {**FOLDED, "evaluate": {**FOLDED["evaluate"], "precision": 0.2}},
    "learns": {**SMALL, "align": {"components": ["mha"], "rotate_heads": True, "dataset": "align", "max_sequences": 20,
                                  "learn": {"steps": 8, "batch_tokens": 192, "patience": 0}}},
    "finds its points": {**SMALL, "interpolate": {"points": "auto"}},
    "by precision": {**SMALL, "evaluate": {"task": "mlm", "dataset": "eval", "max_blocks": 64, "precision": 0.2}},
    "near": {**SMALL, "align": {"components": ["ff", "mha", "residual"], "residual_map": "orthogonal", "dataset": "align",
                                "equivalence": "near", "head_map": "orthogonal", "match": "both", "max_sequences": 20}},
}


def found(d, job):
    """All that a job of any kind found out."""
    b = d.get(f"/v1/jobs/{job}/barrier").json
    return {**{k: b[k] for k in ("lambdas", "aligned", "control", "reduction")}, "folded": b.get("folded_control"),
            "learning": d.get(f"/v1/jobs/{job}/learning").json.get("points"),
            "maps": d.get(f"/v1/jobs/{job}/alignment").json.get("groups")}


def test_every_kind_gives_the_same_bits():
    with Head("--slurm-points-per-task", "2") as d:
        d.register_fixtures()
        for side in "ab":
            equal(d.post("/v1/models", {"name": f"gpt2-{side}", "path": f"{FIXTURES}/models/gpt2-{side}"}).status, 201)
        there = {kind: d.submit(spec) for kind, spec in KINDS.items()}
        for kind, spec in KINDS.items():
            here = d.submit({**spec, "executor": "local"})
            for job in (here, there[kind]):
                final = d.wait_finished(job)
                equal(final["status"], "succeeded", (kind, final["error"], d.notes(job)))
            equal(found(d, there[kind]), found(d, here), kind)
            equal("curve" in (found(d, here)["folded"] or {}), kind.startswith("folds"), kind)
            true(any("submitted as job" in n for n in d.notes(there[kind])), kind)
        several = {**SMALL, "models": {"anchor": "bert-a", "others": ["bert-b", "bert-a"]}, "executor": "slurm"}
        r = d.post("/v1/jobs", several)
        equal(r.status, 422, r)
        true(any(e["pointer"] == "/executor" and "two models" in e["detail"] for e in r.json["errors"]), r)
        d.nothing_left()


# ---- what a killed daemon finds ----

def test_tries_are_counted_over_a_kill():
    with tempfile.TemporaryDirectory(prefix="rebasind-models-") as folder, Head("--import-root", folder) as d:
        d.register_fixtures()
        shutil.copytree(f"{FIXTURES}/models/bert-b", f"{folder}/bert-b")
        equal(d.post("/v1/models", {"name": "moved", "path": f"{folder}/bert-b"}).status, 201)
        CLUSTER.run("scontrol", "update", "partition=p", "state=down")
        job = d.submit({**SMALL, "models": {"a": "bert-a", "b": "moved"}})
        os.rename(f"{folder}/bert-b", f"{folder}/bert-c")  # nodes that do not see it: the machine's failure
        CLUSTER.run("scontrol", "update", "partition=p", "state=up")
        CLUSTER.wait(lambda: any("(2 of 3)" in n for n in d.notes(job)), 60, f"two tries; {d.notes(job)}")
        d.kill()
        d.start()
        final = d.wait_finished(job)
        equal(final["status"], "failed", final)
        # The one that was noted before the kill may be noted again, but none is tried once more.
        again = [n[-8:] for n in d.notes(job) if "submitted again" in n]
        true(again in (["(1 of 3)", "(2 of 3)", "(3 of 3)"], ["(1 of 3)", "(2 of 3)", "(2 of 3)", "(3 of 3)"]), d.notes(job))
        true("bert-b" in final["error"]["detail"], final["error"])
        d.nothing_left()


def test_kernels_that_differ_are_told():
    with Head("--slurm-points-per-task", "200") as d:
        d.register_fixtures()
        job = d.submit({**SMALL, "interpolate": {"points": 9}})
        CLUSTER.wait(lambda: any(f"{job}-points." in line for line in CLUSTER.jobs()), 60, "points in the queue")
        d.kill()
        unit = f"{d.shared}/units/{job}/{[u for u in d.units(job) if u.startswith('points')][0]}"
        CLUSTER.wait(lambda: os.path.exists(f"{unit}/outcome-0.json.seal"), 60, "the unit's end without a daemon")
        seal = json.load(open(f"{unit}/point-aligned-0004.json.seal"))
        with open(f"{unit}/point-aligned-0004.json.seal", "w") as f:
            json.dump({**seal, "blas_kernel": "Another"}, f)
        d.start()
        final = d.wait_finished(job)
        equal(final["status"], "succeeded", final)
        e = final["environment"]
        equal((e["blas_kernel"], sorted(e["blas_kernels"])), ("several", sorted(["Another", seal["blas_kernel"]])), e)
        true(any("differ in their BLAS kernel" in n and "Another" in n for n in d.notes(job)), d.notes(job))
        d.nothing_left()


# ---- what goes wrong on the cluster's side, side by side ----

def one_task_is(job, unit):
    lines = [l for l in CLUSTER.jobs() if f"{job}-{unit}." in l and " RUNNING " in l]
    return lines[0].split()[0]


def test_disturbed_from_outside():
    expected = local_results(JOB)
    with Head() as d:
        d.register_fixtures()
        CLUSTER.run("scontrol", "update", "partition=p", "state=down")
        damaged = d.submit(JOB)
        CLUSTER.wait(lambda: any(damaged in line for line in CLUSTER.jobs()), 30, "the damaged one queued")
        unit = f"{d.shared}/units/{damaged}/{d.units(damaged)[0]}"
        with open(f"{unit}/bundle.json", "r+b") as f:
            f.write(b" ")
        CLUSTER.run("scontrol", "update", "partition=p", "state=up")
        # Long enough that it is running still when it is cancelled.
        longer = {**JOB, "align": {**JOB["align"], "max_sequences": 4000}}
        canceled = d.submit(longer)
        running(d, canceled, "align")
        CLUSTER.run("scancel", one_task_is(canceled, "align"))
        right(d, damaged, expected)
        equal(d.wait_finished(canceled)["status"], "succeeded")
        true(any("damaged" in n and "again" in n for n in d.notes(damaged)), d.notes(damaged))
        true(any("cancelled from outside" in n or "signal" in n for n in d.notes(canceled)), d.notes(canceled))
        d.nothing_left()


def test_learning_that_starts_anew_is_told():
    """A state that the next node cannot go on from: it learns from the start, and the daemon tells what the node said."""
    learns = KINDS["learns"]["align"]
    with Head() as d:
        d.register_fixtures()
        job = d.submit({**KINDS["learns"], "align": {**learns, "learn": {**learns["learn"], "steps": 400}}})
        running(d, job, "learn")
        time.sleep(3)  # its first look is on disk
        CLUSTER.run("scontrol", "update", "partition=p", "state=down")
        CLUSTER.run("scancel", one_task_is(job, "learn"))
        CLUSTER.wait(lambda: any("submitted again" in n for n in d.notes(job)), 60, "the unit given up")
        state = lambda: [f"{d.shared}/units/{job}/{u}/learning.state" for u in d.units(job) if u.startswith("learn")][-1]
        CLUSTER.wait(lambda: os.path.exists(state() + ".seal"), 60, "what it has learned in the next bundle")
        path = state()
        with open(path, "r+b") as f:
            equal(f.read(8), b"rblearn3")
            f.seek(7)
            f.write(b"2")
        seal, data = json.load(open(path + ".seal")), open(path, "rb").read()
        with open(path + ".seal", "w") as f:
            json.dump({**seal, "sha256": hashlib.sha256(data).hexdigest()}, f)
        CLUSTER.run("scontrol", "update", "partition=p", "state=up")
        final = d.wait_finished(job)
        equal((final["status"], len(final["warnings"])), ("succeeded", 1), (final["error"], final["warnings"], d.notes(job)))
        true("anew" in final["warnings"][0] and "another build" in final["warnings"][0], final["warnings"])
        true(final["warnings"][0] in d.notes(job), d.notes(job))
        d.nothing_left()


FORGETFUL = """#!/bin/sh
# As a cluster whose controller forgets at once what is over.
/usr/bin/squeue "$@" | grep -E "\\|(PENDING|RUNNING|COMPLETING)\\|" || true
"""
ACCOUNTING = """#!/bin/sh
# An accounting that knows of units align; this machine has no slurmdbd, so of others Slurm says that there is none.
case "$*" in *-align.*) echo "TIMEOUT|0:0" ;; *) exec /usr/bin/sacct "$@" ;; esac
"""


def test_accounting_tells_what_the_queue_forgot():
    with tempfile.TemporaryDirectory(prefix="rebasind-bin-") as commands:
        for name, text in (("squeue", FORGETFUL), ("sacct", ACCOUNTING)):
            with open(f"{commands}/{name}", "w") as f:
                f.write(text)
            os.chmod(f"{commands}/{name}", 0o755)
        with Head("--slurm-points-per-task", "200", path=commands) as d:
            d.register_fixtures()
            endless = {**SLOW, "align": {**SLOW["align"], "max_sequences": 4000}, "interpolate": {"points": 201}}
            jobs = {"align": d.submit(endless), "points": d.submit({**endless, "align": SLOW["align"]})}
            for unit, job in jobs.items():
                running(d, job, unit)
                CLUSTER.run("scancel", "--batch", "--signal=KILL", one_task_is(job, unit))
            for unit, words in (("align", "its time limit ended it"), ("points", "why is not known: ")):
                CLUSTER.wait(lambda: any(words in n and "again" in n for n in d.notes(jobs[unit])), 60,
                             f"{words}; {d.notes(jobs[unit])}")
                equal(d.post(f"/v1/jobs/{jobs[unit]}/cancel").status, 202)
            for job in jobs.values():
                equal(d.wait_finished(job)["status"], "canceled")
            d.nothing_left()


def test_a_signal_before_the_time_limit():
    expected = local_results(SLOW)
    flags = ("--slurm-options", "--time=0:01") if WHOLE else ()
    with Head("--slurm-points-per-task", "200", *flags) as d:
        d.register_fixtures()
        job = d.submit(SLOW)
        running(d, job, "points")
        if not WHOLE:  # what Slurm itself sends a minute before the end
            unit = [u for u in d.units(job) if u.startswith("points")][0]
            CLUSTER.wait(lambda: any("point-" in n for n in os.listdir(f"{d.shared}/units/{job}/{unit}")), 60, "a point")
            CLUSTER.run("scancel", "--batch", "--signal=TERM", one_task_is(job, "points"))
        right(d, job, expected)
        if not WHOLE:
            true(any("points were done" in n and "again" in n for n in d.notes(job)), d.notes(job))
        d.nothing_left()


def test_a_node_is_lost_and_the_controller_away():
    expected = local_results(SLOW)
    with Head("--slurm-points-per-task", "20") as d:
        d.register_fixtures()
        job = d.submit(SLOW)
        running(d, job, "points")
        true(CLUSTER.lose_node("n1") >= 0, "n1")
        CLUSTER.start_node("n1")
        time.sleep(2)
        CLUSTER.end("ctld", signal.SIGTERM)
        time.sleep(30 if WHOLE else 7)
        equal(d.get(f"/v1/jobs/{job}").json["status"], "running")  # unknown is not failed
        CLUSTER.start_ctld()
        right(d, job, expected)
        d.nothing_left()


# ---- the daemon's own end ----

def test_killed_at_random_moments():
    expected = local_results(SLOW)
    random.seed(20)
    data, shared = tempfile.mkdtemp(prefix="rebasind-e2e-"), tempfile.mkdtemp(prefix="rebasind-shared-")
    try:
        with Head(data_dir=data, shared=shared) as d:
            d.register_fixtures()
            job = d.submit(SLOW)
            for i in range(KILLS):
                time.sleep(random.uniform(0.05, 4))
                if i % 3 == 1:  # one that takes its leave: the units go on
                    equal(d.stop(), 0)
                else:
                    d.kill()
                d.start()
            right(d, job, expected)
            points = [e["data"] for e in d.get(f"/v1/jobs/{job}/events?limit=500").json["data"] if e["type"] == "point"]
            equal(len(points), len({(p["curve"], p["lambda"]) for p in points}), "each recorded once")
            equal(d.get(f"/v1/jobs/{job}").json["attempt"] >= 1, True)
            d.nothing_left()
    finally:
        shutil.rmtree(data, ignore_errors=True)
        shutil.rmtree(shared, ignore_errors=True)
        os.unlink(data + ".log")


def test_cancel_is_true():
    data, shared = tempfile.mkdtemp(prefix="rebasind-e2e-"), tempfile.mkdtemp(prefix="rebasind-shared-")
    try:
        with Head(data_dir=data, shared=shared) as d:
            d.register_fixtures()
            jobs = [d.submit(SLOW) for _ in range(2)]
            running(d, jobs[0], "align")
            equal(d.post(f"/v1/jobs/{jobs[0]}/cancel").status, 202)
            equal(d.wait_finished(jobs[0], 60)["status"], "canceled")
            true(not any(jobs[0] in line for line in CLUSTER.jobs()), CLUSTER.jobs())
            CLUSTER.wait(lambda: any(jobs[1] in line and " RUNNING " in line for line in CLUSTER.jobs()), 60, "it runs")
            equal(d.post(f"/v1/jobs/{jobs[1]}/cancel").status, 202)
            d.kill()  # the next process finds a job that is being canceled
            d.start()
            equal(d.wait_finished(jobs[1], 60)["status"], "canceled")
            d.nothing_left()
    finally:
        shutil.rmtree(data, ignore_errors=True)
        shutil.rmtree(shared, ignore_errors=True)
        os.unlink(data + ".log")


# ---- a full folder ----

@contextlib.contextmanager
def small_disk():
    """A folder with a disk of 1 MB; None where this machine mounts no tmpfs."""
    shared = tempfile.mkdtemp(prefix="rebasind-shared-")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", shared], capture_output=True).returncode == 0
    try:
        if not mounted:
            print("      left out: this machine mounts no tmpfs")
        yield shared if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", "-l", shared], check=False)
        os.rmdir(shared)


def fill(shared):
    with open(f"{shared}/filler", "wb", buffering=0) as f:
        try:
            while True:
                f.write(b"x" * 4096)
        except OSError:
            pass


def make_room(shared):
    os.unlink(f"{shared}/filler")
    subprocess.run(["mount", "-o", "remount,size=200m", shared], check=True)


def test_a_full_shared_folder():
    expected = local_results(JOB)
    with small_disk() as shared:
        if shared is None:
            return
        with Head(shared=shared) as d:
            d.register_fixtures()
            fill(shared)
            job = d.submit(JOB)
            CLUSTER.wait(lambda: "job waits" in d.log(), 30, "the job waits")
            equal(d.get(f"/v1/jobs/{job}").json["status"], "running")
            make_room(shared)
            right(d, job, expected)
            d.nothing_left()


def test_a_node_without_room():
    expected = local_results(JOB)
    with small_disk() as shared:
        if shared is None:
            return
        with Head(shared=shared) as d:
            d.register_fixtures()
            CLUSTER.run("scontrol", "update", "partition=p", "state=down")
            job = d.submit(JOB)
            CLUSTER.wait(lambda: any(job in line for line in CLUSTER.jobs()), 30, "the unit queued")
            fill(shared)
            CLUSTER.run("scontrol", "update", "partition=p", "state=up")
            CLUSTER.wait(lambda: any("again" in n for n in d.notes(job)), 90, "the node gives up")
            make_room(shared)
            right(d, job, expected)
            words = [n for n in d.notes(job) if "submitted again" in n]
            true("full" in words[0] or "space" in words[0], words)
            d.nothing_left()


def test_check_config_sends_a_probe():
    with tempfile.TemporaryDirectory(prefix="rebasind-shared-") as shared:
        def check(*flags):
            return subprocess.run([BINARY, "check-config", "--data-dir", CLUSTER.dir, *flags], capture_output=True,
                                  text=True, env={**ENVIRONMENT, "SLURM_CONF": CLUSTER.conf}, timeout=100)
        r = check("--executor", "slurm", "--shared-dir", shared)
        equal((r.returncode, r.stderr), (0, ""))
        equal(os.listdir(f"{shared}/units"), [])
        r = check("--shared-dir", shared, "--slurm-options", "--partition=none")
        true(r.returncode == 1 and "partition" in r.stderr, r.stderr)
        r = check("--executor", "slurm")
        true(r.returncode == 1 and "--shared-dir" in r.stderr, r.stderr)


def test_refused_in_words():
    with Daemon() as d:
        d.register_fixtures()
        r = d.post("/v1/jobs", {**SMALL_JOB, "executor": "slurm"})
        equal((r.status, r.json["errors"][0]["pointer"]), (422, "/executor"), r)
    r = subprocess.run([BINARY, "serve", "--executor", "slurm", "--listen", "127.0.0.1:0", "--data-dir",
                        f"{CLUSTER.dir}/d"], capture_output=True, text=True, env=ENVIRONMENT)
    true(r.returncode != 0 and "--shared-dir" in r.stderr, r.stderr)


if __name__ == "__main__":
    why = missing()
    if why is not None and os.environ.get("RB_TEST_SLURM", "") == "skip":
        print(f"skipped: {why}")
        sys.exit(0)
    if why is not None:
        sys.exit(f"test_slurm: {why}; deploy/install-deps.sh --tests installs it (RB_TEST_SLURM=skip leaves this out)")
    with Cluster() as CLUSTER:
        # Slurm itself lets a lost node's unit wait for two minutes, until its credential has expired.
        long = [test_a_node_is_lost_and_the_controller_away, test_a_node_without_room] if WHOLE else []
        run(long + [
            test_two_nodes_give_the_bits_of_one_machine, test_every_kind_gives_the_same_bits,
            test_tries_are_counted_over_a_kill, test_kernels_that_differ_are_told, test_disturbed_from_outside,
            test_learning_that_starts_anew_is_told,
            test_accounting_tells_what_the_queue_forgot, test_a_signal_before_the_time_limit, test_killed_at_random_moments, test_cancel_is_true, test_a_full_shared_folder,
            test_check_config_sends_a_probe, test_refused_in_words])

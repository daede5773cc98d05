"""The process dies between any two of its changes to the disk, or the power fails at any of its syncs.

A daemon under tests/faults/shim.c serves uploads, jobs, replacements and deletions, and its journal
tells of every change and every answer in their order. Then, for each of these moments and each view of
what a disk may show (tests/faults/faults.py): every file under its name is whole, the database is
sound, what had been acknowledged is there, and every file that a row names has its digest. At some of
the moments a daemon starts on what was left: it finishes each acknowledged job with the results of the
one that nobody disturbed, and sweeps the leftovers.

REBASIND_SEED: which moments get a daemon. REBASIND_RESTARTS: how many (default 24).
"""
import hashlib
import json
import os
import random
import shutil
import sqlite3
import sys
import tempfile
import time

from daemon import FIXTURES, SANITIZED, Daemon, equal, run, true

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "faults"))
from faults import Disk, build_shim, environment, read_journal, temporary

RESTARTS = int(os.environ.get("REBASIND_RESTARTS", "6" if SANITIZED else "24"))
MODEL_FILES = ("config.json", "vocab.txt", "tokenizer_config.json", "model.safetensors")
SPEC = {
    "models": {"a": "a", "b": "b"},
    "align": {"components": ["ff", "mha"], "dataset": "align", "max_sequences": 20},
    "interpolate": {"points": 3},
    "evaluate": {"task": "mlm", "dataset": "eval", "max_blocks": 4},
    "outputs": {"merged": [0.5]},
}
DATABASE = ("rebasind.db", "rebasind.db-wal", "rebasind.db-journal")


def read(path):
    with open(path, "rb") as f:
        return f.read()


class Client:
    """One request after the other, and what each was answered: told[n] belongs to the nth answer in
    the journal."""

    def __init__(self, d):
        self.d, self.told = d, []

    def ask(self, method, path, body=None, headers=None, expected=None):
        r = self.d.request(method, path, body, headers)
        self.told.append((method, path.split("?")[0], r))
        if expected is not None:
            equal(r.status, expected, r)
        return r

    def finished(self, job):
        while True:
            r = self.ask("GET", f"/v1/jobs/{job}", expected=200)
            if r.json["status"] in ("succeeded", "failed", "canceled"):
                equal(r.json["status"], "succeeded", r)
                return
            time.sleep(0.02)


def record(folder, journal, shim):
    """Returns the answers and the results of the first job."""
    d = Daemon(data_dir=f"{folder}/data", import_root=None, start=False,
               env=environment(shim, journal=journal))
    d.start()  # which makes the folder
    with d:
        c = Client(d)
        data = {name: read(f"{FIXTURES}/data/{name}.txt") for name in ("align", "eval")}
        for name, text in data.items():
            c.ask("PUT", f"/v1/datasets/{name}?format=text", text, expected=201)
        for model in "ab":
            for file in MODEL_FILES:
                c.ask("PUT", f"/v1/models/{model}/files/{file}",
                      read(f"{FIXTURES}/models/bert-{model}/{file}"), expected=201)
        first = c.ask("POST", "/v1/jobs", SPEC, expected=202).json["id"]
        c.finished(first)
        expected = results(d, first, c.ask)
        again = c.ask("POST", "/v1/jobs", {
            **SPEC, "align": {"from_job": first}}, expected=202).json["id"]
        c.finished(again)
        # The same bytes again, others under the same name, and the end of all three kinds.
        c.ask("PUT", "/v1/datasets/align?format=text", data["align"], expected=200)
        c.ask("PUT", "/v1/models/a/files/vocab.txt", read(f"{FIXTURES}/models/bert-a/vocab.txt"),
              expected=200)
        c.ask("PUT", "/v1/datasets/eval?format=text", data["eval"][:100000], expected=200)
        c.ask("PUT", "/v1/datasets/more?format=text", b"a line\nanother\n", expected=201)
        c.ask("DELETE", "/v1/datasets/more", expected=204)
        c.ask("DELETE", f"/v1/jobs/{again}", expected=204)
        c.ask("DELETE", "/v1/models/b", expected=204)
    return c.told, expected


def results(d, job, ask=None):
    """Barrier, permutations and the merged tensors, without what names the job or the clock."""
    get = (lambda path: ask("GET", path)) if ask is not None else d.get
    found = []
    for product in ("barrier", "permutations"):
        j = get(f"/v1/jobs/{job}/{product}").json
        j.pop("job")
        found.append(j)
    merged = get(f"/v1/jobs/{job}/artifacts/merged-0.50.safetensors").body
    return found + [hashlib.sha256(merged[8 + int.from_bytes(merged[:8], "little"):]).hexdigest()]


class Acknowledged:
    """What clients have been promised, growing as their answers leave."""

    def __init__(self, told):
        self.told, self.answers = told, 0
        self.jobs, self.datasets, self.models, self.pending = set(), {}, {}, set()

    def heard(self, text):
        if not text.startswith(b"HTTP/1.1 "):
            return
        method, path, reply = self.told[self.answers]
        equal(int(text[9:12]), reply.status, (path, text[:200]))
        self.answers += 1
        words = path.split("/")
        if method == "POST":
            self.jobs.add(reply.json["id"])
        elif method == "PUT" and words[2] == "datasets":
            self.datasets[words[3]] = reply.json["sha256"]
        elif method == "PUT":
            self.models.setdefault(words[3], set()).add(words[5])
        elif method == "DELETE":
            kept = {"jobs": self.jobs, "datasets": self.datasets, "models": self.models}[words[2]]
            (kept.discard if isinstance(kept, set) else kept.pop)(words[3])

    def replaced(self):
        """The names that the request under way may change: either state is right for those."""
        return self.told[self.answers][1].split("/")[3:4] if self.answers < len(self.told) else []


class Digests:
    """Of files as they are at a version; most are asked for again and again."""

    def __init__(self):
        self.known = {}

    def of(self, file, content, version):
        key = (id(file), version)
        if key not in self.known:
            self.known[key] = (file, hashlib.sha256(content).digest())
        return self.known[key][1]


def names_whole(disk, view, context):
    found, _ = disk.files(view)
    for path, file in found.items():
        if not temporary(path):
            true(disk.is_whole(file, view), f"{path} is not whole {context}")
    return found


def check_database(disk, view, found, promised, digests, folder, context):
    def digest(path):
        true(path in found, f"{path} is missing {context}")
        file = found[path]
        version = file.version if view == "process" else file.synced_version
        return digests.of(file, disk.content(file, view), version)

    for name in DATABASE:
        if os.path.exists(f"{folder}/{name}"):
            os.unlink(f"{folder}/{name}")
        if name in found:
            with open(f"{folder}/{name}", "wb") as f:
                f.write(disk.content(found[name], view))
    if os.path.exists(f"{folder}/rebasind.db-shm"):
        os.unlink(f"{folder}/rebasind.db-shm")
    db = sqlite3.connect(f"{folder}/rebasind.db", isolation_level=None)
    try:
        if not db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'jobs'").fetchone():
            equal((promised.jobs, promised.datasets, promised.models), (set(), {}, {}), context)
            return
        equal(db.execute("PRAGMA quick_check").fetchall(), [("ok",)], context)
        under_way = promised.replaced()
        jobs = {i for (i,) in db.execute("SELECT id FROM jobs")}
        true(promised.jobs <= jobs | set(under_way), f"a job is lost {context}")
        for job, name, bytes_, sha in db.execute(
                "SELECT j.id, a.name, a.bytes, a.sha256 FROM artifacts a JOIN jobs j ON j.seq = a.job"):
            path = f"jobs/{job}/{name}"
            if job not in under_way:  # a deletion takes the row first
                equal(digest(path), sha, f"{path} {context}")
                equal(len(disk.content(found[path], view)), bytes_, f"{path} {context}")
        for (job,) in db.execute("SELECT j.id FROM stages s JOIN jobs j ON j.seq = s.job "
                                 "WHERE s.stage IN ('solving', 'certifying')"):
            digest(f"jobs/{job}/alignment.safetensors")
        datasets = {}
        for name, path, sha in db.execute("SELECT name, path, sha256 FROM datasets"):
            equal(digest(path), sha, f"{path} {context}")
            datasets[name] = sha.hex()
        for name, sha in promised.datasets.items():
            if name not in under_way:
                equal(datasets.get(name), sha, f"dataset {name} {context}")
        for name, files in promised.models.items():
            if name not in under_way:
                rows = dict(db.execute("SELECT name, sha256 FROM model_files WHERE model = ?", (name,)))
                equal(set(rows), files, f"model {name} {context}")
                for file, sha in rows.items():
                    equal(digest(f"models/{name}/{file}"), sha, f"model {name} {context}")
    except sqlite3.Error as e:
        raise AssertionError(f"{e} {context}") from e
    finally:
        db.close()


def restart(disk, view, promised, expected, context):
    """A daemon on what is left: it comes up, ends every job, and leaves nothing lying about."""
    data = tempfile.mkdtemp(prefix="rebasind-left-")
    d = Daemon(data_dir=data, import_root=None, start=False)
    try:
        disk.write_to(data, view)
        d.start()
        for job in promised.jobs - set(promised.replaced()):
            final = d.wait_finished(job)
            equal(final["status"], "succeeded", context)
            true(results(d, job) == expected, f"other results {context}")
        jobs = {j["id"] for j in d.get("/v1/jobs").json["data"]}
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            left = [f"{f}/{n}" for f, _, names in os.walk(data) for n in names
                    if n.endswith(".tmp") or f.endswith("/tmp")]
            left += set(os.listdir(f"{data}/jobs") if os.path.isdir(f"{data}/jobs") else []) - jobs
            if not left:
                break
            time.sleep(0.02)
        equal(left, [], f"leftovers {context}")
        equal(d.stop(), 0, context)
    except BaseException:
        print(context, d.log()[-3000:])
        raise
    finally:
        if d.process is not None:
            d.kill()
        shutil.rmtree(data)
        if os.path.exists(d.log_path):
            os.unlink(d.log_path)


def walk(records, told, folder, visit):
    """visit(disk, view, promised, number, record) before each record that could have been the last."""
    disk, promised = Disk(os.stat(folder).st_ino, "data"), Acknowledged(told)
    for number, r in enumerate(records):
        if r.kind == "P":
            promised.heard(r.data)
            continue
        if r.kind in "CRLUS":
            visit(disk, "process", promised, number, r)
        if r.kind == "S":
            visit(disk, "power", promised, number, r)
            visit(disk, "names", promised, number, r)
        disk.apply(r)
    equal(promised.answers, len(told), "answers in the journal")


def test_death_and_power_loss_at_every_step():
    seed = int(os.environ.get("REBASIND_SEED", time.time()))
    folder = tempfile.mkdtemp(prefix="rebasind-power-")
    try:
        shim = build_shim(folder, memory=False)
        begun = time.monotonic()
        told, expected = record(folder, f"{folder}/journal", shim)
        records = read_journal(f"{folder}/journal")
        recorded = time.monotonic() - begun
        moments, digests, counts = [], Digests(), {}
        os.mkdir(f"{folder}/database")

        def look(disk, view, promised, number, r):
            counts[view] = counts.get(view, 0) + 1
            context = f"({view}, before record {number}, {r.kind} {r.names})"
            found = names_whole(disk, view, context)
            check_database(disk, view, found, promised, digests, f"{folder}/database", context)
            if promised.jobs and not any(m == "DELETE" for m, _, _ in told[:promised.answers]):
                moments.append((view, number))

        begun = time.monotonic()
        walk(records, told, folder, look)
        looked = time.monotonic() - begun
        chosen = set(random.Random(seed).sample(moments, RESTARTS))
        begun = time.monotonic()

        def start_some(disk, view, promised, number, r):
            if (view, number) in chosen:
                restart(disk, view, promised, expected, f"({view}, before record {number})")

        walk(records, told, folder, start_some)
        print(f"      {len(records)} records in {recorded:.1f} s; moments looked at: {counts} in "
              f"{looked:.1f} s; {RESTARTS} daemons started in {time.monotonic() - begun:.1f} s, "
              f"REBASIND_SEED={seed}")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    run([test_death_and_power_loss_at_every_step])

"""python3 tests/e2e/soak.py [SECONDS]: everything at once against one data folder, 8 minutes unless
told otherwise: uploads, jobs, cancels, deletions, listeners of events that come and go, polls, and a
kill -9 every so often, and two hostile clients (hostile.py) among them. Then: no job is lost or doubled, every one ended as it should, and memory and
file descriptors of each life of the daemon stay within what its first half needed.

REBASIND_BIN: the daemon. REBASIND_SOAK_LIFE: seconds between kills (default: a fifth of the whole).
"""
import http.client
import json
import os
import random
import shutil
import sqlite3
import sys
import tempfile
import threading
import time

from daemon import FIXTURES, SMALL_JOB, Daemon, equal, true
from hostile import KINDS, Hostile, odd_root

SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 480
LIFE = float(os.environ.get("REBASIND_SOAK_LIFE", SECONDS / 5))
SEED = int(os.environ.get("REBASIND_SEED", time.time()))
MB = 1 << 20


class Gone(Exception):
    """The daemon was killed in the middle of a request."""


class Soak:
    def __init__(self, daemon, root):
        self.d, self.end, self.failures = daemon, threading.Event(), []
        self.lock = threading.Lock()
        self.accepted, self.canceled, self.deleted = {}, set(), set()
        self.counts = {}
        self.enemy = Hostile(daemon, root)
        # Its jobs would be taken for lost ones.
        self.enemy.chosen = [k for k in KINDS if k not in (Hostile.specs, Hostile.life)]

    def count(self, what, n=1):
        with self.lock:
            self.counts[what] = self.counts.get(what, 0) + n

    def ask(self, method, path, body=None, headers=None):
        try:
            return self.d.request(method, path, body, headers, timeout=30)
        except (OSError, http.client.HTTPException) as e:
            raise Gone from e

    def loop(self, step, pause):
        rng = random.Random(f"{SEED}-{step.__name__}-{threading.get_ident()}")
        while not self.end.is_set():
            try:
                step(rng)
            except Gone:
                self.count("requests cut off by a kill")
            except Exception as e:  # whatever it is, it belongs into the report
                self.failures.append(f"{step.__name__}: {type(e).__name__}: {e}")
                self.end.set()
            self.end.wait(rng.uniform(0, 2 * pause))

    # ---- what clients do ----

    def jobs(self, rng):
        key = f"k{rng.getrandbits(64):x}"
        spec = {**SMALL_JOB, "labels": {"key": key}, "priority": rng.randrange(3),
                "interpolate": {"points": rng.choice([2, 3, 9])},
                "outputs": {"merged": rng.choice([[], [0.5]])}}
        while not self.end.is_set():
            try:
                r = self.ask("POST", "/v1/jobs", spec, {"Idempotency-Key": key})
            except Gone:
                time.sleep(0.1)
                continue
            if r.status in (429, 503, 409):
                self.count("submissions told to wait")
                time.sleep(0.3)
                continue
            equal(r.status, 202, r)
            with self.lock:
                self.accepted[r.json["id"]] = key
            break
        if rng.random() < 0.25 and not self.end.is_set():
            time.sleep(rng.uniform(0, 0.5))
            job = r.json["id"]
            r = self.ask("POST", f"/v1/jobs/{job}/cancel")
            true(r.status in (200, 202, 409), r)
            if r.status != 409:
                self.canceled.add(job)
                self.count("cancels")

    def uploads(self, rng):
        name = f"up{rng.randrange(4)}"
        r = self.ask("PUT", f"/v1/datasets/{name}?format=text", b"some words of text\n" * 20000)
        true(r.status in (200, 201, 409), r)
        with open(f"{FIXTURES}/models/bert-a/model.safetensors", "rb") as f:
            r = self.ask("PUT", f"/v1/models/{name}/files/model.safetensors", f.read())
        true(r.status in (200, 201), r)
        r = self.ask("DELETE", f"/v1/models/{name}")
        true(r.status in (204, 404), r)
        self.count("uploads", 2)

    def listens(self, rng):
        c = self.d.connect(timeout=5)
        until = time.monotonic() + rng.uniform(0.2, 5)
        try:
            c.request("GET", "/v1/events", headers={"Accept": "text/event-stream"})
            r = c.getresponse()
            equal(r.status, 200)
            while time.monotonic() < until and not self.end.is_set():
                line = r.readline()
                if not line:
                    break
                self.count("lines of events")
        except (OSError, http.client.HTTPException):
            pass
        finally:
            c.close()
        self.count("listeners")

    def polls(self, rng):
        path = rng.choice(["/v1/jobs", "/v1/stats", "/metrics", "/readyz", "/v1/models"])
        r = self.ask("GET", path)
        equal(r.status, 200, r)
        with self.lock:
            job = rng.choice(list(self.accepted)) if self.accepted else None
        if job is not None:
            for what in ("", "/barrier", "/artifacts"):
                r = self.ask("GET", f"/v1/jobs/{job}{what}")
                true(r.status in (200, 404, 409) and (what or r.status == 200), r)
        self.count("polls", 4)

    def hostile(self, rng):
        try:
            self.enemy.step(rng)
            self.count("hostile requests")
        except (OSError, http.client.HTTPException) as e:
            raise Gone from e

    # ---- what is measured ----

    def sample(self):
        pid = self.d.process.pid
        with open(f"/proc/{pid}/status", encoding="ascii") as f:
            rss = int(f.read().split("VmRSS:")[1].split()[0]) * 1024
        return rss, len(os.listdir(f"/proc/{pid}/fd"))

    def live(self, seconds):
        """Samples one life of the daemon: highest (memory, descriptors) of its halves."""
        halves, begun = [[], []], time.monotonic()
        while time.monotonic() - begun < seconds and not self.end.is_set():
            halves[time.monotonic() - begun > seconds / 2].append(self.sample())
            time.sleep(0.2)
        return [tuple(max(column) for column in zip(*half)) if half else (0, 0) for half in halves]


def check_jobs(s, d):
    """Each accepted job is there once and has ended; nothing else is there."""
    for job in s.accepted:
        final = d.wait_finished(job)
        expected = ("succeeded", "canceled") if job in s.canceled else ("succeeded",)
        true(final["status"] in expected, final)
        s.count(final["status"])
    with sqlite3.connect(f"file:{d.data_dir}/rebasind.db?mode=ro", uri=True) as db:
        rows = db.execute("SELECT id, spec FROM jobs").fetchall()
        unknown = {i for i, _ in rows} - set(s.accepted)
        equal(db.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
    # The last submission may have been cut off by the end of the soak itself.
    true(len(unknown) <= 2, unknown)
    equal(len(rows) - len(unknown), len(s.accepted), "jobs in the store")
    equal(len(set(s.accepted.values())), len(s.accepted), "keys that made more than one job")


def main():
    data, root = tempfile.mkdtemp(prefix="rebasind-soak-"), tempfile.mkdtemp(prefix="rebasind-hostile-")
    held = odd_root(root)
    d = Daemon("--queue-limit", "60", "--max-connections-per-address", "400", "--import-root", root, data_dir=data)
    try:
        d.register_fixtures()
        s = Soak(d, root)
        print(f"soak: {SECONDS:.0f} s, killed every {LIFE:.0f} s, REBASIND_SEED={SEED}", flush=True)
        steps = [(s.jobs, 1.0), (s.uploads, 1.0), (s.polls, 0.1), (s.polls, 0.1)]
        steps += [(s.listens, 0.1)] * 4 + [(s.hostile, 0.1)] * 2
        threads = [threading.Thread(target=s.loop, args=step) for step in steps]
        for t in threads:
            t.start()
        begun, lives = time.monotonic(), []
        while time.monotonic() - begun < SECONDS and not s.end.is_set():
            left = SECONDS - (time.monotonic() - begun)
            lives.append(s.live(min(LIFE, left)))
            (m1, f1), (m2, f2) = lives[-1]
            print(f"  life {len(lives)}: memory at most {m1 / MB:.1f}, then {m2 / MB:.1f} MB; "
                  f"descriptors {f1}, then {f2}", flush=True)
            if SECONDS - (time.monotonic() - begun) > 1:
                d.kill()
                s.count("kills")
                d.start()
        s.end.set()
        for t in threads:
            t.join()
        equal(s.failures, [])
        check_jobs(s, d)
        time.sleep(1)
        rss, files = s.sample()
        print(f"  at rest: {rss / MB:.1f} MB, {files} descriptors")
        print("  " + json.dumps(s.counts, sort_keys=True))
        for (m1, f1), (m2, f2) in lives:
            if m2 > 0 and LIFE >= 30:
                true(m2 <= 1.25 * m1 + 16 * MB and f2 <= f1 + 32, "memory and descriptors are stable")
        begun = time.monotonic()
        equal(d.stop(), 0)
        print(f"  drained in {time.monotonic() - begun:.1f} s")
        true(time.monotonic() - begun < 10, "drained within 10 s")
        print(f"soak: {len(s.accepted)} jobs accepted, none lost, none doubled")
        os.unlink(d.log_path)
        shutil.rmtree(data)
    except BaseException:
        print(d.log()[-3000:])
        if d.process is not None:
            d.kill()
        raise
    finally:
        held.close()
        shutil.rmtree(root)


if __name__ == "__main__":
    main()

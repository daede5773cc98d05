"""What every end-to-end test needs: a daemon on a free loopback port with a fresh data folder, a
small HTTP client, and checks that say what was found. Python's standard library only.

The path of the binary comes from $REBASIND_BIN. The daemon is ended by its process id, whatever
happens, and its log is printed when a test fails.
"""
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.parse

BINARY = os.environ.get("REBASIND_BIN", "build/dev/rebasind")
FIXTURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fixtures")
FIXTURES = os.path.realpath(FIXTURES)
# Ours are for the tests, not for the daemon.
# Machines' images set a kernel of OpenBLAS, too: tests begin as a user without one does.
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith("REBASIND_") and k != "OPENBLAS_CORETYPE"}
# Figures of time are held only where this is not set (the RB_TIMED option of the build).
SLOW_BUILD = os.environ.get("REBASIND_SLOW", "") != ""
# Sanitizers take memory of their own: figures of memory are held against plain builds.
SANITIZED = os.environ.get("REBASIND_SANITIZED", "") != ""


class Reply:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    def __getitem__(self, name):
        return self.headers.get(name)

    def __repr__(self):
        return f"{self.status} {dict(self.headers)} {self.body[:600]!r}"


class Daemon:
    """with Daemon("--workers", "1") as d: d.get("/livez")"""

    def __init__(self, *flags, data_dir=None, env=None, import_root=FIXTURES, start=True):
        self.flags = list(flags)
        self.own_data = data_dir is None
        self.data_dir = data_dir or tempfile.mkdtemp(prefix="rebasind-e2e-")
        self.env = {**ENVIRONMENT, **(env or {})}
        self.import_root = import_root
        self.process = None
        self.log_path = self.data_dir.rstrip("/") + ".log"
        self.port = None
        if start:
            self.start()

    def command(self):
        command = [BINARY, "serve", "--listen", "127.0.0.1:0", "--data-dir", self.data_dir]
        if self.import_root:
            command += ["--import-root", self.import_root]
        return command + self.flags

    def start(self):
        log = open(self.log_path, "ab")
        offset = os.path.getsize(self.log_path)
        self.process = subprocess.Popen(self.command(), env=self.env, stdout=log, stderr=log)
        log.close()
        deadline = time.monotonic() + 60 * max(1, os.getloadavg()[0] / os.cpu_count())
        while time.monotonic() < deadline:
            with open(self.log_path, "rb") as f:
                f.seek(offset)
                text = f.read().decode("utf-8", "replace")
            for word in text.replace('"', " ").split():
                if "http://127.0.0.1:" in word:
                    self.port = int(word.split("http://127.0.0.1:")[1].split("/")[0])
                    return
            if self.process.poll() is not None:
                raise AssertionError(f"daemon ended with {self.process.returncode}:\n{text}")
            time.sleep(0.01)
        raise AssertionError("daemon did not begin to listen")

    def log(self):
        with open(self.log_path, "rb") as f:
            return f.read().decode("utf-8", "replace")

    def stop(self, number=signal.SIGTERM, timeout=30):
        """Ends the daemon; returns its exit status."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"daemon did not end within {timeout} s of {number}")
        self.process = None
        return status

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process = None

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        try:
            status = self.stop()
            if kind is None and status not in (0, None):
                raise AssertionError(f"daemon ended with {status}")
        finally:
            if kind is not None:
                sys.stderr.write("---- log of the daemon ----\n" + self.log()[-8000:] + "\n")
            if self.own_data:
                shutil.rmtree(self.data_dir, ignore_errors=True)
                os.unlink(self.log_path)

    # ---- requests ----

    def connect(self, timeout=60):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def request(self, method, path, body=None, headers=None, connection=None, timeout=60):
        headers = dict(headers or {})
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        c = connection or self.connect(timeout)
        try:
            c.request(method, path, body=body, headers=headers)
            r = c.getresponse()
            return Reply(r.status, r.headers, r.read())
        finally:
            if connection is None:
                c.close()

    def get(self, path, headers=None, **more):
        return self.request("GET", path, headers=headers, **more)

    def post(self, path, body=None, headers=None, **more):
        return self.request("POST", path, body, headers, **more)

    def raw(self, data, timeout=10, shut=False):
        """Sends bytes as they are; returns all that comes back until the peer closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as s:
            s.sendall(data)
            if shut:
                s.shutdown(socket.SHUT_WR)
            got = b""
            try:
                while True:
                    part = s.recv(65536)
                    if not part:
                        break
                    got += part
            except (ConnectionResetError, socket.timeout):
                pass
            return got

    # ---- the usual things ----

    def register_fixtures(self):
        for name in ("bert-a", "bert-b"):
            r = self.post("/v1/models", {"name": name, "path": f"{FIXTURES}/models/{name}"})
            equal(r.status, 201, r)
        for name in ("align", "eval"):
            r = self.post("/v1/datasets", {"name": name, "path": f"{FIXTURES}/data/{name}.txt",
                                           "format": "text"})
            equal(r.status, 201, r)

    def signs_of_life(self, job):
        """Changes as long as anything goes on for the job: in itself, or in those before it."""
        found = [(job["status"], job["phase"], job["progress"]["done"], job["version"])]
        if job["status"] == "queued":
            running = self.get("/v1/jobs?status=running&status=canceling").json["data"]
            found += [(j["id"], j["phase"], j["progress"]["done"], j["version"]) for j in running]
        return found

    def wait_finished(self, job, timeout=300):
        """timeout: seconds without any sign of life. How long it takes in all is the machine's."""
        seen, since = None, time.monotonic()
        while True:
            r = self.get(f"/v1/jobs/{job}")
            equal(r.status, 200, r)
            if r.json["status"] in ("succeeded", "failed", "canceled"):
                return r.json
            signs = self.signs_of_life(r.json)
            if signs != seen:
                seen, since = signs, time.monotonic()
            true(time.monotonic() - since < timeout, f"no progress for {timeout} s: {r!r}")
            time.sleep(0.05)


# A job of a second or two, on the fixtures, and one that goes on for long.
SMALL_JOB = {
    "models": {"a": "bert-a", "b": "bert-b"},
    "align": {"components": ["ff"], "dataset": "align", "max_sequences": 20},
    "interpolate": {"points": 3},
    "evaluate": {"task": "mlm", "dataset": "eval", "max_blocks": 4},
}
LONG_JOB = {
    "models": {"a": "bert-a", "b": "bert-b"},
    "align": {"components": ["ff", "mha"], "dataset": "align", "max_sequences": 1000},
    "interpolate": {"points": 1001},
    "evaluate": {"task": "mlm", "dataset": "eval", "max_blocks": 256},
}
# The same, but it evaluates after a moment.
SOON_EVALUATING_JOB = {**LONG_JOB, "align": {"components": ["ff"], "dataset": "align",
                                             "max_sequences": 20}}


def command(*words):
    """Runs a subcommand to its end."""
    return subprocess.run([BINARY, *words], env=ENVIRONMENT, capture_output=True, text=True,
                          timeout=60)


def equal(found, expected, context=None):
    if found != expected:
        raise AssertionError(f"found {found!r}, expected {expected!r}"
                             + (f" in {context!r}" if context is not None else ""))


def true(value, context=None):
    if not value:
        raise AssertionError(f"not true: {context!r}")


def problem(reply, status, code, pointer=None):
    """The reply is a problem with that status and code."""
    equal(reply.status, status, reply)
    equal(reply["Content-Type"], "application/problem+json", reply)
    body = reply.json
    equal(body["status"], status, reply)
    equal(body["code"], code, reply)
    true(body["request_id"] == reply["X-Request-Id"], reply)
    true(body["detail"] and body["title"] and body["type"], reply)
    if pointer is not None:
        true(any(e["pointer"] == pointer for e in body["errors"]), reply)
    return body


def run(tests):
    """Runs the functions; names of some of them may stand on the command line. REBASIND_PART=2/3: the
    second third of them (tests/CMakeLists.txt splits the long ones)."""
    failed = 0
    part, parts = map(int, os.environ.get("REBASIND_PART", "1/1").split("/"))
    for test in tests[part - 1::parts]:
        if len(sys.argv) > 1 and test.__name__ not in sys.argv[1:]:
            continue
        begun = time.monotonic()
        try:
            test()
            print(f"ok    {test.__name__} ({time.monotonic() - begun:.2f} s)", flush=True)
        except Exception:
            failed += 1
            traceback.print_exc()
            print(f"FAIL  {test.__name__}", flush=True)
    sys.exit(1 if failed else 0)


def names_its_job(name):
    """Does that artifact hold its job's id (a merged checkpoint: in its header)?"""
    return name in ("barrier.json", "permutations.json") or (
        name.startswith("merged/") and name.endswith(("README.md", "rebasind.json", ".sha256")))


def quote(text):
    return urllib.parse.quote(text, safe="")

"""python3 tests/e2e/hostile.py [REQUESTS]: a hostile and patient client, by chance and bounded: 2,000
requests unless told otherwise, of every kind that ever found something and of their siblings. Each is
answered in one of the forms there are, or its connection ends; no answer is a fault of the daemon's,
which then serves and drains as if nothing had been. soak.py has it among its clients.

REBASIND_BIN: the daemon, best one with the sanitizers. REBASIND_SEED: the same requests again."""
import http.client
import json
import os
import random
import shutil
import socket
import sys
import tempfile
import time

from daemon import FIXTURES, SMALL_JOB, Daemon, equal, true
from test_hostile import CHUNKS, POST, UNSOUND, answers

ODD_TEXT = ["", "\0", "a\u0085b", "\u202eabc", "\ud800", "\ufeff", "é" * 300, "x" * 5000, "../../etc/passwd", "%00",
            "a/b", ".", "..", "job_", "*", "\"", "<script>", "\U0001f600", " ", "\t"]
ODD_NUMBERS = [0, -0.0, -1, 1e308, -1e308, 5e-324, 1 + 2.3e-16, 2**31, 2**32, 2**63, 2**64, 10**40, 0.1, True,
               1.0000000000000002, 1001, 1002, 16777217]
ODD_JSON = [b"", b"null", b"[]", b"{", b"{}", b"\xef\xbb\xbf{}", b"\xff\xfe{\0}\0", b'{"a":1,"a":2}', b"[" * 5000,
            b'{"a":' * 40 + b"1" + b"}" * 40, b'{"models":{"a":"\\u0000"}}', b'{"x15":NaN}', b'{"x":1e999}', b'{"x":-}',
            b'{"models":' + b"9" * 4000 + b"}", b'"' + b"a" * 200000 + b'"', b'{"\\ud800":1}', b"{} {}", b"'{}'", b"\0"]
HEADERS = ["If-Match", "If-None-Match", "If-Range", "Range", "Prefer", "Idempotency-Key", "Accept", "Accept-Encoding",
           "Last-Event-ID", "Origin", "Repr-Digest", "Content-Digest", "Content-Range", "Content-Encoding", "Expect",
           "Authorization", "X-Forwarded-For", "X-Forwarded-Host", "X-Request-Id", "Sec-Fetch-Site", "Cookie",
           "Access-Control-Request-Method", "Host", "Connection", "Upgrade", "Transfer-Encoding", "Content-Type"]
VALUES = ["", "*", "\"x\"", "W/\"x\"", "\"1\", \"2\"", "bytes=0-", "bytes=-1", "bytes=9-3", "bytes=0-0,2-3", "wait=60x",
          "wait=\"1\"", "wait=1e3", "x" * 300, "\"" * 40, "text/event-stream;q=0", "sha-256=:AAAA:", "sha-256=:" + "A" * 43
          + "=:", "bytes 0-1/2", "gzip", "100-continue", "Bearer x", "null", "https://lab.example", "evil.example:99999",
          "application/json", "identity", "chunked", "close", "h2c", "a,b;c=\"d", "\xe9", "-1", "99999999999999999999"]


class Hostile:
    """step(rng) does one thing; what it sends and whether the daemon may be gone is the caller's."""

    def __init__(self, daemon, root):
        self.d, self.root, self.requests, self.kinds, self.jobs = daemon, root, 0, {}, []
        self.chosen = KINDS

    def step(self, rng):
        kind = rng.choice(self.chosen)
        self.kinds[kind.__name__] = self.kinds.get(kind.__name__, 0) + 1
        self.requests += 1
        kind(self, rng)

    # ---- how it asks, and what may come back ----

    def raw(self, data, rng, cut=False):
        with socket.create_connection(("127.0.0.1", self.d.port), timeout=30) as s:
            s.settimeout(30)
            got = b""
            try:
                while data:
                    n = len(data) if rng.random() < 0.6 else rng.randrange(1, len(data) + 1)
                    s.sendall(data[:n])
                    data = data[n:]
                if cut:
                    return b""
                s.shutdown(socket.SHUT_WR)
                while part := s.recv(65536):
                    got += part
            except TimeoutError:
                raise  # an answer that never comes is a fault
            except OSError:
                pass  # it hung up on us: its right
            return got

    def sound(self, found, what):
        for status, headers, body in found:
            true(headers.get("x-request-id"), (what, headers))
            true(status != 500 and status < 506, (what, status, body[:400]))
            if status >= 400 and body:
                equal(headers["content-type"], "application/problem+json", what)
                problem = json.loads(body)
                equal(problem["status"], status, what)
                true(problem["detail"], what)

    def ask(self, method, path, body=None, headers=None):
        c = self.d.connect(timeout=60)
        try:
            c.putrequest(method, path, skip_host="Host" in (headers or {}), skip_accept_encoding=True)
            for name, value in (headers or {}).items():
                c.putheader(name, value.encode("latin-1", "replace"))
            if body is not None:
                c.putheader("Content-Length", str(len(body)))
            c.endheaders(body)
            r = c.getresponse()
            stream = "event-stream" in (r.getheader("Content-Type") or "")
            text = b"" if stream else r.read()
            named = {k.lower(): v for k, v in r.getheaders()}
            self.sound([(r.status, named, b"" if method == "HEAD" else text)], (method, path, headers, body and body[:300]))
            return r.status, text
        finally:
            c.close()

    # ---- kinds ----

    def unsound(self, rng):
        data, _ = rng.choice(UNSOUND)
        self.sound(answers(self.raw(data + b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n", rng)), data[:100])

    def bent(self, rng):
        """A sound head with some bytes changed, put in or left out."""
        data = bytearray(POST + b"Content-Length: 2\r\nX-Request-Id: bent\r\nPrefer: wait=1\r\n\r\n{}")
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(data))
            what = rng.randrange(3)
            if what == 0:
                data[at] = rng.choice([0, 9, 10, 13, 32, 58, 127, 255, rng.randrange(256)])
            elif what == 1:
                data.insert(at, rng.choice([0, 9, 10, 13, 32, 58, 44]))
            else:
                del data[at]
        self.sound(answers(self.raw(bytes(data), rng)), bytes(data))

    def chunks(self, rng):
        self.sound(answers(self.raw(POST + b"Transfer-Encoding: chunked\r\n\r\n" + rng.choice(CHUNKS), rng)), "chunks")

    def hang_up(self, rng):
        whole = POST + b"Content-Length: 70000\r\n\r\n" + b"{" * rng.randrange(60000)
        upload = (b"PUT /v1/datasets/h?format=text HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900000\r\n\r\n"
                  + b"words\n" * rng.randrange(90000))
        self.raw(rng.choice([whole, upload])[:rng.randrange(1, 400000)], rng, cut=True)

    def bodies(self, rng):
        path, method = rng.choice([("/v1/jobs", "POST"), ("/v1/jobs/batch", "POST"), ("/v1/models", "POST"),
                                   ("/v1/datasets", "POST"), ("/v1/jobs?dry_run=true", "POST")])
        self.ask(method, path, rng.choice(ODD_JSON), {"Content-Type": "application/json"})

    def specs(self, rng):
        spec = json.loads(json.dumps(SMALL_JOB))
        for _ in range(rng.randrange(1, 3)):
            part = rng.choice([spec, spec["models"], spec["align"], spec["interpolate"], spec["evaluate"]])
            if not isinstance(part, dict):
                continue
            key = rng.choice([*part, "x15", "from_job", "points", "lambdas", "mask_probability", "precision", "block_size",
                              "max_length", "labels", "name", "seed", "learn", "merge", "heads", "outputs", "priority"])
            part[key] = rng.choice([rng.choice(ODD_TEXT), rng.choice(ODD_NUMBERS), [], {}, None, [rng.choice(ODD_NUMBERS)],
                                    {rng.choice(ODD_TEXT): rng.choice(ODD_TEXT)}])
            if not isinstance(spec.get("align"), dict) or any(not isinstance(spec.get(k), dict) for k in
                                                              ("models", "interpolate", "evaluate")):
                break
        status, body = self.ask("POST", rng.choice(["/v1/jobs", "/v1/jobs?dry_run=true"]), json.dumps(spec).encode(),
                                {"Content-Type": "application/json"})
        if status == 202:
            self.jobs.append(json.loads(body)["id"])

    def imports(self, rng):
        kind = rng.choice(["models", "datasets"])
        name = rng.choice(["fifo", "socket", "loop", "none", "x" * 300, "file/below", "device", "", "..", "folder",
                           "../../../etc/passwd", "nul\0nul", "é"])
        body = {"name": rng.choice(["h", *ODD_TEXT]), "path": rng.choice([f"{self.root}/{name}", name])}
        if kind == "datasets":
            body["format"] = rng.choice(["text", "jsonl", "tsv", "odd"])
        self.ask("POST", f"/v1/{kind}", json.dumps(body).encode(), {"Content-Type": "application/json"})

    def targets(self, rng):
        job = rng.choice(self.jobs) if self.jobs else "job_019a2c9e-7c1d-7b3e-8f00-1234567890ab"
        path = rng.choice(["/v1/jobs", f"/v1/jobs/{job}", f"/v1/jobs/{job}/barrier", "/v1/barriers", f"/v1/jobs/{job}/events",
                           f"/v1/jobs/{job}/permutations/layer.0.ff", f"/v1/jobs/{job}/correlations/layer.0.ff",
                           f"/v1/jobs/{job}/artifacts/..%2f..%2frebasind.db", f"/v1/jobs/{job}/merged/0.5.tar", "/readyz",
                           "/v1/models/%2e%2e", "//v1/jobs", "/v1/jobs/", "/%", "/%zz", "/v1/datasets/%00", "*", "/dashboard/../x",
                           f"/v1/jobs/{job}/learning", "/metrics", "/openapi.yaml"])
        odd = rng.choice(["", "?limit=0", "?limit=-1", "?limit=9999999999999999999", "?page_token=AAAA", "?status=",
                          "?status=queued&status=queued&status=odd", "?label=", "?label=a:b&label=a:c", "?a=b", "?&&&", "?sort=x",
                          "?access_token=secret", "?" + "a=b&" * 30, "?verbose", "?matrix=true&size=0", "?size=99999999", "?rotations=",
                          "?job=" + job, "?created_after=0000-00-00T00:00:00Z", "?created_after=9999-12-31T23:59:59.999Z"])
        self.ask(rng.choice(["GET", "HEAD", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW", "GET", "GET"]), path + odd)

    def headers(self, rng):
        path, method, body = rng.choice([("/v1/jobs", "POST", b"{}"), ("/v1/jobs", "GET", None), ("/v1/datasets/h?format=text",
                                         "PUT", b"a line\n"), ("/v1/models/h/files/config.json", "PUT", b"{}"), ("/livez", "GET", None),
                                         ("/v1/datasets/h", "DELETE", None), ("/v1/events", "GET", None), ("/v1/jobs", "OPTIONS", None)])
        named = {rng.choice(HEADERS): rng.choice(VALUES) for _ in range(rng.randrange(1, 5))}
        if named.get("Transfer-Encoding") == "chunked" or named.get("Expect"):
            named.pop("Transfer-Encoding", None)
        if "event-stream" in named.get("Accept", ""):
            named["Accept"] = "*/*"
        self.ask(method, path, body, named)

    def uploads(self, rng):
        file = rng.choice(["config.json", "model.safetensors", "vocab.txt", "tokenizer.json", "pytorch_model.bin", "x" * 200, "..%2fx",
                           "model.safetensors.index.json", "merges.txt", "%E2%80%AEtxt"])
        with open(f"{FIXTURES}/models/bert-a/" + rng.choice(["config.json", "vocab.txt", "model.safetensors"]), "rb") as f:
            data = bytearray(f.read(rng.choice([0, 7, 8, 9, 5000, 100000])))
        for _ in range(rng.randrange(4)):
            if data:
                data[rng.randrange(min(len(data), 3000))] = rng.randrange(256)
        self.ask("PUT", f"/v1/models/h{rng.randrange(3)}/files/{file}", bytes(data))

    def life(self, rng):
        """Jobs polled, canceled, retried and deleted while they are what they are."""
        if not self.jobs:
            return
        job = rng.choice(self.jobs)
        what = rng.randrange(6)
        if what == 0:
            self.ask("POST", f"/v1/jobs/{job}/cancel", rng.choice([None, b"{}", b"[]", b"{" * 100]))
        elif what == 1:
            self.ask("DELETE", f"/v1/jobs/{job}", headers={"If-Match": rng.choice(["*", '"1"', '"x"', ""])})
        elif what == 2:
            self.ask("PATCH", f"/v1/jobs/{job}", json.dumps({"name": rng.choice(ODD_TEXT), "priority": rng.choice([1, 9])}).encode(),
                     {"If-Match": "*", "Content-Type": "application/merge-patch+json"})
        elif what == 3:
            status, body = self.ask("POST", f"/v1/jobs/{job}/retry")
            if status == 202:
                self.jobs.append(json.loads(body)["id"])
        else:
            self.raw(b"GET /v1/jobs/%s HTTP/1.1\r\nHost: localhost\r\nPrefer: wait=9\r\nIf-None-Match: *\r\n\r\n" % job.encode(),
                     rng, cut=True)


KINDS = [Hostile.unsound, Hostile.unsound, Hostile.bent, Hostile.bent, Hostile.chunks, Hostile.hang_up, Hostile.bodies,
         Hostile.specs, Hostile.imports, Hostile.targets, Hostile.targets, Hostile.headers, Hostile.headers, Hostile.uploads,
         Hostile.life]


def odd_root(root):
    """Things below an import root that are neither texts nor checkpoints."""
    os.mkfifo(f"{root}/fifo")
    os.mkdir(f"{root}/folder")
    os.symlink("loop", f"{root}/loop")
    with open(f"{root}/file", "wb") as f:
        f.write(b"a line\n")
    s = socket.socket(socket.AF_UNIX)
    s.bind(f"{root}/socket")
    return s


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    seed = int(os.environ.get("REBASIND_SEED", time.time()))
    rng, root = random.Random(seed), tempfile.mkdtemp(prefix="rebasind-hostile-")
    held = odd_root(root)
    print(f"hostile: {count} requests, REBASIND_SEED={seed}", flush=True)
    try:
        with Daemon("--import-root", root, "--allowed-origins", "https://lab.example", "--queue-limit", "20") as d:
            d.register_fixtures()
            h = Hostile(d, root)
            for i in range(count):
                try:
                    h.step(rng)
                except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                    pass  # it hung up on us: its right
                true(d.process.poll() is None, f"the daemon lives after {i + 1}")
            print(f"  {h.kinds}")
            equal(d.get("/livez").status, 200)
            text = d.get("/metrics").body.decode()
            true('status="500"' not in text, [x for x in text.split("\n") if 'status="500"' in x])
            for job in h.jobs:
                d.post(f"/v1/jobs/{job}/cancel")
            begun = time.monotonic()
            equal(d.stop(timeout=60), 0)
            print(f"  drained in {time.monotonic() - begun:.1f} s")
            for line in d.log().split("\n"):
                true("Sanitizer" not in line and "runtime error" not in line, line)
        print("hostile: nothing found")
    finally:
        held.close()
        shutil.rmtree(root)


if __name__ == "__main__":
    main()

"""Requests that no honest client sends: each is answered once, as a problem with a request id that
is in the log, and nothing that follows an unsound message on its connection is ever served.

libmicrohttpd answered some of these by itself, in HTML, twice, or not at all."""
import json
import random
import socket
import subprocess
import time

from daemon import BINARY, Daemon, ENVIRONMENT, equal, run, true

HOST = b"Host: localhost\r\n"
JSON = b"Content-Type: application/json\r\n"
GET = b"GET /livez HTTP/1.1\r\n" + HOST
POST = b"POST /v1/jobs HTTP/1.1\r\n" + HOST + JSON
AFTER = b"GET /smuggled HTTP/1.1\r\n" + HOST + b"\r\n"


def answers(data):
    """What came back, as (status, headers, body)."""
    found = []
    while data:
        head, blank, data = data.partition(b"\r\n\r\n")
        true(blank, (found, head))
        lines = head.decode("latin-1").split("\r\n")
        true(lines[0].startswith("HTTP/1."), lines)
        status = int(lines[0].split()[1])
        headers = {}
        for line in lines[1:]:
            name, colon, value = line.partition(": ")
            true(colon and name.lower() not in headers, lines)
            headers[name.lower()] = value
        if status == 100:
            continue
        n = int(headers.get("content-length", 0))
        true(len(data) >= n, (lines, data))
        found.append((status, headers, data[:n]))
        data = data[n:]
    return found


def check(d, sent, got, statuses, name=None):
    """got is answers with these statuses, the refusals among them in the one form there is."""
    name = name or sent[:120]
    found = answers(got)
    equal([a[0] for a in found], statuses, (name, got[:600]))
    for status, headers, body in found:
        true(headers.get("x-request-id"), (name, headers))
        if status >= 400:
            equal(headers["content-type"], "application/problem+json", name)
            problem = json.loads(body)
            equal(problem["request_id"], headers["x-request-id"], name)
            equal(problem["status"], status, name)
            true(problem["detail"], name)
    return [a[1]["x-request-id"] for a in found]


# What is sent, and the statuses of the answers. Each is sent alone, behind a sound request, and in
# pieces; AFTER follows each.
UNSOUND = [
    (POST + b"Content-Length: +2\r\n\r\n{}", 400),
    (POST + b"Content-Length: 2, 2\r\n\r\n{}", 400),
    (POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", 400),
    (POST + b"Content-Length: -1\r\n\r\n{}", 400),
    (POST + b"Content-Length:\r\n\r\n{}", 400),
    (POST + b"Content-Length: 0x2\r\n\r\n{}", 400),
    (POST + b"Content-Length: 2 \r\n\r\n{}", 400),
    (POST + b"Content-Length: 2\t\r\n\r\n{}", 400),
    (POST + b"Content-Length: 2 \n\r\n{}", 400),
    (POST + b"Transfer-Encoding: chunked \r\n\r\n2\r\n{}\r\n0\r\n\r\n", 400),
    (POST + b"Transfer-Encoding: chunked\t\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 400),
    (POST + b"Content-Length: 2 2\r\n\r\n{}", 400),
    (POST + b"Content-Length: 99999999999999999999999\r\n\r\n{}", 400),
    (POST + b"Content-Length: 18446744073709551615\r\n\r\n{}", 400),
    (POST + b"Content-Length: 9223372036854775808\r\n\r\n{}", 400),
    # The chunk is valid: only the second length is wrong.
    (POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 400),
    (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 12\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 400),
    (POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
    (POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
    (POST + b"Transfer-Encoding:\r\n\r\n0\r\n\r\n", 400),
    (POST.replace(b"1.1", b"1.0", 1) + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    (GET + b": x\r\n\r\n", 400),
    (GET + b": x\r\nX: y\r\n\r\n", 400),
    (GET + b"x\r\n\r\n", 400),
    (GET + b"X : y\r\n\r\n", 400),
    (GET + b" X: y\r\n\r\n", 400),
    (GET + b"X: y\r\n z\r\n\r\n", 400),
    (GET + b"X\xc3\xa9: y\r\n\r\n", 400),
    (GET + b"X(: y\r\n\r\n", 400),
    (GET + b"X: a\x00b\r\n\r\n", 400),
    (GET + b"X: a\rb\r\n\r\n", 400),
    (GET + b"X: a\r\rb\r\n\r\n", 400),
    (GET + b"X: \rY: z\r\n\r\n", 400),
    (GET + b"X: \x01\r\n\r\n", 400),
    (GET + b"X: \x7f\r\n\r\n", 400),
    (b"GET /livez HTTP/1.1\r\n: x\r\n" + HOST + b"\r\n", 400),
    (b"GET  /livez HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    (b"GET /livez  HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    (b"GET /livez x HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    (b"GET /livez HTTP/1.1 \r\n" + HOST + b"\r\n", 400),
    (b"GET /livez\tHTTP/1.1\r\n" + HOST + b"\r\n", 400),
    (b"GET /li\x00vez HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    (b"GET /li\rvez HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    (b"GET /livez HTTP/2.0\r\n" + HOST + b"\r\n", 400),
    (b"GET /livez HTTP/1.2\r\n" + HOST + b"\r\n", 400),
    (b"GET /livez http/1.1\r\n" + HOST + b"\r\n", 400),
    (b"GET /livez HTTP/1.1x\r\n" + HOST + b"\r\n", 400),
    (b"GET /livez\r\n\r\n", 400),
    (b"GET\r\n\r\n", 400),
    (b" GET /livez HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    (b"G\x00T /livez HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    (b"G[T /livez HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    (b"A" * 60 + b" /livez HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n\n\n\n", 400),
    (GET + b"X: y\r\n" * 1500 + b"\r\n", 431),
    (GET + b"".join(b"X%d: %d\r\n" % (i, i) for i in range(101)) + b"\r\n", 431),
    (GET + b"X: " + b"y" * 33000 + b"\r\n\r\n", 431),
    (GET + b"X: " + b"y" * 300000 + b"\r\n\r\n", 431),
    (GET + b"Cookie: " + b"a=b; " * 1000 + b"\r\n\r\n", 431),
    (GET + b"Cookie: " + b"a" * 20000 + b"\r\n\r\n", 431),
    (b"GET /livez?" + b"a&" * 1000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 431),
    (b"GET /" + b"a" * 40000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
    (b"A" * 40000, 414),
]
# In the body: the request is under way.
CHUNKS = [b"x\r\n", b"+2\r\n{}\r\n0\r\n\r\n", b"-1\r\n", b"0x2\r\n{}\r\n0\r\n\r\n", b"2\n{}\r\n0\r\n\r\n",
          b"2 \r\n{}\r\n0\r\n\r\n", b" 2\r\n{}\r\n0\r\n\r\n", b"\r\n", b"2\r\n{}x\r\n0\r\n\r\n",
          b"2\r\n{}\n0\r\n\r\n", b"1\r\n{}\r\n0\r\n\r\n", b"3\r\n{}\r\n0\r\n\r\n", b"ffffffffffffffffff\r\n",
          b"2;" + b"x" * 300 + b"\r\n{}\r\n0\r\n\r\n", b"2;\x00\r\n{}\r\n0\r\n\r\n",
          b"2\r\n{}\r\n0\r\n: x\r\n\r\n", b"2\r\n{}\r\n0\r\nX: " + b"y" * 9000 + b"\r\n\r\n"]


def whole(d, data):
    return d.raw(data, timeout=10)


def pieces(d, data):
    """The same, byte by byte around the ends of lines, else in larger pieces."""
    with socket.create_connection(("127.0.0.1", d.port), timeout=10) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        at = 0
        try:
            while at < len(data):
                step = 1 if at < 400 else 4000
                s.sendall(data[at:at + step])
                at += step
        except OSError:  # answered already
            pass
        got = b""
        try:
            while part := s.recv(65536):
                got += part
        except OSError:
            pass
        return got


def logged(d, ids, statuses, deadline=5):
    end = time.monotonic() + deadline
    while not all(any(f'"request":"{i}"' in line.replace(" ", "") and str(s) in line
                      for line in d.log().splitlines()) for i, s in zip(ids, statuses)):
        true(time.monotonic() < end, (ids, d.log()[-2000:]))
        time.sleep(0.02)


def test_unsound_heads():
    with Daemon("--log-format", "json") as d:
        for data, status in UNSOUND:
            ids = check(d, data, whole(d, data + AFTER), [status], data[:200])
            logged(d, ids, [status])
            sound = GET + b"\r\n"
            ids = check(d, data, whole(d, sound + sound + data + AFTER), [200, 200, status],
                        (b"second: ", data[:200]))
            logged(d, ids, [200, 200, status])
            check(d, data, pieces(d, data + AFTER), [status], (b"pieces: ", data[:200]))
        true("/smuggled" not in d.log())
        equal(d.get("/livez").status, 200)
        text = d.get("/metrics").body.decode()
        true('{reason="invalid_header"} ' in text and '{reason="headers_too_large"} ' in text, text)
        end = time.monotonic() + 5
        while "rebasind_http_connections 1\n" not in d.get("/metrics").body.decode():
            true(time.monotonic() < end, d.get("/metrics").body.decode())
            time.sleep(0.05)


def test_unsound_bodies():
    with Daemon("--log-format", "json") as d:
        upload = b"PUT /v1/datasets/x?format=text HTTP/1.1\r\n" + HOST
        for body in CHUNKS:
            for head in (POST, upload, b"POST /nothing HTTP/1.1\r\n" + HOST):
                data = head + b"Transfer-Encoding: chunked\r\n\r\n" + body
                status = 404 if b"/nothing" in head else 431 if len(body) > 8000 else 400
                for send in (whole, pieces):
                    ids = check(d, data, send(d, data + AFTER), [status], (send.__name__, data[:200]))
                logged(d, ids, [status])
        true("/smuggled" not in d.log())
        equal(d.get("/v1/datasets").json["data"], [])
        equal(d.get("/livez").status, 200)


def test_sound_ones():
    """What a strict reader takes, in one piece, behind each other and byte by byte."""
    sound = [
        (GET + b"\r\n", 200), (GET + b"X:\r\n\r\n", 200), (GET + b"X:\ty \r\n\r\n", 200),
        (GET + b"X: \xc3\xa9\xff\r\n\r\n", 200), (b"\r\n" + GET + b"\r\n", 200),
        (GET.replace(b"\r\n", b"\n") + b"\n", 200), (b"HEAD /nothing HTTP/1.1\r\n" + HOST + b"\r\n", 404),
        (GET + b"".join(b"X%d: %d\r\n" % (i, i) for i in range(98)) + b"\r\n", 200),
        (GET + b"X: " + b"y" * 31000 + b"\r\n\r\n", 200),
        (GET + b"Cookie: " + b"a=b; " * 300 + b"\r\n\r\n", 200),
        (b"GET /v1/barriers?" + b"job=x&" * 300 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET /livez?" + b"a&" * 450 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (POST + b"Content-Length: 2\r\n\r\n{}", 422), (POST + b"Content-Length: 002\r\n\r\n{}", 422),
        (POST + b"Transfer-Encoding: Chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 422),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n1;a=b\r\n{\r\n01\r\n}\r\n000\r\nX: y\r\n\r\n", 422),
    ]
    generator = random.Random(3)
    with Daemon() as d:
        for data, status in sound:
            if data.startswith(b"HEAD"):
                continue
            for send in (whole, pieces):
                close = data.replace(b"localhost", b"localhost\r\nConnection: close", 1)
                check(d, data, send(d, close), [status], (send.__name__, data[:200]))
        for _ in range(40):  # any sequence of them, cut anywhere
            chosen = [s for s in (generator.choice(sound) for _ in range(12)) if s[0][:4] != b"HEAD"]
            data = b"".join(s[0] for s in chosen) + GET + b"Connection: close\r\n\r\n"
            with socket.create_connection(("127.0.0.1", d.port), timeout=10) as s:
                at = 0
                while at < len(data):
                    step = generator.choice((1, 7, 100, 5000, 40000))
                    s.sendall(data[at:at + step])
                    at += step
                got = b""
                while part := s.recv(65536):
                    got += part
            check(d, data, got, [c[1] for c in chosen] + [200], [c[0][:60] for c in chosen])


def test_small_things():
    """Secrets in targets are not logged; nobody is told that a body may have "at most 0" bytes."""
    with Daemon() as d:
        d.get("/v1/jobs?access_token=geheim1&x=1")
        d.get("/v1/jobs?x=1&token=geheim2")
        r = d.post("/v1/jobs/x/cancel", json.dumps({"why": "x" * 100}).encode(),
                   {"Content-Type": "application/json"})
        equal(r.status, 413, r)
        true("none or {}" in r.json["detail"] and "at most 0" not in r.json["detail"], r)
        end = time.monotonic() + 5
        while "token=*" not in d.log():
            true(time.monotonic() < end, d.log())
        true("geheim" not in d.log(), d.log())


def test_full_outputs():
    """Results that cannot be written are no success."""
    for words in (["check-config"], ["version"]):
        with open("/dev/full", "w") as full:
            done = subprocess.run([BINARY, *words], stdout=full, stderr=subprocess.PIPE, text=True,
                                  env=ENVIRONMENT, timeout=60)
        equal(done.returncode, 1, done)
        true("cannot be written" in done.stderr, done)


def test_nothing_is_left_behind():
    """A request that libmicrohttpd gave up without a word stayed for ever, and every drain waited
    for it."""
    with Daemon("--drain-timeout", "60s") as d:
        for arguments in (300, 450, 600, 1000, 5000):
            data = b"GET /livez?" + b"a&" * arguments + b" HTTP/1.1\r\n" + HOST + b"\r\n"
            found = answers(d.raw(data, timeout=2))
            equal(len(found), 1, arguments)
            true(found[0][0] in (400, 431), found)
        begun = time.monotonic()
        equal(d.stop(), 0)
        true(time.monotonic() - begun < 10, time.monotonic() - begun)
        equal(d.log().count("target=/livez?a&a&"), 5, d.log())


if __name__ == "__main__":
    run([v for k, v in list(globals().items()) if k.startswith("test_")])

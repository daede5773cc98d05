"""Clients that dawdle, hang up, hoard connections or send nonsense: the others are served."""
import os
import random
import resource
import socket
import sys
import time

from daemon import Daemon, SLOW_BUILD, equal, problem, run, true


def connect(d, address="127.0.0.1"):
    s = socket.socket()
    s.bind((address, 0))
    s.settimeout(20)
    s.connect(("127.0.0.1", d.port))
    return s


def read_all(s):
    got = b""
    try:
        while part := s.recv(65536):
            got += part
    except (ConnectionResetError, BrokenPipeError, socket.timeout):
        pass
    return got


def drip(s, data, pause, seconds):
    """Sends byte by byte until the peer closes; returns what it said."""
    end = time.monotonic() + seconds
    s.settimeout(0.01)
    got = b""
    for i in range(len(data)):
        if time.monotonic() > end:
            raise AssertionError(f"still open after {seconds} s")
        try:
            part = s.recv(65536)
            got += part
            if not part:
                return got
        except socket.timeout:
            pass
        if not got:
            s.sendall(data[i:i + 1])
        time.sleep(pause)
    return got


def test_slow_headers():
    with Daemon("--header-timeout", "1s") as d:
        begun = time.monotonic()
        s = connect(d)
        s.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: ")
        got = drip(s, b"y" * 1000, 0.05, 6)
        true(0.9 < time.monotonic() - begun < 4, time.monotonic() - begun)
        true(got.startswith(b"HTTP/1.1 408") and b"body_timeout" in got, got)
        # An idle connection is closed without a word, a kept-alive one too.
        begun = time.monotonic()
        equal(read_all(connect(d)), b"")
        true(0.9 < time.monotonic() - begun < 4)
        s = connect(d)
        s.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        equal(read_all(s).count(b"HTTP/1.1"), 1)
        equal(d.get("/livez").status, 200)


def test_slow_bodies():
    with Daemon("--body-timeout", "1s") as d:
        for path, method in (("/v1/jobs", b"POST"), ("/v1/datasets/x", b"PUT")):
            head = (method + b" " + path.encode() + b" HTTP/1.1\r\nHost: localhost\r\n"
                    b"Content-Type: application/json\r\nContent-Length: 5000\r\n\r\n")
            s = connect(d)
            s.sendall(head + b"x" * 100)
            begun = time.monotonic()
            got = read_all(s)  # silence
            true(0.9 < time.monotonic() - begun < 4, time.monotonic() - begun)
            true(got.startswith(b"HTTP/1.1 408"), got)
            s = connect(d)
            s.sendall(head)
            got = drip(s, b"x" * 1000, 0.05, 8)  # too slow on the whole
            true(got.startswith(b"HTTP/1.1 408"), got)
        equal(os.listdir(f"{d.data_dir}/tmp"), [])
        equal(d.get("/livez").status, 200)


def test_limit_per_address():
    with Daemon("--max-connections-per-address", "8") as d:
        held = [connect(d) for _ in range(8)]
        time.sleep(0.2)
        problem(d.get("/livez"), 429, "too_many_connections")
        other = connect(d, "127.0.0.2")
        other.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        true(read_all(other).startswith(b"HTTP/1.1 200"))
        for s in held[:4]:
            s.close()
        time.sleep(0.2)
        equal(d.get("/livez").status, 200)


def test_limit_of_all():
    """Idle connections make room for new ones; nobody waits for them."""
    with Daemon("--max-connections", "50", "--max-connections-per-address", "0") as d:
        held = [connect(d) for _ in range(400)]
        for _ in range(20):
            begun = time.monotonic()
            equal(d.get("/livez").status, 200)
            true(time.monotonic() - begun < 1)
        opened = int(next(x for x in d.get("/metrics").body.decode().splitlines()
                          if x.startswith("rebasind_http_connections ")).split()[1])
        true(opened <= 51, opened)
        for s in held:
            s.close()


def test_ten_thousand_idle():
    count = 10000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(count, hard - 200)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with Daemon() as d:
        held = []
        for i in range(count):
            s = socket.socket()
            s.bind((f"127.0.{i // 200}.{i % 200 + 1}", 0))
            s.setblocking(False)
            s.connect_ex(("127.0.0.1", d.port))
            held.append(s)
            if i % 1000 == 999:
                begun = time.monotonic()
                equal(d.get("/livez").status, 200)
                true(time.monotonic() - begun < 2, time.monotonic() - begun)
        with open(f"/proc/{d.process.pid}/status") as f:
            rss = next(int(x.split()[1]) for x in f if x.startswith("VmRSS")) / 1024
        print(f"      {count} connections opened, {rss:.0f} MB resident")
        if not SLOW_BUILD:
            true(rss < 200, rss)
        for s in held:
            s.close()


def test_memory_is_bounded():
    """Bodies that never end, and answers that are never read: 503 before the memory goes."""
    with Daemon("--max-connections-per-address", "0", "--max-body-bytes", "64MiB") as d:
        held = []
        head = (b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                b"Content-Length: 67000000\r\n\r\n")
        refused = 0
        for _ in range(12):
            s = connect(d)
            held.append(s)
            s.sendall(head)
            try:
                for _ in range(40):
                    s.sendall(b" " * 1000000)
                s.settimeout(0.2)
                refused += b" 503 " in s.recv(4096)
            except OSError:
                refused += not isinstance(sys.exc_info()[1], socket.timeout)
        true(refused >= 4, refused)
        equal(d.get("/livez").status, 200)
        with open(f"/proc/{d.process.pid}/status") as f:
            rss = next(int(x.split()[1]) for x in f if x.startswith("VmHWM")) / 1024
        print(f"      {refused} of 12 refused, {rss:.0f} MB at most")
        if not SLOW_BUILD:
            true(rss < 500, rss)
        for s in held:
            s.close()
        deadline = time.monotonic() + 10
        while d.post("/v1/jobs", b" " * 20000000, {"Content-Type": "application/json"}).status == 503:
            true(time.monotonic() < deadline, "the memory does not come back")
            time.sleep(0.2)


def test_half_open_and_hang_up():
    with Daemon() as d:
        got = d.raw(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", shut=True)
        true(got.startswith(b"HTTP/1.1 200"), got)
        for data in (b"", b"G", b"GET /li", b"GET /livez HTTP/1.1\r\n", b"POST /v1/jobs HTTP/1.1\r\n"
                     b"Host: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"):
            s = connect(d)
            s.sendall(data)
            s.close()
        deadline = time.monotonic() + 5
        while "rebasind_http_connections 1\n" not in d.get("/metrics").body.decode():
            true(time.monotonic() < deadline, d.get("/metrics").body.decode())
            time.sleep(0.1)


def test_slow_reader():
    """A client that never reads holds its own connection, no other."""
    with Daemon("--body-timeout", "2s") as d:
        s = connect(d)
        s.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2000)
        for _ in range(20):
            equal(d.get("/livez").status, 200)
        time.sleep(4)
        s.close()
        equal(d.get("/livez").status, 200)


def test_nonsense():
    """Random bytes and mutations of requests: answers or closes, and serves on."""
    seeds = [b"GET /livez HTTP/1.1\r\nHost: localhost\r\nRange: bytes=0-1\r\n\r\n",
             b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
             b"Content-Length: 17\r\n\r\n{\"models\":{\"a\":1}}",
             b"PUT /v1/datasets/x?format=text HTTP/1.1\r\nHost: localhost\r\n"
             b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
             b"GET /v1/jobs?limit=5&page_token=abc HTTP/1.1\r\nHost: localhost\r\n"
             b"If-None-Match: W/\"a\", *\r\nAccept: text/*;q=0.5\r\nPrefer: wait=1\r\n\r\n"]
    generator = random.Random(7)
    with Daemon("--header-timeout", "1s", "--body-timeout", "1s") as d:
        for i in range(600):
            data = bytearray(generator.choice(seeds))
            for _ in range(generator.randint(1, 8)):
                at = generator.randrange(len(data))
                kind = generator.randrange(4)
                if kind == 0:
                    data[at] = generator.randrange(256)
                elif kind == 1:
                    del data[at:at + generator.randint(1, 5)]
                elif kind == 2:
                    data[at:at] = bytes(generator.randrange(256) for _ in range(3))
                else:
                    data[at:at] = data[generator.randrange(len(data)):][:20]
                if not data:
                    data = bytearray(b"x")
            s = connect(d)
            s.settimeout(0.05)
            try:
                s.sendall(bytes(data))
                s.recv(4096)
            except OSError:
                pass
            s.close()
        equal(d.get("/livez").status, 200)
        equal(d.process.poll(), None)


if __name__ == "__main__":
    run([v for k, v in list(globals().items()) if k.startswith("test_")])

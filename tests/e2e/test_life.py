"""How the daemon begins and ends: locks, draining, signals, resuming, what systemd hears."""
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time

from daemon import (BINARY, Daemon, ENVIRONMENT, LONG_JOB, SANITIZED, SMALL_JOB,
                    SOON_EVALUATING_JOB, command, equal, problem, run, true)


def start_long_job(d, phase=None):
    spec = SOON_EVALUATING_JOB if phase == "evaluating" else LONG_JOB
    job = d.post("/v1/jobs", spec).json["id"]
    while True:
        now = d.get(f"/v1/jobs/{job}").json
        if now["status"] == "running" and phase in (None, now["phase"]):
            return job
        time.sleep(0.02)


def test_two_daemons():
    with Daemon() as d:
        r = command("serve", "--listen", "127.0.0.1:0", "--data-dir", d.data_dir)
        equal(r.returncode, 1, r)
        true(str(d.process.pid) in r.stderr and "data_dir_locked" in r.stderr, r)
        equal(d.get("/livez").status, 200)


def test_address_in_use():
    with Daemon() as d, tempfile.TemporaryDirectory() as folder:
        r = command("serve", "--listen", f"127.0.0.1:{d.port}", "--data-dir", folder)
        equal(r.returncode, 2, r)
        true(f"127.0.0.1:{d.port}" in r.stderr, r)


def test_drain_and_resume():
    """SIGTERM in the middle of a job: exit 0 soon, no attempt charged, and the rest comes later."""
    spec = {**SOON_EVALUATING_JOB, "interpolate": {"points": 9 if SANITIZED else 21},
            "evaluate": {"task": "mlm", "dataset": "eval", "max_blocks": 12 if SANITIZED else 24}}
    with Daemon() as d:
        d.register_fixtures()
        whole = d.post("/v1/jobs", spec).json["id"]
        d.wait_finished(whole)
        cut = d.post("/v1/jobs", spec).json["id"]
        while len(d.get(f"/v1/jobs/{cut}/barrier").json["lambdas"]) < 3:
            time.sleep(0.02)
        begun = time.monotonic()
        equal(d.stop(), 0)
        seconds = time.monotonic() - begun
        true(seconds < 10, seconds)
        d.start()
        job = d.wait_finished(cut)
        equal((job["status"], job["attempt"]), ("succeeded", 1), job)
        a, b = (d.get(f"/v1/jobs/{x}/barrier").json for x in (whole, cut))
        equal({**a, "job": ""}, {**b, "job": ""})
        print(f"      drained within {seconds * 1000:.0f} ms")


def test_kill_and_resume():
    with Daemon() as d:
        d.register_fixtures()
        job = start_long_job(d, "evaluating")
        while len(d.get(f"/v1/jobs/{job}/barrier").json["lambdas"]) < 3:
            time.sleep(0.02)
        known = d.get(f"/v1/jobs/{job}/barrier").json["aligned"]["loss"]
        d.kill()
        d.start()
        after = d.get(f"/v1/jobs/{job}/barrier").json["aligned"]["loss"]
        true(len(after) >= len(known), (known, after))
        d.post(f"/v1/jobs/{job}/cancel")
        equal(d.wait_finished(job)["status"], "canceled")


def test_readyz_while_draining():
    """A reply that is on its way keeps the daemon up; meanwhile readyz says 503."""
    with Daemon() as d:
        d.register_fixtures()
        job = start_long_job(d)
        # An upload that goes on holds the drain open.
        s = socket.create_connection(("127.0.0.1", d.port))
        s.sendall(b"PUT /v1/datasets/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 6\r\n\r\na\n")
        poll = []
        waiting = threading.Thread(target=lambda: poll.append(
            d.get(f"/v1/events", {"Accept": "text/event-stream"})))
        waiting.start()
        time.sleep(0.2)
        d.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        problem(d.get("/readyz"), 503, "draining")
        verbose = d.get("/readyz?verbose")
        equal((verbose.status, verbose.json["ready"]), (503, False), verbose)
        equal(d.get("/livez").status, 200)
        equal(d.get(f"/v1/jobs/{job}").status, 200)
        r = d.post("/v1/jobs", SMALL_JOB)
        problem(r, 503, "draining")
        true(r["Retry-After"], r)
        s.sendall(b"b\nc\n")
        answer = s.recv(65536)
        true(answer.startswith(b"HTTP/1.1 201"), answer)
        s.close()
        waiting.join()
        equal(poll[0].status, 200, poll)
        equal(d.stop(), 0)


def test_second_signal():
    with Daemon("--drain-timeout", "60s") as d:
        s = socket.create_connection(("127.0.0.1", d.port))
        s.sendall(b"PUT /v1/datasets/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 6\r\n\r\na\n")
        time.sleep(0.2)
        d.process.send_signal(signal.SIGINT)
        time.sleep(1)
        equal(d.process.poll(), None)
        begun = time.monotonic()
        equal(d.stop(), 0)
        true(time.monotonic() - begun < 5)
        s.close()


def test_drain_timeout():
    """A client that never ends does not hold the daemon longer than --drain-timeout."""
    with Daemon("--drain-timeout", "2s") as d:
        s = socket.create_connection(("127.0.0.1", d.port))
        s.sendall(b"PUT /v1/datasets/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 6\r\n\r\na\n")
        time.sleep(0.2)
        begun = time.monotonic()
        equal(d.stop(), 0)
        true(1 < time.monotonic() - begun < 6)
        s.close()


def test_systemd():
    """READY=1 once it listens, WATCHDOG=1 while it lives, STOPPING=1; and its socket is taken."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/notify"
        s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        s.bind(path)
        s.settimeout(20)
        with Daemon(env={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "400000"}) as d:
            equal(s.recv(100), b"READY=1")
            equal(d.get("/livez").status, 200)
            equal(s.recv(100), b"WATCHDOG=1")
            equal(s.recv(100), b"WATCHDOG=1")
            d.process.send_signal(signal.SIGTERM)
            heard = b""
            while heard != b"STOPPING=1":
                heard = s.recv(100)
        s.close()


def test_socket_activation():
    with tempfile.TemporaryDirectory() as folder:
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        # What systemd does: the socket as descriptor 3, and its own id in the environment.
        script = ("import os, sys; os.dup2(int(sys.argv[1]), 3); os.set_inheritable(3, True); "
                  "os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid())); "
                  "os.execv(sys.argv[2], sys.argv[2:])")
        import sys
        p = subprocess.Popen([sys.executable, "-c", script, str(listener.fileno()), BINARY, "serve",
                              "--data-dir", folder], env=ENVIRONMENT, pass_fds=[listener.fileno()],
                             stderr=subprocess.DEVNULL)
        try:
            with socket.create_connection(("127.0.0.1", port)) as s:
                s.settimeout(20)
                s.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                true(s.recv(1000).startswith(b"HTTP/1.1 200"))
        finally:
            p.terminate()
            equal(p.wait(30), 0)
            listener.close()


def test_damaged_store():
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/rebasind.db", "wb") as f:
            f.write(b"this is no database" * 1000)
        r = command("serve", "--listen", "127.0.0.1:0", "--data-dir", folder)
        equal(r.returncode, 1, r)
        true("store_unavailable" in r.stderr, r)


if __name__ == "__main__":
    run([v for k, v in list(globals().items()) if k.startswith("test_")])

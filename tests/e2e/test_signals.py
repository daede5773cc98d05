"""Signals, and what must end at once: hang-ups reload, other signals are logged, deletions and
revocations answer those who wait."""
import os
import signal
import socket
import tempfile
import threading
import time

from daemon import Daemon, LONG_JOB, equal, problem, run, true


def until(condition, what, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        true(time.monotonic() < end, what)
        time.sleep(0.02)


def test_hang_ups_cost_nothing():
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as config:
        config.write("log-level = info\n")
        config.flush()
        with Daemon("--config", config.name) as d:
            d.register_fixtures()
            job = d.post("/v1/jobs", LONG_JOB).json["id"]
            until(lambda: d.get(f"/v1/jobs/{job}").json["status"] == "running", "it runs")
            for name in ("SIGHUP", "SIGHUP", "SIGHUP", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGALRM",
                         "SIGIO"):
                seen = d.log().count(name)
                d.process.send_signal(getattr(signal, name))
                until(lambda: d.log().count(name) > seen, f"{name} is in the log")
            config.seek(0)
            config.write("log-level = debug\n")
            config.flush()
            true(" DEBUG " not in d.log())
            d.process.send_signal(signal.SIGHUP)
            until(lambda: "level=debug" in d.log() and " DEBUG " in d.log(), "it logs more", seconds=120)  # aligning ends
            config.seek(0)
            config.write("log-level = loud?\n")
            config.flush()
            d.process.send_signal(signal.SIGHUP)
            until(lambda: "settings not read again" in d.log(), "a mistake is told")
            found = d.get(f"/v1/jobs/{job}").json
            equal((found["status"], found["attempt"]), ("running", 1))


def test_other_ends_charge_no_attempt():
    with Daemon() as d:
        d.register_fixtures()
        job = d.post("/v1/jobs", LONG_JOB).json["id"]
        for number in (signal.SIGQUIT, signal.SIGPWR, signal.SIGXCPU, signal.SIGQUIT):
            until(lambda: d.get(f"/v1/jobs/{job}").json["status"] == "running", "it runs")
            equal(d.stop(number), 0)
            d.start()
        until(lambda: d.get(f"/v1/jobs/{job}").json["status"] == "running", "it runs")
        equal(d.get(f"/v1/jobs/{job}").json["attempt"], 1)


def test_a_deletion_answers_those_who_wait():
    with Daemon() as d:
        d.register_fixtures()
        job = d.post("/v1/jobs", LONG_JOB).json["id"]
        d.post(f"/v1/jobs/{job}/cancel")
        d.wait_finished(job)
        tag = d.get(f"/v1/jobs/{job}")["ETag"]
        replies = []
        polls = [threading.Thread(target=lambda: replies.append(
            d.get(f"/v1/jobs/{job}", {"If-None-Match": tag, "Prefer": "wait=50"})))
            for _ in range(4)]
        for p in polls:
            p.start()
        time.sleep(0.5)
        equal(replies, [])
        equal(d.request("DELETE", f"/v1/jobs/{job}").status, 204)
        end = time.monotonic() + 20
        for p in polls:
            p.join(max(0, end - time.monotonic()))
        equal(len(replies), 4, "the polls outlive the job")
        for r in replies:
            problem(r, 404, "not_found")


def test_token_file():
    folder = tempfile.mkdtemp(prefix="rebasind-token-")
    path = os.path.join(folder, "token")
    secret = "0123456789abcdef0123456789abcdef"
    bearer = {"Authorization": f"Bearer {secret}"}
    write = lambda text: open(path, "w").write(text)
    os.mkfifo(path)
    d = Daemon("--token-file", path, start=False)
    try:
        d.start()
        raise RuntimeError("a FIFO is taken for a token file")
    except AssertionError as e:
        true("no regular file" in str(e), e)
        d.process = None
    os.unlink(path)
    write(secret)
    with Daemon("--token-file", path, "--header-timeout", "5s") as d:
        equal(d.get("/v1/jobs", bearer).status, 200)
        with socket.create_connection(("127.0.0.1", d.port), timeout=20) as s:
            s.sendall(f"GET /v1/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n"
                      f"Authorization: Bearer {secret}\r\n\r\n".encode())
            true(b"200 OK" in s.recv(65536))
            write("")
            problem(d.get("/v1/jobs", bearer), 401, "unauthorized")
            until(lambda: "valid no longer" in d.log(), "it is told")
            end = time.monotonic() + 20
            while True:  # ends with the token
                part = s.recv(65536)
                if part == b"" or part.endswith(b"0\r\n\r\n"):
                    break
                true(time.monotonic() < end, "the stream outlives its token")
        os.unlink(path)
        problem(d.get("/v1/jobs", bearer), 401, "unauthorized")
        problem(d.get("/v1/jobs"), 401, "unauthorized")
        os.mkfifo(path)
        problem(d.get("/v1/jobs", bearer), 401, "unauthorized")
        os.unlink(path)
        write(secret)
        equal(d.get("/v1/jobs", bearer).status, 200)
    os.unlink(path)
    os.rmdir(folder)


if __name__ == "__main__":
    run([v for k, v in list(globals().items()) if k.startswith("test_")])

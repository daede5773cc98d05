"""Requests a second: an idle daemon's job status against nginx, which serves the same bytes as a
static file. One loop each, both with a line of log for each request, alternating, by wrk with a few
connections kept alive on loopback.
"""
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.request

from programs import TIMEOUT, Absent, call

CONNECTIONS = 16
FIXTURES = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../fixtures"))

NGINX = """daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
{user}events {{ worker_connections 256; }}
http {{
    access_log {folder}/access.log; keepalive_requests 100000000; default_type application/json;
    client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3;
    uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
    sendfile on; tcp_nopush on;
    server {{ listen 127.0.0.1:{port}; root {folder}/www; }}
}}
"""


def find(program, package):
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    if path is None:
        raise Absent(f"{program} is not installed (apt install {package})")
    return path


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        words = f.read().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def running(command, log):
    with open(log, "wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for(what, probe):
    for _ in range(1000):
        found = probe()
        if found:
            return found
        time.sleep(0.01)
    raise RuntimeError(f"{what} did not come up")


def fetch(url, body=None, headers=None):
    request = urllib.request.Request(url, None if body is None else json.dumps(body).encode(),
                                     {"Content-Type": "application/json", **(headers or {})})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as reply:
        return reply.read()


@contextlib.contextmanager
def daemon(b):
    """Yields the pid and the address of a job that has ended."""
    log = b.path("daemon.log")
    command = [os.path.join(b.build, "rebasind"), "serve", "--listen", "127.0.0.1:0", "--data-dir",
               b.path("http-data"), "--import-root", FIXTURES]

    def address():
        with open(log, encoding="utf-8", errors="replace") as f:
            found = re.search(r"http://127\.0\.0\.1:\d+", f.read())
        return found and found[0]

    with running(command, log) as process:
        url = wait_for("the daemon", address)
        for name in ("bert-a", "bert-b"):
            fetch(f"{url}/v1/models", {"name": name, "path": f"{FIXTURES}/models/{name}"})
        job = json.loads(fetch(f"{url}/v1/jobs", {"models": {"a": "bert-a", "b": "bert-b"},
                                                  "align": {"components": []},
                                                  "outputs": {"merged": [0.5]}}, {"Prefer": "wait=60"}))
        if job["status"] != "succeeded":
            raise RuntimeError(f"the job ended {job['status']}")
        yield process.pid, f"{url}/v1/jobs/{job['id']}"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@contextlib.contextmanager
def nginx(b, body):
    """Yields the worker's pid and the address of the file."""
    folder, port = b.path("nginx"), free_port()
    os.makedirs(f"{folder}/www")
    with open(f"{folder}/www/job.json", "wb") as f:
        f.write(body)
    with open(f"{folder}/nginx.conf", "w", encoding="utf-8") as f:
        f.write(NGINX.format(folder=folder, port=port, user="user root; " if os.getuid() == 0 else ""))

    def worker():
        with open(f"/proc/{process.pid}/task/{process.pid}/children", encoding="ascii") as f:
            return f.read().split()

    with running([find("nginx", "nginx-light"), "-p", folder, "-c", f"{folder}/nginx.conf"],
                 f"{folder}/out") as process:
        (pid,) = wait_for("nginx", worker)
        url = f"http://127.0.0.1:{port}/job.json"
        if fetch(url) != body:
            raise RuntimeError("nginx serves other bytes")
        yield int(pid), url


def drive(pid, url, seconds):
    """Requests a second, and requests a second of the server's processor time."""
    before = cpu_seconds(pid)
    text = call([find("wrk", "wrk"), "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", url])
    spent = cpu_seconds(pid) - before
    if "Non-2xx" in text or "Socket errors" in text:
        raise RuntimeError(f"requests failed: {text}")
    requests = int(re.search(r"(\d+) requests in", text)[1])
    return float(re.search(r"Requests/sec: +([\d.]+)", text)[1]), requests / spent


def compare(b, seconds, rounds):
    """(ours, theirs, bytes of the body): lists of drive's answers."""
    find("wrk", "wrk"), find("nginx", "nginx-light")
    ours, theirs = [], []
    with daemon(b) as (pid, url):
        body = fetch(url)
        with nginx(b, body) as (other_pid, other_url):
            for _ in range(rounds):
                ours.append(drive(pid, url, seconds))
                theirs.append(drive(other_pid, other_url, seconds))
    return ours, theirs, len(body)

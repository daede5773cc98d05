#!/usr/bin/env python3
"""The demo job by curl through nginx, Caddy and HAProxy as Debian has them, with the files that
deploy/ ships: at the root and below a prefix, stripped and kept; live events; a 1 GB upload."""
import base64
import hashlib
import json
import os
import re
import struct
import subprocess
import threading
import time
from urllib.parse import urljoin

from container import (DEMO_JOB, HOSTS, PREFIX, PROXIES, PROXY_ENV, Container, equal, mib, run,
                       true, wait_for)

GIGABYTE = 10**9
# A daemon that keeps what it receives, or a proxy that buffers it, grows by the upload's size.
MEMORY_SLACK = 48 * 2**20


def through_each(test):
    """Each proxy in turn in front of one container."""
    with Container(env=PROXY_ENV) as c:
        c.register_fixtures()
        for kind in PROXIES:
            with kind(c.port) as p:
                test(c, p)


# ---- the demo job, with live events ----

class Listener:
    """curl on an event stream: each line with the time it came."""

    def __init__(self, proxy, site, path):
        self.process = subprocess.Popen(
            proxy.curl_command(site, path, "-N", "-H", "Accept: text/event-stream"),
            stdout=subprocess.PIPE)
        self.events = []  # (time, event, data)
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        event, data = None, ""
        for line in self.process.stdout:
            line = line.decode().rstrip("\n")
            if line.startswith("event: "):
                event = line[7:]
            elif line.startswith("data: "):
                data = line[6:]
            elif line == "" and event is not None:
                self.events.append((time.monotonic(), event, json.loads(data)))
                event = None

    def ended(self):
        return any(e == "status" and d["data"]["status"] == "succeeded" for _, e, d in self.events)

    def close(self):
        self.process.terminate()
        self.process.wait()
        self.thread.join(5)


def submit(proxy, site, job):
    r = proxy.curl(site, "/v1/jobs", "-H", "Content-Type: application/json", "-d",
                   json.dumps(job))
    equal(r.status, 202, r)
    # Location leads to the job, whatever the proxy does with the prefix.
    followed = proxy.curl(site, "", raw_url=urljoin(proxy.url(site, "/v1/jobs"), r["Location"])) \
        if PREFIX[site] else proxy.curl(site, f"/v1/jobs/{r.json['id']}")
    equal(followed.status, 200, followed)
    equal(followed.json["id"], r.json["id"], followed)
    return r.json["id"]


def follow(proxy, site, job):
    listener = Listener(proxy, site, f"/v1/jobs/{job}/events")
    try:
        wait_for(f"{proxy.kind}/{site}: the job's end in its events", 120, listener.ended)
    finally:
        listener.close()
    points = [t for t, event, _ in listener.events if event == "point"]
    end = listener.events[-1][0]
    true(len(points) >= 11, listener.events)
    # Points came while the job ran, one by one, not in one piece at its end.
    true(end - points[0] > 0.2, f"{proxy.kind}/{site}: first point {end - points[0]:.3f} s before "
         "the end")
    true(len({round(t, 2) for t in points}) >= 4, points)
    return end - points[0]


losses = {}


def run_demo_job(proxy, site):
    job = submit(proxy, site, DEMO_JOB)
    spread = follow(proxy, site, job)
    barrier = proxy.curl(site, f"/v1/jobs/{job}/barrier").json
    equal(barrier["complete"], True)
    equal(len(barrier["lambdas"]), 11)
    losses.setdefault("all", barrier["aligned"]["loss"])
    equal(barrier["aligned"]["loss"], losses["all"], "the same job, the same curve")
    # The links in the body resolve against the body's own address (RFC 3986).
    links = proxy.curl(site, f"/v1/jobs/{job}").json["links"]
    r = proxy.curl(site, "", raw_url=urljoin(proxy.url(site, f"/v1/jobs/{job}"), links["barrier"]))
    equal(r.status, 200, (site, links))
    print(f"      {proxy.kind:8} {site:9} demo job succeeded, points over {spread:.1f} s")


def test_demo_job_with_live_events():
    def each(_container, proxy):
        for site in HOSTS:
            equal(proxy.curl(site, "/livez").status, 200)
            run_demo_job(proxy, site)
    through_each(each)


# ---- what the proxies say about clients ----

def logged(c, request):
    """The line of a request, written once its reply has left."""
    return wait_for(f"a line about {request}", 5, lambda: next(
        (row for row in c.log_rows() if row.get("request") == request), None))


def check_addresses(c, proxy):
    """The daemon logs the client's address, not the proxy's nor what a client made up."""
    forged = ("-H", "X-Forwarded-For: 198.51.100.7", "-H", "X-Forwarded-Host: evil.example")
    for i, site in enumerate(HOSTS):
        own = f"127.0.{40 + i}.{5 + PROXIES.index(type(proxy))}"
        r = proxy.curl(site, "/version", "--interface", own, *forged)
        equal(r.status, 200, r)
        equal(logged(c, r["X-Request-Id"])["client"], own)


def check_redirects(proxy):
    for site in ("kept", "stripped"):
        bare = f"https://{HOSTS[site]}:{proxy.port}/merge"
        r = proxy.curl(site, "", raw_url=bare)
        true(r.status in (301, 307, 308), r)
        equal(urljoin(bare, r["Location"]), bare + "/", r)
        equal(proxy.curl(site, "/readyz").status, 200)
        elsewhere = proxy.curl(site, "", raw_url=f"https://{HOSTS[site]}:{proxy.port}/v1/jobs")
        true(elsewhere.status in (200, 404) and b"page_token" not in elsewhere.body, elsewhere)
    plain = proxy.curl("root", "", raw_url=f"http://{HOSTS['root']}:{proxy.plain_port}/livez",
                       *("--resolve", f"{HOSTS['root']}:{proxy.plain_port}:127.0.0.1"))
    equal(plain.status, 308, plain)
    true(plain["Location"].startswith(f"https://{HOSTS['root']}"), plain)


def check_page(proxy):
    """The page and what it names, at the root and below a prefix; it may send from its own origin,
    pages of others may not."""
    for site, host in HOSTS.items():
        page = proxy.curl(site, "/")
        equal(page.status, 200, page)
        for name in re.findall(r'(?:href|src)="([^"]+)"', page.body.decode()):
            r = proxy.curl(site, "", raw_url=urljoin(proxy.url(site, "/"), name))
            equal(r.status, 200, (site, name))
        for origin, status in ((f"https://{host}:{proxy.port}", 200),
                               ("https://evil.example", 403)):
            r = proxy.curl(site, "/v1/jobs?dry_run=true", "-H", f"Origin: {origin}", "-H",
                           "Content-Type: application/json", "-d", json.dumps(DEMO_JOB))
            equal(r.status, status, (site, origin, r))


def test_addresses_redirects_and_page():
    def each(container, proxy):
        check_addresses(container, proxy)
        check_redirects(proxy)
        check_page(proxy)
    through_each(each)


def test_forwarded_only_from_the_proxy():
    """Whoever is no trusted proxy cannot say who he is."""
    with Container(env=PROXY_ENV) as c:
        r = subprocess.run(["curl", "-sS", "-i", "--interface", "127.0.9.9", "-H",
                            "X-Forwarded-For: 198.51.100.7", "-H",
                            "X-Forwarded-Host: evil.example",
                            f"http://127.0.0.1:{c.port}/version"], stdout=subprocess.PIPE, text=True)
        true(r.stdout.startswith("HTTP/1.1 200"), r.stdout)
        request = re.search(r"(?i)^x-request-id: (\S+)", r.stdout, re.M).group(1)
        equal(logged(c, request)["client"], "127.0.9.9")
        # From the proxy's address it counts, and a made-up host is refused.
        r = subprocess.run(["curl", "-sS", "-i", "-H", "X-Forwarded-Host: evil.example",
                            f"http://127.0.0.1:{c.port}/version"], stdout=subprocess.PIPE, text=True)
        true(r.stdout.startswith("HTTP/1.1 421"), r.stdout)


# ---- a large upload ----

def make_checkpoint(path):
    """A safetensors file of 1 GB, one tensor of zeros, sparse on disk; its digest."""
    shape = [244000, 1024]
    data = shape[0] * shape[1] * 4
    header = json.dumps({"bert.embeddings.word_embeddings.weight":
                         {"dtype": "F32", "shape": shape, "data_offsets": [0, data]}}).encode()
    header += b" " * (-len(header) % 8)
    start = struct.pack("<Q", len(header)) + header
    with open(path, "wb") as f:
        f.write(start)
        f.truncate(len(start) + data)
    digest = hashlib.sha256(start)
    zeros = bytes(1 << 20)
    for begin in range(0, data, len(zeros)):
        digest.update(zeros[:data - begin])
    return len(start) + data, base64.b64encode(digest.digest()).decode()


class Watch:
    """Samples, while an upload is under way: bytes that arrived in the daemon's temporary files, the
    proxy's memory, and what it holds in files that have no name any more, as nginx's spool has."""

    def __init__(self, container, proxy):
        self.container, self.proxy = container, proxy
        self.arrived, self.proxy_peak, self.spooled = [], 0, 0
        self.going = True
        self.thread = threading.Thread(target=self._sample, daemon=True)
        self.thread.start()

    @staticmethod
    def _bytes_below(folder):
        total = 0
        for base, _, names in os.walk(folder):
            for name in names:
                try:
                    total += os.stat(os.path.join(base, name)).st_size
                except FileNotFoundError:
                    pass
        return total

    def _sample(self):
        while self.going:
            self.arrived.append(self._bytes_below(os.path.join(self.container.data, "tmp")))
            self.proxy_peak = max(self.proxy_peak, self.proxy.resident())
            self.spooled = max(self.spooled, self.proxy.unnamed())
            time.sleep(0.05)

    def stop(self):
        self.going = False
        self.thread.join()


def upload(c, proxy, path, size, digest):
    before, proxy_before = c.memory("VmRSS"), proxy.resident()
    c.restart_peak()
    watch = Watch(c, proxy)
    begun = time.monotonic()
    try:
        r = proxy.curl("kept", "/v1/models/big/files/model.safetensors", "-T", path,
                       "-H", f"Repr-Digest: sha-256=:{digest}:")
    finally:
        watch.stop()
    seconds = time.monotonic() - begun
    true(r.status in (200, 201), r)
    grown, proxy_grown = c.memory("VmHWM") - before, watch.proxy_peak - proxy_before
    print(f"      {proxy.kind:8} {size / 1e9:.2f} GB in {seconds:.1f} s: daemon's peak "
          f"{mib(before + grown)} (+{mib(grown)}), proxy +{mib(proxy_grown)}, spooled "
          f"{mib(watch.spooled)}")
    true(grown < MEMORY_SLACK, "the daemon's memory does not grow with the upload")
    true(proxy_grown < MEMORY_SLACK, "nor does the proxy's")
    equal(watch.spooled, 0, "nor its disk")
    # Bytes arrived while curl was still sending: nothing waited for the end.
    middle = [n for n in watch.arrived if 0 < n < size * 0.9]
    true(len(middle) >= 3, watch.arrived[:50])
    model = proxy.curl("kept", "/v1/models/big").json
    equal([f["bytes"] for f in model["files"]], [size], model)
    c.request("DELETE", "/v1/models/big")


def test_upload_of_a_gigabyte():
    with Container(env=PROXY_ENV) as c:
        path = os.path.join(c.folder, "model.safetensors")
        size, digest = make_checkpoint(path)
        true(abs(size - GIGABYTE) < GIGABYTE // 100, size)
        for kind in PROXIES:
            with kind(c.port) as p:
                upload(c, p, path, size, digest)


run([test_demo_job_with_live_events, test_addresses_redirects_and_page,
     test_forwarded_only_from_the_proxy, test_upload_of_a_gigabyte])

#!/usr/bin/env python3
"""Prometheus scrapes the daemon with the configuration and rules of deploy/, and promtool has
nothing to say about what it finds."""
import json
import os
import re
import shutil
import subprocess
import tempfile
import urllib.parse
import urllib.request

import yaml

from container import (DEMO_JOB, DEPLOY, Container, equal, free_port, run, true, wait_for)
from names import documented, metric_names, used_metrics


class Prometheus:
    def __init__(self, target, token):
        self.folder = tempfile.mkdtemp(prefix="rebasind-prometheus-")
        self.port = free_port()
        with open(os.path.join(self.folder, "token"), "w") as f:
            f.write(token)
        for name in ("rules.yaml", "prometheus.yaml"):
            shutil.copy(os.path.join(DEPLOY, "prometheus", name), self.folder)
        self.config = os.path.join(self.folder, "prometheus.yaml")
        with open(self.config) as f:
            text = f.read()
        for old, new in (("/run/secrets/prometheus-token", f"{self.folder}/token"),
                         ("rebasind:8686", f"127.0.0.1:{target}"),
                         ("_interval: 15s", "_interval: 1s")):
            true(old in text, old)
            text = text.replace(old, new)
        with open(self.config, "w") as f:
            f.write(text)
        self.process = None

    def __enter__(self):
        subprocess.run(["promtool", "check", "config", self.config], check=True,
                       stdout=subprocess.DEVNULL)
        with open(os.path.join(self.folder, "log"), "wb") as log:
            self.process = subprocess.Popen(
                ["prometheus", f"--config.file={self.config}", "--storage.tsdb.retention.time=1d",
                 f"--storage.tsdb.path={self.folder}/data",
                 f"--web.listen-address=127.0.0.1:{self.port}"], stdout=log, stderr=log)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(timeout=20)
        shutil.rmtree(self.folder, ignore_errors=True)

    def api(self, path, **query):
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=10) as r:
            return json.load(r)["data"]

    def values(self, expression):
        try:
            return [float(s["value"][1]) for s in self.api("query", query=expression)["result"]]
        except OSError:
            return []


def run_job(c):
    c.register_fixtures()
    r = c.post("/v1/jobs", {**DEMO_JOB, "interpolate": {"points": 3}})
    equal(r.status, 202, r)
    wait_for("the job", 120, lambda: c.get(f"/v1/jobs/{r.json['id']}").json["status"]
             == "succeeded")


def make_token(c, scopes):
    status, out = c.execute("/usr/bin/rebasind", "token", "create", "--name", "prometheus",
                            "--scopes", scopes)
    equal(status, 0, out)
    return [w for w in out.split() if len(w) >= 32][-1]


def test_prometheus_scrapes():
    with Container() as c:
        run_job(c)
        with Prometheus(c.port, make_token(c, "read")) as p:
            wait_for("a scrape", 30, lambda: p.values('up{job="rebasind"}') == [1.0])
            wait_for("figures", 10, lambda: p.values("rebasind_build_info") == [1.0])
            wait_for("the job's end", 10, lambda: p.values(
                'rebasind_jobs_finished_total{status="succeeded"}') == [1.0])
            # Two scrapes on, rates have something to say: time goes by for the lag's timer.
            wait_for("a recorded rate", 30,
                     lambda: p.values("rebasind:loop_lag_seconds:p99_5m") != [])
            groups = p.api("rules")["groups"]
            health = {r["name"]: r["health"] for g in groups for r in g["rules"]}
            equal({n: h for n, h in health.items() if h != "ok"}, {}, health)
            firing = [a["labels"] for a in p.api("alerts")["alerts"] if a["state"] == "firing"]
            equal(firing, [])


def test_a_token_is_needed():
    with Container() as c:
        with Prometheus(c.port, "x" * 40) as p:
            wait_for("a failed scrape", 30, lambda: p.values('up{job="rebasind"}') == [0.0])
        equal(c.request("GET", "/metrics", headers={"Authorization": ""}).status, 401)


def test_metrics_are_clean():
    with Container() as c:
        run_job(c)
        c.get("/v1/jobs/none")
        text = c.get("/metrics").body
        r = subprocess.run(["promtool", "check", "metrics"], input=text, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT)
        equal((r.returncode, r.stdout.decode()), (0, ""))
        shown = set(re.findall(r"^(rebasind_\w+)", text.decode(), re.M))
        equal(shown - metric_names(), set(), "shown, and not in the table")
        # What alerts and panels watch is there from the first scrape, but for what never happened.
        never = {"rebasind_store_errors_total", "rebasind_http_refused_total", "rebasind_unit_retries_total"}
        with open(os.path.join(DEPLOY, "prometheus", "rules.yaml")) as f:
            watched = [r["expr"] for g in yaml.safe_load(f)["groups"] for r in g["rules"]]
        with open(os.path.join(DEPLOY, "grafana", "rebasind.json")) as f:
            watched += [t["expr"] for p in json.load(f)["panels"] for t in p.get("targets", [])]
        for expression in watched:
            equal(used_metrics(expression) - shown - never - {"up"}, set(), expression)
        equal(documented() - metric_names(), set(), "in docs/operations.md, and not in the table")


run([test_prometheus_scrapes, test_a_token_is_needed, test_metrics_are_clean])

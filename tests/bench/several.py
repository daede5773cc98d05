"""Eight models: one job with `align.reference: universe`, 28 jobs of pairs, and a matrix, in turn on daemons of their
own; how often features were computed, by the tokens that the daemon counted, and its peak against the dry run's.
"""
import json
import os
import re
import time

from http_requests import fetch, running, wait_for
from programs import make_text, tool

MODELS = 8
PAIRS = MODELS * (MODELS - 1) // 2


def make_models(b, shape):
    folder = b.path("several")
    if not os.path.isdir(folder):
        os.mkdir(folder)
        for m in range(MODELS):
            tool(b, "make_model", "model", os.path.join(folder, f"m{m}"), m + 1, *shape.values())
    return folder


def measure(b, name, submit, flags=()):
    """A fresh daemon: submit(url, models) gives the dry run's peak and the path of what was begun."""
    folder, log = b.path("several"), b.path(f"several-{name}.log")
    command = [os.path.join(b.build, "rebasind"), "serve", "--listen", "127.0.0.1:0", "--data-dir", b.path(f"several-{name}"),
               "--import-root", b.folder, "--workers", str(b.threads), *flags]

    def address():
        with open(log, encoding="utf-8", errors="replace") as f:
            found = re.search(r"http://127\.0\.0\.1:\d+", f.read())
        return found and found[0]

    with running(command, log) as process:
        url = wait_for("the daemon", address)
        models = [f"m{m}" for m in range(MODELS)]
        for m in models:
            fetch(f"{url}/v1/models", {"name": m, "path": f"{folder}/{m}"})
        wait_for("the models", lambda: all(json.loads(fetch(f"{url}/v1/models/{m}"))["status"] == "ready" for m in models))
        fetch(f"{url}/v1/datasets", {"name": "text", "path": b.path("several-text"), "format": "text"})
        start = time.monotonic()
        told, paths = submit(url, models)
        for path in paths:
            while json.loads(fetch(f"{url}{path}", headers={"Prefer": "wait=30"}))["status"] in ("queued", "running"):
                time.sleep(0.02)
        seconds = time.monotonic() - start
        ended = {json.loads(fetch(f"{url}{path}"))["status"] for path in paths}
        if ended != {"succeeded"}:
            raise RuntimeError(f"{name}: {ended}")
        with open(f"/proc/{process.pid}/status", encoding="ascii") as f:
            peak = int(re.search(r"VmHWM:\s+(\d+)", f.read())[1]) * 1024
        metrics = fetch(f"{url}/metrics").decode()
    tokens = float(re.search(r'rebasind_tokens_processed_total\{[^}]*aligning[^}]*\} (\S+)', metrics)[1])
    return {"seconds": seconds, "peak": peak, "told": told, "tokens": tokens}


def compare(b, shape, lines):
    make_models(b, shape)
    make_text(b, "several-text", 5, lines, 24, shape["vocabulary"])
    align = {"dataset": "text", "max_sequences": lines}

    def dry(url, path, body):
        return json.loads(fetch(f"{url}{path}?dry_run=true", body))["estimate"]["peak_bytes"]

    def universe(url, models):
        body = {"models": {"anchor": models[0], "others": models[1:]}, "align": {**align, "reference": "universe"}}
        told = dry(url, "/v1/jobs", body)
        return told, [f"/v1/jobs/{json.loads(fetch(f'{url}/v1/jobs', body))['id']}"]

    def pairs(url, models):
        jobs = [{"models": {"a": a, "b": c}, "align": align} for i, a in enumerate(models) for c in models[i + 1:]]
        told = dry(url, "/v1/jobs", jobs[0])
        return told, [f"/v1/jobs/{j['id']}" for j in json.loads(fetch(f"{url}/v1/jobs/batch", {"jobs": jobs}))["data"]]

    def matrix(url, models):
        body = {"models": models, "spec": {"align": align}}
        told = dry(url, "/v1/jobs/matrix", body)
        return told, [f"/v1/sweeps/{json.loads(fetch(f'{url}/v1/jobs/matrix', body))['id']}"]

    alone = measure(b, "pairs", pairs, ("--moments-cache-bytes", "0"))
    return {"pairs": alone, "universe": measure(b, "universe", universe), "matrix": measure(b, "matrix", matrix)}

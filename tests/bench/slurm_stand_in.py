#!/usr/bin/env python3
"""Stands in for sbatch, squeue, scancel and sacct (by the name it is called by) with a large cluster's latencies, for
tests/bench/slurm_many.py only. Its queue is the folder $HOME/queue: one file for each submission."""
import json
import os
import random
import sys
import time

QUEUE = os.environ["HOME"] + "/queue"


def log(what):
    with open(os.environ["HOME"] + "/calls.log", "a") as f:
        f.write(f"{time.time():.3f} {what}\n")


def submissions():
    for name in os.listdir(QUEUE):
        if name.endswith(".json"):
            try:
                yield json.load(open(f"{QUEUE}/{name}"))
            except (OSError, ValueError):
                pass


def sbatch(words):
    time.sleep(random.uniform(0.02, 0.08))
    flags = dict(w[2:].split("=", 1) for w in words if w.startswith("--") and "=" in w)
    folder, unit = words[-2:]
    number = int(time.time() * 1000) % 900000000
    tasks = int(flags["array"].split("-")[1]) + 1
    now = time.time()
    starts = [now + random.uniform(1, 10) for _ in range(tasks)]
    job = {"number": number, "name": flags["job-name"], "folder": folder, "unit": unit, "tasks": tasks,
           "starts": starts, "ends": [s + random.uniform(10, 40) for s in starts]}
    with open(f"{QUEUE}/{job['name']}.tmp", "w") as f:
        json.dump(job, f)
    os.rename(f"{QUEUE}/{job['name']}.tmp", f"{QUEUE}/{job['name']}.json")
    print(number)


def squeue(_):
    now, lines = time.time(), []
    for s in submissions():
        waits = [str(t) for t in range(s["tasks"]) if now < s["starts"][t]]
        if waits:
            lines.append(f"{s['number']}|{','.join(waits)}|PENDING|Priority||{s['name']}")
        for t in range(s["tasks"]):
            if s["starts"][t] <= now < s["ends"][t]:
                lines.append(f"{s['number']}|{t}|RUNNING|None|node{t}|{s['name']}")
            elif s["ends"][t] <= now < s["ends"][t] + 300:  # MinJobAge: what the controller still knows of
                lines.append(f"{s['number']}|{t}|COMPLETED|None|node{t}|{s['name']}")
    time.sleep(random.uniform(0.1, 0.4))
    print("\n".join(lines))


def scancel(words):
    name = [w.split("=", 1)[1] for w in words if w.startswith("--name=")][0]
    if os.path.exists(f"{QUEUE}/{name}.json"):
        os.unlink(f"{QUEUE}/{name}.json")


def sacct(_):
    sys.exit("accounting is disabled")


command = os.path.basename(sys.argv[0])
log(command)
{"sbatch": sbatch, "squeue": squeue, "scancel": scancel, "sacct": sacct}[command](sys.argv[1:])

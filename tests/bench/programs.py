"""The programs that are measured, and what they are given to work on."""
import functools
import json
import os
import pty
import re
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TIMEOUT = 1800


class Absent(Exception):
    """What a row needs is not there."""


def say(text):
    print(time.strftime("%H:%M:%S ") + text, file=sys.stderr, flush=True)


def call(command, **more):
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, timeout=TIMEOUT,
                          **more).stdout


def tool(b, name, *args):
    return call([os.path.join(b.build, "tests/bench", name), *map(str, args)])


def core(b, models, *args):
    """bench_core's lines: a list of (row, {key: number}); profiles are kept as text."""
    lines = []
    for line in tool(b, "bench_core", "--models", models, *args).splitlines():
        if line.startswith(" "):
            lines[-1][1].setdefault("profile", []).append(line)
            continue
        row, *pairs = line.split()
        lines.append((row, {k: number(v) for k, v in (p.split("=", 1) for p in pairs)}))
    return lines


def number(text):
    try:
        return float(text)
    except ValueError:
        return text


@functools.lru_cache(None)
def right_kernel(build):
    """The kernel of OpenBLAS that the daemon runs here, in an environment for others that use the library."""
    out = call([os.path.join(build, "tests/bench/bench_core"), "--threads", "1", "kernel"])
    return dict(os.environ, OPENBLAS_CORETYPE=re.search(r"name=(\S+)", out)[1])


def python(b, *args):
    """torch_pipeline.py's answer; Absent where a library is."""
    report = json.loads(call([sys.executable, "-B", os.path.join(HERE, "torch_pipeline.py"),
                              *map(str, args)], env=right_kernel(b.build)))
    if "absent" in report:
        raise Absent(report["absent"] + " is not installed")
    return report


def pick(lines, row, threads=None):
    return [v for r, v in lines if r == row and threads in (None, v.get("threads"))]


def least(found, key="seconds"):
    return min(v[key] for v in found)


def most(found, key):
    return max(v[key] for v in found)


# ---- rebasind run ----

class Progress(threading.Thread):
    """Reads the progress bar of `rebasind run`: (seconds, fraction, seconds left) as they come."""

    def __init__(self, fd):
        super().__init__(daemon=True)
        self.fd, self.start_time, self.seen = fd, time.monotonic(), []
        self.start()

    def run(self):
        text = ""
        while True:
            try:
                got = os.read(self.fd, 4096)
            except OSError:  # the other end was closed
                return
            if not got:
                return
            text = (text + got.decode(errors="replace"))[-200:]
            found = re.search(r"\] +(\d+) %  (\d+) (s|min) left$", text)
            if found:
                left = float(found[2]) * (60 if found[3] == "min" else 1)
                self.seen.append((time.monotonic() - self.start_time, float(found[1]) / 100, left))


def run_job(b, models, lines, blocks, points, texts, watch=False):
    """`rebasind run`, whole: the job's fields, seconds, CPU seconds, peak memory. watch: what the
    progress bar said instead of the job's fields."""
    spec = {"models": {"a": f"{models}/a", "b": f"{models}/b"},
            "align": {"dataset": texts[0], "max_sequences": lines},
            "interpolate": {"points": points},
            "evaluate": {"task": "mlm", "dataset": texts[1], "max_blocks": blocks}}
    path = b.path("spec.json")
    with open(path, "w") as f:
        json.dump(spec, f)
    ours, theirs = pty.openpty()
    progress, start = Progress(ours), time.monotonic()
    child = subprocess.Popen([os.path.join(b.build, "rebasind"), "run", path, "--workers",
                              str(b.threads)] + ([] if watch else ["--json"]),
                             stdout=subprocess.PIPE, stderr=theirs,
                             env=dict(os.environ, TMPDIR=b.folder, TERM="xterm"))
    os.close(theirs)
    watchdog = threading.Timer(TIMEOUT, child.kill)
    watchdog.daemon = True
    watchdog.start()
    try:
        out = child.stdout.read()
    except BaseException:
        child.kill()
        raise
    finally:
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        watchdog.cancel()
    seconds = time.monotonic() - start
    progress.join(5)
    os.close(ours)
    if child.returncode != 0:
        raise RuntimeError(f"rebasind run ended with {child.returncode}: {out[-500:]!r}")
    job = {} if watch else json.loads(out)
    job.update(seconds=seconds, cpu=usage.ru_utime + usage.ru_stime, seen=progress.seen,
               peak_mb=usage.ru_maxrss * 1024 / 1e6)
    return job


# ---- inputs ----

def make_pair(b, name, shape):
    folder = b.path(name)
    if not os.path.isdir(folder):
        say(f"making the {name} pair")
        os.mkdir(folder)
        for seed, side in enumerate("ab", 1):
            tool(b, "make_model", "model", os.path.join(folder, side), seed, *shape.values())
    return folder


def make_text(b, name, seed, lines, mean, vocabulary=30522):
    path = b.path(name)
    if not os.path.exists(path):
        tool(b, "make_model", "text", path, seed, lines, mean, 128, vocabulary)
    return path


def as_ids(b, kind, model, text, *args):
    path = b.path(f"{kind}.ids")
    tool(b, "make_model", kind, path, model, text, *args)
    return path

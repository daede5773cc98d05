"""Runs the benches and puts their figures into one table. Called by run.sh, which says how."""
import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

from programs import HERE, Absent, call
from rows import ROWS, Bench

def cpu_seconds():
    """All CPUs together since boot: busy, all, stolen by the host."""
    with open("/proc/stat") as f:
        v = [int(x) for x in f.readline().split()[1:]]
    hz = os.sysconf("SC_CLK_TCK")
    return (sum(v) - v[3] - v[4]) / hz, sum(v[:8]) / hz, v[7] / hz


def machine_name():
    with open("/proc/cpuinfo") as f:
        found = re.search(r"model name\s*: (.*)", f.read())
    with open("/proc/meminfo") as f:
        kb = int(f.readline().split()[1])
    return f"{found[1] if found else '?'}, {os.cpu_count()} cores, {kb / 1e6:.0f} GB"


def describe(b, before, started):
    busy, all_, stolen = (x - y for x, y in zip(cpu_seconds(), before))
    children = os.times()
    own = children.children_user + children.children_system + children.user + children.system
    return [f"machine: {machine_name()}; commit {commit()}; {time.strftime('%Y-%m-%d')}; "
            f"{'quick' if b.quick else 'full'} run of {(time.monotonic() - started) / 60:.0f} minutes",
            f"others on the machine meanwhile: {100 * max(0, busy - own) / all_:.0f} % of all CPU time "
            f"(the host took {100 * stolen / all_:.0f} %). Above a few per cent, wall ratios tell of them "
            "as well; CPU ratios hardly"]


def commit():
    try:
        return call(["git", "-C", HERE, "describe", "--always", "--dirty"],
                    stderr=subprocess.DEVNULL).strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def text_table(head, rows):
    width = [max(len(r[i]) for r in [head, *rows]) for i in range(len(head))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(r, width)).rstrip() for r in [head, *rows]]
    return [lines[0], "-" * max(map(len, lines)), *lines[1:]]


def markdown_table(head, rows):
    return ["| " + " | ".join(r) + " |" for r in [head, tuple("---" for _ in head), *rows]]


def render(b, table, title):
    out = [title("As fast as the machine?")] if b.rows else []
    if b.rows:
        out += table(("what", "at least", "wall", "CPU", "measured"), b.rows) + [""]
    for name, head, rows in b.tables:
        out += [title(name), *table(head, rows), ""]
    return "\n".join(out)


def measure(b, wanted):
    for name in wanted:
        try:
            ROWS[name](b)
        except Absent as e:
            b.add(name, "", "not measured", "", str(e))
        except (subprocess.SubprocessError, RuntimeError, OSError) as e:
            b.add(name, "", "failed", "", str(e).replace("\n", " ")[:200])


def stop(signum, frame):
    """Once: a second signal must not interrupt the tidying up."""
    for s in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(s, signal.SIG_IGN)
    sys.exit(128 + signum)


def main():
    p = argparse.ArgumentParser(prog="tests/bench/run.sh")
    p.add_argument("--build", required=True, help=argparse.SUPPRESS)
    p.add_argument("--quick", action="store_true")
    p.add_argument("--only", action="append", choices=ROWS, default=[])
    p.add_argument("--threads", type=int)
    p.add_argument("--markdown")
    p.add_argument("rows", nargs="*", help="the same as --only")
    args = p.parse_args()
    unknown = [row for row in args.rows if row not in ROWS]
    if unknown:
        p.error(f"no row '{unknown[0]}': expected some of {' '.join(ROWS)}")
    for s in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(s, stop)
    before, started = cpu_seconds(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="rebasind-bench-") as folder:
        b = Bench(args, folder)
        measure(b, args.only + args.rows or list(ROWS))
    notes = describe(b, before, started) + b.notes
    print(render(b, text_table, lambda t: t + "\n"))
    print("\n".join(notes) + "\n")
    markdown = render(b, markdown_table, lambda t: f"### {t}\n") + "\n" + "\n".join(
        f"- {n}" for n in notes) + "\n"
    print(markdown)
    if args.markdown:
        with open(args.markdown, "w") as f:
            f.write(markdown)


if __name__ == "__main__":
    main()

#!/usr/bin/python3
"""What the choice of a kernel costs a start of the daemon: seconds until it listens, with a kernel set by the user
(nothing is chosen), where no verdict is kept (the kernel is tried) and where one is, in turn.

    tests/bench/startup.py --build build/bench [--rounds 5]
"""
import argparse
import os
import re
import shutil
import tempfile
import time

from http_requests import running, wait_for
from programs import right_kernel

KINDS = ("set by the user", "kernel tried", "verdict known")


def start(build, folder, log):
    """Seconds until the address is in the log."""
    def address():
        with open(log, encoding="utf-8", errors="replace") as f:
            return re.search(r"http://127\.0\.0\.1:\d+", f.read())

    begun = time.monotonic()
    with running([os.path.join(build, "rebasind"), "serve", "--listen", "127.0.0.1:0", "--data-dir", folder], log):
        wait_for("the daemon", address)
        return time.monotonic() - begun


def compare(build, rounds):
    """Best of so many rounds, by kind."""
    kernel, best = right_kernel(build)["OPENBLAS_CORETYPE"], dict.fromkeys(KINDS, float("inf"))
    os.environ.pop("OPENBLAS_CORETYPE", None)
    with tempfile.TemporaryDirectory() as folder:
        data, log = os.path.join(folder, "data"), os.path.join(folder, "log")
        start(build, data, log)  # making the store is not the kernel's
        for _ in range(rounds):
            for kind in KINDS:
                if kind == KINDS[1]:
                    shutil.rmtree(os.path.join(data, "cache/kernels"))
                if kind == KINDS[0]:
                    os.environ["OPENBLAS_CORETYPE"] = kernel
                best[kind] = min(best[kind], start(build, data, log))
                os.environ.pop("OPENBLAS_CORETYPE", None)
    return best


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--build", required=True)
    p.add_argument("--rounds", type=int, default=5)
    args = p.parse_args()
    best = compare(args.build, args.rounds)
    for kind in KINDS:
        print(f"{kind:16} {1000 * best[kind]:4.0f} ms ({1000 * (best[kind] - best[KINDS[0]]):+.0f} ms)")


if __name__ == "__main__":
    main()

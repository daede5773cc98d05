#!/usr/bin/env python3
"""64 lambdas on two nodes of a real Slurm on this machine (one core each; tests/slurm/cluster.py; root) against one of
them, and what a unit costs beside its computing.

    REBASIND_BIN=build/release/rebasind tests/bench/slurm_nodes.py"""
import os
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "e2e"), os.path.join(HERE, "..", "slurm")]
from cluster import Cluster
from daemon import Daemon, equal

SPEC = {"models": {"a": "bert-a", "b": "bert-b"},
        "align": {"components": ["ff"], "dataset": "align", "max_sequences": 20},
        "interpolate": {"points": 64}, "evaluate": {"task": "mlm", "dataset": "eval", "max_blocks": 256, "control": False}}


def seconds(d, spec):
    job = d.wait_finished(d.post("/v1/jobs", spec).json["id"], 900)
    equal(job["status"], "succeeded", job)
    return job["timings"]


with Cluster() as cluster, tempfile.TemporaryDirectory() as shared:
    with Daemon("--executor", "slurm", "--shared-dir", shared, "--slurm-points-per-task", "16", "--workers", "1",
                env={"SLURM_CONF": cluster.conf}) as d:
        d.register_fixtures()
        cluster.run("scontrol", "update", "nodename=n2", "state=drain", "reason=bench")
        one = seconds(d, SPEC)["evaluating"]
        cluster.run("scontrol", "update", "nodename=n2", "state=resume")
        time.sleep(3)
        two = seconds(d, SPEC)["evaluating"]
        local = seconds(d, {**SPEC, "executor": "local"})["evaluating"]
        print(f"64 points: one node {one:.1f} s, two nodes {two:.1f} s: {one / two:.2f} times; here on one core {local:.1f} s")
        small = {**SPEC, "interpolate": {"points": 2}, "evaluate": {**SPEC["evaluate"], "max_blocks": 1}}
        there, here = seconds(d, small)["evaluating"], seconds(d, {**small, "executor": "local"})["evaluating"]
        with Daemon("--workers", "2") as both:
            both.register_fixtures()
            here2 = seconds(both, SPEC)["evaluating"]
        print(f"here on two cores {here2:.1f} s: {local / here2:.2f} times is what this machine's second core gives at best")
        print(f"a unit of next to nothing: {there:.2f} s there, {here:.2f} s here: {there - here:.2f} s of overhead")

"""As exact as asked: points "auto" gives the barriers of the whole grid, from fewer of its points;
"precision" takes blocks until the barrier is known well enough, and a killed daemon goes on there.
"""
import time

from daemon import Daemon, equal, run, true

SPEC = {"models": {"a": "bert-a", "b": "bert-b"}, "align": {"dataset": "align", "max_sequences": 100},
        "evaluate": {"task": "mlm", "dataset": "eval", "max_blocks": 8}}


def finished(d, points):
    job = d.post("/v1/jobs", {**SPEC, "interpolate": {"points": points}}).json
    job = d.wait_finished(job["id"], timeout=300)
    equal(job["status"], "succeeded", job)
    return job, d.get(f"/v1/jobs/{job['id']}/barrier").json


def test_auto_gives_what_the_grid_gives():
    with Daemon() as d:
        d.register_fixtures()
        _, whole = finished(d, 21)
        job, auto = finished(d, "auto")
        equal(job["spec"]["interpolate"], {"points": "auto"})
        equal(auto["complete"], True)
        true(10 <= len(auto["lambdas"]) < 21, auto["lambdas"])
        for curve in ("aligned", "control"):
            for l, loss in zip(auto["lambdas"], auto[curve]["loss"]):
                equal(loss, whole[curve]["loss"][whole["lambdas"].index(l)], (curve, l))
            equal(auto[curve]["barrier"], whole[curve]["barrier"], curve)
        equal(auto["reduction"], whole["reduction"])
        true(whole["reduction"]["mean_standard_error"] > 0, whole["reduction"])
        equal(whole["blocks"], 8)
        equal(job["summary"]["reduction_standard_error"], auto["reduction"]["mean_standard_error"])


def exact(d, precision, points=5, **evaluate):
    spec = {**SPEC, "interpolate": {"points": points},
            "evaluate": {**SPEC["evaluate"], "max_blocks": 100, **evaluate}}
    if precision is not None:
        spec["evaluate"]["precision"] = precision
    return d.post("/v1/jobs", spec).json["id"]


def barrier_of(d, job):
    job = d.wait_finished(job, timeout=300)
    equal(job["status"], "succeeded", job)
    return d.get(f"/v1/jobs/{job['id']}/barrier").json


def close(found, expected, where):
    true(abs(found - expected) <= 1e-6 * abs(expected), (where, found, expected))


def same(found, expected):
    equal(found["lambdas"], expected["lambdas"])
    equal(found["blocks"], expected["blocks"])
    for curve in ("aligned", "control"):
        for what in ("loss", "standard_error"):
            for x, y in zip(found[curve][what], expected[curve][what]):
                close(x, y, (curve, what))
        for what in ("chord", "mean", "chord_standard_error", "mean_standard_error"):
            close(found[curve]["barrier"][what], expected[curve]["barrier"][what], (curve, what))


def test_precision_takes_rounds_until_it_suffices():
    with Daemon() as d:
        d.register_fixtures()
        rough, never = (barrier_of(d, exact(d, p)) for p in (10, 1e-6))
        same(rough, barrier_of(d, exact(d, None, max_blocks=16)))  # the first round suffices
        same(never, barrier_of(d, exact(d, None)))  # all blocks, then the end
        equal((rough["blocks"], never["blocks"]), (16, 100))
        reached = rough["aligned"]["barrier"]["chord_standard_error"]
        wanted = never["aligned"]["barrier"]["chord_standard_error"] * 1.2
        true(wanted < reached, (wanted, reached))
        some = barrier_of(d, exact(d, wanted))
        true(some["blocks"] in (32, 64, 100), some["blocks"])
        true(some["aligned"]["barrier"]["chord_standard_error"] <= wanted, some)
        both = barrier_of(d, exact(d, wanted, points="auto"))
        true(both["aligned"]["barrier"]["chord_standard_error"] <= wanted, both)
        true(len(both["lambdas"]) < 21 and both["complete"], both["lambdas"])


def test_a_killed_daemon_goes_on_with_its_rounds():
    with Daemon("--workers", "1") as d:
        d.register_fixtures()
        expected = barrier_of(d, exact(d, 1e-6, points="auto"))
        job = exact(d, 1e-6, points="auto")
        for _ in range(3):
            until = time.monotonic() + 60
            while d.get(f"/v1/jobs/{job}").json["phase"] != "evaluating" and time.monotonic() < until:
                time.sleep(0.01)
            time.sleep(0.3)
            d.kill()
            d.start()
        found = barrier_of(d, job)
        equal(found["lambdas"], expected["lambdas"])
        for curve in ("aligned", "control"):
            equal(found[curve]["loss"], expected[curve]["loss"])
            equal(found[curve]["barrier"], expected[curve]["barrier"])


def test_the_dry_run_says_what_it_spares():
    with Daemon() as d:
        d.register_fixtures()
        def estimate(points):
            return d.post("/v1/jobs?dry_run=true", {**SPEC, "interpolate": {"points": points}}).json["estimate"]
        # The machine's rate may be learnt between two answers: only those that it frames are compared.
        plain, auto, after = (estimate(p) for p in (21, "auto", 21))
        while plain != after:
            plain, auto, after = after, estimate("auto"), estimate(21)
        equal(plain["saved_seconds"], 0)
        true(auto["saved_seconds"] > 0, auto)
        equal(plain["least_seconds"], plain["seconds"])
        bound = d.post("/v1/jobs?dry_run=true", {**SPEC, "evaluate": {
            **SPEC["evaluate"], "max_blocks": 100, "precision": 0.1}}).json["estimate"]
        true(0 < bound["least_seconds"] < bound["seconds"], bound)
        spared = plain["seconds"] - auto["seconds"]
        true(abs(spared - auto["saved_seconds"]) < 0.2 * spared, (plain, auto))


if __name__ == "__main__":
    run([test_auto_gives_what_the_grid_gives, test_precision_takes_rounds_until_it_suffices,
         test_a_killed_daemon_goes_on_with_its_rounds, test_the_dry_run_says_what_it_spares])

"""As exact as asked: points "auto" gives the barriers of the whole grid, from fewer of its points.
"""
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


def test_the_dry_run_says_what_it_spares():
    with Daemon() as d:
        d.register_fixtures()
        plain, auto = (d.post("/v1/jobs?dry_run=true", {**SPEC, "interpolate": {"points": p}})
                       .json["estimate"] for p in (21, "auto"))
        equal(plain["saved_seconds"], 0)
        true(auto["saved_seconds"] > 0, auto)
        spared = plain["seconds"] - auto["seconds"]
        true(abs(spared - auto["saved_seconds"]) < 0.2 * spared, (plain, auto))


if __name__ == "__main__":
    run([test_auto_gives_what_the_grid_gives, test_the_dry_run_says_what_it_spares])

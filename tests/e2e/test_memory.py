"""Where all moments do not fit into --memory-limit they are made in groups of layers: the dry run says
so, and the alignment is the same, byte for byte.
"""
from daemon import Daemon, equal, run, true

SPEC = {"models": {"a": "bert-a", "b": "bert-b"},
        "align": {"dataset": "align", "max_sequences": 100, "components": ["ff", "mha", "residual"]}}
FILES = ("alignment.safetensors",)


def aligned(*flags):
    """The dry run's estimate, and digests of what the job leaves."""
    with Daemon(*flags) as d:
        d.register_fixtures()
        estimate = d.post("/v1/jobs?dry_run=true", SPEC).json["estimate"]
        job = d.wait_finished(d.post("/v1/jobs", SPEC).json["id"])
        equal(job["status"], "succeeded", job)
        digests = {a["name"]: a["sha256"] for a in job["artifacts"]}
        again = d.wait_finished(d.post("/v1/jobs", SPEC).json["id"])  # from the moments that were kept
        equal({a["name"]: a["sha256"] for a in again["artifacts"]}["alignment.safetensors"],
              digests["alignment.safetensors"])
        return estimate, digests["alignment.safetensors"], d.log()


def test_groups_of_layers_give_the_same_bytes():
    plain, expected, log = aligned()
    equal((plain["layer_groups"], plain["feature_passes"]), (1, 1))
    true("groups of layers" not in log, log)
    small, found, log = aligned("--memory-limit", "1MiB")
    equal(small["layer_groups"], 4)
    true(small["peak_bytes"] > 1 << 20, small)  # told as it is, if even that does not fit
    equal(log.count("aligning in groups of layers"), 1, log)  # the second job found them
    equal(found, expected)


if __name__ == "__main__":
    run([test_groups_of_layers_give_the_same_bytes])

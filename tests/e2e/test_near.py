"""Near-equivalent maps of post-LN models (METHOD 10): told apart from exact ones everywhere a result is
shown, with barriers over the chord to the original B, and merged folders that are ordinary checkpoints."""
import json

from daemon import FIXTURES, Daemon, equal, problem, run, true

ALIGN = {"components": ["ff", "mha", "residual"], "residual_map": "orthogonal", "equivalence": "near",
         "head_map": "orthogonal", "match": "both", "dataset": "align", "max_sequences": 200}
JOB = {
    "models": {"a": "bert-a", "b": "bert-b"},
    "align": ALIGN,
    "interpolate": {"points": 3},
    "evaluate": {"task": "mlm", "dataset": "eval", "block_size": 48, "max_blocks": 64},
    "outputs": {"merged": [1]},
}


def chord(losses, last):
    return max(loss - (1 - i / 2) * losses[0] - i / 2 * last for i, loss in enumerate(losses))


def near(loss, value):
    true(abs(loss - value) < 1e-9, (loss, value))


def test_told_apart():
    with Daemon("--import-root", "/tmp") as d:
        d.register_fixtures()
        done = d.wait_finished(d.post("/v1/jobs", JOB).json["id"])
        equal(done["status"], "succeeded", done)
        spec, summary = done["spec"]["align"], done["summary"]
        equal((spec["equivalence"], spec["output_head"], spec["decoder"]), ("near", True, "untied"))
        equal((summary["equivalent"], summary["kind"]), (False, "near"), summary)
        true(0 < summary["kl"] < 0.05 and 0.7 < summary["top1_agreement"] < 1, summary)
        barrier = d.get(f"/v1/jobs/{done['id']}/barrier").json
        aligned, control = barrier["aligned"], barrier["control"]
        near(summary["loss_before"], control["loss"][-1])
        near(summary["loss_after"], aligned["loss"][-1])
        true(abs(summary["loss_before"] - summary["loss_after"]) < 0.04, summary)
        true(summary["loss_before"] != summary["loss_after"], summary)
        # Over the chord to the original B; the paired error uses its blocks.
        near(summary["barrier_chord"], chord(aligned["loss"], control["loss"][-1]))
        near(aligned["barrier"]["chord"], summary["barrier_chord"])
        true(aligned["barrier"]["chord_standard_error"] > 0, aligned)
        true(summary["barrier_chord"] < 0.6 * summary["control_barrier_chord"], summary)
        certificate = d.get(f"/v1/jobs/{done['id']}/permutations").json["certificate"]
        equal((certificate["kind"], certificate["equivalent"], certificate["expected"]),
              ("near", False, False))
        for member in ("kl", "top1_agreement", "loss_before", "loss_after"):
            near(certificate[member], summary[member])
        folder = f"{d.data_dir}/jobs/{done['id']}/merged/lambda-1.00"
        with open(f"{folder}/rebasind.json", encoding="utf-8") as f:
            told = json.load(f)["certificate"]
        equal((told["kind"], told["equivalent"], told["loss_after"]),
              ("near", False, certificate["loss_after"]), told)
        with open(f"{folder}/README.md", encoding="utf-8") as f:
            card = f.read()
        true("near" in card and "computes the same function" not in card, card)
        check_folder(d, folder, summary["loss_after"])
        check_without_control(d, done)
        check_reused(d, done)


def check_folder(d, folder, loss):
    """Moved B, written and registered: an ordinary model whose loss is that of the curve's end."""
    r = d.post("/v1/models", {"name": "moved", "path": folder})
    equal(r.status, 201, r)
    job = {"models": {"a": "moved", "b": "moved"}, "align": {"components": []},
           "interpolate": {"points": 2}, "evaluate": {**JOB["evaluate"], "control": False}}
    done = d.wait_finished(d.post("/v1/jobs", job).json["id"])
    losses = d.get(f"/v1/jobs/{done['id']}/barrier").json["aligned"]["loss"]
    true(abs(losses[0] - loss) < 1e-4, (losses, loss))


def check_without_control(d, done):
    """Only the original B's loss is evaluated beside, and not shown as a curve."""
    job = {**JOB, "evaluate": {**JOB["evaluate"], "control": False}, "outputs": {"merged": []}}
    alone = d.wait_finished(d.post("/v1/jobs", job).json["id"])
    for member in ("barrier_chord", "loss_before", "loss_after", "kl"):
        near(alone["summary"][member], done["summary"][member])
    equal(d.get(f"/v1/jobs/{alone['id']}/barrier").json["control"], None)


def check_reused(d, done):
    """An alignment used again stays what it is."""
    again = {"models": JOB["models"], "align": {"from_job": done["id"]},
             "interpolate": JOB["interpolate"], "evaluate": JOB["evaluate"]}
    reused = d.wait_finished(d.post("/v1/jobs", again).json["id"])["summary"]
    for member, value in done["summary"].items():
        equal(reused[member], value, (member, reused))
    exact = {**JOB, "align": {"dataset": "align", "max_sequences": 100}, "outputs": {"merged": []}}
    summary = d.wait_finished(d.post("/v1/jobs", exact).json["id"])["summary"]
    equal((summary["kind"], summary["equivalent"]), ("exact", True), summary)
    true("kl" not in summary, summary)


def test_learned():
    """The turn itself is learned, gains and all; the readers are corrected at the end."""
    with Daemon() as d:
        d.register_fixtures()
        spec = {**JOB, "outputs": {"merged": []}}
        before = d.wait_finished(d.post("/v1/jobs", spec).json["id"])["summary"]
        spec = {**spec, "align": {**ALIGN, "learn": {"steps": 50, "patience": 0}}}
        done = d.wait_finished(d.post("/v1/jobs", spec).json["id"])
        equal(done["status"], "succeeded", done)
        after = done["summary"]
        equal((after["kind"], after["equivalent"]), ("near", False), after)
        true(after["kl"] < 0.05 and abs(after["loss_after"] - after["loss_before"]) < 0.04, after)
        true(after["barrier_chord"] < 0.75 * before["barrier_chord"], (before, after))
        print(f"      control {before['control_barrier_chord']:.2f}, one shot "
              f"{before['barrier_chord']:.2f}, learned {after['barrier_chord']:.2f}")


def test_refusals():
    with Daemon() as d:
        d.register_fixtures()
        for side in "ab":
            equal(d.post("/v1/models", {"name": f"gpt2-{side}", "path":
                         f"{FIXTURES}/models/gpt2-{side}"}).status, 201)
        for models, align, pointer, words in [
            ("bert", {"equivalence": "exact"}, "/align/residual_map", "only permutations"),
            ("bert", {"residual_map": "permutation", "match": "activations"}, "/align/equivalence",
             "residual_map"),
            ("bert", {"output_head": False}, "/align/output_head", "a basis of its own"),
            ("bert", {"fold": True}, "/align/fold", "before each sublayer"),
            ("bert", {"equivalence": "nearly"}, "/align/equivalence", "exact, near"),
            ("gpt2", {}, "/align/equivalence", "keeps the function exactly"),
        ]:
            spec = {**JOB, "models": {"a": f"{models}-a", "b": f"{models}-b"},
                    "align": {**ALIGN, **align}}
            if models == "gpt2":
                spec["evaluate"] = {"task": "clm", "dataset": "eval", "block_size": 64}
            r = d.post("/v1/jobs", spec)
            equal(r.status, 422, r)
            true(any(f["pointer"] == pointer and words in f["detail"] for f in r.json["errors"]), r)


if __name__ == "__main__":
    run([v for k, v in list(globals().items()) if k.startswith("test_")])

"""Three models or more in one job: gpt2-a, gpt2-b and one made from gpt2-a by a random order of its FF units,
which comes back exactly; what is refused; kills at random moments that change no bit."""
import array
import contextlib
import json
import os
import random
import shutil
import sqlite3
import statistics
import struct
import tempfile
import time

from daemon import FIXTURES, Daemon, command, equal, problem, run, true


def copied(source, target):
    """A model's copy to be changed: the file, its bytes, and of each tensor where it lies in them and its shape."""
    shutil.copytree(source, target)
    path = os.path.join(target, "model.safetensors")
    os.chmod(path, 0o644)
    with open(path, "rb") as f:
        data = bytearray(f.read())
    begin = 8 + struct.unpack("<Q", data[:8])[0]
    tensors = {name: (*(begin + x for x in t["data_offsets"]), t["shape"])
               for name, t in json.loads(data[8:begin]).items() if name != "__metadata__"}
    return path, data, tensors


def shuffled(source, target, seed):
    """A GPT-2 that computes the same function: in each layer the FF units in a random order."""
    path, data, tensors = copied(source, target)
    generator = random.Random(seed)
    for name, (_, _, shape) in tensors.items():
        if not name.endswith("mlp.c_fc.weight"):
            continue
        rows, inner = shape
        order = list(range(inner))
        generator.shuffle(order)
        for other, columns in ((name, True), (name.replace("weight", "bias"), True),
                               (name.replace("c_fc", "c_proj"), False)):
            begin, end, _ = tensors[other]
            old = bytes(data[begin:end])
            width = 4 if columns else 4 * rows
            line = inner * width
            data[begin:end] = b"".join(old[at + i * width:at + (i + 1) * width]
                                       for at in range(0, len(old), line) for i in order)
    with open(path, "wb") as f:
        f.write(data)


def noisy(source, target, seed):
    """Another model: to each matrix of the layers as much noise as it has weights."""
    path, data, tensors = copied(source, target)
    generator = random.Random(seed)
    for name, (begin, end, _) in tensors.items():
        if not name.endswith(("c_fc.weight", "c_proj.weight", "c_attn.weight")):
            continue
        weights = array.array("f", bytes(data[begin:end]))
        spread = statistics.pstdev(weights)
        data[begin:end] = array.array("f", (w + generator.gauss(0, spread) for w in weights)).tobytes()
    with open(path, "wb") as f:
        f.write(data)


class Several(Daemon):
    def __init__(self, *flags, **more):
        self.made = tempfile.mkdtemp(prefix="rebasind-made-")
        shuffled(f"{FIXTURES}/models/gpt2-a", f"{self.made}/gpt2-a2", 5)
        super().__init__("--import-root", self.made, *flags, **more)

    def __enter__(self):
        super().__enter__()
        self.register_fixtures()
        for name, root in (("gpt2-a", f"{FIXTURES}/models"), ("gpt2-b", f"{FIXTURES}/models"),
                           ("gpt2-a2", self.made)):
            equal(self.post("/v1/models", {"name": name, "path": f"{root}/{name}"}).status, 201)
        return self

    def __exit__(self, *why):
        shutil.rmtree(self.made, ignore_errors=True)
        return super().__exit__(*why)


LIVE = ("queued", "running")


def spec(reference="universe", **more):
    return {"models": {"anchor": "gpt2-a", "others": ["gpt2-b", "gpt2-a2"]},
            "align": {"components": ["ff", "mha", "residual"], "residual": "all",
                      "reference": reference, "dataset": "align", "max_sequences": 60},
            "interpolate": {"weights": "simplex"},
            "evaluate": {"task": "clm", "dataset": "eval", "block_size": 64, "max_blocks": 4},
            **more}


def submit(d, body):
    reply = d.post("/v1/jobs", body)
    equal(reply.status, 202, reply)
    return reply.json["id"]


def tokens_read(d):
    for line in d.get("/metrics").body.decode().splitlines():
        if line.startswith("rebasind_tokens_processed_total{") and "aligning" in line:
            return float(line.split()[-1])
    return 0  # none yet


def test_three():
    with Several() as d:
        plan = d.post("/v1/jobs?dry_run=true", spec())
        equal(plan.status, 200, plan)
        equal(plan.json["spec"]["models"]["others"], ["gpt2-b", "gpt2-a2"])
        for reference in ("anchor", "universe"):
            before = tokens_read(d)
            job = submit(d, spec(reference, outputs={"merged": [[0.5, 0, 0.5], [0.2, 0.3, 0.5]]}))
            done = d.wait_finished(job)
            equal(done["status"], "succeeded", done)
            true(done["summary"]["equivalent"], done)
            pair = {**spec(), "models": {"a": "gpt2-a", "b": "gpt2-b"}, "interpolate": {"points": 2}}
            del pair["align"]["reference"]
            read = tokens_read(d) - before
            true(read > 0, "no token was counted")
            before = tokens_read(d)
            if reference == "universe":
                d.wait_finished(submit(d, pair))
                # Each model's features once: three models, where a pair has two.
                equal(read * 2, (tokens_read(d) - before) * 3)
            check_answers(d, job, reference)


def check_answers(d, job, reference):
    barrier = d.get(f"/v1/jobs/{job}/barrier").json
    equal(barrier["models"], ["gpt2-a", "gpt2-b", "gpt2-a2"])
    equal(len(barrier["weights"]), 7)
    true("lambdas" not in barrier and barrier["complete"], barrier)
    loss = barrier["aligned"]["loss"]
    # gpt2-a2 is gpt2-a: half of each, brought into one order, is gpt2-a again.
    at = barrier["weights"].index([0.5, 0, 0.5])
    true(abs(loss[at] - loss[0]) < 1e-4 and abs(loss[2] - loss[0]) < 1e-4, loss)
    true(barrier["control"]["loss"][at] > loss[0] + 0.3, barrier)
    for i, w in enumerate(barrier["weights"]):
        expected = loss[i] - sum(x * y for x, y in zip(w, loss[:3]))
        true(abs(barrier["aligned"]["barriers"][i] - (expected if i > 2 else 0)) < 1e-9, barrier)
    top = barrier["aligned"]["barrier"]
    equal(top["chord"], max(barrier["aligned"]["barriers"]))
    true(top["chord_standard_error"] > 0, top)
    csv = d.get(f"/v1/jobs/{job}/barrier", {"Accept": "text/csv"}).body.decode().splitlines()
    true(csv[0].startswith("weight_0,weight_1,weight_2,aligned_loss"), csv)
    equal(len(csv), 8)
    names = [a["name"] for a in d.get(f"/v1/jobs/{job}/artifacts").json["data"]]
    for name in ("alignment.safetensors", "alignment-2.safetensors", "permutations-2.json",
                 "reference.json", "merged/weights-1/model.safetensors"):
        true(name in names, names)
    facts = d.get(f"/v1/jobs/{job}/artifacts/reference.json").json
    equal((facts["reference"], len(facts["models"])), (reference, 3))
    if reference == "universe":
        rounds = facts["objective"]
        true(len(rounds) == facts["rounds"] + 1 and rounds == sorted(rounds), facts)
        true(0 <= facts["cycle_consistency"]["residual"] <= 1, facts)
    else:
        equal([facts[k] for k in ("objective", "rounds", "settled", "cycle_consistency")], [None] * 4)
    first, second = (d.get(f"/v1/jobs/{job}/permutations?model={m}").json for m in ("gpt2-b", "gpt2-a2"))
    equal(d.get(f"/v1/jobs/{job}/permutations").json, first)
    equal(second, d.get(f"/v1/jobs/{job}/artifacts/permutations-2.json").json)
    true(first["groups"] != second["groups"])
    group = d.get(f"/v1/jobs/{job}/correlations/layer.0.ff?model=gpt2-a2").json
    true(group["after"]["mean"] > 0.999, group)  # its units in another order
    problem(d.get(f"/v1/jobs/{job}/correlations?model=gpt2-a"), 404, "not_found")  # the anchor stays
    tar = d.get(f"/v1/jobs/{job}/merged/weights-1.tar")
    equal((tar.status, tar["Content-Type"]), (200, "application/x-tar"))
    true(b"weights-1/model.safetensors" in tar.body[:100000], tar.body[:600])
    equal(d.get(f"/v1/jobs/{job}/merged/weights-2.tar").status, 404)
    verdict = d.get(f"/v1/jobs/{job}").json["summary"]["verdict"]
    best = min(loss[3:])
    equal((verdict["loss"], verdict["best_lambda"]), (best, loss.index(best, 3)))
    equal([p["loss"] for p in verdict["parents"]], [min(loss[:3]), max(loss[:3])])
    weights, sentence = barrier["weights"][loss.index(best, 3)], verdict["sentence"]
    words = "the average of all three" if len(set(weights)) == 1 else f"{barrier['models'][0]}"
    true(words in sentence and "weights no." not in sentence, sentence)
    equal(barrier["verdict"]["sentence"], sentence)
    errors = barrier["aligned"]["barriers_standard_error"]
    true(errors[:3] == [0, 0, 0] and all(e >= 0 for e in errors[3:]), errors)
    highest = barrier["aligned"]["barrier"]
    equal(errors[barrier["weights"].index(highest["chord_weights"])], highest["chord_standard_error"])
    true(verdict["text"] in ("better than both", "between", "worse than both"), verdict)
    told = d.get(f"/v1/jobs/{job}/artifacts/merged/weights-1/rebasind.json").json
    equal(told["weights"], [0.2, 0.3, 0.5])
    equal([i["name"] for i in told["inputs"]][:3], barrier["models"])
    card = d.get(f"/v1/jobs/{job}/artifacts/merged/weights-1/README.md").body.decode()
    true("| gpt2-a2 | 0.5 |" in card, card)


def maps_of(d, job, model=""):
    groups = d.get(f"/v1/jobs/{job}/permutations{model}").json["groups"]
    return {g["name"]: g["index"] for g in groups}


def count_cycles(ab, bc, ac):
    return {group: sum(bc[group][j] == direct[i] for i, j in enumerate(ab[group])) / len(direct)
            for group, direct in ac.items()}


def test_cycles():
    """How often three pairwise jobs agree around their triangle is what one job with `cycles` says, to the anchor or to
    each other; nothing else of it changes, and the plan tells what it costs. One model in three orders agrees always."""
    with Several() as d:
        shuffled(f"{FIXTURES}/models/gpt2-a", f"{d.made}/gpt2-a3", 6)
        noisy(f"{FIXTURES}/models/gpt2-a", f"{d.made}/gpt2-n", 7)
        for name in ("gpt2-a3", "gpt2-n"):
            equal(d.post("/v1/models", {"name": name, "path": f"{d.made}/{name}"}).status, 201)
        pairs = {}
        for a, b in (("gpt2-a", "gpt2-b"), ("gpt2-a", "gpt2-n"), ("gpt2-b", "gpt2-n")):
            align = {k: v for k, v in spec()["align"].items() if k != "reference"}
            job = submit(d, {**spec(), "models": {"a": a, "b": b}, "align": align, "interpolate": {"points": 2}})
            equal(d.wait_finished(job)["status"], "succeeded")
            pairs[a, b] = maps_of(d, job)
        expected = count_cycles(pairs["gpt2-a", "gpt2-b"], pairs["gpt2-b", "gpt2-n"], pairs["gpt2-a", "gpt2-n"])
        told, jobs = {}, {}
        for name, more in (("anchor", {}), ("cycles", {"cycles": True}), ("universe", {"reference": "universe"})):
            body = spec("anchor", interpolate={"weights": [[0.2, 0.3, 0.5]]},
                        models={"anchor": "gpt2-a", "others": ["gpt2-b", "gpt2-n"]})
            body["align"].update(more)
            told[name] = d.post("/v1/jobs?dry_run=true", body).json
            jobs[name] = submit(d, body)
            equal(d.wait_finished(jobs[name])["status"], "succeeded")
        facts = {name: d.get(f"/v1/jobs/{job}/artifacts/reference.json").json for name, job in jobs.items()}
        equal(facts["anchor"]["cycle_consistency"], None)
        for name in ("cycles", "universe"):
            shares = facts[name]["cycle_consistency"]
            equal(sorted(shares), sorted(expected))
            for group, share in shares.items():
                true(abs(share - expected[group]) < 1e-12, (name, group, share, expected[group]))
        true(all(0 <= x < 1 for x in expected.values()) and any(x > 0 for x in expected.values()), expected)
        equal(facts["cycles"]["reference"], "anchor")
        equal([facts["cycles"][k] for k in ("objective", "rounds", "settled")], [None] * 3)
        for model in ("", "?model=gpt2-n"):
            equal(maps_of(d, jobs["cycles"], model), maps_of(d, jobs["anchor"], model))
        equal(results(d, jobs["cycles"])[:2], results(d, jobs["anchor"])[:2])
        cost = {name: (t["estimate"]["peak_bytes"], t["estimate"]["seconds"]) for name, t in told.items()}
        true(cost["anchor"][0] < cost["cycles"][0] <= cost["universe"][0], cost)
        true(cost["anchor"][1] < cost["cycles"][1] < cost["universe"][1], cost)
        equal((told["cycles"]["spec"]["align"]["cycles"], "cycles" in told["anchor"]["spec"]["align"]), (True, False))

        body = {**spec("anchor"), "models": {"anchor": "gpt2-a", "others": ["gpt2-a2", "gpt2-a3"]}}
        body["align"]["cycles"] = True
        job = submit(d, body)
        equal(d.wait_finished(job)["status"], "succeeded")
        shares = d.get(f"/v1/jobs/{job}/artifacts/reference.json").json["cycle_consistency"]
        equal(set(shares.values()), {1}, shares)

        pair = {**spec(), "models": {"a": "gpt2-a", "b": "gpt2-b"}, "interpolate": {"points": 2},
                "align": {**align, "cycles": True}}
        reply = d.post("/v1/jobs", pair)
        problem(reply, 422, "invalid_request", "/align/cycles")
        true("three models" in reply.json["errors"][0]["detail"], reply)
        matrix = {"models": ["gpt2-a", "gpt2-b", "gpt2-a2"], "spec": {k: v for k, v in pair.items() if k != "models"}}
        problem(d.post("/v1/jobs/matrix", matrix), 422, "invalid_request")


def test_run_tells_cycles():
    """`rebasind run`: a line per group behind the table, and with --json the whole of reference.json."""
    made = tempfile.mkdtemp(prefix="rebasind-made-")
    try:
        for i in (2, 3):
            shuffled(f"{FIXTURES}/models/gpt2-a", f"{made}/gpt2-a{i}", i)
        body = spec("anchor", models={"anchor": f"{FIXTURES}/models/gpt2-a", "others": [f"{made}/gpt2-a2", f"{made}/gpt2-a3"]},
                    interpolate={"weights": [[0.2, 0.3, 0.5]]})
        body["align"].update(cycles=True, components=["ff", "mha"], dataset=f"{FIXTURES}/data/align.txt")
        del body["align"]["residual"]
        body["evaluate"]["dataset"] = f"{FIXTURES}/data/eval.txt"

        def tell(*flags):
            with open(f"{made}/spec.json", "w", encoding="utf-8") as f:
                json.dump(body, f)
            said = command("run", f"{made}/spec.json", *flags)
            equal(said.returncode, 0, said.stderr)
            return said.stdout

        words = tell()
        true("pairwise alignments agree around triangles in" in words, words)
        true("layer.0.ff    100.0 %" in words and words.count("100.0 %") == 8, words)
        said = json.loads(tell("--json"))
        equal((said["reference"]["reference"], set(said["reference"]["cycle_consistency"].values())), ("anchor", {1}))
        body["align"]["cycles"] = False
        words = tell()
        true("highest barrier" in words and "triangles" not in words, words)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def test_the_same_twice():
    with Several() as d:
        body = {**spec("anchor"), "models": {"anchor": "gpt2-a", "others": ["gpt2-b", "gpt2-a"]}}
        done = d.wait_finished(submit(d, body))
        equal(done["status"], "succeeded", done)
        true("'gpt2-a' and 'gpt2-a' (0 and 2)" in done["warnings"][0], done["warnings"])
        true("two models of the job are the same" in d.log())


def test_refusals():
    with Several() as d:
        for more, pointer, words in [
            ({"models": {"anchor": "nobody", "others": ["gpt2-b", "gpt2-a2"]}}, "/models/anchor", "nobody"),
            ({"models": {"anchor": "gpt2-a", "others": ["gpt2-b", "nobody"]}}, "/models/others/1",
             "nobody"),
            ({"interpolate": {"weights": [[0.5, 0.4, 0]]}}, "/interpolate/weights/0", "sum of 0.9"),
            ({"interpolate": {"weights": [[0.5, 0.5]]}}, "/interpolate/weights", "3 weights"),
            ({"interpolate": {"points": "auto"}}, "/interpolate/points", "for two"),
            ({"models": {"anchor": "gpt2-a", "others": ["gpt2-b", "bert-a"]}}, "/models", "bert-a"),
        ]:
            reply = d.post("/v1/jobs", {**spec(), **more})
            equal(reply.status, 422, reply)
            true(any(f["pointer"] == pointer and words in f["detail"]
                     for f in reply.json.get("errors", [])), reply)


LEARNS = {"components": ["ff", "mha", "residual"], "residual": "all", "preset": "learned", "dataset": "align",
          "max_sequences": 40, "max_length": 64, "learn": {"steps": 6, "batch_tokens": 128}}


def test_learned():
    """Each moved model is learned with the anchor; a curve of its own, and the same bits over kills."""
    body = spec(interpolate={"weights": "centroid"}, align=LEARNS)
    with Several() as d:
        job = submit(d, body)
        done = d.wait_finished(job)
        equal(done["status"], "succeeded", done)
        true(done["summary"]["equivalent"], done)
        true(done["timings"]["learning"] > 0, done["timings"])
        curves = [d.get(f"/v1/jobs/{job}/learning?model={m}").json for m in ("gpt2-b", "gpt2-a2")]
        for curve in curves:
            equal((curve["complete"], curve["steps_done"]), (True, 6), curve)
        true(curves[0]["points"] != curves[1]["points"], curves)
        equal(d.get(f"/v1/jobs/{job}/learning").json, curves[0])
        problem(d.get(f"/v1/jobs/{job}/learning?model=gpt2-a"), 404, "not_found")
        names = [a["name"] for a in d.get(f"/v1/jobs/{job}/artifacts").json["data"]]
        for name in ("learning.json", "learning-2.json", "alignment.safetensors", "alignment-2.safetensors"):
            true(name in names, names)
        for model in ("gpt2-b", "gpt2-a2"):
            learned = d.get(f"/v1/jobs/{job}/alignment?model={model}").json["learned"]
            equal(learned["steps"], 6, learned)
        # Maps learned for one model are not the matched ones, and help where there is something to gain.
        matched = submit(d, spec("anchor", interpolate={"weights": "centroid"},
                                 align={**{k: v for k, v in LEARNS.items() if k != "learn"}, "preset": "best"}))
        equal(d.wait_finished(matched)["status"], "succeeded")
        halves = [d.get(f"/v1/jobs/{j}/barrier").json["aligned"]["barrier"]["chord"] for j in (job, matched)]
        true(halves[0] < halves[1], halves)
        expected = results(d, job)
    random.seed(5)
    with Several() as d:
        job, killed = submit(d, body), set()
        while len(killed) < 2 and status_of(d, job) in LIVE:
            state = d.get(f"/v1/jobs/{job}").json
            files = os.listdir(f"{d.data_dir}/jobs/{job}") if os.path.isdir(f"{d.data_dir}/jobs/{job}") else []
            at = "second" if "learning.json" in files and "learning.state" in files and state["phase"] == "learning" else state["phase"]
            if state["phase"] == "learning" and at not in killed:
                killed.add(at)
                d.kill()
                d.start()
            time.sleep(0.05)
        true(killed, "it was never killed while it learned")
        equal(d.wait_finished(job)["status"], "succeeded")
        equal(results(d, job), expected)


def test_precision():
    """Blocks in rounds over all weights; the same losses as of so many blocks asked for."""
    body = spec("anchor", interpolate={"weights": "centroid"})
    body["evaluate"] = {**body["evaluate"], "max_blocks": 64, "precision": 0.12}
    with Several() as d:
        job = submit(d, body)
        equal(d.wait_finished(job)["status"], "succeeded")
        told = d.get(f"/v1/jobs/{job}/barrier").json
        blocks = told["blocks"]
        true(blocks in (16, 32), blocks)
        true(told["aligned"]["barrier"]["chord_standard_error"] <= 0.12, told["aligned"]["barrier"])
        plain = dict(body, evaluate={**body["evaluate"], "max_blocks": blocks})
        del plain["evaluate"]["precision"]
        other = submit(d, plain)
        equal(d.wait_finished(other)["status"], "succeeded")
        rest = d.get(f"/v1/jobs/{other}/barrier").json
        for i, loss in enumerate(told["aligned"]["loss"]):
            true(abs(loss - rest["aligned"]["loss"][i]) < 1e-9, (i, loss, rest["aligned"]["loss"][i]))
        equal(told["aligned"]["barrier"]["chord_weights"], rest["aligned"]["barrier"]["chord_weights"])


def changed(d, sql):
    """The store without what the statement takes away, as if it had never been written."""
    d.kill()
    with contextlib.closing(sqlite3.connect(f"{d.data_dir}/rebasind.db")) as store:
        with store:
            rows = store.execute(sql).rowcount
    d.start()
    return rows


def test_errors_are_kept():
    """A finished job's errors are read from its result: the same bits as from the blocks of all points, which it no
    longer needs; a job of an earlier version, which kept none, has them from the blocks."""
    pair = {**spec(), "models": {"a": "gpt2-a", "b": "gpt2-b"}, "interpolate": {"points": 5},
            "align": {k: v for k, v in spec()["align"].items() if k != "reference"}}
    with Several() as d:
        folds = {**pair, "align": {**pair["align"], "fold": True}}  # a third curve
        jobs = [submit(d, spec("anchor")), submit(d, pair), submit(d, folds)]
        for job in jobs:
            equal(d.wait_finished(job)["status"], "succeeded")
        told = [d.get(f"/v1/jobs/{job}/barrier").json for job in jobs]
        tables = [d.get(f"/v1/jobs/{job}/barrier", {"Accept": "text/csv"}).body for job in jobs]
        for job, one, table in zip(jobs, told, tables):
            true(one["blocks"] == 4 and one["aligned"]["barrier"]["chord_standard_error"] > 0, one)
            equal(d.get(f"/v1/jobs/{job}/artifacts/barrier.json").json, one)
            equal(d.get(f"/v1/jobs/{job}/artifacts/barrier.csv").body, table)
        equal(changed(d, "UPDATE stages SET product = '{}' WHERE stage = 'writing'"), 3)
        for job, one, table in zip(jobs, told, tables):
            equal(d.get(f"/v1/jobs/{job}/barrier").json, one)
            equal(d.get(f"/v1/jobs/{job}/barrier", {"Accept": "text/csv"}).body, table)
        again = d.post(f"/v1/jobs/{jobs[0]}/retry", {}).json["id"]
        equal(d.wait_finished(again)["status"], "succeeded")
        equal({**d.get(f"/v1/jobs/{again}/barrier").json, "job": jobs[0]}, told[0])
    with Several() as d:
        job = submit(d, spec("anchor"))
        equal(d.wait_finished(job)["status"], "succeeded")
        told = d.get(f"/v1/jobs/{job}/barrier").json
        true(changed(d, "DELETE FROM point_blocks") >= 7)
        equal(d.get(f"/v1/jobs/{job}/barrier").json, told)


def test_alignments_are_used_again():
    """from_job and a retry take the alignments of all moved models, whatever maps they are: other weights cost their
    evaluation alone, and have the same bits as in the job that aligned."""
    best = {"preset": "best", "components": ["ff", "mha", "residual"], "dataset": "align", "max_sequences": 40, "cycles": True}
    with Several() as d:
        for align in (spec("anchor")["align"], best):
            first = submit(d, spec(align=align, interpolate={"weights": [[0.2, 0.3, 0.5], [0.5, 0.5, 0]]}))
            equal(d.wait_finished(first)["status"], "succeeded")
            again = submit(d, spec(align={"from_job": first}, interpolate={"weights": [[0.5, 0.5, 0], [0, 0.5, 0.5]]},
                                   outputs={"merged": [[0.5, 0.5, 0]]}))
            retried = d.post(f"/v1/jobs/{first}/retry", {}).json["id"]
            told = [d.get(f"/v1/jobs/{first}/barrier").json]
            for job in (again, retried):
                end = d.wait_finished(job)
                equal((end["status"], end["warnings"], end["summary"]["equivalent"]), ("succeeded", [], True), end)
                true("aligning" not in end["timings"] and "solving" not in end["timings"], end["timings"])
                told.append(d.get(f"/v1/jobs/{job}/barrier").json)
                for model in ("gpt2-b", "gpt2-a2"):
                    equal(maps_of(d, job, f"?model={model}"), maps_of(d, first, f"?model={model}"))
                equal(d.get(f"/v1/jobs/{job}/artifacts/reference.json").json,
                      d.get(f"/v1/jobs/{first}/artifacts/reference.json").json)
            equal({**told[2], "job": first}, told[0])
            for curve in ("aligned", "control"):
                loss = [t[curve]["loss"] for t in told]
                equal(loss[1][:3], loss[0][:3])
                equal(loss[1][3], loss[0][4])  # 0.5, 0.5, 0
        swapped = {**spec(align={"from_job": first}), "models": {"anchor": "gpt2-a", "others": ["gpt2-a2", "gpt2-b"]}}
        warned = d.post("/v1/jobs", swapped).json["warnings"]
        true(len(warned) == 1 and "model_b" in warned[0], warned)
        pair = {**spec(), "models": {"a": "gpt2-a", "b": "gpt2-b"}, "align": {"components": ["ff"], "dataset": "align"},
                "interpolate": {"points": 2}}
        job = submit(d, pair)
        equal(d.wait_finished(job)["status"], "succeeded")
        reply = d.post("/v1/jobs", spec(align={"from_job": job}))
        problem(reply, 422, "invalid_request", "/align/from_job")
        true("moved 1 of its models; expected 2" in reply.json["errors"][0]["detail"], reply)


def status_of(d, job):
    return d.get(f"/v1/jobs/{job}").json["status"]


def known(d, job):
    return [x for x in d.get(f"/v1/jobs/{job}/barrier").json["aligned"]["loss"] if x is not None]


def results(d, job):
    barrier = d.get(f"/v1/jobs/{job}/barrier").json
    digests = {a["name"]: a["sha256"] for a in d.get(f"/v1/jobs/{job}/artifacts").json["data"]
               if a["name"].startswith("alignment")}  # merged ones say which job made them
    return barrier["aligned"]["loss"], barrier["control"]["loss"], digests


def test_kills_change_no_bit():
    random.seed(3)
    body = spec(outputs={"merged": [[0.2, 0.3, 0.5]]})
    with Several() as d:
        job = submit(d, body)
        equal(d.wait_finished(job)["status"], "succeeded")
        expected = results(d, job)
    with Several() as d:
        job = submit(d, body)
        for kills in range(4):  # a job that gets nowhere between kills is given up
            before = len(known(d, job))
            while kills > 0 and len(known(d, job)) == before and status_of(d, job) in LIVE:
                time.sleep(0.02)
            time.sleep(random.uniform(0, 0.2))
            d.kill()
            d.start()
        equal(d.wait_finished(job)["status"], "succeeded")
        equal(results(d, job), expected)


if __name__ == "__main__":
    run([test_three, test_cycles, test_run_tells_cycles, test_the_same_twice, test_refusals, test_learned, test_precision,
         test_errors_are_kept, test_alignments_are_used_again, test_kills_change_no_bit])

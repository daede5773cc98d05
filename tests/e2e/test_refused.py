"""Inputs that cannot be used are refused with the name of what is wrong, and the daemon serves on."""
import json
import os
import shutil
import struct
import tempfile

from daemon import FIXTURES, Daemon, equal, problem, run, true

GOOD = f"{FIXTURES}/models/bert-a"


class Folder:
    """A copy of a model that can be spoilt, below an import root of its own."""

    def __init__(self, root, name, source=GOOD):
        self.path = os.path.join(root, name)
        shutil.copytree(source, self.path)

    def file(self, name):
        return os.path.join(self.path, name)

    def config(self, **members):
        c = json.load(open(self.file("config.json")))
        c.update(members)
        json.dump(c, open(self.file("config.json"), "w"))

    def header(self, change):
        """Lets change(dict) rewrite the safetensors header; the data stays as it is."""
        data = open(self.file("model.safetensors"), "rb").read()
        n = struct.unpack("<Q", data[:8])[0]
        header = json.loads(data[8:8 + n])
        rest = change(header, data[8 + n:])
        text = json.dumps(header).encode()
        with open(self.file("model.safetensors"), "wb") as f:
            f.write(struct.pack("<Q", len(text)) + text + (rest if rest is not None else data[8 + n:]))


def drop(name):
    """Takes the last bytes of the data, and with them the tensor that lies there, away."""
    def change(header, data):
        begin, end = header[name]["data_offsets"]
        del header[name]
        for t in header.values():
            if "data_offsets" in t and t["data_offsets"][0] >= end:
                t["data_offsets"] = [x - (end - begin) for x in t["data_offsets"]]
        return data[:begin] + data[end:]
    return change


def reshape(name, shape):
    def change(header, data):
        header[name]["shape"] = shape
    return change


FF = "bert.encoder.layer.1.intermediate.dense.weight"

# what is done to the folder, the code, words of the detail
DAMAGES = [
    ("no-config", lambda f: os.unlink(f.file("config.json")), None, ["config.json"]),
    ("no-weights", lambda f: os.unlink(f.file("model.safetensors")), None, ["model.safetensors"]),
    ("no-vocab", lambda f: os.unlink(f.file("vocab.txt")), None, ["vocab.txt"]),
    ("cut", lambda f: os.truncate(f.file("model.safetensors"), 3000000), "invalid_safetensors",
     ["model.safetensors"]),
    ("rubbish", lambda f: open(f.file("model.safetensors"), "wb").write(b"\xff" * 5000),
     "invalid_safetensors", ["model.safetensors"]),
    ("empty", lambda f: open(f.file("model.safetensors"), "wb").close(), "invalid_safetensors",
     ["model.safetensors"]),
    ("not-json", lambda f: open(f.file("config.json"), "w").write("{"), "invalid_model_config",
     ["config.json"]),
    ("no-heads", lambda f: f.config(num_attention_heads=5), "invalid_model_config",
     ["hidden_size", "5"]),
    ("other-type", lambda f: f.config(model_type="xlnet"), "invalid_model_config", ["xlnet"]),
    ("missing-tensor", lambda f: f.header(drop(FF)), "missing_tensor", [FF]),
    ("wrong-shape", lambda f: f.header(reshape(FF, [256, 256])), "shape_mismatch",
     [FF, "[256, 256]", "[512, 128]"]),
    ("fewer-layers", lambda f: f.config(num_hidden_layers=3), "missing_tensor", ["layer.3"]),
    ("same-token-twice", lambda f: open(f.file("vocab.txt"), "a").write("[MASK]\n"),
     "invalid_vocabulary", ["[MASK]"]),
    ("no-mask", lambda f: open(f.file("vocab.txt"), "w").write("[UNK]\n[CLS]\n[SEP]\n[PAD]\na\n"),
     "invalid_vocabulary", ["[MASK]"]),
]


def serves_on(d):
    equal(d.get("/readyz").status, 200)
    equal(d.get("/v1/models").status, 200)


def test_damaged_models():
    root = tempfile.mkdtemp(prefix="rebasind-damaged-")
    try:
        with Daemon("--import-root", root) as d:
            for name, damage, code, words in DAMAGES:
                folder = Folder(root, name)
                damage(folder)
                r = d.post("/v1/models", {"name": name, "path": folder.path})
                body = problem(r, 422, code or "invalid_request")
                for word in words:
                    true(word in body["detail"], (name, word, body["detail"]))
                problem(d.get(f"/v1/models/{name}"), 404, "not_found")
                serves_on(d)
            equal(d.get("/v1/models").json["data"], [])
    finally:
        shutil.rmtree(root)


def test_import_roots():
    root = tempfile.mkdtemp(prefix="rebasind-roots-")
    try:
        os.symlink(GOOD, f"{root}/link-out")
        inside = Folder(root, "inside")
        os.unlink(inside.file("vocab.txt"))
        os.symlink("/etc/passwd", inside.file("vocab.txt"))
        with Daemon(import_root=root) as d:
            for path in (f"{root}/link-out", GOOD, "/etc", f"{root}/../{os.path.basename(root)}x",
                         f"{root}/inside", f"{root}/none", "/proc/self/root"):
                body = problem(d.post("/v1/models", {"name": "m", "path": path}), 422,
                               "invalid_request", "/path")
                true(path in body["detail"] or "root" in body["detail"], body)
            for path in ("/etc/passwd", f"{root}/inside/vocab.txt"):
                problem(d.post("/v1/datasets", {"name": "d", "path": path}), 422,
                        "invalid_request", "/path")
            serves_on(d)
        with Daemon(import_root=None) as d:
            body = problem(d.post("/v1/models", {"name": "m", "path": GOOD}), 422,
                           "invalid_request", "/path")
            true("--import-root" in body["detail"], body)
    finally:
        shutil.rmtree(root)


def test_unusable_datasets():
    root = tempfile.mkdtemp(prefix="rebasind-texts-")
    texts = [
        ("empty", b"", {}, ["no usable line"]),
        ("blank", b"\n   \n\t\n", {}, ["no usable line"]),
        ("no-field", b'{"a":"b"}\n', {"format": "jsonl", "text": "text"}, ["text", "1"]),
        ("no-json", b'{"text":"b"}\n{"text"\n', {"format": "jsonl", "text": "text"}, ["2"]),
        ("no-column", b"a\tb\n1\t2\n", {"format": "tsv", "text": "text"}, ["text"]),
        ("cells", b"text\tlabel\nx\t1\ny\n", {"format": "tsv", "text": "text", "label": "label"},
         ["3"]),
        ("label", b"text\tlabel\nx\tone\n", {"format": "tsv", "text": "text", "label": "label"},
         ["label", "one"]),
    ]
    try:
        with Daemon("--import-root", root) as d:
            for name, data, fields, words in texts:
                path = os.path.join(root, name)
                open(path, "wb").write(data)
                body = problem(d.post("/v1/datasets", {"name": name, "path": path, **fields}), 422,
                               "invalid_dataset")
                for word in words:
                    true(word in body["detail"], (name, word, body["detail"]))
                serves_on(d)
            equal(d.get("/v1/datasets").json["data"], [])
    finally:
        shutil.rmtree(root)


def other_vocabulary(folder):
    lines = open(folder.file("vocab.txt")).read().split("\n")
    lines[300], lines[301] = lines[301], lines[300]
    open(folder.file("vocab.txt"), "w").write("\n".join(lines))


def test_jobs_that_cannot_run():
    root = tempfile.mkdtemp(prefix="rebasind-pairs-")
    try:
        with Daemon("--import-root", root) as d:
            d.register_fixtures()
            other_vocabulary(swapped := Folder(root, "swapped"))
            (cased := Folder(root, "cased"))
            c = json.load(open(cased.file("tokenizer_config.json")))
            json.dump({**c, "do_lower_case": False}, open(cased.file("tokenizer_config.json"), "w"))
            for name, path in (("swapped", swapped.path), ("cased", cased.path),
                               ("authors-a", f"{FIXTURES}/models/authors-a"),
                               ("overlap-a", f"{FIXTURES}/models/overlap-a"),
                               ("overlap-b", f"{FIXTURES}/models/overlap-b")):
                equal(d.post("/v1/models", {"name": name, "path": path}).status, 201)
            for name, fields in (("authors", {"format": "jsonl", "text": "sentence",
                                              "label": "label"}),
                                 ("unlabelled", {"format": "jsonl", "text": "sentence"})):
                equal(d.post("/v1/datasets", {"name": name, **fields, "path":
                             f"{FIXTURES}/data/authors.jsonl"}).status, 201)
            open(f"{root}/short.txt", "w").write("one two\n")
            equal(d.post("/v1/datasets", {"name": "short", "path": f"{root}/short.txt"}).status, 201)
            good = {"models": {"a": "bert-a", "b": "bert-b"}, "align": {"dataset": "align"},
                    "evaluate": {"task": "mlm", "dataset": "eval"}}
            pair = lambda a, b: {"models": {"a": a, "b": b}}
            labels = lambda task, data: {"evaluate": {"task": task, "dataset": data}}
            refusals = [
                (pair("bert-a", "none"), "invalid_request", "/models/b", ["none"]),
                (pair("bert-a", "swapped"), "models_differ", "/models", ["301"]),
                (pair("bert-a", "cased"), "models_differ", "/models", ["do_lower_case"]),
                (pair("bert-a", "authors-a"), "models_differ", "/models", ["head"]),
                (pair("authors-a", "overlap-a"), "models_differ", "/models",
                 ["num_labels", "4", "1"]),
                ({"align": {"dataset": "none"}}, "invalid_request", "/align/dataset", ["none"]),
                ({"align": {"dataset": "align", "max_length": 49}}, "invalid_request",
                 "/align/max_length", ["48", "49"]),
                ({"align": {"from_job": "job_019a2c9e-7c1d-7b3e-8f00-1234567890ab"}},
                 "invalid_request", "/align/from_job", ["job_019a2c9e"]),
                ({"evaluate": {"task": "mlm", "dataset": "eval", "block_size": 64}},
                 "invalid_request", "/evaluate/block_size", ["48", "64"]),
                (labels("mlm", "short"), "invalid_dataset", "/evaluate/dataset", ["short"]),
                (labels("classification", "authors"), "head_mismatch", "/evaluate/task", []),
                (labels("classification", "unlabelled"), "invalid_request", "/evaluate/dataset",
                 ["label"]),
                ({**pair("authors-a", "authors-a"), **labels("regression", "authors")},
                 "head_mismatch", "/evaluate/task", []),
                ({**pair("authors-a", "authors-a"), **labels("mlm", "eval")}, "head_mismatch",
                 "/evaluate/task", []),
            ]
            for change, code, pointer, words in refusals:
                r = d.post("/v1/jobs", {**good, **change})
                body = problem(r, 422, code, pointer)
                for word in words:
                    true(word in json.dumps(body), (change, word, body))
                serves_on(d)
            equal(d.get("/v1/jobs").json["data"], [])
            unheard = {"models": {"a": "aa", "b": "bb"}, "align": {"dataset": "cc"},
                       "evaluate": {"task": "mlm", "dataset": "dd"}}
            faults = lambda path, body: [(e["pointer"], e["detail"].split("'")[1]) for e in
                                         problem(d.post(path, body), 422, "invalid_request")["errors"]]
            equal(faults("/v1/jobs", unheard), [("/models/a", "aa"), ("/models/b", "bb"), ("/align/dataset", "cc"),
                                                ("/evaluate/dataset", "dd")])
            equal(faults("/v1/jobs", {**unheard, "align": {"from_job": "job_019a2c9e-7c1d-7b3e-8f00-1234567890ab"}})[2],
                  ("/align/from_job", "job_019a2c9e-7c1d-7b3e-8f00-1234567890ab"))
            equal(faults("/v1/jobs/batch", {"jobs": [good, {**good, **pair("aa", "bb")}]}),
                  [("/jobs/1/models/a", "aa"), ("/jobs/1/models/b", "bb")])
            equal(faults("/v1/sweeps", {"spec": {**good, **pair("bert-a", "bb")}, "grid": {"align.dataset": ["cc"]}}),
                  [("/spec/models/b", "bb"), ("/grid/align.dataset/0", "cc")])
            batch = d.post("/v1/jobs/batch", {"jobs": [good, {**good, **pair("bert-a", "swapped")}]})
            problem(batch, 422, "models_differ", "/jobs/1/models")
            equal(d.get("/v1/jobs").json["data"], [])
            r = d.post("/v1/jobs?dry_run=true", good)
            equal(r.status, 200, r)
            equal(r.json["spec"]["align"]["max_length"], 48, r)
    finally:
        shutil.rmtree(root)


def test_inputs_that_change_later():
    """Files imported in place may change after a job was accepted: the job fails and says so."""
    root = tempfile.mkdtemp(prefix="rebasind-later-")
    try:
        model = Folder(root, "model")
        with Daemon("--import-root", root, "--workers", "1") as d:
            d.register_fixtures()
            equal(d.post("/v1/models", {"name": "model", "path": model.path}).status, 201)
            spec = {"models": {"a": "bert-a", "b": "model"},
                    "align": {"dataset": "align", "max_sequences": 4000},
                    "evaluate": {"task": "mlm", "dataset": "eval", "max_blocks": 8}}
            blocker = d.post("/v1/jobs", {**spec, "models": {"a": "bert-a", "b": "bert-b"}}).json["id"]
            other = d.post("/v1/jobs", {**spec, "models": {"a": "bert-b", "b": "bert-a"}}).json["id"]
            job = d.post("/v1/jobs", spec).json["id"]
            data = bytearray(open(model.file("model.safetensors"), "rb").read())
            data[-1] ^= 1
            open(model.file("model.safetensors"), "wb").write(data)
            for waiting in (blocker, other):
                d.post(f"/v1/jobs/{waiting}/cancel")
            final = d.wait_finished(job)
            equal((final["status"], final["error"]["code"]), ("failed", "conflict"), final["error"])
            true("'model'" in final["error"]["detail"], final["error"])
            serves_on(d)
            # Cut short while it is mapped and read.
            cut = Folder(root, "cut")
            equal(d.post("/v1/models", {"name": "cut", "path": cut.path}).status, 201)
            job = d.post("/v1/jobs", {**spec, "models": {"a": "bert-a", "b": "cut"},
                                      "align": {"dataset": "align"}}).json["id"]
            while d.get(f"/v1/jobs/{job}").json["phase"] != "aligning":
                pass
            os.truncate(cut.file("model.safetensors"), 4096)
            final = d.wait_finished(job)
            equal((final["status"], final["error"]["code"]), ("failed", "io_error"), final)
            true("model.safetensors" in final["error"]["detail"], final["error"])
            serves_on(d)
    finally:
        shutil.rmtree(root)


def poke(folder, tensor, value):
    """Puts value in the tensor's first element (F32)."""
    path = folder.file("model.safetensors")
    with open(path, "r+b") as f:
        n = struct.unpack("<Q", f.read(8))[0]
        begin = json.loads(f.read(n))[tensor]["data_offsets"][0]
        f.seek(8 + n + begin)
        f.write(struct.pack("<f", value))


def test_not_finite():
    """One infinite or undefined weight ends the job before anything is computed, whether or not it
    evaluates and whichever model has it; nothing is written and nothing is called equivalent."""
    root = tempfile.mkdtemp(prefix="rebasind-odd-")
    odd = [("cls.predictions.bias", "-inf"), ("cls.predictions.bias", "nan"),
           ("bert.encoder.layer.1.attention.self.key.weight", "inf")]
    try:
        with Daemon("--import-root", root) as d:
            d.register_fixtures()
            for i, (tensor, value) in enumerate(odd):
                poke(folder := Folder(root, f"odd-{i}"), tensor, float(value))
                equal(d.post("/v1/models", {"name": f"odd-{i}", "path": folder.path}).status, 201)
                for a, b in (("bert-a", f"odd-{i}"), (f"odd-{i}", "bert-b")):
                    r = d.post("/v1/jobs", {"models": {"a": a, "b": b}, "outputs": {"merged": [0.5]},
                                            "align": {"dataset": "align", "max_sequences": 20}})
                    equal(r.status, 202, r)
                    job = d.wait_finished(r.json["id"])
                    equal((job["status"], (job["error"] or {}).get("code")),
                          ("failed", "not_finite"), job)
                    for word in (f"odd-{i}", tensor, value):
                        true(word in job["error"]["detail"], job["error"])
                    equal(d.get(f"/v1/jobs/{job['id']}/artifacts").json["data"], [], job)
    finally:
        shutil.rmtree(root)


def test_not_finite_on_the_way():
    """Every weight is finite, and what is computed from them is not: the group, and whose it is."""
    root = tempfile.mkdtemp(prefix="rebasind-odd-")
    try:
        with Daemon("--import-root", root) as d:
            d.register_fixtures()
            poke(folder := Folder(root, "large"), "bert.encoder.layer.1.intermediate.dense.bias", 3e38)
            equal(d.post("/v1/models", {"name": "large", "path": folder.path}).status, 201)
            for a, b in (("bert-a", "large"), ("large", "bert-b")):
                r = d.post("/v1/jobs", {"models": {"a": a, "b": b},
                                        "align": {"components": ["ff"], "dataset": "align", "max_sequences": 20}})
                equal(r.status, 202, r)
                job = d.wait_finished(r.json["id"])
                equal((job["status"], (job["error"] or {}).get("code")), ("failed", "not_finite"), job)
                for word in (f"'{a}' (a)", f"'{b}' (b)", "group 'layer.", "unit 0"):
                    true(word in job["error"]["detail"], job["error"])
    finally:
        shutil.rmtree(root)


def test_alignments_of_other_models():
    """from_job of another pair: said where the maps fit by their shapes, refused where they do not."""
    with Daemon() as d:
        d.register_fixtures()
        for name in ("llama-a", "llama-b", "bert-a"):
            as_name = "again" if name == "bert-a" else name
            r = d.post("/v1/models", {"name": as_name, "path": f"{FIXTURES}/models/{name}"})
            equal(r.status, 201, r)
        align = {"components": ["ff"], "dataset": "align", "max_sequences": 20}
        r = d.post("/v1/jobs", {"models": {"a": "bert-a", "b": "bert-b"}, "align": align})
        job = d.wait_finished(r.json["id"])
        equal((job["status"], job["warnings"]), ("succeeded", []), job)

        def reuse(a, b):
            return d.post("/v1/jobs", {"models": {"a": a, "b": b}, "align": {"from_job": job["id"]}})

        for a, b, words in (("bert-a", "bert-b", None), ("again", "bert-b", None),
                            ("bert-b", "bert-a", "'bert-b'")):
            r = reuse(a, b)
            equal(r.status, 202, r)
            equal(len(r.json["warnings"]), 1 if words else 0, r)
            end = d.wait_finished(r.json["id"])
            equal(end["status"], "succeeded", end)
            listed = next(j for j in d.get("/v1/jobs").json["data"] if j["id"] == end["id"])
            for found in (end["warnings"], listed["warnings"]):
                equal(len(found), 1 if words else 0, end)
                true(not words or words in found[0] and job["id"] in found[0], found)
        r = reuse("llama-a", "llama-b")
        detail = problem(r, 422, "models_differ", "/align/from_job")["detail"]
        for word in ("layer.0.ff", "512", "344"):
            true(word in detail, detail)


if __name__ == "__main__":
    run([test_not_finite_on_the_way, test_alignments_of_other_models, test_not_finite, test_damaged_models, test_import_roots, test_unusable_datasets, test_jobs_that_cannot_run,
         test_inputs_that_change_later])

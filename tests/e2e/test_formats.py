"""What labs have on disk: pytorch_model.bin beside safetensors, the Hugging Face cache, and the first
mistakes, each told in a sentence.
"""
import json
import os
import shutil
import subprocess
import tempfile

import torch_save
from daemon import BINARY, FIXTURES, Daemon, equal, problem, run, true

COMMIT, OTHER = "0123456789abcdef0123456789abcdef01234567", "f" * 40


class Root:
    def __enter__(self):
        self.path = tempfile.mkdtemp(prefix="rebasind-formats-")
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.path)

    def model(self, name, source="bert-a"):
        shutil.copytree(f"{FIXTURES}/models/{source}", f"{self.path}/{name}")
        return f"{self.path}/{name}"

    def torch_model(self, name, source="bert-a", prefix=""):
        path = self.model(name, source)
        tensors = torch_save.read_safetensors(f"{path}/model.safetensors")
        torch_save.save(f"{path}/pytorch_model.bin", {prefix + name: t for name, t in tensors.items()})
        os.unlink(f"{path}/model.safetensors")
        return path

    def cached(self, repository, source="bert-a", commit=COMMIT, hub=""):
        """As `huggingface-cli download` leaves it: blobs, and snapshots that link to them."""
        folder = f"{self.path}{hub}/models--{repository.replace('/', '--')}"
        snapshot = f"{folder}/snapshots/{commit}"
        for place in ("blobs", "refs"):
            os.makedirs(f"{folder}/{place}", exist_ok=True)
        os.makedirs(snapshot)
        for file in os.listdir(f"{FIXTURES}/models/{source}"):
            blob = f"{commit[:4]}-{file.encode().hex()}"
            shutil.copy(f"{FIXTURES}/models/{source}/{file}", f"{folder}/blobs/{blob}")
            os.symlink(f"../../blobs/{blob}", f"{snapshot}/{file}")
        with open(f"{folder}/refs/main", "w", encoding="ascii") as f:
            f.write(commit)
        return folder


def barrier(d, a, b):
    spec = {"models": {"a": a, "b": b}, "interpolate": {"points": 3},
            "align": {"components": ["ff", "mha"], "dataset": "align", "max_sequences": 100},
            "evaluate": {"task": "mlm", "dataset": "eval", "max_blocks": 16}}
    r = d.post("/v1/jobs", spec)
    equal(r.status, 202, r)
    job = r.json["id"]
    equal(d.wait_finished(job)["status"], "succeeded", d.get(f"/v1/jobs/{job}"))
    found = d.get(f"/v1/jobs/{job}/artifacts/barrier.json").json
    del found["job"]
    return found


def test_job_of_torch_files_equals_its_twins():
    with Root() as root, Daemon("--import-root", root.path) as d:
        d.register_fixtures()
        for name, prefix in (("bert-a", ""), ("bert-b", "module.")):  # the latter as DataParallel saves it
            r = d.post("/v1/models", {"name": f"{name}-bin", "path": root.torch_model(name, name, prefix)})
            equal(r.status, 201, r)
            twin = d.get(f"/v1/models/{name}").json
            for key in ("architecture", "hidden_size", "parameters", "dtype"):
                equal(r.json[key], twin[key], key)
            true("pytorch_model.bin" in [f["name"] for f in r.json["files"]], r)
            equal((r.json["source"], r.json["note"]), ("import", None))
        equal(json.dumps(barrier(d, "bert-a-bin", "bert-b-bin")), json.dumps(barrier(d, "bert-a", "bert-b")))


def loss_of(d, model):
    """Of a model, the same at both ends of a job with itself; as it is, to the last bit."""
    spec = {"models": {"a": model, "b": model}, "interpolate": {"points": 2}, "align": {"components": []},
            "evaluate": {"task": "mlm", "dataset": "eval", "block_size": 24, "max_blocks": 8}}
    r = d.post("/v1/jobs", spec)
    equal(r.status, 202, r)
    job = r.json["id"]
    equal(d.wait_finished(job)["status"], "succeeded", d.get(f"/v1/jobs/{job}"))
    return d.get(f"/v1/jobs/{job}/artifacts/barrier.json").json["aligned"]["loss"]


def test_torch_files_compute_what_their_twin_does():
    """Of what torch itself wrote: every layout and every kind of view that holds the model's F32 numbers."""
    good, model = f"{FIXTURES}/torch/good", f"{FIXTURES}/torch/model"
    names = ["zip", "legacy", "tied", "tied-legacy", "transposed", "transposed-legacy", "strided", "one-storage",
             "one-storage-legacy", "parameters", "parameters-legacy", "nested-model", "nested-state_dict", "plain-dict",
             "protocol3", "protocol4-legacy", "protocol5", "metadata", "metadata-legacy", "requires-grad", "cuda-location",
             "root-name", "torch2-layout", "position-ids", "no-prefix", "gamma-beta", "sharded"]
    with Root() as root, Daemon("--import-root", root.path) as d:
        d.register_fixtures()
        equal(d.post("/v1/models", {"name": "twin", "path": model}).status, 201)
        expected = loss_of(d, "twin")
        equal(expected[0], expected[1])
        for name in names:
            folder = f"{root.path}/{name}"
            shutil.copytree(model, folder)
            os.unlink(f"{folder}/model.safetensors")
            if name == "sharded":
                shutil.copytree(f"{good}/sharded", folder, dirs_exist_ok=True)
            else:
                shutil.copy(f"{good}/{name}.bin", f"{folder}/pytorch_model.bin")
            r = d.post("/v1/models", {"name": name.replace("_", "-"), "path": folder})
            equal(r.status, 201, (name, r))
            equal(loss_of(d, name.replace("_", "-")), expected, name)


def test_both_formats():
    with Root() as root, Daemon(import_root=root.path) as d:
        path = root.model("both")
        torch_save.save(f"{path}/pytorch_model.bin", torch_save.read_safetensors(f"{path}/model.safetensors"))
        r = d.post("/v1/models", {"name": "both", "path": path})
        equal(r.status, 201, r)
        true("pytorch_model.bin" in r.json["note"] and "safetensors" in r.json["note"], r)
        true("pytorch_model.bin" not in [f["name"] for f in r.json["files"]], r)
        equal(d.get("/v1/models/both").json["note"], r.json["note"])


def hostile(name):
    with open(f"{FIXTURES}/torch/hostile/{name}.bin", "rb") as f:
        return f.read()


def test_uploads_are_looked_through():
    with Root() as root, Daemon() as d:
        path = root.torch_model("m")
        for name, says in (("stack-global-os", "os.system"), ("zip-crc-storage", "CRC"), ("zip-flipped-byte", "CRC"),
                           ("lfs-pointer", "git lfs pull"), ("html", "HTML page"), ("zip-deflate-bomb", "compressed")):
            r = d.request("PUT", "/v1/models/m/files/pytorch_model.bin", hostile(name))
            problem(r, 422, "invalid_torch_file")
            true(says in r.json["detail"], r)
        # One stored number, expanded to a gigabyte: it is small as a view, and dear as a copy.
        torch_save.save(f"{root.path}/bomb", {"a": ("F32", [1], bytes(4))}, torch_save.pickle_of(
            {"a": ("F32", [1 << 14, 1 << 14], bytes(4))}).replace(
                torch_save.numbers([1 << 14, 1]), torch_save.numbers([0, 0])))
        with open(f"{root.path}/bomb", "rb") as f:
            r = d.request("PUT", "/v1/models/m/files/pytorch_model.bin", f.read())
        problem(r, 422, "invalid_torch_file")
        true("larger than the file" in r.json["detail"], r)
        equal(d.get("/v1/models/m").status, 404)
        for file in sorted(os.listdir(path)):
            with open(f"{path}/{file}", "rb") as f:
                r = d.request("PUT", f"/v1/models/m/files/{file}", f.read())
                true(r.status in (200, 201), r)
        equal((r.json["status"], r.json["source"]), ("ready", "upload"), r)
        # A whole folder is put, with what the Trainer left in it.
        r = d.request("PUT", "/v1/models/m/files/training_args.bin", b"\x80\x02ctransformers\nTrainingArguments\n.")
        equal((r.status, r.json["status"]), (201, "ready"), r)


def test_imports_are_held_against_their_checksums():
    with Root() as root, Daemon(import_root=root.path) as d:
        path = root.torch_model("damaged")
        size = os.path.getsize(f"{path}/pytorch_model.bin")
        with open(f"{path}/pytorch_model.bin", "r+b") as f:
            f.seek(size // 2)
            byte = f.read(1)
            f.seek(size // 2)
            f.write(bytes([byte[0] ^ 1]))
        r = d.post("/v1/models", {"name": "m", "path": path})
        problem(r, 422, "invalid_torch_file")
        true("CRC" in r.json["detail"], r)


def test_hugging_face_cache():
    with Root() as root, Daemon(import_root=root.path) as d:
        folder = root.cached("lab/bert-a")
        root.cached("lab/bert-a", "bert-b", OTHER)  # a later download: refs/main follows
        root.cached("gpt2-like", hub="/hub")
        os.makedirs(f"{folder}/refs/refs/pr")
        for ref in ("v1.0", "refs/pr/1"):
            with open(f"{folder}/refs/{ref}", "w", encoding="ascii") as f:
                f.write(COMMIT)
        for n, (hf, commit) in enumerate((("lab/bert-a", OTHER), ("lab/bert-a@main", OTHER), ("lab/bert-a@v1.0", COMMIT),
                                          ("lab/bert-a@refs/pr/1", COMMIT), (f"lab/bert-a@{COMMIT}", COMMIT),
                                          ("gpt2-like", COMMIT))):
            r = d.post("/v1/models", {"name": f"m{n}", "hf": hf})
            equal(r.status, 201, r)
            equal(r.json["source"], f"hf:{hf.split('@')[0]}@{commit}", r)
            equal(d.get(f"/v1/models/m{n}").json["source"], r.json["source"])
        # By its path it is the same model.
        r = d.post("/v1/models", {"name": "by-path", "path": f"{folder}/snapshots/{COMMIT}"})
        equal((r.status, r.json["source"]), (201, f"hf:lab/bert-a@{COMMIT}"), r)
        for hf, says in (("lab/none", "huggingface-cli download lab/none"), ("lab/bert-a@nightly", "no revision 'nightly'"),
                         ("lab/bert-a@" + "a" * 40, "no such snapshot"), ("../lab", "org/name"), ("lab/../x", "org/name"),
                         ("lab/bert-a@../../x", "org/name"), ("/etc/passwd", "org/name")):
            r = d.post("/v1/models", {"name": "x", "hf": hf})
            problem(r, 422, "invalid_request", "/hf")
            true(says in r.json["errors"][0]["detail"] if r.json.get("errors") else says in r.json["detail"], r)
        problem(d.post("/v1/models", {"name": "x", "hf": "a/b", "path": "/a"}), 422, "invalid_request", "/hf")


def test_run_takes_the_cache():
    """Models of `rebasind run` by the Hub's names: from --import-root, or where huggingface_hub keeps them."""
    def run_it(spec, *flags, **env):
        with open(f"{root.path}/spec.json", "w", encoding="ascii") as f:
            json.dump({"models": spec, "align": {"components": []}, "outputs": {"merged": [0.5]}}, f)
        shutil.rmtree(f"{root.path}/out", ignore_errors=True)
        return subprocess.run([BINARY, "run", f"{root.path}/spec.json", "--json", "--output", f"{root.path}/out", *flags],
                              capture_output=True, text=True, env={"PATH": "/bin", **env})

    with Root() as root:
        root.cached("lab/bert-a", hub="/home/.cache/huggingface/hub")
        root.cached("lab/bert-a", "bert-b", OTHER, hub="/home/.cache/huggingface/hub")
        pair = {"a": f"hf:lab/bert-a@{COMMIT}", "b": "hf:lab/bert-a"}
        home = f"{root.path}/home"
        for flags, env in ((("--import-root", f"{home}/.cache/huggingface"), {}), ((), {"HOME": home}),
                           ((), {"HF_HOME": f"{home}/.cache/huggingface", "HOME": f"{home}/other"}),
                           ((), {"HF_HUB_CACHE": f"{home}/.cache/huggingface/hub", "HF_HOME": f"{home}/other"})):
            r = run_it(pair, *flags, **env)
            equal((r.returncode, r.stderr), (0, ""), r)
            equal(json.loads(r.stdout)["spec"]["models"], pair)
            with open(f"{root.path}/out/merged/lambda-0.50/rebasind.json", encoding="utf-8") as f:
                inputs = json.load(f)["inputs"]
            equal([i["source"] for i in inputs], [f"hf:lab/bert-a@{c}" for c in (COMMIT, OTHER)])
            with open(f"{root.path}/out/merged/lambda-0.50/README.md", encoding="utf-8") as f:
                true('base_model:\n- "lab/bert-a"\n' in f.read(), "base_model")
        for model, said in (("hf:lab/none", "huggingface-cli download lab/none"), ("hf:../x", "org/name"), ("hf:", "org/name")):
            r = run_it({"a": model, "b": "hf:lab/bert-a"}, HOME=home)
            equal(r.returncode, 2, r)
            true("/models/a" in r.stderr and said in r.stderr, r)
        equal(run_it(pair).returncode, 2)  # no home: no cache


def test_cache_links_stay_inside():
    with Root() as root, Root() as outside, Daemon("--sandbox", "off", import_root=root.path) as d:
        outside.model("out")
        secret = f"{outside.path}/secret"
        with open(secret, "w", encoding="ascii") as f:
            f.write("b" * 40)
        folder = root.cached("lab/out")
        snapshot = f"{folder}/snapshots/{COMMIT}"
        os.unlink(f"{snapshot}/model.safetensors")
        os.symlink(f"{outside.path}/out/model.safetensors", f"{snapshot}/model.safetensors")
        problem(d.post("/v1/models", {"name": "x", "hf": "lab/out"}), 422, "invalid_request", "/path")
        # A reference that leads out is none; neither is a snapshot or a whole model.
        os.unlink(f"{folder}/refs/main")
        os.symlink(secret, f"{folder}/refs/main")
        r = d.post("/v1/models", {"name": "x", "hf": "lab/out"})
        problem(r, 422, "invalid_request", "/hf")
        true(b"bbbb" not in r.body, r)
        os.symlink(f"{outside.path}/out", f"{folder}/snapshots/{OTHER}")
        problem(d.post("/v1/models", {"name": "x", "hf": f"lab/out@{OTHER}"}), 422, "invalid_request", "/hf")
        os.symlink(outside.path, f"{root.path}/models--lab--elsewhere")
        problem(d.post("/v1/models", {"name": "x", "hf": "lab/elsewhere"}), 422, "invalid_request", "/hf")


def test_first_mistakes():
    rows = (("tf_model.h5", b"\x89HDF\r\n\x1a\n", "from_tf=True"), ("flax_model.msgpack", b"x", "from_flax=True"),
            ("adapter_config.json", b"{}", "LoRA adapter"), ("model.gguf", b"GGUF", "GGUF"),
            ("model.onnx", b"\x08", "ONNX"),
            ("model.safetensors", b"<!DOCTYPE html><html>", "huggingface-cli login"),
            ("pytorch_model.bin", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
            ("pytorch_model.bin", b"GGUF\3\0\0\0" + bytes(99), "GGUF"),
            ("optimizer.pt", b"\x80\x02", "training leaves beside a model"),
            ("adapter_model.safetensors", b"\0", "LoRA adapter"))
    with Root() as root, Daemon(import_root=root.path) as d:
        for n, (file, data, says) in enumerate(rows):
            path = root.model(f"m{n}")
            os.unlink(f"{path}/model.safetensors")
            with open(f"{path}/{file}", "wb") as f:
                f.write(data)
            r = d.post("/v1/models", {"name": f"m{n}", "path": path})
            equal(r.status, 422, r)
            true(says in r.json["detail"], r)
            i = inspect(path)
            true(i.returncode == 2 and says in i.stdout, i)
            os.unlink(f"{path}/config.json")  # what else is missing hides nothing
            i = inspect(path)
            true(i.returncode == 2 and (says in i.stdout or file.startswith(("model.safe", "pytorch"))), i)
        # A page or a pointer may lie under any name.
        for n, file in enumerate(("config.json", "vocab.txt", "tokenizer_config.json")):
            for data, says in ((b"\n<!DOCTYPE html><html>", "huggingface-cli login"),
                               (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull")):
                path = root.model(f"text{n}{says[:3]}")
                with open(f"{path}/{file}", "wb") as f:
                    f.write(data)
                r = d.post("/v1/models", {"name": f"text{n}", "path": path})
                equal(r.status, 422, r)
                true(file in r.json["detail"] and says in r.json["detail"], r)
                true(says in inspect(path).stdout, path)
        # What the Trainer leaves beside a model is none of its files, and no reason to complain.
        path = root.model("trained")
        for file in ("optimizer.pt", "training_args.bin", "scheduler.pt", "rng_state.pth"):
            with open(f"{path}/{file}", "wb") as f:
                f.write(b"\x80\x02cos\nsystem\n.")
        r = d.post("/v1/models", {"name": "trained", "path": path})
        equal((r.status, r.json["problems"], r.json["note"]), (201, [], None), r)
        true("training_args.bin" not in [f["name"] for f in r.json["files"]], r)


def inspect(*words):
    return subprocess.run([BINARY, "inspect", *words], capture_output=True, text=True, timeout=60, check=False)


def test_inspect():
    with Root() as root:
        path = root.torch_model("m")
        with open(f"{path}/optimizer.pt", "wb") as f:
            f.write(b"x")
        r = inspect(path)
        equal(r.returncode, 0, r)
        for words in ("usable          yes", "BertForMaskedLM", "layers          4", "masked language model",
                      "tied", "wordpiece, 512 tokens", "mostly F32", "read            config.json", "pytorch_model.bin",
                      "not read        optimizer.pt"):
            true(words in r.stdout, (words, r.stdout))
        found = json.loads(inspect(path, "--json").stdout)
        equal((found["usable"], found["family"], found["tied_decoder"], found["not_read"], found["tokenizer_tokens"]),
              (True, "bert", True, ["optimizer.pt"], 512))
        equal((found["model"]["status"], found["model"]["hidden_size"], found["model"]["source"]), ("ready", 128, "import"))
        # A byte turned, deep in the weights: only the checksum tells.
        with open(f"{path}/pytorch_model.bin", "r+b") as f:
            f.seek(1000000)
            byte = f.read(1)
            f.seek(1000000)
            f.write(bytes([byte[0] ^ 16]))
        r = inspect(path)
        equal(r.returncode, 2, r)
        true("CRC" in r.stdout, r)
        torch_save.save(f"{path}/pytorch_model.bin", {}, b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.")
        r = inspect("--json", path)
        equal(r.returncode, 2, r)
        found = json.loads(r.stdout)
        equal((found["usable"], found["model"]["problems"][0]["code"]), (False, "invalid_torch_file"))
        true("os.system" in found["model"]["problems"][0]["detail"], r)
        equal(found["model"]["hidden_size"], 128)  # config.json is still told
        os.unlink(f"{path}/pytorch_model.bin")
        os.unlink(f"{path}/vocab.txt")
        r = inspect(path)
        equal((r.returncode, r.stdout.count("  problem ")), (2, 2), r)
        snapshot = f"{root.cached('lab/m')}/snapshots/{COMMIT}"
        true(f"hf:lab/m@{COMMIT}" in inspect(snapshot).stdout, "source")
        for words in ([], ["--nonsense"], [path, path], [f"{root.path}/none"], [f"{path}/config.json"]):
            r = inspect(*words)
            equal((r.returncode, r.stdout), (2, ""), r)


if __name__ == "__main__":
    run([test_job_of_torch_files_equals_its_twins, test_torch_files_compute_what_their_twin_does,
         test_both_formats, test_uploads_are_looked_through, test_imports_are_held_against_their_checksums, test_hugging_face_cache,
         test_run_takes_the_cache, test_cache_links_stay_inside,
         test_first_mistakes, test_inspect])

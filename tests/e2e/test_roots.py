"""Whatever names and links say, nothing is read outside the import roots and nothing is written
outside the data folder: checkpoints, datasets, shards of an index, companions of a model, uploads,
artifacts, and links that change after they were checked.
"""
import json
import os
import shutil
import tempfile
import time

from daemon import FIXTURES, Daemon, equal, problem, run, true

GOOD = f"{FIXTURES}/models/bert-a"
SECRET = b"the neighbour's secret\n"
# The second wall, Landlock, would hide holes in the first.
FLAGS = ("--sandbox", "off")


class Place:
    """An import root, and beside it a folder that is none of the daemon's business."""

    def __enter__(self):
        self.base = tempfile.mkdtemp(prefix="rebasind-roots-")
        self.root, self.outside = f"{self.base}/root", f"{self.base}/outside"
        os.mkdir(self.root)
        shutil.copytree(GOOD, self.outside)
        with open(f"{self.outside}/secret", "wb") as f:
            f.write(SECRET)
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.base)

    def model(self, name):
        shutil.copytree(GOOD, f"{self.root}/{name}")
        return f"{self.root}/{name}"


def no_secret(d, reply):
    true(SECRET.strip() not in reply.body, reply)
    true(SECRET.strip() not in d.log().encode(), "the log")


def test_imports():
    with Place() as p:
        ways = {}
        for file in ("config.json", "vocab.txt", "tokenizer_config.json", "model.safetensors"):
            for kind, target in (("absolute", f"{p.outside}/{file}"), ("up", f"../../outside/{file}"),
                                 ("far", f"../../../{os.path.basename(p.base)}/outside/{file}")):
                model = p.model(f"{file.split('.')[0].replace('_', '-')}-{kind}")
                os.unlink(f"{model}/{file}")
                os.symlink(target, f"{model}/{file}")
                ways[model] = file
        os.symlink(p.outside, f"{p.root}/folder")
        os.symlink("folder", f"{p.root}/twice")
        os.symlink(f"{p.outside}/secret", f"{p.root}/text")
        os.symlink("..", f"{p.root}/up")
        with Daemon(*FLAGS, import_root=p.root) as d:
            for n, path in enumerate([*ways, f"{p.root}/folder", f"{p.root}/twice", p.outside,
                                      f"{p.root}/../outside", f"{p.root}/up/outside",
                                      f"{p.root}/./../outside", "/proc/self/cwd", "outside", ""]):
                r = d.post("/v1/models", {"name": f"m{n}", "path": path})
                problem(r, 422, "invalid_request", "/path")
                no_secret(d, r)
            for n, path in enumerate([f"{p.root}/text", f"{p.outside}/secret", f"{p.root}/up/outside/secret",
                                      f"{p.root}/folder/secret", "/proc/self/environ", "/dev/zero"]):
                r = d.post("/v1/datasets", {"name": f"d{n}", "path": path, "format": "text"})
                problem(r, 422, "invalid_request", "/path")
                no_secret(d, r)
            # Links that stay inside are what hub caches consist of.
            model = p.model("hub")
            os.rename(f"{model}/model.safetensors", f"{p.root}/blob")
            os.symlink("../blob", f"{model}/model.safetensors")
            equal(d.post("/v1/models", {"name": "hub", "path": model}).status, 201)


def test_shards():
    with Place() as p:
        names = [f"{p.outside}/model.safetensors", "../../outside/model.safetensors", "../blob.safetensors",
                 "sub/shard.safetensors", ".safetensors", "a\u0000b.safetensors", "config.json"]
        with Daemon(*FLAGS, import_root=p.root) as d:
            for n, name in enumerate(names):
                model = p.model(f"shards-{n}")
                os.unlink(f"{model}/model.safetensors")
                with open(f"{model}/model.safetensors.index.json", "w", encoding="utf-8") as f:
                    json.dump({"metadata": {}, "weight_map": {"cls.predictions.bias": name}}, f)
                r = d.post("/v1/models", {"name": f"m{n}", "path": model})
                equal(r.status, 422, r)
                true(r.json["code"] in ("invalid_safetensors", "invalid_request"), r)
                no_secret(d, r)
            # A shard of a plain name that is a link.
            model = p.model("shard-link")
            os.unlink(f"{model}/model.safetensors")
            os.symlink(f"{p.outside}/model.safetensors", f"{model}/a.safetensors")
            with open(f"{model}/model.safetensors.index.json", "w", encoding="utf-8") as f:
                json.dump({"metadata": {}, "weight_map": {"cls.predictions.bias": "a.safetensors"}}, f)
            problem(d.post("/v1/models", {"name": "link", "path": model}), 422, "invalid_request",
                    "/path")


def test_links_that_change_later():
    """A companion or a checkpoint becomes a way out after the model was registered."""
    with Place() as p:
        with Daemon(*FLAGS, "--import-root", p.root) as d:
            d.register_fixtures()
            for file, code in (("tokenizer_config.json", "invalid_request"),
                               ("vocab.txt", "invalid_request"), ("model.safetensors", "invalid_request")):
                model = p.model(f"later-{file}")
                name = "later-" + file.split(".")[0].replace("_", "-")
                equal(d.post("/v1/models", {"name": name, "path": model}).status, 201)
                spec = {"models": {"a": name, "b": "bert-b"}, "outputs": {"merged": [0.5]},
                        "align": {"components": ["ff"], "dataset": "align", "max_sequences": 300}}
                job = d.post("/v1/jobs", spec).json["id"]
                while d.get(f"/v1/jobs/{job}").json["phase"] not in ("aligning", "solving"):
                    time.sleep(0.002)
                os.unlink(f"{model}/{file}")
                os.symlink(f"{p.outside}/secret", f"{model}/{file}")
                final = d.wait_finished(job)
                if file != "model.safetensors":  # that one is mapped, and stays what it was
                    equal((final["status"], final["error"]["code"]), ("failed", code), final)
                for a in d.get(f"/v1/jobs/{job}/artifacts").json["data"]:
                    no_secret(d, d.get(f"/v1/jobs/{job}/artifacts/{a['name']}"))
                # And a job that begins after the change.
                r = d.post("/v1/jobs", spec)
                if r.status == 202:
                    final = d.wait_finished(r.json["id"])
                    equal(final["status"], "failed", final)
                no_secret(d, r)


def test_names_of_uploads():
    with Place() as p:
        with Daemon(*FLAGS, import_root=None, data_dir=f"{p.base}/data") as d:
            before = sorted(os.listdir(p.base))
            for path in ("/v1/models/../files/vocab.txt", "/v1/models/%2e%2e/files/vocab.txt",
                         "/v1/models/m/files/..%2f..%2fvocab.txt", "/v1/models/m/files/%2e%2e",
                         "/v1/models/m%2fx/files/vocab.txt", "/v1/models/m/files/.hidden",
                         "/v1/models/m/files/a%00b", "/v1/models/m/files/%2fetc%2fpasswd",
                         "/v1/datasets/..", "/v1/datasets/%2e%2e%2fx", "/v1/datasets/%2fx", "/v1/datasets/.x"):
                r = d.request("PUT", path, b"a line\n")
                true(r.status in (404, 405, 400, 422), (path, r))
            equal(sorted(os.listdir(p.base)), before)
            # The data folder's own folders turned into links, by whoever can write there.
            for name in ("models", "datasets"):
                shutil.rmtree(f"{d.data_dir}/{name}", ignore_errors=True)
                os.symlink(p.outside, f"{d.data_dir}/{name}")
            inside = sorted(os.listdir(p.outside))
            for path in ("/v1/models/m/files/vocab.txt", "/v1/datasets/d"):
                r = d.request("PUT", path, b"a line\n")
                true(r.status >= 400, r)
            equal(sorted(os.listdir(p.outside)), inside)


def test_names_of_artifacts():
    with Daemon(*FLAGS) as d:
        d.register_fixtures()
        job = d.post("/v1/jobs", {"models": {"a": "bert-a", "b": "bert-b"}, "align": {"components": []},
                                  "outputs": {"merged": [0.5]}}).json["id"]
        equal(d.wait_finished(job)["status"], "succeeded")
        for name in ("..%2f..%2frebasind.db", "%2e%2e", "..%2f..%2f..%2fetc%2fpasswd", "%2fetc%2fpasswd",
                     "config.json%00.txt", "../../rebasind.db", "none"):
            r = d.get(f"/v1/jobs/{job}/artifacts/{name}")
            true(r.status in (400, 404, 422), (name, r))
            true(b"SQLite format" not in r.body and b"root:" not in r.body, r)
        # The file of an artifact turned into a link that leads out.
        os.unlink(f"{d.data_dir}/jobs/{job}/config.json")
        os.symlink("/etc/passwd", f"{d.data_dir}/jobs/{job}/config.json")
        r = d.get(f"/v1/jobs/{job}/artifacts/config.json")
        true(r.status >= 400 and b"root:" not in r.body, r)


def test_demos():
    """A root's demo.json is taken as it says, or passed over with a word: never read elsewhere, never fatal."""
    demo = {"title": "t", "models": [{"name": "a", "path": "models/a"}],
            "datasets": [{"name": "d", "path": "d.txt", "format": "text"}], "job": {"name": "n"}}
    item = lambda **change: {**demo, "models": [{**demo["models"][0], **change}]}
    texts = [b"", b"{", b"\xff", b"[]", b'{"title": "x"}', b" " * 70000, json.dumps(demo).encode() + b"x"]
    texts += [json.dumps(x).encode() for x in (
        {**demo, "job": None}, {**demo, "title": 7}, {**demo, "models": []}, {**demo, "datasets": {}},
        {**demo, "models": demo["models"] * 17}, {**demo, "models": ["a"]}, item(path="/etc/passwd"), item(path="../outside"),
        item(path=""), item(name="A b"), item(name=None))]
    with Place() as p:
        with open(f"{p.outside}/demo.json", "w") as f:
            json.dump(demo, f)
        roots = []
        for n, text in enumerate([*texts, "link", "pipe", "folder"]):
            roots.append(f"{p.root}/{n}")
            os.mkdir(roots[-1])
            where = f"{roots[-1]}/demo.json"
            if text == "link":
                os.symlink(f"{p.outside}/demo.json", where)
            elif text == "pipe":
                os.mkfifo(where)
            elif text == "folder":
                os.mkdir(where)
            else:
                with open(where, "wb") as f:
                    f.write(text)
        more = [word for root in roots for word in ("--import-root", root)]
        with Daemon(*FLAGS, *more, import_root=p.root) as d:
            equal(d.get("/v1/demo").json, {"title": None, "models": [], "datasets": [], "job": None})
            equal(d.log().count("no demo"), len(roots))
        last = f"{p.root}/good"
        os.mkdir(last)
        with open(f"{last}/demo.json", "w") as f:
            json.dump(demo, f)
        with Daemon(*FLAGS, *more, "--import-root", last, import_root=p.root) as d:
            found = d.get("/v1/demo").json
            equal((found["models"], found["job"]), ([{"name": "a", "path": f"{os.path.realpath(last)}/models/a"}],
                                                    demo["job"]))
            equal(found["datasets"][0]["path"], f"{os.path.realpath(last)}/d.txt")


if __name__ == "__main__":
    run([test_demos, test_imports, test_shards, test_links_that_change_later, test_names_of_uploads,
         test_names_of_artifacts])

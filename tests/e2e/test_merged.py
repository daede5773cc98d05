"""A merged checkpoint as a folder that people can use at once: over HTTP, as a tar, from `rebasind run`."""
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import time
import xml.dom.minidom

from daemon import BINARY, ENVIRONMENT, FIXTURES, Daemon, command, equal, problem, run, true

JOB = {"models": {"a": "merged-a", "b": "bert-b"},
       "align": {"dataset": "align", "max_sequences": 50, "max_length": 48},
       "interpolate": {"lambdas": [0.3]},
       "evaluate": {"task": "mlm", "dataset": "eval", "block_size": 48, "max_blocks": 16},
       "outputs": {"merged": [0.3, 1]}}
CARD = b"---\nlanguage: en\nlicense: apache-2.0\n---\n# A parent\n"


def parents(root):
    """Copies of the fixture pair, with cards: A has more tokenizer files than the fixture."""
    for side in "ab":
        folder = os.path.join(root, f"bert-{side}")
        shutil.copytree(f"{FIXTURES}/models/bert-{side}", folder)
        with open(os.path.join(folder, "README.md"), "wb") as f:
            f.write(CARD)
    with open(os.path.join(root, "bert-a", "special_tokens_map.json"), "w") as f:
        f.write('{"mask_token": "[MASK]"}\n')


def finished(d, root):
    for side, name in (("a", "merged-a"), ("b", "bert-b")):
        equal(d.post("/v1/models", {"name": name, "path": f"{root}/bert-{side}"}).status, 201)
    for name in ("align", "eval"):
        equal(d.post("/v1/datasets", {"name": name, "path": f"{FIXTURES}/data/{name}.txt", "format": "text"}).status, 201)
    r = d.post("/v1/jobs", JOB)
    equal(r.status, 202, r)
    done = d.wait_finished(r.json["id"])
    equal(done["status"], "succeeded", done)
    return done


def check_files(d, job):
    """Every file is an artifact under its folder's name; the flat names are as they were."""
    items = {a["name"]: a for a in job["artifacts"]}
    for name in ("merged-0.30.safetensors", "merged-1.00.safetensors", "config.json", "vocab.txt"):
        true(name in items, sorted(items))
    folder = "merged/lambda-0.30/"
    files = {}
    for name, a in items.items():
        if "/" not in name:
            continue
        r = d.get(f"/v1/jobs/{job['id']}/artifacts/{name}")
        equal((r.status, hashlib.sha256(r.body).hexdigest(), r["Content-Type"]),
              (200, a["sha256"], a["media_type"]), name)
        true(name.rsplit("/", 1)[1] in r["Content-Disposition"], r.headers)
        if name.startswith(folder):
            files[name[len(folder):]] = r.body
    equal(set(files), {"README.md", "config.json", "curve.svg", "model.safetensors", "rebasind.json",
                       "special_tokens_map.json", "tokenizer_config.json", "vocab.txt"})
    equal(items[folder + "model.safetensors"]["sha256"], items["merged-0.30.safetensors"]["sha256"])
    for name in ("vocab.txt", "tokenizer_config.json"):
        equal(files[name], open(f"{FIXTURES}/models/bert-a/{name}", "rb").read(), name)
    header = json.loads(files["model.safetensors"][8:8 + int.from_bytes(files["model.safetensors"][:8], "little")])
    equal(header["__metadata__"]["format"], "pt")
    for name in ("none/README.md", "lambda-0.30/none", "lambda-0.31/README.md", "..%2f/x", "lambda-0.30.tar",
                 "x" * 90 + "/" + "y" * 90):
        problem(d.get(f"/v1/jobs/{job['id']}/artifacts/merged/{name}"), 404, "not_found")
    return files


def check_card(job, files, barrier):
    card = files["README.md"].decode()
    head = card.split("---\n")[1]
    equal(head, 'base_model:\n- "merged-a"\n- "bert-b"\ntags:\n- merge\n- rebasind\nlicense: apache-2.0\n')
    for words in ("merged at lambda 0.3", "(curve.svg)", "computes the same function as B", "barrier over the chord",
                  f"{barrier['aligned']['barrier']['mean']:.4f}", '"max_sequences": 50', job["inputs"][0]["sha256"]):
        true(words in card, (words, card))
    svg = xml.dom.minidom.parseString(files["curve.svg"])
    equal([len(p.getAttribute("points").split()) for p in svg.getElementsByTagName("polyline")], [3, 3])
    found = json.loads(files["rebasind.json"])
    equal((found["job"], found["lambda"], found["spec"], found["environment"]),
          (job["id"], 0.3, job["spec"], job["environment"]))
    equal(found["barrier"], barrier)
    equal([{k: i[k] for k in ("role", "name", "sha256")} for i in found["inputs"]], job["inputs"])
    version = json.loads(command("version", "--json").stdout)
    equal(found["build"], {k: version[k] for k in ("version", "commit", "compiler", "libraries")})
    equal((found["inputs"][0]["license"], found["certificate"]["equivalent"]), ("apache-2.0", True))


def check_tar(d, job, files, root):
    """The tar is the folder, by range too, and opens again as a model that has the loss of the curve."""
    path = f"/v1/jobs/{job['id']}/merged/0.3.tar"
    r = d.get(path)
    equal((r.status, r["Content-Type"], r["Accept-Ranges"]), (200, "application/x-tar", "bytes"), r)
    sha256 = hashlib.sha256(r.body).hexdigest()
    equal(r["ETag"], f'"{sha256}"')
    line = d.get(f"/v1/jobs/{job['id']}/artifacts/merged/lambda-0.30.tar.sha256").body
    equal(line, f"{sha256}  lambda-0.30.tar\n".encode())
    equal(d.get(f"/v1/jobs/{job['id']}/merged/0.30.tar").body, r.body)
    n = len(r.body)
    head = d.request("HEAD", path)
    equal((head.status, head["Content-Length"], head["Repr-Digest"]), (200, str(n), r["Repr-Digest"]))
    for value, first, last in (("bytes=0-9", 0, 9), ("bytes=500-700000", 500, 700000), (f"bytes={n - 1030}-", n - 1030, n - 1),
                               ("bytes=-7", n - 7, n - 1)):
        part = d.get(path, {"Range": value})
        equal((part.status, part["Content-Range"]), (206, f"bytes {first}-{last}/{n}"), part)
        true(part.body == r.body[first:last + 1], value)
    problem(d.get(path, {"Range": f"bytes={n}-"}), 416, "range_not_satisfiable")
    equal(d.get(path, {"If-None-Match": r["ETag"]}).status, 304)
    for wrong in ("0.4.tar", "x.tar", "0.3", "0.3.tar.gz", "-1.tar", "1e9.tar", ".tar", "nan.tar"):
        problem(d.get(f"/v1/jobs/{job['id']}/merged/{wrong}"), 404, "not_found")
    with tarfile.open(fileobj=io.BytesIO(r.body)) as t:
        found = {m.name: t.extractfile(m).read() for m in t.getmembers()}
    equal({"lambda-0.30/" + k: v for k, v in files.items()}, found)
    with open(f"{root}/a.tar", "wb") as f:
        f.write(r.body)
    subprocess.run(["tar", "-xf", f"{root}/a.tar", "-C", root], check=True)
    equal(d.post("/v1/models", {"name": "merged", "path": f"{root}/lambda-0.30"}).status, 201)


def check_loss(d, barrier):
    again = {**JOB, "models": {"a": "merged", "b": "bert-b"}, "align": {"components": []},
             "interpolate": {"points": 2}}
    again.pop("outputs")
    job = d.wait_finished(d.post("/v1/jobs", again).json["id"])
    equal(job["status"], "succeeded", job)
    loss = d.get(f"/v1/jobs/{job['id']}/barrier").json["aligned"]["loss"][0]
    expected = barrier["aligned"]["loss"][barrier["lambdas"].index(0.3)]
    true(abs(loss - expected) < 1e-5, f"{loss}, expected {expected}")


def test_folder():
    with tempfile.TemporaryDirectory() as root:
        parents(root)
        with Daemon("--import-root", root) as d:
            job = finished(d, root)
            barrier = d.get(f"/v1/jobs/{job['id']}/barrier").json
            files = check_files(d, job)
            check_card(job, files, barrier)
            check_tar(d, job, files, root)
            check_loss(d, barrier)
            folder = f"{d.data_dir}/jobs/{job['id']}"
            true(os.path.samefile(f"{folder}/merged-0.30.safetensors", f"{folder}/merged/lambda-0.30/model.safetensors"),
                 "the weights lie there twice")
            os.truncate(f"{folder}/merged/lambda-0.30/vocab.txt", 5)
            equal(d.get(f"/v1/jobs/{job['id']}/merged/0.3.tar").status, 500)
            equal(d.request("DELETE", f"/v1/jobs/{job['id']}").status, 204)
            for _ in range(100):
                if not os.path.exists(folder):
                    break
                time.sleep(0.1)
            true(not os.path.exists(folder), folder)


def export(d, job, *words):
    return command("export", job, *words, "--data-dir", d.data_dir)


def test_export():
    with tempfile.TemporaryDirectory() as root, Daemon() as d:
        d.register_fixtures()
        job = d.post("/v1/jobs", {"models": {"a": "bert-a", "b": "bert-b"}, "align": {"components": []},
                                  "outputs": {"merged": [0.5]}}).json["id"]
        equal(d.wait_finished(job)["status"], "succeeded")
        source, to = f"{d.data_dir}/jobs/{job}/merged/lambda-0.50", f"{root}/new/merged"
        r = export(d, job, "--lambda", "0.5", "--to", to)  # the daemon runs
        equal((r.returncode, r.stderr), (0, ""), r)
        equal(sorted(os.listdir(to)), sorted(os.listdir(source)))
        for name in os.listdir(source):
            true(open(f"{to}/{name}", "rb").read() == open(f"{source}/{name}", "rb").read(), name)
        equal(command("inspect", to).returncode, 0)
        for code, words, said in ((2, ("--lambda", "0.5", "--to", to), "empty"), (2, ("--lambda", "0.5"), "--to"),
                                  (2, ("--lambda", "2", "--to", f"{root}/x"), "from 0 to 1"),
                                  (1, ("--lambda", "0.25", "--to", f"{root}/x"), "no merged folder")):
            r = export(d, job, *words)
            equal(r.returncode, code, r)
            true(said in r.stderr, r)
        equal(export(d, "../x", "--lambda", "0.5", "--to", f"{root}/x").returncode, 2)
        with open(f"{source}/config.json", "r+b") as f:  # the same size, another byte
            f.write(b" ")
        r = export(d, job, "--lambda", "0.5", "--to", f"{root}/x")
        equal(r.returncode, 1, r)
        true("digest" in r.stderr, r)
        equal(os.listdir(root), ["new"])


def test_licenses_that_differ():
    """And a job without a curve: the card has no license, no table, no picture."""
    with tempfile.TemporaryDirectory() as root:
        parents(root)
        with open(f"{root}/bert-b/README.md", "wb") as f:
            f.write(CARD.replace(b"apache-2.0", b"mit"))
        spec = {"models": {"a": f"{root}/bert-a", "b": f"{root}/bert-b"}, "align": {"components": []},
                "outputs": {"merged": [0.5]}}
        with open(f"{root}/spec.json", "w") as f:
            json.dump(spec, f)
        out = f"{root}/out"
        p = subprocess.run([BINARY, "run", f"{root}/spec.json", "--output", out], capture_output=True, env=ENVIRONMENT)
        equal((p.returncode, p.stderr), (0, b""))
        folder = f"{out}/merged/lambda-0.50"
        equal(sorted(os.listdir(folder)), ["README.md", "config.json", "model.safetensors", "rebasind.json",
                                           "special_tokens_map.json", "tokenizer_config.json", "vocab.txt"])
        card = open(f"{folder}/README.md").read()
        true("license" not in card and "curve.svg" not in card and "nothing was aligned" in card, card)
        equal(json.load(open(f"{folder}/rebasind.json"))["barrier"], None)
        true(os.path.exists(f"{out}/merged-0.50.safetensors"))


if __name__ == "__main__":
    run([test_folder, test_export, test_licenses_that_differ])

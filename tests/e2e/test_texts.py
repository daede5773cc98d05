"""What is said about a fault is understood by whoever made it: it is said once, and in our words."""
import json
import os
import shutil
import tempfile

from daemon import Daemon, FIXTURES, equal, problem, run, true

JSON = {"Content-Type": "application/json"}


def said_once(body):
    """No detail repeats its pointer, or what stands before a colon."""
    for fault in body.get("errors", []):
        pointer, detail = fault["pointer"], fault["detail"]
        true(not detail.startswith(pointer + ":"), fault)
        true("/" not in detail.split(": ")[0] or not pointer.endswith(detail.split(": ")[0]), fault)
    for text in [body["detail"]] + [f["detail"] for f in body.get("errors", [])]:
        parts = text.split(": ")
        true(all(a != b for a, b in zip(parts, parts[1:])), text)
    return body


def job(**more):
    return {"models": {"a": "bert-a", "b": "bert-b"}, "align": {"dataset": "text"}, **more}


def test_once():
    with Daemon() as d:
        for name in ("bert-a", "bert-b"):
            equal(d.post("/v1/models", {"name": name, "path": f"{FIXTURES}/models/{name}"}).status,
                  201)
        lines = b"the quick brown fox jumps over it\n" * 300
        equal(d.request("PUT", "/v1/datasets/text?format=text", lines).status, 201)
        long = job(evaluate={"dataset": "text", "task": "mlm", "block_size": 4096})
        said_once(problem(d.post("/v1/jobs", long), 422, "invalid_request", "/evaluate/block_size"))
        said_once(problem(d.post("/v1/jobs/batch", {"jobs": [job(), long]}), 422, "invalid_request",
                          "/jobs/1/evaluate/block_size"))
        said_once(problem(d.post("/v1/jobs", job(models={"a": "bert-a", "b": "x15"})), 422,
                          "invalid_request", "/models/b"))
        said_once(problem(d.get("/v1/jobs?status=x"), 400, "invalid_query", "status"))
        said_once(problem(d.get("/v1/jobs?sort=x"), 400, "invalid_query", "sort"))
        said_once(problem(d.post("/v1/jobs", {}), 422, "invalid_request"))
        for query, body in (("format=jsonl&text=text", b"x\n"), ("format=tsv&text=text", b"x\n"),
                            ("format=text", b"\xff\n"), ("format=text", b"")):
            said_once(problem(d.request("PUT", f"/v1/datasets/x15?{query}", body), 422,
                              "invalid_dataset"))
        short = job(evaluate={"dataset": "x15", "task": "mlm", "block_size": 40})
        equal(d.request("PUT", "/v1/datasets/x15?format=text", b"a\n").status, 201)
        said_once(problem(d.post("/v1/jobs", short), 422, "invalid_dataset", "/evaluate/dataset"))


def test_an_incomplete_model_names_no_folder():
    """What lacks is told by the names that the client knows, not by where the daemon keeps them."""
    with Daemon() as d:
        for files in (["config.json"], ["vocab.txt"], ["config.json", "vocab.txt"], ["model.safetensors"],
                      ["config.json", "model.safetensors"]):
            for file in files:
                with open(f"{FIXTURES}/models/bert-a/{file}", "rb") as f:
                    r = d.request("PUT", f"/v1/models/m/files/{file}", f.read())
                equal(r.status, 201, r)
            model = d.get("/v1/models/m").json
            equal(model["status"], "incomplete", model)
            true(model["problems"], model)
            for p in model["problems"]:
                true(d.data_dir not in p["detail"] and "models/m" not in p["detail"], p)
                true(p["detail"].strip(": ") == p["detail"], p)
            equal(d.request("DELETE", "/v1/models/m").status, 204)


def test_words():
    with Daemon() as d:
        def detail(text, status=422):
            r = d.request("POST", "/v1/jobs", text.encode(), JSON)
            equal(r.status, status, r)
            body = said_once(r.json)
            return body["errors"][0]["detail"] if "errors" in body else body["detail"]

        words = detail('{"name": "a\\u0000b"}', 400)
        true("JSON_ALLOW_NUL" not in words and "\\u0000" in words, words)
        for hidden, code in (("\\n", "U+000A"), ("\\u0085", "U+0085"), ("\\u202e", "U+202E"),
                             ("\\u2066", "U+2066")):
            words = detail('{"name": "a%sb", "models": 1}' % hidden)
            true(code in words and "character 2" in words and '"a?b"' in words, words)
        words = detail('{"evaluate": {"mask_probability": 1.0000000000000002}}')
        true("found 1.0000000000000002" in words, words)


def test_a_text_that_became_something_else():
    root = tempfile.mkdtemp(prefix="rebasind-became-")
    try:
        with Daemon("--import-root", root) as d:
            for name in ("bert-a", "bert-b"):
                d.post("/v1/models", {"name": name, "path": f"{FIXTURES}/models/{name}"})
            open(f"{root}/text", "w").write("the quick brown fox jumps over it\n" * 300)
            equal(d.post("/v1/datasets", {"name": "text", "path": f"{root}/text"}).status, 201)
            for become, words in ((os.mkfifo, "not a regular file"),
                                  (lambda path: open(path, "w").close(), "the file is empty")):
                os.unlink(f"{root}/text")
                become(f"{root}/text")
                r = d.post("/v1/jobs", job())
                equal(r.status, 422, r)
                true(words in r.json["detail"], r)
                true("Invalid argument" not in json.dumps(r.json), r)
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    run([v for k, v in list(globals().items()) if k.startswith("test_")])

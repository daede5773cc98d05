"""The program at a shell: help, --set, standard input, what --json prints, Ctrl-C, completion."""
import json
import os
import signal
import subprocess
import tempfile
import time

from daemon import BINARY, ENVIRONMENT, FIXTURES, Daemon, equal, problem, run, true

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SPEC = {"models": {"a": f"{FIXTURES}/models/bert-a", "b": f"{FIXTURES}/models/bert-b"},
        "align": {"components": ["ff", "mha"], "dataset": f"{FIXTURES}/data/align.txt", "max_sequences": 20},
        "interpolate": {"points": 3},
        "evaluate": {"task": "mlm", "dataset": f"{FIXTURES}/data/eval.txt", "max_blocks": 4}}


def rebasind(*words, text=None):
    return subprocess.run([BINARY, *words], input=text, capture_output=True, text=True, env=ENVIRONMENT, timeout=120)


def test_help():
    alone = rebasind()
    equal((alone.returncode, alone.stderr), (0, ""))
    equal(alone.stdout, rebasind("help").stdout)
    for command, own, others in (("run", "--workers", "--max-connections"), ("token", "--data-dir", "--workers"),
                                 ("export", "--data-dir", "--listen"), ("health", "--listen", "--import-root"),
                                 ("serve", "--max-connections", None)):
        said = rebasind(command, "--help").stdout
        true(own in said and (others is None or others not in said), said)


def test_set_and_standard_input():
    done = rebasind("run", "-", "--json", "--set", "align.heads=monotonic", "--set", "evaluate.max_blocks=2",
                    "--set", "labels.why=a text", "--set=interpolate={\"lambdas\":[0.4]}", text=json.dumps(SPEC))
    equal((done.returncode, done.stderr), (0, ""), done.stdout[:500])
    job = json.loads(done.stdout)
    equal((job["spec"]["align"]["heads"], job["spec"]["evaluate"]["max_blocks"], job["labels"]),
          ("monotonic", 2, {"why": "a text"}))
    equal(job["barrier"]["lambdas"], [0, 0.4, 1])
    for wrong in ("align.heads", "=1", "Align=1", "align..heads=1", "models.a.x=1"):
        done = rebasind("run", "-", "--set", wrong, text=json.dumps(SPEC))
        equal(done.returncode, 2, wrong)
        true("--set" in done.stderr, done.stderr)


def test_json_for_whatever_is_wrong():
    for text, code, pointer in (("{", "invalid_json", None), (json.dumps({**SPEC, "oops": 1}), "invalid_request", "/oops"),
                                (json.dumps({**SPEC, "models": {"a": "/none", "b": "/none"}}), "not_found", "/models/a")):
        done = rebasind("run", "-", "--json", text=text)
        equal(done.returncode, 2, done)
        said = json.loads(done.stdout)
        equal((said["code"], said["errors"][0]["pointer"] if pointer else None), (code, pointer), said)
        true(done.stderr.startswith("rebasind: "), done.stderr)
        true(done.stderr.count(pointer or "rebasind: ") == 1, done.stderr)


def test_interrupted():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "spec.json")
        with open(path, "w") as f:
            json.dump({**SPEC, "interpolate": {"points": 1001}}, f)
        for number in (signal.SIGINT, signal.SIGTERM):
            p = subprocess.Popen([BINARY, "run", path], env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            time.sleep(1.5)
            p.send_signal(number)
            p.communicate(timeout=60)
            equal(p.returncode, 128 + number)


def test_completion():
    generate = os.path.join(ROOT, "deploy/completion/generate.py")
    equal(subprocess.run(["python3", "-B", generate, BINARY, "--check"], env=ENVIRONMENT).returncode, 0,
          "deploy/completion is not as generate.py makes it")
    ask = 'source deploy/completion/rebasind.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _rebasind; echo "${COMPREPLY[*]}"'

    def complete(*words):
        return subprocess.run(["bash", "-c", ask, "bash", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()

    equal(complete("rebasind", "ex"), ["export"])
    equal(complete("rebasind", "run", "--se"), ["--set"])
    equal(complete("rebasind", "--max-b"), ["--max-body-bytes"])
    equal(complete("rebasind", "token", "re"), ["revoke"])
    equal(complete("rebasind", "serve", "--log-level", "w"), ["warn"])
    true("--max-connections" not in complete("rebasind", "run", "--"))


def test_texts_that_are_none():
    with Daemon() as d, tempfile.NamedTemporaryFile(dir=FIXTURES, suffix=".none") as f:
        lines = b'{"sentence": "a"}\n\n{"sentence": "b", "label": 1}\n'
        f.write(lines)
        f.flush()
        r = d.request("PUT", "/v1/datasets/x", lines)
        problem(r, 422, "invalid_dataset")
        true("format=jsonl" in r.json["detail"], r.json)
        problem(d.post("/v1/datasets", {"name": "x", "path": f.name}), 422, "invalid_dataset")
        equal(d.request("PUT", "/v1/datasets/meant?format=text", lines).status, 201)
        equal(d.request("PUT", "/v1/datasets/mixed", lines + b"words\n").status, 201)
        r = d.post("/v1/datasets", {"name": "y", "path": f.name, "format": "jsonl",
                                    "fields": {"text": "sentence", "text_pair": None, "label": None}})
        equal((r.status, r.json["fields"]["text"]), (201, "sentence"), r)
        problem(d.post("/v1/datasets", {"name": "z", "path": f.name, "format": "jsonl", "text": "sentence",
                                        "fields": {"text": "sentence"}}), 422, "invalid_request", "/fields")


def test_all_that_is_missing():
    with Daemon() as d:
        r = d.post("/v1/jobs", {"models": {"a": "ma", "b": "mb"}, "align": {"dataset": "da"},
                                "evaluate": {"task": "mlm", "dataset": "de"}})
        problem(r, 422, "invalid_request", "/models/a")
        for name in ("'ma'", "'mb'", "'da'", "'de'"):
            true(name in r.json["detail"], r.json)


if __name__ == "__main__":
    run([test_help, test_set_and_standard_input, test_json_for_whatever_is_wrong, test_interrupted, test_completion,
         test_texts_that_are_none, test_all_that_is_missing])

"""Models and datasets by PUT: whole or not at all, in constant memory, while polls stay quick."""
import base64
import hashlib
import json
import os
import socket
import struct
import threading
import time

from daemon import (Daemon, FIXTURES, LONG_JOB, SLOW_BUILD, equal, problem, run, true)

MODEL = f"{FIXTURES}/models/bert-a"


def digest(data):
    return "sha-256=:" + base64.b64encode(hashlib.sha256(data).digest()).decode() + ":"


def read(path):
    with open(path, "rb") as f:
        return f.read()


def put_file(d, model, file, data, headers=None):
    return d.request("PUT", f"/v1/models/{model}/files/{file}", data, headers)


def no_leftovers(d):
    """Temporary files go with their request, a moment after its reply."""
    deadline = time.monotonic() + 10
    while os.listdir(f"{d.data_dir}/tmp"):
        true(time.monotonic() < deadline, os.listdir(f"{d.data_dir}/tmp"))
        time.sleep(0.02)


def test_model_by_upload():
    with Daemon(import_root=None) as d:
        files = ["config.json", "vocab.txt", "tokenizer_config.json", "model.safetensors"]
        for i, file in enumerate(files):
            data = read(f"{MODEL}/{file}")
            r = put_file(d, "m", file, data, {"Repr-Digest": digest(data)})
            equal(r.status, 201, r)
            equal(r["Location"], "/v1/models/m", r)
            if i == 0:
                equal(r.json["status"], "incomplete", r)
                equal((r.json["family"], r.json["tokenizer"]), ("bert", None), r)
        equal(r.json["status"], "ready", r)
        model = d.get("/v1/models/m").json
        equal(model, r.json)
        equal(model["architecture"], "BertForMaskedLM", model)
        equal((model["family"], model["tokenizer"]), ("bert", {"kind": "wordpiece", "vocabulary_size": 512}), model)
        equal(sorted(f["name"] for f in model["files"]), sorted(files), model)
        for f in model["files"]:
            equal(f["sha256"], hashlib.sha256(read(f"{MODEL}/{f['name']}")).hexdigest(), f)
        equal([m["name"] for m in d.get("/v1/models").json["data"]], ["m"])
        r = put_file(d, "m", "config.json", read(f"{MODEL}/config.json"))
        equal(r.status, 200, r)
        tag = d.get("/v1/models/m")["ETag"]
        equal(d.get("/v1/models/m", {"If-None-Match": tag}).status, 304)
        # A damaged config shows in the model; mending it mends the model.
        r = put_file(d, "m", "config.json", b"{}")
        equal((r.status, r.json["status"]), (200, "invalid"), r)
        true(r.json["problems"], r)
        r = put_file(d, "m", "config.json", read(f"{MODEL}/config.json"))
        equal(r.json["status"], "ready", r)
        equal(d.request("DELETE", "/v1/models/m").status, 204)
        problem(d.get("/v1/models/m"), 404, "not_found")
        problem(d.request("DELETE", "/v1/models/m"), 404, "not_found")
        no_leftovers(d)
        equal(os.listdir(f"{d.data_dir}/models"), [])


def test_refused_files():
    with Daemon("--max-upload-bytes", "1MiB", import_root=None) as d:
        weights = b"\x10\x00\x00\x00\x00\x00\x00\x00{\"a\":\"damaged\"}  "
        problem(put_file(d, "m", "model.safetensors", weights), 422, "invalid_safetensors")
        problem(put_file(d, "m", "model.safetensors", b""), 422, "invalid_safetensors")
        problem(put_file(d, "m", "vocab.txt", b"abc", {"Repr-Digest": digest(b"abd")}), 422,
                "digest_mismatch")
        # Alike but for its last byte.
        wrong = bytearray(hashlib.sha256(b"abc").digest())
        wrong[-1] ^= 1
        problem(put_file(d, "m", "vocab.txt", b"abc",
                         {"Repr-Digest": f"sha-256=:{base64.b64encode(wrong).decode()}:"}), 422, "digest_mismatch")
        problem(put_file(d, "m", "vocab.txt", b"abc", {"Repr-Digest": "sha-256=:x:"}), 400,
                "invalid_header")
        problem(put_file(d, "m", "vocab.txt", b"x" * 1024 * 1024 * 2), 413, "too_large")
        problem(put_file(d, "m", "vocab.txt", iter([b"x" * 65536] * 20)), 413, "too_large")
        # A client that sends all before it looks finds the answer too.
        problem(d.request("PUT", "/nothing", b"x" * 50000000), 404, "not_found")
        problem(put_file(d, "m", "vocab.txt", b"x" * 50000000), 413, "too_large")
        r = d.request("PATCH", "/livez", b"x" * 50000000)
        problem(r, 405, "method_not_allowed")
        equal(r["Allow"], "GET, HEAD", r)
        problem(put_file(d, "M", "vocab.txt", b"a"), 422, "invalid_request")
        problem(put_file(d, "m", ".hidden", b"a"), 422, "invalid_request")
        problem(put_file(d, "m", "a%2Fb", b"a"), 404, "not_found")
        problem(put_file(d, "..", "vocab.txt", b"a"), 404, "not_found")
        problem(put_file(d, "m", "x" * 64, b"a"), 422, "invalid_request")
        problem(d.get("/v1/models/m"), 404, "not_found")
        no_leftovers(d)


def test_dataset_by_upload():
    with Daemon(import_root=None) as d:
        rows = b"".join(b'{"s": "text %d", "y": %d}\n' % (i, i % 2) for i in range(50))
        r = d.request("PUT", "/v1/datasets/d?format=jsonl&text=s&label=y", rows,
                      {"Repr-Digest": digest(rows)})
        equal(r.status, 201, r)
        equal((r.json["rows"], r.json["bytes"], r.json["format"]), (50, len(rows), "jsonl"), r)
        equal(r.json["sha256"], hashlib.sha256(rows).hexdigest(), r)
        equal(r.json["fields"], {"text": "s", "text_pair": None, "label": "y"}, r)
        equal(d.request("PUT", "/v1/datasets/d", b"one\ntwo\n").status, 200)
        equal(d.get("/v1/datasets/d").json["format"], "text")
        problem(d.request("PUT", "/v1/datasets/d", b"\n \n"), 422, "invalid_dataset")
        equal(d.get("/v1/datasets/d").json["rows"], 2)
        problem(d.request("PUT", "/v1/datasets/e?format=jsonl&text=s", b"{\n"), 422,
                "invalid_dataset")
        problem(d.request("PUT", "/v1/datasets/e?format=jsonl", rows), 400, "invalid_query", "text")
        problem(d.request("PUT", "/v1/datasets/e?text=s", rows), 400, "invalid_query", "text")
        problem(d.request("PUT", "/v1/datasets/e?format=xml", rows), 400, "invalid_query", "format")
        problem(d.request("PUT", "/v1/datasets/e%20", rows), 422, "invalid_request")
        equal([x["name"] for x in d.get("/v1/datasets").json["data"]], ["d"])
        equal(d.request("DELETE", "/v1/datasets/d").status, 204)
        equal(d.get("/v1/datasets").json["data"], [])


def test_pages():
    with Daemon(import_root=None) as d:
        names = [f"d{i:02}" for i in range(7)]
        for name in reversed(names):
            equal(d.request("PUT", f"/v1/datasets/{name}", b"x\n").status, 201)
        found, path = [], "/v1/datasets?limit=3"
        while path:
            page = d.get(path).json
            true(len(page["data"]) <= 3, page)
            found += [x["name"] for x in page["data"]]
            token = page.get("next_page_token")
            path = f"/v1/datasets?limit=3&page_token={token}" if token else None
        equal(found, names)
        token = d.get("/v1/datasets?limit=3").json["next_page_token"]
        problem(d.get(f"/v1/models?page_token={token}"), 400, "invalid_query", "page_token")


def test_imports():
    with Daemon() as d:
        d.register_fixtures()
        problem(d.post("/v1/models", {"name": "bert-a", "path": MODEL}), 409, "conflict")
        for path in ("/etc", f"{FIXTURES}/../../core", f"{FIXTURES}/models/../../../core"):
            problem(d.post("/v1/models", {"name": "m", "path": path}), 422, "invalid_request", "/path")
        problem(d.post("/v1/models", {"name": "m", "path": "relative"}), 422, "invalid_request",
                "/path")
        problem(d.post("/v1/datasets", {"name": "x", "path": "/etc/passwd"}), 422,
                "invalid_request", "/path")
        problem(put_file(d, "bert-a", "config.json", b"{}"), 409, "conflict")
        equal(d.request("DELETE", "/v1/models/bert-a").status, 204)
        true(os.path.exists(f"{MODEL}/config.json"))


def test_in_use():
    with Daemon() as d:
        for file in os.listdir(MODEL):
            equal(put_file(d, "a", file, read(f"{MODEL}/{file}")).status, 201)
        equal(d.post("/v1/models", {"name": "bert-b",
                                    "path": f"{FIXTURES}/models/bert-b"}).status, 201)
        text = read(f"{FIXTURES}/data/align.txt")
        equal(d.request("PUT", "/v1/datasets/align", text).status, 201)
        equal(d.request("PUT", "/v1/datasets/eval", text).status, 201)
        r = d.post("/v1/jobs", {**LONG_JOB, "models": {"a": "a", "b": "bert-b"}})
        equal(r.status, 202, r)
        job = r.json["id"]
        problem(put_file(d, "a", "config.json", b"{}"), 409, "in_use")
        problem(d.request("DELETE", "/v1/models/a"), 409, "in_use")
        problem(d.request("PUT", "/v1/datasets/align", text), 409, "in_use")
        problem(d.request("DELETE", "/v1/datasets/align"), 409, "in_use")
        problem(d.request("DELETE", f"/v1/jobs/{job}"), 409, "in_use")
        d.post(f"/v1/jobs/{job}/cancel")
        equal(d.wait_finished(job)["status"], "canceled")
        equal(put_file(d, "a", "vocab.txt", read(f"{MODEL}/vocab.txt")).status, 200)
        equal(d.request("DELETE", "/v1/models/a").status, 204)


def resident(d):
    with open(f"/proc/{d.process.pid}/status") as f:
        return next(int(x.split()[1]) for x in f if x.startswith("VmHWM")) * 1024


def test_large_upload():
    """A quarter of a gigabyte: memory stays, polls stay quick, and what comes back is the same."""
    size = 256 * 1024 * 1024
    block = os.urandom(1024 * 1024)
    header = json.dumps({"x": {"dtype": "F32", "shape": [size // 4],
                               "data_offsets": [0, size]}}).encode()
    header += b" " * (-len(header) % 8)
    head = struct.pack("<Q", len(header)) + header
    with Daemon(import_root=None) as d:
        d.get("/livez")
        before, slowest, done = resident(d), [], threading.Event()

        def poll():
            c = d.connect()
            while not done.is_set():
                begun = time.monotonic()
                equal(d.get("/v1/models", connection=c).status, 200)
                slowest.append(time.monotonic() - begun)
                time.sleep(0.005)
        thread = threading.Thread(target=poll)
        thread.start()
        begun = time.monotonic()
        sha = hashlib.sha256(head)
        with socket.create_connection(("127.0.0.1", d.port)) as s:
            s.sendall(b"PUT /v1/models/big/files/model.safetensors HTTP/1.1\r\nHost: localhost\r\n"
                      b"Content-Length: %d\r\nConnection: close\r\n\r\n" % (len(head) + size))
            s.sendall(head)
            for i in range(size // len(block)):
                s.sendall(block)
            sent = time.monotonic()
            answer = b""
            while part := s.recv(65536):
                answer += part
        done.set()
        thread.join()
        seconds = time.monotonic() - begun
        true(answer.startswith(b"HTTP/1.1 201"), answer[:500])
        for i in range(size // len(block)):
            sha.update(block)
        files = d.get("/v1/models/big").json["files"]
        equal([(f["name"], f["bytes"], f["sha256"]) for f in files],
              [("model.safetensors", len(head) + size, sha.hexdigest())])
        slowest.sort()
        p99 = slowest[int(len(slowest) * 0.99)] * 1000
        grown = resident(d) - before
        print(f"      {size / seconds / 1e6:.0f} MB/s, poll p99 {p99:.1f} ms, "
              f"max {slowest[-1] * 1000:.1f} ms, memory +{grown / 1e6:.1f} MB")
        if not SLOW_BUILD:
            true(grown < 16e6, grown)
            true(p99 < 50, p99)


def test_broken_off():
    """A client that leaves in the middle leaves nothing behind."""
    with Daemon(import_root=None) as d:
        for body in (b"", b"x" * 10, b"x" * 700000):
            with socket.create_connection(("127.0.0.1", d.port)) as s:
                s.sendall(b"PUT /v1/models/m/files/vocab.txt HTTP/1.1\r\nHost: localhost\r\n"
                          b"Content-Length: 5000000\r\n\r\n" + body)
                time.sleep(0.1)
        no_leftovers(d)
        problem(d.get("/v1/models/m"), 404, "not_found")


def test_put_again():
    """A checkpoint goes on after an upload that broke off: the files that are there stay as they are,
    the one that broke off is put again."""
    with Daemon(import_root=None) as d:
        for file in ("config.json", "vocab.txt", "model.safetensors"):
            equal(put_file(d, "m", file, read(f"{MODEL}/{file}")).status, 201)
        before = d.get("/v1/models/m").json
        equal(before["status"], "ready", before)
        data = read(f"{MODEL}/model.safetensors")
        with socket.create_connection(("127.0.0.1", d.port)) as s:
            s.sendall(b"PUT /v1/models/m/files/model.safetensors HTTP/1.1\r\nHost: localhost\r\n"
                      b"Content-Length: %d\r\n\r\n" % len(data) + data[:len(data) // 2])
            time.sleep(0.1)
        no_leftovers(d)
        equal(d.get("/v1/models/m").json, before)
        r = put_file(d, "m", "model.safetensors", data, {"Repr-Digest": digest(data)})
        equal((r.status, r.json["status"], r.json["sha256"]), (200, "ready", before["sha256"]), r)


if __name__ == "__main__":
    run([v for k, v in list(globals().items()) if k.startswith("test_")])

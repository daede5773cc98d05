"""What reads files whole has a lane of its own: imports of large files hold up nothing that is short,
and hanging up, deleting and draining end them.

Nothing here is timed: what must not wait is asked for while the large ones are known to be read."""
import json
import os
import shutil
import signal
import socket
import struct
import tempfile
import time

from daemon import Daemon, FIXTURES, SMALL_JOB, equal, problem, run, true

GIB = 1 << 30


def large_model(root, name, gib=7):
    """A valid checkpoint with zeros for weights, most of it an embedding table, as a sparse file."""
    folder = os.path.join(root, name)
    shutil.copytree(f"{FIXTURES}/models/bert-a", folder)
    path = os.path.join(folder, "model.safetensors")
    with open(path, "rb") as f:
        n = struct.unpack("<Q", f.read(8))[0]
        header = json.loads(f.read(n))
    rows = gib * GIB // (128 * 4)
    at = 0
    for tensor, t in header.items():
        if tensor == "__metadata__":
            continue
        if t["shape"] and "word_embeddings" in tensor or "predictions.bias" in tensor:
            t["shape"][0] = rows
        size = 4
        for d in t["shape"]:
            size *= d
        t["data_offsets"] = [at, at + size]
        at += size
    text = json.dumps(header).encode()
    os.unlink(path)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        f.truncate(8 + len(text) + at)
    config = json.load(open(os.path.join(folder, "config.json")))
    json.dump({**config, "vocab_size": rows}, open(os.path.join(folder, "config.json"), "w"))
    return folder


def import_from(d, name, path, kind="models"):
    """Begins an import and does not wait; the socket."""
    body = json.dumps({"name": name, "path": path}).encode()
    s = socket.create_connection(("127.0.0.1", d.port), timeout=120)
    s.sendall(b"POST /v1/%s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
              b"Content-Length: %d\r\n\r\n%s" % (kind.encode(), len(body), body))
    return s


def lane(d, name="read"):
    """(running, waiting)"""
    text = d.get("/metrics").body.decode()
    return tuple(int(next(line.split()[1] for line in text.splitlines()
                          if line.startswith(f'rebasind_lane_{what}{{lane="{name}"}}')))
                 for what in ("busy", "waiting"))


def until(condition, what, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        true(time.monotonic() < end, what)
        time.sleep(0.02)


def test_nothing_waits_for_imports():
    root = tempfile.mkdtemp(prefix="rebasind-lanes-")
    try:
        large = [large_model(root, f"large-{i}") for i in range(3)]
        with Daemon("--import-root", root) as d:
            d.register_fixtures()
            held = [import_from(d, f"large-{i}", p) for i, p in enumerate(large)]
            until(lambda: sum(lane(d)) == 3, "three are being read")
            ready = d.get("/readyz?verbose=true").json
            true("read: 2 of 2 busy" in next(c["detail"] for c in ready["checks"]
                                             if c["name"] == "lanes"), ready)
            # Each of these went through the two threads that the imports held.
            job = d.post("/v1/jobs", SMALL_JOB)
            equal(job.status, 202, job)
            r = d.request("PUT", "/v1/datasets/text?format=text", b"one line\n" * 100000)
            equal(r.status, 201, r)
            r = d.post("/v1/models", {"name": "small", "path": f"{FIXTURES}/models/bert-a"})
            equal(r.status, 201, r)
            done = d.wait_finished(job.json["id"])
            equal(done["status"], "succeeded", done)
            r = d.get(f"/v1/alignments/{done['id']}?matrix=true")
            true(r.status in (200, 404), r)
            equal(sum(lane(d)), 3, "the large ones are still being read")
            equal([m["name"] for m in d.get("/v1/models").json["data"]],
                  ["bert-a", "bert-b", "small"])
            # A refusal that a header or a first line can give comes at once.
            os.mkdir(f"{root}/odd")
            shutil.copytree(large[0], f"{root}/odd/m", copy_function=os.link)
            os.unlink(f"{root}/odd/m/config.json")
            config = json.load(open(f"{large[0]}/config.json"))
            json.dump({**config, "intermediate_size": 7}, open(f"{root}/odd/m/config.json", "w"))
            problem(d.post("/v1/models", {"name": "odd", "path": f"{root}/odd/m"}), 422,
                    "shape_mismatch")
            with open(f"{root}/zeros", "wb") as f:
                f.truncate(6 * GIB)
            problem(d.post("/v1/datasets", {"name": "zeros", "path": f"{root}/zeros"}), 422,
                    "invalid_dataset")
            equal(sum(lane(d)), 3, "the large ones are still being read")
            # Hanging up ends one, deleting another.
            held[0].close()
            until(lambda: sum(lane(d)) == 2, "hanging up ends an import")
            equal(d.request("DELETE", "/v1/models/large-1").status, 204)
            answer = held[1].recv(65536)
            true(answer.startswith(b"HTTP/1.1 409") and b"deleted while" in answer, answer)
            until(lambda: sum(lane(d)) == 1, "deleting ends an import")
            problem(d.request("DELETE", "/v1/models/large-0"), 404, "not_found")
            # SIGTERM: the last one is answered, and the daemon ends.
            begun = time.monotonic()
            d.process.send_signal(signal.SIGTERM)
            answer = held[2].recv(65536)
            true(answer.startswith(b"HTTP/1.1 503") and b"draining" in answer, answer)
            equal(d.stop(timeout=30), 0)
            true(time.monotonic() - begun < 10, "SIGTERM takes 10 s")
    finally:
        shutil.rmtree(root)


def test_jobs_give_way_too():
    """A job that loads a large model can be cancelled, and drains; small jobs pass it."""
    root = tempfile.mkdtemp(prefix="rebasind-lanes-")
    try:
        large = large_model(root, "large", gib=1)
        with Daemon("--import-root", root) as d:
            d.register_fixtures()
            equal(d.post("/v1/models", {"name": "large", "path": large}, timeout=120).status, 201)
            os.utime(f"{large}/model.safetensors")  # so that it is read again
            spec = {"models": {"a": "large", "b": "large"},
                    "align": {"dataset": "align", "max_sequences": 20}}
            jobs = [d.post("/v1/jobs", spec).json["id"] for _ in range(2)]
            until(lambda: lane(d)[0] > 0, "a job reads it")
            equal(d.post(f"/v1/jobs/{jobs[0]}/cancel").status, 202)
            equal(d.wait_finished(jobs[0], timeout=30)["status"], "canceled")
            begun = time.monotonic()
            equal(d.stop(), 0)
            true(time.monotonic() - begun < 10, "SIGTERM takes 10 s")
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    run([v for k, v in list(globals().items()) if k.startswith("test_")])

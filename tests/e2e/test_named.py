"""What a client names and cannot be used is its fault (4xx); what the host has lost is not (503)."""
import os
import shutil
import socket
import tempfile
import time

from daemon import FIXTURES, SMALL_JOB, Daemon, equal, problem, run, true


def odd_things(root):
    """Paths that are neither a text nor a checkpoint."""
    os.mkfifo(f"{root}/fifo")
    os.mkdir(f"{root}/folder")
    s = socket.socket(socket.AF_UNIX)
    s.bind(f"{root}/socket")
    os.symlink("loop", f"{root}/loop")
    open(f"{root}/file", "w").write("a line\n")
    open(f"{root}/folder/x", "w").write("a line\n")
    names = ["fifo", "socket", "loop", "none", "x" * 300, "file/below", "folder/x/y"]
    try:
        os.mknod(f"{root}/device", 0o20666, os.makedev(1, 5))
        names.append("device")
    except OSError:  # not root
        pass
    return s, names


def test_imports_of_odd_things():
    root = tempfile.mkdtemp(prefix="rebasind-odd-")
    held, names = odd_things(root)
    try:
        with Daemon("--import-root", root) as d:
            for name in names:
                for kind in ("models", "datasets"):
                    r = d.post(f"/v1/{kind}", {"name": "odd", "path": f"{root}/{name}"}, timeout=10)
                    problem(r, 422, "invalid_request")
            body = problem(d.post("/v1/models", {"name": "odd", "path": f"{root}/file"}), 422,
                           "invalid_request")
            true("expected a folder" in body["detail"], body)
            problem(d.post("/v1/datasets", {"name": "odd", "path": f"{root}/folder"}), 422,
                    "invalid_request")
            shutil.copytree(f"{FIXTURES}/models/bert-a", f"{root}/m")
            for file in ("config.json", "model.safetensors", "vocab.txt"):
                shutil.move(f"{root}/m/{file}", f"{root}/kept")
                os.mkfifo(f"{root}/m/{file}")
                r = d.post("/v1/models", {"name": "odd", "path": f"{root}/m"}, timeout=10)
                true(r.status == 422, (file, r))
                os.unlink(f"{root}/m/{file}")
                os.mkdir(f"{root}/m/{file}")
                r = d.post("/v1/models", {"name": "odd", "path": f"{root}/m"}, timeout=10)
                true(r.status == 422, (file, r))
                os.rmdir(f"{root}/m/{file}")
                shutil.move(f"{root}/kept", f"{root}/m/{file}")
            equal(d.post("/v1/models", {"name": "odd", "path": f"{root}/m"}).status, 201)
            text = d.get("/metrics").body.decode()
            true('status="5' not in text, text)
    finally:
        held.close()
        shutil.rmtree(root)


def test_a_data_folder_moved_away():
    with Daemon() as d:
        equal(d.get("/readyz").status, 200)
        os.rename(d.data_dir, d.data_dir + ".away")
        try:
            r = d.request("PUT", "/v1/datasets/text?format=text", b"a line\n")
            problem(r, 503, "store_unavailable")
            true(d.data_dir not in r.body.decode(), r)
            end = time.monotonic() + 10
            while (ready := d.get("/readyz")).status == 200:  # it looks once a second
                true(time.monotonic() < end, ready)
                time.sleep(0.1)
            # Another folder under the name is not it either.
            os.mkdir(d.data_dir)
            r = d.request("PUT", "/v1/datasets/text?format=text", b"a line\n")
            os.rmdir(d.data_dir)
            problem(r, 503, "store_unavailable")
            problem(ready, 503, "store_unavailable")
        finally:
            os.rename(d.data_dir + ".away", d.data_dir)


class Powerless(Daemon):
    """A daemon to whom the permissions of files apply, though root runs the tests."""

    def command(self):
        drop = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all"] if os.geteuid() == 0 else []
        return drop + super().command()


def put_text(d, name, text=b"a line\n"):
    return d.request("PUT", f"/v1/datasets/{name}?format=text", text)


def chmod_all(folder, add, take):
    for path, _, files in os.walk(folder, topdown=False):
        for name in [path, *(f"{path}/{f}" for f in files)]:
            os.chmod(name, (os.stat(name).st_mode | add) & ~take)


def test_a_data_folder_that_may_not_be_written():
    """chmod -R a-w: the host's fault, said by readyz and by whatever would write; well again after."""
    with Powerless() as d:
        d.register_fixtures()
        equal(put_text(d, "old").status, 201)
        equal(d.wait_finished(d.post("/v1/jobs", SMALL_JOB).json["id"])["status"], "succeeded")
        chmod_all(d.data_dir, 0, 0o222)
        try:
            for name in ("new", "old"):
                body = problem(put_text(d, name, b"another line\n"), 503, "store_unavailable")
                true(d.data_dir not in str(body), body)
            problem(d.request("PUT", "/v1/models/m/files/config.json", b"{}"), 503, "store_unavailable")
            end = time.monotonic() + 10
            while (ready := d.get("/readyz")).status == 200:  # it looks once a second
                true(time.monotonic() < end, ready)
                time.sleep(0.1)
            body = problem(ready, 503, "store_unavailable")
            true("ermission" in body["detail"] and "disk" in body["detail"], body)
            for path in ("/livez", "/v1/jobs", "/v1/models", "/metrics"):
                equal(d.get(path).status, 200, path)
            # The database was open before, so a job may be taken; it waits until it can write.
            r = d.post("/v1/jobs", {**SMALL_JOB, "outputs": {"merged": [0.5]}})
            true(r.status == 202 or problem(r, 503, "store_unavailable"), r)
            time.sleep(1)
            if r.status == 202:
                true(d.get(f"/v1/jobs/{r.json['id']}").json["status"] in ("queued", "running"), r)
            text = d.get("/metrics").body.decode()
            true('status="500"' not in text, text)
        finally:
            chmod_all(d.data_dir, 0o200, 0)
        while d.get("/readyz").status != 200:
            true(time.monotonic() < end + 10, d.get("/readyz"))
            time.sleep(0.1)
        equal(put_text(d, "new").status, 201)
        if r.status == 202:
            equal(d.wait_finished(r.json["id"])["status"], "succeeded")


def test_metrics_without_a_value():
    """A correlation with labels that are all the same is null, not left out."""
    root = tempfile.mkdtemp(prefix="rebasind-same-")
    try:
        with open(f"{root}/same.jsonl", "w") as f:
            for i in range(8):
                f.write('{"text": "the quick brown fox %d", "label": 2.5}\n' % i)
        with Daemon("--import-root", root) as d:
            for name in ("overlap-a", "overlap-b"):
                r = d.post("/v1/models", {"name": name, "path": f"{FIXTURES}/models/{name}"})
                equal(r.status, 201, r)
            r = d.post("/v1/datasets", {"name": "same", "path": f"{root}/same.jsonl",
                                        "format": "jsonl", "text": "text", "label": "label"})
            equal(r.status, 201, r)
            r = d.post("/v1/jobs", {"models": {"a": "overlap-a", "b": "overlap-b"},
                                    "align": {"dataset": "same", "components": ["ff"]},
                                    "interpolate": {"points": 2},
                                    "evaluate": {"task": "regression", "dataset": "same"}})
            equal(r.status, 202, r)
            job = d.wait_finished(r.json["id"])
            equal(job["status"], "succeeded", job)
            curve = d.get(f"/v1/jobs/{job['id']}/barrier").json["aligned"]
            equal(curve["metrics"], {"pearson": [None, None], "spearman": [None, None]}, curve)
            events = d.get(f"/v1/jobs/{job['id']}/events").json["data"]
            points = [e["data"]["metrics"] for e in events if e["type"] == "point"]
            true(points and all(p == {"pearson": None, "spearman": None} for p in points), points)
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    run([v for k, v in list(globals().items()) if k.startswith("test_")])

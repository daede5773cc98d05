"""What the machine takes away: disk, files, memory, the right to write. The daemon says so with a
clear code, goes on serving, and is well again by itself once the cause is gone.

The disk tests mount small file systems, which takes the right to mount: without it they say so and
are left out.
"""
import contextlib
import os
import random
import resource
import shutil
import socket
import subprocess
import tempfile
import time

from daemon import (FIXTURES, LONG_JOB, SANITIZED, SLOW_BUILD, SMALL_JOB, SOON_EVALUATING_JOB, Daemon, equal, problem,
                    run, true)

MB = 1 << 20
WRITER = {**SMALL_JOB, "outputs": {"merged": [0.25, 0.5, 0.75]}}


def mount(*words):
    return subprocess.run(["mount", *words], capture_output=True, text=True, check=False)


@contextlib.contextmanager
def small_disk(megabytes):
    """A folder on a file system of its own; None where mounting is not allowed."""
    folder = tempfile.mkdtemp(prefix="rebasind-disk-")
    done = mount("-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", folder)
    if done.returncode != 0:
        os.rmdir(folder)
        print(f"      left out: {done.stderr.strip()}")
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
        os.rmdir(folder)


@contextlib.contextmanager
def read_only(folder):
    """The folder as the daemon finds it from now on; False where mounting is not allowed."""
    if mount("--bind", folder, folder).returncode != 0:
        print("      left out: no right to mount")
        yield False
        return
    try:
        equal(mount("-o", "remount,bind,ro", folder).returncode, 0)
        yield True
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@contextlib.contextmanager
def daemon_on(disk):
    """With its log somewhere else."""
    with tempfile.TemporaryDirectory(prefix="rebasind-log-") as logs:
        d = Daemon(data_dir=f"{disk}/data", start=False)
        d.log_path = f"{logs}/log"
        open(d.log_path, "wb").close()
        with d:
            d.start()
            yield d


def fill(path, keep_bytes):
    """Takes all of the disk but keep_bytes."""
    s = os.statvfs(os.path.dirname(path))
    with open(path, "wb") as f:
        try:
            os.posix_fallocate(f.fileno(), 0, max(0, s.f_bavail * s.f_frsize - keep_bytes))
        except OSError as e:
            raise AssertionError(f"cannot fill the disk: {e}") from e


def submit(d, spec):
    r = d.post("/v1/jobs", spec)
    equal(r.status, 202, r)
    return r.json["id"]


def put(d, name, text):
    return d.request("PUT", f"/v1/datasets/{name}?format=text", text,
                     {"Content-Type": "application/octet-stream"})


def await_log(d, words, timeout=60):
    deadline = time.monotonic() + timeout
    while words not in d.log():
        true(time.monotonic() < deadline, f"the log never says {words!r}")
        time.sleep(0.02)


def serves(d):
    for path in ("/livez", "/v1/jobs", "/v1/models", "/metrics", "/version"):
        r = d.get(path)
        equal(r.status, 200, r)


def test_full_disk():
    """A job that runs into a full disk waits for room; submissions are refused meanwhile."""
    with small_disk(220) as disk:
        if disk is None:
            return
        with daemon_on(disk) as d:
            d.register_fixtures()
            equal(d.get("/readyz").status, 200)
            job = submit(d, {**WRITER, "interpolate": {"points": 21}})
            while d.get(f"/v1/jobs/{job}").json["phase"] != "evaluating":
                time.sleep(0.005)
            fill(f"{disk}/ballast", 1 * MB)
            problem(d.get("/readyz"), 503, "no_space")
            r = d.post("/v1/jobs", WRITER)
            problem(r, 503, "no_space")
            true(r["Retry-After"], r)
            await_log(d, "job waits")
            equal(d.get(f"/v1/jobs/{job}").json["status"], "running")
            serves(d)
            fill(f"{disk}/last", 0)
            problem(put(d, "big", b"a line\n" * 100000), 503, "no_space")
            r = d.post("/v1/datasets", {"name": "more", "path": f"{FIXTURES}/data/eval.txt",
                                        "format": "text"})
            true(r.status in (201, 503), r)
            serves(d)
            os.unlink(f"{disk}/last")
            os.unlink(f"{disk}/ballast")
            final = d.wait_finished(job)
            equal((final["status"], final["attempt"]), ("succeeded", 1), final)
            equal(d.get("/readyz").status, 200)
            equal(d.wait_finished(submit(d, WRITER))["status"], "succeeded")


def await_status(d, path, status, timeout=60):
    deadline = time.monotonic() + timeout
    while d.get(path).status != status:
        true(time.monotonic() < deadline, d.get(path))
        time.sleep(0.05)


def test_start_on_a_full_disk():
    """It starts, says why it takes nothing, and serves what makes room: reads and deletions. With
    room it is its old self."""
    with small_disk(120) as disk:
        if disk is None:
            return
        with daemon_on(disk) as d:
            d.register_fixtures()
            done = [submit(d, SMALL_JOB) for _ in range(2)]
            for job in done:
                equal(d.wait_finished(job)["status"], "succeeded")
            equal(d.get("/readyz").status, 200)
            waiting = submit(d, LONG_JOB)
            while d.get(f"/v1/jobs/{waiting}").json["phase"] != "evaluating":
                time.sleep(0.01)
            equal(d.stop(), 0)  # which takes the database's log away: opening it makes one
            with open(f"{disk}/data/tmp/leftover", "wb") as f:  # as of an upload
                f.write(bytes(1000))
            fill(f"{disk}/ballast", 0)
            d.start()
            detail = problem(d.get("/readyz"), 503, "no_space")["detail"]
            true("disk" in detail and "full" in detail, detail)
            true("is full" in d.log(), "the log says why")
            serves(d)
            true(not os.path.exists(f"{disk}/data/tmp/leftover"), "swept")
            equal(d.get(f"/v1/jobs/{done[0]}/artifacts/alignment.safetensors").status, 200)
            r = d.post("/v1/jobs", SMALL_JOB)
            detail = problem(r, 503, "no_space")["detail"]
            true("deletions" in detail and r["Retry-After"], r)
            for r in (put(d, "small", b"a line\n"), d.post(f"/v1/jobs/{done[0]}/retry"),
                      d.post("/v1/jobs/batch", {"jobs": [SMALL_JOB]}),
                      d.post("/v1/models", {"name": "more", "path": f"{FIXTURES}/models/bert-a"})):
                problem(r, 503, "no_space")
            # Nothing is begun that would fill what is left.
            equal(d.get(f"/v1/jobs/{waiting}").json["status"], "queued")
            # A restart finds the reserve spent, and the same state.
            equal(d.stop(), 0)
            d.start()
            problem(d.get("/readyz"), 503, "no_space")
            equal(d.request("DELETE", f"/v1/jobs/{done[0]}").status, 204)
            equal(d.post(f"/v1/jobs/{waiting}/cancel").json["status"], "canceled")
            equal(d.request("DELETE", f"/v1/jobs/{waiting}").status, 204)
            equal(d.request("DELETE", "/v1/datasets/align").status, 204)
            problem(d.get("/readyz"), 503, "no_space")
            os.unlink(f"{disk}/ballast")
            await_status(d, "/readyz", 200)
            equal([j["id"] for j in d.get("/v1/jobs").json["data"]], [done[1]])
            true(os.path.getsize(f"{disk}/data/reserve") > 0, "kept for the next time")
            equal(d.post("/v1/datasets", {"name": "align", "path": f"{FIXTURES}/data/align.txt",
                                          "format": "text"}).status, 201)
            equal(d.wait_finished(submit(d, SMALL_JOB))["status"], "succeeded")


def test_disk_fills_under_a_daemon():
    """What makes room goes on; the job under way waits, and the reserve is left to deletions."""
    with small_disk(120) as disk:
        if disk is None:
            return
        with daemon_on(disk) as d:
            d.register_fixtures()
            old = submit(d, SMALL_JOB)
            equal(d.wait_finished(old)["status"], "succeeded")
            job = submit(d, SOON_EVALUATING_JOB)
            while d.get(f"/v1/jobs/{job}").json["phase"] != "evaluating":
                time.sleep(0.01)
            fill(f"{disk}/ballast", 0)
            await_log(d, "job waits")
            points = len(d.get(f"/v1/jobs/{job}/barrier").json["lambdas"])
            equal(d.request("DELETE", f"/v1/jobs/{old}").status, 204)
            problem(d.post("/v1/jobs", SMALL_JOB), 503, "no_space")
            time.sleep(2.5)
            equal(len(d.get(f"/v1/jobs/{job}/barrier").json["lambdas"]), points, "it waits")
            equal(d.post(f"/v1/jobs/{job}/cancel").status, 202)
            equal(d.wait_finished(job)["status"], "canceled")
            equal(d.request("DELETE", f"/v1/jobs/{job}").status, 204)
            os.unlink(f"{disk}/ballast")
            await_status(d, "/readyz", 200)
            equal(d.wait_finished(submit(d, SMALL_JOB))["status"], "succeeded")


def test_no_room_to_drain():
    """SIGTERM on a full disk: exits 0 all the same, and the job is found again."""
    with small_disk(100) as disk:
        if disk is None:
            return
        with daemon_on(disk) as d:
            d.register_fixtures()
            job = submit(d, SOON_EVALUATING_JOB)
            while d.get(f"/v1/jobs/{job}").json["phase"] != "evaluating":
                time.sleep(0.01)
            fill(f"{disk}/ballast", 0)
            begun = time.monotonic()
            equal(d.stop(), 0)
            true(time.monotonic() - begun < 10, "ends within 10 s")
            os.unlink(f"{disk}/ballast")
            d.start()
            true(d.get(f"/v1/jobs/{job}").json["status"] in ("queued", "running"), job)
            d.post(f"/v1/jobs/{job}/cancel")
            equal(d.wait_finished(job)["status"], "canceled")


def test_read_only_disk():
    with Daemon() as d:
        d.register_fixtures()
        submit_folder = f"{d.data_dir}/jobs"
        os.makedirs(submit_folder, exist_ok=True)
        with read_only(submit_folder) as mounted:
            if not mounted:
                return
            job = submit(d, WRITER)
            await_log(d, "job waits")
            true("Read-only file system" in d.log(), "the log says why")
            equal(d.get(f"/v1/jobs/{job}").json["status"], "running")
            serves(d)
        equal(d.wait_finished(job)["status"], "succeeded")
        os.makedirs(f"{d.data_dir}/tmp", exist_ok=True)
        with read_only(f"{d.data_dir}/tmp"):
            problem(put(d, "small", b"a line\n"), 503, "store_unavailable")
        equal(put(d, "small", b"a line\n").status, 201)


def test_start_on_a_read_only_disk():
    with small_disk(100) as disk:
        if disk is None:
            return
        with daemon_on(disk) as d:
            d.register_fixtures()
            equal(d.stop(), 0)
            equal(mount("-o", "remount,ro", disk).returncode, 0)
            try:
                d.start()
            except AssertionError as e:
                true("Read-only" in str(e) or "readonly" in str(e), e)
            else:
                raise AssertionError("it serves from a read-only disk")
            d.process = None
            equal(mount("-o", "remount,rw", disk).returncode, 0)
            d.start()
            equal(len(d.get("/v1/models").json["data"]), 2)
            equal(d.stop(), 0)


def limited(d, which, value):
    """Lowers a limit of the running daemon; returns the limits that it had."""
    before = resource.prlimit(d.process.pid, which)
    resource.prlimit(d.process.pid, which, (value, before[1]))
    return before


def test_file_size_limit():
    """RLIMIT_FSIZE: a write beyond it fails instead of ending the process."""
    with Daemon() as d:
        d.register_fixtures()
        before = limited(d, resource.RLIMIT_FSIZE, MB)
        job = submit(d, WRITER)  # its checkpoints have 3.6 MB
        await_log(d, "job waits")
        serves(d)
        problem(put(d, "big", b"a line\n" * (MB // 4)), 503, "no_space")
        resource.prlimit(d.process.pid, resource.RLIMIT_FSIZE, before)
        equal(d.wait_finished(job)["status"], "succeeded")


def test_out_of_file_descriptors():
    with Daemon("--max-connections-per-address", "500") as d:
        d.register_fixtures()
        c = d.connect()
        equal(d.get("/livez", connection=c).status, 200)
        used = len(os.listdir(f"/proc/{d.process.pid}/fd"))
        before = limited(d, resource.RLIMIT_NOFILE, used)
        # Connections that stand are served; what needs a file says that there is none.
        r = d.post("/v1/datasets", {"name": "more", "path": f"{FIXTURES}/data/eval.txt",
                                    "format": "text"}, connection=c)
        problem(r, 503, "out_of_files")
        r = d.post("/v1/jobs", SMALL_JOB, connection=c)
        true(r.status in (202, 503), r)
        job = r.json.get("id")
        if r.status == 503:
            problem(r, 503, "out_of_files")
        # New ones wait in the kernel's backlog and cost the daemon no core.
        waiting = [socket.create_connection(("127.0.0.1", d.port)) for _ in range(20)]
        for s in waiting:
            s.sendall(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        spent = cpu_seconds(d)
        time.sleep(2)
        spent = cpu_seconds(d) - spent
        print(f"      {spent:.2f} s of a core in 2 s without descriptors")
        equal(d.get("/livez", connection=c).status, 200)
        # The connection that stands is a stream: it does not end to make room for others.
        c.request("GET", "/v1/events", headers={"Accept": "text/event-stream"})
        resource.prlimit(d.process.pid, resource.RLIMIT_NOFILE, before)
        begun = time.monotonic()
        for s in waiting:
            s.settimeout(20)
            true(s.recv(64).startswith(b"HTTP/1.1 200"), "served after all")
            s.close()
        seconds = time.monotonic() - begun
        print(f"      served {seconds:.2f} s after there were descriptors again")
        true(seconds < 3, seconds)
        c.close()
        if job is not None:
            equal(d.wait_finished(job)["status"], "succeeded")
        equal(d.wait_finished(submit(d, SMALL_JOB))["status"], "succeeded")


def test_out_of_file_descriptors_without_a_connection():
    """Nobody is connected and nobody can: no core is spent on trying, no log is filled."""
    with Daemon() as d:
        used = len(os.listdir(f"/proc/{d.process.pid}/fd"))
        before = limited(d, resource.RLIMIT_NOFILE, used)
        with socket.create_connection(("127.0.0.1", d.port)) as s:
            s.sendall(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            spent, logged = cpu_seconds(d), len(d.log())
            time.sleep(2)
            spent, logged = cpu_seconds(d) - spent, len(d.log()) - logged
            true(spent < 0.5 and logged < 4000, (spent, logged))
            resource.prlimit(d.process.pid, resource.RLIMIT_NOFILE, before)
            s.settimeout(20)
            begun = time.monotonic()
            true(s.recv(64).startswith(b"HTTP/1.1 200"), "served after all")
            true(time.monotonic() - begun < 3, "soon")


def cpu_seconds(d):
    with open(f"/proc/{d.process.pid}/stat", encoding="ascii") as f:
        words = f.read().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def address_space(d):
    with open(f"/proc/{d.process.pid}/statm", encoding="ascii") as f:
        return int(f.read().split()[0]) * resource.getpagesize()


def test_out_of_memory():
    """An address space with no room to grow: the job waits or fails by name, and others are served."""
    if SANITIZED:
        print("      left out: sanitizers end the process when memory does")
        return
    with Daemon() as d:
        d.register_fixtures()
        equal(d.wait_finished(submit(d, SMALL_JOB))["status"], "succeeded")
        for room in (0, 1, 2, 4, 8, 16, 32):
            before = limited(d, resource.RLIMIT_AS, address_space(d) + room * MB)
            job = None
            for _ in range(3):
                r = d.post("/v1/jobs", {**WRITER, "name": f"room {room}"})
                true(r.status in (202, 503), r)
                job = r.json["id"] if r.status == 202 else job
                if r.status == 503:
                    problem(r, 503, "out_of_memory")
            time.sleep(1)
            equal(d.get("/livez").status, 200)
            resource.prlimit(d.process.pid, resource.RLIMIT_AS, before)
            serves(d)
            if job is not None:
                final = d.wait_finished(job)
                true(final["status"] == "succeeded"
                     or final["error"]["code"] == "out_of_memory", final)
        print(f"      waited {d.log().count('job waits')} times")
        equal(d.wait_finished(submit(d, SMALL_JOB))["status"], "succeeded")


def test_checkpoint_changes_while_mapped():
    """Cut short, emptied, replaced, grown or removed at any moment of a job: it fails by name or it
    has finished with what it had read; the daemon serves on."""
    rng = random.Random(int(os.environ.get("REBASIND_SEED", "6")))
    root = tempfile.mkdtemp(prefix="rebasind-mapped-")
    file = f"{root}/model/model.safetensors"

    def replace(path):
        shutil.copyfile(f"{FIXTURES}/models/bert-a/model.safetensors", path + ".new")
        os.rename(path + ".new", path)

    changes = {
        "cut short": lambda: os.truncate(file, 4096),
        "emptied": lambda: os.truncate(file, 0),
        "half": lambda: os.truncate(file, 1800000),
        "replaced": lambda: replace(file),
        "grown": lambda: os.truncate(file, 8 << 20),
        "removed": lambda: os.unlink(file),
    }
    codes = {}
    try:
        shutil.copytree(f"{FIXTURES}/models/bert-b", f"{root}/model")
        with Daemon("--import-root", root) as d:
            d.register_fixtures()
            for n in range(6 if SLOW_BUILD else 18):
                name = list(changes)[n % len(changes)]
                shutil.copyfile(f"{FIXTURES}/models/bert-b/model.safetensors", file + ".good")
                os.rename(file + ".good", file)
                r = d.post("/v1/models", {"name": f"m{n}", "path": f"{root}/model"})
                equal(r.status, 201, r)
                job = submit(d, {**WRITER, "models": {"a": "bert-a", "b": f"m{n}"},
                                 "align": {**WRITER["align"], "max_sequences": 40 + n}})
                time.sleep(rng.uniform(0, 0.8))
                changes[name]()
                final = d.wait_finished(job)
                code = final["error"]["code"] if final["error"] else "succeeded"
                true(code in ("succeeded", "conflict", "io_error", "not_found"), final)
                codes[f"{name}: {code}"] = codes.get(f"{name}: {code}", 0) + 1
                equal(d.process.poll(), None, "the daemon lives")
            serves(d)
        print(f"      {codes}")
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    run([v for k, v in list(globals().items()) if k.startswith("test_")])

"""The Python client (clients/python) against a real daemon, and its packages installed without network."""
import ast
import glob
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile

from daemon import FIXTURES, SANITIZED, Daemon, equal, run, true

ROOT = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
CLIENT = os.path.join(ROOT, "clients", "python")
sys.path.insert(0, CLIENT)
import rebasind as rb  # noqa: E402
from rebasind import jobs, progress, svg  # noqa: E402
from rebasind.client import member_of, model_files, spec_of  # noqa: E402

SMALL = {"points": 3, "max_blocks": 4, "max_sequences": 20}


class Folder:
    def __enter__(self):
        self.path = tempfile.mkdtemp(prefix="rebasind-python-")
        return self.path

    def __exit__(self, *_):
        shutil.rmtree(self.path)


def client(d):
    return rb.Client(f"http://127.0.0.1:{d.port}")


def inputs(c):
    return [c.model(f"{FIXTURES}/models/bert-{x}") for x in "ab"] + [c.text(f"{FIXTURES}/data/{x}.txt") for x in ("align", "eval")]


def raises(kind, code, f, *words):
    try:
        f()
    except rb.Error as e:
        equal(type(e).__name__, kind.__name__, e)
        equal(e.code, code, e)
        for word in words:
            true(word in str(e), (word, str(e)))
        return e
    raise AssertionError(f"no {kind.__name__} came")


# ---- without a daemon ----

def test_specs():
    equal(member_of("heads"), "align.heads")
    equal(member_of("points"), "interpolate.points")
    equal(member_of("evaluate.seed"), "evaluate.seed")
    equal(member_of("name"), "name")
    equal(spec_of("a", "b", "al", "ev", "mlm", {"heads": "ignore", "points": 5, "name": "n", "align": {"residual": "all"},
                                                "merged": [0.5], "evaluate__seed": 3}),
          {"models": {"a": "a", "b": "b"}, "name": "n", "align": {"dataset": "al", "heads": "ignore", "residual": "all"},
           "evaluate": {"dataset": "ev", "task": "mlm", "seed": 3}, "interpolate": {"points": 5}, "outputs": {"merged": [0.5]}})


def test_events_are_parsed():
    stream = [b": beat\n", b"\n", b"id: 4\n", b"event: status\n", b'data: {"a":\n', b"data: 1}\n", b"\n", b"data: plain\r\n", b"\r\n", b"data: cut"]
    equal(list(jobs.parse_events(stream)), [{"type": "status", "id": "4", "data": {"a": 1}}, {"type": "message", "data": "plain"}])


def test_archives_of_strangers():
    """Only plain files in one folder leave an archive; nothing is written outside."""
    def archive(path, name, kind=tarfile.REGTYPE):
        with tarfile.open(path, "w") as tar:
            for n in ("m/config.json", name):
                member = tarfile.TarInfo(n)
                member.type, member.size, member.linkname = (kind, 0, "/etc/passwd") if n == name else (tarfile.REGTYPE, 2, "")
                tar.addfile(member, io.BytesIO(b"{}"))
    with Folder() as folder:
        path = f"{folder}/a.tar"
        for name, kind in (("../x", tarfile.REGTYPE), ("/x", tarfile.REGTYPE), ("m/n/x", tarfile.REGTYPE), ("m/../../x", tarfile.REGTYPE),
                           ("m/x", tarfile.SYMTYPE), ("m/x", tarfile.LNKTYPE), ("m/x", tarfile.FIFOTYPE), ("n/config.json", tarfile.REGTYPE)):
            archive(path, name, kind)
            target = f"{folder}/{len(os.listdir(folder))}"
            os.mkdir(target)
            raises(rb.Error, "bad_archive", lambda: jobs.unpack(path, target))
            true(set(os.listdir(target)) <= {"config.json"}, name)
        archive(path, "m/x")
        os.mkdir(f"{folder}/good")
        equal(sorted(jobs.unpack(path, f"{folder}/good")), ["config.json", "x"])


def test_pictures():
    equal(progress.span(6.2), "6 s")
    equal(progress.span(200), "3 min 20 s")
    equal(progress.span(7500), "2 h 5 min")
    for low, high in ((0, 1), (2.6, 6.3), (0.001, 0.0042), (-3, 5), (0, 125000)):
        steps = svg.steps(low, high)
        true(3 <= len(steps) <= 11 and min(steps) >= low - 1e-9 and max(steps) <= high + 1e-9, (low, high, steps))
    drawn = svg.plot([svg.Curve("<b>", [0, 1], [1, 2]), svg.Curve("c", [0, 0.5, 1], [1, None, 3], dashed=True)])
    true("&lt;b&gt;" in drawn and "<b>" not in drawn and "stroke-dasharray" in drawn and "nan" not in drawn, drawn)
    true("No point" in svg.plot([svg.Curve("a", [], [])]))
    level = svg.plot([svg.Curve("a", [0, 1], [2, 2])])
    true("<text" in level and "nan" not in level and "inf" not in level, level)


def test_certificates_in_words():
    true(jobs.certificate_words({"equivalent": True, "max_abs_logit_difference": 1e-5, "tolerance": 1e-3}).startswith("Exact"))
    true(jobs.certificate_words({"equivalent": False, "max_abs_logit_difference": 1, "tolerance": 1e-3}).startswith("Different"))
    true(jobs.certificate_words({"equivalent": False, "kind": "near", "kl": 0.03}).startswith("Near-equivalent: KL 0.03"))
    equal(jobs.certificate_words(None), "")


def test_python_3_9_reads_it():
    for path in glob.glob(f"{CLIENT}/rebasind/*.py"):
        with open(path, encoding="utf-8") as f:
            ast.parse(f.read(), path, feature_version=(3, 9))


def test_packages():
    """pip installs the folder, the wheel and the sdist with no network; each build gives the same bytes."""
    with Folder() as folder:
        copy = f"{folder}/src"
        shutil.copytree(CLIENT, copy, ignore=shutil.ignore_patterns("__pycache__"))
        subprocess.run([sys.executable, "-m", "venv", f"{folder}/venv"], check=True)
        python = f"{folder}/venv/bin/python"
        build = "import build_backend as b, sys; print(b.build_wheel(sys.argv[1]), b.build_sdist(sys.argv[1]))"
        for target in ("one", "two"):
            os.mkdir(f"{folder}/{target}")
            subprocess.run([python, "-B", "-c", build, f"{folder}/{target}"], cwd=copy, check=True, stdout=subprocess.DEVNULL)
        wheel, sdist = f"rebasind-{rb.__version__}-py3-none-any.whl", f"rebasind-{rb.__version__}.tar.gz"
        digests = [hashlib.sha256(open(f"{folder}/{t}/{wheel}", "rb").read()).hexdigest() for t in ("one", "two")]
        equal(*digests)
        for source in (copy, f"{folder}/one/{wheel}", f"{folder}/one/{sdist}"):
            subprocess.run([python, "-m", "pip", "install", "-q", "--no-index", "--force-reinstall", source], check=True,
                           env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "http_proxy": "http://127.0.0.1:9"})
            where = subprocess.run([python, "-c", "import rebasind as r; print(r.__version__, r.__file__, r.Client)"], check=True,
                                   capture_output=True, text=True, cwd=folder).stdout
            true(where.startswith(rb.__version__) and "site-packages" in where, where)


# ---- with one ----

def test_from_folder_to_merged_folder():
    with Daemon() as d, Folder() as folder:
        c = client(d)
        true(c.version()["name"] == "rebasind")
        a, b, al, ev = inputs(c)
        equal([a.name, b.name, al.name, ev.name], ["bert-a", "bert-b", "align", "eval"])
        # Found again by digest, whatever the folder is called; a folder with other bytes gets another name.
        shutil.copytree(f"{FIXTURES}/models/bert-a", f"{folder}/other")
        equal(c.model(f"{folder}/other").name, "bert-a")
        shutil.copytree(f"{FIXTURES}/models/bert-b", f"{folder}/bert-a")
        equal(c.model(f"{folder}/bert-a").name, "bert-b")
        with open(f"{folder}/bert-a/tokenizer_config.json", "a", encoding="utf-8") as f:
            f.write("\n")
        changed = c.model(f"{folder}/bert-a").name
        true(changed.startswith("bert-a-") and changed != "bert-a", changed)
        equal(len(c.models()), 3)
        equal(c.model("bert-a")["family"], "bert")

        job = c.merge(a, b, align=al, evaluate=ev, task="mlm", merged=[0.5], name="first", **SMALL)
        seen = [e["type"] for e in job.events()]
        true("point" in seen and seen[-1] == "status", seen)
        job.wait(progress=True)
        equal(job.status, "succeeded")
        true(job.certified)
        barrier = job.barrier()
        equal(barrier.lambdas, [0, 0.5, 1])
        equal(barrier.loss, d.get(f"/v1/jobs/{job.id}/barrier").json["aligned"]["loss"])
        table = barrier.table()
        rows = table if isinstance(table, list) else table.to_dict("records")
        equal([r["lambda"] for r in rows], [0, 0.5, 1])
        equal(rows[1]["control_loss"], barrier.control[1])
        page = job._repr_html_()
        true("<svg" in page and "Exact: the moved model" in page and "first" in page, page)
        true(c.dry_run(job.spec)["estimate"]["seconds"] >= 0)
        equal([j.id for j in c.jobs(status="succeeded", limit=1)], [job.id])

        out = job.merged(0.5).save(f"{folder}/out")
        files = {f["name"]: f["sha256"] for f in job.artifacts()}
        for name in ("config.json", "model.safetensors", "vocab.txt", "README.md", "rebasind.json"):
            digest = hashlib.sha256(open(f"{out}/{name}", "rb").read()).hexdigest()
            equal(digest, files[f"merged/lambda-0.50/{name}"], name)
        true(not [f for f in os.listdir(out) if f.startswith(".")], os.listdir(out))
        # Not written then: a job that takes over the alignment writes it now.
        later = job.merged(0.25)
        later.save(f"{folder}/later")
        writer = c.job(later._job_id)
        equal(writer.spec["align"]["from_job"], job.id)
        true(c.model(f"{folder}/later")["status"] == "ready")
        raises(rb.NotFound, "not_found", lambda: jobs.Merged(c.transport, job.id, 0.75).save(f"{folder}/none"))
        equal(os.listdir(f"{folder}/none"), [])
        job.delete()
        raises(rb.NotFound, "not_found", job.refresh)


def test_sweep():
    with Daemon() as d, Folder() as folder:
        c = client(d)
        a, b, al, ev = inputs(c)
        s = c.sweep(a, b, align=al, evaluate=ev, task="mlm", grid={"heads": ["permute", "ignore"], "absolute": [False, True]}, **SMALL)
        true("of 4 jobs" in s.line(), s.line())
        s.wait(progress=True)
        equal(s.status, "succeeded", s.data)
        table = s.table()
        rows = table if isinstance(table, list) else table.to_dict("records")
        equal([(r["align.heads"], r["align.absolute"]) for r in rows],
              [("permute", False), ("permute", True), ("ignore", False), ("ignore", True)])
        for row, job in zip(rows, s.jobs()):
            equal((row["job"], row["barrier_chord"], row["verdict"]), (job.id, job.barrier().chord, job.verdict["text"]), row)
            equal((row["verdict_label"], row["midpoint_loss"]), (job.verdict["label"], job.verdict["midpoint_loss"]), row)
        certified = [r for r in rows if r["equivalent"]]
        true(0 < len(certified) < 4, rows)  # heads that are ignored are another function
        equal(s.best(certified=True).id, min(certified, key=lambda r: r["loss"])["job"])
        picture = s.plot() if not hasattr(s.plot(), "get_lines") else None
        true(picture is None or picture.svg.count("stroke-width") >= 5 * 2, picture)
        page = s._repr_html_()
        true(page.count("<tr>") == 5 and "align.heads" in page, page)
        equal(sorted(os.listdir(s.best().merged(0.5).save(f"{folder}/out"))),
              ["README.md", "config.json", "model.safetensors", "rebasind.json", "tokenizer_config.json", "vocab.txt"])
        again = c.get_sweep(s.id)
        equal(again.rows, s.rows)
        raises(rb.BadInput, "invalid_request", lambda: c.sweep(a, b, align=al, grid={"heads": ["permute", "all"]}), "/grid/align.heads/1")
        s.delete()
        raises(rb.NotFound, "not_found", s.refresh)


def test_matrix():
    with Daemon() as d:
        c = client(d)
        a, b, al, ev = inputs(c)
        m = c.matrix([a, b], align=al, evaluate=ev, task="mlm", **SMALL).wait()
        equal(m.status, "succeeded", m.data)
        table = m.barriers()
        rows = table if isinstance(table, list) else table.to_dict("records")
        barrier = m.jobs()[0].barrier().chord
        true(barrier > 0, barrier)
        equal(sorted(r["model"] for r in rows), sorted([a.name, b.name]))
        for row in rows:
            other = b.name if row["model"] == a.name else a.name
            equal(row[other], barrier, rows)
        raises(rb.BadInput, "invalid_request", lambda: c.matrix([a], align=al, evaluate=ev, task="mlm"), "/models")


def test_notebook():
    """docs/notebook.ipynb runs as it stands against a fresh daemon."""
    with Daemon() as d, Folder() as folder:
        shutil.copytree(f"{ROOT}/docs", f"{folder}/docs", ignore=shutil.ignore_patterns("screenshots"))
        os.symlink(FIXTURES, f"{folder}/fixtures")
        env = {**os.environ, "REBASIND_URL": f"http://127.0.0.1:{d.port}", "PYTHONPATH": CLIENT, "FIXTURES": FIXTURES, "HOME": folder,
               "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(["jupyter-nbconvert", "--to", "notebook", "--execute", "--ExecutePreprocessor.timeout=600",
                               "--output", "executed.ipynb", "notebook.ipynb"], cwd=f"{folder}/docs", env=env, capture_output=True, text=True)
        equal(done.returncode, 0, done.stderr[-3000:])
        with open(f"{folder}/docs/executed.ipynb", encoding="utf-8") as f:
            cells = [cell for cell in json.load(f)["cells"] if cell["cell_type"] == "code"]
        true(len(cells) > 5 and all(cell["execution_count"] for cell in cells))
        shown = json.dumps([cell["outputs"] for cell in cells], ensure_ascii=False)
        for words in ("<svg", "Exact: the moved model computes the same function", "align.heads"):
            true(words in shown, (words, shown[-2000:]))


def test_mistakes():
    with Daemon() as d, Folder() as folder:
        c = client(d)
        raises(rb.NotFound, "not_found", lambda: c.model("nobody"), "neither a folder here nor one of the daemon's models")
        raises(rb.BadInput, "invalid_name", lambda: c.model("No Such Folder"))
        raises(rb.BadInput, "incomplete", lambda: c.model(folder), "config.json is missing")
        a, b, al, ev = inputs(c)
        e = raises(rb.BadInput, "invalid_request", lambda: c.merge(a, b, align=al, heads="all"), "/align/heads")
        equal(e.errors[0]["pointer"], "/align/heads")
        true(e.status == 422 and e.request_id.startswith("req_"), e)
        equal(str(e).count("expected one of"), 1, str(e))
        raises(rb.NotFound, "not_found", lambda: c.job("job_none"))
        with open(f"{folder}/config.json", "w", encoding="utf-8") as f:
            f.write('{"model_type": "unheard-of"}')
        shutil.copy(f"{FIXTURES}/models/bert-a/model.safetensors", folder)
        e = raises_any(lambda: c.model(folder))
        true("unheard-of" in str(e), str(e))
        equal(sorted(m.name for m in c.models()), ["bert-a", "bert-b"])  # what was refused stays nowhere
        e = raises(rb.Unreachable, "unreachable", rb.Client("http://127.0.0.1:9").version, "Is the daemon running there?")
        true(e.status is None)
        try:
            rb.Client("merge.lab:8686")
            raise AssertionError("an address without a scheme was taken")
        except ValueError:
            pass

        long = {"models": {"a": a, "b": b}, "align": {"dataset": al}, "interpolate": {"points": 1001},
                "evaluate": {"task": "mlm", "dataset": ev}}
        job = c.submit(long, key="once")
        equal(c.submit(long, key="once").id, job.id)
        try:
            job.wait(timeout=0.5)
            raise AssertionError("it did not time out")
        except TimeoutError:
            pass
        raises(rb.Conflict, "in_use", job.delete, "cancel it first")
        job.cancel()
        told = {"code": "no_space", "title": "Full", "detail": "writing: no room", "retryable": True, "remedy": "Make room."}
        failed = rb.Job(None, {**job.data, "status": "failed", "error": told})
        failed.refresh = lambda: failed
        raises(rb.JobFailed, "no_space", failed.wait, "writing: no room Make room.")
        e = raises(rb.JobFailed, "canceled", job.wait)
        equal(e.job.id, job.id)
        true("canceled" in job._repr_html_())
        job.delete()


def raises_any(f):
    try:
        f()
    except rb.Error as e:
        return e
    raise AssertionError("no error came")


if __name__ == "__main__":
    # What asks nothing new of the daemon is not repeated against a slow build of it.
    once = (test_packages, test_notebook) if SANITIZED else ()
    run([v for k, v in list(globals().items()) if k.startswith("test_") and v not in once])

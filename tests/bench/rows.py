"""The rows of the table: what is measured, and against what.

A measurement is run at most once, whatever number of rows reads it. Where two programs are
compared, their runs alternate and each counts with its best. Two ratios stand in each row: by wall
time, which is what a user sees, and by CPU time, which others on the machine disturb less. Where
threads wait for each other, the CPU ratio counts the waiting too.
"""
import functools
import json
import os
import re
import shutil
import sys

import http_requests
import precision
import several
import startup
from programs import (HERE, Absent, as_ids, call, core, least, make_pair, make_text, most, pick, python,
                      run_job, say, tool)

BASE = dict(layers=12, hidden=768, heads=12, inner=3072, vocabulary=30522, positions=512)
LARGE = dict(BASE, layers=24, hidden=1024, heads=16, inner=4096)
SMALL = dict(layers=4, hidden=256, heads=4, inner=1024, vocabulary=8192, positions=128)

SIZES = {  # full, quick
    "phase_lines": (128, 24), "phase_blocks": (256, 32), "repeat": (3, 2),
    "pair_lines": (64, 8), "pair_blocks": (8, 8), "pair_points": (5, 2), "eval_blocks": (64, 16), "points": (3, 2),
    "assign": (3072, 1024), "memory_lines": (128, 32), "memory_blocks": (256, 32),
    "large_lines": (96, 16), "large_blocks": (32, 8), "several_lines": (200, 60), "http": ((5, 4), (2, 2)),
}


class Bench:
    def __init__(self, args, folder):
        self.build, self.quick, self.folder = args.build, args.quick, folder
        self.threads = os.cpu_count() if args.threads is None else args.threads
        self.rows, self.tables, self.notes = [], [], []

    def size(self, name):
        return SIZES[name][self.quick]

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def add(self, what, target, wall, cpu, detail):
        self.rows.append((what, target, wall, cpu, detail))
        say(f"{what}: {wall or '-'} (CPU {cpu or '-'}); {detail}")


@functools.lru_cache(None)
def base(b):
    return make_pair(b, "base", BASE)


# ---- measurements ----

@functools.lru_cache(None)
def phases(b):
    say("phases: the machine, moments and loss in turn")
    threads = sorted({1, b.threads})
    return core(b, base(b), "--threads", ",".join(map(str, threads)), "--lines",
                b.size("phase_lines"), "--blocks", b.size("phase_blocks"), "--repeat",
                b.size("repeat"), "machine", "collect", "evaluate")


@functools.lru_cache(None)
def rates(b):
    """Of the machine alone: no models are needed."""
    say("the processor's multiply-adds, and sgemm")
    return core(b, b.path("none"), "--threads", ",".join(map(str, sorted({1, b.threads}))), "--repeat",
                b.size("repeat"), "machine")


@functools.lru_cache(None)
def probe_torch(b):
    return python(b, "probe")


def base_texts(b):
    lines = max(b.size("pair_lines"), b.size("memory_lines"))
    blocks = max(b.size(n) for n in ("pair_blocks", "eval_blocks", "memory_blocks"))
    return (make_text(b, "lines.txt", 7, lines, 40),
            make_text(b, "eval.txt", 8, blocks * 4, 60))


@functools.lru_cache(None)
def pair(b):
    """The same job: by rebasind, by PyTorch, by rebasind again; and the alignment's CPU time."""
    lines, blocks, points = b.size("pair_lines"), b.size("pair_blocks"), b.size("pair_points")
    texts = base_texts(b)
    ids = (as_ids(b, "lines", f"{base(b)}/a", texts[0], lines, 128),
           as_ids(b, "blocks", f"{base(b)}/a", texts[1], blocks, 128, 0))
    ours, aligned, evaluated = [], [], []

    def engine():
        say("the engine's job")
        ours.append(run_job(b, base(b), lines, blocks, points, texts))
        aligned.extend(pick(core(b, base(b), "--threads", b.threads, "--lines", lines, "align"),
                            "align"))
        evaluated.extend(pick(core(b, base(b), "--threads", b.threads, "--blocks",
                                   b.size("eval_blocks"), "evaluate"), "evaluate"))

    engine()
    try:
        probe_torch(b)
        say("the same job in PyTorch")
        theirs = python(b, "job", f"{base(b)}/a", f"{base(b)}/b", *ids, "--points", points,
                        "--threads", b.threads)
        engine()
    except Absent as e:
        theirs = e
    return dict(ours=ours, aligned=aligned, evaluated=evaluated, theirs=theirs)


@functools.lru_cache(None)
def watched_job(b):
    """A job with enough lines and blocks to fill the engine's buffers; its progress is kept."""
    say("a job, watched")
    return run_job(b, base(b), b.size("memory_lines"), b.size("memory_blocks"), b.size("points"),
                   base_texts(b), watch=True)


# ---- rows ----

def ratio(value, digits=2):
    return f"{value:.{digits}f}"


def times(value):
    return f"{value:.1f}×"


def row_machine(b):
    for t in sorted({1, b.threads}):
        found, threads = pick(rates(b), "machine", t), f"{t} thread{'s' * (t > 1)}"
        sets = {v["set"]: most([w for w in pick(rates(b), "fma", t) if w["set"] == v["set"]], "cpu_gflops")
                for v in pick(rates(b), "fma", t)}
        for name, rate in sets.items():
            b.add(f"fused multiply-adds in registers, {name}, {threads}", "", "", "", f"{rate:.1f} GF/s by CPU")
        limit, rate = max(sets.values()), most(found, "cpu_gflops")
        b.add(f"sgemm 3072³ as the daemon runs it / that limit, {threads}", "0.80",
              ratio(most(found, "wall_gflops") / limit), ratio(rate / limit),
              f"{most(found, 'wall_gflops'):.1f} GF/s by wall, {rate:.1f} by CPU; kernel {found[0]['kernel']} "
              f"({found[0]['set']})")


PHASES = (("job.moments", "aligning: features + moments"), ("job.assignments", "solving (compares, hardly multiplies)"),
          ("job.certificate", "certifying"), ("job.evaluation", "evaluating"))


def row_phases(b):
    """Every phase of one job, by CPU time: what its useful operations are of the two rates."""
    lines = core(b, base(b), "--threads", b.threads, "--lines", b.size("pair_lines"), "--blocks",
                 b.size("eval_blocks"), "--points", 2, "machine", "job")
    (machine,) = pick(lines, "machine")
    limit = most(pick(lines, "fma"), "cpu_gflops")
    table = [(f"sgemm, kernel {machine['kernel']}", "", "", f"{machine['cpu_gflops']:.1f}", "1.00",
              ratio(machine["cpu_gflops"] / limit))]
    for row, what in PHASES:
        (v,) = pick(lines, row)
        table.append((what, f"{v['seconds']:.2f}", f"{v['cpu']:.2f}", f"{v['cpu_gflops']:.1f}",
                      ratio(v["cpu_ratio"]), ratio(v["fma_ratio"])))
    b.tables.append((f"Every phase against both rates, {b.threads} workers (FMA limit {limit:.1f} GF/s)",
                     ("phase", "seconds", "CPU seconds", "useful GF/s", "of sgemm", "of the FMA limit"), table))


def busy_share(v, threads):
    """Of the threads' time; the rest is waiting at round ends and between rounds."""
    return v["busy"] / (v["busy"] + v["idle"] + threads * v["serial"])


def phase_row(b, what, row):
    for t in sorted({b.threads, 1}, reverse=True):
        machine, found = pick(phases(b), "machine", t), pick(phases(b), row, t)
        best = min(found, key=lambda v: v["seconds"])
        busy = busy_share(best, t)
        b.add(f"{what}, {t} worker{'s' * (t > 1)}: useful flops / sgemm rate",
              "0.88",
              ratio(most(found, "wall_gflops") / most(machine, "wall_gflops")),
              ratio(max(v["cpu_gflops"] * busy_share(v, t) for v in found) /
                    most(machine, "cpu_gflops")),
              f"{best['gflop'] / 1000:.2f} TFLOP in {best['seconds']:.1f} s: "
              f"{best['wall_gflops']:.1f} GF/s, {best['tokens_per_s']:.0f} tokens/s; "
              f"{most(found, 'fma_ratio'):.2f} of the FMA limit by CPU; "
              f"threads busy {100 * busy:.1f} %")


def row_features(b):
    phase_row(b, "feature + moments phase", "collect")


def row_loss(b):
    phase_row(b, "loss evaluation phase", "evaluate")


def row_workers(b):
    if b.threads < 2:
        raise Absent("a second core is not there")
    for what, row in [("moments", "collect"), ("loss", "evaluate")]:
        one, all_ = pick(phases(b), row, 1), pick(phases(b), row, b.threads)
        busy = busy_share(min(all_, key=lambda v: v["cpu"]), b.threads)
        b.add(f"{b.threads} workers against 1, {what}", "1.85×" if b.threads == 2 else "",
              ratio(least(one) / least(all_)) + "×",
              ratio(b.threads * least(one, "cpu") / least(all_, "cpu") * busy) + "×",
              f"{least(one):.1f} s → {least(all_):.1f} s; CPU {least(one, 'cpu'):.1f} s → "
              f"{least(all_, 'cpu'):.1f} s, busy {100 * busy:.1f} %")


def row_align(b):
    p = pair(b)
    ours, theirs = p["aligned"], p["theirs"]
    tokens = ours[0]["tokens"]
    if isinstance(theirs, Absent):
        raise theirs
    agree = abs(theirs["score"] - ours[0]["score"]) / abs(theirs["score"])
    b.add(f"alignment of {b.size('pair_lines')} lines against PyTorch", "10×",
          times(theirs["align_seconds"] / least(ours)), times(theirs["align_cpu"] / least(ours, "cpu")),
          f"{tokens:.0f} tokens in {least(ours):.1f} s ({tokens / least(ours):.0f}/s) against "
          f"{theirs['align_seconds']:.1f} s ({tokens / theirs['align_seconds']:.0f}/s; moments alone "
          f"{tokens / theirs['moments_seconds']:.0f}/s); scores agree to {agree:.0e}")


def row_eval(b):
    p = pair(b)
    theirs = p["theirs"]
    if isinstance(theirs, Absent):
        raise theirs
    per = theirs["evaluated_tokens"]
    ours = p["evaluated"]
    rate, cpu_rate = most(ours, "tokens_per_s"), ours[0]["tokens"] / least(ours, "cpu")
    b.add("MLM loss evaluation against PyTorch", "2×",
          times(rate / (per / theirs["evaluate_seconds"])),
          times(cpu_rate / (per / theirs["evaluate_cpu"])),
          f"{rate:.0f} tokens/s, interpolation included, against "
          f"{per / theirs['evaluate_seconds']:.0f} tokens/s, without")


def row_job(b):
    p = pair(b)
    ours, theirs = p["ours"], p["theirs"]
    best = min(ours, key=lambda j: j["seconds"])
    spent = ", ".join(f"{k} {v:.1f}" for k, v in best["timings"].items() if v >= 0.05)
    what = (f"whole job ({b.size('pair_lines')} lines, {b.size('pair_blocks')} blocks, "
            f"{b.size('pair_points')} λ and control)")
    if isinstance(theirs, Absent):
        b.add(what, "", "", "", f"{best['seconds']:.1f} s: {spent}; {theirs}")
        return
    curves = best["barrier"]["aligned"]["loss"] + best["barrier"]["control"]["loss"]
    differ = max(abs(x - y) for x, y in zip(curves, theirs["losses"]))
    b.add(what + " against PyTorch", "8×", times(theirs["seconds"] / best["seconds"]),
          times(theirs["cpu"] / least(ours, "cpu")),
          f"{best['seconds']:.1f} s ({spent}; with a certificate, which PyTorch's does without) "
          f"against {theirs['seconds']:.1f} s; losses agree to {differ:.0e}; peak "
          f"{best['peak_mb']:.0f} MB against {theirs['peak_mb']:.0f} MB")


def row_eta(b):
    job = watched_job(b)
    total = job["seconds"]
    said = [(at, at + left) for at, fraction, left in job["seen"] if fraction >= 0.1]
    if not said:
        raise Absent("no progress was shown after the first tenth")
    at, first = said[0]
    worst = max(abs(s - total) / total for _, s in said)
    b.add("ETA of a job, off by, after its first tenth", "20 %",
          f"{100 * abs(first - total) / (total - at):.0f} %", "",
          f"at {at:.1f} s it said {first - at:.0f} s left, {total - at:.0f} s it was; the whole time it "
          f"foretold later was never off by more than {100 * worst:.0f} %")


def assign_rows(b, where, names):
    """The engine's and scipy's best over alternating runs."""
    ours, theirs = {}, {}
    for _ in range(2):
        for name in names:
            path = os.path.join(where, name)
            (line,) = pick(core(b, base(b), "--threads", 1, "--matrix", path, "assign"), "assign")
            ours.setdefault(name, []).append(line)
        for line in python(b, "assign", *(os.path.join(where, n) for n in names))["rows"]:
            theirs.setdefault(line["matrix"], []).append(line)
    return ours, theirs


def row_assign(b):
    say("assignment problems")
    where = b.path("matrices")
    os.makedirs(where, exist_ok=True)
    core(b, base(b), "--threads", 1, "--size", b.size("assign"), "--dump", where, "assign")
    kinds = [("noise.f32", "noise", "2×"), ("factors.f32", "common factors + noise", "3×")]
    try:
        probe_torch(b)
        fixtures = os.path.join(HERE, "../fixtures")
        model = os.path.join(fixtures, "models/bert-a")
        ids = b.path("fixture.ids")
        tool(b, "make_model", "lines", ids, model, os.path.join(fixtures, "data/align.txt"), 400, 48)
        python(b, "real", model, os.path.join(fixtures, "models/bert-b"), ids,
               os.path.join(where, "real.f32"), os.path.join(where, "real-512.f32"), "--threads", b.threads)
        kinds += [("real.f32", "real: all units of the fixture pair", "3×"),
                  ("real-512.f32", "real: layer.0.ff of the fixture pair", "")]
    except Absent as e:
        b.notes.append(f"no correlations of real models: {e}")
    try:
        ours, theirs = assign_rows(b, where, [k[0] for k in kinds])
    except Absent as e:
        raise Absent(f"{e}; nothing to compare the assignment with") from None
    for name, what, target in kinds:
        o, t = ours[name], theirs[name]
        agree = abs(o[0]["score"] - t[0]["score"]) / abs(t[0]["score"])
        b.add(f"assignment, n = {t[0]['n']}, {what}, against scipy", target,
              times(least(t) / least(o)), times(least(t, "cpu") / least(o, "cpu")),
              f"{1000 * least(o):.0f} ms against {1000 * least(t):.0f} ms; scores agree to {agree:.0e}")


def model_mb(folder):
    return sum(os.path.getsize(f"{folder}/{s}/model.safetensors") for s in "ab") / 1e6


def accumulators_mb(shape):
    squares = shape["inner"] * (shape["inner"] + 6) + shape["hidden"] * (shape["hidden"] + 6)
    return shape["layers"] * squares * 8 / 1e6


def row_memory(b):
    job = watched_job(b)
    weights, sums = model_mb(base(b)), accumulators_mb(BASE)
    b.add("peak memory, BERT-base job, beyond weights and accumulators", "300 MB",
          f"{job['peak_mb'] - weights - sums:.0f} MB", "",
          f"{job['peak_mb']:.0f} MB in all; weights {weights:.0f} MB mapped, accumulators {sums:.0f} "
          f"MB ({b.size('memory_lines')} lines, {b.size('memory_blocks')} blocks)")


def per_gflop(lines):
    """CPU seconds per GFLOP of moments and loss together."""
    found = [v for r, v in lines if r in ("job.moments", "job.evaluation")]
    return sum(v["cpu"] for v in found) / sum(v["gflop"] for v in found)


def row_large(b):
    large = make_pair(b, "large", LARGE)
    args = ("--threads", b.threads, "--lines", b.size("large_lines"), "--blocks",
            b.size("large_blocks"), "--points", 2, "job")
    costs = {base(b): [], large: []}
    peak = 0
    for _ in range(2):
        for models, found in costs.items():
            say(f"a job on the {os.path.basename(models)} pair")
            lines = core(b, models, *args)
            found.append(per_gflop(lines))
            peak = most(pick(lines, "job"), "peak_mb")
    small, big = min(costs[base(b)]), min(costs[large])
    b.add("24 layers, 1024 wide: cost per token against the flop count's prediction", "within 15 %",
          "", f"{100 * (big / small - 1):+.0f} %",
          f"{1 / big:.1f} against {1 / small:.1f} useful GFLOP per CPU second")
    texts = (make_text(b, "large-lines.txt", 7, b.size("large_lines"), 40),
             make_text(b, "large-eval.txt", 8, b.size("large_blocks") * 4, 60))
    job = run_job(b, large, b.size("large_lines"), b.size("large_blocks"), 2, texts)
    weights, sums = model_mb(large), accumulators_mb(LARGE)
    b.add("24 layers, 1024 wide: peak memory of a job", "6 GB", f"{job['peak_mb'] / 1000:.2f} GB", "",
          f"core alone {peak / 1000:.2f} GB; weights {weights / 1000:.2f} GB mapped, accumulators "
          f"{sums / 1000:.2f} GB; {job['seconds']:.0f} s")
    shutil.rmtree(large)


# ---- how cost grows ----

def scale_point(b, shape, lines=96, blocks=48, points=2, threads=1):
    """Best of two of a small job: GFLOP and seconds of moments and loss."""
    name = "small-" + "-".join(map(str, shape.values()))
    models = make_pair(b, name, shape)
    best = {}
    for _ in range(2):
        found = core(b, models, "--threads", threads, "--lines", lines, "--blocks", blocks,
                     "--points", points, "job")
        for row in ("job.moments", "job.evaluation"):
            (v,) = pick(found, row)
            if row not in best or v["cpu"] < best[row]["cpu"]:
                best[row] = v
    return best


def row_scale(b):
    say("how cost grows")
    steps = [
        ("layers", [(n, dict(shape=dict(SMALL, layers=n))) for n in (2, 4, 8)]),
        ("width", [(n, dict(shape=dict(SMALL, hidden=n, heads=n // 64, inner=4 * n)))
                   for n in (256, 512, 1024)]),
        ("lines and blocks", [(f"{n}, {n // 2}", dict(shape=SMALL, lines=n, blocks=n // 2))
                              for n in (64, 128, 256)]),
        ("λ points", [(n, dict(shape=SMALL, points=n)) for n in (2, 3, 5)]),
        ("workers", [(n, dict(shape=SMALL, threads=n)) for n in sorted({1, b.threads})]),
    ]
    for what, points in steps:
        table, first = [], None
        for label, args in points:
            found = scale_point(b, **args)
            m, e = found["job.moments"], found["job.evaluation"]
            cells = [m["gflop"], m["cpu"], e["gflop"], e["cpu"]]
            first = first or cells
            per = [(cells[i + 1] / cells[i]) / (first[i + 1] / first[i]) for i in (0, 2)]
            table.append((str(label), f"{m['gflop']:.1f}", f"{m['cpu']:.2f} ({m['seconds']:.2f})",
                          ratio(per[0]), f"{e['gflop']:.1f}", f"{e['cpu']:.2f} ({e['seconds']:.2f})",
                          ratio(per[1])))
        head = (what, "moments GFLOP", "CPU s (wall s)", "cost per flop",
                "loss GFLOP", "CPU s (wall s)", "cost per flop")
        b.tables.append((f"Cost against {what}", head, table))


def row_http(b):
    say("requests a second, idle")
    ours, theirs, size = http_requests.compare(b, *b.size("http"))
    wall, cpu = (max(run[i] for run in ours) / max(run[i] for run in theirs) for i in (0, 1))
    b.add("job status of an idle daemon against nginx's static file", "0.50", ratio(wall), ratio(cpu),
          f"{max(ours)[0]:.0f} requests/s against {max(theirs)[0]:.0f}, {size} bytes, "
          f"{http_requests.CONNECTIONS} connections kept alive, one loop each")


def row_profile(b):
    say("profiles")
    lines = core(b, base(b), "--threads", b.threads, "--lines", b.size("phase_lines"), "--blocks",
                 b.size("phase_blocks"), "--profile", "collect", "evaluate")
    for row, values in lines:
        table = [re.split(r"\s{2,}", p.strip()) for p in values["profile"]]
        cells = [(t[0], t[1], t[2], next((x for x in t if "GF/s" in x or "counted" in x), ""))
                 for t in table]
        b.tables.append((f"Where the CPU time of the {row} phase goes, {b.threads} workers",
                         ("part", "seconds", "share", "rate"), cells))


def torch_twin(b, folder):
    """The same model as pytorch_model.bin: by torch.save where PyTorch is, else as it writes."""
    twin = b.path("open-bin")
    if not os.path.isdir(twin):
        os.mkdir(twin)
        for file in ("config.json", "vocab.txt"):
            shutil.copy(os.path.join(folder, file), twin)
        sys.path.insert(0, os.path.join(HERE, "../e2e"))
        import torch_save
        tensors = torch_save.read_safetensors(os.path.join(folder, "model.safetensors"))
        try:
            import torch
            torch.save({name: torch.frombuffer(bytearray(data), dtype=torch.float32).reshape(shape)
                        for name, (_, shape, data) in tensors.items()}, os.path.join(twin, "pytorch_model.bin"))
        except ImportError:
            torch_save.save(os.path.join(twin, "pytorch_model.bin"), tensors)
    return twin


def row_open(b):
    folder = os.path.join(base(b), "a")
    out = tool(b, "bench_open", 20, folder, torch_twin(b, folder))
    st, pt = (dict(pair.split("=") for pair in line.split()[1:]) for line in out.splitlines())
    b.add("opening pytorch_model.bin against its safetensors twin", "1.2 of the time, no more memory",
          times(float(pt["seconds"]) / float(st["seconds"])), "",
          f"{1000 * float(pt['seconds']):.2f} ms against {1000 * float(st['seconds']):.2f} ms; "
          f"{pt['anonymous_kb']} kB and {pt['mapped_kb']} kB mapped against {st['anonymous_kb']} and {st['mapped_kb']}")


def row_decoder(b):
    """The shape of Pythia-160M, blocks of 512."""
    report = json.loads(call([sys.executable, "-B", os.path.join(HERE, "decoder.py"), "--json", "--build", b.build,
                              "--threads", ",".join(map(str, sorted({1, b.threads}))), "--blocks",
                              "16" if b.quick else "48"]))
    for row, what in (("evaluate", "loss"), ("collect", "feature + moments")):
        for t, v in sorted(report["rows"][row].items(), key=lambda item: -int(item[0])):
            b.add(f"decoder, Pythia-160M shape, {what}, {t} worker{'s' * (t != '1')}: useful flops / sgemm rate",
                  "0.80" if int(t) == b.threads else "", ratio(v["wall_ratio"]), ratio(v["cpu_ratio"]),
                  f"{v['wall_gflops']:.1f} GF/s, {v['tokens_per_s']:.0f} tokens/s; {v['fma_ratio']:.2f} of the "
                  "FMA limit by CPU")
    rate = report.get("torch_tokens_per_s")
    if rate is None:
        raise Absent("python3-torch is not installed")
    found = report["rows"]["evaluate"][str(b.threads)]["tokens_per_s"]
    b.add("decoder, loss against PyTorch (8 x 512, logits everywhere)", "1.5×", times(found / rate), "",
          f"{found:.0f} tokens/s, interpolation included, against {rate:.0f} without, both with kernel "
          f"{report['kernel']}; peak {report['peak_mb']:.0f} MB")


def row_merged(b):
    """Merged folders in a reader that is not ours."""
    out = call([sys.executable, "-B", os.path.join(HERE, "read_merged.py"), "--rebasind",
                os.path.join(b.build, "rebasind")])
    runs = [line for line in out.splitlines() if "worst" in line]
    worst = max(float(line.split("worst ")[1].split()[0]) for line in runs)
    b.add("merged folders read by an independent reader in PyTorch: loss against ours", "2e-4", f"{worst:.0e}", "",
          f"{len(runs)} runs of {len({line.split()[0] for line in runs})} pairs, 3 lambdas each")


def row_several(b):
    """Eight models: features once for all, whether they are one job or all pairs."""
    shape = dict(SMALL, layers=2)
    found = several.compare(b, shape, b.size("several_lines"))
    one = found["pairs"]["tokens"] / (2 * several.PAIRS)
    # universe: no target, since its ascent solves every map again in each sweep, which pairs never do
    for name, target in (("universe", ""), ("matrix", "below 1")):
        r = found[name]
        b.add(f"{several.MODELS} models, {name} against {several.PAIRS} jobs of pairs", target,
              f"{r['seconds'] / found['pairs']['seconds']:.2f}", "",
              f"{r['seconds']:.1f} s against {found['pairs']['seconds']:.1f} s; features of each model "
              f"{r['tokens'] / one / several.MODELS:g} time(s), of pairs {found['pairs']['tokens'] / one / several.MODELS:g}; "
              f"peak {r['peak'] / 1e6:.0f} MB, told {r['told'] / 1e6:.0f} MB")


def script(b, name, *args):
    """Lines of a script of this folder, which can be run by hand as well."""
    return call([sys.executable, "-B", os.path.join(HERE, name), *map(str, args)]).splitlines()


def row_forecast(b):
    """The same job again and again on a data folder that knows nothing; each foretold by a dry run."""
    lines = script(b, "forecast.py", "--binary", os.path.join(b.build, "rebasind"), "--jobs", 3 if b.quick else 10,
                   "--blocks", 16 if b.quick else 48)
    last = lines[-2].split()[1]
    for line, target in ((lines[0], "30 %"), (lines[-2], "10 %" if last == "10" else ""), (lines[-1], "")):
        what, rest = line.split("foretold", 1)
        b.add(f"forecast of a job, off by: {what.strip()}", target, rest.rsplit("off by ", 1)[1], "",
              "foretold" + rest.rsplit(":", 1)[0])


def row_billion(b):
    """1.4 B parameters below 8 GiB; quick: only the small pair beside it."""
    small = ("--no-billion", "--lines", 4, "--blocks", 1)
    lines = script(b, "billion.py", "--build", b.build, "--threads", b.threads, *(small if b.quick else ()))
    for line in lines:
        name, rest = line.split(": ", 1)
        peak = re.search(r"peak (\S+ GB)", rest)
        if peak:
            b.add(f"{name} pair, GPT-NeoX in bf16, peak memory", "8 GB" if name == "billion" else "", peak[1], "", rest)
        else:
            b.add("the same, cost per flop of aligning against a pair of 768 x 12", "within 15 %", rest.split()[0], "", line)


def row_precision(b):
    for pair in precision.TASKS:
        plain, *others = precision.compare(b.build, b.threads, pair, 0.02, 1 if b.quick else 3)
        for name, v, target in (("21 λ", others[0], ""), ("points auto", others[1], "4×")):
            differ = abs(v["barrier"]["mean"] - plain["barrier"]["mean"])
            b.add(f"barrier of the default job ({pair} of the fixtures, 1,000 lines) at precision 0.02, {name}, against 256 "
                  "blocks and 21 λ", target, times(plain["seconds"] / v["seconds"]), "",
                  f"{plain['seconds']:.1f} s -> {v['seconds']:.1f} s of evaluating; {v['points']} λ, {v['blocks']} blocks; "
                  f"{v['barrier']['mean']:.4f} ± {v['barrier']['mean_standard_error']:.4f}, {differ:.0e} apart")


def row_startup(b):
    best = startup.compare(b.build, 2 if b.quick else 10)
    for kind in startup.KINDS[1:]:
        b.add(f"start of the daemon, {kind}, against a kernel set by the user", "300 ms more",
              f"{1000 * (best[kind] - best[startup.KINDS[0]]):+.0f} ms", "",
              f"{1000 * best[kind]:.0f} ms against {1000 * best[startup.KINDS[0]]:.0f} ms until it listens")


def row_shapes(b):
    """Products of a layer's shapes against the large square that is called the sgemm rate."""
    table = [(v["shape"], f"{v['rows']:.0f} x {v['out']:.0f} x {v['in']:.0f}", f"{v['cpu_gflops']:.1f}",
              ratio(v["square_ratio"])) for _, v in core(b, b.path("none"), "--threads", 1, "shapes")]
    b.tables.append(("sgemm by shape, one thread, by CPU time, best of 9", ("product", "rows x out x in", "GF/s",
                                                                           "of the square"), table))


ROWS = {"machine": row_machine, "phases": row_phases, "features": row_features, "loss": row_loss, "workers": row_workers,
        "align": row_align, "eval": row_eval, "job": row_job, "assign": row_assign,
        "memory": row_memory, "open": row_open, "eta": row_eta, "large": row_large, "scale": row_scale,
        "http": row_http, "profile": row_profile, "decoder": row_decoder, "merged": row_merged, "several": row_several,
        "forecast": row_forecast, "billion": row_billion, "precision": row_precision, "startup": row_startup,
        "shapes": row_shapes}

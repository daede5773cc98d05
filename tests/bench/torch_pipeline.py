#!/usr/bin/python3
"""The other way to do it: what the paper's released code does, in PyTorch, for the bench to measure.

Our own code, but its choices are theirs: padded batches of 8 lines; hooks that collect the FF and MHA
features of both models; the full 2d x 2d second moments of the concatenated features, in F64, added
up batch by batch; correlations of all 2d units, of which the A x B block is used; one
scipy.optimize.linear_sum_assignment per layer and per pair of heads; weights moved by indexing;
parameters interpolated into a third model; the MLM loss by cross-entropy over logits of the whole
vocabulary at every position, in batches of 8 blocks.

    torch_pipeline.py probe
    torch_pipeline.py align    MODEL_A MODEL_B LINES  [--lines N] [--threads N]
    torch_pipeline.py evaluate MODEL_A MODEL_B BLOCKS [--blocks N] [--threads N]
    torch_pipeline.py job      MODEL_A MODEL_B LINES BLOCKS --points N [--lines N] [--blocks N]
    torch_pipeline.py assign   MATRIX...            (raw F32 squares)
    torch_pipeline.py real     MODEL_A MODEL_B LINES MATRIX FIRST
                               (correlations of all FF, head and query units of a pair, as raw F32,
                               and of layer.0.ff alone)

Each prints one JSON object. LINES and BLOCKS: a sequence of ids a line ("id:target" where the MLM task
predicts), as bench_core --dump writes them. Nothing here is needed by rebasind itself.
"""
import argparse
import json
import math
import os
import resource
import struct
import sys
import time

import numpy as np

BATCH = 8
IGNORED = -100


def absent(module):
    json.dump({"absent": module}, sys.stdout)
    print()
    sys.exit(0)


def import_torch(threads):
    global torch, F
    try:
        import torch
        import torch.nn.functional as F
    except ImportError:
        absent("python3-torch")
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)


def import_scipy():
    global linear_sum_assignment
    try:
        from scipy.optimize import linear_sum_assignment
    except ImportError:
        absent("python3-scipy")


class Stopwatch:
    """Wall and CPU seconds (of all the process's threads) since it was made or last read."""

    def __init__(self):
        self.read()

    def read(self):
        usage = resource.getrusage(resource.RUSAGE_SELF)
        now = (time.monotonic(), usage.ru_utime + usage.ru_stime)
        last, self.last = getattr(self, "last", now), now
        return now[0] - last[0], now[1] - last[1]


def load_safetensors(path):
    dtypes = {"F32": np.float32, "F16": np.float16}
    with open(path, "rb") as f:
        (length,) = struct.unpack("<Q", f.read(8))
        header = json.loads(f.read(length))
    data = np.memmap(path, np.uint8, "r", 8 + length)
    out = {}
    for name, t in header.items():
        if name == "__metadata__":
            continue
        first, end = t["data_offsets"]
        array = data[first:end].view(dtypes[t["dtype"]]).reshape(t["shape"])
        out[name] = torch.from_numpy(np.array(array, np.float32))
    return out


class Bert:
    """BertForMaskedLM's forward pass, with a hook for features."""

    def __init__(self, folder, weights=None):
        with open(os.path.join(folder, "config.json")) as f:
            self.config = json.load(f)
        self.w = weights or load_safetensors(os.path.join(folder, "model.safetensors"))
        self.layers = self.config["num_hidden_layers"]
        self.heads = self.config["num_attention_heads"]
        self.eps = self.config["layer_norm_eps"]

    def linear(self, name, x):
        return F.linear(x, self.w[name + ".weight"], self.w[name + ".bias"])

    def norm(self, name, x):
        weight = self.w[name + ".weight"]
        return F.layer_norm(x, weight.shape, weight, self.w[name + ".bias"], self.eps)

    def encode(self, ids, mask, hook=None):
        w, (batch, n) = self.w, ids.shape
        x = (w["bert.embeddings.word_embeddings.weight"][ids]
             + w["bert.embeddings.position_embeddings.weight"][:n]
             + w["bert.embeddings.token_type_embeddings.weight"][0])
        x = self.norm("bert.embeddings.LayerNorm", x)
        d = x.shape[-1]
        unseen = (1.0 - mask[:, None, None, :].float()) * torch.finfo(torch.float32).min

        def split(y):
            return y.view(batch, n, self.heads, d // self.heads).transpose(1, 2)

        for i in range(self.layers):
            p = f"bert.encoder.layer.{i}."
            query = self.linear(p + "attention.self.query", x)
            q, k, v = (split(query), split(self.linear(p + "attention.self.key", x)),
                       split(self.linear(p + "attention.self.value", x)))
            scores = q @ k.transpose(-1, -2) / math.sqrt(d // self.heads) + unseen
            mha = (F.softmax(scores, -1) @ v).transpose(1, 2).reshape(batch, n, d)
            x = self.norm(p + "attention.output.LayerNorm",
                          self.linear(p + "attention.output.dense", mha) + x)
            ff = F.gelu(self.linear(p + "intermediate.dense", x))
            if hook:
                hook(i, query, mha, ff)
            x = self.norm(p + "output.LayerNorm", self.linear(p + "output.dense", ff) + x)
        return x

    def logits(self, ids, mask):
        x = F.gelu(self.linear("cls.predictions.transform.dense", self.encode(ids, mask)))
        x = self.norm("cls.predictions.transform.LayerNorm", x)
        return F.linear(x, self.w["bert.embeddings.word_embeddings.weight"],
                        self.w["cls.predictions.bias"])


def read_sequences(path, most):
    sequences = []
    with open(path) as f:
        for line in f:
            if most and len(sequences) == most:
                break
            sequences.append([[int(v) for v in (word + f":{IGNORED}").split(":")[:2]]
                              for word in line.split()])
    return sequences


def batches(sequences):
    """ids, mask and targets, each (BATCH, longest), padded."""
    for i in range(0, len(sequences), BATCH):
        part = sequences[i:i + BATCH]
        shape = (len(part), max(map(len, part)))
        ids = torch.zeros(shape, dtype=torch.long)
        mask = torch.zeros(shape, dtype=torch.bool)
        targets = torch.full(shape, IGNORED, dtype=torch.long)
        for row, s in enumerate(part):
            both = torch.tensor(s)
            ids[row, :len(s)], targets[row, :len(s)] = both[:, 0], both[:, 1]
            mask[row, :len(s)] = True
        yield ids, mask, targets


class Covariance:
    """Moments of the concatenated features of both models, as the released code keeps them."""

    def __init__(self):
        self.outer, self.mean, self.rows = 0, 0, 0

    def update(self, a, b):
        x = torch.cat([a, b], 1).double()
        self.outer += x.T @ x
        self.mean += x.sum(0)
        self.rows += x.shape[0]

    def correlation(self):
        mean = self.mean / self.rows
        cov = self.outer / self.rows - torch.outer(mean, mean)
        std = cov.diagonal().clamp(min=0).sqrt()
        cor = cov / torch.outer(std, std).clamp(min=1e-7)
        d = len(std) // 2
        return cor[:d, d:].numpy()


def match(correlation):
    rows, columns = linear_sum_assignment(correlation, maximize=True)
    return columns, float(correlation[rows, columns].sum())


def match_heads(correlation, heads):
    dh = len(correlation) // heads
    inner = [[match(correlation[i * dh:(i + 1) * dh, j * dh:(j + 1) * dh]) for j in range(heads)]
             for i in range(heads)]
    outer, score = match(np.array([[pair[1] for pair in row] for row in inner]))
    return np.concatenate([j * dh + inner[i][j][0] for i, j in enumerate(outer)]), score


def move(weights, layer, ff, mha):
    p = f"bert.encoder.layer.{layer}."
    for name, index in [("intermediate.dense", ff), ("attention.self.query", mha),
                        ("attention.self.key", mha), ("attention.self.value", mha)]:
        for part in (".weight", ".bias"):
            weights[p + name + part] = weights[p + name + part][torch.from_numpy(index)]
    for name, index in [("output.dense", ff), ("attention.output.dense", mha)]:
        weights[p + name + ".weight"] = weights[p + name + ".weight"][:, torch.from_numpy(index)]


def align(a, b, sequences):
    """Returns B's moved weights, and what it took."""
    watch, report = Stopwatch(), {}
    moments = [(Covariance(), Covariance()) for _ in range(a.layers)]
    for ids, mask, _ in batches(sequences):
        features = [[], []]
        for model, kept in zip((a, b), features):
            model.encode(ids, mask, lambda i, query, mha, ff: kept.append((ff[mask], mha[mask])))
        for layer, (ff, mha) in enumerate(moments):
            ff.update(features[0][layer][0], features[1][layer][0])
            mha.update(features[0][layer][1], features[1][layer][1])
    report["moments_seconds"], report["moments_cpu"] = watch.read()
    matched = [(match(ff.correlation()), match_heads(mha.correlation(), a.heads))
               for ff, mha in moments]
    report["assignment_seconds"], report["assignment_cpu"] = watch.read()
    weights = dict(b.w)
    for layer, (ff, mha) in enumerate(matched):
        move(weights, layer, ff[0], mha[0])
    report["apply_seconds"], report["apply_cpu"] = watch.read()
    report["score"] = sum(ff[1] + mha[1] for ff, mha in matched)
    report["tokens"] = sum(map(len, sequences))
    report["seconds"] = sum(v for k, v in report.items() if k.endswith("_seconds"))
    report["cpu"] = sum(v for k, v in report.items() if k.endswith("_cpu"))
    return weights, report


def evaluate(model, sequences):
    watch, total, count = Stopwatch(), 0.0, 0
    for ids, mask, targets in batches(sequences):
        logits = model.logits(ids, mask)
        n = int((targets != IGNORED).sum())
        loss = F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.view(-1),
                               ignore_index=IGNORED)
        total, count = total + float(loss) * n, count + n
    seconds, cpu = watch.read()
    return {"seconds": seconds, "cpu": cpu, "tokens": sum(map(len, sequences)),
            "loss": total / count, "predicted": count}


def interpolate(a, weights, fraction):
    return {name: (1 - fraction) * a.w[name] + fraction * weights[name] for name in a.w}


def job(args, a, b):
    """A whole job: alignment, then the loss at each point of the curve and of its control."""
    watch = Stopwatch()
    moved, report = align(a, b, read_sequences(args.lines_file, args.lines))
    blocks = read_sequences(args.blocks_file, args.blocks)
    points = [evaluate(Bert(args.a, interpolate(a, weights, i / (args.points - 1))), blocks)
              for weights in (moved, b.w) for i in range(args.points)]
    seconds, cpu = watch.read()
    return {"seconds": seconds, "cpu": cpu, "align_seconds": report["seconds"],
            "align_cpu": report["cpu"], "moments_seconds": report["moments_seconds"],
            "tokens": report["tokens"], "score": report["score"],
            "losses": [p["loss"] for p in points],
            "evaluate_seconds": sum(p["seconds"] for p in points),
            "evaluate_cpu": sum(p["cpu"] for p in points),
            "evaluated_tokens": sum(p["tokens"] for p in points)}


def assign(paths):
    rows = []
    for path in paths:
        flat = np.fromfile(path, np.float32)
        n = math.isqrt(len(flat))
        matrix = flat.reshape(n, n).astype(np.float64)
        watch = Stopwatch()
        score = match(matrix)[1]
        seconds, cpu = watch.read()
        rows.append({"matrix": os.path.basename(path), "n": n, "seconds": seconds, "cpu": cpu,
                     "score": score})
    return {"rows": rows}


def real(a, b, sequences, path, first_path):
    """Units of every kind side by side make a matrix as large as BERT-base's from a small pair."""
    moments = Covariance()
    for ids, mask, _ in batches(sequences):
        sides = [[], []]
        for model, kept in zip((a, b), sides):
            model.encode(ids, mask, lambda i, query, mha, ff:
                         kept.extend((ff[mask], mha[mask], query[mask])))
        moments.update(torch.cat(sides[0], 1), torch.cat(sides[1], 1))
    correlation = moments.correlation().astype(np.float32)
    correlation.tofile(path)
    first = a.config["intermediate_size"]  # the first kind of the first layer
    correlation[:first, :first].tofile(first_path)
    return {"n": len(correlation), "rows": moments.rows}


def parse():
    p = argparse.ArgumentParser()
    sub = p.add_subparsers(dest="what", required=True)
    for name, files in [("probe", []), ("align", ["a", "b", "lines_file"]),
                        ("evaluate", ["a", "b", "blocks_file"]),
                        ("job", ["a", "b", "lines_file", "blocks_file"]),
                        ("real", ["a", "b", "lines_file", "matrix", "first"])]:
        s = sub.add_parser(name)
        for f in files:
            s.add_argument(f)
        s.add_argument("--lines", type=int, default=0)
        s.add_argument("--blocks", type=int, default=0)
        s.add_argument("--points", type=int, default=2)
        s.add_argument("--threads", type=int, default=os.cpu_count())
    sub.add_parser("assign").add_argument("matrices", nargs="+")
    return p.parse_args()


def main():
    args = parse()
    import_scipy()
    if args.what == "assign":
        report = assign(args.matrices)
    else:
        import_torch(args.threads)
        report = {"torch": torch.__version__, "threads": torch.get_num_threads()}
    if args.what not in ("assign", "probe"):
        a, b = Bert(args.a), Bert(args.b)
    if args.what == "align":
        report.update(align(a, b, read_sequences(args.lines_file, args.lines))[1])
    elif args.what == "evaluate":
        report.update(evaluate(a, read_sequences(args.blocks_file, args.blocks)))
    elif args.what == "job":
        report.update(job(args, a, b))
    elif args.what == "real":
        report.update(real(a, b, read_sequences(args.lines_file, args.lines), args.matrix,
                           args.first))
    report["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(json.dumps(report))


if __name__ == "__main__":
    main()

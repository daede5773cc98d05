#!/usr/bin/python3
"""A decoder of Pythia-160M's shape (or any): how many tokens a second pass through alignment and loss, at
what share of the machine's product rate, and against PyTorch (batches of 8 x 512, causal mask, logits
everywhere). Random weights; one run.

    tests/bench/decoder.py --build build/bench [--threads 2] [--blocks 64] [--length 512] [--no-torch] [--json]

tests/bench/run.sh decoder builds and runs it.
"""
import argparse
import json
import os
import resource
import struct
import subprocess
import tempfile
import time

import numpy as np

LAYERS, HIDDEN, HEADS, INNER, VOCABULARY, POSITIONS, ROTARY = 12, 768, 12, 3072, 50304, 2048, 16
BATCH = 8


def tensors():
    yield "gpt_neox.embed_in.weight", (VOCABULARY, HIDDEN)
    for i in range(LAYERS):
        p = f"gpt_neox.layers.{i}."
        for norm in ("input_layernorm", "post_attention_layernorm"):
            yield p + norm + ".weight", (HIDDEN,)
            yield p + norm + ".bias", (HIDDEN,)
        for name, out, into in (("attention.query_key_value", 3 * HIDDEN, HIDDEN),
                                ("attention.dense", HIDDEN, HIDDEN),
                                ("mlp.dense_h_to_4h", INNER, HIDDEN),
                                ("mlp.dense_4h_to_h", HIDDEN, INNER)):
            yield p + name + ".weight", (out, into)
            yield p + name + ".bias", (out,)
    yield "gpt_neox.final_layer_norm.weight", (HIDDEN,)
    yield "gpt_neox.final_layer_norm.bias", (HIDDEN,)
    yield "embed_out.weight", (VOCABULARY, HIDDEN)


def write_model(folder, seed):
    os.mkdir(folder)
    config = {"model_type": "gpt_neox", "vocab_size": VOCABULARY, "hidden_size": HIDDEN,
              "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "intermediate_size": INNER,
              "max_position_embeddings": POSITIONS, "rotary_pct": ROTARY * HEADS / HIDDEN}
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(config, f)
    rng, header, offset = np.random.default_rng(seed), {}, 0
    shapes = list(tensors())
    for name, shape in shapes:
        end = offset + 4 * int(np.prod(shape))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(os.path.join(folder, "model.safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for name, shape in shapes:
            x = 0.02 * rng.standard_normal(shape, np.float32)
            f.write((x + 1 if "norm.weight" in name else x).astype(np.float32).tobytes())
    open(os.path.join(folder, "vocab.txt"), "w").close()  # bench_core: the folder is whole


def ours(args, folder):
    """bench_core's rows, {row: {threads: figures}}, and the peak of resident memory in MB."""
    threads = sorted({1, args.threads})
    command = [os.path.join(args.build, "tests/bench/bench_core"), "--models", folder, "--threads",
               ",".join(map(str, threads)), "--blocks", str(args.blocks), "--block-size",
               str(args.length), "--lines", str(args.blocks * args.length // 128), "--mean", "110",
               "--longest", "256", "machine", "evaluate", "collect"]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rows = {}
    for line in out.splitlines():
        words = line.split()
        found = {k: float(v) for k, v in (w.split("=") for w in words[1:] if "=" in w)}
        rows.setdefault(words[0], {})[int(found["threads"])] = found
    return rows, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000


def tell(rows, peak):
    for row in ("evaluate", "collect"):
        for threads, r in rows[row].items():
            print(f"{row:9} {threads} workers {r['tokens_per_s']:8.0f} tokens/s by wall  "
                  f"{r['wall_gflops']:6.1f} GF/s, of sgemm: {r['wall_ratio']:.2f} by wall, "
                  f"{r['cpu_ratio']:.2f} by CPU")
    print(f"peak      {peak:8.0f} MB resident")


def turn(torch, x, cosine, sine):
    a, b, rest = x[..., :ROTARY // 2], x[..., ROTARY // 2:ROTARY], x[..., ROTARY:]
    return torch.cat([a * cosine - b * sine, b * cosine + a * sine, rest], -1)


def theirs(args, folder):
    import torch
    import torch.nn.functional as F
    torch.set_num_threads(args.threads)
    torch.set_grad_enabled(False)
    with open(os.path.join(folder, "a", "model.safetensors"), "rb") as f:
        (length,) = struct.unpack("<Q", f.read(8))
        header = json.loads(f.read(length))
        data = f.read()
    w = {n: torch.from_numpy(np.frombuffer(data, np.float32, int(np.prod(t["shape"])),
                                           t["data_offsets"][0]).reshape(t["shape"]).copy())
         for n, t in header.items()}
    n, dh = args.length, HIDDEN // HEADS
    angle = torch.outer(torch.arange(n).float(),
                        10000.0 ** (-torch.arange(0, ROTARY, 2).float() / ROTARY))
    cosine, sine = angle.cos(), angle.sin()
    mask = torch.full((n, n), float("-inf")).triu(1)

    def linear(name, x):
        return F.linear(x, w[name + ".weight"], w[name + ".bias"])

    def norm(name, x):
        return F.layer_norm(x, (HIDDEN,), w[name + ".weight"], w[name + ".bias"], 1e-5)

    def loss(ids):
        x = w["gpt_neox.embed_in.weight"][ids]
        for i in range(LAYERS):
            p = f"gpt_neox.layers.{i}."
            qkv = linear(p + "attention.query_key_value", norm(p + "input_layernorm", x))
            q, k, v = qkv.view(len(ids), n, HEADS, 3 * dh).transpose(1, 2).split(dh, -1)
            scores = turn(torch, q, cosine, sine) @ turn(torch, k, cosine, sine).transpose(-1, -2)
            heads = F.softmax(scores / dh ** 0.5 + mask, -1) @ v
            attention = linear(p + "attention.dense",
                               heads.transpose(1, 2).reshape(len(ids), n, HIDDEN))
            ff = F.gelu(linear(p + "mlp.dense_h_to_4h", norm(p + "post_attention_layernorm", x)))
            x = x + attention + linear(p + "mlp.dense_4h_to_h", ff)
        logits = F.linear(norm("gpt_neox.final_layer_norm", x), w["embed_out.weight"])
        return F.cross_entropy(logits[:, :-1].reshape(-1, VOCABULARY), ids[:, 1:].reshape(-1))

    batches = 2
    ids = torch.randint(VOCABULARY, (batches, BATCH, n))
    loss(ids[0])  # warm
    begin = time.monotonic()
    for batch in ids:
        loss(batch)
    rate = batches * BATCH * n / (time.monotonic() - begin)
    return rate, torch.__version__


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--build", required=True)
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--blocks", type=int, default=64)
    p.add_argument("--length", type=int, default=512)
    p.add_argument("--no-torch", action="store_true")
    p.add_argument("--json", action="store_true")
    args = p.parse_args()
    report = {}
    with tempfile.TemporaryDirectory() as folder:
        for seed, name in enumerate("ab"):
            write_model(os.path.join(folder, name), seed + 1)
        report["rows"], report["peak_mb"] = ours(args, folder)
        if not args.json:
            tell(report["rows"], report["peak_mb"])
        try:
            if not args.no_torch:
                report["torch_tokens_per_s"], report["torch"] = theirs(args, folder)
        except ImportError:
            report["torch"] = None
    if args.json:
        print(json.dumps(report))
    elif report.get("torch"):
        ours_rate, rate = report["rows"]["evaluate"][args.threads]["tokens_per_s"], report["torch_tokens_per_s"]
        print(f"PyTorch {report['torch']}: {rate:8.0f} tokens/s, batches of {BATCH} x {args.length}\n"
              f"ratio     {ours_rate / rate:8.2f} (a lambda's loss, interpolation of the weights included)")


main()

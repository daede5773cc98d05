#!/usr/bin/python3
"""A decoder of Pythia-160M's shape (or any): how many tokens a second pass through alignment and loss, at
what share of the machine's product rate, and against PyTorch (batches of 8 x 512, causal mask, logits
everywhere). Random weights; one run.

    tests/bench/decoder.py --build build/bench [--threads 1,2] [--blocks 48] [--length 512] [--no-torch] [--json]
                           [--rows evaluate,collect] [--profile]

tests/bench/run.sh decoder builds and runs it. OpenBLAS runs the same kernel in both, the daemon's. From 48
blocks on the loss runs as it does in long jobs, in longer spans. --profile: where the CPU time went, as text.
"""
import argparse
import json
import os
import resource
import struct
import subprocess
import sys
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
    command = [os.path.join(args.build, "tests/bench/bench_core"), "--models", folder, "--threads",
               args.threads, "--blocks", str(args.blocks), "--block-size",
               str(args.length), "--lines", str(args.blocks * args.length // 128), "--mean", "110",
               "--longest", "256", *["--profile"] * args.profile, "machine", *args.rows.split(",")]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rows = {}
    for line in out.splitlines():
        if args.profile:
            print(line)
        if line.startswith(" "):
            continue
        words = line.split()
        found = dict(w.split("=") for w in words[1:] if "=" in w)
        found = {k: v if k in ("kernel", "set") else float(v) for k, v in found.items()}
        rows.setdefault(words[0], {})[int(found["threads"])] = found
    return rows, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000


def tell(rows, peak):
    for threads, r in rows["machine"].items():
        print(f"sgemm     {threads} workers {r['cpu_gflops']:6.1f} GF/s by CPU, kernel {r['kernel']}: {r['fma_ratio']:.2f} "
              "of the FMA limit")
    for row in (r for r in ("evaluate", "collect") if r in rows):
        for threads, r in rows[row].items():
            print(f"{row:9} {threads} workers {r['tokens_per_s']:8.0f} tokens/s by wall  "
                  f"{r['wall_gflops']:6.1f} GF/s, of sgemm: {r['wall_ratio']:.3f} by wall, "
                  f"{r['cpu_ratio']:.3f} by CPU; of the FMA limit {r['fma_ratio']:.3f}")
    print(f"peak      {peak:8.0f} MB resident")


def turn(torch, x, cosine, sine):
    a, b, rest = x[..., :ROTARY // 2], x[..., ROTARY // 2:ROTARY], x[..., ROTARY:]
    return torch.cat([a * cosine - b * sine, b * cosine + a * sine, rest], -1)


def theirs(args, folder):
    import torch
    import torch.nn.functional as F
    torch.set_num_threads(int(args.threads.split(",")[-1]))
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


def theirs_apart(args, folder, kernel):
    """In a process of its own, whose OpenBLAS starts with the daemon's kernel. None: no PyTorch."""
    out = subprocess.run([sys.executable, "-B", __file__, "--build", args.build, "--threads", args.threads,
                          "--length", str(args.length), "--theirs", folder], check=True, capture_output=True,
                         text=True, env=dict(os.environ, OPENBLAS_CORETYPE=kernel)).stdout
    return json.loads(out)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--build", required=True)
    p.add_argument("--threads", default=",".join(map(str, sorted({1, os.cpu_count()}))))
    p.add_argument("--blocks", type=int, default=48)
    p.add_argument("--length", type=int, default=512)
    p.add_argument("--rows", default="evaluate,collect")
    p.add_argument("--profile", action="store_true")
    p.add_argument("--no-torch", action="store_true")
    p.add_argument("--json", action="store_true")
    p.add_argument("--theirs", help=argparse.SUPPRESS)
    args = p.parse_args()
    if args.theirs:
        try:
            print(json.dumps(theirs(args, args.theirs)))
        except ImportError:
            print("null")
        return
    report = {}
    with tempfile.TemporaryDirectory() as folder:
        for seed, name in enumerate("ab"):
            write_model(os.path.join(folder, name), seed + 1)
        report["rows"], report["peak_mb"] = ours(args, folder)
        report["kernel"] = next(iter(report["rows"]["machine"].values()))["kernel"]
        if not args.json:
            tell(report["rows"], report["peak_mb"])
        found = None if args.no_torch else theirs_apart(args, folder, report["kernel"])
        report["torch_tokens_per_s"], report["torch"] = found or (None, None)
    if args.json:
        print(json.dumps(report))
    elif report["torch"] and "evaluate" in report["rows"]:
        last = int(args.threads.split(",")[-1])
        ours_rate, rate = report["rows"]["evaluate"][last]["tokens_per_s"], report["torch_tokens_per_s"]
        print(f"PyTorch {report['torch']}: {rate:8.0f} tokens/s, batches of {BATCH} x {args.length}\n"
              f"ratio     {ours_rate / rate:8.2f} (a lambda's loss, interpolation of the weights included)")


if __name__ == "__main__":
    main()

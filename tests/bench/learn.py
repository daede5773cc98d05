#!/usr/bin/python3
"""A step of learning at Pythia-160M's shape (METHOD 11: the stream's map, and the heads'): at what share of the
machine's product rate, how much memory, and against PyTorch's autograd on the same step. Random weights; one run of
some three minutes on two quiet cores.

    tests/bench/learn.py --build build/bench [--threads 2] [--steps 6] [--tokens 1024] [--length 512]
                         [--no-torch] [--bert] [--json]

--bert: BERT-base's shape instead (near-equivalent maps; no PyTorch), and what 100 steps take, here and on 64 cores by
the count of operations. Built by

    cmake --preset release -S . -B build/bench -DRB_BENCH=ON -DRB_TESTS=OFF
    cmake --build build/bench --target bench_core
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))


def ours(args, folder):
    """bench_core's rows, {row: figures}."""
    command = [os.path.join(args.build, "tests/bench/bench_core"), "--threads", str(args.threads), "--steps",
               str(args.steps), "--tokens", str(args.tokens), "--block-size", str(args.length)]
    command += ["--models", folder] if folder else []
    out = subprocess.run(command + ["machine", "learn"], check=True, capture_output=True, text=True).stdout
    rows = {}
    for line in out.splitlines():
        words = line.split()
        rows[words[0]] = {k: float(v) for k, v in (w.split("=") for w in words[1:] if "=" in w)
                          if v.replace(".", "", 1).isdigit()}
    return rows


def tell(rows, args):
    r = rows["learn_step"]
    print(f"step      {r['seconds']:8.3f} s of {args.tokens} tokens on {args.threads} workers, {r['gflop']:.1f} GFLOP: "
          f"of sgemm {r['wall_ratio']:.2f} by wall, {r['cpu_ratio']:.2f} by CPU")
    print(f"100 steps {r['seconds_100']:8.1f} s; on 64 cores {r['seconds_100_on_64_cores']:.2f} s by the count of operations")
    print(f"memory    {r['peak_mb']:8.0f} MB resident at most; {r['weights_mb']:.0f} MB of mapped weights and "
          f"{r['planned_mb']:.0f} MB planned")


def theirs(args, folder):
    import numpy as np
    import torch
    import torch.nn.functional as F
    import decoder
    torch.set_num_threads(args.threads)
    d, heads, layers, vocabulary, rotary = (decoder.HIDDEN, decoder.HEADS, decoder.LAYERS, decoder.VOCABULARY,
                                            decoder.ROTARY)
    dh, n = d // heads, args.length

    def load(side):
        with open(os.path.join(folder, side, "model.safetensors"), "rb") as f:
            length = int.from_bytes(f.read(8), "little")
            header, data = json.loads(f.read(length)), f.read()
        return {k: torch.from_numpy(np.frombuffer(data, np.float32, int(np.prod(t["shape"])), t["data_offsets"][0])
                                    .reshape(t["shape"]).copy()) for k, t in header.items() if k != "__metadata__"}

    a, b = load("a"), load("b")
    angle = torch.outer(torch.arange(n).float(), 10000.0 ** (-torch.arange(0, rotary, 2).float() / rotary))
    cosine, sine = angle.cos(), angle.sin()
    mask = torch.full((n, n), float("-inf")).triu(1)
    free = dh - rotary
    w_stream = torch.zeros(d, d, requires_grad=True)
    w_values = torch.zeros(layers, heads, dh, dh, requires_grad=True)
    w_free = torch.zeros(layers, heads, free, free, requires_grad=True)
    angles = torch.zeros(layers, heads, rotary // 2, requires_grad=True)
    adam = torch.optim.Adam([w_stream, w_values, w_free, angles], lr=3e-3, betas=(0.9, 0.98))

    def cayley(w):
        k = w - w.transpose(-1, -2)
        one = torch.eye(k.shape[-1])
        return torch.linalg.solve(one - k, one + k)

    def turns():
        r = torch.zeros(layers, heads, dh, dh)
        half = rotary // 2
        i = torch.arange(half)
        r[:, :, i, i] = angles.cos()
        r[:, :, i + half, i + half] = angles.cos()
        r[:, :, i, i + half] = angles.sin()
        r[:, :, i + half, i] = -angles.sin()
        r[:, :, rotary:, rotary:] = cayley(w_free)
        return r

    def theta(lam):
        centred = w_stream - w_stream.mean(0, keepdim=True)
        o = cayley(centred - centred.mean(1, keepdim=True))
        s, r = cayley(w_values), turns()

        def blend(name, moved):
            return (1 - lam) * a[name] + lam * moved

        t = {"gpt_neox.embed_in.weight": blend("gpt_neox.embed_in.weight", b["gpt_neox.embed_in.weight"] @ o),
             "embed_out.weight": blend("embed_out.weight", b["embed_out.weight"] @ o)}
        for name in ("weight", "bias"):
            k = "gpt_neox.final_layer_norm." + name
            t[k] = blend(k, b[k] @ o if name == "bias" else b[k])
        for i in range(layers):
            p = f"gpt_neox.layers.{i}."
            for norm in ("input_layernorm.", "post_attention_layernorm."):
                for name in ("weight", "bias"):
                    t[p + norm + name] = blend(p + norm + name, b[p + norm + name])
            k = p + "attention.query_key_value."
            both = torch.stack([r[i], r[i], s[i]], 1).transpose(-1, -2)  # rows: the transposes
            t[k + "weight"] = blend(k + "weight", (both @ (b[k + "weight"] @ o).view(heads, 3, dh, d)).reshape(3 * d, d))
            t[k + "bias"] = blend(k + "bias", (both @ b[k + "bias"].view(heads, 3, dh, 1)).reshape(3 * d))
            k = p + "attention.dense."
            moved = (o.t() @ b[k + "weight"]).view(d, heads, 1, dh) @ s[i]
            t[k + "weight"] = blend(k + "weight", moved.reshape(d, d))
            t[k + "bias"] = blend(k + "bias", b[k + "bias"] @ o)
            k = p + "mlp.dense_h_to_4h."
            t[k + "weight"] = blend(k + "weight", b[k + "weight"] @ o)
            t[k + "bias"] = blend(k + "bias", b[k + "bias"])
            k = p + "mlp.dense_4h_to_h."
            t[k + "weight"] = blend(k + "weight", o.t() @ b[k + "weight"])
            t[k + "bias"] = blend(k + "bias", b[k + "bias"] @ o)
        return t

    def loss(w, ids):
        def linear(name, x):
            return F.linear(x, w[name + ".weight"], w[name + ".bias"])

        def norm(name, x):
            return F.layer_norm(x, (d,), w[name + ".weight"], w[name + ".bias"], 1e-5)

        x = w["gpt_neox.embed_in.weight"][ids]
        for i in range(layers):
            p = f"gpt_neox.layers.{i}."
            qkv = linear(p + "attention.query_key_value", norm(p + "input_layernorm", x))
            q, k, v = qkv.view(len(ids), n, heads, 3 * dh).transpose(1, 2).split(dh, -1)
            scores = decoder.turn(torch, q, cosine, sine) @ decoder.turn(torch, k, cosine, sine).transpose(-1, -2)
            inside = F.softmax(scores / dh ** 0.5 + mask, -1) @ v
            attention = linear(p + "attention.dense", inside.transpose(1, 2).reshape(len(ids), n, d))
            ff = F.gelu(linear(p + "mlp.dense_h_to_4h", norm(p + "post_attention_layernorm", x)))
            x = x + attention + linear(p + "mlp.dense_4h_to_h", ff)
        logits = F.linear(norm("gpt_neox.final_layer_norm", x), w["embed_out.weight"])
        return F.cross_entropy(logits[:, :-1].reshape(-1, vocabulary), ids[:, 1:].reshape(-1))

    def step():
        ids = torch.randint(vocabulary, (args.tokens // n, n))
        adam.zero_grad()
        loss(theta(0.5), ids).backward()
        adam.step()

    step()  # warm
    steps = max(2, args.steps // 2)
    begin = time.monotonic()
    for _ in range(steps):
        step()
    return (time.monotonic() - begin) / steps, torch.__version__


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--build", required=True)
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--steps", type=int, default=6)
    p.add_argument("--tokens", type=int, default=1024)
    p.add_argument("--length", type=int, default=512)
    p.add_argument("--no-torch", action="store_true")
    p.add_argument("--bert", action="store_true")
    p.add_argument("--json", action="store_true")
    args = p.parse_args()
    report = {}
    if args.bert:
        args.length = min(args.length, 128)
        report["rows"] = ours(args, None)
    with tempfile.TemporaryDirectory() as folder:
        if not args.bert:
            import decoder
            for seed, name in enumerate("ab"):
                decoder.write_model(os.path.join(folder, name), seed + 1)
            report["rows"] = ours(args, folder)
        try:
            if not args.no_torch and not args.bert:
                report["torch_seconds"], report["torch"] = theirs(args, folder)
        except ImportError:
            report["torch"] = None
    if args.json:
        print(json.dumps(report))
        return
    tell(report["rows"], args)
    if report.get("torch"):
        print(f"PyTorch {report['torch']}: {report['torch_seconds']:.3f} s a step, autograd and Adam\n"
              f"ratio     {report['torch_seconds'] / report['rows']['learn_step']['seconds']:8.2f}")


if __name__ == "__main__":
    main()

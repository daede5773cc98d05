#!/usr/bin/python3
"""A pair of 1.4 B parameters (GPT-NeoX, 24 layers, 2048 wide, vocabulary 50304; random, bfloat16, in shards),
aligned and evaluated by one `rebasind run` below a limit of memory: its peak, and what it cost against the
flop count, beside a pair of the same family that is small.

    tests/bench/billion.py --build build/bench [--lines 40] [--blocks 4] [--limit 8GiB] [--folder DIR] [--no-small]
    tests/bench/billion.py --build build/bench --no-billion --lines 4 --blocks 1      # does it work? half a minute

Needs 18 GB of disk under $TMPDIR (or DIR, which is kept with its models): 6 for the models, the rest for moments.
"""
import argparse
import json
import os
import re
import shutil
import struct
import subprocess
import tempfile
import time

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
FIXTURES = os.path.join(HERE, "../fixtures")
BILLION = dict(layers=24, hidden=2048, heads=16, inner=8192, vocabulary=50304)
SMALL = dict(layers=12, hidden=768, heads=12, inner=3072, vocabulary=50304)
POOL = 1 << 24  # numbers drawn; a tensor takes them from somewhere on, which costs nothing


def tensors(s):
    d, inner = s["hidden"], s["inner"]
    yield "gpt_neox.embed_in.weight", (s["vocabulary"], d)
    for i in range(s["layers"]):
        p = f"gpt_neox.layers.{i}."
        for norm in ("input_layernorm", "post_attention_layernorm"):
            yield p + norm + ".weight", (d,)
            yield p + norm + ".bias", (d,)
        for name, out, into in (("attention.query_key_value", 3 * d, d), ("attention.dense", d, d),
                                ("mlp.dense_h_to_4h", inner, d), ("mlp.dense_4h_to_h", d, inner)):
            yield p + name + ".weight", (out, into)
            yield p + name + ".bias", (out,)
    yield "gpt_neox.final_layer_norm.weight", (d,)
    yield "gpt_neox.final_layer_norm.bias", (d,)
    yield "embed_out.weight", (s["vocabulary"], d)


def bfloat16(x):
    return (np.asarray(x, np.float32).view(np.uint32) >> 16).astype(np.uint16)


def write_shard(path, shapes, rng, pool):
    header, offset = {}, 0
    for name, shape in shapes:
        end = offset + 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    one = bfloat16([1.0])[0]
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for name, shape in shapes:
            n = int(np.prod(shape))
            x = np.full(n, one, np.uint16) if "norm.weight" in name else None
            while x is None or len(x) < n:
                x = np.roll(pool, int(rng.integers(POOL)))[:n] if x is None else \
                    np.concatenate([x, np.roll(pool, int(rng.integers(POOL)))[:n - len(x)]])
            f.write(x.tobytes())


def write_model(folder, shape, seed, shards=2):
    os.makedirs(folder)
    config = {"model_type": "gpt_neox", "architectures": ["GPTNeoXForCausalLM"], "vocab_size": shape["vocabulary"],
              "hidden_size": shape["hidden"], "num_hidden_layers": shape["layers"],
              "num_attention_heads": shape["heads"], "intermediate_size": shape["inner"],
              "max_position_embeddings": 2048, "rotary_pct": 0.25, "torch_dtype": "bfloat16",
              "tie_word_embeddings": False}
    rng = np.random.default_rng(seed)
    pool = bfloat16(0.02 * rng.standard_normal(POOL, np.float32))
    shapes = list(tensors(shape))
    step, index = -(-len(shapes) // shards), {}
    for k in range(shards):
        part, name = shapes[k * step:(k + 1) * step], f"model-{k + 1:05}-of-{shards:05}.safetensors"
        write_shard(os.path.join(folder, name), part, rng, pool)
        index.update({n: name for n, _ in part})
    with open(os.path.join(folder, "model.safetensors.index.json"), "w") as f:
        json.dump({"metadata": {}, "weight_map": index}, f)
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(config, f)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(os.path.join(FIXTURES, "models/neox-a", file), folder)


def run(args, models, folder):
    spec = {"models": {"a": os.path.join(models, "a"), "b": os.path.join(models, "b")},
            "align": {"dataset": os.path.join(FIXTURES, "data/align.txt"), "max_sequences": args.lines},
            "interpolate": {"points": 2},
            "evaluate": {"task": "clm", "dataset": os.path.join(FIXTURES, "data/eval.txt"),
                         "block_size": 128, "max_blocks": args.blocks, "control": False}}
    path = os.path.join(folder, "spec.json")
    with open(path, "w") as f:
        json.dump(spec, f)
    begin = time.monotonic()
    child = subprocess.Popen([os.path.join(args.build, "rebasind"), "run", path, "--json", "--workers",
                              str(args.threads), "--memory-limit", args.limit, "--log-level", "debug"],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                             env=dict(os.environ, TMPDIR=folder))
    out, log = child.communicate()
    if child.returncode != 0:
        raise SystemExit(f"rebasind run ended with {child.returncode}: {out[-800:]}{log[-800:]}")
    job = json.loads(out)
    job["wall"] = time.monotonic() - begin
    return job, log


def aligning_flops(s):
    """Per token of the default taps: both forward passes, and products of FF and head units."""
    d, inner = s["hidden"], s["inner"]
    return s["layers"] * (2 * (8 * d * d + 4 * d * inner) + 2 * (inner * inner + d * d))


def tell(name, job, parameters):
    timings = ", ".join(f"{k} {v:.1f}" for k, v in job["timings"].items() if v and v >= 0.05)
    print(f"{name}: {parameters / 1e9:.2f} B parameters, {job['wall']:.0f} s ({timings}); peak "
          f"{job['peak_bytes'] / 1e9:.2f} GB; equivalent {job['summary'].get('equivalent')}", flush=True)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--build", required=True)
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--lines", type=int, default=40)
    p.add_argument("--blocks", type=int, default=4)
    p.add_argument("--limit", default="8GiB")
    p.add_argument("--folder", help="where models are, or are made and stay")
    p.add_argument("--no-small", action="store_true")
    p.add_argument("--no-billion", action="store_true")
    args = p.parse_args()
    costs = []
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        for name, shape in [("billion", BILLION)] * (not args.no_billion) + [("small", SMALL)] * (not args.no_small):
            models = os.path.join(args.folder or folder, name)
            for seed, side in enumerate("ab", 1):
                if not os.path.isdir(os.path.join(models, side)):
                    write_model(os.path.join(models, side), shape, seed)
            job, _ = run(args, models, folder)
            tell(name, job, sum(int(np.prod(s)) for _, s in tensors(shape)))
            costs.append(job["timings"]["aligning"] / aligning_flops(shape))
        if len(costs) == 2:
            print(f"aligning, seconds per flop: {costs[0] / costs[1]:.2f} of the small pair's", flush=True)


if __name__ == "__main__":
    main()

#!/usr/bin/python3
"""Does a merged folder open for somebody else? An independent reader of what rebasind writes.

For every pair of models below FIXTURES, and for random pairs of the families that have no trained one,
`rebasind run` aligns, evaluates and writes merged folders. Each folder is then opened here, by plain
PyTorch that shares nothing with rebasind: its own readers of safetensors, config.json and tokenizers,
modules whose parameters have Hugging Face's names and shapes (anything missing, left over or of another
shape is an error, as are other dtypes), its own forward pass. The loss must be the daemon's.

    tests/bench/read_merged.py --rebasind build/release/rebasind [--fixtures tests/fixtures] [NAME...]

Prints a row per run; exit status 1 if one differs by more than the bound. Needs python3-torch.
"""
import argparse
import glob
import json
import math
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import unicodedata

import torch
import torch.nn.functional as F
from torch import nn

BOUND = 2e-4
SEED, MASKED = 0, 0.15
DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
          "I64": torch.int64, "BOOL": torch.bool}  # the last two: buffers


# ---- files ----

def read_safetensors(path):
    with open(path, "rb") as f:
        (length,) = struct.unpack("<Q", f.read(8))
        header, data = json.loads(f.read(length)), bytearray(f.read())
    if header.pop("__metadata__", {}).get("format") != "pt":
        raise ValueError(f"{path}: the metadata does not say \"format\": \"pt\"")
    if sum(t["data_offsets"][1] - t["data_offsets"][0] for t in header.values()) != len(data):
        raise ValueError(f"{path}: the tensors do not cover the data")
    return {name: torch.frombuffer(data, dtype=DTYPES[t["dtype"]], offset=t["data_offsets"][0],
                                   count=math.prod(t["shape"])).reshape(t["shape"])
            for name, t in header.items()}


def write_safetensors(path, tensors):
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, t in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(t.shape),
                        "data_offsets": [offset, offset + 4 * t.numel()]}
        offset += 4 * t.numel()
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for t in tensors.values():
            f.write(t.contiguous().numpy().tobytes())


def read_json(*path):
    with open(os.path.join(*path), encoding="utf-8") as f:
        return json.load(f)


# ---- tokenizers ----

class WordPiece:
    """BERT's, lower case, for text without Chinese characters and control codes."""
    space = ("[CLS]", "[SEP]")
    mask = "[MASK]"

    def __init__(self, folder):
        with open(os.path.join(folder, "vocab.txt"), encoding="utf-8") as f:
            self.vocab = {line.rstrip("\n"): i for i, line in enumerate(f)}

    def pieces(self, word):
        found, start = [], 0
        while start < len(word):
            for end in range(len(word), start, -1):
                piece = ("##" if start else "") + word[start:end]
                if piece in self.vocab:
                    break
            else:
                return [self.vocab["[UNK]"]]
            found.append(self.vocab[piece])
            start = end
        return found

    def ids(self, text):
        text = unicodedata.normalize("NFD", text.lower())
        text = "".join(c for c in text if unicodedata.category(c) != "Mn")
        mark = lambda c: unicodedata.category(c)[0] == "P" or c in "$+<=>^`|~"
        spread = "".join(f" {c} " if mark(c) else c for c in text)
        return [i for word in spread.split() for i in self.pieces(word)]

    def wrap(self, a, b=None):
        cls, sep = self.vocab["[CLS]"], self.vocab["[SEP]"]
        if b is None:
            return [cls] + a + [sep], [0] * (len(a) + 2)
        return [cls] + a + [sep] + b + [sep], [0] * (len(a) + 2) + [1] * (len(b) + 1)


def byte_alphabet():
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in plain]
    return {**{b: chr(b) for b in plain}, **{b: chr(256 + i) for i, b in enumerate(others)}}


class ByteLevelBpe:
    """GPT-2's and those after it; the pattern and what stands around a text as tokenizer.json says."""
    gpt2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
    classes = ((r"[^\r\n\p{L}\p{N}]", r"(?:[^\r\n\w]|_)"), (r"[^\s\p{L}\p{N}]", r"(?:[^\s\w]|_)"),
               (r"\p{L}", r"[^\W\d_]"), (r"\p{N}", r"\d"))
    mask = "<mask>"

    def __init__(self, folder):
        pattern, self.around, self.nfc, self.added = self.gpt2, None, False, []
        if os.path.exists(os.path.join(folder, "tokenizer.json")):
            pattern, merges = self.read_tokenizer_json(read_json(folder, "tokenizer.json"))
        else:
            self.vocab = read_json(folder, "vocab.json")
            with open(os.path.join(folder, "merges.txt"), encoding="utf-8") as f:
                merges = [tuple(line.split()) for line in f if not line.startswith("#version")]
        self.ranks = {m: i for i, m in enumerate(merges)}
        for theirs, ours in self.classes:
            pattern = pattern.replace(theirs, ours)
        self.pattern, self.alphabet = re.compile(pattern), byte_alphabet()

    def read_tokenizer_json(self, t):
        self.vocab = dict(t["model"]["vocab"])
        self.vocab.update((a["content"], a["id"]) for a in t["added_tokens"])
        self.added = [a["content"] for a in t["added_tokens"]]
        self.nfc = t["normalizer"] is not None
        for p in [t["post_processor"], *t["post_processor"].get("processors", ())]:
            if p["type"] == "RobertaProcessing":
                self.around = ([p["cls"][1]], [p["sep"][1]])
            elif p["type"] == "TemplateProcessing":
                self.around = ([self.vocab[x["SpecialToken"]["id"]] for x in p["single"]
                                if "SpecialToken" in x], [])
        split = t["pre_tokenizer"].get("pretokenizers", [{}])[0]
        pattern = split["pattern"]["Regex"] if split.get("type") == "Split" else self.gpt2
        return pattern, [tuple(m.split(" ") if isinstance(m, str) else m)
                         for m in t["model"]["merges"]]

    def pieces(self, word):
        parts = [self.alphabet[b] for b in word.encode()]
        while len(parts) > 1:
            best = min(zip(parts, parts[1:]), key=lambda p: self.ranks.get(p, math.inf))
            if best not in self.ranks:
                break
            joined, i = [], 0
            while i < len(parts):
                pair = tuple(parts[i:i + 2]) == best
                joined.append("".join(best) if pair else parts[i])
                i += 2 if pair else 1
            parts = joined
        return [self.vocab[p] for p in parts]

    def words(self, text):
        return [i for word in self.pattern.findall(text) for i in self.pieces(word)]

    def ids(self, text):
        text = unicodedata.normalize("NFC", text) if self.nfc else text
        if not self.added:
            return self.words(text)
        cut = re.split("(" + "|".join(map(re.escape, sorted(self.added, key=len)[::-1])) + ")", text)
        return [i for part in cut
                for i in ([self.vocab[part]] if part in self.added else self.words(part))]

    def wrap(self, a, b=None):
        before, after = self.around or ([], [])
        ids = before + a + after + ([] if b is None else after + b + after)
        return ids, [0] * len(ids)


def open_tokenizer(folder):
    return (WordPiece if os.path.exists(os.path.join(folder, "vocab.txt")) else ByteLevelBpe)(folder)


# ---- what is read (METHOD 7 and 9) ----

def mix(x):
    bits = (1 << 64) - 1
    x = (x + 0x9E3779B97F4A7C15) & bits
    x = ((x ^ x >> 30) * 0xBF58476D1CE4E5B9) & bits
    x = ((x ^ x >> 27) * 0x94D049BB133111EB) & bits
    return x ^ x >> 31


def blocks(tokenizer, path, block_size, count, between):
    stream = []
    with open(path, encoding="utf-8") as f:
        for line in f:
            if line.strip():
                stream += tokenizer.wrap(tokenizer.ids(line.rstrip("\n")))[0] + between
            if len(stream) >= block_size * count:
                break
    return torch.tensor(stream[:block_size * count]).view(count, block_size)


def masked(tokenizer, ids, vocabulary):
    """Inputs and targets, -100 where nothing is predicted."""
    special = [tokenizer.vocab[t] for t in ("[CLS]", "[SEP]", "[PAD]", "<s>", "</s>", "<pad>")
               if t in tokenizer.vocab]
    inputs, targets = ids.clone(), torch.full_like(ids, -100)
    for s in range(ids.shape[0]):
        for t in range(ids.shape[1]):
            u = [(mix(mix(mix(mix(SEED) ^ s) ^ t) ^ k) >> 11) * 2.0 ** -53 for k in range(3)]
            if int(ids[s, t]) in special or u[0] >= MASKED:
                continue
            targets[s, t] = ids[s, t]
            if u[1] < 0.8:
                inputs[s, t] = tokenizer.vocab[tokenizer.mask]
            elif u[1] < 0.9:
                inputs[s, t] = int(u[2] * vocabulary)
    return inputs, targets


def rows(tokenizer, task, count):
    """(ids, types, label) of each row; longest first truncation of what is too long."""
    found = []
    with open(task["path"], encoding="utf-8") as f:
        for row in list(map(json.loads, f))[:count]:
            a, *rest = [tokenizer.ids(row[field]) for field in task["fields"]]
            b = rest[0] if rest else None
            while len(tokenizer.wrap(a, b)[0]) > task["max_length"]:
                (b if b is not None and len(b) >= len(a) else a).pop()
            found.append((*tokenizer.wrap(a, b), row["label"]))
    return found


# ---- models: parameters as Hugging Face names them ----

def tree(**children):
    m = nn.Module()
    for name, child in children.items():
        setattr(m, name, child)
    return m


def vector(n):
    return nn.Parameter(torch.zeros(n))


def layers(n, make):
    return nn.ModuleList([make() for _ in range(n)])


def attend(q, k, v, heads, kv_heads, causal, scale=None, turn=None):
    """(sequences, tokens, width) of each -> the heads' outputs side by side."""
    split = lambda x, h: x.view(*x.shape[:2], h, -1).transpose(1, 2)
    q, k, v = split(q, heads), split(k, kv_heads), split(v, kv_heads)
    if turn:
        q, k = turn(q), turn(k)
    k, v = (x.repeat_interleave(heads // kv_heads, 1) for x in (k, v))
    scores = q @ k.transpose(-1, -2) * (scale or q.shape[-1] ** -0.5)
    if causal:
        n = scores.shape[-1]
        scores = scores + torch.full((n, n), -math.inf).triu(1)
    out = F.softmax(scores, -1) @ v
    return out.transpose(1, 2).flatten(2)


def rotary(n, dims, theta):
    """Turns the first dims entries of each head, entry i with i + dims/2."""
    angle = torch.outer(torch.arange(n).float(), theta ** (-torch.arange(0, dims, 2).float() / dims))
    c, s = angle.cos(), angle.sin()

    def turn(x):
        a, b, rest = x[..., :dims // 2], x[..., dims // 2:dims], x[..., dims:]
        return torch.cat([a * c - b * s, b * c + a * s, rest], -1)
    return turn


GELU_NEW = lambda x: 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3)))
ACTIVATIONS = {"gelu": F.gelu, "gelu_new": GELU_NEW, "gelu_pytorch_tanh": GELU_NEW, "silu": F.silu,
               "relu": F.relu}


class Bert:
    """BERT, RoBERTa, ELECTRA: the same encoder; heads differ."""

    def __init__(self, c, kind):
        self.c, self.kind = c, kind
        h, inner = c["hidden_size"], c["intermediate_size"]
        e, eps = c.get("embedding_size", h), c["layer_norm_eps"]
        line, norm = nn.Linear, lambda n: nn.LayerNorm(n, eps)
        make = lambda: tree(
            attention=tree(**{"self": tree(query=line(h, h), key=line(h, h), value=line(h, h))},
                           output=tree(dense=line(h, h), LayerNorm=norm(h))),
            intermediate=tree(dense=line(h, inner)),
            output=tree(dense=line(inner, h), LayerNorm=norm(h)))
        base = tree(embeddings=tree(word_embeddings=nn.Embedding(c["vocab_size"], e),
                                    position_embeddings=nn.Embedding(c["max_position_embeddings"], e),
                                    token_type_embeddings=nn.Embedding(c["type_vocab_size"], e),
                                    LayerNorm=norm(e)),
                    encoder=tree(layer=layers(c["num_hidden_layers"], make)))
        if e != h:
            base.embeddings_project = line(e, h)
        self.classifies = c["architectures"][0].endswith("ForSequenceClassification")
        if kind == "bert":
            base.pooler = tree(dense=line(h, h))
        self.base, self.module = base, tree(**{kind: base})
        self.activation = ACTIVATIONS[c["hidden_act"]]
        {"bert": self.bert_head, "roberta": self.roberta_head, "electra": self.electra_head}[kind](
            h, e, c["vocab_size"], c.get("num_labels", 2), line, norm)

    def bert_head(self, h, e, vocabulary, labels, line, norm):
        m, base, act = self.module, self.base, self.activation
        if self.classifies:
            m.classifier = line(h, labels)
            self.head = lambda x: m.classifier(torch.tanh(base.pooler.dense(x[:, 0])))
            return
        m.cls = tree(predictions=tree(transform=tree(dense=line(h, h), LayerNorm=norm(h)),
                                      bias=vector(vocabulary)))
        p = m.cls.predictions
        self.decoder, self.untied = p, "cls.predictions.decoder.weight"
        self.head = lambda x: self.vocabulary(p.transform.LayerNorm(act(p.transform.dense(x))), p.bias)

    def roberta_head(self, h, e, vocabulary, labels, line, norm):
        m, act = self.module, self.activation
        if self.classifies:
            m.classifier = tree(dense=line(h, h), out_proj=line(h, labels))
            self.head = lambda x: m.classifier.out_proj(torch.tanh(m.classifier.dense(x[:, 0])))
            return
        m.lm_head = tree(dense=line(h, h), layer_norm=norm(h), bias=vector(vocabulary))
        self.untied = "lm_head.decoder.weight"
        self.head = lambda x: self.vocabulary(m.lm_head.layer_norm(act(m.lm_head.dense(x))),
                                              m.lm_head.bias)

    def electra_head(self, h, e, vocabulary, labels, line, norm):
        m = self.module
        m.generator_predictions = tree(dense=line(h, e), LayerNorm=norm(e))
        m.generator_lm_head = tree(bias=vector(vocabulary))
        self.untied = "generator_lm_head.weight"
        g = m.generator_predictions
        self.head = lambda x: self.vocabulary(g.LayerNorm(F.gelu(g.dense(x))), m.generator_lm_head.bias)

    def vocabulary(self, x, bias):
        own = dict(self.module.named_parameters()).get(self.untied)
        return F.linear(x, self.base.embeddings.word_embeddings.weight if own is None else own, bias)

    def logits(self, ids, types):
        b, e = self.base, self.base.embeddings
        positions = torch.arange(ids.shape[1]).expand_as(ids)
        if self.kind == "roberta":
            real = (ids != self.c["pad_token_id"]).int()
            positions = torch.cumsum(real, 1) * real + self.c["pad_token_id"]
        x = e.LayerNorm(e.word_embeddings(ids) + e.position_embeddings(positions)
                        + e.token_type_embeddings(types))
        if hasattr(b, "embeddings_project"):
            x = b.embeddings_project(x)
        heads = self.c["num_attention_heads"]
        for l in b.encoder.layer:
            a, out = getattr(l.attention, "self"), l.attention.output
            x = out.LayerNorm(x + out.dense(attend(a.query(x), a.key(x), a.value(x), heads, heads,
                                                   False)))
            x = l.output.LayerNorm(x + l.output.dense(self.activation(l.intermediate.dense(x))))
        return self.head(x)


class DistilBert:
    untied = "vocab_projector.weight"

    def __init__(self, c):
        self.c, h = c, c["dim"]
        line, norm = nn.Linear, lambda: nn.LayerNorm(h, 1e-12)
        make = lambda: tree(attention=tree(q_lin=line(h, h), k_lin=line(h, h), v_lin=line(h, h),
                                           out_lin=line(h, h)),
                            sa_layer_norm=norm(), output_layer_norm=norm(),
                            ffn=tree(lin1=line(h, c["hidden_dim"]), lin2=line(c["hidden_dim"], h)))
        self.base = tree(embeddings=tree(word_embeddings=nn.Embedding(c["vocab_size"], h),
                                         position_embeddings=nn.Embedding(c["max_position_embeddings"], h),
                                         LayerNorm=norm()),
                         transformer=tree(layer=layers(c["n_layers"], make)))
        self.module = tree(distilbert=self.base, vocab_transform=line(h, h), vocab_layer_norm=norm(),
                           vocab_projector=tree(bias=vector(c["vocab_size"])))

    def logits(self, ids, types):
        e, m, act = self.base.embeddings, self.module, ACTIVATIONS[self.c["activation"]]
        x = e.LayerNorm(e.word_embeddings(ids) + e.position_embeddings(torch.arange(ids.shape[1])))
        heads = self.c["n_heads"]
        for l in self.base.transformer.layer:
            a = l.attention
            x = l.sa_layer_norm(x + a.out_lin(attend(a.q_lin(x), a.k_lin(x), a.v_lin(x), heads, heads,
                                                     False)))
            x = l.output_layer_norm(x + l.ffn.lin2(act(l.ffn.lin1(x))))
        p = m.vocab_projector
        return F.linear(m.vocab_layer_norm(act(m.vocab_transform(x))),
                        getattr(p, "weight", e.word_embeddings.weight), p.bias)


class Conv1D(nn.Module):
    """GPT-2's linear map, stored (in, out)."""

    def __init__(self, into, out):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.zeros(into, out)), vector(out)

    def forward(self, x):
        return x @ self.weight + self.bias


class Gpt2:
    untied = "lm_head.weight"

    def __init__(self, c):
        self.c, h = c, c["n_embd"]
        inner = c.get("n_inner") or 4 * h
        norm = lambda: nn.LayerNorm(h, c["layer_norm_epsilon"])
        make = lambda: tree(ln_1=norm(), ln_2=norm(),
                            attn=tree(c_attn=Conv1D(h, 3 * h), c_proj=Conv1D(h, h)),
                            mlp=tree(c_fc=Conv1D(h, inner), c_proj=Conv1D(inner, h)))
        self.base = tree(wte=nn.Embedding(c["vocab_size"], h), wpe=nn.Embedding(c["n_positions"], h),
                         h=layers(c["n_layer"], make), ln_f=norm())
        self.module = tree(transformer=self.base)

    def logits(self, ids, types):
        b, act, heads = self.base, ACTIVATIONS[self.c["activation_function"]], self.c["n_head"]
        x = b.wte(ids) + b.wpe(torch.arange(ids.shape[1]))
        for l in b.h:
            q, k, v = l.attn.c_attn(l.ln_1(x)).chunk(3, -1)
            x = x + l.attn.c_proj(attend(q, k, v, heads, heads, True))
            x = x + l.mlp.c_proj(act(l.mlp.c_fc(l.ln_2(x))))
        head = getattr(self.module, "lm_head", b.wte)
        return F.linear(b.ln_f(x), head.weight)


class GptNeoX:
    def __init__(self, c):
        self.c, h, inner = c, c["hidden_size"], c["intermediate_size"]
        norm = lambda: nn.LayerNorm(h, c["layer_norm_eps"])
        make = lambda: tree(input_layernorm=norm(), post_attention_layernorm=norm(),
                            attention=tree(query_key_value=nn.Linear(h, 3 * h), dense=nn.Linear(h, h)),
                            mlp=tree(dense_h_to_4h=nn.Linear(h, inner), dense_4h_to_h=nn.Linear(inner, h)))
        self.base = tree(embed_in=nn.Embedding(c["vocab_size"], h),
                         layers=layers(c["num_hidden_layers"], make), final_layer_norm=norm())
        self.module = tree(gpt_neox=self.base, embed_out=nn.Linear(h, c["vocab_size"], bias=False))

    def logits(self, ids, types):
        b, c, heads = self.base, self.c, self.c["num_attention_heads"]
        dh, act = c["hidden_size"] // heads, ACTIVATIONS[c["hidden_act"]]
        turn = rotary(ids.shape[1], int(dh * c["rotary_pct"]), c["rotary_emb_base"])
        x = b.embed_in(ids)
        for l in b.layers:
            by_head = l.attention.query_key_value(l.input_layernorm(x)).unflatten(-1, (heads, 3, dh))
            q, k, v = (by_head[..., i, :].flatten(-2) for i in range(3))
            a = l.attention.dense(attend(q, k, v, heads, heads, True, turn=turn))
            mlp = lambda y: l.mlp.dense_4h_to_h(act(l.mlp.dense_h_to_4h(l.post_attention_layernorm(y))))
            x = x + a + mlp(x) if c["use_parallel_residual"] else (x + a) + mlp(x + a)
        return self.module.embed_out(b.final_layer_norm(x))


class RmsNorm(nn.Module):
    def __init__(self, n, eps):
        super().__init__()
        self.weight, self.eps = vector(n), eps

    def forward(self, x):
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps)


class Llama:
    """Llama, Qwen2 (biases on q, k, v), OLMo-2 (norms after, and over queries and keys)."""
    untied = "lm_head.weight"

    def __init__(self, c):
        self.c, h, inner, kind = c, c["hidden_size"], c["intermediate_size"], c["model_type"]
        heads, kv = c["num_attention_heads"], c["num_key_value_heads"]
        dh, self.after = c.get("head_dim", h // heads), kind == "olmo2"
        norm = lambda n=h: RmsNorm(n, c["rms_norm_eps"])
        line = lambda a, b, bias=False: nn.Linear(a, b, bias=bias)

        def make():
            biased = kind == "qwen2" or c.get("attention_bias", False)
            a = tree(q_proj=line(h, heads * dh, biased), k_proj=line(h, kv * dh, biased),
                     v_proj=line(h, kv * dh, biased), o_proj=line(heads * dh, h))
            if self.after:
                a.q_norm, a.k_norm = norm(heads * dh), norm(kv * dh)
            mlp = tree(gate_proj=line(h, inner), up_proj=line(h, inner), down_proj=line(inner, h))
            first = "post_feedforward_layernorm" if self.after else "input_layernorm"
            return tree(self_attn=a, mlp=mlp, post_attention_layernorm=norm(), **{first: norm()})
        self.base = tree(embed_tokens=nn.Embedding(c["vocab_size"], h), norm=norm(),
                         layers=layers(c["num_hidden_layers"], make))
        self.module = tree(model=self.base)
        if not c["tie_word_embeddings"]:
            self.module.lm_head = line(h, c["vocab_size"])
        self.dims = dh

    def attention(self, a, x, turn):
        q, k = a.q_proj(x), a.k_proj(x)
        if self.after:
            q, k = a.q_norm(q), a.k_norm(k)
        return a.o_proj(attend(q, k, a.v_proj(x), self.c["num_attention_heads"],
                               self.c["num_key_value_heads"], True, turn=turn))

    def logits(self, ids, types):
        b, turn = self.base, rotary(ids.shape[1], self.dims, self.c["rope_theta"])
        mlp = lambda m, y: m.down_proj(F.silu(m.gate_proj(y)) * m.up_proj(y))
        x = b.embed_tokens(ids)
        for l in b.layers:
            if self.after:
                x = x + l.post_attention_layernorm(self.attention(l.self_attn, x, turn))
                x = x + l.post_feedforward_layernorm(mlp(l.mlp, x))
            else:
                x = x + self.attention(l.self_attn, l.input_layernorm(x), turn)
                x = x + mlp(l.mlp, l.post_attention_layernorm(x))
        return F.linear(b.norm(x), getattr(self.module, "lm_head", b.embed_tokens).weight)


FAMILIES = {"bert": lambda c: Bert(c, "bert"), "roberta": lambda c: Bert(c, "roberta"),
            "electra": lambda c: Bert(c, "electra"), "distilbert": DistilBert, "gpt2": Gpt2,
            "gpt_neox": GptNeoX, "llama": Llama, "qwen2": Llama, "olmo2": Llama}
# What transformers leaves out on opening, for models of an older one.
BUFFERS = re.compile(r"(\.attn|\.attention)\.(bias|masked_bias)$|\.rotary_emb\.inv_freq$|\.position_ids$")


def open_model(folder):
    """The model of a folder, or an error that says which key or shape is not Hugging Face's."""
    c = read_json(folder, "config.json")
    tensors = read_safetensors(os.path.join(folder, "model.safetensors"))
    tensors = {k: t for k, t in tensors.items() if not BUFFERS.search(k)}
    model = FAMILIES[c["model_type"]](c)
    # A checkpoint of the bare model has no prefix; transformers adds it by the class's base_model_prefix.
    names = set(model.module.state_dict())
    (prefix,) = {n.split(".")[0] for n, child in model.module.named_children() if child is model.base}
    tensors = {f"{prefix}.{k}" if k not in names and f"{prefix}.{k}" in names else k: t
               for k, t in tensors.items()}
    own = getattr(model, "untied", None)
    if own in tensors and own not in names:  # a decoder of its own where the class may tie
        *path, last = own.split(".")
        owner = model.module
        for part in path:
            if not hasattr(owner, part):
                setattr(owner, part, nn.Module())
            owner = getattr(owner, part)
        setattr(owner, last, nn.Parameter(torch.zeros(tensors[own].shape)))
    if c.get("tie_word_embeddings") is False and own and own not in tensors:
        raise ValueError(f"{folder}: config.json says untied, and there is no {own}")
    dtype = c.get("torch_dtype") or c.get("dtype")
    if dtype and {str(t.dtype) for t in tensors.values()} != {f"torch.{dtype}"}:
        raise ValueError(f"{folder}: config.json says {dtype}, tensors are "
                         f"{sorted({str(t.dtype) for t in tensors.values()})}")
    model.module.load_state_dict(tensors, strict=True)
    model.module.eval()
    return model, c, len(tensors)


# ---- losses ----

def loss_of(folder, task):
    model, c, count = open_model(folder)
    tokenizer = open_tokenizer(folder)
    if task["task"] in ROWS:
        total, found = 0.0, rows(tokenizer, task, task["rows"])
        for ids, types, label in found:
            out = model.logits(torch.tensor([ids]), torch.tensor([types]))[0].double()
            total += float((out[0] - label) ** 2 if len(out) == 1
                           else F.cross_entropy(out[None], torch.tensor([label])))
        return total / len(found), count
    between = []
    if task["task"] == "clm" and c.get("eos_token_id") is not None:
        between = [c["eos_token_id"]]
    ids = blocks(tokenizer, task["path"], task["block_size"], task["blocks"], between)
    inputs, targets = ids, ids
    if task["task"] == "mlm":
        inputs, targets = masked(tokenizer, ids, c["vocab_size"])
    logits = model.logits(inputs, torch.zeros_like(inputs)).double()
    if task["task"] == "clm":
        logits, targets = logits[:, :-1], targets[:, 1:]
    return float(F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100)), count


# ---- pairs ----

def random_pair(root, kind, tokenizer, **more):
    c = {"architectures": [f"{dict(qwen2='Qwen2', olmo2='Olmo2', llama='Llama')[kind]}ForCausalLM"],
         "model_type": kind, "vocab_size": 512, "hidden_size": 60, "num_hidden_layers": 2,
         "num_attention_heads": 6, "num_key_value_heads": 2, "intermediate_size": 100,
         "max_position_embeddings": 128, "hidden_act": "silu", "rms_norm_eps": 1e-6,
         "rope_theta": 10000.0, "tie_word_embeddings": False, "torch_dtype": "float32",
         "eos_token_id": 511, **more}
    for seed, side in enumerate("ab"):
        folder = os.path.join(root, f"{kind}-{side}")
        os.mkdir(folder)
        torch.manual_seed(seed)
        tensors = {name: torch.randn(t.shape) * (0.25 if t.dim() == 1 else 1.5 * t.shape[-1] ** -0.5)
                   + (1 if "norm" in name else 0)
                   for name, t in FAMILIES[kind](c).module.state_dict().items()}
        write_safetensors(os.path.join(folder, "model.safetensors"), tensors)
        with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as f:
            json.dump(c, f)
        for file in glob.glob(f"{tokenizer}/tokenizer*.json"):
            shutil.copy(file, folder)


ALL = ["ff", "mha", "residual"]
PLAIN, WHOLE = {"components": ["ff", "mha"]}, {"components": ALL, "residual": "first"}
TURNED = {"components": ALL, "residual_map": "orthogonal"}
UNTIED = {**WHOLE, "decoder": "untied"}
# name, task, the options of METHOD that are tried
PAIRS = [("bert", "mlm", (PLAIN, {**WHOLE, "rotate_heads": True}, UNTIED)),
         ("roberta", "mlm", (WHOLE, UNTIED)), ("distilbert", "mlm", (WHOLE, UNTIED)),
         ("electra", "mlm", (WHOLE, {"components": ALL + ["embedding"]})),
         ("authors", "classification", (WHOLE,)), ("overlap", "regression", (WHOLE,)),
         ("roberta-authors", "classification", (WHOLE,)),
         ("gpt2", "clm", (WHOLE, TURNED)), ("neox", "clm", (WHOLE, TURNED)),
         ("llama", "clm", ({**WHOLE, "signed": True}, TURNED)),
         ("qwen2", "clm", (WHOLE, TURNED)), ("olmo2", "clm", (WHOLE,))]
LAMBDAS = [0, 0.3, 1]
ROWS = ("classification", "regression")  # a loss per row of a table


def task_of(name, kind, data, config):
    if kind in ROWS:
        fields = ["sentence1", "sentence2"] if name == "overlap" else ["sentence"]
        file = "overlap" if name == "overlap" else "authors"
        length = min(128, config["max_position_embeddings"] - (2 if "roberta" in name else 0))
        return {"task": kind, "path": f"{data}/{file}.jsonl", "fields": fields, "rows": 100,
                "max_length": length}
    return {"task": kind, "path": f"{data}/eval.txt", "block_size": 48 if kind == "mlm" else 128,
            "blocks": 16}


def spec_of(models, name, task, align, data):
    dataset = {"path": task["path"], "format": "text"}
    evaluate = {"task": task["task"], "dataset": dataset, "control": False}
    if task["task"] in ROWS:
        fields = dict(zip(("text", "text_pair"), task["fields"]))
        dataset.update({"format": "jsonl", "label": "label", **fields})
        evaluate.update({"max_examples": task["rows"], "max_length": task["max_length"]})
    else:
        evaluate.update({"block_size": task["block_size"], "max_blocks": task["blocks"]})
    return {"models": {side: f"{models}/{name}-{side}" for side in "ab"},
            "align": {"dataset": {"path": f"{data}/align.txt", "format": "text"},
                      "max_sequences": 100, "max_length": 48, **align},
            "interpolate": {"lambdas": LAMBDAS}, "evaluate": evaluate,
            "outputs": {"merged": LAMBDAS, "dtype": "f32"}}


def check(args, models, name, kind, align, data):
    config = read_json(models, f"{name}-a", "config.json")
    task, options = task_of(name, kind, data, config), json.dumps(align)
    with tempfile.TemporaryDirectory() as root:
        with open(f"{root}/spec.json", "w", encoding="utf-8") as f:
            json.dump(spec_of(models, name, task, align, data), f)
        p = subprocess.run([args.rebasind, "run", f"{root}/spec.json", "--output", f"{root}/out"],
                           capture_output=True, text=True)
        if p.returncode != 0:
            print(f"{name:16} {options}: rebasind run: {p.stderr}")
            return False
        barrier = read_json(root, "out", "barrier.json")
        worst, said = 0.0, []
        for lam in LAMBDAS:
            ours = barrier["aligned"]["loss"][barrier["lambdas"].index(lam)]
            (folder,) = glob.glob(f"{root}/out/merged/lambda-{lam:.2f}")
            theirs, tensors = loss_of(folder, task)
            worst = max(worst, abs(ours - theirs))
            said.append(f"{ours:.5f}/{theirs:.5f}")
    ok = worst <= BOUND
    print(f"{name:16} {config['architectures'][0]:34} {tensors:3} tensors  {' '.join(said)}  "
          f"worst {worst:.1e}{'' if ok else '  TOO MUCH'}  {options}", flush=True)
    return ok


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
    p.add_argument("--rebasind", default=f"{root}/build/release/rebasind")
    p.add_argument("--fixtures", default=os.environ.get("RB_MORE_FIXTURES", f"{root}/tests/fixtures"))
    p.add_argument("names", nargs="*")
    args = p.parse_args()
    torch.set_grad_enabled(False)
    good = True
    with tempfile.TemporaryDirectory() as made:
        random_pair(made, "qwen2", f"{args.fixtures}/tokenizers/qwen2",
                    tie_word_embeddings=True)
        random_pair(made, "olmo2", f"{args.fixtures}/models/llama-a")
        for name, kind, options in PAIRS:
            models = made if os.path.exists(f"{made}/{name}-a") else f"{args.fixtures}/models"
            if args.names and name not in args.names:
                continue
            if not os.path.exists(f"{models}/{name}-b"):
                print(f"{name:16} is not there: RB_MORE_FIXTURES may name a folder that has the pair")
                continue
            for align in options:
                good = check(args, models, name, kind, align, f"{args.fixtures}/data") and good
    sys.exit(0 if good else 1)


main()

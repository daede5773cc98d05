"""Writes what torch.save writes, without torch: a zip of stored members with data descriptors, and a pickle
of an OrderedDict of tensors. For tests that need a model both as safetensors and as pytorch_model.bin.
"""
import json
import struct
import zipfile

STORAGES = {"F64": "DoubleStorage", "F32": "FloatStorage", "F16": "HalfStorage", "BF16": "BFloat16Storage",
            "I64": "LongStorage"}
SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8}


def read_safetensors(path):
    """name -> (dtype, shape, bytes)"""
    with open(path, "rb") as f:
        data = f.read()
    n = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + n])
    header.pop("__metadata__", None)
    body = data[8 + n:]
    return {name: (t["dtype"], t["shape"], body[t["data_offsets"][0]:t["data_offsets"][1]])
            for name, t in header.items()}


def text(s):
    raw = s.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def number(n):
    return b"J" + struct.pack("<i", n)


def numbers(values):
    return b"(" + b"".join(number(v) for v in values) + b"t"


def strides(shape):
    out, step = [], 1
    for n in reversed(shape):
        out.insert(0, step)
        step *= n
    return out


def pickle_of(tensors):
    out = b"\x80\x02ccollections\nOrderedDict\n)R("
    for key, (name, (dtype, shape, data)) in enumerate(tensors.items()):
        storage = b"(" + text("storage") + b"ctorch\n" + STORAGES[dtype].encode() + b"\n" + text(str(key)) \
            + text("cpu") + number(len(data) // SIZES[dtype]) + b"tQ"
        out += text(name) + b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + number(0) + numbers(shape) \
            + numbers(strides(shape)) + b"\x89ccollections\nOrderedDict\n)RtR"
    return out + b"u."


def save(path, tensors, pickle=None):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as z:
        z.writestr("archive/data.pkl", pickle or pickle_of(tensors))
        for key, (_, _, data) in enumerate(tensors.values()):
            z.writestr(f"archive/data/{key}", data)
        z.writestr("archive/version", "3\n")

"""The daemon, as seen from a notebook or a script."""
from __future__ import annotations

import base64
import hashlib
import os
import re
import uuid
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Union
from urllib.parse import quote

from . import errors
from .http import Query, Transport
from .jobs import Job
from .sweeps import Sweep

DEFAULT_URL = "http://127.0.0.1:8686"

# What of a folder the daemon needs; in this order, so that what is quickly refused is sent first.
_CONFIG = ("config.json",)
_TOKENIZER = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.txt", "vocab.json", "merges.txt",
              "tokenizer.json", "generation_config.json", "README.md")
_WEIGHTS = ((re.compile(r"model(-\d+-of-\d+)?\.safetensors"), "model.safetensors.index.json"),
            (re.compile(r"pytorch_model(-\d+-of-\d+)?\.bin"), "pytorch_model.bin.index.json"))

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_FORMATS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".tsv": "tsv"}

# A member of a grid or of **spec without a dot belongs to `align`, but for these.
_SECTION_OF = {
    "points": "interpolate", "lambdas": "interpolate", "weights": "interpolate",
    "block_size": "evaluate", "max_blocks": "evaluate", "mask_probability": "evaluate", "seed": "evaluate",
    "control": "evaluate", "precision": "evaluate", "max_examples": "evaluate", "metric": "evaluate",
    "merged": "outputs", "dtype": "outputs", "method": "merge", "finetune": "merge",
}
_SECTIONS = ("models", "align", "interpolate", "evaluate", "outputs", "merge")
_TOP = ("name", "labels", "priority", "executor") + _SECTIONS


class Resource(Mapping[str, Any]):
    """A model or a dataset as the daemon has it: a read-only mapping of its members, with a name."""

    def __init__(self, client: "Client", kind: str, data: Dict[str, Any]) -> None:
        self._client, self._kind, self._data = client, kind, data

    @property
    def name(self) -> str:
        return str(self._data["name"])

    def delete(self) -> None:
        """Removes it from the daemon. Raises Conflict while a live job uses it."""
        self._client.transport.send("DELETE", f"/v1/{self._kind}/{quote(self.name, safe='')}")

    def __getitem__(self, key: str) -> Any:
        return self._data[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def __len__(self) -> int:
        return len(self._data)

    def __repr__(self) -> str:
        shown = ("family", "parameters", "dtype", "status") if self._kind == "models" else ("format", "rows")
        words = ", ".join(f"{k} {self._data[k]}" for k in shown if self._data.get(k) is not None)
        return f"<{self._kind[:-1]} {self.name}: {words}>"


Named = Union[str, Resource]


class Client:
    """`Client("http://merge.lab:8686")`. Without an address: $REBASIND_URL, or this machine. Without a token:
    $REBASIND_TOKEN; none where the daemon needs none."""

    def __init__(self, url: Optional[str] = None, token: Optional[str] = None) -> None:
        self.transport = Transport(url or os.environ.get("REBASIND_URL") or DEFAULT_URL,
                                   token or os.environ.get("REBASIND_TOKEN") or None)

    def __repr__(self) -> str:
        return f"Client({self.transport.root!r})"

    def version(self) -> Dict[str, Any]:
        """What answers there: version, commit, libraries, kernel of the matrix products."""
        found: Dict[str, Any] = self.transport.get("/version")
        return found

    # ---- models and texts ----

    def model(self, path_or_name: Union[str, "os.PathLike[str]"], name: Optional[str] = None) -> Resource:
        """A model: its name at the daemon; a folder here, found again by its files' digests or uploaded; or
        "hf:org/name[@revision]", looked up in the daemon's own Hugging Face cache. `name`: what to call it there."""
        text = os.fspath(path_or_name)
        if text.startswith("hf:"):
            wanted = name or _name_from(text[3:].replace("/", "-").replace("@", "-"))
            return self._register("models", {"name": wanted, "hf": text[3:]})
        if os.path.isdir(text):
            return self._upload_model(text, name)
        return self._named("models", text, "a folder")

    def text(self, path_or_name: Union[str, "os.PathLike[str]"], name: Optional[str] = None,
             text: Optional[str] = None) -> Resource:
        """A text to align or evaluate on: its name at the daemon, or a file here: one text per line, or (.jsonl,
        .tsv) the field `text` of each row."""
        return self._dataset(path_or_name, name, text=text)

    def labelled(self, path_or_name: Union[str, "os.PathLike[str]"], text: str = "text", text_pair: Optional[str] = None,
                 label: str = "label", name: Optional[str] = None) -> Resource:
        """Labelled rows (.jsonl, .tsv) for classification and regression, with the names of their fields."""
        return self._dataset(path_or_name, name, text=text, text_pair=text_pair, label=label)

    def models(self) -> List[Resource]:
        return [Resource(self, "models", m) for m in self.transport.pages("/v1/models", {"limit": 500})]

    def datasets(self) -> List[Resource]:
        return [Resource(self, "datasets", m) for m in self.transport.pages("/v1/datasets", {"limit": 500})]

    def register(self, name: str, path: str, **fields: str) -> Resource:
        """A model's folder or (with format="text", …) a dataset's file that lies below an import root on the
        daemon's own machine: nothing is copied."""
        return self._register("datasets" if fields else "models", {"name": name, "path": path, **fields})

    # ---- jobs ----

    def submit(self, spec: Mapping[str, Any], key: Optional[str] = None) -> Job:
        """Queues one job. `spec` as in the API; models and texts may be objects. Safe to repeat: with the same
        `key` (made up if not given) the daemon takes it once."""
        answer = self.transport.send("POST", "/v1/jobs", body=plain(spec), headers={"Idempotency-Key": key or str(uuid.uuid4())})
        return Job(self.transport, answer.json())

    def dry_run(self, spec: Mapping[str, Any]) -> Dict[str, Any]:
        """What the job would be and cost: {"spec": …, "estimate": {"seconds", "peak_bytes", "disk_bytes"}}."""
        found: Dict[str, Any] = self.transport.send("POST", "/v1/jobs", {"dry_run": True}, plain(spec)).json()
        return found

    def merge(self, a: Named, b: Named, align: Optional[Named] = None, evaluate: Optional[Named] = None,
              task: Optional[str] = None, **spec: Any) -> Job:
        """One job in one line: `c.merge(a, b, align=al, evaluate=ev, task="mlm", heads="monotonic", merged=[0.5])`."""
        return self.submit(spec_of(a, b, align, evaluate, task, spec))

    def sweep(self, a: Named, b: Named, align: Optional[Named] = None, evaluate: Optional[Named] = None,
              task: Optional[str] = None, grid: Optional[Mapping[str, Sequence[Any]]] = None, **spec: Any) -> Sweep:
        """A job for each combination of `grid`: {"heads": ["permute", "monotonic"], "rotate_heads": [False, True]}.
        A member without a dot belongs to `align` ("points" and the like to where only they can)."""
        full = {member_of(k): list(v) for k, v in (grid or {}).items()}
        body = {"spec": spec_of(a, b, align, evaluate, task, spec), "grid": full}
        answer = self.transport.send("POST", "/v1/sweeps", body=body, headers={"Idempotency-Key": str(uuid.uuid4())})
        return Sweep(self.transport, answer.json())

    def matrix(self, models: Sequence[Named], align: Optional[Named] = None, evaluate: Optional[Named] = None,
               task: Optional[str] = None, **spec: Any) -> Sweep:
        """All pairs of some models as one; the answer's `barriers()` is their table: `c.matrix([a, b, d], align=al,
        evaluate=ev, task="mlm").wait().barriers()`."""
        body = {"models": [plain(m) for m in models], "spec": completed({}, align, evaluate, task, spec)}
        answer = self.transport.send("POST", "/v1/jobs/matrix", body=body, headers={"Idempotency-Key": str(uuid.uuid4())})
        return Sweep(self.transport, answer.json())

    def job(self, job_id: str) -> Job:
        return Job(self.transport, self.transport.get(f"/v1/jobs/{quote(job_id, safe='')}"))

    def jobs(self, **filters: Any) -> Iterator[Job]:
        """Newest first; `status="succeeded"`, `label="sweep:heads"`, `model="a"`, `limit=…` per page."""
        query: Query = filters
        for data in self.transport.pages("/v1/jobs", query):
            yield Job(self.transport, data)

    def get_sweep(self, sweep_id: str) -> Sweep:
        return Sweep(self.transport, self.transport.get(f"/v1/sweeps/{quote(sweep_id, safe='')}"))

    # ---- inside ----

    def _named(self, kind: str, name: str, expected: str) -> Resource:
        if not _NAME.fullmatch(name):
            raise errors.BadInput(f"{name!r} is neither {expected} here nor a name that the daemon can have "
                                  "(small letters, digits, '.', '_', '-')", "invalid_name")
        try:
            return Resource(self, kind, self.transport.get(f"/v1/{kind}/{name}"))
        except errors.NotFound:
            raise errors.NotFound(f"{name!r} is neither {expected} here nor one of the daemon's {kind}", "not_found", 404) from None

    def _register(self, kind: str, body: Dict[str, Any]) -> Resource:
        body = {k: v for k, v in body.items() if v is not None}
        return Resource(self, kind, self.transport.send("POST", f"/v1/{kind}", body=body).json())

    def _upload_model(self, folder: str, name: Optional[str]) -> Resource:
        files = model_files(folder)
        digests = {f: _sha256(os.path.join(folder, f)) for f in files}
        wanted = {f: d.hex() for f, d in digests.items()}
        for known in self.models():
            if known["status"] == "ready" and {f["name"]: f["sha256"] for f in known["files"]} == wanted \
                    and name in (None, known.name):
                return known
        free = name or self._free_name("models", _name_from(os.path.basename(os.path.abspath(folder))), digests)
        found: Any = None
        try:
            for file in files:
                found = self.transport.upload(f"/v1/models/{quote(free, safe='')}/files/{quote(file, safe='')}",
                                              os.path.join(folder, file), digest=base64.b64encode(digests[file]).decode())
            if found["status"] != "ready":
                problems = "; ".join(p["detail"] for p in found["problems"]) or found["status"]
                raise errors.BadInput(f"{folder}: {problems}", found["problems"][0]["code"] if found["problems"] else "incomplete")
        except BaseException:
            if name is None and found is not None:  # ours, and of no use to anybody
                Resource(self, "models", found).delete()
            raise
        return Resource(self, "models", found)

    def _dataset(self, path_or_name: Union[str, "os.PathLike[str]"], name: Optional[str], **fields: Optional[str]) -> Resource:
        path = os.fspath(path_or_name)
        if not os.path.isfile(path):
            return self._named("datasets", path, "a file")
        kind = _FORMATS.get(os.path.splitext(path)[1].lower(), "text")
        if kind == "text":
            fields = {}
        elif not fields.get("text"):
            fields["text"] = "text"
        digest = _sha256(path)
        for known in self.datasets():
            if known["sha256"] == digest.hex() and known["format"] == kind and name in (None, known.name) \
                    and all(known["fields"].get(f) == fields.get(f) for f in ("text", "text_pair", "label")):
                return known
        free = name or self._free_name("datasets", _name_from(os.path.splitext(os.path.basename(path))[0]), {"": digest})
        found = self.transport.upload(f"/v1/datasets/{quote(free, safe='')}", path, {"format": kind, **fields},
                                      base64.b64encode(digest).decode())
        return Resource(self, "datasets", found)

    def _free_name(self, kind: str, wanted: str, digests: Mapping[str, bytes]) -> str:
        """`wanted`, or, where something else has that name, with the start of a digest behind it."""
        try:
            self.transport.get(f"/v1/{kind}/{wanted}")
        except errors.NotFound:
            return wanted
        whole = hashlib.sha256(b"".join(digests[f] for f in sorted(digests))).hexdigest()
        return f"{wanted[:55]}-{whole[:8]}"


def plain(value: Any) -> Any:
    """A spec with names in place of the objects of this package."""
    if isinstance(value, Resource):
        return value.name
    if isinstance(value, Job):
        return value.id
    if isinstance(value, Mapping):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value


def member_of(key: str) -> str:
    """Where a member lies in a spec: "heads" is "align.heads"."""
    if "." in key or key in _TOP:
        return key
    return f"{_SECTION_OF.get(key, 'align')}.{key}"


def spec_of(a: Named, b: Named, align: Optional[Named], evaluate: Optional[Named], task: Optional[str],
            more: Mapping[str, Any]) -> Dict[str, Any]:
    """A job's spec of its parts."""
    return completed({"models": {"a": plain(a), "b": plain(b)}}, align, evaluate, task, more)


def completed(spec: Dict[str, Any], align: Optional[Named], evaluate: Optional[Named], task: Optional[str],
              more: Mapping[str, Any]) -> Dict[str, Any]:
    """The spec with what is to be done; `more` as in Client.sweep: members with or without their section, or whole
    sections."""
    if align is not None:
        spec["align"] = {"dataset": plain(align)}
    if evaluate is not None:
        spec["evaluate"] = {"dataset": plain(evaluate)}
        if task is not None:
            spec["evaluate"]["task"] = task
    for key, value in more.items():
        place = member_of(key.replace("__", "."))
        section, _, member = place.partition(".")
        if not member:
            spec[section] = {**spec.get(section, {}), **plain(value)} if isinstance(value, Mapping) else plain(value)
        else:
            spec.setdefault(section, {})[member] = plain(value)
    return spec


def model_files(folder: str) -> List[str]:
    """The files of a checkpoint's folder that the daemon needs, the small ones first; safetensors before .bin."""
    there = {f for f in os.listdir(folder) if os.path.isfile(os.path.join(folder, f))}
    weights: List[str] = []
    for pattern, index in _WEIGHTS:
        weights = sorted(f for f in there if pattern.fullmatch(f))
        if weights:
            weights = ([index] if index in there else []) + weights
            break
    if "config.json" not in there or not weights:
        missing = "config.json" if "config.json" not in there else "model.safetensors or pytorch_model.bin (or their shards)"
        raise errors.BadInput(f"{folder} is no model's folder: {missing} is missing; found {', '.join(sorted(there)[:12]) or 'nothing'}",
                              "incomplete")
    return [f for f in _CONFIG + _TOKENIZER if f in there] + weights


def _name_from(text: str) -> str:
    """A name that the daemon takes, made of a file's."""
    return re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("-._")[:64] or "unnamed"


def _sha256(path: str) -> bytes:
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        for piece in iter(lambda: f.read(1 << 20), b""):
            digest.update(piece)
    return digest.digest()

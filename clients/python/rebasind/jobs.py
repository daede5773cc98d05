"""A job at the daemon: its state, its curve, its verdict, what it wrote."""
from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import tarfile
import tempfile
import time
import uuid
from html import escape
from typing import Any, Dict, Iterator, List, Optional
from urllib.parse import quote

from . import errors, progress, svg
from .http import Transport
from .progress import watch

FINISHED = ("succeeded", "failed", "canceled")
LONG_POLL_SECONDS = 30
CONTROL_COLOUR = "#777777"


class Barrier:
    """The loss along the path from A to B. `data` is the daemon's answer, whole."""

    def __init__(self, data: Dict[str, Any]) -> None:
        self.data = data

    @property
    def lambdas(self) -> List[float]:
        return list(self.data.get("lambdas") or [])

    @property
    def loss(self) -> List[float]:
        """Of the aligned merge, at each λ."""
        return list((self.data.get("aligned") or {}).get("loss") or [])

    @property
    def control(self) -> Optional[List[float]]:
        """Of plain averaging, at each λ; None where it was not asked for."""
        curve = self.data.get("control")
        return list(curve["loss"]) if curve else None

    @property
    def chord(self) -> Optional[float]:
        """How far the loss rises over the straight line between its ends (nats)."""
        return self._of("aligned", "chord")

    @property
    def control_chord(self) -> Optional[float]:
        return self._of("control", "chord")

    def _of(self, curve: str, member: str) -> Optional[float]:
        found = ((self.data.get(curve) or {}).get("barrier") or {}).get(member)
        return None if found is None else float(found)

    def table(self) -> Any:
        """A row per λ: a DataFrame where pandas is there, else a list of dicts."""
        rows = []
        for i, x in enumerate(self.lambdas):
            row: Dict[str, Any] = {"lambda": x}
            for name, curve in (("aligned", self.data.get("aligned")), ("control", self.data.get("control")),
                                ("folded_control", (self.data.get("folded_control") or {}).get("curve"))):
                if not curve:
                    continue
                for member, values in [("loss", curve.get("loss")), ("standard_error", curve.get("standard_error"))] + \
                        sorted((curve.get("metrics") or {}).items()):
                    if values is not None and i < len(values):
                        row[f"{name}_{member}"] = values[i]
            rows.append(row)
        return frame(rows)

    def curves(self, label: str = "aligned") -> List[svg.Curve]:
        found = [svg.Curve(label, self.lambdas, self.loss)]
        if self.control:
            found.append(svg.Curve("control: plain averaging", self.lambdas, self.control, True, CONTROL_COLOUR))
        return found

    def plot(self, ax: Any = None) -> Any:
        """Draws with matplotlib where it is there (on `ax`, or new axes, which are returned); else returns a Picture."""
        return draw(self.curves(), ax)

    def _repr_html_(self) -> str:
        return svg.plot(self.curves())

    def __repr__(self) -> str:
        return f"<barrier {number(self.chord)} (control {number(self.control_chord)}), {len(self.lambdas)} points>"


class Merged:
    """A merged checkpoint, still at the daemon."""

    def __init__(self, transport: Transport, job_id: str, weight: float) -> None:
        self._transport, self._job_id, self.weight = transport, job_id, weight

    def save(self, folder: "os.PathLike[str] | str") -> str:
        """Writes the checkpoint's files (weights, config, tokenizer, model card) into `folder`, which is made. A file
        of that name in it is replaced. Nothing appears there before all of it has come whole. Returns `folder`."""
        target = os.fspath(folder)
        os.makedirs(target, exist_ok=True)
        work = tempfile.mkdtemp(prefix=".rebasind-", dir=target)
        try:
            archive = os.path.join(work, "merged.tar")
            self._download(archive)
            fresh = os.path.join(work, "files")
            os.mkdir(fresh)
            for name in unpack(archive, fresh):
                os.replace(os.path.join(fresh, name), os.path.join(target, name))
        finally:
            shutil.rmtree(work, ignore_errors=True)
        return target

    def _download(self, path: str) -> None:
        digest = hashlib.sha256()
        with self._transport.open("GET", f"/v1/jobs/{quote(self._job_id, safe='')}/merged/{self.weight:g}.tar",
                                  headers={"Accept": "*/*"}, timeout=3600) as answer, open(path, "wb") as f:
            for piece in iter(lambda: answer.read(1 << 20), b""):
                digest.update(piece)
                f.write(piece)
            told = answer.headers.get("Repr-Digest") or ""
            length = answer.headers.get("Content-Length")
        if length is not None and os.path.getsize(path) != int(length):
            raise errors.Unreachable(f"the download broke off at {os.path.getsize(path)} of {length} bytes", "unreachable")
        if told.startswith("sha-256=:") and told[9:].rstrip(":") != base64.b64encode(digest.digest()).decode():
            raise errors.Error("the download's SHA-256 is not the one that the daemon told: it was damaged on the way", "digest_mismatch")

    def __repr__(self) -> str:
        return f"<merged at {self.weight:g} of {self._job_id}>"


def unpack(archive: str, folder: str) -> List[str]:
    """The plain files of a tar, flat, into an empty folder; returns their names. Anything else in it is an error:
    links, folders within folders, names that lead out."""
    names = []
    with tarfile.open(archive) as tar:
        for member in tar:
            name = os.path.basename(member.name)
            if member.isdir():
                continue
            if not member.isreg() or name in ("", ".", "..") or os.path.isabs(member.name) or ".." in member.name.split("/") \
                    or member.name.count("/") > 1 or os.path.lexists(os.path.join(folder, name)):
                raise errors.Error(f"the archive holds {member.name!r}; only plain files in one folder were expected", "bad_archive")
            source = tar.extractfile(member)
            assert source is not None
            with source, open(os.path.join(folder, name), "xb") as f:
                shutil.copyfileobj(source, f, 1 << 20)
            names.append(name)
    return names


class Job:
    """A job, as last seen; `refresh()` looks again, `wait()` until it has ended."""

    def __init__(self, transport: Transport, data: Dict[str, Any]) -> None:
        self._transport, self.data = transport, data

    # ---- what it says ----

    @property
    def id(self) -> str:
        return str(self.data["id"])

    @property
    def status(self) -> str:
        """queued, running, succeeded, failed, canceling, canceled"""
        return str(self.data["status"])

    @property
    def finished(self) -> bool:
        return self.status in FINISHED

    @property
    def spec(self) -> Dict[str, Any]:
        found: Dict[str, Any] = self.data["spec"]
        return found

    @property
    def summary(self) -> Dict[str, Any]:
        return self.data.get("summary") or {}

    @property
    def verdict(self) -> Optional[Dict[str, Any]]:
        """Whether the merge is usable: {"text": "between", "label": "between, beside B", "sentence": …, "best_lambda": 0.95, …};
        None before the curve is known."""
        return self.summary.get("verdict")

    @property
    def certified(self) -> Optional[bool]:
        """Whether the moved model was found to compute its old function exactly; None where nothing was moved."""
        return self.summary.get("equivalent")

    def refresh(self) -> "Job":
        self.data = self._transport.get(self._path())
        return self

    def wait(self, progress: bool = False, timeout: Optional[float] = None) -> "Job":
        """Until it has ended. Raises JobFailed when it failed or was canceled, TimeoutError after `timeout` seconds
        (the job goes on). `progress`: a line with phase and ETA on standard error."""
        watch(self, progress, timeout, 1.0 if progress else LONG_POLL_SECONDS)
        if self.status != "succeeded":
            told = self.data.get("error") or {}
            remedy = f" {told['remedy']}" if told.get("remedy") else ""
            error = errors.JobFailed(f"{self.id} {self.status}: {told.get('detail') or told.get('title') or 'no reason given'}{remedy}",
                                     str(told.get("code") or self.status))
            error.job = self
            raise error
        return self

    def pause(self, seconds: float) -> None:
        """One long poll: looks again when something changed, or after `seconds`."""
        tag = '"' + str(self.data.get("version", 0)) + '"'
        answer = self._transport.send("GET", self._path(), headers={"Prefer": f"wait={max(1, round(seconds))}", "If-None-Match": self._tag or tag})
        if answer.status == 200:
            self.data = answer.json()
        self._tag = answer.headers.get("ETag")

    _tag: Optional[str] = None

    def line(self) -> str:
        """A line for people: phase, share, time left."""
        if self.finished:
            return self.status + (f", {self.sentence()}" if self.status == "succeeded" else "")
        told = self.data.get("progress") or {}
        share = float(told.get("fraction") or 0.0)
        left = progress.span(told.get("eta_seconds"))
        return f"{progress.bar(share)} {share:4.0%} {self.data.get('phase') or self.status}" + (f", {left} left" if left else "")

    def sentence(self) -> str:
        """The verdict in words."""
        v = self.verdict
        if not v:
            b, c = self.summary.get("barrier_chord"), self.summary.get("control_barrier_chord")
            if b is None:
                return "no curve was asked for"
            return f"barrier {number(b)}" + (f" (plain averaging {number(c)})" if c is not None else "")
        return str(v.get("sentence") or v["text"])

    # ---- what it can be asked ----

    def barrier(self) -> Barrier:
        """The curve; while it runs, the points that are known."""
        return Barrier(self._transport.get(self._path("/barrier")))

    def certificate(self) -> Optional[Dict[str, Any]]:
        """How the moved model was measured against what it was; None where nothing was moved."""
        found: Optional[Dict[str, Any]] = self._transport.get(self._path("/permutations")).get("certificate")
        return found

    def learning(self, model: Optional[str] = None) -> Dict[str, Any]:
        """The training curve of learned maps; of three models or more that of the moved one that is named."""
        query = f"?model={quote(model)}" if model else ""
        found: Dict[str, Any] = self._transport.get(self._path("/learning" + query))
        return found

    def merged(self, weight: float = 0.5) -> Merged:
        """The merged checkpoint at this λ. Where the job did not write it, a short job that takes this one's alignment
        writes it now."""
        if any(abs(float(w) - weight) < 1e-9 for w in (self.spec.get("outputs") or {}).get("merged") or []):
            return Merged(self._transport, self.id, weight)
        spec: Dict[str, Any] = {"models": self.spec["models"], "outputs": {"merged": [weight]},
                                "name": f"merged at {weight:g} of {self.data.get('name') or self.id}"[:200]}
        align = self.spec.get("align") or {}
        spec["align"] = {"components": []} if align.get("components") == [] else {"from_job": self.id}
        if "merge" in self.spec:
            spec["merge"] = self.spec["merge"]
        answer = self._transport.send("POST", "/v1/jobs", body=spec, headers={"Idempotency-Key": f"{self.id}-merged-{weight:g}-{uuid.uuid4().hex[:8]}"})
        writer = Job(self._transport, answer.json()).wait()
        return Merged(self._transport, writer.id, weight)

    def events(self) -> Iterator[Dict[str, Any]]:
        """What happens to it, as it happens, to its end: {"id": 7, "type": "status" | "progress" | "point", "job": …,
        "created_at": …, "data": {…}}."""
        last: Optional[str] = None
        while True:
            headers = {"Accept": "text/event-stream", **({"Last-Event-ID": last} if last else {})}
            try:
                with self._transport.open("GET", self._path("/events"), headers=headers, timeout=120) as stream:
                    for message in parse_events(stream):
                        last = message.get("id") or last
                        event = message["data"]
                        if not isinstance(event, dict):
                            continue
                        yield event
                        if event.get("type") == "status" and (event.get("data") or {}).get("status") in FINISHED:
                            return
            except (TimeoutError, ConnectionError):
                pass  # a proxy's limit: go on behind the last event
            if self.refresh().finished:
                return
            time.sleep(0.2)

    def artifacts(self) -> List[Dict[str, Any]]:
        found = self._transport.get(self._path("/artifacts"))
        return list(found.get("data", []))

    def artifact(self, name: str) -> bytes:
        """A file that it wrote, such as "barrier.csv" or "alignment.safetensors", whole in memory."""
        answer = self._transport.send("GET", self._path("/artifacts/" + quote(name)), headers={"Accept": "*/*"})
        return answer.body

    def cancel(self) -> "Job":
        self.data = self._transport.send("POST", self._path("/cancel")).json()
        return self

    def retry(self) -> "Job":
        """A new job of the same spec that takes over what this one finished."""
        answer = self._transport.send("POST", self._path("/retry"), headers={"Idempotency-Key": str(uuid.uuid4())})
        return Job(self._transport, answer.json())

    def delete(self) -> None:
        self._transport.send("DELETE", self._path())

    def _path(self, rest: str = "") -> str:
        return f"/v1/jobs/{quote(self.id, safe='')}{rest}"

    # ---- in a notebook ----

    def _repr_html_(self) -> str:
        title = escape(str(self.data.get("name") or self.id))
        if self.status in ("failed", "canceled"):
            told = self.data.get("error") or {}
            return f"<b>{title}</b>: {escape(self.status)}<br>{escape(str(told.get('detail') or ''))}"
        parts = [f"<b>{title}</b>: {escape(self.line() if not self.finished else self.sentence())}"]
        try:
            parts.append(self.barrier()._repr_html_())
        except errors.Error:
            pass  # no curve was asked for, or none is there yet
        words = certificate_words(self._certificate_or_none())
        if words:
            parts.append(escape(words))
        return "<br>".join(parts)

    def _certificate_or_none(self) -> Optional[Dict[str, Any]]:
        try:
            return self.certificate() if self.finished else None
        except errors.Error:
            return None

    def __repr__(self) -> str:
        return f"<job {self.id}: {self.line()}>"


def certificate_words(certificate: Optional[Dict[str, Any]]) -> str:
    """A certificate in a sentence; exact, near-equivalent and different are three words."""
    if not certificate:
        return ""
    kind = certificate.get("kind") or ("exact" if certificate.get("equivalent") else "different")
    if kind == "near":
        return (f"Near-equivalent: KL {number(certificate.get('kl'))}, same first choice {number(certificate.get('top1_agreement'))}, "
                f"loss {number(certificate.get('loss_before'))} before and {number(certificate.get('loss_after'))} after.")
    found, limit = certificate.get("max_abs_logit_difference"), certificate.get("tolerance")
    words = "Exact: the moved model computes the same function" if kind == "exact" else "Different: the moved model is another function"
    return f"{words} (largest logit difference {number(found)}, tolerance {number(limit)})."


def number(value: Optional[float]) -> str:
    return "–" if value is None else f"{value:.4g}"


def parse_events(stream: Any) -> Iterator[Dict[str, Any]]:
    """Server-sent events of lines of bytes; data that is JSON is decoded."""
    event: Dict[str, Any] = {}
    data: List[str] = []
    for raw in stream:
        text = raw.decode("utf-8", "replace").rstrip("\r\n")
        if text:
            field, _, value = text.partition(":")
            value = value[1:] if value.startswith(" ") else value
            if field == "data":
                data.append(value)
            elif field in ("event", "id"):
                event["type" if field == "event" else "id"] = value
            continue
        if data:
            joined = "\n".join(data)
            try:
                event["data"] = json.loads(joined)
            except ValueError:
                event["data"] = joined
            yield {"type": "message", **event}
        event, data = {}, []


def frame(rows: List[Dict[str, Any]]) -> Any:
    """A DataFrame where pandas is there, else the rows."""
    try:
        import pandas  # type: ignore[import]
    except ImportError:
        return rows
    return pandas.DataFrame(rows)


class Picture:
    """SVG that a notebook shows; `save("curve.svg")` writes it."""

    def __init__(self, text: str) -> None:
        self.svg = text

    def _repr_html_(self) -> str:
        return self.svg

    def save(self, path: str) -> None:
        with open(path, "w", encoding="utf-8") as f:
            f.write(self.svg)


def draw(curves: List[svg.Curve], ax: Any = None) -> Any:
    """The curves by matplotlib where it is there, else as a Picture."""
    if ax is None:
        try:
            import matplotlib.pyplot as plt  # type: ignore[import]
        except ImportError:
            return Picture(svg.plot(curves))
        _, ax = plt.subplots()
    for i, curve in enumerate(curves):
        ax.plot(curve.x, [float("nan") if y is None else y for y in curve.y], label=curve.label,
                linestyle="--" if curve.dashed else "-", color=curve.colour or svg.COLOURS[i % len(svg.COLOURS)])
    ax.set_xlabel("λ")
    ax.set_ylabel("loss (nats)")
    if len(curves) > 1:
        ax.legend()
    return ax

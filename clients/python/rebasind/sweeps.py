"""A sweep: a job for each combination of some settings, as one."""
from __future__ import annotations

import time
from html import escape
from typing import Any, Dict, Iterator, List, Optional
from urllib.parse import quote

from . import errors, progress, svg
from .http import Transport
from .jobs import CONTROL_COLOUR, FINISHED, Job, draw, frame, number
from .progress import watch

LIVE = ("queued", "running")
POLL_SECONDS = 1.0


class Sweep:
    """A sweep, as last seen; `refresh()` looks again, `wait()` until all of its jobs have ended."""

    def __init__(self, transport: Transport, data: Dict[str, Any]) -> None:
        self._transport, self.data = transport, data

    @property
    def id(self) -> str:
        return str(self.data["id"])

    @property
    def status(self) -> str:
        """queued or running while one of its jobs is; then failed, canceled or succeeded, the first that fits one."""
        return str(self.data["status"])

    @property
    def finished(self) -> bool:
        return self.status not in LIVE

    @property
    def rows(self) -> List[Dict[str, Any]]:
        """A row per job as the daemon tells it, in the grid's order."""
        return list(self.data.get("table") or [])

    def refresh(self) -> "Sweep":
        self.data = self._transport.get(self._path())
        return self

    def wait(self, progress: bool = False, timeout: Optional[float] = None) -> "Sweep":
        """Until no job of it is live. Jobs that failed do not raise: the table names them. TimeoutError after `timeout`
        seconds (the jobs go on). `progress`: a line on standard error."""
        watch(self, progress, timeout, POLL_SECONDS)
        return self

    def pause(self, seconds: float) -> None:
        """Looks again after `seconds`."""
        time.sleep(seconds)
        self.refresh()

    def line(self) -> str:
        """A line for people: how many of its jobs have ended, time left."""
        rows = self.rows
        ended = sum(r["status"] in FINISHED for r in rows)
        words = f"{ended} of {self.data.get('jobs', len(rows))} jobs"
        failed = sum(r["status"] == "failed" for r in rows)
        words += f", {failed} failed" if failed else ""
        if self.finished:
            return f"{self.status}, {words}"
        told = self.data.get("progress") or {}
        share, left = float(told.get("fraction") or 0.0), progress.span(told.get("eta_seconds"))
        return f"{progress.bar(share)} {share:4.0%} {words}" + (f", {left} left" if left else "")

    def table(self) -> Any:
        """A row per job: what is its own (a column per member of the grid), verdict, losses, barriers. A DataFrame where
        pandas is there, else a list of dicts."""
        found = []
        for row in self.rows:
            flat: Dict[str, Any] = {}
            for key, value in row.items():
                if key == "settings":
                    flat = {**flat, **value}
                elif key == "verdict":
                    verdict = value or {}
                    flat["verdict"], flat["verdict_label"] = verdict.get("text"), verdict.get("label")
                    flat["best_lambda"], flat["loss"] = verdict.get("best_lambda"), verdict.get("loss")
                    flat["midpoint_loss"] = verdict.get("midpoint_loss")
                else:
                    flat[key] = value
            found.append(flat)
        return frame(found)

    def barriers(self) -> Any:
        """Of a matrix: the barrier of each pair, by both models' names, close ones beside each other; None where it is not
        known. A DataFrame where pandas is there, else a list of dicts."""
        told = self.data.get("matrix")
        if told is None:
            raise errors.NotFound(f"{self.id} is not a matrix of pairs", "not_found")
        names, values = told["models"], told["barriers"]
        return frame([{"model": names[i], **{names[k]: values[i][k] for k in told["order"]}} for i in told["order"]])

    def jobs(self) -> List[Job]:
        """Its jobs, in the grid's order."""
        return [Job(self._transport, self._transport.get(f"/v1/jobs/{quote(r['job'], safe='')}")) for r in self.rows]

    def best(self, certified: bool = True) -> Job:
        """The job whose merge has the least loss. `certified`: only those whose moved model is exactly the function that
        it was; otherwise near-equivalent and different ones count, too."""
        def fit(row: Dict[str, Any]) -> bool:
            loss = (row.get("verdict") or {}).get("loss")
            return row["status"] == "succeeded" and loss is not None and (row.get("equivalent") is not False or not certified)

        fitting = [r for r in self.rows if fit(r)]
        if not fitting:
            raise errors.NotFound(f"{self.id} has no finished job with a curve"
                                  + (" whose moved model is certified as the same function" if certified else "")
                                  + f"; {self.line()}", "not_found")
        chosen = min(fitting, key=lambda r: float(r["verdict"]["loss"]))
        return Job(self._transport, self._transport.get(f"/v1/jobs/{quote(chosen['job'], safe='')}"))

    def plot(self, ax: Any = None) -> Any:
        """All curves in one picture, by matplotlib where it is there (axes are returned), else as a Picture."""
        return draw(self._curves(), ax)

    def _curves(self) -> List[svg.Curve]:
        curves: List[svg.Curve] = []
        control: Optional[svg.Curve] = None
        for row in self.rows:
            try:
                barrier = Job(self._transport, {"id": row["job"], "status": row["status"]}).barrier()
            except errors.NotFound:
                continue  # no curve was asked for, or the job is gone
            if not barrier.loss:
                continue
            label = ", ".join(f"{k.split('.')[-1]} {v}" for k, v in (row.get("settings") or {}).items()) or str(row.get("name") or row["job"])
            different = " (not the same function)" if row.get("equivalent") is False else ""
            curves.append(svg.Curve(f"{label}: barrier {number(barrier.chord)}{different}", barrier.lambdas, barrier.loss))
            if control is None and barrier.control:
                control = svg.Curve("control: plain averaging", barrier.lambdas, barrier.control, True, CONTROL_COLOUR)
        return curves + ([control] if control else [])

    def events(self) -> Iterator[Dict[str, Any]]:
        """What happens to its jobs, as it happens, to the end of the last: as Job.events, job by job."""
        for row in self.rows:
            yield from Job(self._transport, {"id": row["job"], "status": row["status"]}).events()

    def cancel(self) -> "Sweep":
        self._transport.send("POST", self._path("/cancel"))
        return self.refresh()

    def delete(self) -> None:
        """Removes it with all of its jobs. Raises Conflict while one is live."""
        self._transport.send("DELETE", self._path())

    def _path(self, rest: str = "") -> str:
        return f"/v1/sweeps/{quote(self.id, safe='')}{rest}"

    def _repr_html_(self) -> str:
        rows = self.table()
        if not isinstance(rows, list):
            rows = rows.to_dict("records")
        columns = [c for c in (rows[0] if rows else {}) if c not in ("job", "name", "seconds")]
        head = "".join(f"<th>{escape(c)}</th>" for c in columns)
        body = "".join("<tr>" + "".join(f"<td>{escape(cell(r.get(c)))}</td>" for c in columns) + "</tr>" for r in rows)
        return f"<b>{escape(self.line())}</b><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def __repr__(self) -> str:
        return f"<sweep {self.line()}>"


def cell(value: Any) -> str:
    if value is None:
        return "–"
    return number(value) if isinstance(value, float) else str(value)

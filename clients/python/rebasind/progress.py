"""A line that shows how far something is: on a terminal and in a notebook it is rewritten, in a log it is told seldom."""
from __future__ import annotations

import sys
import time
from typing import IO, Any, Optional

BAR_CELLS = 24
LOG_SECONDS = 15.0


def span(seconds: Optional[float]) -> str:
    """6.2 -> "6 s", 200 -> "3 min 20 s", 7500 -> "2 h 5 min"; nothing where it is not known."""
    if seconds is None:
        return ""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def bar(fraction: float) -> str:
    full = round(min(max(fraction, 0.0), 1.0) * BAR_CELLS)
    return "█" * full + "░" * (BAR_CELLS - full)


class Line:
    """with Line() as line: line.show("…"). Writes to `out` (standard error, where it is not given)."""

    def __init__(self, out: Optional[IO[str]] = None) -> None:
        self._out: IO[str] = out or sys.stderr
        self._rewrites = self._out.isatty() or "ipykernel" in sys.modules
        self._width, self._told, self._text = 0, float("-inf"), ""

    def show(self, text: str, last: bool = False) -> None:
        """`last`: told in a log, too, however little time has passed."""
        if text == self._text:
            return
        self._text = text
        if self._rewrites:
            self._out.write("\r" + text.ljust(self._width))
            self._width = len(text)
        elif last or time.monotonic() - self._told >= LOG_SECONDS:
            self._out.write(text + "\n")
            self._told = time.monotonic()
        self._out.flush()

    def __enter__(self) -> "Line":
        return self

    def __exit__(self, *_: object) -> None:
        if self._rewrites and self._text:
            self._out.write("\n")
        self._out.flush()


def watch(what: Any, shown: bool, timeout: Optional[float], longest_pause: float) -> None:
    """Until `what` (a job, a sweep) has ended: its refresh(), then its pause(seconds) again and again. `shown`: with a
    line on standard error. TimeoutError after `timeout` seconds (it goes on)."""
    until = None if timeout is None else time.monotonic() + timeout
    with Line() as line:
        what.refresh()
        while not what.finished:
            if shown:
                line.show(what.line())
            left = longest_pause if until is None else min(longest_pause, until - time.monotonic())
            if left <= 0:
                raise TimeoutError(f"{what.id} is still {what.status} after {timeout:g} s")
            what.pause(left)
        if shown:
            line.show(f"{what.data.get('name') or what.id}: {what.line()}", last=True)

"""What can go wrong, as exceptions. Every answer of the daemon that is an error becomes one of these."""
from __future__ import annotations

from typing import Any, Dict, List, Optional, Type


class Error(Exception):
    """An error told by the daemon (RFC 9457), or met on the way to it.

    code        the daemon's stable word for it, such as `shape_mismatch`; `unreachable` where no answer came
    detail      what was found and what was expected, in a sentence
    status      of the answer; None where there was none
    errors      for bad input: [{"pointer": "/align/heads", "detail": …}, …]
    request_id  to find the request in the daemon's log
    """

    def __init__(self, detail: str, code: str = "error", status: Optional[int] = None,
                 errors: Optional[List[Dict[str, str]]] = None, request_id: Optional[str] = None) -> None:
        self.detail, self.code, self.status = detail, code, status
        self.errors: List[Dict[str, str]] = errors or []
        self.request_id = request_id
        super().__init__(detail)

    def __str__(self) -> str:
        lines = [f"{self.code}: {self.detail}"]
        lines += [f"  {e.get('pointer') or '(the whole)'}: {e.get('detail', '')}" for e in self.errors
                  if str(e.get("detail")) not in self.detail]
        return "\n".join(lines)


class Unreachable(Error):
    """No answer: a wrong address, a daemon that is not running, a connection that broke."""


class NotAllowed(Error):
    """The token is missing, wrong, or may not do this (401, 403)."""


class NotFound(Error):
    """There is no such job, model, dataset or file (404)."""


class Conflict(Error):
    """Not in its present state: in use, finished already, or changed meanwhile (409, 412)."""


class BadInput(Error):
    """The request is wrong; `errors` says where (400, 413, 415, 422)."""


class Busy(Error):
    """The daemon takes no more at the moment (429, 503), and did not after some waiting."""


class JobFailed(Error):
    """A job that was waited for ended as failed or canceled; `job` is that job."""

    job: Any = None


_BY_STATUS: Dict[int, Type[Error]] = {
    400: BadInput, 401: NotAllowed, 403: NotAllowed, 404: NotFound, 409: Conflict, 412: Conflict,
    413: BadInput, 415: BadInput, 422: BadInput, 429: Busy, 503: Busy,
}


def from_problem(status: int, problem: Dict[str, Any]) -> Error:
    """The exception for an answer of this status with this problem+json body."""
    return _BY_STATUS.get(status, Error)(
        str(problem.get("detail") or problem.get("title") or f"status {status}"), str(problem.get("code", "error")),
        status, problem.get("errors"), problem.get("request_id"))

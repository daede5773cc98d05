"""Requests to the daemon: JSON in and out, problems as exceptions, waiting where the daemon says wait.

The standard library's urllib, so that proxies and certificates are those of the rest of Python.
"""
from __future__ import annotations

import http.client
import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import IO, Any, Dict, Iterator, Mapping, Optional, Union

from . import errors

Query = Mapping[str, Union[str, int, float, bool, None]]
Body = Union[bytes, IO[bytes]]

# A request that may be repeated is, for this long in all, while the daemon is busy or away.
PATIENCE_SECONDS = 60.0
LONGEST_PAUSE_SECONDS = 10.0
ANSWER_TIMEOUT_SECONDS = 120.0


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The daemon never redirects; whoever does must not be given the token."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


class Answer:
    """A whole answer: `status`, `headers` (case does not matter), `body`."""

    def __init__(self, status: int, headers: Any, body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    def json(self) -> Any:
        return json.loads(self.body) if self.body else None


class Transport:
    """What knows the address and the token. Holds no connection, so threads may share it."""

    def __init__(self, url: str, token: Optional[str]) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ValueError(f"the daemon's address is expected as http://host:port, found {url!r}")
        self.root = url.rstrip("/")
        self._token = token
        self._opener = urllib.request.build_opener(_NoRedirect)

    def url(self, path: str, query: Optional[Query] = None) -> str:
        """`path` from the service's root ("/v1/jobs"), below whatever prefix the address has."""
        words = {k: (str(v).lower() if isinstance(v, bool) else str(v)) for k, v in (query or {}).items() if v is not None}
        return self.root + path + ("?" + urllib.parse.urlencode(words) if words else "")

    def open(self, method: str, path: str, query: Optional[Query] = None, body: Optional[Body] = None,
             headers: Optional[Mapping[str, str]] = None, timeout: float = ANSWER_TIMEOUT_SECONDS) -> http.client.HTTPResponse:
        """Sends one request, once; returns the answer with its body unread, or raises what it says."""
        all_headers = {"User-Agent": "rebasind-python", "Accept": "application/json", **(headers or {})}
        if self._token:
            all_headers["Authorization"] = "Bearer " + self._token
        request = urllib.request.Request(self.url(path, query), data=body, headers=all_headers, method=method)
        try:
            answer: http.client.HTTPResponse = self._opener.open(request, timeout=timeout)
            return answer
        except urllib.error.HTTPError as e:
            if e.code == 304:
                return e  # type: ignore[return-value]
            with e:
                raise _error_of(e.code, e.headers, e.read(1 << 20)) from None
        except (OSError, http.client.HTTPException) as e:  # URLError is an OSError
            reason = getattr(e, "reason", e)
            raise errors.Unreachable(f"{self.root}: {reason or type(e).__name__}. Is the daemon running there?",
                                     "unreachable") from e

    def send(self, method: str, path: str, query: Optional[Query] = None, body: Any = None,
             headers: Optional[Mapping[str, str]] = None, timeout: float = ANSWER_TIMEOUT_SECONDS) -> Answer:
        """A request with JSON (or nothing) in it. What is safe to repeat is repeated while the daemon is busy."""
        all_headers = dict(headers or {})
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            all_headers["Content-Type"] = "application/json"
        repeatable = method in ("GET", "HEAD", "DELETE") or "Idempotency-Key" in all_headers
        until = time.monotonic() + PATIENCE_SECONDS
        pause = 0.25
        while True:
            try:
                with self.open(method, path, query, data, all_headers, timeout) as answer:
                    return Answer(answer.status, answer.headers, answer.read())
            except (errors.Busy, errors.Unreachable, OSError, http.client.HTTPException) as e:
                told = getattr(e, "retry_after", None)
                wait = min(float(told) if told is not None else pause, LONGEST_PAUSE_SECONDS)
                if not repeatable or time.monotonic() + wait > until or _hopeless(e):
                    if isinstance(e, errors.Error):
                        raise
                    raise errors.Unreachable(f"{self.root}: the answer broke off: {e}", "unreachable") from e
                time.sleep(wait)
                pause *= 2

    def get(self, path: str, query: Optional[Query] = None) -> Any:
        return self.send("GET", path, query).json()

    def pages(self, path: str, query: Optional[Query] = None) -> Iterator[Any]:
        """Every element of a list, page by page."""
        asked = dict(query or {})
        while True:
            page = self.get(path, asked)
            yield from page["data"]
            if not page.get("next_page_token"):
                return
            asked["page_token"] = page["next_page_token"]

    def upload(self, path: str, file: str, query: Optional[Query] = None, digest: Optional[str] = None) -> Any:
        """Streams a file; `digest` (base64 of its SHA-256) lets the daemon refuse what was damaged on the way."""
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(os.path.getsize(file))}
        if digest:
            headers["Repr-Digest"] = f"sha-256=:{digest}:"
        with open(file, "rb") as f, self.open("PUT", path, query, f, headers, timeout=3600) as answer:
            return json.loads(answer.read())


def _hopeless(e: BaseException) -> bool:
    """A refused connection or an unknown host does not get better within a minute: say so at once."""
    cause = getattr(e, "__cause__", None)
    reason = getattr(cause, "reason", cause)
    return isinstance(reason, (ConnectionRefusedError, OSError)) and not isinstance(reason, (ConnectionResetError, TimeoutError)) \
        and isinstance(e, errors.Unreachable)


def _error_of(status: int, headers: Any, body: bytes) -> errors.Error:
    try:
        problem = json.loads(body)
        if not isinstance(problem, dict):
            raise ValueError
    except ValueError:  # not the daemon's: a proxy's page
        problem = {"detail": f"status {status} from something that is not rebasind: {body[:200].decode('utf-8', 'replace')!r}"}
    error = errors.from_problem(status, problem)
    try:
        error.retry_after = float(headers.get("Retry-After"))  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        pass
    return error

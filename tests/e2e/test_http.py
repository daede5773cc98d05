"""Routing, methods, representations, ETags, prefixes, hosts, bodies: what holds for every route."""
import json
import os
import re
import tempfile
import time

from daemon import Daemon, FIXTURES, command, equal, problem, run, true


def test_service_routes():
    with Daemon() as d:
        for path, kind in (("/livez", "text/plain"), ("/readyz", "text/plain"),
                           ("/readyz?verbose", "application/json"), ("/version", "application/json"),
                           ("/metrics", "text/plain"), ("/v1/stats", "application/json"),
                           ("/v1/models", "application/json"), ("/v1/datasets", "application/json"),
                           ("/v1/jobs", "application/json"), ("/v1/events", "application/json")):
            r = d.get(path)
            equal(r.status, 200, r)
            true(r["Content-Type"].startswith(kind), r)
            equal(r["X-Content-Type-Options"], "nosniff", r)
            true("frame-ancestors 'none'" in r["Content-Security-Policy"], r)
            true(r["ETag"] and r["Cache-Control"], r)
        version = d.get("/version").json
        equal(version["name"], "rebasind")
        true(version["libraries"], version)
        ready = d.get("/readyz?verbose=true").json
        equal(ready["ready"], True, ready)
        equal([c["ok"] for c in ready["checks"]], [True] * len(ready["checks"]), ready)
        equal(d.get("/v1/models").json, {"data": []})


def test_unknown_paths_and_methods():
    with Daemon() as d:
        for path in ("/nothing", "/v1", "/v1/jobs/", "/v1//jobs", "/v1/jobs/x/y", "/..%2f", "/%00",
                     "/v1/../v1/jobs", "/livez/"):
            problem(d.get(path), 404, "not_found")
        r = d.request("PUT", "/v1/jobs/x", b"")
        problem(r, 405, "method_not_allowed")
        equal(r["Allow"], "GET, HEAD, PATCH, DELETE", r)
        for method in ("POST", "DELETE", "OPTIONS", "BREW"):
            r = d.request(method, "/livez")
            problem(r, 405, "method_not_allowed")
            equal(r["Allow"], "GET, HEAD", r)
        problem(d.get("/" + "a" * 20000), 414, "uri_too_long")


def test_head_and_etags():
    with Daemon() as d:
        for path in ("/livez", "/version", "/v1/models", "/readyz?verbose"):
            get, head = d.get(path), d.request("HEAD", path)
            equal(head.status, 200, head)
            equal(head.body, b"", head)
            equal(head["Content-Length"], str(len(get.body)), head)
            if "verbose" in path:
                continue  # free disk space changes
            equal(head["ETag"], get["ETag"], path)
            for value in (get["ETag"], "*", f'"x", W/{get["ETag"]}'):
                r = d.get(path, {"If-None-Match": value})
                equal(r.status, 304, r)
                equal(r.body, b"", r)
                equal(r["ETag"], get["ETag"], r)
                true(r["X-Request-Id"], r)
            equal(d.get(path, {"If-None-Match": '"x"'}).status, 200)


def test_request_ids():
    with Daemon() as d:
        a, b = d.get("/livez")["X-Request-Id"], d.get("/livez")["X-Request-Id"]
        true(re.fullmatch(r"req_[0-9a-f]{16}", a), a)
        true(a != b)
        equal(d.get("/livez", {"X-Request-Id": "mine-1"})["X-Request-Id"], "mine-1")
        for bad in ("a b", "x" * 65, "a\"b", ""):
            true(d.get("/livez", {"X-Request-Id": bad})["X-Request-Id"].startswith("req_"), bad)
        problem(d.get("/nothing", {"X-Request-Id": "mine-2"}), 404, "not_found")
        deadline = time.monotonic() + 5
        while "mine-2" not in d.log():  # written once the reply has left
            true(time.monotonic() < deadline, d.log())


def test_queries():
    with Daemon() as d:
        problem(d.get("/v1/jobs?limits=5"), 400, "invalid_query", "limits")
        problem(d.get("/livez?x"), 400, "invalid_query")
        problem(d.get("/v1/jobs?limit=0"), 400, "invalid_query", "limit")
        problem(d.get("/v1/jobs?limit=x"), 400, "invalid_query", "limit")
        problem(d.get("/v1/jobs?limit=1&limit=2"), 400, "invalid_query", "limit")
        problem(d.get("/v1/jobs?page_token=x"), 400, "invalid_query", "page_token")
        problem(d.get("/v1/jobs?status=done"), 400, "invalid_query", "status")
        problem(d.get("/v1/jobs?sort=size"), 400, "invalid_query", "sort")
        problem(d.get("/v1/jobs?label=x"), 400, "invalid_query", "label")
        problem(d.get("/v1/jobs?created_after=yesterday"), 400, "invalid_query", "created_after")
        problem(d.get("/v1/barriers"), 400, "invalid_query", "job")
        equal(d.get("/v1/jobs?limit=5000&status=queued,running&status=failed&label=a:b:c"
                    "&model=m&created_after=2026-01-01T00:00:00Z&sort=priority").status, 200)


def test_bodies():
    with Daemon("--max-body-bytes", "4096") as d:
        json_type = {"Content-Type": "application/json"}
        for body in (b"", b"{", b"[1,", b'{"a":1}x', b'{"a":1,"a":2}', b"\xff", b"nul"):
            problem(d.post("/v1/jobs", body, json_type), 400, "invalid_json")
        problem(d.post("/v1/jobs", b"{}"), 415, "unsupported_media_type", "Content-Type")
        problem(d.post("/v1/jobs", b"{}", {"Content-Type": "text/plain"}), 415,
                "unsupported_media_type")
        problem(d.post("/v1/jobs", b"{}", {**json_type, "Content-Encoding": "gzip"}), 415,
                "unsupported_media_type")
        problem(d.post("/v1/jobs", {"models": {}, "x": 1}), 422, "invalid_request", "/x")
        problem(d.post("/v1/jobs", b"[" * 3000, json_type), 400, "invalid_json")
        # Exactly what is allowed, announced and chunked, and one byte more.
        for spare, status, code in ((0, 422, "invalid_request"), (1, 413, "too_large")):
            body = b"{}" + b" " * (4094 + spare)
            problem(d.post("/v1/jobs", body, json_type), status, code)
            problem(d.post("/v1/jobs", iter([body[:9], body[9:]]), json_type), status, code)
        # Announced, chunked, and behind "100 Continue": all 413, and the connection may live on.
        big = b" " * 5000
        c = d.connect()
        problem(d.post("/v1/jobs", big, json_type, connection=c), 413, "too_large")
        problem(d.request("POST", "/v1/jobs", iter([big]), json_type, connection=c), 413,
                "too_large")
        equal(d.get("/livez", connection=c).status, 200)
        c.close()
        answer = d.raw(b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
                       b"Content-Type: application/json\r\nContent-Length: 5000\r\n\r\n")
        true(answer.startswith(b"HTTP/1.1 413"), answer)
        # No body where none belongs.
        problem(d.post("/v1/jobs/x/cancel", b"{" + b" " * 100 + b"}"), 413, "too_large")
        # A body that nobody will read, larger than what is swallowed.
        answer = d.raw(b"POST /nothing HTTP/1.1\r\nHost: localhost\r\n"
                       b"Content-Length: 99999999999\r\n\r\nxxx")
        true(answer.startswith(b"HTTP/1.1 404"), answer)
        equal(d.get("/livez").status, 200)


def test_keep_alive_and_pipelining():
    with Daemon() as d:
        c = d.connect()
        sockets = set()
        for path in ("/livez", "/nothing", "/v1/models", "/v1/jobs?x=1"):
            d.get(path, connection=c)
            sockets.add(c.sock.fileno() if c.sock else None)
        r = d.post("/v1/jobs", b"{", {"Content-Type": "application/json"}, connection=c)
        equal(r.status, 400)
        d.get("/livez", connection=c)
        sockets.add(c.sock.fileno())
        equal(len(sockets), 1)
        c.close()
        answer = d.raw(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20 +
                       b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        equal(answer.count(b"HTTP/1.1 200 OK"), 21)


def test_framing():
    """Messages whose end is in doubt end the connection."""
    with Daemon() as d:
        head = b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        after = b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
        for fields in (b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
                       b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
                       b"Content-Length: +2\r\n\r\n{}", b"Content-Length: 2x\r\n\r\n{}",
                       b"Content-Length: -1\r\n\r\n{}",
                       b"Transfer-Encoding: gzip\r\n\r\n{}",
                       b"Transfer-Encoding: chunked, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
                       b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                       b"Content-Length : 2\r\n\r\n{}", b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
                       b"Host: other\r\nContent-Length: 2\r\n\r\n{}"):
            answer = d.raw(head + fields + after, timeout=5)
            true(answer.startswith(b"HTTP/1.1 400"), (fields, answer))
            equal(answer.count(b"HTTP/1.1"), 1, (fields, answer))
            true("/smuggled" not in d.log(), fields)
        answer = d.raw(b"GET /livez HTTP/1.1\r\n\r\n")
        true(answer.startswith(b"HTTP/1.1 400") and b"invalid_header" in answer, answer)
        answer = d.raw(b"GET /livez HTTP/1.0\r\n\r\n")
        true(answer.startswith(b"HTTP/1.0 200") or answer.startswith(b"HTTP/1.1 200"), answer)
        answer = d.raw(b"GET /livez x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        true(answer.startswith(b"HTTP/1.1 4"), answer)
        answer = d.raw(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 100000 + b"\r\n\r\n")
        true(answer.startswith(b"HTTP/1.1 431"), answer[:300])
        answer = d.raw(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 40000 + b"\r\n\r\n"
                       b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        true(answer.startswith(b"HTTP/1.1 431"), answer[:300])
        true(b"headers_too_large" in answer, answer[:600])
        answer = d.raw(b"GET http://localhost/livez HTTP/1.1\r\nHost: localhost\r\n"
                       b"Connection: close\r\n\r\n")
        true(answer.startswith(b"HTTP/1.1 200"), answer)
        equal(d.get("/livez").status, 200)


def test_prefix():
    with Daemon("--route-prefix", "/lab/merge") as d:
        for path in ("/livez", "/lab/merge/livez", "/v1/models", "/lab/merge/v1/models"):
            equal(d.get(path).status, 200, path)
        problem(d.get("/lab/livez"), 404, "not_found")
        problem(d.get("/lab/merge/lab/merge/livez"), 404, "not_found")
        r = d.get("/lab/merge")
        equal(r.status, 308, r)
        equal(r["Location"], "merge/", r)
        r = d.post("/v1/models", {"name": "m", "path": f"{FIXTURES}/models/bert-a"})
        equal(r.status, 201, r)
        equal(r["Location"], "/lab/merge/v1/models/m", r)
        equal(d.get(r["Location"]).status, 200)


def test_hosts():
    with Daemon("--allowed-hosts", "merge.lab.example") as d:
        for host in ("localhost", "127.0.0.1", f"127.0.0.1:{d.port}", "[::1]:1", "merge.lab.example",
                     "Merge.Lab.Example:8080"):
            equal(d.get("/livez", {"Host": host}).status, 200, host)
        for host in ("evil.example", "192.0.2.1", "localhost.evil.example"):
            problem(d.get("/livez", {"Host": host}), 421, "misdirected_request")
        for host in ("a b", "a:b", "@"):
            problem(d.get("/livez", {"Host": host}), 400, "invalid_header")
        problem(d.get("/livez", {"Host": "evil.example", "X-Forwarded-Host": "localhost"}), 421,
                "misdirected_request")
        answer = d.raw(b"GET http://evil.example/livez HTTP/1.1\r\nHost: localhost\r\n"
                       b"Connection: close\r\n\r\n")
        true(answer.startswith(b"HTTP/1.1 421"), answer)


def test_origins():
    with Daemon("--allowed-origins", "https://lab.example") as d:
        def post(**headers):
            return d.post("/v1/jobs", b"{}", {"Content-Type": "application/json",
                                              **{k.replace("_", "-"): v for k, v in headers.items()}})
        own = f"http://127.0.0.1:{d.port}"
        for headers in ({}, {"Origin": own}, {"Origin": "https://lab.example"},
                        {"Sec_Fetch_Site": "same-origin"}, {"Sec_Fetch_Site": "none"}):
            problem(post(**headers), 422, "invalid_request")
        for headers in ({"Origin": "https://evil.example"}, {"Origin": "null"},
                        {"Origin": f"http://127.0.0.1:{d.port + 1}"},
                        {"Origin": f"http://localhost:{d.port}"},
                        {"Sec_Fetch_Site": "cross-site"}, {"Sec_Fetch_Site": "same-site"}):
            problem(post(**headers), 403, "origin_refused")
        equal(d.get("/v1/jobs", {"Origin": "https://evil.example"}).status, 200)


def test_pages_of_other_origins():
    """What a browser asks and reads before it lets a page of another origin call."""
    lab, evil = "https://lab.example", "https://evil.example"

    def asked(d, path, method, origin, **headers):
        return d.request("OPTIONS", path, headers={"Origin": origin, "Access-Control-Request-Method": method,
                                                   **headers})

    def said(r):
        return sorted(k for k in r.headers if k.lower().startswith("access-control-"))

    with Daemon("--allowed-origins", lab, "--allowed-origins", "http://localhost:3000") as d:
        for path, method, methods in (("/v1/jobs", "POST", "GET, HEAD, POST"),
                                      ("/v1/models/x/files/config.json", "PUT", "PUT"),
                                      ("/v1/jobs/x", "PATCH", "GET, HEAD, PATCH, DELETE"),
                                      ("/v1/jobs/x/cancel", "POST", "POST")):
            r = asked(d, path, method, lab, **{"Access-Control-Request-Headers": "authorization,content-type"})
            equal((r.status, r.body), (204, b""), r)
            equal(r["Access-Control-Allow-Origin"], lab, r)
            equal(sorted(r["Access-Control-Allow-Methods"].split(", ")), sorted(methods.split(", ")), r)
            allowed = [h.strip().lower() for h in r["Access-Control-Allow-Headers"].split(",")]
            for header in ("authorization", "content-type", "idempotency-key", "if-match", "if-none-match",
                           "prefer", "range", "last-event-id", "repr-digest"):
                true(header in allowed, (header, r))
            true(int(r["Access-Control-Max-Age"]) > 0, r)
            true("Origin" in r["Vary"] and r["X-Request-Id"], r)
            equal(r["Access-Control-Allow-Credentials"], None, r)
        equal(asked(d, "/v1/jobs", "POST", "http://localhost:3000")["Access-Control-Allow-Origin"],
              "http://localhost:3000")
        # The request itself: its answer and its refusals can be read, with what a client goes by.
        for r in (d.get("/v1/jobs", {"Origin": lab}), d.get("/v1/jobs", {"Origin": lab}),
                  d.get("/v1/nothing", {"Origin": lab}),
                  d.post("/v1/jobs", b"{}", {"Content-Type": "application/json", "Origin": lab}),
                  d.get("/v1/jobs", {"Origin": lab, "If-None-Match": d.get("/v1/jobs")["ETag"]})):
            equal(r["Access-Control-Allow-Origin"], lab, r)
            exposed = [h.strip().lower() for h in r["Access-Control-Expose-Headers"].split(",")]
            for header in ("etag", "location", "retry-after", "x-request-id"):
                true(header in exposed, (header, r))
        # Others are told nothing, whoever asked before, and the log says why.
        r = asked(d, "/v1/jobs", "POST", evil)
        problem(r, 403, "origin_refused")
        equal(said(r), [], r)
        for origin in (evil, "null", lab + ".evil.example", lab + ":8443", "http://lab.example"):
            equal(said(d.get("/v1/jobs", {"Origin": origin})), [], origin)
            equal(said(asked(d, "/v1/jobs", "POST", origin)), [], origin)
        equal(said(d.get("/v1/jobs")), [])
        problem(asked(d, "/v1/nothing", "POST", lab), 404, "not_found")
        # No question of a browser: as ever.
        problem(d.request("OPTIONS", "/v1/jobs", headers={"Origin": lab}), 405, "method_not_allowed")
        problem(d.request("OPTIONS", "/v1/jobs"), 405, "method_not_allowed")
    secret = "s" * 40
    with tempfile.NamedTemporaryFile("w") as token:
        token.write(secret)
        token.flush()
        with Daemon("--allowed-origins", lab, "--token-file", token.name) as d:
            # A browser asks without the token, and reads that one is needed.
            equal(asked(d, "/v1/jobs", "POST", lab).status, 204)
            r = d.get("/v1/jobs", {"Origin": lab})
            problem(r, 401, "unauthorized")
            equal(r["Access-Control-Allow-Origin"], lab, r)
            equal(d.get("/v1/jobs", {"Origin": lab, "Authorization": f"Bearer {secret}"}).status, 200)
    with Daemon() as d:
        r = asked(d, "/v1/jobs", "POST", lab)
        problem(r, 403, "origin_refused")
        equal((said(r), r["Vary"]), ([], None), r)


def test_access_log_and_metrics():
    with Daemon("--log-format", "json") as d:
        d.get("/livez", {"X-Request-Id": "logged-1"})
        d.get("/v1/jobs/nothing?x=1")
        text = d.get("/metrics").body.decode()
        lines = [json.loads(x) for x in d.log().splitlines()]
        line = next(x for x in lines if x.get("request") == "logged-1")
        equal((line["method"], line["target"], line["status"], line["client"], line["in"]),
              ("GET", "/livez", 200, "127.0.0.1", 0), line)
        true(0 <= line["ms"] < 10000, line)
        equal(len([x for x in lines if x.get("target") in ("/livez", "/v1/jobs/nothing?x=1")]), 2, lines)
        true('rebasind_http_requests_total{route="/livez",status="200"} 1' in text, text)
        true('rebasind_http_requests_total{route="/v1/jobs/{id}",status="400"} 1' in text, text)
        true('rebasind_http_refused_total{reason="invalid_query"} 1' in text, text)
        true("rebasind_jobs{" in text and "rebasind_queue_depth 0" in text, text)


def test_embedded_contract():
    """Every operation of the route table is in openapi.yaml and the other way round."""
    root = os.path.join(FIXTURES, "..", "..")
    if not os.path.exists(os.path.join(root, "openapi.yaml")):
        return
    routes = re.findall(r'\b(?:GET|POLL|ACT|PRESS|CANCEL|JSON|STREAM)\("(\w+)", (?:(\w+), )?"([^"]+)"',
                        open(os.path.join(root, "server", "http", "routes.c")).read())
    with Daemon() as d:
        document = d.get("/openapi.json").json
        equal(d.get("/openapi.yaml").body, open(os.path.join(root, "openapi.yaml"), "rb").read())
        there = {(o["operationId"], path) for path, item in document["paths"].items()
                 for method, o in item.items() if method in ("get", "put", "post", "patch", "delete")}
        here = {(operation, path) for operation, _, path in routes}
        equal(sorted(here - there), [])
        equal(sorted(there - here), [])


def test_health_and_help():
    with Daemon() as d:
        listen = f"127.0.0.1:{d.port}"
        r = command("health", "--listen", listen)
        equal((r.returncode, r.stdout), (0, "ready\n"), r)
    r = command("health", "--listen", listen)
    equal(r.returncode, 1, r)
    for words in ([], ["serve"], ["health"], ["inspect"], ["export"], ["token"], ["check-config"], ["version"], ["help"]):
        r = command(*words, "--help")
        equal(r.returncode, 0, r)
        true("Example:" in r.stdout, r)
    equal(command("merge").returncode, 2)
    equal(command("--nonsense").returncode, 2)
    with tempfile.TemporaryDirectory() as folder:
        r = command("serve", "--listen", "0.0.0.0:0", "--data-dir", folder)
    equal(r.returncode, 2, r)
    true("token" in r.stderr, r)


if __name__ == "__main__":
    run([v for k, v in list(globals().items()) if k.startswith("test_")])

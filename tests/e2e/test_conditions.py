"""What requests ask for beside their body: preconditions, keys in quotes, bodies that say nothing,
and leave for pages of other origins."""
import hashlib
import base64

from daemon import Daemon, FIXTURES, equal, problem, run, true

TEXT = b"the quick brown fox jumps over it\n" * 300


def test_preconditions_of_uploads():
    with Daemon() as d:
        put = lambda headers, body=TEXT: d.request("PUT", "/v1/datasets/text?format=text", body,
                                                   headers)
        problem(put({"If-Match": "*"}), 412, "precondition_failed", "If-Match")
        equal(put({"If-None-Match": "*"}).status, 201)
        problem(put({"If-None-Match": "*"}), 412, "precondition_failed", "If-None-Match")
        tag = d.get("/v1/datasets/text")["ETag"]
        problem(put({"If-Match": '"other"'}), 412, "precondition_failed", "If-Match")
        problem(put({"If-Match": f"W/{tag}"}), 412, "precondition_failed", "If-Match")  # RFC 9110, 13.1.1
        problem(put({"If-None-Match": f"W/{tag}"}), 412, "precondition_failed", "If-None-Match")
        problem(put({"If-None-Match": tag}), 412, "precondition_failed", "If-None-Match")
        equal(put({"If-Match": f'"other", {tag}'}, TEXT + b"more\n").status, 200)
        problem(put({"If-Match": tag}), 412, "precondition_failed", "If-Match")
        problem(put({"Content-Range": "bytes 0-9/100"}), 400, "invalid_header", "Content-Range")
        problem(d.request("DELETE", "/v1/datasets/text", headers={"If-Match": tag}), 412,
                "precondition_failed", "If-Match")
        tag = d.get("/v1/datasets/text")["ETag"]
        equal(d.request("DELETE", "/v1/datasets/text", headers={"If-Match": tag}).status, 204)
        # RFC 9110, 13.2.1: what is not there is 404, with or without a condition.
        problem(d.request("DELETE", "/v1/datasets/text", headers={"If-Match": "*"}), 404,
                "not_found")
        problem(d.request("DELETE", "/v1/datasets/text"), 404, "not_found")


def test_preconditions_of_models():
    config = open(f"{FIXTURES}/models/bert-a/config.json", "rb").read()
    tag = f'"{hashlib.sha256(config).hexdigest()}"'
    path = "/v1/models/m/files/config.json"
    with Daemon() as d:
        put = lambda headers: d.request("PUT", path, config, headers)
        problem(put({"If-Match": tag}), 412, "precondition_failed", "If-Match")
        equal(put({"If-None-Match": "*"}).status, 201)
        problem(put({"If-None-Match": "*"}), 412, "precondition_failed", "If-None-Match")
        problem(put({"If-Match": '"other"'}), 412, "precondition_failed", "If-Match")
        equal(put({"If-Match": tag}).status, 200)
        equal(d.request("PUT", "/v1/models/m/files/vocab.txt", b"a\n",
                        {"If-None-Match": "*"}).status, 201)
        problem(d.request("DELETE", "/v1/models/m", headers={"If-Match": '"other"'}), 412,
                "precondition_failed", "If-Match")
        etag = d.get("/v1/models/m")["ETag"]
        equal(d.request("DELETE", "/v1/models/m", headers={"If-Match": etag}).status, 204)


def register(d):
    for name in ("bert-a", "bert-b"):
        equal(d.post("/v1/models", {"name": name, "path": f"{FIXTURES}/models/{name}"}).status, 201)
    equal(d.request("PUT", "/v1/datasets/text?format=text", TEXT).status, 201)


JOB = {"models": {"a": "bert-a", "b": "bert-b"},
       "align": {"dataset": "text", "components": ["ff"], "max_sequences": 20}}


def test_jobs():
    with Daemon() as d:
        register(d)
        one = d.post("/v1/jobs", JOB, {"Idempotency-Key": "k-1"})
        equal(one.status, 202, one)
        again = d.post("/v1/jobs", JOB, {"Idempotency-Key": '"k-1"'})
        equal((again.status, again.json["id"]), (202, one.json["id"]), again)
        for bad in ('"', '""', '"k-1', 'k"', "k" * 129, '"' + "k" * 129 + '"'):
            problem(d.post("/v1/jobs", JOB, {"Idempotency-Key": bad}), 400, "invalid_header")
        equal(d.post("/v1/jobs", JOB, {"Idempotency-Key": '"' + "k" * 128 + '"'}).status, 202)
        r = d.post("/v1/jobs", JOB, {"Prefer": 'wait="60"'})
        equal((r.status, r.json["status"]), (200, "succeeded"), r)
        path = f"/v1/jobs/{r.json['id']}"
        for form in ("application/json", "application/x-www-form-urlencoded"):
            r = d.request("POST", f"{path}/retry", b"{}", {"Content-Type": form})
            equal(r.status, 202, r)
            d.wait_finished(r.json["id"])
            problem(d.request("POST", f"{path}/cancel", b" { } ", {"Content-Type": form}), 409,
                    "conflict")
        keyed = {"Idempotency-Key": "r-1"}
        equal(d.request("POST", f"{path}/retry", b"{}", keyed).json["id"],
              d.request("POST", f"{path}/retry", None, keyed).json["id"])
        for body in (b'{"a": 1}', b"[]", b"{", b"x", b" " * 65):
            problem(d.request("POST", f"{path}/cancel", body), 413, "too_large")
        problem(d.request("DELETE", path, headers={"If-Match": '"99"'}), 412, "precondition_failed")
        tag = d.get(path)["ETag"]
        problem(d.request("DELETE", path, headers={"If-None-Match": tag}), 412,
                "precondition_failed")
        equal(d.request("DELETE", path, headers={"If-Match": tag}).status, 204)
        for query in ("status=", "status=,", "status=succeeded&status="):
            problem(d.get(f"/v1/jobs?{query}"), 400, "invalid_query", "status")
        equal(d.get("/v1/jobs?status=succeeded,").status, 200)


def test_digests():
    """sha-256 is held against the body wherever it stands; what else is said is not looked at."""
    ours = "sha-256=:" + base64.b64encode(hashlib.sha256(TEXT).digest()).decode() + ":"
    wrong = "sha-256=:" + base64.b64encode(hashlib.sha256(b"").digest()).decode() + ":"
    other = "sha-512=:" + base64.b64encode(hashlib.sha512(TEXT).digest()).decode() + ":"
    with Daemon() as d:
        def put(*values):
            head = "".join(f"Repr-Digest: {v}\r\n" for v in values)
            answer = d.raw((f"PUT /v1/datasets/text?format=text HTTP/1.1\r\nHost: localhost\r\n"
                            f"Connection: close\r\n{head}Content-Length: {len(TEXT)}\r\n\r\n"
                            ).encode() + TEXT)
            return int(answer.split()[1])
        for good in ((ours,), (f"{ours}, {other}",), (f"{other},{ours}",), (ours, other),
                     (other, ours)):
            true(put(*good) in (200, 201), good)
        for bad in ((f"{wrong}, {other}",), (other, wrong), (wrong, other)):
            equal(put(*bad), 422, bad)
        equal(put(other), 400)


if __name__ == "__main__":
    run([v for k, v in list(globals().items()) if k.startswith("test_")])

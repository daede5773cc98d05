"""Tokens, scopes, and who is believed about addresses."""
import json
import os
import tempfile
import time

from daemon import Daemon, command, equal, problem, run, true


def token(d, *arguments):
    r = command("token", *arguments, "--data-dir", d.data_dir)
    equal(r.returncode, 0, r)
    return r


def make(d, scopes):
    r = token(d, "create", "--scopes", scopes)
    return r.stdout.strip(), next(w for w in r.stderr.replace(":", " ").split()
                                  if w.startswith("tok_"))


def bearer(secret):
    return {"Authorization": f"Bearer {secret}"}


def test_tokens():
    with Daemon() as d:
        equal(d.get("/v1/jobs").status, 200)
        reader, reader_id = make(d, "read")
        submitter, _ = make(d, "submit")
        # From now on each request needs one, without a restart.
        r = d.get("/v1/jobs")
        problem(r, 401, "unauthorized")
        true(r["WWW-Authenticate"].startswith("Bearer"), r)
        for path in ("/livez", "/readyz", "/version"):
            equal(d.get(path).status, 200, path)
        problem(d.get("/metrics"), 401, "unauthorized")
        for header in ("Bearer", "Bearer x", f"Basic {reader}", f"Bearer {reader}x",
                       f"Bearer {reader[:-1]}", f"Bearer {reader} {reader}"):
            problem(d.get("/v1/jobs", {"Authorization": header}), 401, "unauthorized")
        problem(d.get("/v1/jobs?token=rb_x"), 401, "unauthorized")
        equal(d.get("/v1/jobs", bearer(reader)).status, 200)
        equal(d.get("/v1/jobs", bearer(submitter)).status, 200)
        equal(d.get("/metrics", bearer(reader)).status, 200)
        problem(d.post("/v1/jobs", {}, bearer(reader)), 403, "forbidden")
        problem(d.post("/v1/jobs", {}, bearer(submitter)), 422, "invalid_request")
        token(d, "revoke", reader_id)
        problem(d.get("/v1/jobs", bearer(reader)), 401, "unauthorized")
        equal(d.get("/v1/jobs", bearer(submitter)).status, 200)
        for secret in (reader, submitter):
            true(secret not in d.log())
            for folder, _, files in os.walk(d.data_dir):
                for file in files:
                    with open(os.path.join(folder, file), "rb") as f:
                        true(secret.encode() not in f.read(), file)


def test_token_file():
    with tempfile.NamedTemporaryFile("w", suffix=".token") as f:
        secret = "s" * 40
        f.write(secret + "\n")
        f.flush()
        with Daemon("--token-file", f.name) as d:
            problem(d.get("/v1/jobs"), 401, "unauthorized")
            equal(d.get("/v1/jobs", bearer(secret)).status, 200)
            problem(d.post("/v1/jobs", {}, bearer(secret)), 422, "invalid_request")


def addresses(d, count):
    """Of the requests logged, once there are so many: a line is written when its reply has left."""
    deadline = time.monotonic() + 5
    while d.log().count('"message":"request"') < count and time.monotonic() < deadline:
        time.sleep(0.02)
    return [json.loads(x).get("client") for x in d.log().splitlines()
            if json.loads(x)["message"] == "request"]


def test_forwarded_addresses():
    with Daemon("--log-format", "json") as d:
        d.get("/livez", {"X-Forwarded-For": "192.0.2.1"})
        equal(addresses(d, 1), ["127.0.0.1"])
    with Daemon("--log-format", "json", "--trusted-proxies", "127.0.0.0/8,10.0.0.0/8") as d:
        for value in ("192.0.2.1", "6.6.6.6, 192.0.2.2", "192.0.2.3, 10.1.2.3", "x, 10.1.2.3",
                      "2001:db8::1"):
            d.get("/livez", {"X-Forwarded-For": value})
        equal(addresses(d, 5), ["192.0.2.1", "192.0.2.2", "192.0.2.3", "10.1.2.3", "2001:db8::1"])
        equal(d.get("/livez", {"Host": "x", "X-Forwarded-Host": "localhost"}).status, 200)
        problem(d.get("/livez", {"Host": "localhost", "X-Forwarded-Host": "evil"}), 421,
                "misdirected_request")


if __name__ == "__main__":
    run([v for k, v in list(globals().items()) if k.startswith("test_")])

#!/usr/bin/env python3
"""What docs/operations.md, compose.yaml and the Kubernetes manifests tell an operator to do, done
literally to the image: each command of the manual, docker run, compose's first steps, a secret's
exchange."""
import json
import os
import re
import shlex
import subprocess
import tempfile

import yaml

from container import (DEMO_JOB, DEPLOY, FIXTURES, TOKEN, UID, WORK, Container, equal, run, true)
from names import read


def commands(lines):
    """Indented lines as commands: continued ones joined, comments behind them cut off."""
    text = "\n".join(line[4:] for line in lines if line.startswith("    "))
    return [re.sub(r"\s+#.*", "", c) for c in text.replace("\\\n", " ").split("\n") if c.strip()]


def shell(command, c=None, cwd=None, **env):
    """A line of the manual under sh; `rebasind` is the one in the container."""
    there = "rebasind() { %s \"$@\"; }\n" % shlex.join(
        c.runc("exec", c.name, "/usr/bin/rebasind")) if c is not None else ""
    r = subprocess.run(["sh", "-euc", there + command], cwd=cwd, env={**os.environ, **env},
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
    equal(r.returncode, 0, (command, r.stderr))
    return r.stdout


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


# ---- the manual ----

def test_commands_of_the_manual():
    found = commands(read("docs/operations.md").splitlines())
    with Container() as c:
        c.register_fixtures()
        with open(os.path.join(c.folder, "job.json"), "w") as f:
            json.dump(DEMO_JOB, f)
        os.symlink(DEPLOY, os.path.join(c.folder, "deploy"))
        url, made = f"http://127.0.0.1:{c.port}", []

        def estimate(command):
            answer = json.loads(shell(command, c, c.folder, TOKEN=TOKEN, URL=url))
            equal(set(answer), {"peak_bytes", "seconds", "least_seconds", "saved_seconds",
                                "disk_bytes", "layer_groups", "feature_passes"})
            true(answer["peak_bytes"] > 0, answer)

        def create(command):
            made.append(shell(command, c).strip())
            equal(c.get("/v1/jobs", headers=bearer(made[0])).status, 200)

        def listed(command):
            rows = [line.split() for line in shell(command, c).splitlines()[1:]]
            equal([(r[-2], r[-1]) for r in rows], [("valid", "sweeps")])
            true("never" not in rows[0], "when it was last used is noted")
            made.append(rows[0][0])

        def revoke(command):
            shell(command.replace("tok_…", made[1]), c)
            equal(c.get("/v1/jobs", headers=bearer(made[0])).status, 401)

        def backup(command):
            shell(command.replace("/var/lib/rebasind", c.data)
                  .replace(" /backup/", f" {c.folder}/backup/"), c, c.folder)
            copies = os.listdir(os.path.join(c.folder, "backup"))
            true(len(copies) == 1 and re.fullmatch(r"rebasind-\d{4}-\d\d-\d\d", copies[0]), copies)

        known = [("curl", estimate), ("rebasind token create", create),
                 ("rebasind token list", listed), ("rebasind token revoke", revoke),
                 ("deploy/backup.sh", backup)]
        equal([k for f in found for k, _ in known if f.startswith(k)], [k for k, _ in known], found)
        equal(len(found), len(known), "every command of the manual is executed here")
        for command, (_, execute) in zip(found, known):
            execute(command)
            print("      " + " ".join(command.split()))


# ---- compose.yaml ----

def composed(text, **values):
    """${NAME:-default} as compose fills it in."""
    return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda m: values.get(m[1], m[2]), str(text))


def test_first_steps_of_compose():
    """The lines at the top of compose.yaml, then the daemon as its service says, on another port."""
    header = [line[1:] for line in read("deploy/compose.yaml").splitlines() if line[:1] == "#"]
    steps = commands(" " + line for line in header)
    equal([s.split()[0] for s in steps],
          ["cd", "head", "head", "sudo", "docker", "REBASIND_HOST=merge.lab.example"], steps)
    compose = yaml.safe_load(read("deploy/compose.yaml"))
    service = compose["services"]["rebasind"]
    env = {k: composed(v) for k, v in service["environment"].items()}
    with tempfile.TemporaryDirectory() as folder:
        # compose looks for them beside its file.
        secrets, data = os.path.join(folder, "deploy/secrets"), os.path.join(folder, "data")
        equal(compose["secrets"]["rebasind-token"]["file"], "./secrets/rebasind-token")
        mounts = [(secrets, "/run/secrets", "ro")]
        os.mkdir(os.path.join(folder, "deploy"))
        shell("; ".join(s.replace("sudo ", "") for s in steps[:4]), cwd=folder)
        own = read(os.path.join(secrets, "rebasind-token")).strip()
        # … run --rm rebasind token create … > secrets/prometheus-token
        words = shlex.split(steps[4])
        words = words[words.index("rebasind") + 1:]
        equal(words[-2:], [">", "secrets/prometheus-token"])
        reader = output(Container(env=env, data=data, mounts=mounts, as_is=True, args=words[:-2]))
        env.pop("REBASIND_LISTEN")
        with Container(env=env, data=data, mounts=mounts, args=service["command"]) as c:
            equal(c.get("/v1/jobs", headers=bearer(own)).status, 200)
            # Prometheus asks by the service's name, people by the public one, nobody by another.
            targets = yaml.safe_load(read("deploy/prometheus/prometheus.yaml"))
            target = targets["scrape_configs"][0]["static_configs"][0]["targets"][0]
            for host, status in ((target, 200), ("merge.lab.example", 200), ("evil.example", 421)):
                r = c.get("/metrics", headers={**bearer(reader), "Host": host})
                equal(r.status, status, (host, r))
            equal(c.request("POST", "/v1/jobs", {}, headers=bearer(reader)).status, 403)
            equal(c.get("/readyz").status, 200)


def output(container):
    try:
        return container.output().strip()
    finally:
        container.close()


# ---- docker run, as the Dockerfile says ----

def options(words):
    """[-v A:B -e C=D --read-only …] as {"-v": ["A:B"], "-e": ["C=D"], …, "": other words}."""
    found = {"": []}
    words = iter(words)
    for word in words:
        name, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
        if word in ("-v", "-e", "-p"):
            value = next(words)
        found.setdefault(name if word.startswith("-") else "", []).append(value or word)
    return found


def curl_inside(c, path, token):
    """From the container's own network, which has nothing but it."""
    r = subprocess.run(["nsenter", "-t", str(c.pid), "-n", "curl", "-sS", "-H",
                        f"Authorization: Bearer {token}", f"http://127.0.0.1:8686{path}"],
                       stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(r.stdout)


def check_daemon(c, token):
    with open(os.path.join(WORK, "image.json")) as f:
        check = json.load(f)["config"]["Healthcheck"]["Test"]
    equal(check[0], "CMD")
    equal(c.execute(*check[1:]), (0, "ready\n"))
    listening = next(r for r in c.log_rows() if r["message"] == "listening")
    true(listening["url"].startswith("http://0.0.0.0:8686"), listening)
    equal(curl_inside(c, "/v1/jobs", token), {"data": []})
    equal(curl_inside(c, "/v1/jobs", "x" * 40)["status"], 401)


def test_docker_run_with_a_token_file():
    lines = [line[1:] for line in read("deploy/Dockerfile").splitlines() if line[:1] == "#"]
    run_it = commands(" " + line for line in lines)[1]
    given = options(shlex.split(run_it))
    for safe in ("--read-only", "--cap-drop", "--security-opt"):  # as Container runs it
        true(safe in given, given)
    equal(given[""], ["docker", "run", "rebasind"])
    with tempfile.TemporaryDirectory() as folder:
        token = os.path.join(folder, "token")
        with open(token, "w") as f:
            f.write(TOKEN)
        os.chown(token, UID, UID)
        os.chmod(token, 0o400)
        mounts = []
        for volume in given["-v"]:
            source, target, *mode = volume.split(":")
            source = {"$PWD/token": token, "/srv/checkpoints": FIXTURES}.get(source)
            if source is not None:  # Container has the data folder
                mounts.append((source, target, *mode))
        equal(len(mounts), 2)
        with Container(env=dict(e.split("=", 1) for e in given["-e"]), mounts=mounts,
                       as_is=True) as c:
            check_daemon(c, TOKEN)
            true("out of reach" not in c.log(), "the import root is there")


def test_docker_run_with_a_token_made_before():
    words = re.search(r"docker run --rm -v rebasind:/data rebasind (.*?)`",
                      read("deploy/Dockerfile")).group(1).split()
    with tempfile.TemporaryDirectory() as data:
        token = output(Container(data=data, as_is=True, args=words))
        true(re.fullmatch(r"rb_\S{40,}", token), token)
        with Container(data=data, as_is=True) as c:
            check_daemon(c, token)


# ---- Kubernetes ----

def mount_secret(folder, token, number):
    """A secret as kubelet lays it: files in a folder of their own, a link to it turned at once."""
    real = f"..2026_{number}"
    os.mkdir(os.path.join(folder, real))
    path = os.path.join(folder, real, "token")
    with open(path, "w") as f:
        f.write(token)  # --from-literal: no line end
    os.chown(path, 0, UID)
    os.chmod(path, 0o440)
    os.symlink(real, os.path.join(folder, "..new"))
    os.rename(os.path.join(folder, "..new"), os.path.join(folder, "..data"))
    if not os.path.lexists(os.path.join(folder, "token")):
        os.symlink("..data/token", os.path.join(folder, "token"))


def test_secret_and_volume_of_kubernetes():
    """The token by the command of deployment.yaml, mounted and exchanged as Kubernetes does it; the
    volume as fsGroup leaves it: of root, and the group's."""
    make = re.search(r'token="\$\((.*)\)"', read("deploy/kubernetes/deployment.yaml")).group(1)
    tokens = [shell(make) for _ in range(2)]
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        secret = os.path.join(folder, "rebasind")
        os.mkdir(secret)
        mount_secret(secret, tokens[0], 1)
        env = {"REBASIND_TOKEN_FILE": "/run/secrets/rebasind/token"}
        c = Container(env=env, mounts=[(folder, "/run/secrets", "ro")])
        os.chown(c.data, 0, UID)
        os.chmod(c.data, 0o2775)
        with c:
            statuses = [c.get("/v1/jobs", headers=bearer(t)).status for t in tokens]
            equal(statuses, [200, 401])
            mount_secret(secret, tokens[1], 2)
            statuses = [c.get("/v1/jobs", headers=bearer(t)).status for t in tokens]
            equal(statuses, [401, 200])


run([test_commands_of_the_manual, test_first_steps_of_compose,
     test_docker_run_with_a_token_file, test_docker_run_with_a_token_made_before,
     test_secret_and_volume_of_kubernetes])

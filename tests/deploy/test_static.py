#!/usr/bin/env python3
"""The files of deploy/ that describe: the tool that each is for accepts it, and it says what it
must."""
import glob
import json
import os
import re
import shutil
import subprocess
import tempfile

import yaml

from container import DEPLOY, HERE, PROXIES, ROOT, WORK, equal, run, true
from names import metric_names, read, used_metrics

NPM = os.path.join(WORK, "npm")
VERSION = re.search(r"project\(rebasind VERSION (\S+)", read("CMakeLists.txt")).group(1)


def documents(path):
    return [d for d in yaml.safe_load_all(read(path)) if d]


# ---- systemd ----

def test_unit_is_locked_down():
    out = subprocess.run(["systemd-analyze", "security", "--offline=true",
                          os.path.join(DEPLOY, "rebasind.service")], stdout=subprocess.PIPE,
                         text=True).stdout
    exposure = float(re.search(r"Overall exposure level.*: ([0-9.]+)", out).group(1))
    print(f"      exposure of rebasind.service: {exposure}")
    true(exposure <= 2.0, out)


def test_unit_is_valid():
    with tempfile.TemporaryDirectory() as folder:
        unit = os.path.join(folder, "rebasind.service")
        with open(unit, "w") as f:
            f.write(read("deploy/rebasind.service").replace("/usr/local/bin/rebasind", "/bin/true"))
        r = subprocess.run(["systemd-analyze", "verify", unit], stderr=subprocess.PIPE, text=True)
        equal((r.returncode, r.stderr), (0, ""))


def system_calls(group):
    out = subprocess.run(["systemd-analyze", "syscall-filter", group], stdout=subprocess.PIPE,
                         text=True).stdout
    names = set()
    for word in out.split("\n"):
        word = word.strip()
        if word.startswith("@") and word != group:
            names |= system_calls(word)
        elif re.fullmatch(r"[a-z0-9_]+", word):
            names.add(word)
    return names


def test_unit_allows_what_the_daemon_calls():
    """The unit's SystemCallFilter holds the daemon's own table and what makes its sandbox."""
    allowed = set()
    for line in re.findall(r"^SystemCallFilter=(.*)$", read("deploy/rebasind.service"), re.M):
        names = set()
        for word in line.lstrip("~").split():
            names |= system_calls(word) if word.startswith("@") else {word}
        allowed = allowed - names if line.startswith("~") else allowed | names
    source = read("server/base/sandbox_seccomp.c")
    own = re.search(r"allowed\[\] = \{(.*?)\n\};", source, re.S).group(1)
    conditions = re.search(r"conditions\[\] = \{(.*?)\n\};", source, re.S).group(1)
    needed = set(re.findall(r"SYS_(\w+)", own + conditions))
    true(len(needed) > 80, needed)
    needed |= {"landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self", "seccomp"}
    equal(sorted(needed - allowed), [])


# ---- proxies ----

def test_proxies_accept_their_files():
    for kind in PROXIES:
        proxy = kind(8686)
        try:
            proxy.check()
        finally:
            shutil.rmtree(proxy.folder)


# ---- Prometheus, Grafana ----

def test_rules():
    folder = os.path.join(DEPLOY, "prometheus")
    subprocess.run(["promtool", "check", "rules", "rules.yaml"], cwd=folder, check=True,
                   stdout=subprocess.DEVNULL)
    r = subprocess.run(["promtool", "test", "rules", "rules_test.yaml"], cwd=folder,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    equal(r.returncode, 0, r.stdout)


def alerts():
    groups = documents("deploy/prometheus/rules.yaml")[0]["groups"]
    return [r for g in groups for r in g["rules"] if "alert" in r]


def test_rules_name_metrics_that_exist():
    for group in documents("deploy/prometheus/rules.yaml")[0]["groups"]:
        for rule in group["rules"]:
            missing = used_metrics(rule["expr"]) - metric_names()
            equal(missing, set(), rule)


def test_every_alert_is_tested_and_explained():
    tests = read("deploy/prometheus/rules_test.yaml")
    manual = read("docs/operations.md")
    for rule in alerts():
        name = rule["alert"]
        fired = [t for d in documents("deploy/prometheus/rules_test.yaml") for t in d["tests"]
                 for c in t["alert_rule_test"] if c["alertname"] == name and c.get("exp_alerts")]
        true(fired, f"a test in which {name} fires")
        true(name in manual, f"{name} in docs/operations.md")
        equal(set(rule["annotations"]), {"summary", "description"}, name)
        true(rule["labels"]["severity"] in ("warning", "critical"), name)
    for name in set(re.findall(r"Rebasind[A-Z]\w+", tests + manual)):
        true(name in [r["alert"] for r in alerts()], f"{name} is an alert")


def test_dashboard():
    board = json.loads(read("deploy/grafana/rebasind.json"))
    ids = [p["id"] for p in board["panels"]]
    equal(len(ids), len(set(ids)))
    # What stands for the data source until another is chosen is the one that compose.yaml sets up.
    chosen = next(v for v in board["templating"]["list"] if v["type"] == "datasource")
    source = documents("deploy/grafana/provisioning/datasources/prometheus.yaml")[0]
    equal(chosen["current"]["value"], source["datasources"][0]["uid"])
    provider = documents("deploy/grafana/provisioning/dashboards/rebasind.yaml")[0]["providers"][0]
    mounted = documents("deploy/compose.yaml")[0]["services"]["grafana"]["volumes"]
    folder = provider["options"]["path"]
    true(f"./grafana/rebasind.json:{folder}/rebasind.json:ro" in mounted, mounted)
    expressions = [t["expr"] for p in board["panels"] for t in p.get("targets", [])]
    expressions += [a["expr"] for a in board["annotations"]["list"]]
    true(len(expressions) > 20, expressions)
    for expression in expressions:
        equal(used_metrics(expression) - metric_names(), set(), expression)
    # promtool reads expressions only in rules.
    rules = {"groups": [{"name": "panels", "rules": [
        {"record": f"panel:{i}", "expr": e.replace("$instance", "d")}
        for i, e in enumerate(expressions)]}]}
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as f:
        yaml.safe_dump(rules, f)
        f.flush()
        r = subprocess.run(["promtool", "check", "rules", f.name], stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True)
        equal(r.returncode, 0, r.stdout)
    # Panels neither overlap nor stick out.
    cells = set()
    for p in board["panels"]:
        g = p["gridPos"]
        true(g["x"] + g["w"] <= 24, p["title"])
        own = {(x, y) for x in range(g["x"], g["x"] + g["w"])
               for y in range(g["y"], g["y"] + g["h"])}
        equal(cells & own, set(), p["title"])
        cells |= own


# ---- container ----

def test_dockerfile():
    text = read("deploy/Dockerfile")
    for needed in ("FROM debian:12-slim AS build", "\nFROM scratch\n", "USER 65532:65532",
                   "VOLUME /data", "HEALTHCHECK", '"health"', "STOPSIGNAL SIGTERM",
                   f"ARG VERSION={VERSION}\n", "org.opencontainers.image.licenses"):
        true(needed in text, needed)


def test_compose_is_valid():
    """By docker-compose itself, which needs no engine to read a file."""
    compose = documents("deploy/compose.yaml")[0]
    # The one that Debian has is older than `name` at the top.
    equal(compose.pop("name"), "rebasind")
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as f:
        yaml.safe_dump(compose, f)
        f.flush()
        r = subprocess.run(["docker-compose", "--project-directory", DEPLOY, "-f", f.name,
                            "config"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    equal(r.returncode, 0, r.stderr)
    resolved = yaml.safe_load(r.stdout)["services"]
    equal(sorted(resolved), sorted(compose["services"]))
    equal(resolved["rebasind"]["build"]["dockerfile"], "deploy/Dockerfile")


def test_compose():
    compose = documents("deploy/compose.yaml")[0]
    services = compose["services"]
    equal(sorted(services), ["caddy", "grafana", "prometheus", "rebasind"])
    daemon = services["rebasind"]
    equal(daemon["read_only"], True)
    equal(daemon["cap_drop"], ["ALL"])
    equal(daemon["user"], "65532:65532")
    true("no-new-privileges:true" in daemon["security_opt"], daemon)
    models = [v for v in daemon["volumes"] if ":/models" in v]
    true(models and models[0].endswith(":ro"), daemon["volumes"])
    equal(daemon["environment"]["REBASIND_IMPORT_ROOT"], "/models")
    true("ports" not in daemon, "the daemon is reached through the proxy only")
    # Secrets are files, and each that is used is declared.
    for name, service in services.items():
        for secret in service.get("secrets", []):
            true(secret in compose["secrets"], secret)
            equal(list(compose["secrets"][secret]), ["file"])
        for key, value in (service.get("environment") or {}).items():
            if re.search(r"token|password|secret", key, re.I):
                true(key.upper().endswith("_FILE") and str(value).startswith("/run/secrets/"), key)
                true(value.rsplit("/", 1)[1] in service["secrets"], key)
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("./"):
                true(os.path.exists(os.path.join(DEPLOY, source)), volume)
            elif not source.startswith("$"):
                true(source in compose["volumes"], volume)
    known = read("server/base/settings.h")
    for key in daemon["environment"]:
        flag = key[len("REBASIND_"):].lower().replace("_", "-")
        true(f'"{flag}"' in known, f"{key} is an option")


# ---- Kubernetes ----

def manifests():
    return [d for p in glob.glob(os.path.join(DEPLOY, "kubernetes", "*.yaml"))
            for d in documents(os.path.relpath(p, ROOT))]


def one(kind):
    found = [d for d in manifests() if d["kind"] == kind]
    equal(len(found), 1, kind)
    return found[0]


def test_kubernetes_says_what_it_must():
    spec = one("Deployment")["spec"]
    equal(spec["replicas"], 1)
    equal(spec["strategy"], {"type": "Recreate"})
    pod = spec["template"]["spec"]
    container = pod["containers"][0]
    for probe, path in (("startupProbe", "/readyz"), ("readinessProbe", "/readyz"),
                        ("livenessProbe", "/livez")):
        equal(container[probe]["httpGet"]["path"], path)
    for part in ("requests", "limits"):
        true({"cpu", "memory"} <= set(container["resources"][part]), container["resources"])
    equal(container["securityContext"]["readOnlyRootFilesystem"], True)
    equal(container["securityContext"]["capabilities"], {"drop": ["ALL"]})
    equal(pod["securityContext"]["runAsUser"], 65532)
    mounted = {m["name"]: m["mountPath"] for m in container["volumeMounts"]}
    equal(mounted["data"], "/data")
    claims = {d["metadata"]["name"] for d in manifests() if d["kind"] == "PersistentVolumeClaim"}
    for volume in pod["volumes"]:
        true(volume["name"] in mounted, volume)
        if "persistentVolumeClaim" in volume:
            true(volume["persistentVolumeClaim"]["claimName"] in claims, volume)
    labels = spec["template"]["metadata"]["labels"]
    equal(one("Service")["spec"]["selector"], labels)
    equal(one("NetworkPolicy")["spec"]["podSelector"]["matchLabels"], labels)
    known = read("server/base/settings.h")
    for entry in container["env"]:
        flag = entry["name"][len("REBASIND_"):].lower().replace("_", "-")
        true(f'"{flag}"' in known, f"{entry['name']} is an option")
    listed = one("Kustomization")["resources"]
    files = {os.path.basename(p) for p in glob.glob(os.path.join(DEPLOY, "kubernetes", "*.yaml"))}
    equal(files, {*listed, "kustomization.yaml"})
    equal(one("Kustomization")["images"], [{"name": "rebasind", "newTag": VERSION}])


def test_kubernetes_fits_the_schemas():
    """Each manifest against the schema of its kind (kubernetes-models, from npm)."""
    os.makedirs(NPM, exist_ok=True)
    for name in ("package.json", "package-lock.json", "kubernetes.mjs"):
        shutil.copy(os.path.join(HERE, name), NPM)
    if not os.path.isdir(os.path.join(NPM, "node_modules", "kubernetes-models")):
        subprocess.run(["npm", "ci", "--silent", "--ignore-scripts", "--no-audit", "--no-fund"],
                       cwd=NPM, check=True)
    r = subprocess.run(["node", os.path.join(NPM, "kubernetes.mjs")],
                       input=json.dumps([d for d in manifests() if d["kind"] != "Kustomization"]),
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    equal(r.returncode, 0, r.stdout)
    equal(len(r.stdout.splitlines()), len(manifests()) - 1, r.stdout)


run([test_unit_is_locked_down, test_unit_is_valid, test_unit_allows_what_the_daemon_calls,
     test_proxies_accept_their_files, test_rules, test_rules_name_metrics_that_exist,
     test_every_alert_is_tested_and_explained, test_dashboard, test_dockerfile,
     test_compose_is_valid, test_compose,
     test_kubernetes_says_what_it_must, test_kubernetes_fits_the_schemas])

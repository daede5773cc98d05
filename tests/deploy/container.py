"""What the tests of deploy/ need: the image in runc, the three proxies in front of it, curl.

tests/deploy/image.sh makes the image; WORK ($RB_DEPLOY_WORK, default build/deploy-test) holds it.
Everything listens on loopback, on free ports, and is ended by its process id.
"""
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.realpath(os.path.join(HERE, "..", ".."))
DEPLOY = os.path.join(ROOT, "deploy")
FIXTURES = os.path.join(ROOT, "tests", "fixtures")
WORK = os.path.realpath(os.environ.get("RB_DEPLOY_WORK", os.path.join(ROOT, "build", "deploy-test")))
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))

from daemon import Reply, equal, run, true  # noqa: E402,F401

UID = 65532
TOKEN = "a-token-of-the-deploy-tests-0123456789"


def image():
    """Builds the image if anything of it has changed; returns the bundle's folder."""
    if os.environ.get("RB_DEPLOY_BUILT") != "1":
        subprocess.run([os.path.join(ROOT, "deploy", "install-deps.sh"), "--tests"], check=True)
        subprocess.run([os.path.join(HERE, "image.sh"), WORK], check=True)
        os.environ["RB_DEPLOY_BUILT"] = "1"
    return os.path.join(WORK, "bundle")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(what, seconds, condition):
    """Polls until condition() is true; its value."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {seconds} s")


def mib(n):
    return f"{n / 2**20:.1f} MiB"


class Container:
    """The image under runc as Docker would run it with --read-only --cap-drop=ALL
    --security-opt=no-new-privileges -v DATA:/data -v FIXTURES:/models:ro, but on the machine's own
    loopback, so that the proxies reach it without a bridge. With as_is it has a network of its own
    instead, and no variables but the image's own."""

    def __init__(self, env=None, data=None, mounts=(), args=None, token=True, as_is=False):
        bundle = image()
        self.as_is = as_is
        self.folder = tempfile.mkdtemp(prefix="rebasind-deploy-")
        self.data = data or os.path.join(self.folder, "data")
        os.makedirs(self.data, exist_ok=True)
        os.chown(self.data, UID, UID)
        os.chmod(self.data, 0o700)
        self.secrets = os.path.join(self.folder, "secrets")
        os.mkdir(self.secrets, 0o755)
        with open(os.path.join(self.secrets, "token"), "w") as f:
            f.write(TOKEN + "\n")
        os.chmod(f.name, 0o400)
        os.chown(f.name, UID, UID)
        self.port = free_port()
        self.env = {} if as_is else {
            "REBASIND_LISTEN": f"127.0.0.1:{self.port}",
            "REBASIND_IMPORT_ROOT": "/models",
            "REBASIND_SANDBOX": "require",
        }
        if token and not as_is:
            self.env["REBASIND_TOKEN_FILE"] = "/run/secrets/token"
        self.env.update(env or {})
        self.name = os.path.basename(self.folder)
        self.process = None
        self.pid = None
        self.log_path = os.path.join(self.folder, "log")
        self._write_bundle(bundle, args, [
            (self.data, "/data", "rw"), (FIXTURES, "/models", "ro"),
            (self.secrets, "/run/secrets", "ro"), *mounts])

    def _write_bundle(self, bundle, args, mounts):
        mounts = {target: (source, target, mode) for source, target, mode in mounts}.values()
        with open(os.path.join(bundle, "config.json")) as f:
            config = json.load(f)
        process = config["process"]
        process["terminal"] = False
        process["capabilities"] = {}
        process["noNewPrivileges"] = True
        process["rlimits"] = [{"type": "RLIMIT_NOFILE", "hard": 4096, "soft": 1024}]
        env = dict(e.split("=", 1) for e in process["env"])
        env.update(self.env)
        process["env"] = [f"{k}={v}" for k, v in env.items()]
        if args:
            process["args"] = process["args"][:1] + args
        config["root"] = {"path": os.path.join(bundle, "rootfs"), "readonly": True}
        config["mounts"] = [m for m in config["mounts"] if m["destination"] not in
                            {"/etc/resolv.conf", "/etc/hosts", *(t for _, t, _ in mounts)}]
        for source, target, mode in mounts:
            config["mounts"].append({"destination": target, "type": "bind", "source": source,
                                     "options": ["rbind", "nosuid", "nodev", "noexec", mode]})
        linux = config["linux"]
        shared = ("user",) if self.as_is else ("user", "network")
        linux["namespaces"] = [n for n in linux["namespaces"] if n["type"] not in shared]
        linux.pop("uidMappings", None)
        linux.pop("gidMappings", None)
        linux["cgroupsPath"] = f"/rebasind-test/{self.name}"
        self.config = config
        # Mount points do not appear by themselves on a root that is read-only.
        for _, target, _ in mounts:
            os.makedirs(os.path.join(bundle, "rootfs", target.lstrip("/")), exist_ok=True)
        with open(os.path.join(self.folder, "config.json"), "w") as f:
            json.dump(config, f, indent=1)

    def runc(self, *words):
        return ["runc", "--root", os.path.join(WORK, "runc"), *words]

    def start(self, ready=True):
        pid_file = os.path.join(self.folder, "pid")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(pid_file)
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.runc("run", "--bundle", self.folder, "--pid-file", pid_file, self.name),
                stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        if ready:
            wait_for("ready", 30, self._is_ready)
            with open(pid_file) as f:
                self.pid = int(f.read())
        return self

    def _is_ready(self):
        if self.process.poll() is not None:
            raise AssertionError(f"container ended with {self.process.returncode}:\n{self.log()}")
        if self.as_is:
            return self.execute("/usr/bin/rebasind", "health")[0] == 0
        with contextlib.suppress(OSError):
            return self.get("/readyz").status == 200

    def output(self):
        """Runs it to its end, as `docker run --rm` does; what it writes to standard output."""
        r = subprocess.run(self.runc("run", "--bundle", self.folder, self.name), text=True,
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, timeout=60)
        equal(r.returncode, 0, r.stderr)
        return r.stdout

    def log(self):
        with contextlib.suppress(FileNotFoundError), open(self.log_path, errors="replace") as f:
            return f.read()
        return ""

    def log_rows(self):
        rows = []
        for line in self.log().splitlines():
            with contextlib.suppress(ValueError):
                rows.append(json.loads(line))
        return rows

    def execute(self, *args):
        """A process beside the daemon in the container: (status, output)."""
        r = subprocess.run(self.runc("exec", self.name, *args), stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, timeout=60)
        return r.returncode, r.stdout

    def kill(self, number):
        os.kill(self.pid, number)

    def stop(self, number=signal.SIGTERM, timeout=30):
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.kill(number)
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill(signal.SIGKILL)
            self.process.wait()
            raise AssertionError(f"container did not end within {timeout} s")
        self.process = None
        return status

    def close(self, failed=False):
        if self.process is not None and self.process.poll() is None and self.pid is not None:
            self.stop()
        elif self.process is not None:
            self.process.wait(timeout=10)
        subprocess.run(self.runc("delete", "--force", self.name), stderr=subprocess.DEVNULL)
        if failed:
            sys.stderr.write("---- log of the container ----\n" + self.log()[-6000:] + "\n")
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.close(failed=True)
            raise

    def __exit__(self, kind, value, trace):
        self.close(failed=kind is not None)

    # ---- requests straight to the daemon ----

    def request(self, method, path, body=None, headers=None, timeout=60):
        headers = {"Authorization": f"Bearer {TOKEN}", **(headers or {})}
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data=body,
                                         headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as r:
                return Reply(r.status, r.headers, r.read())
        except urllib.error.HTTPError as e:
            return Reply(e.code, e.headers, e.read())

    def get(self, path, headers=None):
        return self.request("GET", path, headers=headers)

    def post(self, path, body):
        return self.request("POST", path, body)

    def register_fixtures(self):
        for name in ("bert-a", "bert-b"):
            r = self.post("/v1/models", {"name": name, "path": f"/models/models/{name}"})
            equal(r.status, 201, r)
        for name in ("align", "eval"):
            r = self.post("/v1/datasets", {"name": name, "path": f"/models/data/{name}.txt",
                                           "format": "text"})
            equal(r.status, 201, r)

    # ---- memory ----

    def memory(self, field):
        with open(f"/proc/{self.pid}/status") as f:
            return int(re.search(rf"^{field}:\s+(\d+) kB", f.read(), re.M).group(1)) * 1024

    def restart_peak(self):
        with open(f"/proc/{self.pid}/clear_refs", "w") as f:
            f.write("5")


# A job of some seconds with many points to hear of.
DEMO_JOB = {
    "models": {"a": "bert-a", "b": "bert-b"},
    "align": {"components": ["ff", "mha"], "dataset": "align", "max_sequences": 100,
              "max_length": 48},
    "interpolate": {"points": 11},
    "evaluate": {"task": "mlm", "dataset": "eval", "block_size": 48, "max_blocks": 32},
}

# ---- proxies ----

HOSTS = {"root": "merge.lab.example", "kept": "lab.example", "stripped": "apps.lab.example"}
PREFIX = {"root": "", "kept": "/merge", "stripped": "/merge"}
# What the daemon must be told so that all three ways work.
PROXY_ENV = {
    "REBASIND_ALLOWED_HOSTS": ",".join(HOSTS.values()),
    "REBASIND_TRUSTED_PROXIES": "127.0.0.1",
    "REBASIND_ROUTE_PREFIX": "/merge",
}


def make_certificate(folder):
    crt, key = os.path.join(folder, "tls.crt"), os.path.join(folder, "tls.key")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=lab",
                    "-addext", "subjectAltName=" + ",".join(f"DNS:{h}" for h in HOSTS.values()),
                    "-keyout", key, "-out", crt], check=True, stderr=subprocess.DEVNULL)
    return crt, key


class Proxy:
    """One of the shipped configurations, with this machine's ports and paths put in."""

    def __init__(self, upstream):
        self.upstream = upstream
        self.folder = tempfile.mkdtemp(prefix=f"rebasind-{self.kind}-")
        os.chmod(self.folder, 0o755)
        self.crt, self.key = make_certificate(self.folder)
        self.port, self.plain_port = free_port(), free_port()
        self.env = dict(os.environ)
        self.log_path = os.path.join(self.folder, "log")
        self.process = None

    def file(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w") as f:
            f.write(text)
        return path

    def template(self, name, *pairs):
        with open(os.path.join(DEPLOY, name)) as f:
            text = f.read()
        for old, new in pairs:
            true(old in text, f"{old!r} in deploy/{name}")
            text = text.replace(old, new)
        return text

    def check(self):
        r = subprocess.run(self.check_command(), env=self.env, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True)
        equal(r.returncode, 0, r.stdout)

    def __enter__(self):
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(self.command(), env=self.env, stdout=log, stderr=log,
                                            cwd=self.folder)
        try:
            wait_for(f"{self.kind} answers", 20, self._answers)
        except AssertionError:
            self.__exit__(AssertionError, None, None)
            raise
        return self

    def _answers(self):
        if self.process.poll() is not None:
            raise AssertionError(f"{self.kind} ended:\n{self.log()}")
        with contextlib.suppress(OSError):
            return self.curl("root", "/livez").status == 200
        return False

    def log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def __exit__(self, kind, value, trace):
        self.process.terminate()
        self.process.wait(timeout=20)
        if kind is not None:
            sys.stderr.write(f"---- log of {self.kind} ----\n{self.log()[-4000:]}\n")
        shutil.rmtree(self.folder, ignore_errors=True)

    def pids(self):
        """The proxy's process and its children."""
        found = [self.process.pid]
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children") as f:
            found += [int(p) for p in f.read().split()]
        return found

    def resident(self):
        total = 0
        for pid in self.pids():
            with open(f"/proc/{pid}/status") as f:
                total += int(re.search(r"^VmRSS:\s+(\d+) kB", f.read(), re.M).group(1)) * 1024
        return total

    def unnamed(self):
        """Bytes in files that are open and deleted."""
        total = 0
        for pid in self.pids():
            for fd in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    status = os.stat(f"/proc/{pid}/fd/{fd}")
                    if stat.S_ISREG(status.st_mode) and status.st_nlink == 0:
                        total += status.st_size
        return total

    # ---- through it ----

    def url(self, site, path):
        return f"https://{HOSTS[site]}:{self.port}{PREFIX[site]}{path}"

    def curl_command(self, site, path, *options, raw_url=None):
        return ["curl", "-sS", "--cacert", self.crt, "--resolve",
                f"{HOSTS[site]}:{self.port}:127.0.0.1", "-H", f"Authorization: Bearer {TOKEN}",
                *options, raw_url or self.url(site, path)]

    def curl(self, site, path, *options, raw_url=None):
        r = subprocess.run(self.curl_command(site, path, "-i", *options, raw_url=raw_url),
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=300)
        if r.returncode != 0:
            raise OSError(f"curl ended with {r.returncode}: {r.stderr.decode()}")
        head, body = r.stdout.split(b"\r\n\r\n", 1)
        while re.match(rb"HTTP/\S+ 1\d\d", head):  # 100 Continue
            head, body = body.split(b"\r\n\r\n", 1)
        lines = head.decode().split("\r\n")
        headers = {}
        for line in lines[1:]:
            name, value = line.split(":", 1)
            headers["-".join(w.capitalize() for w in name.split("-"))] = value.strip()
        return Reply(int(lines[0].split()[1]), headers, body)


class Nginx(Proxy):
    kind = "nginx"

    def __init__(self, upstream):
        super().__init__(upstream)
        text = self.template(
            "nginx.conf", ("/run/nginx.pid", f"{self.folder}/pid"), ("/var/log/nginx", self.folder),
            ("/etc/nginx/tls/rebasind", f"{self.folder}/tls"),
            ("127.0.0.1:8686", f"127.0.0.1:{upstream}"),
            ("listen 443", f"listen 127.0.0.1:{self.port}"),
            ("listen 80", f"listen 127.0.0.1:{self.plain_port}"))
        text = text.replace("http {\n", f"http {{\n    client_body_temp_path {self.folder}/bodies;\n"
                            f"    proxy_temp_path {self.folder}/replies;\n", 1)
        self.conf = self.file("nginx.conf", text)

    def command(self):
        return ["nginx", "-c", self.conf, "-p", self.folder, "-g", "daemon off;"]

    def check_command(self):
        return ["nginx", "-q", "-t", "-c", self.conf, "-p", self.folder]


class Caddy(Proxy):
    kind = "caddy"

    def __init__(self, upstream):
        super().__init__(upstream)
        self.conf = os.path.join(DEPLOY, "Caddyfile")
        self.env.update({
            "REBASIND_UPSTREAM": f"127.0.0.1:{upstream}",
            "REBASIND_TLS": f"{self.crt} {self.key}",
            "REBASIND_HTTP_PORT": str(self.plain_port), "REBASIND_HTTPS_PORT": str(self.port),
            "XDG_DATA_HOME": self.folder, "XDG_CONFIG_HOME": self.folder, "HOME": self.folder})

    def command(self):
        return ["caddy", "run", "--config", self.conf, "--adapter", "caddyfile"]

    def check_command(self):
        return ["caddy", "validate", "--config", self.conf, "--adapter", "caddyfile"]


class Haproxy(Proxy):
    kind = "haproxy"

    def __init__(self, upstream):
        super().__init__(upstream)
        with open(self.crt) as crt, open(self.key) as key:
            pem = self.file("rebasind.pem", crt.read() + key.read())
        self.conf = self.file("haproxy.cfg", self.template(
            "haproxy.cfg", ("/etc/haproxy/rebasind.pem", pem),
            ("127.0.0.1:8686", f"127.0.0.1:{upstream}"),
            ("bind :443", f"bind 127.0.0.1:{self.port}"),
            ("bind :80", f"bind 127.0.0.1:{self.plain_port}")))

    def command(self):
        return ["haproxy", "-f", self.conf]

    def check_command(self):
        return ["haproxy", "-c", "-q", "-f", self.conf]


PROXIES = (Nginx, Caddy, Haproxy)

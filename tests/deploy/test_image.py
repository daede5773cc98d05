#!/usr/bin/env python3
"""The image: how large, what is in it, as whom it runs, and that it has shut itself in."""
import json
import os
import re
import signal
import socket
import stat
import subprocess
import tempfile
import time

from container import (TOKEN, UID, WORK, Container, equal, image, run, true, wait_for)

MAX_BYTES = 80_000_000


def files(root):
    for folder, _, names in os.walk(root):
        for name in names:
            yield os.path.join(folder, name)


def test_size():
    root = os.path.join(image(), "rootfs")
    total = sum(os.lstat(f).st_size for f in files(root))
    pulled = sum(os.lstat(f).st_size for f in files(os.path.join(WORK, "oci")))
    print(f"      image: {total / 1e6:.1f} MB unpacked, {pulled / 1e6:.1f} MB to pull")
    for path in sorted(files(root), key=lambda f: -os.lstat(f).st_size)[:5]:
        print(f"      {os.lstat(path).st_size / 1e6:6.1f} MB  {os.path.basename(path)}")
    true(total < MAX_BYTES, total)


def test_contents():
    """The binary, its libraries, CA data, records of what they are; no shell, nothing set-user-id."""
    root = os.path.join(image(), "rootfs")
    kinds = {"programs": [], "libraries": [], "other": []}
    for path in files(root):
        name = os.path.relpath(path, root)
        mode = os.lstat(path).st_mode
        true(not mode & (stat.S_ISUID | stat.S_ISGID), name)
        if os.path.islink(path) or not os.path.isfile(path):
            continue
        with open(path, "rb") as f:
            elf = f.read(4) == b"\x7fELF"
        if not elf:
            kinds["other"].append(name)
        elif ".so" in os.path.basename(name):
            kinds["libraries"].append(name)
        else:
            kinds["programs"].append(name)
    equal(kinds["programs"], ["usr/bin/rebasind"])
    for name in kinds["other"]:
        true(name.startswith(("etc/", "usr/share/doc/", "usr/lib/os-release", "var/lib/dpkg/"))
             or name in ("run/secrets", "models"), name)
    true("etc/ssl/certs/ca-certificates.crt" in kinds["other"], kinds["other"])
    records = os.listdir(os.path.join(root, "var/lib/dpkg/status.d"))
    true({"libc6", "libsqlite3-0", "libuv1", "libopenblas0-pthread"} <= set(records), records)
    for package in records:
        true(os.path.exists(os.path.join(root, "usr/share/doc", package, "copyright")), package)


def test_configuration():
    image()
    with open(os.path.join(WORK, "image.json")) as f:
        config = json.load(f)["config"]
    equal(config["User"], "65532:65532")
    equal(list(config["Volumes"]), ["/data"])
    equal(list(config["ExposedPorts"]), ["8686/tcp"])
    equal(config["StopSignal"], "SIGTERM")
    equal(config["Entrypoint"], ["/usr/bin/rebasind"])
    equal(config["Cmd"], ["serve"])
    equal(config["Healthcheck"]["Test"], ["CMD", "/usr/bin/rebasind", "health"])
    for label in ("title", "description", "licenses", "version", "revision"):
        true(config["Labels"].get(f"org.opencontainers.image.{label}"), config["Labels"])


def test_refuses_to_be_open():
    """As the image comes, it listens on every address: without a token that is refused."""
    c = Container(env={"REBASIND_LISTEN": "0.0.0.0:0"}, token=False)
    try:
        c.start(ready=False)
        equal(c.process.wait(20), 2, c.log())
        true("token" in c.log(), c.log())
        c.process = None
    finally:
        c.close()


def test_runs_as_nobody_in_particular():
    with Container() as c:
        with open(f"/proc/{c.pid}/status") as f:
            status = dict(line.split(":\t", 1) for line in f.read().splitlines() if ":\t" in line)
        equal(status["Uid"].split(), [str(UID)] * 4)
        for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            equal(int(status[kind], 16), 0, kind)
        equal(status["NoNewPrivs"], "1")
        equal(status["Seccomp"], "2")
        # The root is read-only to root as well.
        with open(f"/proc/{c.pid}/mountinfo") as f:
            root = next(line.split() for line in f if line.split()[4] == "/")
        true("ro" in root[5].split(","), root)
        # ... and all that the daemon wrote lies in its volume.
        true({"rebasind.db", "lock"} <= set(os.listdir(c.data)), os.listdir(c.data))


def test_tells_of_its_sandbox():
    with Container() as c:
        r = c.get("/readyz?verbose=true")
        detail = {k["name"]: k for k in r.json["checks"]}["sandbox"]["detail"]
        print(f"      {detail}")
        lines = c.log_rows()
        rows = {row["part"]: row for row in lines if row["message"] == "sandbox"}
        equal(sorted(rows), ["landlock", "no_new_privs", "rlimits", "seccomp"])
        for part, row in rows.items():
            # Partial: a kernel older than Landlock's rules for TCP and signals.
            true(row["state"] in ("on", "partial"), row)
            true(f"{part} {row['state']}" in detail, detail)
        true("threads of libraries are outside" not in detail, detail)
        messages = [row["message"] for row in lines]
        true(messages.index("sandbox") < messages.index("listening"), messages)


def write_token(path, token):
    """A token file that only the daemon's user can read; it takes the place of an older one."""
    with open(path + ".new", "w") as f:
        f.write(token + "\n")
    os.chown(path + ".new", UID, UID)
    os.chmod(path + ".new", 0o400)
    os.rename(path + ".new", path)


def status_after_turn(mode):
    """The token file is a link in a folder that the daemon may read. It is turned to a file beside
    that folder, which the container has and the daemon's user owns: what a request with the token
    from there is answered, and the log."""
    fresh = TOKEN[::-1]
    with tempfile.TemporaryDirectory() as links, tempfile.TemporaryDirectory() as elsewhere:
        for folder in (links, elsewhere):
            os.chmod(folder, 0o755)
        os.symlink("/run/secrets/token", os.path.join(links, "token"))
        write_token(os.path.join(elsewhere, "token"), fresh)
        env = {"REBASIND_TOKEN_FILE": "/run/links/token", "REBASIND_SANDBOX": mode}
        with Container(env=env, mounts=[(links, "/run/links", "ro"),
                                        (elsewhere, "/elsewhere", "ro")]) as c:
            equal(c.get("/v1/jobs").status, 200)
            os.symlink("/elsewhere/token", os.path.join(links, "turned"))
            os.rename(os.path.join(links, "turned"), os.path.join(links, "token"))
            r = c.get("/v1/jobs", headers={"Authorization": f"Bearer {fresh}"})
            if r.status == 401:  # lines of the log come after replies
                wait_for("a line about the token", 5, lambda: "valid no longer" in c.log())
            return r.status, c.log()


def test_sandbox_holds():
    """A path that neither the settings nor the data folder name is out of reach, by the kernel: the
    same turn of a link works without the sandbox."""
    status, log = status_after_turn("require")
    equal(status, 401)
    true("valid no longer" in log and "Permission denied" in log, log)
    equal(status_after_turn("off")[0], 200)


def test_health():
    with Container() as c:
        equal(c.execute("/usr/bin/rebasind", "health"), (0, "ready\n"))
        true(c.execute("/usr/bin/rebasind", "health", "--listen", "127.0.0.1:1")[0] == 1)


def test_versions():
    with Container() as c:
        version = c.get("/version").json
        with open(os.path.join(WORK, "image.json")) as f:
            labels = json.load(f)["config"]["Labels"]
        equal(version["version"], labels["org.opencontainers.image.version"])
        revision = labels["org.opencontainers.image.revision"]
        true(revision == "unknown" or version["commit"] == revision[:12], (version, revision))


def test_tokens():
    """A token made beside the running daemon counts at once, and no more once revoked."""
    with Container() as c:
        equal(c.request("GET", "/v1/jobs", headers={"Authorization": "Bearer nonsense"}).status, 401)
        equal(c.get("/v1/jobs").status, 200)
        status, out = c.execute("/usr/bin/rebasind", "token", "create", "--name", "p",
                                "--scopes", "read")
        equal(status, 0, out)
        token = [w for w in out.split() if len(w) >= 32][-1]
        bearer = {"Authorization": f"Bearer {token}"}
        equal(c.get("/metrics", headers=bearer).status, 200)
        equal(c.request("POST", "/v1/jobs", {}, headers=bearer).status, 403)
        status, listed = c.execute("/usr/bin/rebasind", "token", "list")
        name = next(w for w in listed.split() if w.startswith("tok_"))
        equal(c.execute("/usr/bin/rebasind", "token", "revoke", name)[0], 0)
        equal(c.get("/metrics", headers=bearer).status, 401)
        # The token file is read anew when it is exchanged, as a mounted secret is: by renaming.
        fresh = TOKEN[::-1]
        write_token(os.path.join(c.secrets, "token"), fresh)
        equal(c.get("/v1/jobs").status, 401)
        equal(c.get("/v1/jobs", headers={"Authorization": f"Bearer {fresh}"}).status, 200)


def test_notifies_systemd():
    """Type=notify and the watchdog, from inside the sandbox."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        path = os.path.join(folder, "notify")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        listener.bind(path)
        os.chmod(path, 0o777)
        listener.settimeout(10)
        env = {"NOTIFY_SOCKET": "/run/notify/notify", "WATCHDOG_USEC": "400000"}
        with Container(env=env, mounts=[(folder, "/run/notify", "rw")]) as c:
            equal(listener.recv(100), b"READY=1")
            begun = time.monotonic()
            for _ in range(4):
                equal(listener.recv(100), b"WATCHDOG=1")
            true(time.monotonic() - begun < 4, "four signs of life in time")
            c.kill(signal.SIGTERM)
            while (word := listener.recv(100)) == b"WATCHDOG=1":
                pass
            equal(word, b"STOPPING=1")
            equal(c.process.wait(20), 0, c.log())
        listener.close()


def test_page_draws_curves():
    """The page is packed, its script names uPlot, and that is there and runs: without it the page
    would show tables."""
    with Container() as c:
        page = c.get("/").body.decode()
        names = re.findall(r'(?:href|src)="(dashboard/[^"]+)"', page)
        files = {name: c.get("/" + name) for name in names}
        equal({r.status for r in files.values()}, {200}, files)
        app = next(r.body.decode() for n, r in files.items() if n.startswith("dashboard/app"))
        true("import" not in re.findall(r"^\w+", app), "the page's modules in one")
        uplot = set(re.findall(r"uplot-[0-9a-f]+\.js", app))
        equal(len(uplot), 1, uplot)
        path = os.path.join(c.folder, "uplot.js")
        with open(path, "wb") as f:
            f.write(c.get(f"/dashboard/{uplot.pop()}").body)
        r = subprocess.run(["node", "-e", """
            const window = Object.assign(new EventTarget(), {devicePixelRatio: 1});
            const matchMedia = () => new EventTarget();
            const source = require("fs").readFileSync(process.argv[1], "utf8");
            new Function("window", "document", "navigator", "devicePixelRatio", "matchMedia",
                "CustomEvent", source)(window, {}, {language: "en"}, 1, matchMedia, Event);
            if (typeof window.uPlot.paths.linear !== "function") throw new Error("no uPlot");
            """, path], stderr=subprocess.PIPE, text=True)
        equal(r.returncode, 0, r.stderr[-400:])


def elf_wants(path):
    """DF_1_NOW and PIE of an ELF file, by readelf."""
    out = subprocess.run(["readelf", "-hdW", path], stdout=subprocess.PIPE, text=True).stdout
    return "NOW" in out and "DYN (Position-Independent" in out


def test_binary_is_hardened():
    path = os.path.join(image(), "rootfs/usr/bin/rebasind")
    true(elf_wants(path), "position independent, bound at start")
    true(b".debug_info" not in open(path, "rb").read(), "stripped")


run([test_size, test_contents, test_configuration, test_refuses_to_be_open,
     test_runs_as_nobody_in_particular, test_tells_of_its_sandbox, test_sandbox_holds, test_health,
     test_versions, test_page_draws_curves, test_tokens, test_notifies_systemd,
     test_binary_is_hardened])

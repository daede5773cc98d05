"""A real Slurm of two nodes on this machine, as root, with a munged, ports and files of its own. Its daemons are ended by
their process ids. Needs Debian's slurmctld slurmd slurm-client munge (deploy/install-deps.sh --tests)."""
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
COMMANDS = ("slurmctld", "slurmd", "munged", "sbatch", "squeue", "scancel", "scontrol")


def missing():
    """What keeps a cluster from being started here, in words; None if nothing does."""
    lost = [c for c in COMMANDS if shutil.which(c, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") is None]
    if lost:
        return f"{', '.join(lost)} not installed"
    return None if os.geteuid() == 0 else "root is needed"


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class Cluster:
    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix="rebasind-slurm-")
        os.chmod(self.dir, 0o755)
        for name in ("ctld", "spool-n1", "spool-n2"):
            os.mkdir(f"{self.dir}/{name}")
        ctld, n1, n2 = free_ports(3)
        host = subprocess.run(["hostname", "-s"], capture_output=True, text=True).stdout.strip() or socket.gethostname()
        text = open(f"{HERE}/slurm.conf.in").read()
        for key, value in (("DIR", self.dir), ("HOST", host), ("CTLD", ctld), ("N1", n1), ("N2", n2)):
            text = text.replace(f"@{key}@", str(value))
        self.conf = f"{self.dir}/slurm.conf"
        with open(self.conf, "w") as f:
            f.write(text)
        self.env = {**os.environ, "SLURM_CONF": self.conf, "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"}
        with open(f"{self.dir}/munge.key", "wb") as f:
            f.write(os.urandom(128))
        os.chmod(f"{self.dir}/munge.key", 0o400)
        try:
            self.run("munged", "--force", *(f"--{k}={self.dir}/munge.{e}" for k, e in (
                ("key-file", "key"), ("socket", "socket"), ("log-file", "log"), ("pid-file", "pid"),
                ("seed-file", "seed"))))
            self.start_ctld()
            self.start_node("n1")
            self.start_node("n2")
            self.wait(lambda: self.out("sinfo", "-h", "-o", "%T %D").strip() == "idle 2", 60, "two idle nodes")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *_):
        for name in ("slurmd-n1", "slurmd-n2", "ctld", "munge"):
            self.end(name, signal.SIGTERM)
        shutil.rmtree(self.dir, ignore_errors=True)

    def run(self, *words, check=True):
        r = subprocess.run(words, env=self.env, capture_output=True, text=True, timeout=60)
        if check and r.returncode != 0:
            raise AssertionError(f"{words}: {r.stdout}{r.stderr}")
        return r

    def out(self, *words):
        return self.run(*words, check=False).stdout

    def start_ctld(self):
        self.run("slurmctld", "-f", self.conf)

    def start_node(self, name):
        self.run("slurmd", "-f", self.conf, "-N", name)

    def pid(self, name):
        try:
            return int(open(f"{self.dir}/{name}.pid").read())
        except (OSError, ValueError):
            return None

    def end(self, name, number):
        pid = self.pid(name)
        if pid is None:
            return
        try:
            os.kill(pid, number)
            for _ in range(200):
                os.kill(pid, 0)
                time.sleep(0.05)
        except ProcessLookupError:
            pass

    def lose_node(self, name):
        """The node's daemon and all that it started are gone at once."""
        family, pid = [], self.pid(f"slurmd-{name}")
        for p in os.listdir("/proc"):
            try:
                text = open(f"/proc/{p}/environ", "rb").read() if p.isdigit() else b""
                line = open(f"/proc/{p}/cmdline", "rb").read() if p.isdigit() else b""
            except OSError:
                continue
            if f"SLURMD_NODENAME={name}".encode() in text and self.conf.encode() in text:
                family.append(int(p))
            elif b"slurmstepd" in line:
                try:
                    if int(open(f"/proc/{p}/stat").read().rsplit(")", 1)[1].split()[1]) == pid:
                        family.append(int(p))
                except OSError:
                    pass
        for p in [pid, *family]:
            try:
                os.kill(p, signal.SIGKILL)
            except ProcessLookupError:
                pass
        return len(family)

    def jobs(self):
        """Those of the queue that are not over."""
        return [line for line in self.out("squeue", "-h", "-r", "-o", "%A %T %j").split("\n") if line]

    def wait(self, done, seconds, what):
        deadline = time.monotonic() + seconds
        while not done():
            if time.monotonic() > deadline:
                raise AssertionError(f"not in {seconds} s: {what}; {self.out('squeue')}{self.out('sinfo')}")
            time.sleep(0.1)

"""What the tests of faults share: the shim (shim.c), its control and its journal, and a disk that shows
what a journal leaves when the process or the power goes.
"""
import mmap
import os
import struct
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))


def build_shim(folder, memory):
    """Compiles the shim into folder. memory: with failing allocations, so not for sanitized builds."""
    path = f"{folder}/shim.so"
    subprocess.run(["cc", "-std=c17", "-shared", "-fPIC", "-O1", "-g", "-Wall", "-Wextra", "-Werror",
                    *(["-DRB_FAULTS_MEMORY"] if memory else []), "-o", path, f"{HERE}/shim.c"],
                   check=True)
    return path


def environment(shim, control=None, journal=None):
    """What a daemon is started with to be under the shim."""
    env = {"LD_PRELOAD": shim}
    if control is not None:
        env["RB_FAULTS_CONTROL"] = control.path
    if journal is not None:
        env["RB_FAULTS_JOURNAL"] = journal
    if os.environ.get("REBASIND_SANITIZED"):  # ASan wants to come first, but can do without
        env["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
    return env


# ---- faults ----

CLASSES = ("memory", "write", "sync", "rename", "open", "reserve")
FILES = CLASSES[1:]
MODULES = ("rebasind", "libsqlite3", "libjansson", "libmicrohttpd", "libc", "libuv")
# libuv aborts where the loop cannot grow its tables; OpenBLAS and the TLS library behind
# libmicrohttpd allocate once, at the start, and have no way to say that they could not.
FAILING = MODULES[:5]
FAULT = struct.Struct("<9Q")


class Control:
    """The faults of a running daemon: set(), clear(), calls(), hits()."""

    def __init__(self, folder):
        self.path = f"{folder}/control"
        with open(self.path, "wb") as f:
            f.write(bytes(FAULT.size * len(CLASSES)))
        self.file = open(self.path, "r+b")
        self.map = mmap.mmap(self.file.fileno(), 0)
        self.clear()

    def set(self, name, first=0, last=None, one_in=0, seed=0, error=0, least_bytes=0,
            modules=FAILING):
        """Counts anew; calls first to last fail, and besides one in so many."""
        bits = sum(1 << MODULES.index(m) for m in modules)
        FAULT.pack_into(self.map, FAULT.size * CLASSES.index(name), 0, 0, first,
                        first if last is None else last, one_in, seed, error, least_bytes, bits)

    def clear(self):
        """No faults; returns how often they struck."""
        hits = sum(self._field(name, 1) for name in CLASSES)
        for name in CLASSES:
            self.set(name)
        return hits

    def _field(self, name, index):
        return FAULT.unpack_from(self.map, FAULT.size * CLASSES.index(name))[index]

    def calls(self, name):
        return self._field(name, 0)

    def close(self):
        self.map.close()
        self.file.close()


# ---- the journal ----

RECORD = struct.Struct("<BBHIQQqQ")


class Record:
    __slots__ = ("kind", "is_folder", "names", "data", "inode", "other", "offset", "length")


def read_journal(path):
    with open(path, "rb") as f:
        text = f.read()
    at, records = 0, []
    while at < len(text):
        r = Record()
        kind, is_folder, name_bytes, data_bytes, r.inode, r.other, r.offset, r.length = \
            RECORD.unpack_from(text, at)
        at += RECORD.size
        r.kind, r.is_folder = chr(kind), bool(is_folder)
        r.names = text[at:at + name_bytes].decode().split("\0")
        at += name_bytes
        r.data = text[at:at + data_bytes]
        at += data_bytes
        records.append(r)
    return records


# ---- the disk ----

class File:
    """version counts changes; synced is what a sync has made last, whole what it held when it was
    given its name."""
    __slots__ = ("data", "version", "synced", "synced_version", "whole_version")

    def __init__(self):
        self.data, self.version = bytearray(), 0
        self.synced, self.synced_version, self.whole_version = b"", 0, None


class Folder:
    __slots__ = ("names", "synced")

    def __init__(self):
        self.names, self.synced = {}, {}


def temporary(path):
    """Names under which a file may be in the making, or has nothing in it; the database has its own
    ways."""
    return (path.startswith("tmp/") or path.endswith(".tmp") or path in ("lock", "reserve", "tokens.lock")
            or path.startswith("rebasind.db"))


class Disk:
    """Replays a journal. A view says what is found after the end:

      process   the process died: all that it did
      power     the power failed on the strictest of disks: what was not synced never was
      names     the power failed on a disk that keeps names and lengths before data: where data was
                not synced there are zeros
    """
    VIEWS = ("process", "power", "names")

    def __init__(self, inode, name):
        """The daemon's data folder is `name` in the folder of that inode, which was there before."""
        self.parent, self.name = Folder(), name
        self.nodes = {inode: self.parent}

    def apply(self, r):
        if r.kind == "P":
            return
        node, other = self.nodes.get(r.inode), self.nodes.get(r.other)
        if r.kind == "C":
            self.nodes[r.other] = made = Folder() if r.is_folder else File()
            if node is not None:
                node.names[r.names[0]] = made
        elif node is None:
            return  # not in the data folder
        elif r.kind == "S":
            if isinstance(node, Folder):
                node.synced = dict(node.names)
            else:
                node.synced, node.synced_version = bytes(node.data), node.version
        elif r.kind == "R":
            other.names[r.names[1]] = moved = node.names.pop(r.names[0])
            self._named(moved, other, r.names[1])
        elif r.kind == "L":
            node.names[r.names[0]] = other
        elif r.kind == "U":
            del node.names[r.names[0]]
        else:
            self._change(node, r)

    def _named(self, file, folder, name):
        if isinstance(file, File) and not name.endswith(".tmp"):
            file.whole_version = file.version

    @staticmethod
    def _change(file, r):
        file.version += 1
        end = r.offset + len(r.data) if r.kind == "W" else r.offset + r.length
        if r.kind == "T":
            del file.data[r.offset:]
        if len(file.data) < end:
            file.data += bytes(end - len(file.data))
        if r.kind == "W":
            file.data[r.offset:end] = r.data

    def files(self, view):
        """{path: file}, and the set of folders."""
        found, folders = {}, []

        def walk(folder, path):
            for name, node in (folder.synced if view == "power" else folder.names).items():
                if isinstance(node, Folder):
                    folders.append(path + name)
                    walk(node, f"{path}{name}/")
                else:
                    found[path + name] = node
        root = (self.parent.synced if view == "power" else self.parent.names).get(self.name)
        if root is not None:
            walk(root, "")
        return found, folders

    @staticmethod
    def content(file, view):
        if view == "process" or file.synced_version == file.version:
            return file.data
        if view == "power":
            return file.synced
        return file.synced[:len(file.data)].ljust(len(file.data), b"\0")

    @staticmethod
    def is_whole(file, view):
        return file.whole_version == (file.version if view == "process" else file.synced_version)

    def write_to(self, folder, view):
        found, folders = self.files(view)
        for path in folders:
            os.makedirs(f"{folder}/{path}", 0o700, exist_ok=True)
        for path, file in found.items():
            if not path.endswith("-shm"):  # SQLite's, made anew after a crash
                with open(f"{folder}/{path}", "wb") as f:
                    f.write(self.content(file, view))
                os.chmod(f"{folder}/{path}", 0o600)

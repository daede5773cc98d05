"""Builds wheel and sdist of this package with the standard library alone (PEP 517, 660).

Why not setuptools: pip fetches a build backend from the network before it builds anything, and a lab's machine may have
none. The package is a folder of .py files; a wheel of that is a zip file with three texts beside it.
Both archives are the same bytes each time they are built from the same files.
"""
import base64
import hashlib
import io
import os
import re
import tarfile
import zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
PACKAGE = "rebasind"
LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the oldest date that zip files know


def _read(path):
    with open(os.path.join(HERE, path), "rb") as f:
        return f.read()


def _field(name):
    """A text member of [project]; pyproject.toml stays the one place where it stands."""
    return re.search(rf'^{name} = "([^"]*)"', _read("pyproject.toml").decode(), re.MULTILINE).group(1)


def _metadata():
    return (f"Metadata-Version: 2.1\nName: {_field('name')}\nVersion: {_field('version')}\nSummary: {_field('description')}\n"
            f"License: Apache-2.0\nRequires-Python: {_field('requires-python')}\n"
            "Description-Content-Type: text/markdown\n\n").encode() + _read("README.md")


def _sources():
    return sorted(f"{PACKAGE}/{f}" for f in os.listdir(os.path.join(HERE, PACKAGE)) if f.endswith(".py") or f == "py.typed")


def _stem():
    return f"{_field('name')}-{_field('version')}"


def _wheel(folder, files):
    info = f"{_stem()}.dist-info"
    files = {**files, f"{info}/METADATA": _metadata(),
             f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: rebasind\nRoot-Is-Purelib: true\nTag: py3-none-any\n"}
    rows = []
    name = f"{_stem()}-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(folder, name), "w", zipfile.ZIP_DEFLATED) as z:
        for path, data in files.items():
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            rows.append(f"{path},sha256={digest},{len(data)}")
            _add(z, path, data)
        _add(z, f"{info}/RECORD", ("\n".join(rows) + f"\n{info}/RECORD,,\n").encode())
    return name


def _add(z, path, data):
    member = zipfile.ZipInfo(path, LONG_AGO)
    member.compress_type = zipfile.ZIP_DEFLATED
    member.external_attr = 0o644 << 16
    z.writestr(member, data)


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    return _wheel(wheel_directory, {f: _read(f) for f in _sources()})


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    return _wheel(wheel_directory, {f"{PACKAGE}.pth": (HERE + "\n").encode()})


def build_sdist(sdist_directory, config_settings=None):
    name = f"{_stem()}.tar.gz"
    files = {f: _read(f) for f in ["README.md", "build_backend.py", "pyproject.toml"] + _sources()}
    files["PKG-INFO"] = _metadata()
    with tarfile.open(os.path.join(sdist_directory, name), "w:gz") as tar:
        for path, data in sorted(files.items()):
            member = tarfile.TarInfo(f"{_stem()}/{path}")
            member.size, member.mode = len(data), 0o644
            tar.addfile(member, io.BytesIO(data))
    return name

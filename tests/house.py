#!/usr/bin/env python3
"""The rules of the house that a compiler does not hold, read from the sources.

    tests/house.py             every rule; prints what breaks one, and fails
    tests/house.py --rule paths

A rule is a function below that yields (file, line, words)."""
import argparse
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
FLOORS = ("core", "api", "server")
STRING = re.compile(r'"((?:[^"\\\n]|\\.)*)"')


def without_comments(text):
    """The same lines, comments blanked; strings stay."""
    def blank(match):
        return match.group(0) if match.group(0)[0] in "\"'" else re.sub(r"[^\n]", " ", match.group(0))
    return re.sub(r'//[^\n]*|/\*.*?\*/|"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\'', blank, text, flags=re.S)


def sources(*folders, suffixes=(".c", ".h")):
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in suffixes:
                yield path.relative_to(ROOT), without_comments(path.read_text(encoding="utf-8"))


def strings(text):
    """(line, content) of every string literal that is no #include."""
    for number, line in enumerate(text.split("\n"), 1):
        if not line.lstrip().startswith("#include"):
            for match in STRING.finditer(line):
                yield number, match.group(1)


# ---- paths: server/base/layout.* owns every path in the data folder

PATHS = re.compile(
    r"^(?:%s/)?(?:jobs|models|datasets|cache|tmp)/"  # relative, or behind the data folder
    r"|^(?:lock|tmp|tokens|tokens\.lock)$"
    r"|rebasind\.db"
    r"|^(?:alignment\.safetensors|permutations\.json|barrier\.(?:json|csv))$")


def rule_paths():
    for path, text in sources("server"):
        if path.name.startswith("layout."):
            continue
        for line, content in strings(text):
            if PATHS.search(content):
                yield path, line, f'"{content}" is a path of the data folder: server/base/layout.h has it'


# ---- floors: imports go down, and core knows nothing of the wire

ABOVE = {"core": ("api", "server"), "api": ("server",), "server": ()}
NOT_IN_CORE = re.compile(r"#include <(?:microhttpd|sqlite3|uv|pthread|sodium)\.h>|\bgetenv\(")
POINTER = re.compile(r"^/[a-z_]+(?:/[a-z_0-9]+)*$")


def rule_floors():
    for floor in FLOORS:
        for path, text in sources(floor):
            for number, line in enumerate(text.split("\n"), 1):
                for above in ABOVE[floor]:
                    if line.startswith(f'#include "{above}/'):
                        yield path, number, f"{floor} includes what is above it"
                if floor == "core" and NOT_IN_CORE.search(line):
                    yield path, number, f"core knows no such thing: {line.strip()}"
    raised = ""
    for path, text in sources("core"):
        raised += text if path.name != "status.h" else ""
        for line, content in strings(text):
            if POINTER.match(content) and not content.startswith(("/dev/", "/proc/")):
                yield path, line, f'"{content}" is a pointer into a request: core says what it calls the member'
    text = (ROOT / "core/status.h").read_text(encoding="utf-8")
    for number, line in enumerate(text.split("\n"), 1):
        for status in re.findall(r"X\((RB_E\w+),", line):
            if not re.search(rf"\b{status}\b", raised):
                yield "core/status.h", number, f"nothing in core raises {status}: it belongs into api/status.h"


def main():
    rules = {name[5:]: f for name, f in globals().items() if name.startswith("rule_")}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rule", choices=sorted(rules))
    chosen = parser.parse_args().rule
    broken = 0
    for name, rule in rules.items():
        if chosen in (None, name):
            for path, line, words in rule():
                print(f"{path}:{line}: {name}: {words}")
                broken += 1
    print(f"{broken} place(s) break a rule" if broken else "every rule is kept")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())

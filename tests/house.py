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
HELD = ("core", "api", "server/base", "server/store", "server/work", "server/http", "server/cli")  # by the rules on headers
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
    r"|^(?:lock|reserve|tmp|tokens|tokens\.lock)$"
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
                if floor != "core" and "rb_status_code(" in line:
                    yield path, number, "rb_status_code knows core's alone: rb_problem_code (api/status.h)"
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


# ---- circles: foo.c and foo.h are one unit; no unit needs another that needs it. A header without a
# file of its own (types, the inside of a unit) is part of whoever includes it.


def rule_circles():
    needs, where = {}, {}
    for path, text in sources(*HELD):
        unit = path.with_suffix("")
        for number, line in enumerate(text.split("\n"), 1):
            match = re.match(r'#include "((?:core|api|server)/[^"]+)\.h"', line)
            if match and match.group(1) != str(unit):
                needs.setdefault(str(unit), []).append(match.group(1))
                where[str(unit), match.group(1)] = (path, number)

    state, stack, found = {}, [], []

    def visit(unit):
        state[unit] = "open"
        stack.append(unit)
        for other in needs.get(unit, ()):
            if state.get(other) == "open":
                found.append(stack[stack.index(other):] + [other])
            elif other not in state:
                visit(other)
        stack.pop()
        state[unit] = "closed"

    for unit in sorted(needs):
        if unit not in state:
            visit(unit)
    for circle in found:
        if sum((ROOT / f"{unit}.c").exists() for unit in set(circle)) < 2:
            continue
        yield *where[circle[0], circle[1]], "needs itself: " + " -> ".join(circle)


# ---- headers: what bar.c defines, bar.h declares, or bar_internal.h and the like beside it

TABLES = {"server/cli/commands.h", "server/http/handlers.h"}  # one function of each file
DEFINED = re.compile(r"^(?!static|typedef|#|extern)[A-Za-z_][\w \t*\n]*?[ *(](rb_\w+)\)?\([^;{}]*\)\s*\{", re.M)
DECLARED = re.compile(r"^(?!static|typedef|#)[A-Za-z_][\w \t*\n]*?[ *](rb_\w+)\([^;{}]*\)[^;{}]*;", re.M)


def rule_headers():
    declared = {}
    for path, text in sources(*HELD, suffixes=(".h",)):
        for match in DECLARED.finditer(text):
            declared[match.group(1)] = (path, text.count("\n", 0, match.start(1)) + 1)
    for path, text in sources(*HELD, suffixes=(".c",)):
        for match in DEFINED.finditer(text):
            header, line = declared.get(match.group(1), (None, 0))
            if header is None or str(header) in TABLES:
                continue
            if header != path.with_suffix(".h") and not str(header).startswith(f"{path.with_suffix('')}_"):
                yield header, line, f"{match.group(1)} is defined in {path}"


# ---- unused: what a header declares, somebody calls (the slow references: tests)


def rule_unused():
    users = "".join(text for _, text in sources(*FLOORS, "tests/unit", "tests/api", "tests/fuzz", "tests/bench"))
    counts = {}
    for name in re.findall(r"\brb_\w+", users):
        counts[name] = counts.get(name, 0) + 1
    for path, text in sources(*HELD, suffixes=(".h",)):
        for match in DECLARED.finditer(text):
            if counts[match.group(1)] < 3:  # its declaration, its definition
                yield path, text.count("\n", 0, match.start(1)) + 1, f"nothing calls {match.group(1)}"


# ---- names: core/model/families/ owns the names of tensors

TENSOR = re.compile(r"\.(?:weight|bias|gamma|beta)$")


def rule_names():
    known = set()
    for path, text in sources("core/model/families"):
        for _, content in strings(text):
            if TENSOR.search(content):
                known.update(part for part in content.split(".") if "_" in part or part[:1].isupper())
    for floor in FLOORS:
        for path, text in sources(floor):
            if path.parts[:3] == ("core", "model", "families"):
                continue
            for line, content in strings(text):
                if TENSOR.search(content) or "." in content and known & set(content.split(".")):
                    yield path, line, f'"{content}" is a tensor\'s name: a family\'s table has it'


# ---- method: every METHOD n in a comment is a section of docs/method.md


def rule_method():
    sections = set(re.findall(r"^## (\d+)\.", (ROOT / "docs/method.md").read_text(encoding="utf-8"), re.M))
    for folder in FLOORS:
        for path in sorted((ROOT / folder).rglob("*.[ch]")):
            for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
                for section in re.findall(r"METHOD (\d+)", line):
                    if section not in sections:
                        yield path.relative_to(ROOT), number, f"docs/method.md has no section {section}"


# ---- architecture: what ARCHITECTURE.md names is there

NAMED = re.compile(r"[\w./*-]+\.(?:c|h|py|md|yaml|sh|txt)|[\w.-]+(?:/[\w.-]+)+/?")
NOT_NAMES = {"bar.c", "bar.h"}  # of an example
FOLDERS = ("core", "api", "server", "tests", "docs", "deploy", "migrations", "clients")


def rule_architecture():
    """A path must be one of the tree, or the end of one; rb_… must be in a header. What lies in a data folder is
    spelled in layout.h."""
    layout = (ROOT / "server/base/layout.h").read_text(encoding="utf-8")
    paths = [path.relative_to(ROOT).as_posix() for folder in FOLDERS for path in (ROOT / folder).rglob("*")
             if "node_modules" not in path.parts]
    ends = {"/" + path for path in paths} | {"/" + path.name for path in ROOT.iterdir()}
    names = {end.rsplit("/", 1)[1] for end in ends}
    words = set()
    for folder in FLOORS:
        for path in (ROOT / folder).rglob("*.h"):
            words.update(re.findall(r"\brb_\w+", path.read_text(encoding="utf-8")))
    for number, line in enumerate((ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").split("\n"), 1):
        for name in re.findall(r"`([^`]+)`", line):
            known = name.rstrip("/").removesuffix(".*")
            if name.startswith("rb_"):
                stem = name.rstrip("…")
                if stem not in words and not (name != stem and any(w.startswith(stem) for w in words)):
                    yield "ARCHITECTURE.md", number, f"no header declares {name}"
            elif NAMED.fullmatch(name) and name not in NOT_NAMES and known not in layout:
                if not any(end.endswith("/" + known) for end in ends) and not (
                        name.endswith(".*") and known.rsplit("/", 1)[-1] + ".c" in names):
                    yield "ARCHITECTURE.md", number, f"there is no {name}"


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

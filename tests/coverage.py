"""python3 tests/coverage.py BUILD: what tests/coverage.sh prints, and its exit status.

A header's or a shared source's lines are counted once, as run if any test has run them.
"""
import concurrent.futures
import gzip
import json
import os
import subprocess
import sys

LEAST = {"core": 90, "api": 85, "server": 85}  # per cent of lines
WORST = 15


def reports(notes):
    """gcov's own words about some object files."""
    out = subprocess.run(["gcov", "--json-format", "--stdout", *notes], capture_output=True,
                         check=True).stdout
    if out[:2] == b"\x1f\x8b":
        out = gzip.decompress(out)
    return [json.loads(text) for text in out.splitlines()]


def counts(build, root):
    """{file: {line: runs}} of the libraries and the daemon."""
    batches = [[os.path.join(folder, n) for n in names if n.endswith(".gcno")]
               for folder, _, names in os.walk(build) if f"{build}/tests" not in folder]
    lines = {}
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for report in (r for found in pool.map(reports, filter(None, batches)) for r in found):
            for file in report["files"]:
                name = os.path.relpath(os.path.join(report["current_working_directory"],
                                                    file["file"]), root)
                if name.split(os.sep)[0] in LEAST:
                    seen = lines.setdefault(name, {})
                    for line in file["lines"]:
                        n = line["line_number"]
                        seen[n] = seen.get(n, 0) + line["count"]
    return lines


def share(files):
    """Per cent of the lines that ran, and how many lines there are."""
    total = sum(len(f) for f in files)
    return 100 * sum(n > 0 for f in files for n in f.values()) / max(total, 1), total


def main():
    build = os.path.abspath(sys.argv[1])
    with open(f"{build}/CMakeCache.txt", encoding="utf-8") as f:
        root = next(line.split("=", 1)[1].strip() for line in f
                    if line.startswith("CMAKE_HOME_DIRECTORY"))
    lines = counts(build, root)
    if not any(n for f in lines.values() for n in f.values()):
        sys.exit(f"{build} holds no counts: has anything run?")
    folders = sorted({os.path.dirname(name) for name in lines})
    for folder in folders:
        percent, total = share([f for name, f in lines.items() if os.path.dirname(name) == folder])
        print(f"  {percent:5.1f} %  {total:5}  {folder}")
    print("files with the most lines that did not run:")
    missed = sorted(lines.items(), key=lambda item: sum(n == 0 for n in item[1].values()))
    for name, f in missed[:-WORST - 1:-1]:
        numbers = [n for n in sorted(f) if f[n] == 0]
        print(f"  {len(numbers):4} of {len(f):4}  {name}: {' '.join(map(str, numbers[:24]))}"
              + (" …" if len(numbers) > 24 else ""))
    failed = False
    for floor, least in LEAST.items():
        percent, total = share([f for name, f in lines.items() if name.startswith(floor + os.sep)])
        print(f"{floor:8} {percent:5.1f} % of {total} lines; at least {least} %")
        failed = failed or percent < least
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()

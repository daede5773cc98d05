"""The metrics there are, and those that a text or an expression names."""
import os
import re

from container import ROOT


def read(path):
    with open(os.path.join(ROOT, path)) as f:
        return f.read()


def metric_names():
    """The table of server/base/metrics.h, with the series a histogram has; and Prometheus's up."""
    names = {"up"}
    for kind, name in re.findall(r"X\(\w+, (GAUGE|COUNTER|HISTOGRAM), \"(\w+)\"",
                                 read("server/base/metrics.h")):
        name = "rebasind_" + name
        names |= {name + s for s in ("_bucket", "_sum", "_count")} if kind == "HISTOGRAM" \
            else {name}
    if len(names) < 25:
        raise AssertionError(f"the table of metrics is no longer read: {names}")
    return names


def used_metrics(expression):
    bare = re.sub(r'"[^"]*"', '""', expression)
    return set(re.findall(r"\b(rebasind_\w+|up)\b", bare))


def documented():
    return set(re.findall(r"`(rebasind_\w+)", read("docs/operations.md")))

"""What was measured, as aligned text, as markdown for README, and where and how it was measured."""

import os
import platform
import shlex
from datetime import date

GROUPS = {
    "networks": "networks, ms",
    "operations": "operations, forward and backward, ms",
    "primitives": "kernels, ms",
    "sweep": "growing sizes, forward and backward, ms",
    "memory": "peak memory of a training step, MB",
}


def machine(threads: int) -> dict:
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "python": platform.python_version(),
        "date": date.today().isoformat(),
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def heading(report: dict) -> list[str]:
    """Machine, date, command and ceilings: what a figure means nothing without."""
    m, ceilings = report["machine"], report["ceilings"]
    against = f", against PyTorch {report['peer'].removeprefix('torch ')}" if report["peer"] else ""
    return [
        f"{m['processor']}, {m['threads']} of {m['cores']} cores, {m['date']}, backend {report['backend']}{against}",
        f"medians of {report['rounds']} rounds in turn; command: {report['command']}",
        f"ceilings: matrix product {ceilings['gflops']:.0f} GFLOP/s, copy {ceilings['gbytes']:.1f} GB/s",
    ]


def command(argv: list[str]) -> str:
    """The command line that makes this report."""
    return shlex.join(["minseg", *argv])


def _text(value, form: str) -> str:
    return "" if value is None else format(value, form)


def ratio(row: dict) -> str:
    """0.73 (0.70-0.77): the median of the rounds' ratios, and where the middle half of them lies."""
    spread = "" if row["spread"] is None else " ({:.2f}-{:.2f})".format(*row["spread"])
    return _text(row["ratio"], ".2f") + spread


def _groups(report: dict) -> list[tuple[str, list[dict]]]:
    rows = report["rows"]
    found = [(title, [row for row in rows if row["group"] == group]) for group, title in GROUPS.items()]
    return [(title, members) for title, members in found if members]


def table(report: dict) -> str:
    """The report as aligned text."""
    lines = heading(report)
    for title, rows in _groups(report):
        lines += [
            "",
            f"{title:<38} {'shape':<30} {'minseg':>8} {'GFLOP/s':>8} {'GB/s':>6} {'of ceiling':>10} {'PyTorch':>8} "
            f"{'PyTorch/minseg':>18}",
        ]
        lines += [
            f"{row['name']:<38} {row['shape']:<30} {row['ms']:>8.2f} {_text(row['gflops'], '.0f'):>8} "
            f"{_text(row['gbytes'], '.1f'):>6} {_text(row['share'], '.0%'):>10} {_text(row['peer_ms'], '.2f'):>8} "
            f"{ratio(row):>18}".rstrip()
            for row in rows
        ]
    lines += [f"left out: {reason}" for reason in report["left_out"]]
    return "\n".join(lines)


def markdown(report: dict) -> str:
    """The same rows as tables for README; above 1 minseg is faster, or needs less memory."""
    lines = [f"{line}  " for line in heading(report)]
    for title, rows in _groups(report):
        lines += ["", f"| {title} | shape | minseg | PyTorch | PyTorch / minseg | of ceiling |"]
        lines += ["| --- | --- | ---: | ---: | ---: | ---: |"]
        lines += [
            f"| {row['name']} | {row['shape']} | {row['ms']:.2f} | {_text(row['peer_ms'], '.2f')} | {ratio(row)} "
            f"| {_text(row['share'], '.0%')} |"
            for row in rows
        ]
    return "\n".join(lines) + "\n"

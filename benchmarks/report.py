"""What models.py found, against what the machine can do, as tables and pictures for the documents."""

from __future__ import annotations

import json
import pathlib
import re
import subprocess
import tempfile
from collections.abc import Iterable
from typing import Any, NamedTuple

import measure

HERE = pathlib.Path(__file__).resolve().parent
Results = dict[str, dict[str, dict[str, Any]]]  # by model and engine


class Peaks(NamedTuple):
    """Limits of one core."""

    float_operations: float  # a second
    byte_operations: float
    streams: list[tuple[int, float]]  # bytes, and bytes a second where so many are read and written in equal parts
    reads: list[tuple[int, float]]  # where they are only read

    def seconds(self, row: dict[str, Any]) -> float:
        """What an operator takes at least: its products at full speed, or its operands at the speed of the cache that holds them."""
        rates = self.reads if row["multiply_adds"] else self.streams
        rate = next((rate for size, rate in rates if row["bytes"] <= size), rates[-1][1])
        operations = self.byte_operations if row["integer"] else self.float_operations
        return max(2 * row["multiply_adds"] / operations, row["bytes"] / rate)


def measure_peaks(compiler: str = "c++") -> Peaks | None:
    """Compiles and runs peak.cc; None where there is no compiler."""
    with tempfile.TemporaryDirectory() as folder:
        program = pathlib.Path(folder) / "peak"
        try:
            command = [compiler, "-std=c++20", "-O3", "-march=native", str(HERE / "peak.cc"), "-o", str(program)]
            subprocess.run(command, check=True, capture_output=True)
            found = json.loads(subprocess.run([program], check=True, capture_output=True, text=True).stdout)
        except (OSError, subprocess.CalledProcessError):
            return None
    return Peaks(**found)


def peaks_line(peaks: Peaks) -> str:
    sizes = " / ".join(f"{size >> 10}" for size, _ in peaks.streams)
    copied, read = (" / ".join(f"{rate * 1e-9:.0f}" for _, rate in rates) for rates in (peaks.streams, peaks.reads))
    rates = f"{peaks.float_operations * 1e-9:.0f} GFLOP/s, {peaks.byte_operations * 1e-9:.0f} 8-bit GOP/s"
    return f"Limits of a core: {rates}; over {sizes} KiB {copied} GB/s copied, {read} GB/s read."


def multiply_adds(found: dict[str, dict[str, Any]]) -> int:
    """Of one inference, as sigrun's profile counts them."""
    return max((sum(row["multiply_adds"] for row in r["operators"]) for r in found.values() if r.get("operators")), default=0)


def share_of_limit(rows: Iterable[dict[str, Any]], peaks: Peaks) -> float:
    rows = list(rows)
    seconds = sum(row["seconds"] for row in rows)
    return sum(peaks.seconds(row) for row in rows) / seconds if seconds else 0.0


def limit_cells(found: dict[str, dict[str, Any]], names: list[str], peaks: Peaks | None) -> list[str]:
    """GFLOP/s of every engine, and the share of the machine's limit that sigrun's operators reach."""
    work = 2 * multiply_adds(found)
    rates = [f"{work / found[n]['ms'] * 1e-6:.0f}" if work and "ms" in found[n] else "-" for n in names]
    profiled = next((r["operators"] for r in found.values() if r.get("operators")), None)
    return [" / ".join(rates), f"{share_of_limit(profiled, peaks):.0%}" if profiled and peaks else "-"]


def by_kind(rows: Iterable[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    kinds: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        kinds.setdefault(row["op"], []).append(row)
    return sorted(kinds.items(), key=lambda kind: -sum(row["seconds"] for row in kind[1]))


def operator_rows(label: str, rows: list[dict[str, Any]], peaks: Peaks | None, least_share: float = 0.01) -> list[list[str]]:
    """A line for every kind of operator that takes at least `least_share` of the time."""
    total, lines = sum(row["seconds"] for row in rows), list[list[str]]()
    for op, some in by_kind(rows):
        seconds = sum(row["seconds"] for row in some)
        if seconds < least_share * total:
            continue
        work, moved = sum(row["multiply_adds"] for row in some), sum(row["bytes"] for row in some)
        rate = f"{2e-9 * work / seconds:.0f}" if work else "-"
        limit = f"{share_of_limit(some, peaks):.0%}" if peaks else "-"
        lines.append(
            [label, op, str(len(some)), f"{seconds * 1e6:.1f}", f"{seconds / total:.0%}", rate, f"{1e-9 * moved / seconds:.0f}", limit]
        )
        label = ""
    return lines


OPERATOR_HEADER = ["model", "operator", "calls", "us", "share", "GFLOP/s", "GB/s", "of limit"]


def operator_tables(results: Results, peaks: Peaks | None) -> str:
    """All models together, then each of them."""
    profiles = {
        model: next(r["operators"] for r in found.values() if r.get("operators")) for model, found in results.items() if has_profile(found)
    }
    together = [row for rows in profiles.values() for row in rows]
    lines = operator_rows("all", together, peaks, 0.002)
    for model, rows in profiles.items():
        lines += operator_rows(model, rows, peaks)
    return measure.table(OPERATOR_HEADER, lines)


def has_profile(found: dict[str, dict[str, Any]]) -> bool:
    return any(r.get("operators") for r in found.values())


def plot(results: Results, names: list[str], file: pathlib.Path) -> None:
    """The speeds, one bar an engine and model."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    models = [m for m in results if any("speed" in results[m].get(n, {}) for n in names[1:])]
    height = 0.8 / max(len(names) - 1, 1)
    figure, axes = pyplot.subplots(figsize=(9, 1.5 + 0.13 * len(models) * len(names)), layout="constrained")
    for position, name in enumerate(names[1:]):
        speeds = [results[m].get(name, {}).get("speed", 0.0) for m in models]
        bars = axes.barh([i + position * height for i in range(len(models))], speeds, height, label=name)
        if name.startswith("sigrun"):
            axes.bar_label(bars, [f"{s:.2f}" if s else "" for s in speeds], fontsize=6, padding=2)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_yticks([i + height * (len(names) - 2) / 2 for i in range(len(models))], models, fontsize="small")
    axes.invert_yaxis()
    axes.margins(y=0.01)
    axes.set_xlabel(f"speed, {names[0]} = 1")
    axes.set_title(measure.machine_line(), fontsize="small")
    axes.legend(fontsize="small")
    figure.savefig(file, dpi=120)
    pyplot.close(figure)


def replace_block(file: pathlib.Path, name: str, text: str) -> None:
    """Puts `text` between the marks <!-- name --> and <!-- /name -->."""
    old = file.read_text()
    block = re.compile(rf"(<!-- {name} -->\n).*?(\n?<!-- /{name} -->)", re.DOTALL)
    if not block.search(old):
        raise ValueError(f"{file}: no block <!-- {name} -->")
    file.write_text(block.sub(lambda found: f"{found[1]}{text}\n<!-- /{name} -->", old))


def summary(results: Results, names: list[str]) -> str:
    """Geometric means against the first engine, by the variant that the files' names end in."""
    variants = sorted({model.rpartition(".")[2] for model in results})
    lines = []
    for variant in ["", *variants]:
        some = {m: found for m, found in results.items() if not variant or m.endswith("." + variant)}
        cells = [variant or "all", str(len(some))]
        for name in names[1:]:
            speeds = [found[name]["speed"] for found in some.values() if "speed" in found.get(name, {})]
            cells.append(
                f"{measure.geometric_mean(speeds):.2f}x" + (f" ({len(speeds)})" if len(speeds) < len(some) else "") if speeds else "-"
            )
        lines.append(cells)
    return measure.table(["models", "number", *names[1:]], lines)

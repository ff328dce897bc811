"""What the benchmarks share: seeded inputs, the machine's description, statistics and tables."""

from __future__ import annotations

import math
import os
import pathlib
import platform
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

TEST_MODELS = pathlib.Path(__file__).resolve().parent.parent / "tests" / "models"
TELLING_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_int8", "amx_bf16", "asimddp", "i8mm", "sve")


def seeded_input(details: dict[str, Any], seed: int) -> np.ndarray:
    """Floats in [-1, 1); 8- and 16-bit integers over a wide range; wider ones small enough to be indices."""
    random = np.random.default_rng(seed)
    shape = [max(int(d), 1) for d in details["shape"]]
    dtype = np.dtype(details["dtype"])
    if dtype.kind == "f":
        return random.uniform(-1, 1, shape).astype(dtype)
    if dtype.kind == "b":
        return random.random(shape) < 0.5
    if dtype.kind not in "iu":
        raise ValueError(f"the input {details['name']!r} is of type {dtype}, which has no random values")
    if dtype.itemsize > 2:
        return random.integers(0, 64, shape).astype(dtype)
    limits = np.iinfo(dtype)
    return random.integers(max(limits.min, -2048), min(limits.max, 2047), shape, endpoint=True).astype(dtype)


def difference(expected: np.ndarray, actual: np.ndarray) -> float:
    """Floats: the largest difference as a share of the largest value. Integers: the largest difference."""
    if expected.shape != actual.shape or expected.dtype != actual.dtype or expected.dtype.kind not in "fiub":
        return math.nan
    if expected.size == 0:
        return 0.0
    largest = np.abs(expected.astype(np.float64) - actual.astype(np.float64)).max()
    return float(largest / (np.abs(expected).max() + 1e-6) if expected.dtype.kind == "f" else largest)


def geometric_mean(values: Sequence[float]) -> float:
    return math.exp(statistics.fmean(math.log(v) for v in values)) if values else math.nan


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    return tuple(float(q) for q in np.quantile(values, (0.25, 0.5, 0.75)))  # type: ignore[return-value]


def machine() -> dict[str, Any]:
    """The processor's name, the cores this process may use, and the instruction sets that matter here."""
    name, flags = platform.machine(), set[str]()
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    for key, _, value in (line.partition(":") for line in lines):
        if key.strip() == "model name":
            name = value.strip()
        elif key.strip() in ("flags", "Features"):
            flags.update(value.split())
    return {"processor": name, "cores": os.cpu_count() or 1, "features": [f for f in TELLING_FLAGS if f in flags]}


def machine_line() -> str:
    m = machine()
    return f"{m['processor']}, {m['cores']} cores, {' '.join(m['features'])}"


def _status_bytes(field: str) -> int:
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":"))


def resident_bytes() -> int:
    """What this process holds now; peak_resident_bytes counts from here on."""
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    return _status_bytes("VmRSS")


def peak_resident_bytes() -> int:
    # Not getrusage: its peak begins with that of the process which started this one.
    return _status_bytes("VmHWM")


def pin(count: int) -> set[int]:
    """Keeps this process on `count` cores, the same ones in every process."""
    cores = set(sorted(os.sched_getaffinity(0))[-count:])
    os.sched_setaffinity(0, cores)
    return cores


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table that also reads well as plain text."""
    cells = [list(header), *(list(row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]

    def line(row: Sequence[str]) -> str:
        return "| " + " | ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))) + " |"

    rule = "|" + "|".join("-" * (w + 1) + ("-" if i == 0 else ":") for i, w in enumerate(widths)) + "|"
    return "\n".join([line(cells[0]), rule, *map(line, cells[1:])])

"""Where the time of a run goes, by operator."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from typing import Any

from sigrun.table import markdown_table


@dataclasses.dataclass(frozen=True)
class OperatorProfile:
    """What one operator did; or, from `Profile.by_op`, all operators of a kind together."""

    op: str
    """The operator's name in TFLite: "CONV_2D"."""
    name: str
    """Of its first output."""
    shape: tuple[int, ...]
    """Of its first output."""
    index: int
    """Its place among the operators of the file; -1 for several together."""
    calls: int
    """In one run."""
    seconds: float
    """Of one run: the median of all."""
    share: float
    """Of the time of all operators."""
    multiply_adds: int
    """Of one run, as the operator is defined; 0 where it is no sum of products."""
    bytes: int
    """That one run reads and writes: inputs, weights and outputs, each once."""
    begin: float
    """Seconds from the start of the last run."""
    last: float
    """Seconds in the last run."""

    @property
    def gflops(self) -> float:
        """10^9 floating-point or integer operations a second: a multiplication and its addition are two."""
        return 2e-9 * self.multiply_adds / self.seconds if self.seconds else 0.0

    @property
    def gigabytes_per_second(self) -> float:
        """Operands moved: 10^9 bytes a second."""
        return 1e-9 * self.bytes / self.seconds if self.seconds else 0.0


class Profile:
    """The operators of a model with their times. Prints as a table, the slowest kinds first."""

    operators: list[OperatorProfile]
    """In the order in which they run."""
    seconds: float
    """Of one run, the median of all; with what lies between the operators."""
    tier: str
    """Of the kernels in use."""
    threads: int

    def __init__(self, fields: dict[str, Any]) -> None:
        """Made by `Interpreter.profile` and `SignatureRunner.profile`."""
        self.seconds, self.tier, self.threads = fields["seconds"], fields["tier"], fields["threads"]
        total = sum(row["seconds"] for row in fields["operators"]) or 1.0
        self.operators = [OperatorProfile(**row | {"share": row["seconds"] / total, "calls": 1}) for row in fields["operators"]]

    def by_op(self) -> list[OperatorProfile]:
        """All operators of a kind as one row, the slowest first."""
        kinds: dict[str, list[OperatorProfile]] = {}
        for row in self.operators:
            kinds.setdefault(row.op, []).append(row)
        return sorted((_together(rows) for rows in kinds.values()), key=lambda row: -row.seconds)

    def slowest(self, count: int | None = None) -> list[OperatorProfile]:
        """Single operators, the slowest first."""
        return sorted(self.operators, key=lambda row: -row.seconds)[:count]

    def table(self, rows: Iterable[OperatorProfile] | None = None) -> str:
        """A table of `rows`, which are those of `by_op()` if not given; Markdown that reads well as plain text."""
        header = ("operator", "shape", "calls", "us", "share", "GFLOP/s", "GB/s")
        return markdown_table(header, [_cells(row) for row in (self.by_op() if rows is None else rows)], texts=2)

    def json(self) -> str:
        """Everything as JSON."""
        rows = [
            dataclasses.asdict(row) | {"gflops": row.gflops, "gigabytes_per_second": row.gigabytes_per_second} for row in self.operators
        ]
        return json.dumps({"seconds": self.seconds, "tier": self.tier, "threads": self.threads, "operators": rows}, indent=1)

    def chrome_trace(self) -> str:
        """The last run in the trace format of chrome://tracing and ui.perfetto.dev."""
        events = [
            {
                "name": row.op,
                "cat": "operator",
                "ph": "X",
                "ts": row.begin * 1e6,
                "dur": row.last * 1e6,
                "pid": 0,
                "tid": 0,
                "args": {
                    "name": row.name,
                    "index": row.index,
                    "shape": list(row.shape),
                    "multiply_adds": row.multiply_adds,
                    "bytes": row.bytes,
                },
            }
            for row in self.operators
        ]
        return json.dumps({"traceEvents": events, "displayTimeUnit": "ns"})

    def __str__(self) -> str:
        return f"{self.table()}\n{self.seconds * 1e6:.1f} us a run, tier {self.tier}, {self.threads} thread{'s' * (self.threads > 1)}"


def _together(rows: list[OperatorProfile]) -> OperatorProfile:
    def total(field: str) -> Any:
        return sum(getattr(row, field) for row in rows)

    sums = {field: total(field) for field in ("calls", "seconds", "share", "multiply_adds", "bytes", "last")}
    return OperatorProfile(op=rows[0].op, name="", shape=(), index=-1, begin=rows[0].begin, **sums)


def _cells(row: OperatorProfile) -> tuple[str, ...]:
    shape = "x".join(map(str, row.shape))
    rate = f"{row.gflops:.1f}" if row.multiply_adds else "-"
    moved = f"{row.gigabytes_per_second:.1f}"
    return (row.op, shape, str(row.calls), f"{row.seconds * 1e6:.1f}", f"{row.share:.1%}", rate, moved)

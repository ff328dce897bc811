"""What a runner has planned: its steps, and the memory that they take."""

from __future__ import annotations

import dataclasses
from typing import Any

from sigrun.table import markdown_table


@dataclasses.dataclass(frozen=True)
class Step:
    """An operator, or several that run as one."""

    op: str
    """"CONV_2D"; "CONV_2D+DEPTHWISE_CONV_2D" for several."""
    name: str
    """Of its output."""
    shape: tuple[int, ...]
    """Of its output; () where only the run will tell."""
    kernel: str
    """How it is computed, and why so where there was a choice."""
    index: int
    """Of its last operator among those of the file's subgraph."""


class Plan:
    """The steps of a runner for its current input shapes, in order. Prints as a table.

    Operators that were computed while planning, or only rename memory, are not there.
    """

    steps: list[Step]
    tier: str
    """Of the kernels in use."""
    threads: int
    whole: bool
    """False if shapes depend on data: the last run's steps are shown, the next may take others."""

    def __init__(self, fields: dict[str, Any]) -> None:
        """Made by `SignatureRunner.plan`."""
        self.steps = [Step(op, name, shape, kernel, index) for index, op, name, shape, kernel in fields["steps"]]
        self.tier, self.threads, self.whole = fields["tier"], fields["threads"], fields["whole"]

    def __str__(self) -> str:
        rows = [(step.op, "x".join(map(str, step.shape)), step.kernel, step.name) for step in self.steps]
        return markdown_table(("operator", "shape", "kernel", "output"), rows, texts=4)


@dataclasses.dataclass(frozen=True)
class Block:
    """A piece of the arena."""

    name: str
    """The tensors that share it, or whose operator's scratch it is."""
    offset: int
    bytes: int
    first: int
    """The first operator that needs it."""
    last: int
    """The last one."""


class Memory:
    """What a runner takes, in bytes. Prints as a table."""

    arena: int
    """Intermediates and scratch."""
    inputs_and_outputs: int
    """Of this runner. Arrays that a call uses where they lie are not counted."""
    weights: int
    """Constants of the model's file, which is mapped and shared."""
    packed: int
    """Weights in the kernels' layouts, shared by all runners of the `Model`."""
    blocks: list[Block]
    """Of the arena, by offset."""

    def __init__(self, fields: dict[str, Any]) -> None:
        """Made by `SignatureRunner.memory`."""
        self.arena, self.inputs_and_outputs = fields["arena"], fields["inputs_and_outputs"]
        self.weights, self.packed = fields["weights"], fields["packed"]
        self.blocks = [Block(*block) for block in fields["blocks"]]

    @property
    def peak(self) -> int:
        """The most bytes of the arena that are needed at one time: what an arena without gaps would take."""
        steps = {block.first for block in self.blocks}
        return max((sum(b.bytes for b in self.blocks if b.first <= step <= b.last) for step in steps), default=0)

    def __str__(self) -> str:
        rows = [(block.name, str(block.offset), str(block.bytes), str(block.first), str(block.last)) for block in self.blocks]
        arena = f"arena {self.arena} (peak {self.peak})"
        sums = f"{arena}, inputs and outputs {self.inputs_and_outputs}, weights {self.weights}, packed {self.packed}"
        return f"{markdown_table(('tensor', 'offset', 'bytes', 'first', 'last'), rows, texts=1)}\n{sums} bytes"

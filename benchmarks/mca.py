#!/usr/bin/env python3
"""Estimates what the inner loops of the NEON kernels reach on ARM cores that are not at hand.

    python mca.py [--mca llvm-mca-19] [--cores cortex-a55,neoverse-n1,neoverse-n2] [--compiler aarch64-linux-gnu-g++]
                  [--flags=-mtune=...] [--loops REGEX] [FILE ...]

Compiles the kernels of the neon tiers to assembly, takes from every function the innermost loop that multiplies most, and lets llvm-mca
schedule it; branches out of its straight line are not taken. Printed are the cycles of an iteration, which share of them its multiply-adds
alone would take ("of peak"), and which share the busiest units would: vector units that also clamp and store, or others ("of bound").
Caches are not part of it. llvm-mca has no model of Cortex-A76: Neoverse N1 is the same core for servers (modelled from LLVM 17 on); N2 has
the products of 8-bit matrices.
"""

from __future__ import annotations

import argparse
import pathlib
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple

import measure

KERNELS = pathlib.Path(__file__).resolve().parent.parent / "cpp" / "kernels"
FLAGS = ["-O3", "-DNDEBUG", "-std=c++20", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", f"-I{KERNELS.parent}"]
FEATURES = {  # as in the tiers' tier.cmake
    "neon": "-fno-schedule-insns -fira-region=all -fno-tree-ter -frename-registers",
    "neon_dotprod": "-march=armv8.2-a+dotprod",
    "neon_i8mm": "-march=armv8.2-a+dotprod+i8mm",
    "neon_bf16": "-march=armv8.2-a+bf16 -fno-schedule-insns -fira-region=all -fno-tree-ter",
}

MULTIPLY = re.compile(r"^\s*(fmla|fmul|fmls|bfdot|bfmmla|smlal2?|umlal2?|mla|mul|sdot|udot|usdot|smmla|ummla|smull2?|sqrdmulh)\s+[vqd]\d")
ACCUMULATE = re.compile(r"^\s*(fmla|bfdot|bfmmla|smlal2?|sdot|usdot|smmla|mla)\s+v\d")
BRANCH = re.compile(r"^\s*(?:b\.?[a-z]{2}|cbn?z\s+\w+,|tbn?z\s+\w+,\s*#?\d+,)\s*(\.L\w+)\s*$")
JUMP = re.compile(r"^\s*(?:b\s|br\s|ret)")
VECTOR = re.compile(r"^\s*(?!ld|st)\w+\s+v\d+\.")
LABEL = re.compile(r"^(\.L\w+|[\w$.]+):")

# 128-bit multiply-adds a cycle.
PEAK = {
    "cortex-a55": 1.0,
    "cortex-a53": 1.0,
    "cortex-a76": 2.0,
    "neoverse-n1": 2.0,
    "neoverse-n2": 2.0,
    "cortex-x1": 4.0,
    "neoverse-v1": 4.0,
}


class Loop(NamedTuple):
    function: str
    lines: list[str]

    def multiply_adds(self) -> int:
        return sum(bool(ACCUMULATE.match(line)) for line in self.lines)

    def vector_operations(self) -> int:
        return sum(bool(VECTOR.match(line)) for line in self.lines)

    def loads(self) -> int:
        return sum(bool(re.match(r"^\s*ld", line)) for line in self.lines)


def assembly(compiler: str, flags: list[str], source: pathlib.Path) -> str:
    features = FEATURES.get(source.parent.name, "").split()
    command = [compiler, *FLAGS, *flags, *features, "-S", "-o", "-", str(source)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def readable(symbol: str) -> str:
    return subprocess.run(["c++filt", symbol], check=True, capture_output=True, text=True).stdout.strip()


def short(function: str) -> str:
    """The function's own name with its template arguments."""
    text = re.sub(r"\(anonymous namespace\)::|sigrun::kernels::(?:\w+::)?", "", re.sub(r"\s*\[clone.*", "", function))
    text = re.sub(r"^(?:void|bool|int)\s+", "", text)
    depth = 0
    for at, character in enumerate(text):
        depth += {"<": 1, ">": -1}.get(character, 0)
        if character == "(" and depth == 0:
            return text[:at]
    return text


def innermost_loops(text: str) -> Iterator[Loop]:
    """From a label to a branch back to it without another branch back: what runs if no branch leads forwards."""
    function, lines, labels, after_loop = "", list[str](), dict[str, int](), 0
    for line in text.splitlines():
        if found := LABEL.match(line):
            if not found[1].startswith(".L"):
                function, lines, labels, after_loop = found[1], [], {}, 0
            labels[found[1]] = len(lines)
        elif line.strip() and not line.strip().startswith((".", "//", "#")):
            lines.append(line)
            if (found := BRANCH.match(line)) and found[1] in labels:
                if labels[found[1]] >= after_loop and not any(JUMP.match(inner) for inner in lines[labels[found[1]] :]):
                    yield Loop(function, lines[labels[found[1]] :])
                after_loop = len(lines)


class Estimate(NamedTuple):
    cycles: float
    bound: float  # of the units, whatever waits for what


def estimate(mca: str, core: str, loop: Loop) -> Estimate:
    runs = 200
    command = [mca, "-mtriple=aarch64", f"-mcpu={core}", "-mattr=+dotprod,+i8mm,+bf16", f"-iterations={runs}", "-instruction-info=0"]
    code = "\n".join(re.sub(r"\.L\w+\s*$", "inner", line) if BRANCH.match(line) else line for line in loop.lines)
    result = subprocess.run([*command, "-"], input=f"inner:\n{code}\n", capture_output=True, text=True, check=True).stdout
    taken, units = (re.search(pattern, result) for pattern in (r"Total Cycles:\s+(\d+)", r"Block RThroughput:\s+([\d.]+)"))
    assert taken is not None
    assert units is not None
    return Estimate(int(taken[1]) / runs, max(float(units[1]), loop.vector_operations() / PEAK[core]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=pathlib.Path, default=sorted(f for f in KERNELS.glob("neon*/*.cc") if f.stem != "probe"))
    parser.add_argument("--mca", default="llvm-mca-19")
    parser.add_argument("--cores", default="cortex-a55,neoverse-n1,neoverse-n2")
    parser.add_argument("--compiler", default="aarch64-linux-gnu-g++")
    parser.add_argument("--flags", default="", help="further flags for the compiler")
    parser.add_argument("--loops", help="all loops of functions that match, instead of one of all that a template makes")
    parser.add_argument("--count", type=int, default=12, help="loops of a file, those with most multiply-adds first")
    args = parser.parse_args()
    cores = args.cores.split(",")

    rows = []
    for source in args.files:
        seen = set[str]()
        loops = sorted(innermost_loops(assembly(args.compiler, args.flags.split(), source)), key=Loop.multiply_adds, reverse=True)
        for loop in loops:
            name = short(readable(loop.function))
            if args.loops is not None and not re.search(args.loops, name):
                continue
            family = name if args.loops is not None else name.partition("<")[0]
            if loop.multiply_adds() == 0 or len(seen) == args.count or family in seen:
                continue
            seen.add(family)
            row = [f"{source.parent.name}/{source.stem}", name, str(len(loop.lines)), str(loop.multiply_adds()), str(loop.loads())]
            for core in cores:
                found = estimate(args.mca, core, loop)
                shares = (loop.multiply_adds() / PEAK[core], found.bound)
                row += [f"{found.cycles:.1f}", *(f"{share / found.cycles:.0%}" for share in shares)]
            rows.append(row)
    header = [
        "file",
        "loop of",
        "instructions",
        "multiply-adds",
        "loads",
        *(cell for core in cores for cell in (f"{core} cycles", "of peak", "of bound")),
    ]
    print(measure.table(header, rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())

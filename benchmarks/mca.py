#!/usr/bin/env python3
"""Estimates what the inner loops of the NEON kernels reach on ARM cores that are not at hand.

    python mca.py [--mca llvm-mca-19] [--cores cortex-a55,neoverse-n1,neoverse-n2] [--compiler aarch64-linux-gnu-g++]
                  [--flags=-mtune=...] [FILE ...]

Compiles the kernels of the neon tiers to assembly, takes from every function the innermost loop that multiplies most, and lets llvm-mca
schedule it. Printed are the cycles of an iteration, the cycles that its multiply-adds alone would take, and their ratio: the share of the
core's peak. Caches are not part of it. llvm-mca has no model of Cortex-A76: Neoverse N1 is the same core for servers (modelled from LLVM 17
on); N2 has the products of 8-bit matrices.
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
    "neon": "-fno-schedule-insns -fira-region=all",
    "neon_dotprod": "-march=armv8.2-a+dotprod",
    "neon_i8mm": "-march=armv8.2-a+dotprod+i8mm",
    "neon_bf16": "-march=armv8.2-a+bf16 -fno-schedule-insns -fira-region=all",
}

MULTIPLY = re.compile(r"^\s*(fmla|fmul|fmls|bfdot|bfmmla|smlal2?|umlal2?|mla|mul|sdot|udot|usdot|smmla|ummla|smull2?|sqrdmulh)\s+[vqd]\d")
ACCUMULATE = re.compile(r"^\s*(fmla|bfdot|bfmmla|smlal2?|sdot|usdot|smmla|mla)\s+v\d")
BRANCH = re.compile(r"^\s*(?:b\.?[a-z]{2}|cbn?z\s+\w+,|tbn?z\s+\w+,\s*#?\d+,)\s*(\.L\w+)\s*$")
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
    """Runs of lines from a label to a branch back to it that hold no other label."""
    function, label, body = "", "", list[str]()
    for line in text.splitlines():
        if found := LABEL.match(line):
            if not found[1].startswith(".L"):
                function = found[1]
            label, body = found[1], []
        elif (found := BRANCH.match(line)) and found[1] == label:
            yield Loop(function, [*body, line])
            body = []
        elif line.strip() and not line.strip().startswith((".", "//", "#")):
            body.append(line)


def cycles(mca: str, core: str, loop: Loop) -> float:
    runs = 200
    command = [mca, "-mtriple=aarch64", f"-mcpu={core}", "-mattr=+dotprod,+i8mm,+bf16", f"-iterations={runs}", "-instruction-info=0"]
    code = "\n".join([*loop.lines[:-1], re.sub(r"\.L\w+\s*$", "inner", loop.lines[-1])])
    result = subprocess.run([*command, "-"], input=f"inner:\n{code}\n", capture_output=True, text=True, check=True).stdout
    found = re.search(r"Total Cycles:\s+(\d+)", result)
    assert found is not None
    return int(found[1]) / runs


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=pathlib.Path, default=sorted(f for f in KERNELS.glob("neon*/*.cc") if f.stem != "probe"))
    parser.add_argument("--mca", default="llvm-mca-19")
    parser.add_argument("--cores", default="cortex-a55,neoverse-n1,neoverse-n2")
    parser.add_argument("--compiler", default="aarch64-linux-gnu-g++")
    parser.add_argument("--flags", default="", help="further flags for the compiler")
    parser.add_argument("--count", type=int, default=12, help="loops of a file, those with most multiply-adds first")
    args = parser.parse_args()
    cores = args.cores.split(",")

    rows = []
    for source in args.files:
        seen = set[str]()
        loops = sorted(innermost_loops(assembly(args.compiler, args.flags.split(), source)), key=Loop.multiply_adds, reverse=True)
        for loop in loops:
            name = short(readable(loop.function))
            family = name.partition("<")[0]
            if loop.multiply_adds() == 0 or len(seen) == args.count or family in seen:
                continue
            seen.add(family)
            row = [f"{source.parent.name}/{source.stem}", name, str(len(loop.lines)), str(loop.multiply_adds()), str(loop.loads())]
            for core in cores:
                taken, bound = cycles(args.mca, core, loop), loop.multiply_adds() / PEAK[core]
                row += [f"{taken:.1f}", f"{bound / taken:.0%}"]
            rows.append(row)
    header = [
        "file",
        "loop of",
        "instructions",
        "multiply-adds",
        "loads",
        *(cell for core in cores for cell in (f"{core} cycles", "of peak")),
    ]
    print(measure.table(header, rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())

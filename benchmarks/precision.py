"""Errors of whole models with lesser precisions: `python benchmarks/precision.py MODEL ...` prints a Markdown table.

The reference is precision "highest" on the portable tier, whose products are float32, added in the plainest order; an error is relative to
the root mean square of an output, the worst output of a model is shown. Inputs are uniform in [-1, 1), from a seed. Each line is a process
of its own, because a process chooses its tier once: the tiers are those of this machine that compute a precision in a way of their own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

import sigrun


def outputs(path: str, precision: str) -> list[list[float]]:
    interpreter = sigrun.Interpreter(model_path=path, precision=precision)
    interpreter.allocate_tensors()
    random = np.random.default_rng(0)
    for details in interpreter.get_input_details():
        dtype = np.dtype(details["dtype"])
        values = random.uniform(-1, 1, details["shape"]) if dtype.kind == "f" else random.integers(0, 64, details["shape"])
        interpreter.set_tensor(details["index"], values.astype(dtype))
    interpreter.invoke()
    return [interpreter.get_tensor(details["index"]).astype(np.float64).ravel().tolist() for details in interpreter.get_output_details()]


def in_process(tier: str, path: Path, precision: str) -> tuple[dict[str, str], list[np.ndarray]]:
    """What each precision comes to on a tier, and the outputs."""
    command = [sys.executable, __file__, str(path), "--outputs-of", precision]
    result = subprocess.run(command, env={**os.environ, "SIGRUN_MAX_ISA": tier}, check=True, capture_output=True, text=True)
    told = json.loads(result.stdout)
    return told["precisions"], [np.array(values) for values in told["outputs"]]


def errors(exact: list[np.ndarray], found: list[np.ndarray]) -> tuple[float, float]:
    worst = mean = 0.0
    for a, b in zip(exact, found, strict=True):
        scale = float(np.sqrt(np.mean(a * a))) or 1.0
        worst = max(worst, float(np.abs(a - b).max()) / scale)
        mean = max(mean, float(np.sqrt(np.mean((a - b) ** 2))) / scale)
    return worst, mean


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--outputs-of", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.outputs_of:
        told = {"precisions": sigrun.build_info()["precisions"], "outputs": outputs(str(arguments.models[0]), arguments.outputs_of)}
        print(json.dumps(told))
        return
    print("| model | tier | products | max | rms |\n|---|---|---|---:|---:|")
    for model in arguments.models:
        _, exact = in_process("scalar", model, "highest")
        seen = set()
        for tier in sigrun.build_info()["supported_tiers"][1:]:
            for precision in ("highest", "high", "medium"):
                meanings, found = in_process(tier, model, precision)
                worst, mean = errors(exact, found)
                row = (meanings[precision], worst, mean)
                if row not in seen:
                    print(f"| {model.stem} | {tier} | {meanings[precision]} | {worst:.1e} | {mean:.1e} |", flush=True)
                seen.add(row)


if __name__ == "__main__":
    main()

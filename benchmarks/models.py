#!/usr/bin/env python3
"""Times .tflite models on sigrun beside other engines.

    python models.py [MODEL_OR_FOLDER ...] [--engines litert,sigrun,openvino-f32] [--threads 1] [--json FILE] [--plot FILE]

Engines: litert, sigrun, sigrun-TIER (sigrun held to avx2, scalar ...), openvino (its default precision), openvino-f32, onnxruntime (through
NAME.onnx beside the model, or tf2onnx). The first one is the baseline. Those that are not installed are left out.

Every engine is a process of its own with the same inputs, threads and cores. They take turns, A B A B ..., one running at a time. A speed
is the median, over all rounds, of the baseline's time in a round over the engine's time in that round: what slows the machine down for a
while slows both. Timed is one inference with inputs in place. `first` is loading and the first inference, `MB` the memory that both added
at their peak, `error` the largest difference from the baseline: as a share of the largest value, or in steps for quantised outputs.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

import engines
import measure
import numpy as np

HERE = pathlib.Path(__file__).resolve().parent


class Contestant:
    """An engine's process, as seen from here."""

    def __init__(self, engine: str, job: dict[str, Any], save: pathlib.Path) -> None:
        self.engine, self.save, self.times = engine, save, list[float]()
        self.process = subprocess.Popen([sys.executable, HERE / "engines.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.facts: dict[str, Any] = self._ask(job | {"engine": engine, "save": str(save)})

    def _ask(self, question: object) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            print(json.dumps(question), file=self.process.stdin, flush=True)
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        return json.loads(answer) if answer else {"failed": f"the process ended with status {self.process.wait()}"}

    def measure(self, seconds: float) -> None:
        answer = self._ask(seconds)
        if isinstance(answer, dict):
            self.facts = answer
        else:
            self.times.append(answer)

    @property
    def running(self) -> bool:
        return "failed" not in self.facts

    def outputs(self) -> list[np.ndarray]:
        with np.load(self.save) as arrays:
            return [arrays[name] for name in arrays.files]

    def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()


def describe(model: pathlib.Path) -> dict[str, Any]:
    """Names, shapes and types of the inputs and outputs, in the file's order."""
    if engines.installed("litert"):
        from ai_edge_litert.interpreter import Interpreter
    else:
        from sigrun import Interpreter
    interpreter = Interpreter(model_path=str(model))

    def plain(details: dict[str, Any]) -> dict[str, Any]:
        return {"name": details["name"], "shape": [int(d) for d in details["shape"]], "dtype": np.dtype(details["dtype"]).name}

    return {"inputs": [plain(d) for d in interpreter.get_input_details()], "outputs": [plain(d) for d in interpreter.get_output_details()]}


def result(contestant: Contestant, baseline: Contestant) -> dict[str, Any]:
    if not contestant.running:
        return contestant.facts
    found = contestant.facts | {"ms": statistics.median(contestant.times) * 1e3}
    if baseline.running:
        ratios = [b / t for b, t in zip(baseline.times, contestant.times, strict=True)]
        found["speed_quartiles"] = measure.quartiles(ratios)
        found["speed"] = found["speed_quartiles"][1]
        expected, actual = baseline.outputs(), contestant.outputs()
        differences = [measure.difference(a, b) for a, b in zip(expected, actual, strict=False)]
        found["error"] = max(differences, default=0.0) if len(expected) == len(actual) else float("nan")
        found["quantised"] = any(a.dtype.kind in "iu" for a in expected)
    return found


def compare(model: pathlib.Path, names: list[str], args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        job = {"model": str(model), "threads": args.threads} | describe(model)
        contestants = [Contestant(name, job, pathlib.Path(folder) / f"{name}.npz") for name in names]
        for _ in range(args.rounds):
            for contestant in contestants:
                if contestant.running:
                    time.sleep(0.005)  # so that another engine's threads stop spinning
                    contestant.measure(args.seconds)
        for contestant in contestants:
            contestant.stop()
        return {c.engine: result(c, contestants[0]) for c in contestants}


def error_text(found: dict[str, Any]) -> str:
    return f"{found['error']:.0f} st" if found.get("quantised") else f"{found['error']:.0e}"


def row(model: str, found: dict[str, dict[str, Any]]) -> list[str]:
    cells = [model]
    for position, r in enumerate(found.values()):
        if "failed" in r:
            cells += ["failed"] * (1 if position == 0 else 2)
        elif position == 0:
            cells.append(f"{r['ms']:.3f}")
        else:
            cells += [f"{r['speed']:.2f}x", error_text(r)] if "speed" in r else [f"{r['ms']:.3f} ms", "-"]
    cells.append(" / ".join(f"{r['first_ms']:.0f}" if "first_ms" in r else "-" for r in found.values()))
    cells.append(" / ".join(f"{r['megabytes']:.0f}" if "megabytes" in r else "-" for r in found.values()))
    return cells


def plot(results: dict[str, dict[str, dict[str, Any]]], names: list[str], file: pathlib.Path) -> None:
    from matplotlib import pyplot

    models = list(results)
    height = 0.8 / max(len(names) - 1, 1)
    _, axes = pyplot.subplots(figsize=(9, 1 + 0.3 * len(models) * len(names)), layout="constrained")
    for position, name in enumerate(names[1:]):
        speeds = [results[m][name].get("speed", 0.0) for m in models]
        axes.barh([i + position * height for i in range(len(models))], speeds, height, label=name)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_yticks([i + height * (len(names) - 2) / 2 for i in range(len(models))], models)
    axes.invert_yaxis()
    axes.set_xlabel(f"speed, {names[0]} = 1")
    axes.set_title(measure.machine_line(), fontsize="small")
    axes.legend()
    pyplot.savefig(file, dpi=150)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "models", nargs="*", type=pathlib.Path, default=[measure.TEST_MODELS], help="files and folders; default: tests/models"
    )
    parser.add_argument("--engines", default="litert,sigrun")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.1, help="how long an engine runs in its turn")
    parser.add_argument("--filter", default="", help="a regular expression that file names match")
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--plot", type=pathlib.Path, help="a picture of the speeds; needs matplotlib")
    return parser.parse_args()


def main() -> int:
    args = parse_arguments()
    names = [name for name in args.engines.split(",") if engines.installed(name)]
    if missing := sorted(set(args.engines.split(",")) - set(names)):
        print("not installed:", ", ".join(missing), file=sys.stderr)
    if not names:
        return 1
    paths = [p for m in args.models for p in (sorted(m.glob("*.tflite")) if m.is_dir() else [m]) if re.search(args.filter, p.name)]
    results: dict[str, dict[str, dict[str, Any]]] = {}
    for path in paths:
        try:
            results[path.stem] = compare(path, names, args)
        except (ValueError, RuntimeError) as error:
            print(f"{path.stem}: left out: {str(error).splitlines()[0][:100]}", file=sys.stderr)
            continue
        for name, r in results[path.stem].items():
            text = r.get("failed") or f"{r['ms']:.3f} ms"
            print(f"{path.stem}: {name}: {text}", file=sys.stderr)

    header = ["model", f"{names[0]} ms", *(cell for n in names[1:] for cell in (n, "error")), "first ms", "MB"]
    print(f"{measure.machine_line()}; {args.threads} thread{'s' * (args.threads > 1)}\n")
    print(measure.table(header, (row(model, found) for model, found in results.items())))
    print()
    for name in names[1:]:
        speeds = [found[name]["speed"] for found in results.values() if "speed" in found[name]]
        if speeds:
            print(f"geometric mean of {name}: {measure.geometric_mean(speeds):.2f}x over {len(speeds)} of {len(results)} models")
    if args.json:
        args.json.write_text(json.dumps({"machine": measure.machine(), "threads": args.threads, "models": results}, indent=1))
    if args.plot:
        plot(results, names, args.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Times .tflite models on sigrun beside other engines.

    python models.py [MODEL_OR_FOLDER ...] [--engines litert,sigrun,openvino-f32] [--threads 1] [--json FILE] [--plot FILE] [--ops]
                     [--write]

Engines: litert, sigrun, sigrun-TIER (sigrun held to avx2, scalar ...), sigrun-PRECISION (high, medium), openvino (its default precision),
openvino-f32, onnxruntime (through NAME.onnx beside the model, or tf2onnx). The first one is the baseline. Those that are not installed are
left out.

Every engine is a process of its own with the same inputs, threads and cores. They take turns, A B A B ..., one running at a time. A speed
is the median, over all rounds, of the baseline's time in a round over the engine's time in that round: what slows the machine down for a
while slows both. Timed is one inference with inputs in place. `first` is loading and the first inference, `MB` the memory that both added
at their peak, `error` the largest difference from the baseline: as a share of the largest value, or in steps for quantised outputs.
GFLOP/s are of the whole model. `of limit` is how near sigrun's operators come to what the machine allows: to its peak of multiply-adds or
to the bandwidth of the cache that holds the operands, whichever binds; peak.cc measures both. --ops says the same of every operator.

--write puts all of it where it is shown: the tables into benchmarks/README.md, their summary into README.md, and operators.md, models.json
and models.png into benchmarks/results.
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
import report

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

    def profile(self) -> None:
        answer = self._ask("profile")
        if isinstance(answer, list):
            self.facts["operators"] = answer

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
            if contestant.running and contestant.engine == "sigrun":
                contestant.profile()
            contestant.stop()
        return {c.engine: result(c, contestants[0]) for c in contestants}


def error_text(found: dict[str, Any]) -> str:
    return f"{found['error']:.0f} st" if found.get("quantised") else f"{found['error']:.0e}"


def row(model: str, found: dict[str, dict[str, Any]], peaks: report.Peaks | None) -> list[str]:
    cells = [model]
    for position, r in enumerate(found.values()):
        if "failed" in r:
            cells += ["failed"] * (1 if position == 0 else 2)
        elif position == 0:
            cells.append(f"{r['ms']:.3f}")
        else:
            cells += [f"{r['speed']:.2f}x", error_text(r)] if "speed" in r else [f"{r['ms']:.3f} ms", "-"]
    cells += report.limit_cells(found, list(found), peaks)
    cells.append(" / ".join(f"{r['first_ms']:.0f}" if "first_ms" in r else "-" for r in found.values()))
    cells.append(" / ".join(f"{r['megabytes']:.0f}" if "megabytes" in r else "-" for r in found.values()))
    return cells


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
    parser.add_argument("--ops", action="store_true", help="print the operators' table as well")
    parser.add_argument("--write", action="store_true", help="rewrite the tables and pictures of the documents")
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

    peaks = report.measure_peaks()
    text = models_text(results, names, args, peaks)
    print(text)
    if args.ops:
        print("\n" + report.operator_tables(results, peaks))
    if args.json:
        args.json.write_text(facts_text(results, args, peaks))
    if args.plot:
        report.plot(results, names, args.plot)
    if args.write:
        write(results, names, args, peaks, text)
    return 0


def models_text(results: report.Results, names: list[str], args: argparse.Namespace, peaks: report.Peaks | None) -> str:
    header = ["model", f"{names[0]} ms", *(cell for n in names[1:] for cell in (n, "error")), "GFLOP/s", "of limit", "first ms", "MB"]
    lines = [
        f"{measure.machine_line()}; {args.threads} thread{'s' * (args.threads > 1)}. Where engines share a column: {' / '.join(names)}."
    ]
    if peaks:
        lines.append(report.peaks_line(peaks))
    lines += ["", measure.table(header, (row(model, found, peaks) for model, found in results.items())), "", "Geometric means:", ""]
    return "\n".join([*lines, report.summary(results, names)])


def facts_text(results: report.Results, args: argparse.Namespace, peaks: report.Peaks | None) -> str:
    facts = {"machine": measure.machine(), "threads": args.threads, "peaks": peaks and peaks._asdict(), "models": results}
    return json.dumps(facts, indent=1) + "\n"


def write(results: report.Results, names: list[str], args: argparse.Namespace, peaks: report.Peaks | None, text: str) -> None:
    """Into the documents of the clone that this file is in."""
    folder = HERE / "results"
    folder.mkdir(exist_ok=True)
    report.plot(results, names, folder / "models.png")
    (folder / "models.json").write_text(facts_text(results, args, peaks))
    title = f"# Operators of the benchmark models\n\n{measure.machine_line()}; one thread. Written by `models.py --write`.\n"
    limits = f"{report.peaks_line(peaks)}\n\n" if peaks else ""
    (folder / "operators.md").write_text(f"{title}{limits}{report.operator_tables(results, peaks)}\n")
    report.replace_block(HERE / "README.md", "models", text)
    short = f"{measure.machine_line()}; {args.threads} thread{'s' * (args.threads > 1)}; speed of an inference, {names[0]} = 1:"
    report.replace_block(HERE.parent / "README.md", "speed", f"{short}\n\n{report.summary(results, names)}")


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""What a call costs beside its arithmetic: sigrun and LiteRT in turns in one process, on one thread.

    python calls.py [--model FILE] [--batch-model FILE] [--rounds 40] [--json FILE]

The models are tiny, so that almost all of the time is the call's own. Cases, with what LiteRT does where it lacks one:
    runner      a signature runner called with keyword arguments
    positional  set_tensor, invoke, get_tensor
    bound       inputs written into a view that is held, invoke, outputs read from a view      (LiteRT: positional)
    unwritten   the same without the write: invoke, and outputs read from a view                (LiteRT: positional)
    out         run(inputs, out=arrays)                                                        (LiteRT: runner)
    batches     a runner whose batch size changes with every call, among eight
Microseconds a call are medians over the rounds; `share` is the median of sigrun's time over LiteRT's in the same round.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import measure
import numpy as np

Call = Callable[[], object]
BATCH_SIZES = (1, 5, 2, 8, 3, 7, 4, 6)


def is_sigrun(module: Any) -> bool:
    return module.__name__ == "sigrun"


def new_runner(module: Any, model: str) -> Any:
    interpreter = module.Interpreter(model_path=model, num_threads=1)
    return interpreter.get_signature_runner(next(iter(interpreter.get_signature_list())))


def inputs_of(runner: Any) -> dict[str, np.ndarray]:
    return {name: measure.seeded_input(details, 0) for name, details in runner.get_input_details().items()}


def runner_call(module: Any, model: str) -> Call:
    runner = new_runner(module, model)
    inputs = inputs_of(runner)
    return lambda: runner(**inputs)


def positional_call(module: Any, model: str) -> Call:
    interpreter = module.Interpreter(model_path=model, num_threads=1)
    interpreter.allocate_tensors()
    inputs = [(details["index"], measure.seeded_input(details, 0)) for details in interpreter.get_input_details()]
    outputs = [details["index"] for details in interpreter.get_output_details()]

    def call() -> list[np.ndarray]:
        for index, value in inputs:
            interpreter.set_tensor(index, value)
        interpreter.invoke()
        return [interpreter.get_tensor(index) for index in outputs]

    return call


def bound_call(module: Any, model: str) -> Call:
    if not is_sigrun(module):
        return positional_call(module, model)
    runner = new_runner(module, model)
    runner.allocate_tensors()
    inputs = [(runner.input_tensor(name), value) for name, value in inputs_of(runner).items()]
    outputs = [runner.output_tensor(name) for name in runner.output_names]

    def call() -> list[np.ndarray]:
        for view, value in inputs:
            view[...] = value
        runner.invoke()
        return outputs

    return call


def unwritten_call(module: Any, model: str) -> Call:
    if not is_sigrun(module):
        return positional_call(module, model)
    runner = new_runner(module, model)
    runner.allocate_tensors()
    outputs = [runner.output_tensor(name) for name in runner.output_names]

    def call() -> list[np.ndarray]:
        runner.invoke()
        return outputs

    return call


def out_call(module: Any, model: str) -> Call:
    if not is_sigrun(module):
        return runner_call(module, model)
    runner = new_runner(module, model)
    inputs = inputs_of(runner)
    out = runner(**inputs)
    return lambda: runner.run(inputs, out=out)


def batches_call(module: Any, model: str) -> Call:
    runner = new_runner(module, model)
    one = inputs_of(runner)
    batches = [{name: np.repeat(value, size, axis=0) for name, value in one.items()} for size in BATCH_SIZES]

    def call() -> None:
        for batch in batches:
            runner(**batch)

    return call


def microseconds(call: Call, seconds: float) -> float:
    """Of one run of `call`, without what the clock takes."""
    repeats, count, began = 32, 0, time.perf_counter()
    while time.perf_counter() < began + seconds:
        for _ in range(repeats):
            call()
        count += repeats
    return (time.perf_counter() - began) / count * 1e6


@contextlib.contextmanager
def silenced_stderr() -> Iterator[None]:
    """LiteRT reports at file-descriptor level that it made its delegate."""
    kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=str(measure.TEST_MODELS / "dense2_dense1.tflite"))
    parser.add_argument("--batch-model", default=str(measure.TEST_MODELS / "dense2_dense1.tflite"), help="one whose batch size is unknown")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=0.02, help="how long a case runs in its turn")
    parser.add_argument("--json", type=pathlib.Path)
    args = parser.parse_args()
    measure.pin(1)

    import ai_edge_litert.interpreter as litert

    import sigrun

    cases = {
        "runner": runner_call,
        "positional": positional_call,
        "bound": bound_call,
        "unwritten": unwritten_call,
        "out": out_call,
        "batches": batches_call,
    }
    rows, results = [], {}
    for name, make in cases.items():
        model, calls_each = (args.batch_model, len(BATCH_SIZES)) if name == "batches" else (args.model, 1)
        with silenced_stderr():
            calls = [make(module, model) for module in (litert, sigrun)]
            rounds = [[microseconds(call, args.seconds) / calls_each for call in calls] for _ in range(args.rounds)]
        theirs, ours = (statistics.median(r[i] for r in rounds) for i in (0, 1))
        share = statistics.median(r[1] / r[0] for r in rounds)
        results[name] = {"litert_us": theirs, "sigrun_us": ours, "share": share}
        rows.append([name, f"{theirs:.2f}", f"{ours:.2f}", f"{share:.2f}"])
    print(measure.machine_line() + "\n")
    print(measure.table(["case", "LiteRT us", "sigrun us", "share"], rows))
    if args.json:
        args.json.write_text(json.dumps({"machine": measure.machine(), "cases": results}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())

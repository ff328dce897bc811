#!/usr/bin/env python3
"""One step of decoding: sigrun and LiteRT in turns in one process, on one thread, beside what reading the weights and caches takes.

    python decode.py [--rounds 15] [--context 1024] [--json FILE] [MODEL ...]

Without models, a transformer of 4 layers is made (width 512, 8 heads, 8192 words), with weights as float32, as int8 and as int4 in blocks
of 32. Of models that are given, the signature "decode" is called. Caches are what inputs and outputs of one type and shape have in common,
in alphabetical order.

LiteRT's runner is called with the caches that it returned. sigrun's keeps them (bind_state). Microseconds a step are medians over the
rounds; `ratio` is the median of LiteRT's time over sigrun's in the same round, `stream` what one core takes to read as many bytes as the
file and the caches have, `bound` sigrun's time over that.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

os.environ["OPENBLAS_NUM_THREADS"] = "1"

import calls
import measure
import numpy as np

Call = Callable[[], object]
LAYERS, WIDTH, HEADS, HIDDEN, WORDS = 4, 512, 8, 2048, 8192


def transformer(mm: Any, context: int) -> Any:
    """A decoding step with caches [1, heads, context, channels]."""
    g = mm.Graph("decode")
    tokens, position = g.input("tokens", [1, 1], "int32"), g.input("position", [1], "int32")
    names = [f"{kind}_cache_{layer}" for layer in range(LAYERS) for kind in "kv"]
    caches = [g.input(name, [1, HEADS, context, WIDTH // HEADS]) for name in names]
    x = g.op("GATHER", [g.weights(64, WIDTH, scale=1), tokens], [1, 1, WIDTH], "GatherOptions", axis=0)
    start = g.op("CONCATENATION", [g.const([0, 0], "int32"), position, g.const([0], "int32")], [4], "ConcatenationOptions", axis=0)
    seen = g.op("LESS_EQUAL", [g.const(np.arange(context), "int32"), position], [context], "LessEqualOptions", dtype="bool")
    mask = g.op("SELECT_V2", [seen, g.const(0, "float32"), g.const(-1e9, "float32")], [context], "SelectV2Options", dtype="float32")

    def norm(v: int) -> int:
        mean = g.op("MEAN", [g.binary("MUL", v, v), g.const([2], "int32")], [1, 1, 1], "ReducerOptions", keepDims=True)
        inverse = g.op("RSQRT", [g.binary("ADD", mean, g.const(1e-5, "float32"))], [1, 1, 1])
        return int(g.binary("MUL", g.binary("MUL", v, inverse), g.const(g.rng.uniform(0.5, 1.5, WIDTH), "float32")))

    def heads(v: int) -> int:
        return int(g.reshape(v, [1, HEADS, 1, WIDTH // HEADS]))

    next_caches = []
    for layer in range(LAYERS):
        h = norm(x)
        query, key, value = (heads(g.dense(h, WIDTH, bias=False)) for _ in range(3))
        keys, values = (
            g.op("DYNAMIC_UPDATE_SLICE", [cache, new, start], g.shape(cache), "DynamicUpdateSliceOptions")
            for cache, new in zip(caches[2 * layer : 2 * layer + 2], (key, value), strict=True)
        )
        next_caches += [keys, values]
        scores = g.op("BATCH_MATMUL", [query, keys], [1, HEADS, 1, context], "BatchMatMulOptions", adjX=False, adjY=True)
        scores = g.binary("ADD", g.binary("MUL", scores, g.const((WIDTH // HEADS) ** -0.5, "float32")), mask)
        shape = [1, HEADS, 1, WIDTH // HEADS]
        mixed = g.op("BATCH_MATMUL", [g.softmax(scores), values], shape, "BatchMatMulOptions", adjX=False, adjY=False)
        x = g.binary("ADD", x, g.dense(g.reshape(mixed, [1, 1, WIDTH]), WIDTH, bias=False))
        gate, up = (g.dense(norm(x), HIDDEN, bias=False) for _ in range(2))
        gate = g.binary("MUL", gate, g.op("LOGISTIC", [gate], g.shape(gate)))
        x = g.binary("ADD", x, g.dense(g.binary("MUL", gate, up), WIDTH, bias=False))
    outputs = {"logits": g.dense(norm(x), WORDS, bias=False)}
    outputs |= {f"{name}_out": cache for name, cache in zip(names, next_caches, strict=True)}
    return mm.served(g, "decode", **outputs)


def made_models(folder: pathlib.Path, context: int) -> list[pathlib.Path]:
    sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "tests/models"))
    import make_models as mm

    plain = transformer(mm, context)
    forms = {"float32": plain, "int8": mm.dynamic_range(plain), "int4_block32": mm.blockwise(plain)}
    paths = []
    for name, model in forms.items():
        paths.append(folder / f"transformer.{name}.tflite")
        paths[-1].write_bytes(model.tobytes())
    return paths


def pairs_of(runner: Any) -> dict[str, str]:
    """The caches: {input: output}."""

    def kinds(details: dict[str, Any]) -> dict[Any, list[str]]:
        found: dict[Any, list[str]] = {}
        for name, d in sorted(details.items()):
            if len(d["shape"]) > 2:
                found.setdefault((d["dtype"], tuple(d["shape"])), []).append(name)
        return found

    outputs = kinds(runner.get_output_details())
    return {i: o for kind, names in kinds(runner.get_input_details()).items() for i, o in zip(names, outputs.get(kind, []), strict=False)}


def inputs_of(runner: Any) -> dict[str, np.ndarray]:
    inputs = {}
    for name, details in runner.get_input_details().items():
        value = measure.seeded_input(details, 0)
        if np.issubdtype(details["dtype"], np.integer):
            value = np.full(details["shape"], 5, details["dtype"])
        inputs[name] = value
    return inputs


def sigrun_step(path: pathlib.Path) -> tuple[Call, int]:
    import sigrun

    runner = sigrun.Interpreter(model_path=path, num_threads=1).get_signature_runner("decode")
    pairs, inputs = pairs_of(runner), inputs_of(runner)
    caches = {name: inputs.pop(name) for name in pairs}
    runner.allocate_tensors()
    runner.bind_state(pairs)
    runner(**inputs, **caches)
    return lambda: runner(**inputs), sum(cache.nbytes for cache in caches.values())


def litert_step(path: pathlib.Path) -> Call:
    import ai_edge_litert.interpreter as litert

    runner = litert.Interpreter(model_path=str(path), num_threads=1).get_signature_runner("decode")
    pairs, inputs = pairs_of(runner), inputs_of(runner)

    def step() -> None:
        outputs = runner(**inputs)
        inputs.update({i: outputs[o] for i, o in pairs.items()})

    step()
    return step


def microseconds(call: Call, seconds: float) -> float:
    count, began = 0, time.perf_counter()
    while time.perf_counter() < began + seconds:
        call()
        count += 1
    return (time.perf_counter() - began) / count * 1e6


def timed(path: pathlib.Path, rounds: int) -> dict[str, Any]:
    ours, cache_bytes = sigrun_step(path)
    with calls.silenced_stderr():
        theirs = litert_step(path)
    bytes_read = path.stat().st_size + cache_bytes
    stream = np.ones(bytes_read // 4, np.float32)
    steps = {"litert": theirs, "sigrun": ours, "stream": lambda: np.dot(stream, stream)}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, call in steps.items():
            times[name].append(microseconds(call, 0.02))
    row: dict[str, Any] = {"model": path.name, "bytes": bytes_read}
    row |= {name: round(statistics.median(values), 1) for name, values in times.items()}
    row["ratio"] = round(statistics.median(a / b for a, b in zip(times["litert"], times["sigrun"], strict=True)), 2)
    row["bound"] = round(statistics.median(a / b for a, b in zip(times["sigrun"], times["stream"], strict=True)), 2)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--context", type=int, default=1024)
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        print(f"{'model':36} {'MB':>6} {'LiteRT us':>10} {'sigrun us':>10} {'ratio':>6} {'stream us':>10} {'bound':>6}")
        for path in options.models or made_models(pathlib.Path(folder), options.context):
            row = timed(path, options.rounds)
            rows.append(row)
            megabytes = row["bytes"] / 1e6
            print(
                f"{row['model']:36} {megabytes:6.1f} {row['litert']:10.1f} {row['sigrun']:10.1f} {row['ratio']:6.2f} "
                f"{row['stream']:10.1f} {row['bound']:6.2f}",
                flush=True,
            )
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()

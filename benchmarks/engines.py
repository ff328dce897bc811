"""One engine with one model in a process of its own, at the service of models.py.

The process reads a job as a line of JSON: model, engine, threads, inputs and outputs (name, shape and dtype of each, in the file's order),
and where to save the outputs. It answers with a line of JSON. After that it answers every line: a number with the median time of an
inference, measured so long, and "profile" with what the operators take, if the engine tells.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import measure
import numpy as np


class Session(NamedTuple):
    """A loaded model with its inputs in place."""

    invoke: Callable[[], object]
    outputs: Callable[[], list[np.ndarray]]
    profile: Callable[[], list[dict[str, Any]]] = list


def interpreter_session(module: Any, job: dict[str, Any]) -> Session:
    """LiteRT, and what has its interface."""
    options = {"precision": job["precision"]} if "precision" in job else {}
    interpreter = module.Interpreter(model_path=job["model"], num_threads=job["threads"], **options)
    interpreter.allocate_tensors()
    for seed, details in enumerate(interpreter.get_input_details()):
        interpreter.set_tensor(details["index"], measure.seeded_input(details, seed))

    def outputs() -> list[np.ndarray]:
        return [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()]

    return Session(interpreter.invoke, outputs, lambda: operators(interpreter) if hasattr(interpreter, "profile") else [])


def operators(interpreter: Any) -> list[dict[str, Any]]:
    """What each operator takes, and whether it works on 8-bit integers."""
    details = interpreter._get_ops_details()

    def plain(row: Any) -> dict[str, Any]:
        types = {np.dtype(t) for t in details[row.index]["operand_types"]}
        found = {name: getattr(row, name) for name in ("op", "name", "seconds", "multiply_adds", "bytes")}
        return found | {"integer": bool(types & {np.dtype(np.int8), np.dtype(np.uint8)})}

    return [plain(row) for row in interpreter.profile(30).operators]


def openvino_session(module: Any, job: dict[str, Any]) -> Session:
    config = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": job["threads"]}
    if job["engine"] == "openvino-f32":
        config["INFERENCE_PRECISION_HINT"] = "f32"
    core = module.Core()
    model = core.read_model(job["model"])
    inputs = [next((p for p in model.inputs if d["name"] in p.get_names()), model.inputs[i]) for i, d in enumerate(job["inputs"])]
    if any(p.partial_shape.is_dynamic for p in inputs):
        model.reshape({p.get_any_name(): [max(d, 1) for d in details["shape"]] for p, details in zip(inputs, job["inputs"], strict=True)})
    outputs = [next((p for p in model.outputs if d["name"] in p.get_names()), model.outputs[i]) for i, d in enumerate(job["outputs"])]
    in_order, out_order = [model.inputs.index(p) for p in inputs], [model.outputs.index(p) for p in outputs]
    request = core.compile_model(model, "CPU", config).create_infer_request()
    for seed, (position, details) in enumerate(zip(in_order, job["inputs"], strict=True)):
        request.set_input_tensor(position, module.Tensor(measure.seeded_input(details, seed)))
    return Session(request.infer, lambda: [request.get_output_tensor(i).data.copy() for i in out_order])


def converted_to_onnx(model: str) -> str:
    """NAME.onnx beside NAME.tflite, or what tf2onnx makes of it, in a process of its own and once."""
    beside = pathlib.Path(model).with_suffix(".onnx")
    made = pathlib.Path(tempfile.gettempdir()) / "sigrun_benchmark_onnx" / beside.name
    if beside.exists():
        return str(beside)
    if not made.exists():
        if importlib.util.find_spec("tf2onnx") is None:
            raise FileNotFoundError(f"no {beside.name} beside the model, and tf2onnx is not installed")
        made.parent.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "tf2onnx.convert", "--tflite", model, "--opset", "18", "--output", str(made)]
        subprocess.run(command, check=True, capture_output=True)
    return str(made)


def onnxruntime_session(module: Any, job: dict[str, Any]) -> Session:
    options = module.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = job["threads"], 1
    session = module.InferenceSession(converted_to_onnx(job["model"]), options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    for seed, (node, details) in enumerate(zip(session.get_inputs(), job["inputs"], strict=True)):
        binding.bind_cpu_input(node.name, measure.seeded_input(details, seed))
    for node in session.get_outputs():
        binding.bind_output(node.name)
    return Session(lambda: session.run_with_iobinding(binding), binding.copy_outputs_to_cpu)


PRECISIONS = ("highest", "high", "medium")
ENGINES: dict[str, tuple[str, Callable[[Any, dict[str, Any]], Session]]] = {
    "litert": ("ai_edge_litert.interpreter", interpreter_session),
    "sigrun": ("sigrun", interpreter_session),
    "openvino": ("openvino", openvino_session),
    "onnxruntime": ("onnxruntime", onnxruntime_session),
}


def installed(engine: str) -> bool:
    """Whether the engine, given with its variant as in openvino-f32 and sigrun-avx2, can be imported here."""
    name = engine.partition("-")[0]
    return name in ENGINES and importlib.util.find_spec(ENGINES[name][0].partition(".")[0]) is not None


def start(job: dict[str, Any]) -> tuple[Session, dict[str, float]]:
    name, _, variant = job["engine"].partition("-")
    if name == "sigrun" and variant in PRECISIONS:
        job["precision"] = variant
    elif name == "sigrun" and variant:
        os.environ["SIGRUN_MAX_ISA"] = variant
    module_name, make = ENGINES[name]
    module = importlib.import_module(module_name)  # importing is not part of the first inference's time
    if name == "onnxruntime":
        converted_to_onnx(job["model"])
    before = measure.resident_bytes()
    began = time.perf_counter()
    session = make(module, job)
    session.invoke()
    first = time.perf_counter() - began
    return session, {"first_ms": first * 1e3, "megabytes": (measure.peak_resident_bytes() - before) / 2**20}


def median_time(invoke: Callable[[], object], seconds: float) -> float:
    times: list[float] = []
    end = time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        began = time.perf_counter()
        invoke()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def main() -> None:
    # Engines print to stdout what they like; the answers go to a copy of it.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(1, 2)
    job = json.loads(sys.stdin.readline())
    measure.pin(job["threads"])
    try:
        session, facts = start(job)
        np.savez(job["save"], *session.outputs())
    except Exception as error:  # whatever an engine raises is its result for this model
        said = f"{type(error).__name__}: {error}".replace(f"{pathlib.Path(job['model']).parent}/", "")
        print(json.dumps({"failed": said[:300]}), file=answers)
        return
    print(json.dumps(facts), file=answers)
    for line in sys.stdin:
        question = json.loads(line)
        answer = session.profile() if question == "profile" else median_time(session.invoke, question)
        print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    main()

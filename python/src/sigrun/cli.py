"""The command `sigrun`: the demo, and running or listing any model."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import sigrun


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status: 0, or 1 with the reason on stderr."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.command is None:
        parser.print_help()
        return 0
    try:
        arguments.command(arguments)
    except (OSError, RuntimeError, ValueError) as error:
        print(f"sigrun: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sigrun", description="Runs the signatures of .tflite models.")
    parser.add_argument("--version", action="version", version=f"sigrun {sigrun.__version__}")
    parser.set_defaults(command=None)
    commands = parser.add_subparsers(title="commands")

    demo = commands.add_parser("demo", help="run the packaged encode/decode model")
    demo.set_defaults(command=_demo)

    listing = commands.add_parser("list", help="list a model's signatures with their inputs and outputs")
    listing.add_argument("model", type=Path)
    listing.set_defaults(command=_list)

    run = commands.add_parser("run", help="run a signature of a model", description="Runs a signature and prints its outputs.")
    _add_runner_arguments(run)
    run.add_argument("--input", metavar="NAME=FILE.npy", action="append", default=[], help="an input; those not given get random values")
    run.add_argument("--output", metavar="NAME=FILE.npy", action="append", default=[], help="write this output to a file")
    run.add_argument("--count", type=int, default=1, help="run so many times, and print the median time if more than once")
    run.set_defaults(command=_run)

    profile = commands.add_parser("profile", help="time the operators of a model", description="Shows what each operator takes.")
    _add_runner_arguments(profile)
    profile.add_argument("--count", type=int, default=30, help="runs whose median is taken")
    profile.add_argument("--slowest", type=int, default=10, help="how many single operators to list")
    profile.add_argument("--trace", type=Path, metavar="FILE", help="write the last run for chrome://tracing or ui.perfetto.dev")
    profile.add_argument("--json", type=Path, metavar="FILE", help="write all operators")
    profile.set_defaults(command=_profile)

    program = commands.add_parser("exec", help="run a Python program with sigrun in the place of LiteRT")
    program.add_argument("-m", action="store_true", dest="module", help="PROGRAM is a module's name, as in python -m")
    program.add_argument("program", metavar="PROGRAM")
    program.add_argument("arguments", metavar="ARGUMENT", nargs=argparse.REMAINDER)
    program.set_defaults(command=_exec)

    info = commands.add_parser("info", help="print how this build was made and what it found on this machine")
    info.set_defaults(command=lambda arguments: print(json.dumps(sigrun.build_info(), indent=2)))
    return parser


def _add_runner_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", type=Path)
    command.add_argument("--signature", metavar="KEY", help="may be left out if the model has at most one signature")
    command.add_argument("--threads", type=int, default=1)
    command.add_argument("--precision", default="highest", help="of float products: highest (the default), high or medium")
    command.add_argument("--seed", type=int, default=0, help="of the inputs' random values")


def _runner(arguments: argparse.Namespace) -> sigrun.SignatureRunner:
    interpreter = sigrun.Interpreter(model_path=arguments.model, num_threads=arguments.threads, precision=arguments.precision)
    return interpreter.get_signature_runner(arguments.signature)


def _demo(_: argparse.Namespace) -> None:
    content = (resources.files("sigrun") / "models" / "encode_decode.tflite").read_bytes()
    interpreter = sigrun.Interpreter(model_content=content)
    print("Signatures:", interpreter.get_signature_list())
    encoded = interpreter.get_signature_runner("encode")(x=np.array([1, 2, 3], dtype=np.float32))
    print(encoded)
    print(interpreter.get_signature_runner("decode")(x=encoded["encoded_result"]))


def _exec(arguments: argparse.Namespace) -> None:
    import runpy

    sigrun.stand_in()
    sys.argv = [arguments.program, *arguments.arguments]
    if arguments.module:
        runpy.run_module(arguments.program, run_name="__main__", alter_sys=True)
        return
    sys.path.insert(0, str(Path(arguments.program).resolve().parent))
    runpy.run_path(arguments.program, run_name="__main__")


def _list(arguments: argparse.Namespace) -> None:
    interpreter = sigrun.Interpreter(model_path=arguments.model)
    keys: list[str | None] = list(interpreter.get_signature_list())
    for key in keys or [None]:
        try:
            runner = interpreter.get_signature_runner(key)
        except RuntimeError as error:
            print(f"{key or 'subgraph 0'}\n  cannot run: {error}")
            continue
        print(runner.signature_key + ("" if key is not None else "  (the file has no signature)"))
        for kind, details in (("input", runner.get_input_details()), ("output", runner.get_output_details())):
            for name, tensor in details.items():
                print(f"  {kind:<6}  {name}  {np.dtype(tensor['dtype']).name}  {tensor['shape_signature'].tolist()}")


def _run(arguments: argparse.Namespace) -> None:
    if arguments.count < 1:
        raise ValueError("--count should be at least 1")
    runner = _runner(arguments)
    files = _named_files(arguments.input, runner.input_names, "input")
    targets = _named_files(arguments.output, runner.output_names, "output")
    inputs = _inputs(runner, files, arguments.seed)

    seconds = []
    for _ in range(arguments.count):
        began = time.perf_counter()
        outputs = runner(**inputs)
        seconds.append(time.perf_counter() - began)
    for name, value in outputs.items():
        print(f"{name}: {value.dtype} {list(value.shape)}")
        print(value)
        if name in targets:
            np.save(targets[name], value, allow_pickle=value.dtype == object)
    if arguments.count > 1:
        print(f"median of {arguments.count} runs: {1e6 * float(np.median(seconds)):.1f} us")


def _profile(arguments: argparse.Namespace) -> None:
    runner = _runner(arguments)
    runner(**_inputs(runner, {}, arguments.seed))
    profile = runner.profile(arguments.count)
    print(f"\n{profile}\n\nThe slowest:\n{profile.table(profile.slowest(arguments.slowest))}")
    if arguments.trace:
        arguments.trace.write_text(profile.chrome_trace())
    if arguments.json:
        arguments.json.write_text(profile.json())


def _named_files(options: Sequence[str], names: Sequence[str], kind: str) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for option in options:
        # A signature's name may itself hold "=": the longest one that fits is meant.
        name = max((n for n in names if option.startswith(n + "=")), key=len, default=None)
        if name is None:
            raise ValueError(f"--{kind} {option}: expected NAME=FILE.npy with one of the {kind}s {', '.join(names) or '(none)'}")
        files[name] = Path(option[len(name) + 1 :])
    return files


def _inputs(runner: sigrun.SignatureRunner, files: dict[str, Path], seed: int) -> dict[str, NDArray[Any]]:
    random = np.random.default_rng(seed)
    inputs = {}
    for name, details in runner.get_input_details().items():
        if name in files:
            value = np.load(files[name], allow_pickle=False)
        else:
            value = _random_values(random, details)
            print(f"input {name}: random {value.dtype} {list(value.shape)}, seed {seed}")
        inputs[name] = value
    return inputs


def _random_values(random: np.random.Generator, details: dict[str, Any]) -> NDArray[Any]:
    """Values that most models can take: digits as strings, bits for wide integers (which are often indices), any value for narrow ones."""
    shape = tuple(details["shape"])
    dtype = np.dtype(details["dtype"])
    if dtype.kind == "S":
        return random.integers(0, 10, shape).astype(bytes).astype(object)
    if dtype.kind == "b":
        return random.integers(0, 2, shape).astype(bool)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        low, high = (limits.min, limits.max + 1) if dtype.itemsize == 1 else (0, 2)
        return random.integers(low, high, shape, dtype=dtype)
    if dtype.kind == "O":
        raise ValueError(f"the input tensor {details['name']!r} is a handle, which has no values")
    return np.asarray(random.standard_normal(shape)).astype(dtype)

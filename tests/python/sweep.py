"""Loads, allocates and runs every file of a folder: python sweep.py FOLDER. One line a file: its name, a tab, what became of it.

It runs as a process of its own, so that a crash or a hang is an observation: the last line then names the file.
"""

import pathlib
import resource
import signal
import sys

import numpy as np

import sigrun

SECONDS, BYTES = 20, 6 << 30
ELEMENTS = 1 << 22  # larger inputs are allocated, but not run


def random_value(details, rng):
    dtype, shape = details["dtype"], details["shape"]
    if dtype in (np.object_, np.bytes_):
        return np.full(shape, b"1.5", dtype=object)
    return rng.integers(-3, 4, shape).astype(dtype)


def run(path):
    interpreter = sigrun.Interpreter(model_path=str(path))
    rng = np.random.default_rng(0)
    for key in filter(None, interpreter.get_signature_list()):  # an empty key cannot be asked for, as in LiteRT
        interpreter.get_signature_runner(key)
    interpreter.get_tensor_details()
    interpreter.allocate_tensors()
    details = interpreter.get_input_details()
    if sum(int(np.prod(d["shape"], dtype=np.float64)) for d in details) > ELEMENTS:
        return "allocated"
    for d in details:
        interpreter.set_tensor(d["index"], random_value(d, rng))
    interpreter.invoke()
    for d in interpreter.get_output_details():
        interpreter.get_tensor(d["index"])
    return "ran"


def main():
    resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
    for path in sorted(pathlib.Path(sys.argv[1]).glob("*.tflite")):
        print(path.name, end="\t", flush=True)
        signal.alarm(SECONDS)  # its default action ends the process: also out of C++
        try:
            verdict = run(path)
        except (ValueError, RuntimeError, MemoryError) as error:
            verdict = f"{type(error).__name__}: {error}"
        print(verdict.encode("unicode_escape").decode(), flush=True)
    signal.alarm(0)


if __name__ == "__main__":
    main()

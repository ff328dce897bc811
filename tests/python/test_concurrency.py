"""Threads that share an interpreter and a runner, with shapes that change: every result is right."""

import os
import threading
import time

import numpy as np
from conftest import MODELS

import sigrun

SECONDS = float(os.environ.get("SIGRUN_TEST_SECONDS", "3"))


def test_eight_threads_on_four_runners_and_a_shared_one():
    interpreter = sigrun.Interpreter(model_path=MODELS / "add_two_signatures.tflite", num_threads=2)
    runners = [interpreter.get_signature_runner("add") for _ in range(4)]
    shared = interpreter.get_signature_runner("add")
    end = time.monotonic() + SECONDS
    wrong = []
    calls = [0] * 8

    def hammer(thread):
        rng = np.random.default_rng(thread)
        while time.monotonic() < end and not wrong:
            runner = shared if calls[thread] % 2 else runners[thread % 4]
            rows = int(rng.integers(1, 40))
            x, y = (rng.integers(-99, 99, (rows, 3)).astype(np.float32) for _ in range(2))
            try:
                result = runner(x=x, y=y)["result"]
                if not np.array_equal(result, x + y):
                    wrong.append((x, y, result))
            except Exception as error:
                wrong.append(error)
            calls[thread] += 1

    threads = [threading.Thread(target=hammer, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert min(calls) > 0


def test_interpreters_of_one_model_share_its_packed_weights():
    model = sigrun.Model(MODELS / "blocks_float32.tflite")

    def resident():
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def another():
        runner = sigrun.Interpreter(model=model).get_signature_runner()
        runner(**{key: np.ones(d["shape"], d["dtype"]) for key, d in runner.get_input_details().items()})
        return runner

    kept = [another()]
    packed = kept[0].memory.packed
    before = resident()
    kept += [another() for _ in range(10)]
    memory = kept[0].memory
    own = 10 * (memory.arena + memory.inputs_and_outputs)
    assert {runner.memory.packed for runner in kept} == {packed}
    assert resident() - before < own + (1 << 20)

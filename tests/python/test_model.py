"""Models are shared, copied and sent to other processes."""

import copy
import multiprocessing
import os
import pickle

import numpy as np
import pytest

import sigrun

X = np.float32([[1, 2, 3]])


def run(runner):
    return runner(x=X, y=X)["result"]


def run_in_child(interpreter, queue):
    queue.put(run(interpreter.get_signature_runner("add")))


@pytest.fixture(params=["path", "content"])
def model(request, model_path):
    path = model_path("add_two_signatures")
    if request.param == "path":
        return sigrun.Model(path)
    with open(path, "rb") as file:
        return sigrun.Model.from_buffer(file.read())


def test_exactly_one_source(model_path):
    for arguments in ((), (model_path("add_two_signatures"),)):
        with pytest.raises(ValueError, match="either"):
            sigrun.Model(*arguments, model_content=b"x" if arguments else None)


def test_pickles(model):
    interpreter = sigrun.Interpreter(model=model, num_threads=2)
    for thing in (model, interpreter, interpreter.get_signature_runner("add")):
        twin = pickle.loads(pickle.dumps(thing))
        assert type(twin) is type(thing)
    twin = pickle.loads(pickle.dumps(interpreter))
    assert twin.num_threads == 2
    np.testing.assert_array_equal(run(twin.get_signature_runner("add")), 2 * X)
    np.testing.assert_array_equal(run(pickle.loads(pickle.dumps(interpreter.get_signature_runner("add")))), 2 * X)


def test_copies_share_the_model(model):
    assert copy.deepcopy(model) is model
    interpreter = sigrun.Interpreter(model=model)
    twin = copy.deepcopy(interpreter)
    assert twin is not interpreter
    assert twin.model is model
    np.testing.assert_array_equal(run(twin.get_signature_runner("add")), 2 * X)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_other_processes(model, method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    context = multiprocessing.get_context(method)
    interpreter = sigrun.Interpreter(model=model, num_threads=2)
    run(interpreter.get_signature_runner("add"))
    queue = context.SimpleQueue()
    child = context.Process(target=run_in_child, args=(interpreter, queue))
    child.start()
    np.testing.assert_array_equal(queue.get(), 2 * X)
    child.join()
    assert child.exitcode == 0


def test_a_forked_child_uses_the_parents_runner(model):
    runner = sigrun.Interpreter(model=model, num_threads=2).get_signature_runner("add")
    x = np.ones((200000, 3), np.float32)
    np.testing.assert_array_equal(runner(x=x, y=x)["result"], 2 * x)
    pid = os.fork()
    if pid == 0:
        good = np.array_equal(runner(x=x, y=x)["result"], 2 * x)
        del runner
        os._exit(0 if good else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

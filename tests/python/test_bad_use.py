"""Bad use, side by side with LiteRT: the same type of exception, and a message that says at least as much."""

import copy
import gc
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest
from conftest import MODELS

import sigrun

litert = pytest.importorskip("ai_edge_litert.interpreter")

ADD = str(MODELS / "add_two_signatures.tflite")
ONE = np.ones((1, 3), np.float32)

# {case: (call of a module's Interpreter, a pattern of what the message says beside LiteRT's words; "" if those are all)}
CONSTRUCTORS = {
    "no model": (lambda make: make(), ""),
    "empty content": (lambda make: make(model_content=b""), ""),
    "path and content": (lambda make: make(model_path=ADD, model_content=b"x"), ""),
    "missing file": (lambda make: make(model_path="nope.tflite"), "No such file"),
    "directory": (lambda make: make(model_path=str(MODELS)), "not a regular file"),
    "garbage": (lambda make: make(model_content=b"garbage" * 100), "lies outside the file of 700 bytes"),
    "short": (lambda make: make(model_content=b"short"), "5 bytes"),
    "truncated": (lambda make: make(model_content=(MODELS / "add_two_signatures.tflite").read_bytes()[:300]), "model"),
    "no threads": (lambda make: make(model_path=ADD, num_threads=0), ""),
    "negative threads": (lambda make: make(model_path=ADD, num_threads=-1), ""),
    "threads of another type": (lambda make: make(model_path=ADD, num_threads=2.0), ""),
    "resolver": (lambda make: make(model_path=ADD, experimental_op_resolver_type="test"), ""),
}
CALLS = {
    "get before allocate": lambda i: i.get_tensor(0),
    "view before allocate": lambda i: i.tensor(0)(),
    "set before allocate": lambda i: i.set_tensor(0, ONE),
    "invoke before allocate": lambda i: i.invoke(),
    "dtype": lambda i: (i.allocate_tensors(), i.set_tensor(0, np.ones((1, 3)))),
    "dimension": lambda i: (i.allocate_tensors(), i.set_tensor(0, np.ones((2, 3), np.float32))),
    "rank": lambda i: (i.allocate_tensors(), i.set_tensor(0, np.ones(3, np.float32))),
    "index": lambda i: i.get_tensor(99),
    "negative index": lambda i: i.get_tensor(-1),
    "subgraph": lambda i: i.get_tensor(0, 9),
    "details of a subgraph": lambda i: i.get_tensor_details(9),
    "node": lambda i: i._get_op_details(99),
    "signature": lambda i: i.get_signature_runner("dummy"),
    "empty signature": lambda i: i.get_signature_runner(""),
    "no signature": lambda i: i.get_signature_runner(),
    "inputs missing": lambda i: i.get_signature_runner("add")(x=ONE),
    "no inputs": lambda i: i.get_signature_runner("add")(),
    "input unknown": lambda i: i.get_signature_runner("add")(x=ONE, z=ONE),
    "input's dtype": lambda i: i.get_signature_runner("add")(x=ONE, y=np.ones((1, 3))),
    "shapes": lambda i: i.get_signature_runner("add")(x=np.ones((2, 3), np.float32), y=np.ones((3, 3), np.float32)),
    "resize of no input": lambda i: i.resize_tensor_input(99, [1, 3]),
    "resize to negative": lambda i: i.resize_tensor_input(0, [-5, 3]),
    "strict resize": lambda i: i.resize_tensor_input(0, [1, 4], strict=True),
    "index of another type": lambda i: i.get_tensor(0.5),
}
# Where LiteRT's words end in a file and line of its own, or in a guess at the cause, ours say this.
INSTEAD = {
    "missing file": "nope.tflite",
    "directory": "tests/models",
    "shapes": r"\[3, 3\] and \[2, 3\]",
    "resize of no input": "99",
    "resize to negative": "-5",
    "strict resize": "ResizeInputTensorStrict only allows mutating unknown dimensions identified by -1",
    "index of another type": "float",
}


def error_of(call, *arguments):
    with pytest.raises(Exception, match=r"(?s).") as error:
        call(*arguments)
    return error.value


def compare(case, theirs, ours):
    assert isinstance(ours, type(theirs)), ours
    if case in INSTEAD:
        assert re.search(INSTEAD[case], str(ours)), ours
    else:
        assert str(theirs).strip(" .") in str(ours)


@pytest.mark.parametrize("case", CONSTRUCTORS)
def test_constructors(case):
    call, more = CONSTRUCTORS[case]
    ours = error_of(call, sigrun.Interpreter)
    compare(case, error_of(call, litert.Interpreter), ours)
    assert re.search(more, str(ours)), ours


def test_threads_may_be_true():
    for module in (litert, sigrun):
        module.Interpreter(model_path=ADD, num_threads=True)


def test_more_threads_than_the_system_starts():
    script = """
import resource, sys, sigrun
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20),) * 2)  # of addresses: room for the stacks of a few threads
try:
    sigrun.Interpreter(model_path=sys.argv[1], num_threads=200)
except MemoryError as error:
    print(error)
sigrun.Interpreter(model_path=sys.argv[1], num_threads=2).allocate_tensors()
"""
    done = subprocess.run([sys.executable, "-c", script, ADD], capture_output=True, text=True, check=True)
    assert re.match(r"num_threads is 200, and the system starts only \d+ more: Resource temporarily unavailable\n$", done.stdout)


@pytest.mark.parametrize("case", CALLS)
def test_calls(case):
    theirs, ours = (error_of(CALLS[case], module.Interpreter(model_path=ADD)) for module in (litert, sigrun))
    compare(case, theirs, ours)


def test_errors_do_not_pile_up():
    interpreter = sigrun.Interpreter(model_path=ADD)
    for _ in range(3):
        message = str(error_of(interpreter.invoke))
    assert message.count("Invoke called on model that is not ready") == 1


def test_typos_get_the_nearest_name():
    interpreter = sigrun.Interpreter(model_path=ADD)
    assert "'add'" in str(error_of(interpreter.get_signature_runner, "ad"))
    runner = interpreter.get_signature_runner("add")
    assert "'x'" in str(error_of(lambda: runner(X=ONE, y=ONE)))


def test_missing_operators():
    for call in (lambda i: i.allocate_tensors(), lambda i: i.get_signature_runner()):
        error = error_of(call, sigrun.Interpreter(model_path=str(MODELS / "unknown_operator.tflite")))
        assert isinstance(error, RuntimeError)
        assert isinstance(error, sigrun.UnsupportedOpError)
        assert "NoSuchOperator" in str(error)
    theirs = error_of(litert.Interpreter(model_path=str(MODELS / "unknown_operator.tflite")).allocate_tensors)
    assert isinstance(theirs, RuntimeError)


def test_delegates(monkeypatch):
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)  # LiteRT's half-made delegate fails once more when it goes
    ours = error_of(sigrun.load_delegate, "libnope.so")
    assert isinstance(ours, type(error_of(litert.load_delegate, "libnope.so")))
    gc.collect()
    assert isinstance(ours, ValueError)  # as LiteRT's documents say
    assert "libnope.so" in str(ours)


def test_what_litert_refuses_and_sigrun_does():
    theirs, ours = (module.Interpreter(model_path=ADD) for module in (litert, sigrun))
    refused = {
        "lists": lambda i: i.get_signature_runner("add")(x=[[1, 2, 3]], y=ONE),
        "positional": lambda i: i.get_signature_runner("add")(ONE, ONE),
        "pickle": pickle.dumps,
        "deepcopy": copy.deepcopy,
    }
    for case, call in refused.items():
        assert isinstance(error_of(call, theirs), AttributeError | TypeError), case
        call(ours)


def test_views_block_nothing_that_leaves_them_where_they_are():
    theirs, ours = (module.Interpreter(model_path=ADD) for module in (litert, sigrun))
    for interpreter in (theirs, ours):
        interpreter.allocate_tensors()
    view = theirs.tensor(theirs.get_input_details()[0]["index"])()
    assert "reference to internal data" in str(error_of(theirs.invoke))
    del view
    index = ours.get_input_details()[0]["index"]
    view = ours.tensor(index)()
    ours.invoke()
    ours.allocate_tensors()
    ours.resize_tensor_input(index, [7, 3])
    error = error_of(ours.allocate_tensors)
    assert isinstance(error, RuntimeError)
    assert isinstance(error, sigrun.HeldViewError)
    assert ours.get_input_details()[0]["name"] in str(error)
    assert view.shape == (1, 3)

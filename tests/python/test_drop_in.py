"""Side by side with LiteRT: the same details, the same results, the same refusals."""

import subprocess
import sys

import numpy as np
import pytest
from conftest import MODELS

import sigrun

litert = pytest.importorskip("ai_edge_litert.interpreter")

NAMES = sorted(path.stem for path in MODELS.glob("*.tflite"))


def same(a, b):
    """Equal in value, type, order and dtype, all the way down."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b)
    return a == b


def both(path):
    return litert.Interpreter(model_path=path), sigrun.Interpreter(model_path=path)


@pytest.mark.parametrize("name", NAMES)
def test_descriptions(name, model_path):
    try:
        theirs, ours = both(model_path(name))
    except ValueError:
        pytest.skip("LiteRT does not load it")
    for call in ("get_signature_list", "_get_full_signature_list", "get_input_details", "get_output_details", "num_subgraphs"):
        assert same(getattr(theirs, call)(), getattr(ours, call)()), call
    for subgraph in range(theirs.num_subgraphs()):
        known = {details["index"]: details for details in ours.get_tensor_details(subgraph)}
        for details in theirs.get_tensor_details(subgraph):
            if details["index"] in known:  # LiteRT appends temporary tensors
                assert same(details, known[details["index"]])


def test_details_while_resizing():
    path = str(MODELS / "add_two_signatures.tflite")
    steps = [
        lambda i: i.allocate_tensors(),
        lambda i: [i.resize_tensor_input(d["index"], [4, 3]) for d in i.get_input_details()],
        lambda i: i.allocate_tensors(),
    ]
    theirs, ours = both(path)
    for step in steps:
        step(theirs)
        step(ours)
        assert same(theirs.get_input_details(), ours.get_input_details())
        assert same(theirs.get_output_details(), ours.get_output_details())


def test_runner_details():
    theirs, ours = (i.get_signature_runner("add") for i in both(str(MODELS / "add_two_signatures.tflite")))
    assert same(theirs.get_input_details(), ours.get_input_details())
    assert same(theirs.get_output_details(), ours.get_output_details())
    x = np.ones((5, 3), np.float32)
    assert same(theirs(x=x, y=x), ours(x=x, y=x))


PROGRAM = """
import sys
import subprocess
import sys

import numpy as np
try:
    from tflite_runtime.interpreter import Interpreter, load_delegate
except ImportError:
    from tensorflow.lite.python.interpreter import Interpreter, load_delegate
import tensorflow as tf
import tensorflow.lite
from ai_edge_litert import interpreter as litert
from tensorflow.lite.python import interpreter as behind

def delegates():
    try:
        return [load_delegate("libedgetpu.so.1")]
    except ValueError:
        return []

interpreter = Interpreter(model_path=sys.argv[1], experimental_delegates=delegates())
interpreter.allocate_tensors()
for details in interpreter.get_input_details():
    interpreter.set_tensor(details["index"], np.ones(details["shape"], details["dtype"]))
interpreter.invoke()
same = tf.lite.Interpreter is behind.Interpreter is litert.Interpreter is Interpreter
print(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).tolist(), same)
"""


def test_programs_run_unedited(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    command = [sys.executable, "-m", "sigrun", "exec", str(program), str(MODELS / "add_two_signatures.tflite")]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.split("]]")[1].strip() == "True"


def test_load_delegate_is_refused():
    for error in (ValueError, OSError):
        with pytest.raises(error, match="no delegates|has none"):
            sigrun.load_delegate("libedgetpu.so.1")


def test_everything_of_litert_is_there():
    ours = __import__("sigrun.interpreter", fromlist=["Interpreter"])
    for name in ("Interpreter", "InterpreterWithCustomOps", "SignatureRunner", "OpResolverType", "Delegate", "load_delegate"):
        theirs = getattr(litert, name)
        for member in dir(theirs):
            pointer = member in ("_native_handle", "_get_native_delegate_pointer")  # into LiteRT's own library
            assert member.startswith("__") or pointer or hasattr(getattr(ours, name), member), (name, member)

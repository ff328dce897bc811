"""Operators of a program's own, in Python."""

import pathlib

import numpy as np
import pytest

import sigrun
from sigrun.interpreter import InterpreterWithCustomOps

# An operator over a dense layer, options 1 2 3. Other tests want the original's to stay unknown.
NAME = "HereItIsAtLast"
MODELS = pathlib.Path(__file__).parents[1] / "models"
MODEL = (MODELS / "unknown_operator.tflite").read_bytes().replace(b"NoSuchOperator", NAME.encode())


def dense():
    """What the layer in front of the operator makes of ones."""
    seen = []
    sigrun.register_op(NAME, lambda inputs, outputs, options: seen.append(inputs[0].copy()))
    call()
    return seen[0]


def call(**options):
    interpreter = sigrun.Interpreter(model_content=MODEL, **options)
    runner = interpreter.get_signature_runner()
    (name, details), *_ = runner.get_input_details().items()
    return runner(**{name: np.ones(details["shape"], details["dtype"])})


def test_a_model_runs_with_an_operator_in_python():
    x = dense()
    calls = []

    def compute(inputs, outputs, options):
        calls.append((inputs[0].flags.writeable, outputs[0].flags.writeable, options))
        outputs[0][...] = inputs[0] * 2 + 1

    sigrun.register_op(NAME, compute)
    np.testing.assert_array_equal(call()["output"], x * 2 + 1)
    assert calls == [(False, True, b"\1\2\3")]


def test_shapes_are_inferred():
    asked = []

    def shapes(inputs, options):
        asked.append((inputs, options))
        return [[1, 2, 2]]

    def compute(inputs, outputs, options):
        outputs[0][...] = inputs[0].reshape(1, 2, 2)

    x = dense()
    sigrun.register_op(NAME, compute, shapes)
    np.testing.assert_array_equal(call()["output"], x.reshape(1, 2, 2))
    assert asked[0] == ([(1, 4)], b"\1\2\3")


def test_the_last_registration_counts_for_models_loaded_after_it():
    def writes(value):
        def compute(inputs, outputs, options):
            outputs[0][...] = value

        return compute

    sigrun.register_op(NAME, writes(1))
    first = sigrun.Interpreter(model_content=MODEL).get_signature_runner()
    sigrun.register_op(NAME, writes(2))
    (name, details), *_ = first.get_input_details().items()
    assert set(first(**{name: np.ones(details["shape"], details["dtype"])})["output"].ravel()) == {1}
    assert set(call()["output"].ravel()) == {2}


def raises(inputs, outputs, options):
    raise KeyError("no such word")


def keeps(inputs, outputs, options):
    keeps.kept = inputs[0][0]


@pytest.mark.parametrize(
    ("compute", "shapes", "error", "message"),
    [
        (raises, None, sigrun.DataError, "KeyError: 'no such word'"),
        (keeps, None, sigrun.DataError, "kept an array"),
        (raises, lambda inputs, options: [[1], [2]], ValueError, "2 shapes for 1 output"),
        (raises, lambda inputs, options: [[-1]], ValueError, "\\[-1\\]"),
        (raises, lambda inputs, options: 1 // 0, ValueError, "ZeroDivisionError"),
        (raises, lambda inputs, options: "shape", ValueError, "cast"),
    ],
)
def test_errors_name_the_operator(compute, shapes, error, message):
    sigrun.register_op(NAME, compute, shapes)
    with pytest.raises(error, match=message) as raised:
        call()
    assert NAME in str(raised.value)


def test_registerers():
    def register(register_op):
        register_op(NAME, lambda inputs, outputs, options: outputs[0].fill(5))

    interpreter = InterpreterWithCustomOps(model_content=MODEL, custom_op_registerers=[register], num_threads=2)
    interpreter.allocate_tensors()
    interpreter.invoke()
    assert set(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).ravel()) == {5}
    with pytest.raises(ValueError, match="register_op"):
        InterpreterWithCustomOps(model_content=MODEL, custom_op_registerers=["TF_Register"])


def test_bad_registrations():
    with pytest.raises(TypeError):
        sigrun.register_op(NAME, 3)
    with pytest.raises(TypeError):
        sigrun.register_op(NAME, raises, 3)
    with pytest.raises(ValueError):
        sigrun.register_op("", raises)

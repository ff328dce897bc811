"""The calls by tensor index, in LiteRT's words."""

import pathlib

import numpy as np
import pytest

import sigrun


@pytest.fixture
def interpreter(model_path):
    """Two inputs of [-1, 3], of which the file has one row."""
    interpreter = sigrun.Interpreter(model_path=model_path("add_two_signatures"))
    interpreter.allocate_tensors()
    return interpreter


def ones(*shape):
    return np.ones(shape, np.float32)


def first_output(interpreter):
    return interpreter.get_output_details()[0]["index"]


def test_set_invoke_get(interpreter):
    for details, value in zip(interpreter.get_input_details(), (2, 5), strict=True):
        interpreter.set_tensor(details["index"], value * ones(1, 3))
    interpreter.invoke()
    outputs = [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()]
    assert any(np.array_equal(output, 10 * ones(1, 3)) for output in outputs)


def test_get_tensor_is_a_copy(interpreter):
    index = first_output(interpreter)
    copy = interpreter.get_tensor(index)
    copy += 1
    assert not np.array_equal(copy, interpreter.get_tensor(index))


def test_details(interpreter):
    details = interpreter.get_input_details()[0]
    assert list(details) == [
        "name",
        "index",
        "shape",
        "shape_signature",
        "dtype",
        "quantization",
        "quantization_parameters",
        "sparsity_parameters",
    ]
    assert details["name"] == "y_tensor"
    assert details["shape"].dtype == np.int32
    assert details["shape"].tolist() == [1, 3]
    assert details["shape_signature"].tolist() == [-1, 3]
    assert details["dtype"] is np.float32
    assert details["quantization"] == (0.0, 0)
    assert details["sparsity_parameters"] == {}


def test_details_are_the_callers(interpreter):
    interpreter.get_input_details()[0]["shape"][0] = 99
    assert interpreter.get_input_details()[0]["shape"][0] == 1


def test_quantization_of_weights(model_path):
    interpreter = sigrun.Interpreter(model_path=model_path("convnet_int8"))
    per_channel = [d for d in interpreter.get_tensor_details() if len(d["quantization_parameters"]["scales"]) > 1]
    assert per_channel
    for details in per_channel:
        assert details["quantization"] == (0.0, 0)
        assert details["quantization_parameters"]["scales"].dtype == np.float32
        assert details["quantization_parameters"]["zero_points"].dtype == np.int32


def test_resize(interpreter):
    inputs, output = [d["index"] for d in interpreter.get_input_details()], first_output(interpreter)
    for index in inputs:
        interpreter.resize_tensor_input(index, [4, 3])
    assert interpreter.get_input_details()[0]["shape"].tolist() == [4, 3]
    assert interpreter.get_output_details()[0]["shape"].tolist() == [1, 3]
    with pytest.raises(RuntimeError, match="Invoke called on model that is not ready"):
        interpreter.invoke()
    interpreter.allocate_tensors()
    assert interpreter.get_output_details()[0]["shape"].tolist() == [4, 3]
    for index in inputs:
        interpreter.set_tensor(index, ones(4, 3))
    interpreter.invoke()
    assert interpreter.get_tensor(output).shape == (4, 3)


@pytest.mark.parametrize("shape", [(2, 3), np.array([2, 3]), np.array([2, 3], np.int64), [np.int32(2), 3]])
def test_resize_takes_any_integers(interpreter, shape):
    index = interpreter.get_input_details()[0]["index"]
    interpreter.resize_tensor_input(index, shape, strict=True)
    assert interpreter.get_input_details()[0]["shape"].tolist() == [2, 3]


def test_refused_shape_leaves_the_interpreter_usable(interpreter):
    first, second = (d["index"] for d in interpreter.get_input_details())
    interpreter.resize_tensor_input(first, [2, 3])
    interpreter.resize_tensor_input(second, [5, 3])
    with pytest.raises(RuntimeError) as error:
        interpreter.allocate_tensors()
    assert isinstance(error.value, ValueError)
    assert isinstance(error.value, sigrun.InvalidArgumentError)
    interpreter.resize_tensor_input(second, [2, 3])
    interpreter.allocate_tensors()
    interpreter.set_tensor(first, ones(2, 3))
    interpreter.set_tensor(second, ones(2, 3))
    interpreter.invoke()
    assert interpreter.get_tensor(first_output(interpreter)).shape == (2, 3)


@pytest.mark.parametrize(
    "value",
    [
        np.arange(6, dtype=np.float32).reshape(1, 6)[:, ::2],
        np.asfortranarray(np.arange(3, dtype=np.float32).reshape(1, 3) * 2),
        np.array([[0, 2, 4]], dtype=">f4"),
        [[0, 2, 4]],
        [[0.0, 2.0, 4]],
        ((False, 2, 4.0),),
        memoryview(np.array([[0, 2, 4]], np.float32)),
    ],
    ids=["strided", "fortran", "big endian", "integers", "floats", "mixed", "memoryview"],
)
def test_set_tensor_converts_without_loss(interpreter, value):
    index = interpreter.get_input_details()[0]["index"]
    interpreter.set_tensor(index, value)
    np.testing.assert_array_equal(interpreter.get_tensor(index), np.array([[0, 2, 4]], np.float32))


def test_integer_lists(model_path):
    interpreter = sigrun.Interpreter(model_path=model_path("boundaries"))
    interpreter.allocate_tensors()
    index = next(d["index"] for d in interpreter.get_input_details() if d["name"] == "unused")
    interpreter.set_tensor(index, [1, -2, 3])
    assert interpreter.get_tensor(index).tolist() == [1, -2, 3]
    with pytest.raises(ValueError, match="FLOAT64 but expected type INT32"):
        interpreter.set_tensor(index, [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="out of the range of type INT32"):
        interpreter.set_tensor(index, [1, 2, 2**31])
    assert interpreter.get_tensor(index).tolist() == [1, -2, 3]


@pytest.mark.parametrize("value", [np.ones((1, 3)), np.ones((1, 3), np.int32), np.float64(1), np.ones((1, 3), object)])
def test_another_dtype(interpreter, value):
    index = interpreter.get_input_details()[0]["index"]
    message = f"Cannot set tensor: Got value of type .* but expected type FLOAT32 for input {index}, name: y_tensor "
    with pytest.raises(ValueError, match=message):
        interpreter.set_tensor(index, value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (ones(2, 3), "Cannot set tensor: Dimension mismatch. Got 2 but expected 1 for dimension 0 of input {}."),
        (ones(1, 4), "Cannot set tensor: Dimension mismatch. Got 4 but expected 3 for dimension 1 of input {}."),
        (ones(3), "Cannot set tensor: Dimension mismatch. Got 1 but expected 2 for input {}."),
    ],
)
def test_another_shape(interpreter, value, message):
    index = interpreter.get_input_details()[0]["index"]
    with pytest.raises(ValueError, match=r"Dimension mismatch") as error:
        interpreter.set_tensor(index, value)
    assert str(error.value).startswith(message.format(index))


def test_before_allocate(model_path):
    interpreter = sigrun.Interpreter(model_path=model_path("add_two_signatures"))
    index = interpreter.get_input_details()[0]["index"]
    with pytest.raises(RuntimeError, match=r"Invoke called on model that is not ready\."):
        interpreter.invoke()
    with pytest.raises(ValueError, match=r"Tensor data is null. Run allocate_tensors\(\) first"):
        interpreter.get_tensor(index)
    with pytest.raises(ValueError, match=r"Tensor data is null. Run allocate_tensors\(\) first"):
        interpreter.tensor(index)()
    with pytest.raises(ValueError, match=r"Cannot set tensor: Tensor is unallocated. Try calling allocate_tensors\(\) first"):
        interpreter.set_tensor(index, ones(1, 3))


@pytest.mark.parametrize("index", [-1, 99, 2**31 - 1])
def test_index_out_of_range(interpreter, index):
    with pytest.raises(ValueError, match=f"Invalid tensor index {index} exceeds max tensor index"):
        interpreter.get_tensor(index)
    with pytest.raises(ValueError, match=f"Invalid tensor index {index} exceeds max tensor index"):
        interpreter.set_tensor(index, ones(1, 3))
    with pytest.raises(ValueError, match=f"Invalid tensor index {index} exceeds max tensor index"):
        interpreter.tensor(index)()
    with pytest.raises(RuntimeError):
        interpreter.resize_tensor_input(index, [1, 3])


def test_index_of_another_type(interpreter):
    with pytest.raises(TypeError):
        interpreter.get_tensor(0.5)
    with pytest.raises(TypeError):
        interpreter.resize_tensor_input(0, [1.5, 3])


def test_bad_subgraph(interpreter):
    with pytest.raises(ValueError, match="Invalid subgraph index 9 exceeds max subgraph index"):
        interpreter.get_tensor(0, 9)
    with pytest.raises(ValueError, match="subgraph_index is out of range: 9 for the model, which has 2 subgraphs."):
        interpreter.get_tensor_details(9)
    with pytest.raises(ValueError, match="Invalid node index"):
        interpreter._get_op_details(99)


def test_bad_resizes(interpreter):
    index = interpreter.get_input_details()[0]["index"]
    with pytest.raises(RuntimeError):
        interpreter.resize_tensor_input(index, [-1, 3])
    with pytest.raises(ValueError, match="32 bits"):
        interpreter.resize_tensor_input(index, [2**40, 3])
    with pytest.raises(RuntimeError, match="ResizeInputTensorStrict only allows mutating unknown dimensions identified by -1"):
        interpreter.resize_tensor_input(index, [1, 4], strict=True)
    with pytest.raises(RuntimeError):
        interpreter.resize_tensor_input(first_output(interpreter), [1, 3])
    interpreter.invoke()


def test_intermediate_tensors_cannot_be_read(model_path):
    interpreter = sigrun.Interpreter(model_path=model_path("dense2_dense1"))
    interpreter.allocate_tensors()
    seen = {d["index"] for d in interpreter.get_input_details() + interpreter.get_output_details()}
    constants, intermediates = [], []
    for details in interpreter.get_tensor_details():
        if details["index"] in seen:
            continue
        try:
            constants.append(interpreter.get_tensor(details["index"]))
        except ValueError as error:
            intermediates.append(str(error))
    assert constants
    assert intermediates
    assert all("memory is reused" in message for message in intermediates)


def test_constants_cannot_be_written(model_path):
    interpreter = sigrun.Interpreter(model_path=model_path("dense2_dense1"))
    interpreter.allocate_tensors()
    op = interpreter._get_ops_details()[0]
    weights = int(op["inputs"][1])
    with pytest.raises(ValueError, match="is a constant"):
        interpreter.set_tensor(weights, interpreter.get_tensor(weights))
    view = interpreter.tensor(weights)()
    assert not view.flags.writeable


def test_ops_details(interpreter):
    (op, *_) = interpreter._get_ops_details()
    assert set(op) == {"index", "op_name", "inputs", "outputs", "operand_types", "result_types"}
    assert op["op_name"] in ("ADD", "MUL")
    assert op["operand_types"] == [np.float32, np.float32]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "`model_path` or `model_content` must be specified."),
        ({"model_content": b""}, "`model_path` or `model_content` must be specified."),
        ({"model_path": "x", "model_content": b"x"}, "Can't both provide `model_path` and `model_content`"),
        ({"model_path": "nope.tflite"}, "Could not open 'nope.tflite'"),
        ({"model_path": "/"}, "Could not open '/'"),
        ({"model_content": b"short"}, "The model is not a valid Flatbuffer buffer"),
        ({"model_content": bytes(64)}, "The model is not a valid Flatbuffer buffer"),
        ({"num_threads": 0}, "num_threads should >= 1"),
        ({"num_threads": 2.0}, "type of num_threads should be int"),
        ({"precision": "higher"}, "precision should be 'highest', 'high' or 'medium', got 'higher'"),
        ({"precision": None}, "precision should be 'highest', 'high' or 'medium', got 'None'"),
        ({"experimental_op_resolver_type": "test"}, "Unrecognized passed in op resolver type: test"),
        ({"experimental_delegates": [object()]}, "delegates"),
    ],
)
def test_constructor_refuses(model_path, options, message):
    if {"num_threads", "precision"} & options.keys() or any(name.startswith("experimental") for name in options):
        options = {"model_path": model_path("dense2_dense1"), **options}
    with pytest.raises(ValueError, match=r".") as error:
        sigrun.Interpreter(**options)
    assert message in str(error.value)


def test_constructor_takes_what_litert_takes(model_path):
    path = pathlib.Path(model_path("dense2_dense1"))
    for model in (path, str(path), bytes(path)):
        assert sigrun.Interpreter(model, num_threads=True).num_subgraphs() == 1
    interpreter = sigrun.Interpreter(
        str(path),
        None,
        [],
        2,
        experimental_op_resolver_type=sigrun.OpResolverType.BUILTIN_REF,
        experimental_disable_delegate_clustering=True,
    )
    assert interpreter.num_threads == 2
    assert interpreter.precision == "highest"
    with pytest.raises(TypeError, match="unexpected"):
        sigrun.Interpreter(str(path), number_of_threads=2)


def test_missing_operators_are_told_late_and_by_name(model_path):
    interpreter = sigrun.Interpreter(model_path=model_path("unknown_operator"))
    assert interpreter.get_signature_list()
    assert interpreter.get_input_details()[0]["name"]
    assert "NoSuchOperator" in [op["op_name"] for op in interpreter._get_ops_details()]
    for call in (interpreter.allocate_tensors, interpreter.invoke, interpreter.get_signature_runner):
        with pytest.raises(RuntimeError, match="NoSuchOperator"):
            call()


def test_errors_do_not_accumulate(interpreter):
    messages = []
    for size in ([1, 5], [1, 6]):
        with pytest.raises(RuntimeError) as error:
            interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], size, strict=True)
        messages.append(str(error.value))
    assert "5" not in messages[1]


def test_says_what_it_does_to_a_logger_alone(model_path, caplog, capfd):
    with caplog.at_level("DEBUG", logger="sigrun"):
        sigrun.Interpreter(model_path=model_path("dense2_dense1"), num_threads=2)
    assert "threads 2" in caplog.text
    assert sigrun.build_info()["tier_in_use"] in caplog.text
    caplog.clear()
    sigrun.Interpreter(model_path=model_path("dense2_dense1"))
    assert caplog.text == ""
    assert capfd.readouterr() == ("", "")

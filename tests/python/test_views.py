"""Views of a runtime's memory never dangle, whatever goes away first."""

import gc
import weakref

import numpy as np
import pytest

import sigrun


@pytest.fixture
def interpreter(model_path):
    interpreter = sigrun.Interpreter(model_path=model_path("add_two_signatures"))
    interpreter.allocate_tensors()
    return interpreter


def inputs_of(interpreter):
    return [d["index"] for d in interpreter.get_input_details()]


def resize_inputs(interpreter, shape):
    for index in inputs_of(interpreter):
        interpreter.resize_tensor_input(index, shape)


def test_tensor_gives_a_view(interpreter):
    first, second = inputs_of(interpreter)
    view = interpreter.tensor(first)
    view()[...] = 3
    assert interpreter.get_tensor(first).tolist() == [[3, 3, 3]]
    interpreter.set_tensor(first, np.full((1, 3), 4, np.float32))
    assert view().tolist() == [[4, 4, 4]]
    assert view().dtype == np.float32
    assert view().base is not None
    assert not view().flags.owndata
    assert view().flags.aligned
    assert interpreter.tensor(second)().ctypes.data % 64 == 0


def test_views_may_be_held_while_running(interpreter):
    first, second = (interpreter.tensor(i)() for i in inputs_of(interpreter))
    outputs = [interpreter.tensor(d["index"])() for d in interpreter.get_output_details()]
    for value in (2, 5):
        first[...], second[...] = value, 3
        interpreter.invoke()
        assert any(np.all(output == 3 * value) for output in outputs)
    interpreter.allocate_tensors()  # the same shapes: nothing moves


def test_view_keeps_its_memory(interpreter):
    view = interpreter.tensor(inputs_of(interpreter)[0])()
    view[...] = 7
    gone = weakref.ref(interpreter)
    part = view[0, 1:]
    del interpreter, view
    gc.collect()
    filler = [np.full(3, i, np.float32) for i in range(1000)]
    assert gone() is None or part.tolist() == [7, 7]
    assert part.tolist() == [7, 7]
    part[...] = 8
    assert part.tolist() == [8, 8]
    del filler


def test_view_of_a_constant_keeps_the_model(model_path):
    with open(model_path("dense2_dense1"), "rb") as file:
        content = bytearray(file.read())
    interpreter = sigrun.Interpreter(model_content=content)
    interpreter.allocate_tensors()
    weights = int(interpreter._get_ops_details()[0]["inputs"][1])
    view, want = interpreter.tensor(weights)(), interpreter.get_tensor(weights)
    del interpreter
    gc.collect()
    np.testing.assert_array_equal(view, want)
    with pytest.raises(BufferError):
        content.extend(b"x")
    with pytest.raises(ValueError, match="read-only"):
        view[...] = 0
    del view
    gc.collect()
    content.extend(b"x")


def test_moving_a_held_tensor_is_refused(interpreter):
    index = inputs_of(interpreter)[0]
    view = interpreter.tensor(index)()
    view[...] = 1
    resize_inputs(interpreter, [4, 3])
    with pytest.raises(RuntimeError, match="There is at least 1 reference to internal data") as error:
        interpreter.allocate_tensors()
    assert "y_tensor" in str(error.value)
    assert "x_tensor" not in str(error.value)
    assert view.tolist() == [[1, 1, 1]]
    part = view[:, 1]
    del view
    gc.collect()
    with pytest.raises(RuntimeError, match="y_tensor"):
        interpreter.allocate_tensors()
    del part
    gc.collect()
    interpreter.allocate_tensors()
    assert interpreter.get_tensor(index).shape == (4, 3)


def test_call_that_would_move_a_view_is_refused(model_path):
    add = sigrun.Interpreter(model_path=model_path("add_two_signatures")).get_signature_runner("add")
    x = np.ones((1, 3), np.float32)
    add(x=x, y=x)
    view = add.output_tensor("result")
    with pytest.raises(RuntimeError, match="reference to internal data"):
        add(x=np.ones((2, 3), np.float32), y=np.ones((2, 3), np.float32))
    np.testing.assert_array_equal(add(x=x, y=3 * x)["result"], 4 * x)
    np.testing.assert_array_equal(view, 4 * x)


def test_own_views_as_inputs_and_targets(model_path):
    add = sigrun.Interpreter(model_path=model_path("add_two_signatures")).get_signature_runner("add")
    add.allocate_tensors()
    x, result = add.input_tensor("x"), add.output_tensor("result")
    x[...] = 1
    np.testing.assert_array_equal(add(x=x, y=x)["result"], np.full((1, 3), 2))
    np.testing.assert_array_equal(add(x=result, y=result)["result"], np.full((1, 3), 4))
    add.run({"x": x, "y": x}, out={"result": result})
    np.testing.assert_array_equal(result, np.full((1, 3), 4))


def test_views_between_runners(model_path):
    """One signature's output is another's input, without a copy of the caller's."""
    interpreter = sigrun.Interpreter(model_path=model_path("add_two_signatures"))
    add, mul = interpreter.get_signature_runner("add"), interpreter.get_signature_runner("mul")
    x = np.full((1, 3), 2, np.float32)
    add(x=x, y=x)
    np.testing.assert_array_equal(mul(x=add.output_tensor("result"), y=x)["result"], 8 * x / 2)


def test_runner_is_freed_with_its_last_view(model_path):
    add = sigrun.Interpreter(model_path=model_path("add_two_signatures")).get_signature_runner("add")
    add.allocate_tensors()
    view = add.input_tensor("x")
    gone = weakref.ref(add)
    del add
    gc.collect()
    assert gone() is None
    view[...] = 5
    assert view.sum() == 15

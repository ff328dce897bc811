"""Calls by signature: names, dtypes, shapes, errors."""

import threading

import numpy as np
import pytest

import sigrun


@pytest.fixture
def interpreter(model_path):
    return sigrun.Interpreter(model_path=model_path("add_two_signatures"))


@pytest.fixture
def add(interpreter):
    return interpreter.get_signature_runner("add")


def rows(*values):
    return np.repeat(np.array(values, np.float32)[:, None], 3, axis=1)


def test_signature_list(interpreter):
    assert interpreter.get_signature_list() == {
        "mul": {"inputs": ["x", "y"], "outputs": ["result", "twice"]},
        "add": {"inputs": ["x", "y"], "outputs": ["alias", "result", "twice"]},
    }


def test_call(add):
    outputs = add(x=rows(1), y=rows(2))
    assert list(outputs) == ["alias", "result", "twice"]
    np.testing.assert_array_equal(outputs["result"], rows(3))
    assert outputs["result"].dtype == np.float32
    assert outputs["result"].flags.owndata


def test_results_are_the_callers(add):
    first = add(x=rows(1), y=rows(2))["result"]
    add(x=rows(5), y=rows(5))
    np.testing.assert_array_equal(first, rows(3))


def test_batches_in_turn(add):
    for batch in (1, 4, 2, 4, 1, 7):
        x = rows(*range(batch))
        np.testing.assert_array_equal(add(x=x, y=x)["result"], 2 * x)
        assert add.get_input_details()["x"]["shape"].tolist() == [batch, 3]
        assert add.get_output_details()["result"]["shape"].tolist() == [batch, 3]


def test_empty_batch(add):
    assert add(x=rows(), y=rows())["result"].shape == (0, 3)


def test_lists_and_scalars(add):
    outputs = add(x=[[1, 2, 3]], y=((0.5, 0.5, 0.5),))
    np.testing.assert_array_equal(outputs["result"], np.array([[1.5, 2.5, 3.5]], np.float32))
    assert add(x=2, y=[1.0])["result"].shape == (1,)


def test_runners_are_independent(interpreter):
    first, second = interpreter.get_signature_runner("add"), interpreter.get_signature_runner("add")
    first.allocate_tensors()
    second.allocate_tensors()
    first.input_tensor("x")[...] = 1
    second.input_tensor("x")[...] = 7
    interpreter.allocate_tensors()  # not refused while runners and views live
    assert first.input_tensor("x")[0, 0] == 1


def test_runner_outlives_its_interpreter(model_path):
    run = sigrun.Interpreter(model_path=model_path("add_two_signatures")).get_signature_runner("mul")
    np.testing.assert_array_equal(run(x=rows(3), y=rows(4))["result"], rows(12))


def test_details(add):
    inputs, outputs = add.get_input_details(), add.get_output_details()
    assert list(inputs) == ["x", "y"]
    assert list(outputs) == ["alias", "result", "twice"]
    assert inputs["x"]["name"] == "x_tensor"
    assert inputs["x"]["shape_signature"].tolist() == [-1, 3]
    assert outputs["alias"]["index"] == outputs["result"]["index"] or outputs["alias"]["index"] == outputs["twice"]["index"]


def test_names_and_key(add):
    assert add.signature_key == "add"
    assert add.input_names == ["x", "y"]
    assert add.output_names == ["alias", "result", "twice"]
    assert "add" in repr(add)


def test_unused_input_and_constant_output(model_path):
    run = sigrun.Interpreter(model_path=model_path("boundaries")).get_signature_runner()
    x = np.float32([[1, 2], [3, 4]])
    outputs = run(x=x, unused=np.zeros(3, np.int32))
    np.testing.assert_array_equal(outputs["same"], x)
    assert list(outputs) == ["constant", "same", "total"]


def test_default_signature(model_path):
    interpreter = sigrun.Interpreter(model_path=model_path("no_signatures"))
    assert interpreter.get_signature_list() == {}
    for run in (interpreter.get_signature_runner(), interpreter.get_signature_runner("serving_default")):
        assert run.signature_key == "serving_default"
        assert run.input_names == ["x"]
        assert len(run(x=np.zeros((1, 4), np.float32))) == 1


def test_default_signature_without_names(model_path):
    run = sigrun.Interpreter(model_path=model_path("no_signatures_no_names")).get_signature_runner()
    assert run.input_names == ["input0", "input1"]
    x = np.ones((2, 3), np.float32)
    outputs = run(input0=x, input1=x)
    assert list(outputs) == [f"output{i}" for i in range(len(outputs))]


# --- errors -------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (None, "SignatureDef signature_key is None and model has 2 Signatures. None is only allowed when the model has 1 SignatureDef"),
        ("", "None signature_key provided."),
        ("dummy", 'Invalid signature_key provided: "dummy".'),
        (3, 'Invalid signature_key provided: "3".'),
    ],
)
def test_bad_keys(interpreter, key, message):
    with pytest.raises(ValueError, match=r".") as error:
        interpreter.get_signature_runner(key)
    assert str(error.value).startswith(message)


def test_positional_arguments(add):
    by_name = add(x=rows(1), y=rows(2))
    for by_position in (add(rows(1), rows(2)), add(rows(1), y=rows(2))):
        for name, value in by_name.items():
            np.testing.assert_array_equal(by_position[name], value)
    with pytest.raises(TypeError, match="3"):
        add(rows(1), rows(2), rows(3))
    with pytest.raises(TypeError, match="'x'"):
        add(rows(1), rows(2), x=rows(3))


def test_missing_input(add):
    with pytest.raises(ValueError, match="Invalid number of inputs provided for running a SignatureDef, expected 2 vs provided 1") as error:
        add(x=rows(1))
    assert "'y'" in str(error.value)
    with pytest.raises(ValueError, match="expected 2 vs provided 0"):
        add()


def test_unknown_input(model_path):
    run = sigrun.Interpreter(model_path=model_path("convnet_float32")).get_signature_runner()
    with pytest.raises(ValueError, match=r"Invalid Input name \(imgae\) for SignatureDef.* Did you mean 'image'\?"):
        run(imgae=np.zeros((1, 12, 12, 3), np.float32))
    with pytest.raises(ValueError, match=r"Invalid Input name \(extra\) for SignatureDef"):
        run(image=np.zeros((1, 12, 12, 3), np.float32), extra=1)


def test_another_dtype(add):
    with pytest.raises(ValueError, match="Cannot set tensor: Got value of type FLOAT64 but expected type FLOAT32 for input .*'y'"):
        add(x=rows(1), y=np.ones((1, 3)))
    with pytest.raises(ValueError, match="STRING but expected type FLOAT32"):
        add(x=rows(1), y="one")
    with pytest.raises(ValueError, match="BOOL but expected type FLOAT32"):
        add(x=rows(1), y=np.ones((1, 3), bool))


def test_values_that_are_no_arrays(add):
    for value in (None, object(), {}, [[1], [1, 2]], {1, 2}):
        with pytest.raises((ValueError, TypeError)):
            add(x=rows(1), y=value)
    np.testing.assert_array_equal(add(x=rows(1), y=rows(2))["result"], rows(3))


def test_shapes_that_do_not_fit(add):
    with pytest.raises(RuntimeError) as error:
        add(x=rows(1, 2), y=rows(1, 2, 3))
    assert isinstance(error.value, ValueError)
    assert "ADD" in str(error.value)
    np.testing.assert_array_equal(add(x=rows(1, 2), y=rows(1, 2))["result"], rows(2, 4))


def test_refused_call_keeps_the_plan(add):
    add(x=rows(1), y=rows(2))
    with pytest.raises(RuntimeError):
        add(x=rows(1, 2), y=rows(1, 2, 3))
    add.invoke()
    assert add.get_input_details()["x"]["shape"].tolist() == [1, 3]
    np.testing.assert_array_equal(add.get_tensor("result"), rows(3))


# --- native calls -------------------------------------------------------------------------------------------------------------------------


def test_native_calls(add):
    add.resize_input_tensor("x", [2, 3])
    add.resize_input_tensor("y", (2, 3))
    add.allocate_tensors()
    x, y, result = add.input_tensor("x"), add.input_tensor("y"), add.output_tensor("result")
    x[...], y[...] = rows(1, 2), rows(10, 20)
    add.invoke()
    np.testing.assert_array_equal(result, rows(11, 22))
    x[...] = 0
    add.invoke()
    np.testing.assert_array_equal(result, rows(10, 20))


def test_native_errors(add):
    with pytest.raises(RuntimeError, match="Invoke called on model that is not ready"):
        add.invoke()
    with pytest.raises(ValueError, match=r"allocate_tensors\(\)"):
        add.input_tensor("x")
    with pytest.raises(ValueError, match=r"allocate_tensors\(\)"):
        add.output_tensor("result")
    add.allocate_tensors()
    with pytest.raises(ValueError, match=r"Invalid Input name \(z\)"):
        add.input_tensor("z")
    with pytest.raises(ValueError, match=r"Invalid Output name \(resutl\).* Did you mean 'result'"):
        add.output_tensor("resutl")
    with pytest.raises(ValueError, match=r"Invalid Input name \(z\)"):
        add.resize_input_tensor("z", [1])
    with pytest.raises(ValueError, match="negative"):
        add.resize_input_tensor("x", [-1, 3])
    with pytest.raises(TypeError):
        add.resize_input_tensor("x", 3)


def test_resized_but_not_allocated(add):
    add.allocate_tensors()
    add.resize_input_tensor("x", [2, 3])
    assert add.get_input_details()["x"]["shape"].tolist() == [2, 3]
    with pytest.raises(RuntimeError, match="not ready"):
        add.invoke()
    np.testing.assert_array_equal(add(x=rows(1), y=rows(2))["result"], rows(3))


def test_set_and_get_by_name(add):
    add.allocate_tensors()
    add.set_tensor("x", [[1, 2, 3]])
    add.set_tensor("y", rows(1))
    add.invoke()
    assert add.get_tensor("result").tolist() == [[2, 3, 4]]
    assert add.get_tensor("x").tolist() == [[1, 2, 3]]
    with pytest.raises(ValueError, match="Dimension mismatch"):
        add.set_tensor("x", rows(1, 2))


# --- out= ---------------------------------------------------------------------------------------------------------------------------------


def test_out(add):
    out = {"result": np.zeros((1, 3), np.float32)}
    outputs = add.run({"x": rows(1), "y": rows(2)}, out=out)
    assert outputs["result"] is out["result"]
    assert list(outputs) == ["alias", "result", "twice"]
    np.testing.assert_array_equal(out["result"], rows(3))


def test_run_without_out_is_a_call(add):
    np.testing.assert_array_equal(add.run({"x": rows(1), "y": rows(2)})["result"], rows(3))


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ({"resutl": np.zeros((1, 3), np.float32)}, "Did you mean 'result'"),
        ({"result": np.zeros((1, 3))}, "FLOAT64"),
        ({"result": np.zeros((2, 3), np.float32)}, "shape"),
        ({"result": np.zeros((1, 6), np.float32)[:, ::2]}, "C-contiguous"),
        ({"result": np.broadcast_to(np.float32(0), (1, 3))}, "C-contiguous"),
        ({"result": [0, 0, 0]}, "not an array"),
    ],
)
def test_out_that_does_not_fit(add, out, message):
    with pytest.raises(ValueError, match=message):
        add.run({"x": rows(1), "y": rows(2)}, out=out)


# --- threads ------------------------------------------------------------------------------------------------------------------------------


def in_threads(functions):
    errors = []

    def guarded(function):
        try:
            function()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert not errors, errors


def test_one_runner_in_four_threads(add):
    def work(seed):
        rng = np.random.default_rng(seed)
        for _ in range(500):
            x = rng.standard_normal((int(rng.integers(1, 5)), 3)).astype(np.float32)
            np.testing.assert_array_equal(add(x=x, y=2 * x)["result"], x + 2 * x)

    in_threads([lambda seed=seed: work(seed) for seed in range(4)])


def test_two_runners_of_one_interpreter_in_two_threads(interpreter):
    def work(key, operation):
        run = interpreter.get_signature_runner(key)
        rng = np.random.default_rng(0)
        for _ in range(500):
            x, y = rng.standard_normal((2, 3, 3)).astype(np.float32)
            np.testing.assert_array_equal(run(x=x, y=y)["result"], operation(x, y))

    in_threads([lambda: work("add", np.add), lambda: work("mul", np.multiply)])


def test_one_model_in_many_interpreters(model_path):
    model = sigrun.Model.from_file(model_path("dynamic_batch"))
    want = sigrun.Interpreter(model=model).get_signature_runner()(image=np.ones((2, 8, 8, 3), np.float32))

    def work():
        run = sigrun.Interpreter(model=model, num_threads=2).get_signature_runner()
        for _ in range(20):
            got = run(image=np.ones((2, 8, 8, 3), np.float32))
            for name, value in want.items():
                np.testing.assert_array_equal(got[name], value)

    in_threads([work] * 3)

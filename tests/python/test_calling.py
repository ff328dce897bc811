"""What a call takes and gives beyond LiteRT: positions, casts, foreign arrays, floats for quantised models, batches, time limits."""

import asyncio
import threading
import time

import numpy as np
import pytest

import sigrun


@pytest.fixture
def add(model_path):
    return sigrun.Interpreter(model_path=model_path("add_two_signatures")).get_signature_runner("add")


def rows(*values):
    return np.repeat(np.array(values, np.float32)[:, None], 3, axis=1)


def test_positions_follow_the_names(add):
    np.testing.assert_array_equal(add(rows(1), rows(2))["result"], rows(3))
    np.testing.assert_array_equal(add(rows(1), y=rows(2))["result"], rows(3))
    with pytest.raises(TypeError, match="multiple values for input 'x'"):
        add(rows(1), x=rows(1))
    with pytest.raises(TypeError, match="takes 2 inputs"):
        add(rows(1), rows(1), rows(1))


class SpeaksDLPack:
    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


class SpeaksArray:
    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array


@pytest.mark.parametrize("wrap", [SpeaksDLPack, SpeaksArray, memoryview])
def test_foreign_arrays(add, wrap):
    np.testing.assert_array_equal(add(x=wrap(rows(1)), y=rows(2))["result"], rows(3))


def test_casts_by_numpys_rules(add):
    halves, doubles, integers = rows(1).astype(np.float16), rows(1).astype(np.float64), rows(1).astype(np.int64)
    for inputs in ({"x": doubles, "y": rows(1)}, {"x": integers, "y": rows(1)}):
        with pytest.raises(sigrun.DTypeError, match="expected type FLOAT32"):
            add.run(inputs)
    np.testing.assert_array_equal(add.run({"x": halves, "y": rows(1)}, cast="safe")["result"], rows(2))
    np.testing.assert_array_equal(add.run({"x": doubles, "y": rows(1)}, cast="same_kind")["result"], rows(2))
    with pytest.raises(sigrun.DTypeError, match="input 'x': cannot cast float64 to float32 by the rule 'safe'"):
        add.run({"x": doubles, "y": rows(1)}, cast="safe")
    with pytest.raises(ValueError, match="cast should be one of"):
        add.run({"x": rows(1), "y": rows(1)}, cast="unsafe")


def large(count):
    return np.arange(count * 3, dtype=np.float32).reshape(count, 3)


def test_arrays_are_read_and_written_where_they_stand(add):
    rows_of_64_mb = (64 << 20) // 12
    x, out = large(rows_of_64_mb), np.empty((rows_of_64_mb, 3), np.float32)
    results = add.run({"x": x, "y": x}, out={"result": out})
    assert results["result"] is out
    np.testing.assert_array_equal(out, 2 * x)
    own = add.input_tensor("x")
    assert not np.array_equal(own, x)  # the runner's own memory has not seen it
    results = add.run({"x": x, "y": x}, out={"result": out})
    np.testing.assert_array_equal(own, x)  # but a view does
    np.testing.assert_array_equal(results["result"], 2 * x)


def test_input_and_output_in_one_array(add):
    x = large(4096)
    wanted = 2 * x
    add.run({"x": x, "y": x}, out={"result": x})
    np.testing.assert_array_equal(x, wanted)
    shared = np.zeros((4097, 3), np.float32)
    shared[:4096] = large(4096)
    wanted = 2 * large(4096)
    add.run({"x": shared[:4096], "y": shared[:4096]}, out={"result": shared[1:]})
    np.testing.assert_array_equal(shared[1:], wanted)


def test_native_steps_after_a_call(add):
    x = large(4096)
    add.resize_input_tensor("x", x.shape)
    add.resize_input_tensor("y", x.shape)
    add.allocate_tensors()
    add.set_tensor("x", x)
    add.set_tensor("y", x)
    add(x=5 * x, y=x)
    add.invoke()
    np.testing.assert_array_equal(add.get_tensor("result"), 2 * x)


def test_run_signature_writes_into_the_callers_arrays(model_path):
    interpreter = sigrun.Interpreter(model_path=model_path("add_two_signatures"))
    out = np.empty((1, 3), np.float32)
    interpreter.run_signature({"x": rows(2), "y": rows(3)}, {"result": out}, "mul")
    np.testing.assert_array_equal(out, rows(6))
    interpreter.run_signature({"x": rows(2), "y": rows(3)}, {"result": out}, "add")
    np.testing.assert_array_equal(out, rows(5))


def test_floats_for_a_quantized_model(model_path, rng):
    interpreter = sigrun.Interpreter(model_path=model_path("convnet_int8"))
    raw, floats = interpreter.get_signature_runner(), interpreter.get_signature_runner(quantized_io="float")
    (name, details), (output, output_details) = next(iter(raw.get_input_details().items())), next(iter(raw.get_output_details().items()))
    scale, zero_point = details["quantization"]
    integers = rng.integers(-128, 128, details["shape"]).astype(np.int8)
    values = ((integers.astype(np.float64) - zero_point) * scale).astype(np.float32)
    wanted = (raw(**{name: integers})[output].astype(np.float64) - output_details["quantization"][1]) * output_details["quantization"][0]
    got = floats(**{name: values})[output]
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, wanted, rtol=1e-6)
    out = np.empty(got.shape, np.float32)
    assert floats.run({name: values}, out={output: out})[output] is out
    np.testing.assert_array_equal(out, got)
    saturated = floats(**{name: np.full(details["shape"], 1e9, np.float32)})[output]
    np.testing.assert_array_equal(saturated, floats(**{name: np.full(details["shape"], (127 - zero_point) * scale, np.float32)})[output])
    with pytest.raises(ValueError, match="quantized_io"):
        interpreter.get_signature_runner(quantized_io="int")


def test_map_keeps_the_order(add):
    items = [{"x": np.float32([i, i, i]), "y": np.float32([1, 2, 3])} for i in range(11)]
    results = list(add.map(iter(items), batch=4))
    assert len(results) == 11
    for i, result in enumerate(results):
        np.testing.assert_array_equal(result["result"], np.float32([i + 1, i + 2, i + 3]))
    with pytest.raises(ValueError, match="batch should be at least 1"):
        add.map(items, batch=0)


def test_map_needs_a_batch_dimension(model_path):
    runner = sigrun.Interpreter(model_path=model_path("convnet_int8")).get_signature_runner()
    if next(iter(runner.get_input_details().values()))["shape_signature"][0] == -1:
        pytest.skip("this model has one")
    with pytest.raises(sigrun.ShapeError, match="fixed first dimension"):
        runner.map([], batch=4)


def test_timeout_leaves_the_runner_usable(add):
    x = large(1 << 20)
    with pytest.raises(TimeoutError):
        add.run({"x": x, "y": x}, timeout=1e-9)
    with pytest.raises(ValueError, match="timeout"):
        add.run({"x": x, "y": x}, timeout=0)
    np.testing.assert_array_equal(add.run({"x": rows(1), "y": rows(1)}, timeout=60)["result"], rows(2))


def test_cancel_from_another_thread(add):
    x = large(1 << 20)
    stop = threading.Event()

    def cancel():
        while not stop.is_set():
            add.cancel()
            time.sleep(0)

    thread = threading.Thread(target=cancel)
    thread.start()

    def until_cancelled():
        for _ in range(10000):
            add(x=x, y=x)

    try:
        with pytest.raises(sigrun.CancelledError):
            until_cancelled()
    finally:
        stop.set()
        thread.join()
    np.testing.assert_array_equal(add(x=rows(1), y=rows(1))["result"], rows(2))


def test_async_calls(add):
    async def both():
        return await asyncio.gather(*(add.call_async(x=rows(i), y=rows(1)) for i in range(20)))

    for i, result in enumerate(asyncio.run(both())):
        np.testing.assert_array_equal(result["result"], rows(i + 1))


def test_cancelled_task_leaves_other_calls_alone(add):
    x = large(1 << 18)

    async def one_of_two():
        first = asyncio.create_task(add.call_async(x=x, y=x))
        second = asyncio.create_task(add.call_async(x=rows(1), y=rows(1)))
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        return await second

    np.testing.assert_array_equal(asyncio.run(one_of_two())["result"], rows(2))


def test_reference_kernels_and_preserved_tensors(model_path, rng):
    path = model_path("convnet_int8")
    plain, kept = sigrun.Interpreter(model_path=path), sigrun.Interpreter(model_path=path, experimental_preserve_all_tensors=True)
    reference = sigrun.Interpreter(model_path=path, experimental_op_resolver_type=sigrun.OpResolverType.BUILTIN_REF)
    results = []
    for interpreter in (plain, kept, reference):
        interpreter.allocate_tensors()
        details = interpreter.get_input_details()[0]
        interpreter.set_tensor(details["index"], np.random.default_rng(1).integers(-128, 128, details["shape"]).astype(details["dtype"]))
        interpreter.invoke()
        results.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])
    for operator in kept._get_ops_details():
        for index in operator["outputs"]:
            assert kept.get_tensor(index).size > 0

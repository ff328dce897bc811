"""String tensors: bytes in, bytes out, of any length and rank."""

import numpy as np
import pytest

import sigrun


@pytest.fixture
def encode(model_path):
    return sigrun.Interpreter(model_path=model_path("encode_decode")).get_signature_runner("encode")


@pytest.fixture
def decode(model_path):
    return sigrun.Interpreter(model_path=model_path("encode_decode")).get_signature_runner("decode")


def test_encode(encode):
    result = encode(x=np.float32([1, 2, 3]))["encoded_result"]
    assert result.dtype == object
    assert result.tolist() == [b"1.000000", b"2.000000", b"3.000000"]


def test_round_trip(encode, decode):
    x = np.float32([0, -1.5, 1e6])
    np.testing.assert_array_equal(decode(x=encode(x=x)["encoded_result"])["decoded_result"], x)


@pytest.mark.parametrize(
    "value",
    [
        np.array([b"1.5", b"-2"], object),
        np.array(["1.5", "-2"], object),
        np.array([b"1.5", b"-2"]),
        np.array(["1.5", "-2"]),
        np.array([b"1.5", b"x", b"-2", b"x"], object)[::2],
        np.array([np.bytes_(b"1.5"), np.str_("-2")], object),
        [b"1.5", "-2"],
        ("1.5", b"-2"),
    ],
    ids=["objects", "texts", "S", "U", "strided", "numpy scalars", "list", "tuple"],
)
def test_what_strings_may_be(decode, value):
    np.testing.assert_array_equal(decode(x=value)["decoded_result"], np.float32([1.5, -2]))


@pytest.mark.parametrize("shape", [(), (0,), (1,), (2, 3), (1, 1, 4)])
def test_ranks(encode, decode, shape):
    x = np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)
    encoded = encode(x=x)["encoded_result"]
    assert encoded.shape == shape
    assert encoded.dtype == object
    np.testing.assert_array_equal(decode(x=encoded)["decoded_result"], x)


@pytest.mark.parametrize("value", [b"2.5", "2.5", np.bytes_(b"2.5"), np.array(b"2.5"), np.array("2.5", object)])
def test_scalars(decode, value):
    result = decode(x=value)["decoded_result"]
    assert result.shape == ()
    assert result == np.float32(2.5)


@pytest.mark.parametrize("value", [np.array([1.5], object), np.array([None]), [b"1", None], np.array([b"1", [b"2"]], object)])
def test_elements_that_are_no_strings(decode, value):
    with pytest.raises(ValueError, match="Cannot set tensor: element .* strings are bytes or str"):
        decode(x=value)


@pytest.mark.parametrize("value", [np.float32([1]), np.array([1]), np.array([True])])
def test_arrays_that_are_no_strings(decode, value):
    with pytest.raises(ValueError, match="but expected type STRING"):
        decode(x=value)


def test_bad_values_are_the_models_error(decode):
    with pytest.raises(RuntimeError, match="abc"):
        decode(x=[b"abc"])
    np.testing.assert_array_equal(decode(x=[b"1"])["decoded_result"], np.float32([1]))


def test_by_index(model_path):
    interpreter = sigrun.Interpreter(model_path=model_path("encode_decode"))
    (tensor,) = interpreter.get_input_details()
    assert tensor["dtype"] is np.bytes_
    interpreter.resize_tensor_input(tensor["index"], [3])
    interpreter.allocate_tensors()
    value = [b"1", b"", b"a\0b\xff\0"]
    interpreter.set_tensor(tensor["index"], np.array(value, object))
    assert interpreter.get_tensor(tensor["index"]).tolist() == value
    with pytest.raises(ValueError, match="which numpy cannot show in place"):
        interpreter.tensor(tensor["index"])()


def test_by_name_without_a_call(decode):
    decode.resize_input_tensor("x", [2])
    decode.allocate_tensors()
    decode.set_tensor("x", [b"1", b"2"])
    decode.invoke()
    np.testing.assert_array_equal(decode.output_tensor("decoded_result"), np.float32([1, 2]))
    with pytest.raises(ValueError, match="which numpy cannot show in place"):
        decode.input_tensor("x")


def test_long_strings(model_path):
    interpreter = sigrun.Interpreter(model_path=model_path("encode_decode"))
    index = interpreter.get_input_details()[0]["index"]
    interpreter.allocate_tensors()
    value = b"x" * 1_000_000
    interpreter.set_tensor(index, [value])
    assert interpreter.get_tensor(index)[0] == value


def test_out(encode):
    out = np.full(2, None, object)
    encode.run({"x": np.float32([1, 2])}, out={"encoded_result": out})
    assert out.tolist() == [b"1.000000", b"2.000000"]

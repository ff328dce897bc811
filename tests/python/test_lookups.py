"""Operators that map the bytes of one tensor to bytes become one table look-up, which gives LiteRT's bytes."""

import numpy as np
import pytest
from one_op import litert, mm

import sigrun

SHAPE = [1, 5, 7, 16]


class Bytes:
    """A graph of 8-bit operators on one input."""

    def __init__(self, dtype="int8"):
        self.g = mm.Graph("main")
        self.dtype, self.low = dtype, -128 if dtype == "int8" else 0
        self.x = self.quantised(self.g.input("x", SHAPE, dtype), 0.05, 7)

    def quantised(self, v, scale, zero_point):
        self.g.tensors[v].quant = mm.Quant(np.array([scale]), np.array([self.low + 128 + zero_point]))
        return v

    def const(self, value, scale, zero_point=0, shape=()):
        return self.quantised(self.g.const(np.full(shape, self.low + 128 + value, self.dtype)), scale, zero_point)

    def op(self, code, *operands, scale=0.05, zero_point=0, **fields):
        options = {"ADD": "AddOptions", "MUL": "MulOptions", "LEAKY_RELU": "LeakyReluOptions"}.get(code, "")
        return self.quantised(self.g.op(code, list(operands), SHAPE, options, **fields), scale, zero_point)

    def logistic(self, v):
        return self.op("LOGISTIC", v, scale=1 / 256, zero_point=-128)


def swish(b):
    return {"y": b.op("MUL", b.x, b.logistic(b.x), scale=0.04, zero_point=-100)}


def hard_swish(b):
    plus = b.op("ADD", b.x, b.const(100, 0.03, shape=(1, 1, 1, 1)), fusedActivationFunction=mm.RELU6, zero_point=-128)
    return {"y": b.op("MUL", b.op("MUL", b.x, plus, scale=0.3), b.const(1, 1 / 6), scale=0.04)}


def square_of_a_gate_that_is_an_output(b):
    gate = b.logistic(b.x)
    return {"gate": gate, "y": b.op("MUL", gate, gate, scale=1 / 256, zero_point=-128)}


def chain(b):
    return {"y": b.op("TANH", b.op("LEAKY_RELU", b.x, alpha=0.3), scale=1 / 128)}


def known(b):
    return {"y": b.op("ADD", b.x, b.const(100, 0.03), fusedActivationFunction=mm.RELU)}


def channels(b):
    """What differs from channel to channel is no function of a byte."""
    factors = b.quantised(b.g.const(np.arange(16).astype(b.dtype)), 0.1, 0)
    return {"y": b.op("MUL", b.x, factors, scale=0.1)}


def floats(b):
    """x * tanh(x) + 1, not of bytes."""
    x = b.g.op("DEQUANTIZE", [b.x], SHAPE, dtype="float32")
    product = b.g.op("MUL", [x, b.g.op("TANH", [x], SHAPE)], SHAPE, "MulOptions")
    plus = b.g.op("ADD", [product, b.g.const(np.float32(1))], SHAPE, "AddOptions")
    return {"y": b.quantised(b.g.op("QUANTIZE", [plus], SHAPE, dtype=b.dtype), 0.05, 7)}


def floats_by_channel(b):
    x = b.g.op("DEQUANTIZE", [b.x], SHAPE, dtype="float32")
    product = b.g.op("MUL", [x, b.g.const(np.arange(16).astype("float32"))], SHAPE, "MulOptions")
    return {"y": b.quantised(b.g.op("QUANTIZE", [product], SHAPE, dtype=b.dtype), 0.4, 7)}


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize(
    ("make", "steps"),
    [
        (swish, {"sigrun.lookup"}),
        (hard_swish, {"sigrun.lookup"}),
        (square_of_a_gate_that_is_an_output, {"LOGISTIC", "sigrun.lookup"}),
        (chain, {"sigrun.lookup"}),
        (known, {"sigrun.lookup"}),
        (channels, {"MUL"}),
        (floats, {"sigrun.lookup"}),
        (floats_by_channel, {"DEQUANTIZE", "MUL", "QUANTIZE"}),
    ],
)
def test_against_litert(make, steps, dtype):
    b = Bytes(dtype)
    content = mm.served(b.g, **make(b)).tobytes()
    x = np.resize(np.arange(256) + b.low, SHAPE).astype(dtype)
    reference = litert.Interpreter(model_content=content, experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF)
    want = reference.get_signature_runner()(x=x)
    runner = sigrun.Interpreter(model_content=content).get_signature_runner()
    got = runner(x=x)
    for name, value in want.items():
        np.testing.assert_array_equal(got[name], value, err_msg=name)
    assert {step.op for step in runner.plan.steps} == steps

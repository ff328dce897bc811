"""Elementwise operators on float16 and bfloat16 are those on float32 with each result rounded once, as NumPy computes them."""

import numpy as np
import pytest
from one_op import build, case, real, run

import sigrun

ml_dtypes = pytest.importorskip("ml_dtypes")

UNARY = {
    "ABS": np.abs,
    "NEG": np.negative,
    "SQUARE": np.square,
    "FLOOR": np.floor,
    "SQRT": lambda x: np.sqrt(x),
    "EXP": np.exp,
    "TANH": np.tanh,
    "RELU": lambda x: np.maximum(x, 0),
}
BINARY = {"ADD": np.add, "SUB": np.subtract, "MUL": np.multiply, "DIV": np.divide, "MAXIMUM": np.maximum, "MINIMUM": np.minimum}
OPTIONS = {"ADD": "AddOptions", "SUB": "SubOptions", "MUL": "MulOptions", "DIV": "DivOptions"}


def check(c, want):
    got = run(sigrun.Interpreter(model_content=build(c)), c)["o0"]
    assert got.dtype == want.dtype
    np.testing.assert_allclose(got.astype("float64"), want.astype("float64"), rtol=float(ml_dtypes.finfo(want.dtype).eps), atol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("op", UNARY)
def test_unary(op, dtype):
    x = np.abs(real(3, 200)).astype(dtype)
    check(case(op, [x], (dtype, x.shape)), UNARY[op](x.astype("float32")).astype(dtype))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("op", BINARY)
def test_binary_that_broadcasts(op, dtype):
    a, b = real(2, 3, 200).astype(dtype), (np.abs(real(3, 1)) + 1).astype(dtype)
    check(
        case(op, [a, b], (dtype, a.shape), options=OPTIONS.get(op, "")), BINARY[op](a.astype("float32"), b.astype("float32")).astype(dtype)
    )

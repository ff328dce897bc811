"""Floats below 2^-126: sums and products may take them for 0, other operators and the caller's own arithmetic do not."""

import numpy as np
import pytest
from one_op import build, case, const, run

import sigrun

TINY = np.float32(1e-40)
LEAST_NORMAL = 2.0**-126
SHAPE = (2, 33)
TINIES = np.linspace(1e-44, 1e-38, 66, dtype="float32").reshape(SHAPE)
WEIGHTS = np.linspace(-0.9, 1, 5 * 33, dtype="float32").reshape(5, 33)


def outputs(c, threads=1):
    return run(sigrun.Interpreter(model_content=build(c), num_threads=threads), c)["o0"]


def of_tinies(op, expected, *more, dtype="float32", **fields):
    return case(op, [np.full(SHAPE, TINY), *more], (dtype, SHAPE), **fields), np.full(SHAPE, expected, dtype)


@pytest.mark.parametrize(
    ("c", "expected"),
    [
        of_tinies("LOG", np.log(1e-40)),
        of_tinies("SQRT", 1e-20),
        of_tinies("RSQRT", 1e20),
        of_tinies("CEIL", 1),
        of_tinies("SIGN", 1),
        of_tinies("ABS", TINY),
        of_tinies("DIV", 0.5, np.full(SHAPE, 2e-40, "float32"), options="DivOptions"),
        of_tinies("GREATER", True, np.zeros(SHAPE, "float32"), options="GreaterOptions", dtype="bool"),
        of_tinies("CAST", True, options="CastOptions", dtype="bool"),
    ],
    ids=lambda c: getattr(c, "op", ""),
)
def test_what_depends_on_them_sees_them(c, expected):
    np.testing.assert_allclose(outputs(c), expected, rtol=1e-3)


@pytest.mark.parametrize(
    ("c", "expected"),
    [
        (case("ADD", [TINIES, TINIES], ("float32", SHAPE), options="AddOptions"), 2 * TINIES),
        (case("MUL", [TINIES, TINIES * 0 + 1], ("float32", SHAPE), options="MulOptions"), TINIES),
        (case("EXP", [np.linspace(-110, -80, 66, dtype="float32").reshape(SHAPE)], ("float32", SHAPE)), np.exp(np.linspace(-110, -80, 66))),
        (case("TANH", [TINIES], ("float32", SHAPE)), TINIES),
        (
            case("FULLY_CONNECTED", [TINIES, const(WEIGHTS, "float32")], ("float32", (2, 5)), options="FullyConnectedOptions"),
            TINIES @ WEIGHTS.T,
        ),
    ],
    ids=lambda c: getattr(c, "op", ""),
)
@pytest.mark.parametrize("threads", [1, 2])
def test_sums_and_products_lose_no_more_than_them(c, expected, threads):
    got = outputs(c, threads)
    terms = c.inputs[0].shape[-1] if c.op == "FULLY_CONNECTED" else 2
    np.testing.assert_allclose(got, np.reshape(expected, got.shape), rtol=1e-5, atol=terms * LEAST_NORMAL)


@pytest.mark.parametrize("largest", [0.0, 1e-45, 1e-40, 1.1e-38, 1e-36])
def test_rows_of_tiny_numbers_are_rounded_to_finite_ones(largest):
    """Hybrid products scale rows by a 127th of what is largest in them, which may be denormal where the row is not."""
    rows = np.linspace(-largest, largest, 66, dtype="float32").reshape(SHAPE)
    weights = const(np.arange(-82, 83).reshape(5, 33), "int8")
    c = case(
        "FULLY_CONNECTED",
        [rows, weights],
        ("float32", (2, 5)),
        options="FullyConnectedOptions",
        quant=[(0.0, 0), (0.01, 0), (0.0, 0)],
    )
    want = rows @ (0.01 * np.asarray(weights, "float32")).T
    np.testing.assert_allclose(outputs(c), want, rtol=0, atol=33 * (largest / 100 + 127 * LEAST_NORMAL))


def test_large_logits():
    """exp(x - max) of every size, the denormal ones among them, and their products with values."""
    logits = np.linspace(0, 200, 66, dtype="float32").reshape(SHAPE)
    got = outputs(case("SOFTMAX", [logits], ("float32", SHAPE), options="SoftmaxOptions", beta=1.0))
    shares = np.exp(logits.astype("float64") - logits.max(-1, keepdims=True))
    np.testing.assert_allclose(got, shares / shares.sum(-1, keepdims=True), rtol=1e-5, atol=LEAST_NORMAL)


def test_the_caller_keeps_them():
    c = case("ADD", [TINIES, TINIES], ("float32", SHAPE), options="AddOptions")
    outputs(c)
    assert TINY * np.float32(0.5) == np.float32(5e-41)
    assert np.all(TINIES[1] / np.float32(2) > 0)

"""Depthwise convolutions with several outputs a channel give what LiteRT gives, integers bit by bit, on any number of threads."""

import numpy as np
import pytest
from one_op import litert, mm

import sigrun

# Input channels, outputs of each, the window, and its fields.
SHAPES = {
    "2": (5, 2, (3, 3), {}),
    "6 by 2": (16, 6, (3, 3), {"stride": 2}),
    "8": (3, 8, (5, 5), {"padding": mm.VALID}),
    "9": (24, 9, (3, 3), {"activation": 1}),
    "17, dilated": (2, 17, (3, 1), {"dilation": 2}),
    "3 of many taps": (4, 3, (9, 31), {}),
}


def depthwise(kind, channels, times, window, stride=1, dilation=1, padding=mm.SAME, activation=0, weights_zero=None):
    rng = np.random.default_rng(4)
    g = mm.Graph()
    size, out, narrow = (2, 12, 35, channels), channels * times, "uint8" if kind == "uint8" else "int8"
    extents = [(k - 1) * dilation + 1 for k in window]
    sides = [-(-n // stride) if padding == mm.SAME else (n - e) // stride + 1 for n, e in zip(size[1:3], extents, strict=True)]
    real, zero = kind in ("float32", "hybrid"), 128 if kind == "uint8" else 0
    scales = 0.01 * rng.uniform(0.5, 1.5, 1 if kind == "uint8" else out)

    def quant(scale, zero_point=0):
        return mm.Quant(np.atleast_1d(scale), np.full(np.atleast_1d(scale).shape, zero_point), 3 if np.size(scale) > 1 else 0)

    shape = (1, *window, out)
    x = g.add(mm.Tensor("x", list(size), "float32" if real else kind, None, None if real else quant(0.02, zero - 7)))
    if kind == "float32":
        w = g.add(mm.Tensor("w", list(shape), "float32", rng.normal(0, 0.3, shape).astype("float32")))
    else:
        low, middle = (zero - 127, zero + 3 if kind == "uint8" else 0) if weights_zero is None else (0, weights_zero)
        values = rng.integers(low, zero + 127, shape, endpoint=True).astype(narrow)
        w = g.add(mm.Tensor("w", list(shape), narrow, values, quant(scales, middle)))
    if real:
        b = g.add(mm.Tensor("b", [out], "float32", rng.normal(0, 1, out).astype("float32")))
    else:
        bias_quant = mm.Quant(scales * 0.02, np.zeros(len(scales), int), 0)
        b = g.add(mm.Tensor("b", [out], "int32", rng.integers(-3000, 3000, out).astype("int32"), bias_quant))
    y = g.add(mm.Tensor("y", [2, *sides, out], "float32" if real else kind, None, None if real else quant(0.03, zero - 5)))
    g.inputs = [x]
    fields = {"padding": padding, "strideH": stride, "strideW": stride, "dilationHFactor": dilation, "dilationWFactor": dilation}
    fields |= {"depthMultiplier": times, "fusedActivationFunction": activation}
    g.ops.append(mm.Op("DEPTHWISE_CONV_2D", [x, w, b], [y], "DepthwiseConv2DOptions", fields))
    values = rng.normal(0, 1, size).astype("float32") if real else rng.integers(zero - 128, zero + 127, size, endpoint=True).astype(kind)
    return mm.served(g, y=y).tobytes(), {"x": values}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["float32", "int8", "uint8", "hybrid"])
def test_equals_litert(kind, shape):
    channels, times, window, fields = SHAPES[shape]
    content, values = depthwise(kind, channels, times, window, **fields)
    resolver = litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES if kind == "hybrid" else litert.OpResolverType.BUILTIN_REF
    want = litert.Interpreter(model_content=content, experimental_op_resolver_type=resolver).get_signature_runner()(**values)["y"]
    got = [sigrun.Interpreter(model_content=content, num_threads=n).get_signature_runner()(**values)["y"].copy() for n in (1, 2)]
    np.testing.assert_array_equal(*got)
    if want.dtype == np.float32:
        np.testing.assert_allclose(got[0], want, rtol=0, atol=(1e-2 if kind == "hybrid" else 1e-5) * np.abs(want).max())
    else:
        assert len(np.unique(want)) > 100
        np.testing.assert_array_equal(got[0], want)


@pytest.mark.parametrize("zero_point", [0, 255])
def test_weights_all_on_one_side_of_their_zero_point(zero_point):
    """The greatest is 255 away from it, which is no sum of two signed bytes."""
    content, values = depthwise("uint8", 40, 1, (3, 3), weights_zero=zero_point)
    reference = litert.Interpreter(model_content=content, experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF)
    want = reference.get_signature_runner()(**values)["y"]
    assert len(np.unique(want)) > 100
    np.testing.assert_array_equal(sigrun.Interpreter(model_content=content).get_signature_runner()(**values)["y"], want)

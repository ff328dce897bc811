"""Convolutions in groups or over a column of pixels: LiteRT's reference results, integers bit by bit, on any number of threads."""

import sys

import numpy as np
import pytest
from conftest import MODELS

import sigrun

litert = pytest.importorskip("ai_edge_litert.interpreter")
sys.path.insert(0, str(MODELS))
import make_models as mm  # noqa: E402

# Groups, input and output channels of each, and the window.
SHAPES = {
    "2": (8, 2, 2, {}),
    "4": (8, 4, 4, {}),
    "4 by 2": (32, 4, 4, {"stride": 2}),
    "4 by 1x1": (8, 4, 4, {"kernel": 1}),
    "4 to 8, valid": (4, 4, 8, {"padding": mm.VALID}),
    "8, dilated": (4, 8, 8, {"dilation": 2}),
    "8 by 1x1 and 2": (6, 8, 8, {"kernel": 1, "stride": 2}),
    "12": (3, 12, 12, {}),
    "16": (4, 16, 16, {}),
    "24 to 20": (2, 24, 20, {}),
    "64": (2, 64, 64, {"stride": 2}),
    "5 to 7": (3, 5, 7, {}),
    "3 to 1": (10, 3, 1, {"activation": 1}),
    "1 to 5": (9, 1, 5, {"activation": 3}),
    "1 of many": (70, 16, 2, {"kernel": 1}),
    "a column": (1, 12, 40, {"width": 1}),
    "a column, dilated": (1, 32, 24, {"width": 1, "dilation": 2}),
    "a column of groups, valid": (3, 16, 16, {"width": 1, "stride": 2, "padding": mm.VALID}),
}
KINDS = ("float32", "int8", "uint8", "int16", "hybrid", "hybrid by channel")


def grouped(kind, groups, inputs, outputs, kernel=3, stride=1, dilation=1, padding=mm.SAME, activation=0, width=15):
    rng = np.random.default_rng(5)
    g = mm.Graph()
    size, window, channels = (2, 11, width, groups * inputs), (kernel, min(kernel, width)), groups * outputs
    extents = [(n - 1) * dilation + 1 for n in window]
    sides = [-(-n // stride) if padding == mm.SAME else (n - e) // stride + 1 for n, e in zip(size[1:3], extents, strict=True)]
    real, narrow = kind == "float32" or "hybrid" in kind, "uint8" if kind == "uint8" else "int8"
    scales = 0.01 * rng.uniform(0.5, 1.5, 1 if kind in ("uint8", "hybrid") else channels)
    if kind == "hybrid":
        scales = np.repeat(scales, channels)
    zero = {"int8": -7, "uint8": 120}.get(kind, 0)

    def quant(scale, zero_point=0):
        return mm.Quant(np.atleast_1d(scale), np.full(np.atleast_1d(scale).shape, zero_point), 0)

    def tensor(name, shape, dtype, data=None, q=None):
        return g.add(mm.Tensor(name, list(shape), dtype, data, q))

    shape = (channels, *window, inputs)
    x = tensor("x", size, "float32" if real else kind, q=None if real else quant(0.02, zero))
    if kind == "float32":
        w = tensor("w", shape, "float32", rng.normal(0, 0.3, shape).astype("float32"))
    else:
        low, high = (0, 255) if narrow == "uint8" else (-127, 127)
        values = rng.integers(low, high, shape, endpoint=True).astype(narrow)
        w = tensor("w", shape, narrow, values, quant(scales, 131 if kind == "uint8" else 0))
    if real:
        b = tensor("b", [channels], "float32", rng.normal(0, 1, channels).astype("float32"))
    else:
        wide = "int64" if kind == "int16" else "int32"
        b = tensor("b", [channels], wide, rng.integers(-3000, 3000, channels).astype(wide), quant(scales * 0.02))
    out_scale = 0.005 * np.sqrt(window[0] * window[1] * inputs) * (40 if kind == "int16" else 1)
    y = tensor("y", (2, *sides, channels), "float32" if real else kind, q=None if real else quant(out_scale, zero))
    g.inputs = [x]
    fields = {"padding": padding, "strideH": stride, "strideW": stride, "dilationHFactor": dilation, "dilationWFactor": dilation}
    g.ops.append(mm.Op("CONV_2D", [x, w, b], [y], "Conv2DOptions", fields | {"fusedActivationFunction": activation}))
    return mm.served(g, y=y).tobytes()


def sample(interpreter, rng):
    detail = interpreter.get_signature_runner().get_input_details()["x"]
    if detail["dtype"] is np.float32:
        return rng.normal(0, 1, detail["shape"]).astype("float32")
    info = np.iinfo(detail["dtype"])
    return rng.integers(info.min, info.max, detail["shape"], detail["dtype"], endpoint=True)


def results(content, x):
    return [sigrun.Interpreter(model_content=content, num_threads=n).get_signature_runner()(x=x)["y"].copy() for n in (1, 2)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SHAPES)
def test_equals_the_reference(kind, name, rng):
    groups, inputs, outputs, fields = SHAPES[name]
    content = grouped(kind, groups, inputs, outputs, **fields)
    theirs = litert.Interpreter(model_content=content, experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF)
    x = sample(theirs, rng)
    want = theirs.get_signature_runner()(x=x)["y"]
    got, on_two_threads = results(content, x)
    np.testing.assert_array_equal(got, on_two_threads)
    if got.dtype == np.float32:
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * np.abs(want).max())
    else:
        assert len(np.unique(want)) > 10
        np.testing.assert_array_equal(got, want)


def test_what_is_not_finite_stays_in_its_group(rng):
    content = grouped("float32", 8, 4, 4)
    x = sample(sigrun.Interpreter(model_content=content), rng)
    before, _ = results(content, x)
    x[0, 3, 4, 6] = np.inf
    x[1, 5, 6, 21] = np.nan
    for got in results(content, x):
        changed = np.argwhere(got != before)
        assert set(map(tuple, changed[:, [0, 3]])) == {(0, n) for n in range(4, 8)} | {(1, n) for n in range(20, 24)}
        assert len(changed) == 2 * 9 * 4

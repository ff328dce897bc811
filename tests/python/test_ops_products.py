"""Convolutions and matrix products with 16-bit activations, and with weights of 4 and 2 bits, give LiteRT's very bits."""

import sys

import numpy as np
import pytest
from conftest import MODELS

import sigrun

litert = pytest.importorskip("ai_edge_litert.interpreter")
sys.path.insert(0, str(MODELS))
import make_models as mm  # noqa: E402

mm.TYPES.setdefault("int4", 17)
mm.TYPES.setdefault("int2", 19)
BITS = {"int4": 4, "int2": 2}
RNG = np.random.default_rng(11)


def quant(scale, zero=0, dimension=0):
    scales = np.atleast_1d(np.asarray(scale))
    return mm.Quant(scales, np.full(scales.shape, zero), dimension)


def packed(values, bits):
    """Integers of a few bits, the first in the lowest."""
    flat = np.zeros(-(-values.size * bits // 8) * 8 // bits, "uint8")
    flat[: values.size] = values.ravel().astype("uint8") & ((1 << bits) - 1)
    each = 8 // bits
    return sum(flat[i::each] << (i * bits) for i in range(each)).astype("uint8")


def weights(g, dtype, shape, dimension=None, scale=0.01, dead=0):
    bits = BITS.get(dtype, 8)
    low = -(1 << (bits - 1))
    values = RNG.integers(low + 1, -low, shape)
    if dead:
        np.moveaxis(values, dimension, 0)[:dead] = 0
    data = packed(values, bits) if bits < 8 else values.astype("int8")
    scales = scale if dimension is None else scale * RNG.uniform(0.5, 1.5, shape[dimension])
    if dead:
        scales[:dead] *= 1e-5
    q = quant(scales, 0, dimension or 0)
    return g.add(mm.Tensor("w", list(shape), dtype, data, q)), q


def product(code, activations, dtype, x_shape, w_shape, y_shape, dimension, options, bias="int64", dead=0, **fields):
    """Input (and output) of type `activations`, weights of type `dtype` with a scale a channel of `dimension`, or one scale. The
    first `dead` channels have weights of 0 and a tiny scale, as training leaves them."""
    g = mm.Graph()
    real = activations == "float32"
    in_scale, out_scale = 3e-4 if activations == "int16" else 0.02, 2e-3 if activations == "int16" else 0.4
    x = g.add(mm.Tensor("x", list(x_shape), activations, None, None if real else quant(in_scale, 0 if activations == "int16" else 3)))
    g.inputs = [x]
    w, q = weights(g, dtype, w_shape, dimension, dead=dead)
    operands = [x, w]
    if code == "TRANSPOSE_CONV":
        operands = [g.const(list(y_shape), "int32"), w, x]
    if bias:
        n = y_shape[-1]
        data = RNG.normal(0, 1, n).astype("float32") if real else RNG.integers(-9000, 9000, n).astype(bias)
        data[1:dead] = -(1 << 30)
        q_bias = None if real else quant(q.scale * in_scale if len(q.scale) == n else q.scale[0] * in_scale)
        operands.append(g.add(mm.Tensor("b", [n], str(data.dtype), data, q_bias)))
    y = g.add(mm.Tensor("y", list(y_shape), activations, None, None if real else quant(out_scale, 0 if activations == "int16" else -5)))
    if code in ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV"):
        fields = {"padding": mm.SAME, "strideH": 1, "strideW": 1} | fields
    if code in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        fields = {"dilationHFactor": 1, "dilationWFactor": 1} | fields
    g.ops.append(mm.Op(code, operands, [y], options, fields))
    return mm.served(g, y=y).tobytes()


def conv(activations, dtype, **kw):
    return product("CONV_2D", activations, dtype, (2, 7, 6, 5), (9, 3, 3, 5), (2, 4, 3, 9), 0, "Conv2DOptions", strideH=2, strideW=2, **kw)


def groups(activations, dtype, **kw):
    return product("CONV_2D", activations, dtype, (2, 7, 6, 6), (9, 3, 3, 2), (2, 4, 3, 9), 0, "Conv2DOptions", strideH=2, strideW=2, **kw)


def depthwise(activations, dtype, **kw):
    shapes = (2, 7, 6, 5), (1, 3, 3, 10), (2, 7, 6, 10)
    return product("DEPTHWISE_CONV_2D", activations, dtype, *shapes, 3, "DepthwiseConv2DOptions", depthMultiplier=2, **kw)


def dense(activations, dtype, dimension=0, rows=3, n=21, **kw):
    shapes = (rows, 301), (n, 301), (rows, n)
    return product("FULLY_CONNECTED", activations, dtype, *shapes, dimension, "FullyConnectedOptions", **kw)


def transposed(activations, dtype, batch=1, inputs=6, outputs=7, **kw):
    shapes = (batch, 4, 5, inputs), (outputs, 3, 3, inputs), (batch, 8, 10, outputs)
    return product("TRANSPOSE_CONV", activations, dtype, *shapes, 0, "TransposeConvOptions", strideH=2, strideW=2, **kw)


def cut_lines(activations, dtype, **kw):
    """Lines whose last pixel has room for one of three phases, computed in blocks that end within them."""
    shapes = (2, 2, 5, 17), (17, 5, 1, 17), (2, 8, 13, 17)
    fields = {"strideH": 3, "strideW": 3, "padding": mm.VALID}
    return product("TRANSPOSE_CONV", activations, dtype, *shapes, 0, "TransposeConvOptions", **fields, **kw)


def matmul(dtype="int16", right="int16", scales=1):
    g = mm.Graph()
    a = g.add(mm.Tensor("a", [2, 3, 150], dtype, None, quant(1e-4)))
    b = g.add(mm.Tensor("b", [2, 150, 4], right, None, quant([1e-4 if right == "int16" else 0.02] * scales, dimension=2)))
    g.inputs = [a, b]
    y = g.add(mm.Tensor("y", [2, 3, 4], dtype, None, quant(2e-3, 5 if dtype == "int8" else 0)))
    g.ops.append(mm.Op("BATCH_MATMUL", [a, b], [y], "BatchMatMulOptions", {"adjX": False, "adjY": False}))
    return mm.served(g, y=y).tobytes()


CASES = {
    "conv-int16": conv("int16", "int8"),
    "conv-int16-32-bit-sums": conv("int16", "int8", bias="int32", quantizedBiasType=mm.TYPES["int32"]),
    "conv-int16-groups": groups("int16", "int8"),
    "depthwise-int16": depthwise("int16", "int8"),
    "dense-int16": dense("int16", "int8"),
    "dense-int16-one-scale": dense("int16", "int8", dimension=None, rows=1),
    "transposed-int16": transposed("int16", "int8"),
    "matmul-int16": matmul(),
    "matmul-int16-int8": matmul(right="int8"),
    "conv-dead-channels": conv("int8", "int8", bias="int32", dead=3),
    "depthwise-dead-channels": depthwise("int8", "int8", bias="int32", dead=3),
    "conv-int4": conv("int8", "int4", bias="int32"),
    "depthwise-int4": depthwise("int8", "int4", bias="int32"),
    "dense-int4": dense("int8", "int4", bias="int32"),
    "dense-int4-odd-row": dense("int8", "int4", bias="int32", rows=1),
    "conv-int4-hybrid": conv("float32", "int4"),
    "dense-int4-hybrid": dense("float32", "int4", dimension=None),
    "transposed-hybrid": transposed("float32", "int8"),
    "transposed-hybrid-images": transposed("float32", "int8", batch=2, inputs=40, outputs=33),
    "transposed-int8-cut-lines": cut_lines("int8", "int8", bias="int32"),
    "transposed-hybrid-cut-lines": cut_lines("float32", "int8"),
    "dense-int2": dense("int8", "int2", bias="int32"),
    "dense-int8-shared-by-channels": dense("int8", "int8", n=520, bias="int32"),
    "dense-hybrid-shared-by-channels": dense("float32", "int8", dimension=None, rows=5, n=520),
}


@pytest.mark.parametrize("name", CASES)
def test_against_litert(name, rng):
    kind = litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES if "hybrid" in name else litert.OpResolverType.BUILTIN_REF
    theirs = litert.Interpreter(model_content=CASES[name], experimental_op_resolver_type=kind).get_signature_runner()
    ours = sigrun.Interpreter(model_content=CASES[name], num_threads=2).get_signature_runner()
    inputs = {}
    for key, detail in ours.get_input_details().items():
        if detail["dtype"] is np.float32:
            inputs[key] = rng.normal(0, 1, detail["shape"]).astype("float32")
        else:
            info = np.iinfo(detail["dtype"])
            inputs[key] = rng.integers(info.min, info.max, detail["shape"], detail["dtype"], endpoint=True)
    got, want = ours(**inputs)["y"], theirs(**inputs)["y"]
    if got.dtype == np.float32:
        np.testing.assert_allclose(got, want, atol=5e-3 * np.abs(want).max())
    else:
        assert len(np.unique(want)) > 4
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(("left", "right"), [("int16", "int8"), ("int16", "int16"), ("int8", "int8")])
def test_products_with_several_scales_are_zero_and_not_silently(left, right, rng, caplog):
    content = matmul(left, right, 4)
    inputs = {name: rng.integers(-99, 99, shape).astype(t) for name, shape, t in (("a", [2, 3, 150], left), ("b", [2, 150, 4], right))}
    reference = litert.Interpreter(model_content=content, experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF)
    got = sigrun.Interpreter(model_content=content).get_signature_runner()(**inputs)["y"]
    np.testing.assert_array_equal(got, reference.get_signature_runner()(**inputs)["y"])
    for _ in range(3):
        sigrun.Interpreter(model_content=content).get_signature_runner()(**inputs)
    [record] = caplog.records
    assert record.name == "sigrun"
    assert record.levelname == "WARNING"
    text = f"BATCH_MATMUL #0 'y': the output is zero throughout, as in LiteRT, which does not multiply {left.upper()} by {right.upper()}"
    assert text in record.getMessage()


def test_bytes_without_a_depth():
    """Sums of nothing, over many rows and channels."""
    g = mm.Graph()
    a, b = (g.add(mm.Tensor(name, shape, "int8", None, quant(0.1))) for name, shape in (("a", [16, 0]), ("b", [0, 40])))
    g.inputs = [a, b]
    y = g.add(mm.Tensor("y", [16, 40], "int8", None, quant(0.2, 7)))
    g.ops.append(mm.Op("BATCH_MATMUL", [a, b], [y], "BatchMatMulOptions", {"adjX": False, "adjY": False}))
    runner = sigrun.Interpreter(model_content=mm.served(g, y=y).tobytes()).get_signature_runner()
    got = runner(a=np.empty((16, 0), "int8"), b=np.empty((0, 40), "int8"))["y"]
    np.testing.assert_array_equal(got, np.full((16, 40), 7, "int8"))


@pytest.mark.parametrize("activation", [0, 1, 3])
def test_bytes_with_wide_sums(activation, rng):
    g = mm.Graph()
    x = g.add(mm.Tensor("x", [5, 40], "uint8", None, quant(0.02, 120)))
    w = g.add(mm.Tensor("w", [12, 40], "uint8", rng.integers(0, 255, (12, 40), "uint8", endpoint=True), quant(0.01, 127)))
    b = g.add(mm.Tensor("b", [12], "int32", rng.integers(-9000, 9000, 12, "int32"), quant(2e-4)))
    y = g.add(mm.Tensor("y", [5, 12], "int16", None, quant(0.0037)))
    g.inputs = [x]
    g.ops.append(mm.Op("FULLY_CONNECTED", [x, w, b], [y], "FullyConnectedOptions", {"fusedActivationFunction": activation}))
    content = mm.served(g, y=y).tobytes()
    theirs = litert.Interpreter(model_content=content, experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF)
    inputs = {"x": rng.integers(0, 255, (5, 40), "uint8", endpoint=True)}
    want = theirs.get_signature_runner()(**inputs)["y"]
    np.testing.assert_array_equal(sigrun.Interpreter(model_content=content).get_signature_runner()(**inputs)["y"], want)


@pytest.mark.parametrize("rows", [1, 4])
def test_shuffled_weights(rows, rng):
    g = mm.Graph()
    x = g.add(mm.Tensor("x", [rows, 48], "uint8", None, quant(0.02, 128)))
    w = g.add(mm.Tensor("w", [12, 48], "uint8", rng.integers(0, 255, (12, 48), "uint8", endpoint=True), quant(0.01, 128)))
    b = g.add(mm.Tensor("b", [12], "int32", rng.integers(-9000, 9000, 12, "int32"), quant(2e-4)))
    y = g.add(mm.Tensor("y", [rows, 12], "int16", None, quant(2**-11)))
    workspace = g.add(mm.Tensor("workspace", [rows, 48], "uint8", None, quant(0.02, 128)))
    g.inputs = [x]
    g.ops.append(mm.Op("FULLY_CONNECTED", [x, w, b], [y, workspace], "FullyConnectedOptions", {"weightsFormat": 1}))
    content = mm.served(g, y=y, workspace=workspace).tobytes()
    theirs = litert.Interpreter(model_content=content, experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF)
    inputs = {"x": rng.integers(0, 255, (rows, 48), "uint8", endpoint=True)}
    want = theirs.get_signature_runner()(**inputs)
    for name, value in sigrun.Interpreter(model_content=content).get_signature_runner()(**inputs).items():
        np.testing.assert_array_equal(value, want[name], err_msg=name)


def test_int16_with_a_zero_point():
    g = mm.Graph()
    x = g.add(mm.Tensor("x", [1, 4], "int16", None, quant(0.1, 5)))
    g.inputs = [x]
    y = g.add(mm.Tensor("y", [1, 2], "int16", None, quant(0.1)))
    g.ops.append(mm.Op("FULLY_CONNECTED", [x, weights(g, "int8", (2, 4))[0], -1], [y], "FullyConnectedOptions"))
    with pytest.raises(sigrun.InvalidArgumentError, match="FULLY_CONNECTED #0.*zero points 5 and 0"):
        sigrun.Interpreter(model_content=mm.served(g, y=y).tobytes()).allocate_tensors()


@pytest.mark.parametrize("code", ["FULLY_CONNECTED", "DEPTHWISE_CONV_2D"])
def test_int16_with_biases_of_any_size(code):
    """Sums of 64 bits do not overflow. LiteRT's do, so that it computes -32768 from 2^50."""
    biases = [2**63 - 1, -(2**63), 2**50, -(2**50), 2**40, -5]
    depthwise = code == "DEPTHWISE_CONV_2D"
    shape, filter_shape = ([1, 1, 1, 6], [1, 1, 1, 6]) if depthwise else ([1, 4], [6, 4])
    g = mm.Graph()
    x = g.add(mm.Tensor("x", shape, "int16", None, quant(0.1)))
    g.inputs = [x]
    w, _ = weights(g, "int8", filter_shape)
    b = g.add(mm.Tensor("b", [6], "int64", np.array(biases), quant(1e-3)))
    y = g.add(mm.Tensor("y", [*shape[:-1], 6], "int16", None, quant(0.001)))
    fields = {"padding": mm.SAME, "strideH": 1, "strideW": 1, "depthMultiplier": 1} if depthwise else {}
    g.ops.append(mm.Op(code, [x, w, b], [y], "DepthwiseConv2DOptions" if depthwise else "FullyConnectedOptions", fields))
    got = sigrun.Interpreter(model_content=mm.served(g, y=y).tobytes()).get_signature_runner()(x=np.zeros(shape, np.int16))
    assert got["y"].ravel().tolist() == [32767, -32768, 32767, -32768, 32767, -5]


def check_hybrid(g, y, value):
    """The net against LiteRT within what rounding at other places may do, and the same with any number of threads."""
    content = mm.dynamic_range(mm.served(g, y=y)).tobytes()
    kind = litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    want = litert.Interpreter(model_content=content, experimental_op_resolver_type=kind).get_signature_runner()(x=value)["y"]
    got = [sigrun.Interpreter(model_content=content, num_threads=n).get_signature_runner()(x=value)["y"] for n in (1, 2, 3)]
    np.testing.assert_allclose(got[0], want, atol=5e-3 * np.abs(want).max())
    for other in got[1:]:
        np.testing.assert_array_equal(got[0], other)


def test_hybrid_products_share_their_rounded_input_and_add_residuals(rng):
    g = mm.Graph("block")
    x = g.input("x", [1, 40, 96])
    query, key, gate = (g.dense(x, width) for width in (96, 96, 520))
    y = g.binary("ADD", g.dense(g.binary("ADD", query, key), 96), x)
    y = g.binary("ADD", y, g.dense(gate, 96))
    y = g.binary("ADD", y, g.dense(g.reshape(gate, [40, 520]), 96))  # of less dimensions
    check_hybrid(g, y, rng.normal(0, 1, [1, 40, 96]).astype("float32"))


def test_hybrid_depthwise_takes_images_in_bands(rng):
    g = mm.Graph("bands")
    x = g.input("x", [2, 67, 40, 96])
    y = g.depthwise(g.depthwise(x, 3), 5, stride=2)  # the second behind a RELU6, whose bounds end the search for extremes
    check_hybrid(g, y, rng.normal(0, 3, [2, 67, 40, 96]).astype("float32"))


@pytest.mark.parametrize("padding", ["left", "right", "both"])
@pytest.mark.parametrize("activations", ["float32", "int8", "int16"])
def test_convolutions_of_padding_alone(activations, padding, rng):
    """A PAD wider than any part of a line that is taken at a time."""
    shape, (left, right) = (1, 2, 4, 16), {"left": (700, 0), "right": (0, 700), "both": (600, 600)}[padding]
    width = 4 + left + right
    integers = activations != "float32"
    q = quant(0.02, 3 if activations == "int8" else 0) if integers else None
    g = mm.Graph()
    x = g.add(mm.Tensor("x", list(shape), activations, None, q))
    g.inputs = [x]
    wide = g.add(mm.Tensor("wide", [1, 2, width, 16], activations, None, q))
    g.ops.append(mm.Op("PAD", [x, g.const([[0, 0], [0, 0], [left, right], [0, 0]], "int32")], [wide], "PadOptions"))
    if integers:
        w, scales = weights(g, "int8", (8, 1, 3, 16), 0)
        bias = RNG.integers(-900, 900, 8).astype("int64" if activations == "int16" else "int32")
        b = g.add(mm.Tensor("b", [8], str(bias.dtype), bias, quant(scales.scale * 0.02)))
    else:
        w, b = g.weights(8, 1, 3, 16), g.const(rng.normal(0, 1, 8), "float32")
    y = g.add(mm.Tensor("y", [1, 2, width - 2, 8], activations, None, quant(0.1) if integers else None))
    fields = {"padding": mm.VALID, "strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}
    g.ops.append(mm.Op("CONV_2D", [wide, w, b], [y], "Conv2DOptions", fields))
    content = mm.served(g, y=y).tobytes()
    reference = litert.Interpreter(model_content=content, experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF)
    x = rng.integers(-100, 100, shape, dtype=activations) if integers else rng.normal(0, 1, shape).astype("float32")
    want = reference.get_signature_runner()(x=x)["y"]
    for threads in (1, 3):
        got = sigrun.Interpreter(model_content=content, num_threads=threads).get_signature_runner()(x=x)["y"]
        np.testing.assert_allclose(got, want, rtol=0, atol=0 if integers else 1e-4)


@pytest.mark.parametrize("channels", [7, 16, 23, 64])
def test_hybrid_activations_that_are_halves(channels):
    """They are rounded away from zero before the zero point is added: 0.5 is 1, although 0.5 - 28 would be -28."""
    x = np.resize(np.float32([-100, 155, 0.5, -0.5, 27.5, 28.5, 29.5, 1.5, -1.5, 26.5, 40.5, -40.5, 100.5]), (1, channels))
    g = mm.Graph()
    w = g.add(mm.Tensor("w", [channels, channels], "int8", np.eye(channels, dtype="int8") * 127, quant(1 / 127)))
    v = g.add(mm.Tensor("x", [1, channels], "float32"))
    g.inputs = [v]
    y = g.add(mm.Tensor("y", [1, channels], "float32"))
    bias = g.const(np.zeros(channels), "float32")
    g.ops.append(mm.Op("FULLY_CONNECTED", [v, w, bias], [y], "FullyConnectedOptions", {"asymmetricQuantizeInputs": True}))
    content = mm.served(g, y=y).tobytes()
    reference = litert.Interpreter(model_content=content, experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF)
    want = reference.get_signature_runner()(x=x)["y"]
    assert want[0, 2] == pytest.approx(1)
    np.testing.assert_allclose(sigrun.Interpreter(model_content=content).get_signature_runner()(x=x)["y"], want, rtol=1e-6)

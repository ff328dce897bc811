"""Float convolutions that are not computed as they are written give what LiteRT's reference kernels give, on any number of threads."""

import numpy as np
import pytest
from one_op import Const, arguments, build, case, check_against_litert, compare, litert, mm

import sigrun

RNG = np.random.default_rng(3)
ACTIVATIONS = {"none": 0, "relu": 1, "relu6": 3}


def conv(x_shape, w_shape, stride=1, dilation=1, padding=mm.SAME, activation="none"):
    out, (kernel_h, kernel_w) = w_shape[0], w_shape[1:3]
    sides = []
    for size, kernel in zip(x_shape[1:3], (kernel_h, kernel_w), strict=True):
        step, spread = (stride, dilation) if kernel > 1 else (1, 1)
        window = (kernel - 1) * spread + 1
        sides.append(-(-size // step) if padding == mm.SAME else (size - window) // step + 1)
    by_axis = {f"{name}{axis}{suffix}": value if kernel > 1 else 1
               for axis, kernel in (("H", kernel_h), ("W", kernel_w))
               for name, suffix, value in (("stride", "", stride), ("dilation", "Factor", dilation))}  # fmt: skip
    inputs = [
        RNG.normal(0, 1, x_shape).astype("float32"),
        RNG.normal(0, 0.3, w_shape).astype("float32").view(Const),
        RNG.normal(0, 1, out).astype("float32").view(Const),
    ]
    output = ("float32", (x_shape[0], *sides, out))
    return case("CONV_2D", inputs, output, options="Conv2DOptions", padding=padding,
                fusedActivationFunction=ACTIVATIONS[activation], **by_axis)  # fmt: skip


LINES = {
    "3 taps": conv((2, 1, 49, 64), (96, 1, 3, 64)),
    "5 taps": conv((1, 3, 98, 40), (64, 1, 5, 40), activation="relu6"),
    "7 taps by 2": conv((1, 1, 61, 48), (40, 1, 7, 48), stride=2),
    "dilated": conv((1, 1, 136, 32), (33, 1, 3, 32), dilation=4, padding=mm.VALID, activation="relu"),
    "of a column": conv((1, 80, 1, 32), (64, 5, 1, 32)),
    "columns": conv((2, 30, 11, 32), (40, 7, 1, 32), activation="relu"),
    "columns by 2": conv((1, 40, 9, 32), (48, 5, 1, 32), stride=2),
}
COLUMNS = {
    "9x9 to an image": conv((2, 24, 20, 16), (3, 9, 9, 16), activation="relu6"),
    "a mask": conv((1, 15, 17, 24), (1, 3, 3, 24)),
    "valid": conv((1, 12, 14, 32), (2, 3, 5, 32), padding=mm.VALID, activation="relu"),
    "dilated columns": conv((1, 16, 18, 20), (4, 5, 5, 20), dilation=2),
    "by 7x7": conv((1, 9, 30, 16), (5, 7, 7, 16)),
}


@pytest.mark.parametrize("c", [pytest.param(c, id=name) for name, c in (LINES | COLUMNS).items()])
def test_equals_the_reference(c):
    check_against_litert(c)
    results = []
    for threads in (1, 2):
        runner = sigrun.Interpreter(model_content=build(c), num_threads=threads).get_signature_runner()
        results.append(runner(**arguments(c))["o0"].copy())
    np.testing.assert_array_equal(*results)


def depthwise(x_shape, kernel=3):
    channels = x_shape[3]
    inputs = [
        RNG.normal(0, 1, x_shape).astype("float32"),
        RNG.normal(0, 0.3, (1, kernel, kernel, channels)).astype("float32").view(Const),
        RNG.normal(0, 1, channels).astype("float32").view(Const),
    ]
    fields = dict.fromkeys(("strideH", "strideW", "dilationHFactor", "dilationWFactor", "depthMultiplier"), 1)
    return case("DEPTHWISE_CONV_2D", inputs, ("float32", x_shape), options="DepthwiseConv2DOptions", padding=mm.SAME,
                fusedActivationFunction=0, **fields)  # fmt: skip


FEW = {
    "columns": COLUMNS["9x9 to an image"],
    "a mask of pixels": conv((1, 60, 73, 32), (1, 1, 1, 32)),
    "three of pixels": conv((2, 31, 9, 16), (3, 1, 1, 16)),
    "whole and partial vectors": conv((1, 23, 17, 12), (37, 3, 3, 12), stride=2),
    "whole vectors": conv((1, 30, 17, 12), (64, 1, 1, 12)),
    "depthwise": depthwise((2, 29, 31, 13)),
    "depthwise, whole vectors": depthwise((1, 14, 15, 32), 5),
}


@pytest.mark.parametrize("c", [pytest.param(c, id=name) for name, c in FEW.items()])
@pytest.mark.parametrize("after", ["TANH", "LOGISTIC", "HARD_SWISH", "ADD", "PRELU", "LEAKY_RELU"])
def test_is_followed_by_a_function(after, c):
    shape = list(c.outputs[0][1])
    g = mm.Graph("main")
    x, w, b = (g.add(mm.Tensor(f"i{i}", list(v.shape), "float32", np.asarray(v) if i > 0 else None)) for i, v in enumerate(c.inputs))
    g.inputs = [x]
    y, z = (g.add(mm.Tensor(name, shape, "float32")) for name in ("y", "o0"))
    g.ops.append(mm.Op(c.op, [x, w, b], [y], c.options, c.fields | {"fusedActivationFunction": 0}))
    if after == "ADD":
        r = g.add(mm.Tensor("r", shape, "float32"))
        g.inputs.append(r)
        g.ops.append(mm.Op("ADD", [y, r], [z], "AddOptions", {"fusedActivationFunction": 1}))
    elif after == "PRELU":
        slopes = RNG.uniform(-0.5, 0.5, (1, 1, shape[3])).astype("float32")
        g.ops.append(mm.Op("PRELU", [y, g.add(mm.Tensor("slopes", [1, 1, shape[3]], "float32", slopes))], [z]))
    elif after == "LEAKY_RELU":
        g.ops.append(mm.Op("LEAKY_RELU", [y], [z], "LeakyReluOptions", {"alpha": 0.2}))
    else:
        g.ops.append(mm.Op(after, [y], [z]))
    content = mm.served(g, o0=z).tobytes()
    values = {"i0": c.inputs[0] / 10} | ({"r": RNG.normal(0, 3, shape).astype("float32")} if after == "ADD" else {})
    want = litert.Interpreter(model_content=content, experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF)
    expected = want.get_signature_runner()(**values)
    for threads in (1, 2):
        compare(sigrun.Interpreter(model_content=content, num_threads=threads).get_signature_runner()(**values), expected)


@pytest.mark.parametrize(("cases", "word"), [(LINES, "Winograd F("), (COLUMNS, "columns summed")])
def test_is_computed_otherwise(cases, word):
    if sigrun.build_info()["tier_in_use"] == "scalar":
        return  # which computes all as they are written
    kernels = []
    for c in cases.values():
        runner = sigrun.Interpreter(model_content=build(c)).get_signature_runner()
        runner(**arguments(c))
        kernels += [step.kernel for step in runner.plan.steps if step.kernel]
    assert any(word in kernel for kernel in kernels), kernels


@pytest.mark.parametrize(("activation", "before", "steps"), [(1, 1, 2), (3, 2, 2), (0, 1, 3), (1, 3, 3)])
def test_a_maximum_skips_zeros_around_what_is_not_negative(activation, before, steps):
    """Some tap of each window has to lie in the image."""
    g = mm.Graph("main")
    x = g.add(mm.Tensor("x", [1, 9, 8, 5], "float32"))
    w = g.add(mm.Tensor("w", [7, 1, 1, 5], "float32", RNG.normal(0, 1, (7, 1, 1, 5)).astype("float32")))
    b = g.add(mm.Tensor("b", [7], "float32", RNG.normal(0, 1, 7).astype("float32")))
    paddings = g.add(mm.Tensor("paddings", [4, 2], "int32", np.array([[0, 0], [before, 1], [1, 0], [0, 0]], "int32")))
    side = (9 + before + 1 - 3) // 2 + 1
    y, wide, z = (g.add(mm.Tensor(n, s, "float32")) for n, s in
                  (("y", [1, 9, 8, 7]), ("wide", [1, 9 + before + 1, 9, 7]), ("z", [1, side, 4, 7])))  # fmt: skip
    g.inputs = [x]
    strides = {"strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}
    g.ops.append(mm.Op("CONV_2D", [x, w, b], [y], "Conv2DOptions", strides | {"padding": mm.SAME, "fusedActivationFunction": activation}))
    g.ops.append(mm.Op("PAD", [y, paddings], [wide], "PadOptions"))
    fields = {"padding": mm.VALID, "strideH": 2, "strideW": 2, "filterHeight": 3, "filterWidth": 3, "fusedActivationFunction": 0}
    g.ops.append(mm.Op("MAX_POOL_2D", [wide], [z], "Pool2DOptions", fields))
    content = mm.served(g, z=z).tobytes()
    values = {"x": RNG.normal(0, 1, (1, 9, 8, 5)).astype("float32")}
    want = litert.Interpreter(model_content=content, experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF)
    got = sigrun.Interpreter(model_content=content).get_signature_runner()
    compare(got(**values), want.get_signature_runner()(**values))
    assert len(got.plan.steps) == steps


@pytest.mark.parametrize(("size", "stride"), [(30, 1), (61, 2)])
def test_depthwise_convolutions_in_a_row(size, stride, builder):
    """A block of the first one's channels could be all that the second reads, but it is not all that stands in the first one's input."""
    g = builder.Graph("row")
    x = g.input("x", [1, size, size, 80])
    content = builder.served(g, y=g.depthwise(g.depthwise(x, 3, stride), 3, activation=builder.NONE)).tobytes()
    values = {"x": RNG.normal(0, 1, [1, size, size, 80]).astype("float32")}
    reference = litert.Interpreter(model_content=content, experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF)
    want = reference.get_signature_runner()(**values)["y"]
    for threads in (1, 2):
        got = sigrun.Interpreter(model_content=content, num_threads=threads).get_signature_runner()(**values)["y"]
        np.testing.assert_allclose(got, want, rtol=0, atol=2e-5 * np.abs(want).max())

"""Convolutions between SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND, and those of lines between reshapes: one convolution, the same result."""

import numpy as np
import pytest
from one_op import litert, mm

import sigrun

KINDS = ("float32", "int8", "uint8", "int16", "hybrid")
MOVES = {"SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND", "PAD"}


class Net:
    """A graph whose values are all of one kind and, unless told, of one scale."""

    def __init__(self, kind):
        self.rng = np.random.default_rng(3)
        self.g, self.kind = mm.Graph(), kind
        self.dtype = "float32" if kind == "hybrid" else kind
        self.zero = {"int8": -9, "uint8": 120}.get(kind, 0)

    def quant(self, scale=0.05):
        return None if self.dtype == "float32" else mm.Quant(np.array([scale]), np.array([self.zero]))

    def input(self, *shape):
        v = self.g.input("x", list(shape), self.dtype)
        self.g.tensors[v].quant = self.quant()
        return v

    def op(self, code, inputs, shape, options="", scale=0.05, **fields):
        v = self.g.op(code, inputs, list(shape), options, dtype=self.dtype, **fields)
        self.g.tensors[v].quant = self.quant(scale)
        return v

    def ints(self, values):
        return self.g.const(np.array(values, "int32"))

    def weights(self, shape, channels):
        if self.kind == "float32":
            return self.g.const(self.rng.normal(0, 0.3, shape).astype("float32")), self.g.const(
                self.rng.normal(0, 1, channels).astype("float32")
            )
        narrow = "uint8" if self.kind == "uint8" else "int8"
        w = self.g.const(self.rng.integers(0 if narrow == "uint8" else -127, 127, shape).astype(narrow))
        scales = 1 if narrow == "uint8" else channels
        dimension = 3 if shape[0] == 1 else 0
        self.g.tensors[w].quant = mm.Quant(np.full(scales, 0.01), np.full(scales, 60 if narrow == "uint8" else 0), dimension)
        if self.kind == "hybrid":
            return w, self.g.const(self.rng.normal(0, 1, channels).astype("float32"))
        b = self.g.const(self.rng.integers(-3000, 3000, channels).astype("int64" if self.kind == "int16" else "int32"))
        self.g.tensors[b].quant = mm.Quant(np.array([0.0005]), np.array([0]))
        return w, b

    def conv(self, x, channels, kernel, op="CONV_2D", dilation=1, padding=mm.VALID, stride=1, scale=0.05, activation=0):
        n, h, w, c = self.g.shape(x)
        extents = [(k - 1) * dilation + 1 for k in kernel]
        sides = [-(-s // stride) if padding == mm.SAME else (s - e) // stride + 1 for s, e in zip((h, w), extents, strict=True)]
        fields = {"padding": padding, "strideH": stride, "strideW": stride, "dilationHFactor": dilation, "dilationWFactor": dilation}
        fields["fusedActivationFunction"] = activation
        if op == "CONV_2D":
            operands = self.weights((channels, *kernel, c), channels)
            return self.op(op, [x, *operands], (n, *sides, channels), "Conv2DOptions", scale, **fields)
        operands = self.weights((1, *kernel, channels), channels)
        return self.op(op, [x, *operands], (n, *sides, channels), "DepthwiseConv2DOptions", scale, depthMultiplier=channels // c, **fields)

    def split(self, x, block, pads):
        shape = self.g.shape(x)
        sides = [(s + sum(p)) // b for s, p, b in zip(shape[1:-1], pads, block, strict=True)]
        return self.op("SPACE_TO_BATCH_ND", [x, self.ints(block), self.ints(pads)], (shape[0] * np.prod(block), *sides, shape[-1]))

    def join(self, x, block, crops, scale=0.05):
        shape = self.g.shape(x)
        sides = [s * b - sum(c) for s, c, b in zip(shape[1:-1], crops, block, strict=True)]
        return self.op(
            "BATCH_TO_SPACE_ND", [x, self.ints(block), self.ints(crops)], (shape[0] // np.prod(block), *sides, shape[-1]), scale=scale
        )

    def pad(self, x, pads):
        return self.op("PAD", [x, self.ints(pads)], [s + sum(p) for s, p in zip(self.g.shape(x), pads, strict=True)])

    def reshape(self, x, shape):
        return self.op("RESHAPE", [x, self.ints(shape)], shape, "ReshapeOptions", newShape=np.array(shape, "int32"))

    def serve(self, **outputs):
        return mm.served(self.g, **outputs).tobytes()


def operators(content):
    runner = sigrun.Interpreter(model_content=content).get_signature_runner()
    runner.allocate_tensors()
    return [step.op for step in runner.plan.steps]


def check(content, kind, shape):
    """On one thread and two, what LiteRT's reference kernels give."""
    rng = np.random.default_rng(11)
    if kind in ("float32", "hybrid"):
        x = rng.normal(0, 1, shape).astype("float32")
    else:
        x = rng.integers(np.iinfo(kind).min, np.iinfo(kind).max, shape, kind, endpoint=True)
    reference = litert.Interpreter(model_content=content, experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF)
    want = reference.get_signature_runner()(x=x)
    for threads in (1, 2):
        got = sigrun.Interpreter(model_content=content, num_threads=threads).get_signature_runner()(x=x)
        for name, value in want.items():
            if value.dtype == np.float32:
                np.testing.assert_allclose(got[name], value, rtol=0, atol=2e-6 * np.abs(value).max())
            else:
                np.testing.assert_array_equal(got[name], value)


def blocks(kind, op="CONV_2D", size=(2, 9, 13, 6), block=(2, 3), pads=((2, 3), (3, 5)), crops=((0, 1), (0, 2)), behind=0.05, **conv):
    net = Net(kind)
    x = net.input(*size)
    y = net.conv(net.split(x, block, pads), op=op, **({"channels": 12, "kernel": (3, 3)} | conv))
    return net.serve(y=net.join(y, block, crops, behind)), kind, size


BLOCKS = {
    "same": {},
    "valid": {"pads": ((0, 1), (0, 2)), "crops": ((0, 1), (0, 2))},
    "padded and cropped on both sides": {"pads": ((4, 3), (3, 8)), "crops": ((1, 1), (2, 3))},
    "lines alone": {"block": (1, 4), "pads": ((1, 1), (4, 7)), "crops": ((0, 0), (0, 3))},
    "of one channel": {"size": (3, 8, 8, 1), "block": (2, 2), "pads": ((2, 2), (2, 2)), "crops": ((0, 0), (0, 0))},
    "dilated before": {"dilation": 2, "pads": ((4, 5), (6, 8)), "crops": ((0, 1), (0, 2))},
    "even window": {"kernel": (2, 4)},
    "beyond the image": {"size": (1, 5, 5, 4), "block": (8, 8), "pads": ((8, 11), (8, 11)), "crops": ((0, 3), (0, 3))},
    "activation": {"activation": 1},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("op", ["CONV_2D", "DEPTHWISE_CONV_2D"])
@pytest.mark.parametrize("name", BLOCKS)
def test_between_blocks(name, op, kind):
    model = blocks(kind, op, **BLOCKS[name])
    assert kind == "hybrid" or not MOVES.intersection(operators(model[0]))
    check(*model)


STAYS = {
    "more cropped than padded": {"crops": ((0, 1), (4, 1))},
    "padding of its own": {"padding": mm.SAME},
    "strides": {"stride": 2},
}


@pytest.mark.parametrize("kind", ["float32", "int8"])
@pytest.mark.parametrize("name", STAYS)
def test_that_is_another_computation_stays(name, kind):
    model = blocks(kind, **STAYS[name])
    assert "SPACE_TO_BATCH_ND" in operators(model[0])
    check(*model)


@pytest.mark.parametrize(("side", "block"), [(30, 2), (21, 3), (10, 6)])
def test_of_many_channels(side, block):
    """Such as Winograd's transformation is for."""
    pads = block, block + -side % block
    size = 1, side, side, 32
    model = blocks("float32", size=size, block=(block, block), pads=(pads, pads), crops=((0, -side % block),) * 2, channels=32)
    assert not MOVES.intersection(operators(model[0]))
    check(*model)


def test_of_another_scale_behind_stays():
    model = blocks("int8", behind=0.1)
    assert "SPACE_TO_BATCH_ND" in operators(model[0])


@pytest.mark.parametrize("seen", ["split", "sums"])
def test_what_others_read_is_there(seen):
    net = Net("float32")
    split = net.split(net.input(1, 8, 8, 4), (2, 2), ((2, 2), (2, 2)))
    sums = net.conv(split, 5, (3, 3))
    content = net.serve(y=net.join(sums, (2, 2), ((0, 0), (0, 0))), z={"split": split, "sums": sums}[seen])
    assert ("BATCH_TO_SPACE_ND" in operators(content)) == (seen == "sums")
    check(content, "float32", (1, 8, 8, 4))


def lines(kind, axis=1, dilations=(1, 2, 8), op="CONV_2D", width=40, batch=2, channels=8, taps=3):
    """Causal convolutions of which two share what they read, each with a residual."""
    net = Net(kind)
    x = net.input(batch, width, channels)
    kernel = (1, taps) if axis == 1 else (taps, 1)

    def image(v):
        n, w, c = net.g.shape(v)
        return net.reshape(v, [n, 1, w, c] if axis == 1 else [n, w, 1, c])

    def line(v):
        return net.reshape(v, [s for d, s in enumerate(net.g.shape(v)) if d != axis])

    y = x
    for d in dilations:
        pads = [0, 0], [(taps - 1) * d, 0], [0, 0]
        extra = -(width + (taps - 1) * d) % d
        padded = net.pad(y, pads)
        split = image(padded if d == 1 else net.split(padded, [d], [[0, extra]]))
        branches = [line(net.conv(split, channels, kernel, op=op)) for _ in range(2)]
        if d > 1:
            branches = [net.join(b, [d], [[0, extra]]) for b in branches]
        if net.dtype == "float32":
            branches = [net.op(f, [b], net.g.shape(b)) for f, b in zip(("TANH", "LOGISTIC"), branches, strict=True)]
        z = net.op("MUL", branches, net.g.shape(y), "MulOptions")
        y = net.op("ADD", [y, z], net.g.shape(y), "AddOptions")
    return net.serve(y=y), kind, (batch, width, channels)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("op", ["CONV_2D", "DEPTHWISE_CONV_2D"])
@pytest.mark.parametrize("axis", [1, 2])
def test_lines(axis, op, kind):
    model = lines(kind, axis, op=op)
    found = operators(model[0])
    assert found.count("RESHAPE") <= 2
    assert "PAD" not in found or kind == "hybrid"
    assert kind == "hybrid" or not MOVES.intersection(found)
    check(*model)


def test_long_dilations():
    check(*lines("float32", dilations=(64, 512), width=700, batch=1))


@pytest.mark.parametrize("shape", [(3, 40, 8), (1, 80, 8), (2, 20, 8)])
def test_other_lines_than_the_reshapes_say(shape):
    """LiteRT refuses them; here they are convolved as lines of that batch and width. What is causal begins as shorter lines do."""
    content, _, _ = lines("float32", batch=1)
    x = np.random.default_rng(2).normal(0, 1, shape).astype("float32")
    whole = sigrun.Interpreter(model_content=content)
    whole.resize_tensor_input(whole.get_input_details()[0]["index"], x.shape)
    whole.allocate_tensors()
    whole.set_tensor(whole.get_input_details()[0]["index"], x)
    whole.invoke()
    got = whole.get_tensor(whole.get_output_details()[0]["index"])
    assert got.shape == shape
    for i in range(shape[0]):
        line = np.zeros((1, 40, 8), "float32")
        line[0, : shape[1]] = x[i, :40]
        want = sigrun.Interpreter(model_content=content).get_signature_runner()(x=line)["y"]
        width = min(40, shape[1])
        np.testing.assert_allclose(got[i : i + 1, :width], want[:, :width], rtol=0, atol=1e-6 * np.abs(want).max())


def test_lines_that_others_read():
    """Every value of a net of lines is an output as well."""
    net = Net("float32")
    x = net.input(1, 20, 4)
    padded = net.pad(x, ([0, 0], [2, 0], [0, 0]))
    sums = net.conv(net.reshape(padded, [1, 1, 22, 4]), 4, (1, 3))
    line = net.reshape(sums, [1, 20, 4])
    relu = net.op("RELU", [line], [1, 20, 4])
    again = net.reshape(relu, [1, 1, 20, 4])
    last = net.conv(again, 6, (1, 1))
    content = net.serve(a=padded, b=sums, c=line, d=relu, e=again, f=last)
    check(content, "float32", (1, 20, 4))

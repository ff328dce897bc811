"""RELU and RELU6 behind every operator that may fuse them, and behind some that may not, give what LiteRT gives."""

import numpy as np
import pytest
from one_op import compare, litert, mm, real

import sigrun

SHAPE = [2, 4, 6, 5]
WINDOW = {"padding": mm.VALID, "strideW": 1, "strideH": 1}
POOL = ("Pool2DOptions", {**WINDOW, "filterWidth": 2, "filterHeight": 2}, [2, 3, 5, 5])
# name: what follows the input, the options, their fields, the output's shape
OPS = {
    **{op: (SHAPE, f"{op.title()}Options", {}, SHAPE) for op in ("ADD", "SUB", "MUL", "DIV")},
    "CONCATENATION": (SHAPE, "ConcatenationOptions", {"axis": 3}, [2, 4, 6, 10]),
    **dict.fromkeys(("MAX_POOL_2D", "AVERAGE_POOL_2D", "L2_POOL_2D"), (None, *POOL)),
    "L2_NORMALIZATION": (None, "L2NormOptions", {}, SHAPE),
    "CONV_2D": ([3, 1, 1, 5], "Conv2DOptions", {**WINDOW, "dilationWFactor": 1, "dilationHFactor": 1}, [2, 4, 6, 3]),
    "DEPTHWISE_CONV_2D": ([1, 2, 2, 5], "DepthwiseConv2DOptions", {**WINDOW, "depthMultiplier": 1}, [2, 3, 5, 5]),
    "FULLY_CONNECTED": ([3, 5], "FullyConnectedOptions", {"keepNumDims": True}, [2, 4, 6, 3]),
}
BYTES = ["ADD", "SUB", "MUL", "CONCATENATION", "MAX_POOL_2D", "AVERAGE_POOL_2D"]
WORDS = ["ADD", "MUL", "CONCATENATION", "MAX_POOL_2D"]


@pytest.mark.parametrize("activation", ["RELU", "RELU6"])
@pytest.mark.parametrize(
    ("op", "dtype"),
    [*((op, "float32") for op in OPS), *((op, dtype) for dtype in ("int8", "uint8") for op in BYTES), *((op, "int16") for op in WORDS)],
)
def test_behind(op, dtype, activation):
    operand, options, fields, shape = OPS[op]
    g = mm.Graph("main")

    def values(*s):
        if dtype == "float32":
            return real(*s)
        low = 0 if dtype == "uint8" else -128
        return np.clip(np.round(40 * real(*s)) + low + 128, low, low + 255).astype(dtype)

    inputs = [g.input("x", SHAPE, dtype)]
    if operand is not None:
        inputs.append(g.const(values(*operand)))
    if op in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
        inputs.append(g.const(real(shape[-1])))
    y = g.op(activation, [g.op(op, inputs, shape, options, **fields)], shape)
    if dtype != "float32":
        for tensor in g.tensors:
            tensor.quant = mm.Quant(np.array([0.05]), np.array([{"int8": 3, "uint8": 131, "int16": 0}[dtype]]))
    content = mm.served(g, y=y).tobytes()
    x = values(*SHAPE)
    reference = litert.Interpreter(model_content=content, experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF)
    want = reference.get_signature_runner()(x=x)
    compare(sigrun.Interpreter(model_content=content).get_signature_runner()(x=x), want)

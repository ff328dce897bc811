"""StableHLO operators in a .tflite file: what LiteRT runs gives what LiteRT gives, the others what numpy gives."""

import math

import numpy as np
import pytest
from flatbuffers import flexbuffers
from one_op import build, case, check_against_litert, check_refused, compare, const, ints, litert, mm, pair, real, run

import sigrun

I32, F32 = "int32", "float32"
POINTS = np.array([[0, 1], [2, 3], [5, -1]], I32)


def gather(sizes, offset_dims, collapsed, index_map, vector_dim, **more):
    return {
        "options": "StablehloGatherOptions",
        "sliceSizes": sizes,
        "offsetDims": offset_dims,
        "collapsedSliceDims": collapsed,
        "startIndexMap": index_map,
        "indexVectorDim": vector_dim,
        **more,
    }


def scatter(window, inserted, index_map, vector_dim, body, **more):
    return {
        "options": "StablehloScatterOptions",
        "updateWindowDims": window,
        "insertedWindowDims": inserted,
        "scatterDimsToOperandDims": index_map,
        "indexVectorDim": vector_dim,
        "updateComputationSubgraphIndex": 1,
        "body": body,
        **more,
    }


def window(size, stride, padding, dilation=(1, 1), base=(1, 1), body="STABLEHLO_ADD", **more):
    return {
        "options": "StablehloReduceWindowOptions",
        "windowDimensions": size,
        "windowStrides": stride,
        "padding": padding,
        "windowDilations": list(dilation),
        "baseDilations": list(base),
        "bodySubgraphIndex": 1,
        "body": body,
        **more,
    }


CASES = [
    *[
        case(f"STABLEHLO_{op}", [x, y], (x.dtype.name, x.shape), builtin=True)
        for op in ("ADD", "MULTIPLY", "MAXIMUM", "MINIMUM")
        for x, y in ((real(2, 5), real(2, 5)), (ints("int16", 9), ints("int16", 9)), (ints("uint8", 3), ints("uint8", 3)))
    ],
    *[
        case(
            "STABLEHLO_PAD",
            [x, const(v, x.dtype)],
            (x.dtype.name, s),
            options="StablehloPadOptions",
            edgePaddingLow=a,
            edgePaddingHigh=b,
            interiorPadding=i,
        )
        for x, v, a, b, i, s in [
            (real(2, 3), -1, [1, 0], [2, 1], [0, 2], (5, 8)),
            (ints("int8", 4, 5), 7, [-1, -2], [1, -1], [1, 1], (7, 6)),
            (ints("int64", 3), 0, [-4], [9], [2], (12,)),
        ]
    ],
    case("STABLEHLO_GATHER", [real(4, 5, 2), POINTS[:2]], (F32, (2, 2)), **gather([1, 1, 2], [1], [0, 1], [0, 1], 1)),
    case(
        "STABLEHLO_GATHER", [ints("int16", 4, 5), np.array([[0], [2]], "int64")], ("int16", (2, 2, 3)), **gather([2, 3], [1, 2], [], [1], 1)
    ),
    case("STABLEHLO_GATHER", [real(4, 5), POINTS], (F32, (3,)), bad="offset dimensions for boxes", **gather([2, 2], [1], [], [0, 1], 1)),
    *[
        case(
            "STABLEHLO_SCATTER",
            [x, POINTS[:2], ints(I32, 2, 2).astype(x.dtype)],
            (x.dtype.name, x.shape),
            **scatter([1], [0, 1], [0, 1], 1, body),
        )
        for x in (real(4, 5, 2), ints(I32, 4, 5, 2))
        for body in ("", "STABLEHLO_ADD", "STABLEHLO_MULTIPLY", "STABLEHLO_MAXIMUM", "STABLEHLO_MINIMUM")
    ],
    case(
        "STABLEHLO_SCATTER",
        [real(4, 5), np.array([3, 4], I32), real(2, 3)],
        (F32, (4, 5)),
        **scatter([0, 1], [], [0, 1], 0, "STABLEHLO_ADD"),
    ),
    case(
        "STABLEHLO_SCATTER",
        [real(4), np.array([[1], [2]], I32), real(2)],
        (F32, (4,)),
        bad="not a single sum",
        **scatter([], [0], [0], 1, "STABLEHLO_POWER"),
    ),
    *[
        case("STABLEHLO_REDUCE_WINDOW", [x, const(v, x.dtype)], (x.dtype.name, s), **w)
        for x, v, s, w in [
            (real(5, 6), 0, (2, 5), window([2, 2], [2, 1], [0, 0, 0, 0])),
            (real(5, 6), 3, (7, 3), window([1, 2], [1, 2], [1, 1, -1, 1], body="STABLEHLO_MAXIMUM")),
            (ints(I32, 3, 4), 1, (4, 6), window([2, 2], [1, 1], [0, 0, 0, 0], base=(2, 2), body="STABLEHLO_MULTIPLY")),
            (ints("int8", 5, 6), 9, (3, 2), window([2, 3], [1, 1], [0, 0, 0, 0], dilation=(2, 2), body="STABLEHLO_MINIMUM")),
        ]
    ],
    *[
        case(
            "STABLEHLO_RNG_BIT_GENERATOR",
            [ints("uint64", n)],
            ("uint64", (n,)),
            (t, (3, 5)),
            options="StablehloRngBitGeneratorOptions",
            algorithm=a,
        )
        for n, t, a in ((2, I32, 2), (2, "uint64", 1), (3, "uint32", 1), (2, "int64", 0))
    ],
    case(
        "STABLEHLO_RNG_BIT_GENERATOR",
        [ints("uint64", 3)],
        ("uint64", (3,)),
        (I32, (3,)),
        options="StablehloRngBitGeneratorOptions",
        algorithm=2,
        bad="a state of",
    ),
    case("WHERE", [np.array([[0, 1], [1, 1]], bool)], ("int64", (3, 2)), options="WhereOptions"),
    case("WHERE", [np.array([0, 0, -2, 3], I32)], ("int64", (2, 1)), options="WhereOptions"),
    *[
        case("UNIQUE", [np.array([5, 3, 5, 5, 1, 3], t)], (t, (3,)), (i, (6,)), options="UniqueOptions", idxOutType=mm.TYPES[i])
        for t in (F32, "int64", "int8")
        for i in (I32, "int64")
    ],
    case("UNIQUE", [real(2, 2)], (F32, (4,)), (I32, (4,)), options="UniqueOptions", bad="expected a vector"),
    *[
        case("SOFTMAX", [ints("int16", 4, 9)], ("int16", (4, 9)), options="SoftmaxOptions", beta=b, quant=[(s, 0), (2**-15, 0)])
        for b, s in ((1.0, 1e-3), (0.5, 3e-4))
    ],
    *[
        case(
            f"{op}_POOL_2D",
            [ints("int16", 2, 5, 6, 3)],
            ("int16", (2, 3, 3, 3)),
            options="Pool2DOptions",
            padding=mm.SAME,
            strideW=2,
            strideH=2,
            filterWidth=3,
            filterHeight=2,
            quant=[(0.1, 0), (0.1, 0)],
        )
        for op in ("AVERAGE", "MAX")
    ],
]


@pytest.mark.parametrize("c", [c for c in CASES if not c.bad], ids=str)
def test_against_litert(c):
    check_against_litert(c)


@pytest.mark.parametrize("c", [c for c in CASES if c.bad], ids=str)
def test_bad_data(c):
    check_refused(c)


def logistic(x):
    return 1 / (1 + np.exp(-x))


A, B, BITS = real(3, 4), real(3, 4), ints(I32, 3, 4)
OTHERS = [
    *[
        (case(f"STABLEHLO_{op}", [a], (F32, a.shape)), f(a))
        for op, f, a in [
            ("ABS", np.abs, A),
            ("NEGATE", np.negative, A),
            ("COSINE", np.cos, A),
            ("EXPONENTIAL", np.exp, A),
            ("FLOOR", np.floor, A),
            ("LOG", np.log, np.abs(A)),
            ("LOGISTIC", logistic, A),
            ("RSQRT", lambda x: 1 / np.sqrt(x), np.abs(A) + 1),
            ("TANH", np.tanh, A),
            ("CBRT", np.cbrt, A),
        ]
    ],
    *[
        (case(f"STABLEHLO_{op}", [a, b], (a.dtype.name, a.shape)), f(a, b))
        for op, f, a, b in [
            ("SUBTRACT", np.subtract, A, B),
            ("DIVIDE", np.divide, A, B),
            ("POWER", np.power, np.abs(A), B),
            ("REMAINDER", np.fmod, A, B),
            ("REMAINDER", np.fmod, BITS, ints(I32, 3, 4, low=1, high=99)),
            ("AND", np.bitwise_and, BITS, BITS[::-1]),
            ("OR", np.bitwise_or, BITS, BITS[::-1]),
            ("SHIFT_LEFT", np.left_shift, BITS, ints(I32, 3, 4, low=0, high=31)),
        ]
    ],
    *[
        (
            case("STABLEHLO_COMPARE", [BITS, BITS[::-1]], ("bool", (3, 4)), options="StablehloCompareOptions", comparisonDirection=d),
            f(BITS, BITS[::-1]),
        )
        for d, f in enumerate((np.equal, np.not_equal, np.greater_equal, np.greater, np.less_equal, np.less))
    ],
    (case("STABLEHLO_CLAMP", [const(-1, F32), A, const(2, F32)], (F32, (3, 4))), np.clip(A, -1, 2)),
    (case("STABLEHLO_SELECT", [A > 0, A, B], (F32, (3, 4))), np.where(A > 0, A, B)),
    (case("STABLEHLO_CONVERT", [BITS], (F32, (3, 4))), BITS.astype(F32)),
    (case("STABLEHLO_RESHAPE", [A], (F32, (2, 6))), A.reshape(2, 6)),
    (case("STABLEHLO_TRANSPOSE", [A], (F32, (4, 3)), options="StablehloTransposeOptions", permutation=[1, 0]), A.T),
    (case("STABLEHLO_CONCATENATE", [A, B], (F32, (3, 8)), options="StablehloConcatenateOptions", dimension=1), np.concatenate([A, B], 1)),
    (
        case("STABLEHLO_BROADCAST_IN_DIM", [A[:1]], (F32, (4, 2, 3)), options="StablehloBroadcastInDimOptions", broadcastDimensions=[2, 0]),
        np.broadcast_to(A[0].reshape(4, 1, 1), (4, 2, 3)),
    ),
    (
        case(
            "STABLEHLO_SLICE", [A], (F32, (2, 2)), options="StablehloSliceOptions", startIndices=[1, 0], limitIndices=[3, 3], strides=[1, 2]
        ),
        A[1:3, 0:3:2],
    ),
    (
        case(
            "STABLEHLO_DYNAMIC_SLICE",
            [A, np.array(5, I32), np.array(1, I32)],
            (F32, (2, 2)),
            options="StablehloDynamicSliceOptions",
            sliceSizes=[2, 2],
        ),
        A[1:, 1:3],
    ),
    (case("STABLEHLO_IOTA", [], ("int16", (2, 3)), options="StablehloIotaOptions", iotaDimension=1), np.array([[0, 1, 2]] * 2, "int16")),
    (
        case(
            "STABLEHLO_REDUCE",
            [A, const(0, F32)],
            (F32, (4,)),
            options="StablehloReduceOptions",
            dimensions=[0],
            bodySubgraphIndex=1,
            body="STABLEHLO_ADD",
        ),
        A.sum(0),
    ),
]


@pytest.mark.parametrize(("c", "want"), OTHERS, ids=lambda c: str(c.op) if hasattr(c, "op") else "")
def test_against_numpy(c, want):
    compare(run(sigrun.Interpreter(model_content=build(c)), c), {"o0": np.asarray(want)})


def test_dynamic_update_slice():
    c = case("STABLEHLO_DYNAMIC_UPDATE_SLICE", [A, B[:2, :2], np.array(9, I32), np.array(-3, I32)], (F32, (3, 4)))
    want = A.copy()
    want[1:, :2] = B[:2, :2]
    compare(run(sigrun.Interpreter(model_content=build(c)), c), {"o0": want})


def call(target, x, *outputs, **attributes):
    fields = {"callTargetName": target}
    if attributes:
        fields["customAttributes"] = list(flexbuffers.Dumps(attributes))
    c = case("STABLEHLO_CUSTOM_CALL", [x], *outputs, options="StablehloCustomCallOptions", **fields)
    return run(sigrun.Interpreter(model_content=build(c)), c)


def test_custom_calls():
    np.testing.assert_array_equal(call("Sharding", A, (F32, A.shape))["o0"], A)
    want = np.vectorize(math.erf)(A).astype(F32)
    np.testing.assert_allclose(call("mhlo.erf", A, (F32, A.shape))["o0"], want, atol=1e-6)
    np.testing.assert_allclose(call("chlo.tan", A, (F32, A.shape))["o0"], np.tan(A), rtol=1e-5)
    x = np.array([[3, 1, 3, 2], [0, 5, 4, 5]], F32)
    got = call("mhlo.topk", x, (F32, (2, 2)), (I32, (2, 2)))
    np.testing.assert_array_equal(got["o0"], [[3, 3], [5, 5]])
    np.testing.assert_array_equal(got["o1"], [[0, 2], [1, 3]])
    got = call("chlo.top_k", x, (F32, (2, 2)), (I32, (2, 2)), largest=False)
    np.testing.assert_array_equal(got["o0"], [[1, 2], [0, 4]])
    np.testing.assert_array_equal(got["o1"], [[1, 3], [0, 2]])


def test_a_custom_call_that_is_unknown():
    with pytest.raises((RuntimeError, ValueError), match=r"custom_call\.some_gpu_kernel \(version 1"):
        call("some_gpu_kernel", A, (F32, A.shape))


def composite_op(inputs, outputs):
    fields = {"name": "test.made_up", "decompositionSubgraphIndex": 1, "compositeAttributes": list(flexbuffers.Dumps({}))}
    return mm.Op("STABLEHLO_COMPOSITE", inputs, outputs, "StableHLOCompositeOptions", fields)


def composite(body, outputs):
    """A model whose only operator is a composite with the decomposition `body`."""
    g = mm.Graph("main")
    g.inputs = [g.add(mm.Tensor(f"i{i}", body.tensors[t].shape)) for i, t in enumerate(body.inputs)]
    made = [g.add(mm.Tensor(f"o{o}", body.tensors[t].shape)) for o, t in enumerate(body.outputs)]
    g.ops.append(composite_op(g.inputs, made))
    model = mm.served(g, **dict(zip(outputs, made, strict=True)))
    model.graphs.append(body)
    return model.tobytes()


def test_composite_is_its_decomposition():
    body = pair("STABLEHLO_ADD", F32)
    product = body.op("STABLEHLO_MULTIPLY", [body.outputs[0], body.inputs[1]], [])
    # An output may be read inside, given twice, or be an input or a constant.
    body.outputs = [product, body.outputs[0], product, body.inputs[0], body.const(7.0, F32)]
    content = composite(body, "pqrst")
    inputs = {"i0": np.array(3, F32), "i1": np.array(4, F32)}
    got = sigrun.Interpreter(model_content=content).get_signature_runner()(**inputs)
    assert [float(got[name]) for name in "pqrst"] == [28, 7, 28, 3, 7]


def test_composite_in_itself():
    body = mm.Graph("body")
    body.inputs = [body.add(mm.Tensor("a", []))]
    body.outputs = [body.add(mm.Tensor("b", []))]
    body.ops.append(composite_op(body.inputs, body.outputs))
    with pytest.raises((RuntimeError, ValueError), match="its decomposition contains it"):
        sigrun.Interpreter(model_content=composite(body, "y")).allocate_tensors()


def test_missing_operators_are_named_at_once():
    g = mm.Graph("main")
    x = g.input("x", [2, 3])
    y = g.op("MadeUpOp", [x], [2, 3], custom=b"1234")
    z = g.op("AnotherMadeUpOp", [g.op("MadeUpOp", [y], [2, 3])], [2, 3])
    with pytest.raises((RuntimeError, ValueError)) as error:
        sigrun.Interpreter(model_content=mm.served(g, z=z).tobytes()).allocate_tensors()
    assert "AnotherMadeUpOp (version 1; #2: FLOAT32[2, 3] -> FLOAT32[2, 3])" in str(error.value)
    assert "MadeUpOp (version 1, 2 times, first #0: FLOAT32[2, 3] -> FLOAT32[2, 3], 4 bytes of options)" in str(error.value)


def dot(left, right, batch, contracting):
    return {
        "options": "StablehloDotGeneralOptions",
        "lhsBatchingDimensions": batch[0],
        "rhsBatchingDimensions": batch[1],
        "lhsContractingDimensions": contracting[0],
        "rhsContractingDimensions": contracting[1],
    } | {"inputs": [left, right]}


@pytest.mark.parametrize("dtype", [F32, I32])
def test_dot_general(dtype):
    left, right = ints(I32, 3, 4, 2, 5, low=-9, high=9).astype(dtype), ints(I32, 5, 6, 3, 4, low=-9, high=9).astype(dtype)
    fields = dot(left, right, ([0], [2]), ([3, 1], [0, 3]))
    want = np.einsum("bkim,mjbk->bij", left, right)
    c = case("STABLEHLO_DOT_GENERAL", fields.pop("inputs"), (dtype, want.shape), **fields)
    compare(run(sigrun.Interpreter(model_content=build(c)), c), {"o0": want})


def test_dot_general_of_what_does_not_match():
    fields = dot(real(3, 4), real(5, 6), ([], []), ([1], [0]))
    check_refused(case("STABLEHLO_DOT_GENERAL", fields.pop("inputs"), (F32, (3, 6)), bad="do not match", **fields))


CONVOLUTION = {
    "options": "StablehloConvolutionOptions",
    "inputBatchDimension": 0,
    "inputFeatureDimension": 3,
    "inputSpatialDimensions": [1, 2],
    "kernelInputFeatureDimension": 2,
    "kernelOutputFeatureDimension": 3,
    "kernelSpatialDimensions": [0, 1],
    "outputBatchDimension": 0,
    "outputFeatureDimension": 3,
    "outputSpatialDimensions": [1, 2],
    "batchGroupCount": 1,
}


def litert_conv(x, w, padding, stride, dilation):
    """CONV_2D, which takes the output feature of the kernel first."""
    filters = np.ascontiguousarray(w.transpose(3, 0, 1, 2))
    fields = {
        "padding": padding,
        "strideH": stride[0],
        "strideW": stride[1],
        "dilationHFactor": dilation[0],
        "dilationWFactor": dilation[1],
    }
    reach = [(w.shape[d] - 1) * dilation[d] + 1 for d in (0, 1)]
    size = [-(-x.shape[1 + d] // stride[d]) if padding == 0 else -(-(x.shape[1 + d] - reach[d] + 1) // stride[d]) for d in (0, 1)]
    bias = const(np.zeros(w.shape[3]), F32)
    c = case("CONV_2D", [x, filters, bias], (F32, (x.shape[0], *size, w.shape[3])), options="Conv2DOptions", **fields)
    return run(litert.Interpreter(model_content=build(c)), c)["o0"]


@pytest.mark.parametrize(("stride", "dilation"), [((1, 1), (1, 1)), ((2, 1), (1, 2))])
def test_convolution(stride, dilation):
    x, w = real(2, 9, 8, 4), real(3, 2, 2, 6)
    want = litert_conv(x, np.concatenate([w, np.zeros_like(w)], 2), 1, stride, dilation)[..., :3]
    want = np.concatenate([want, litert_conv(x, np.concatenate([np.zeros_like(w), w], 2), 1, stride, dilation)[..., 3:]], 3)
    fields = CONVOLUTION | {"windowStrides": list(stride), "rhsDilation": list(dilation), "padding": [0] * 4, "featureGroupCount": 2}
    c = case("STABLEHLO_CONVOLUTION", [x, w], (F32, want.shape), **fields)
    compare(run(sigrun.Interpreter(model_content=build(c)), c), {"o0": want})


def test_convolution_whose_input_is_drawn_apart():
    """Features first, the kernel backwards: a transposed convolution, as sums of shifted copies."""
    x, w = real(1, 2, 4), real(3, 2, 3)  # [batch, feature, width], [out, in, width]
    want = np.zeros((1, 3, 9), F32)
    for i in range(4):
        for k in range(3):
            want[0, :, 2 * i + k] += w[:, :, k] @ x[0, :, i]
    fields = CONVOLUTION | {
        **dict.fromkeys(["inputFeatureDimension", "outputFeatureDimension", "kernelInputFeatureDimension"], 1),
        **{key: [2] for key in ("inputSpatialDimensions", "outputSpatialDimensions", "kernelSpatialDimensions")},
        "kernelOutputFeatureDimension": 0,
        "lhsDilation": [2],
        "padding": [2, 2],
        "windowReversal": [True],
        "featureGroupCount": 1,
    }
    c = case("STABLEHLO_CONVOLUTION", [x, w], (F32, want.shape), **fields)
    compare(run(sigrun.Interpreter(model_content=build(c)), c), {"o0": want})


def test_convolution_of_a_batch_in_groups():
    x, w = real(6, 5, 5, 4), real(3, 3, 4, 9)
    parts = [litert_conv(x[i * 2 : i * 2 + 2], w[..., i * 3 : i * 3 + 3], 1, (1, 1), (1, 1)) for i in range(3)]
    want = np.concatenate(parts, 3)
    fields = CONVOLUTION | {"padding": [0] * 4, "featureGroupCount": 1, "batchGroupCount": 3}
    c = case("STABLEHLO_CONVOLUTION", [x, w], (F32, want.shape), **fields)
    compare(run(sigrun.Interpreter(model_content=build(c)), c), {"o0": want})


def test_sort_by_two_keys():
    """The first rising, of equals the second falling; a third operand is carried along."""
    keys, second, third = ints(I32, 3, 40, low=-3, high=3), np.round(real(3, 40)), ints("int8", 3, 40)
    types = [I32, F32, "int8"]
    body = mm.Graph("body")
    body.inputs = [body.add(mm.Tensor(f"{side}{i}", [], t)) for i, t in enumerate(types) for side in "ab"]
    a0, b0, a1, b1, *_ = body.inputs
    less, equal = body.op("LESS", [a0, b0], [], "LessOptions", dtype="bool"), body.op("EQUAL", [a0, b0], [], "EqualOptions", dtype="bool")
    greater = body.op("GREATER", [a1, b1], [], "GreaterOptions", dtype="bool")
    both = body.op("LOGICAL_AND", [equal, greater], [], dtype="bool")
    body.outputs = [body.op("LOGICAL_OR", [less, both], [], dtype="bool")]
    g = mm.Graph("main")
    g.inputs = [g.add(mm.Tensor(f"i{i}", [3, 40], t)) for i, t in enumerate(types)]
    made = [g.add(mm.Tensor(f"o{i}", [3, 40], t)) for i, t in enumerate(types)]
    fields = {"dimension": 1, "isStable": True, "comparatorSubgraphIndex": 1}
    g.ops.append(mm.Op("STABLEHLO_SORT", g.inputs, made, "StablehloSortOptions", fields))
    model = mm.served(g, **{f"o{i}": v for i, v in enumerate(made)})
    model.graphs.append(body)
    got = sigrun.Interpreter(model_content=model.tobytes()).get_signature_runner()(i0=keys, i1=second, i2=third)
    for row in range(3):
        order = np.lexsort((-second[row], keys[row]))
        for i, operand in enumerate((keys, second, third)):
            np.testing.assert_array_equal(got[f"o{i}"][row], operand[row][order])


@pytest.mark.parametrize(("body", "dimension"), [("LESS", 1), ("GREATER", 0), ("GREATER", 2)])
def test_sort(body, dimension):
    x = ints(I32, 4, 5, 3, low=-4, high=4)
    c = case(
        "STABLEHLO_SORT",
        [x],
        (I32, x.shape),
        options="StablehloSortOptions",
        dimension=dimension,
        isStable=True,
        comparatorSubgraphIndex=1,
        body=body,
    )
    want = np.sort(x, dimension) if body == "LESS" else -np.sort(-x, dimension)
    compare(run(sigrun.Interpreter(model_content=build(c)), c), {"o0": want})


def test_while():
    """Adds the second value to the first until it is 10 or more."""
    main, asking, body = mm.Graph("main"), mm.Graph("asking"), mm.Graph("body")
    for g in (main, asking, body):
        g.inputs = [g.add(mm.Tensor(name, [], I32)) for name in ("i0", "i1")]
    asking.outputs = [asking.op("LESS", [0, asking.const(np.array(10, I32))], [], "LessOptions", dtype="bool")]
    body.outputs = [body.op("ADD", [0, 1], [], "AddOptions"), 1]
    main.outputs = [main.add(mm.Tensor(name, [], I32)) for name in ("o0", "o1")]
    fields = {"condSubgraphIndex": 1, "bodySubgraphIndex": 2}
    main.ops.append(mm.Op("STABLEHLO_WHILE", [0, 1], main.outputs, "StablehloWhileOptions", fields))
    model = mm.served(main, o0=main.outputs[0])
    model.graphs += [asking, body]
    got = sigrun.Interpreter(model_content=model.tobytes()).get_signature_runner()(i0=np.array(1, I32), i1=np.array(4, I32))
    assert int(got["o0"]) == 13

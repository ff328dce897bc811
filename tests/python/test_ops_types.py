"""Types that models rarely use, in the operators of which LiteRT's kernels take them."""

import functools

import numpy as np
import pytest
from one_op import build, case, check_against_litert, compare, const, ints, litert, mm, real, run
from test_ops_products import packed

import sigrun

COMPARISONS = ["Equal", "NotEqual", "Less", "LessEqual", "Greater", "GreaterEqual"]
OPS = {
    "Equal": "EQUAL",
    "NotEqual": "NOT_EQUAL",
    "Less": "LESS",
    "LessEqual": "LESS_EQUAL",
    "Greater": "GREATER",
    "GreaterEqual": "GREATER_EQUAL",
}


def halves(*shape):
    return np.round(real(*shape)).astype("float16")


def comparison(name, a, b, quant=()):
    return case(OPS[name], [a, b], ("bool", (3, 40)), options=f"{name}Options", quant=quant)


def prelu(slopes, *shape):
    return case("PRELU", [ints("int16", 2, 3, 4), ints(slopes, *shape)], ("int16", (2, 3, 4)), quant=[(0.04, 0), (0.01, 0), (0.05, 0)])


def byte_slopes(dtype, shape, slopes):
    zero = 128 if dtype == "uint8" else 0
    quant = [(0.04, zero + 9), (0.01, zero - 3), (0.03, zero - 20)]
    x, a = ints(dtype, *shape), ints(dtype, *slopes)
    return [case("PRELU", [x, operand], (dtype, shape), quant=quant) for operand in (a, const(a, dtype))]


def byte_softmax(dtype, rows, depth, scale):
    quant = [(scale, 5), (1 / 256, -128 if dtype == "int8" else 0)]
    return case("SOFTMAX", [ints(dtype, rows, depth)], (dtype, (rows, depth)), options="SoftmaxOptions", beta=1.0, quant=quant)


BOOLS = ints("uint8", 3, 4, 5, high=1).astype(bool)
SOME_NAN = np.where(real(3, 70, 300) > 2, np.float32(np.nan), real(3, 70, 300)).astype("float32")
ROWS = {
    "float32": lambda n: np.where(real(700, n) > 2, np.float32(np.nan), real(700, n)),
    "int8": functools.partial(ints, "int8", 700),
    "uint8": functools.partial(ints, "uint8", 700),
    "int16": functools.partial(ints, "int16", 700),
    "int64": functools.partial(ints, "int64", 700),
}
PHASES = (real(2, 1, 3) + 1j * real(2, 1, 3)).astype("complex64")
CASES = [
    *[comparison(name, halves(3, 40), halves(40)) for name in COMPARISONS],
    *[
        comparison(name, ints("int16", 3, 40, low=-50, high=50), ints("int16", 40, low=-50, high=50), [(0.1, 0), (0.2, 0), (1, 0)])
        for name in ("Equal", "NotEqual")
    ],
    *[prelu(slopes, *shape) for slopes in ("int8", "int16") for shape in ((4,), (1, 3, 1), (1,))],
    *[
        case(op, [BOOLS, const(axes)], ("bool", shape), options="ReducerOptions")
        for op in ("SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD")
        for axes, shape in (([1], (3, 5)), ([0, 2], (4,)))
    ],
    *[
        case(op, [SOME_NAN, const([axis])], ("float32", shape), options="ReducerOptions")
        for op in ("REDUCE_MAX", "REDUCE_MIN")
        for axis, shape in ((1, (3, 300)), (2, (3, 70)))
    ],
    *[
        case(op, [rows(n), const([1])], (dtype, (700, 1)), options="ReducerOptions", keepDims=True)
        for n in (2, 3, 4, 7, 12, 24, 33, 64, 200)
        for dtype, rows in ROWS.items()
        for op in ("REDUCE_MAX", "REDUCE_MIN")
    ],
    *[
        case(op, [real(700, n), const([1])], ("float32", (700,)), options="ReducerOptions")
        for op in ("SUM", "MEAN")
        for n in (2, 6, 15, 40)
    ],
    *[
        c
        for dtype in ("int8", "uint8")
        for shape, slopes in (((2, 5, 7, 24), (1, 1, 24)), ((40, 1500), (1500,)), ((3, 50, 8), (1, 50, 1)), ((3, 700), (1,)))
        for c in byte_slopes(dtype, shape, slopes)
    ],
    *[
        byte_softmax(dtype, rows, depth, scale)
        for dtype in ("int8", "uint8")
        for rows, depth in ((5, 1), (5, 2), (4000, 2), (19, 3), (21, 8), (37, 19), (9, 128), (9, 129), (3, 2000))
        for scale in (0.03, 0.2)
    ],
    case("LOG_SOFTMAX", [real(31, 29)], ("float32", (31, 29)), options="LogSoftmaxOptions"),
    case("SOFTMAX", [real(5, 19).astype("float16")], ("float16", (5, 19)), options="SoftmaxOptions", beta=1.0),
    *[
        case(
            "SOFTMAX",
            [ints("int16", 2000, 3)],
            ("int16", (2000, 3)),
            options="SoftmaxOptions",
            beta=beta,
            quant=[(2e-4, 0), (1 / 32768, 0)],
        )
        for beta in (0.5, 2.0)
    ],
    case("SQRT", [ints("int16", 2000, low=0)], ("int16", (2000,)), quant=[(3e-4, 0), (1e-4, 0)]),
    case("MUL", [PHASES, PHASES.reshape(2, 3, 1)], ("complex64", (2, 3, 3)), options="MulOptions"),
    case("ATAN2", [real(3, 4).astype("float16"), real(3, 4).astype("float16")], ("float16", (3, 4))),
]


@pytest.mark.parametrize("c", CASES, ids=str)
def test_against_litert(c):
    if "float16" in (str(c.outputs[0][0]), c.inputs[0].dtype.name):
        content = build(c)
        theirs = litert.Interpreter(model_content=content, experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF)
        return compare(run(sigrun.Interpreter(model_content=content), c), run(theirs, c), tolerance=1e-3)
    return check_against_litert(c)


NAN_NOW_AND_THEN = np.where(real(1, 6, 7, 5) > 2, np.float32(np.nan), real(1, 6, 7, 5)).astype("float32")


@pytest.mark.parametrize("activation", [mm.NONE, mm.RELU6])
def test_pools_of_nan(activation):
    """A window with a NaN has one, whatever the function."""
    window = {"padding": mm.VALID, "strideH": 1, "strideW": 1, "filterHeight": 2, "filterWidth": 2}
    output = ("float32", (1, 5, 6, 5))
    check_against_litert(
        case("L2_POOL_2D", [NAN_NOW_AND_THEN], output, options="Pool2DOptions", fusedActivationFunction=activation, **window)
    )


def test_the_sign_of_nan():
    check_against_litert(case("SIGN", [NAN_NOW_AND_THEN], ("float32", NAN_NOW_AND_THEN.shape), options="SignOptions"))


def test_ranges_of_floats_are_counted_in_floats():
    bounds = [np.float32(b) for b in (-5.1800003, 4.81, 1.11)]
    check_against_litert(case("RANGE", bounds, ("float32", (9,)), options="RangeOptions"))


BYTE_OPERATORS = [*((op, dtype) for op in ("Add", "Sub", "Mul") for dtype in ("int8", "uint8")), ("SquaredDifference", "int8")]


@pytest.mark.parametrize("shapes", [((3, 900), (1,)), ((1, 1), (3, 900)), ((3, 900), (3, 1))])
@pytest.mark.parametrize(("op", "dtype"), BYTE_OPERATORS)
def test_bytes_beside_one_value(op, dtype, shapes):
    name = "SQUARED_DIFFERENCE" if op == "SquaredDifference" else op.upper()
    zero = 0 if dtype == "int8" else 128
    operands = [ints(dtype, *shape) for shape in shapes]
    quant = [(0.05, zero - 7), (0.031, zero + 20), (0.3 if op == "Mul" else 0.11, zero - 3)]
    check_against_litert(case(name, operands, (dtype, (3, 900)), options=f"{op}Options", quant=quant))


@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_quantised_sums_are_those_of_the_builtin_kernels(dtype):
    """LiteRT's reference overflows there."""
    for scale in (0.05, 0.0135):
        c = case("SUM", [ints(dtype, 30, 9, low=-20, high=20), const([1])], (dtype, (30,)), options="ReducerOptions")
        c.quant = [(0.05, 3 if dtype == "int8" else 0), (1, 0), (scale, -5 if dtype == "int8" else 0)]
        c.builtin = True
        check_against_litert(c)


MOVED = {
    "CAST": ("float32", (4, 6), ()),
    "CONCATENATION": ("int4", (4, 6), ()),
    "GATHER": ("int4", (2, 6), ([1, 3],)),
    "SLICE": ("int4", (2, 5), ([1, 0], [2, 5])),
    "TRANSPOSE": ("int4", (6, 4), ([1, 0],)),
}


@pytest.mark.parametrize("op", MOVED)
@pytest.mark.parametrize("fixed", [False, True])
def test_four_bits_are_moved(op, fixed, rng):
    """A constant, or what DYNAMIC_UPDATE_SLICE would see: a value that another operator made."""
    dtype, shape, operands = MOVED[op]
    g = mm.Graph()
    values = rng.integers(-8, 8, (4, 6))
    w = g.add(mm.Tensor("w", [4, 6], "int4", packed(values, 4)))
    if not fixed:
        g.inputs = [g.add(mm.Tensor("i", [1], "int32"))]
        w = g.op("RESHAPE", [w, g.const([4, 6], "int32")], [4, 6], dtype="int4")
    y = g.add(mm.Tensor("y", list(shape), dtype))
    g.ops.append(mm.Op(op, [w, *(g.const(o, "int32") for o in operands)], [y], f"{op.title()}Options"))
    content = mm.served(g, y=y).tobytes()
    inputs = {} if fixed else {"i": np.array([1], "int32")}
    theirs = litert.Interpreter(model_content=content, experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF)
    want = theirs.get_signature_runner()(**inputs)["y"]
    got = sigrun.Interpreter(model_content=content).get_signature_runner()(**inputs)["y"]
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("op", ["ADD", "SUB", "MUL", "DIV"])
@pytest.mark.parametrize(("activation", "function"), [(4, "TANH"), (5, "SIGN_BIT")])
def test_functions_fused_into_arithmetic_are_passed_over_and_not_silently(op, activation, function, caplog):
    options = {"options": f"{op.title()}Options", "fusedActivationFunction": activation}
    for a, b in ((real(2, 5), real(2, 5)), (ints("int32", 2, 5, low=-99, high=99), ints("int32", 2, 5, low=1, high=9))):
        check_against_litert(case(op, [a, b], (str(a.dtype), (2, 5)), **options))
    a, b = ints("uint8", 2, 5, low=128), ints("uint8", 2, 5, low=1)
    check_against_litert(case(op, [a, b], ("uint8", (2, 5)), quant=[(0.1, 0), (0.1, 0), (0.2, 0)], **options))
    [record] = caplog.records
    assert f"{op} #0 'o0': its fused activation {function} is passed over, as in LiteRT" in record.getMessage()

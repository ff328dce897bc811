"""Array and math operators, one by one: small models made here give what LiteRT gives, and refuse bad data."""

import functools

import numpy as np
import pytest
from one_op import RNG, case, check_against_litert, check_refused, const, ints, mm, real

I32, F32 = "int32", "float32"
IDS = np.array([1, 0, 2, 0], I32)
EXTREMES = np.array([*np.linspace(-300, 300, 50), 127.5, -128.5, 255.7, -0.7, 4e4, -4e4, 3e9, -3e9, 2147483520.0, -2147483648.0], F32)
# Shapes that broadcast in short runs: one value or a few beside many.
SHORT_RUNS = [
    ((1, 70, 1, 2), (6, 1, 17, 2)),
    ((40, 3, 1), (10,)),
    ((1, 9, 9, 7), (1, 9, 9, 1)),
    ((2, 1, 33), (2, 31, 1)),
    ((5, 1, 4, 1), (3, 1, 16)),
]
SCATTER = np.array([[1], [3], [1]], I32)
# Rows with NaN first, inside, throughout or not at all.
NAN_ROWS = RNG.normal(0, 2, (5, 40)).astype(F32)
NAN_ROWS[0, :2] = NAN_ROWS[1, 7] = NAN_ROWS[2] = NAN_ROWS[3, 0] = np.nan
NAN_ROWS[3, 1:] = [-np.inf, np.inf] * 19 + [0]
# What INT32 wraps or rounds at.
DIVIDENDS = np.array([-(2**31), -(2**31), 2**31 - 1, 2**31 - 1, -(2**31), -7, 7, -7, 0, 2**31 - 1], I32)
DIVISORS = np.array([1, 2**31 - 1, -(2**31), 2, 3, 2, -2, -7, -5, -1], I32)
CASES = [
    *[
        case(op, [NAN_ROWS, const(axis)], (I32, (NAN_ROWS.shape[1 - axis],)), options=f"{op.title().replace('_', '')}Options", outputType=2)
        for op in ("ARG_MAX", "ARG_MIN")
        for axis in (0, 1)
    ],
    *[case(op, [DIVIDENDS, DIVISORS], (I32, (10,)), options=f"{op.title().replace('_', '')}Options") for op in ("FLOOR_DIV", "FLOOR_MOD")],
    *[case("REVERSE_V2", [ints(t, 3, 75), const([1])], (t, (3, 75)), options="ReverseV2Options") for t in ("int8", "int16", I32, "int64")],
    *[case("SCATTER_ND", [SCATTER, ints(t, 3, 2), const([5, 2])], (t, (5, 2)), options="ScatterNdOptions") for t in ("int8", "int64")],
    case("SCATTER_ND", [SCATTER, ints("uint8", 3, high=1).astype(bool), const([5])], ("bool", (5,)), options="ScatterNdOptions"),
    case(
        "SCATTER_ND",
        [np.array([[5]], I32), real(1), const([5])],
        (F32, (5,)),
        options="ScatterNdOptions",
        bad="index 5 of tuple 0 is outside",
    ),
    *[
        case(
            "SPARSE_TO_DENSE",
            [np.array([[0, 1], [2, 0]], t), const([3, 2]), real(2), const(7, F32)],
            (F32, (3, 2)),
            options="SparseToDenseOptions",
        )
        for t in (I32, "int64")
    ],
    case(
        "SPARSE_TO_DENSE",
        [np.array([-1], I32), const([3]), real(1), const(7, F32)],
        (F32, (3,)),
        options="SparseToDenseOptions",
        bad="index -1",
    ),
    *[case("SEGMENT_SUM", [x, const([0, 0, 1, 2])], (x.dtype.name, (3, 2)), builtin=True) for x in (real(4, 2), ints(I32, 4, 2))],
    case("SEGMENT_SUM", [real(3), const([0, 2, 3])], (F32, (4,)), bad="segment id 2 follows 0"),
    *[
        case(f"UNSORTED_SEGMENT_{f}", [x, IDS, const(4)], (x.dtype.name, (4, 3)), options=f"UnsortedSegment{f.title()}Options")
        for f in ("SUM", "PROD", "MAX", "MIN")
        for x in (real(4, 3), ints(I32, 4, 3))
    ],
    case("UNSORTED_SEGMENT_SUM", [real(4), IDS, const(2)], (F32, (2,)), bad="segment id 2 at position 2"),
    *[
        case("TOPK_V2", [x, const(k, kt)], (x.dtype.name, (2, k)), (kt, (2, k)), options="TopKV2Options")
        for x, k, kt in [
            (real(2, 9), 4, I32),
            (ints("int8", 2, 300), 20, "int16"),
            (ints("int64", 2, 5), 5, I32),
            (ints("uint8", 2, 3), 0, I32),
        ]
    ],
    case("TOPK_V2", [real(3), const(4)], (F32, (4,)), (I32, (4,)), bad="k is 4, the rows have 3 elements"),
    *[
        case("CUMSUM", [x, const(1)], (x.dtype.name, x.shape), options="CumsumOptions", exclusive=e, reverse=r)
        for x in (real(2, 5, 3), ints("int64", 2, 4), real(19, 7))
        for e in (False, True)
        for r in (False, True)
    ],
    *[
        case("REVERSE_V2", [x, const(axes)], (x.dtype.name, x.shape), options="ReverseV2Options")
        for n in (3, 4, 21)
        for axes in ([2], [1, 2], [0, 1, 2])
        for x in (real(3, 5, n), ints("uint8", 3, 5, n), ints("int64", 3, 5, n))
    ],
    *[case("CAST", [EXTREMES], (t, (60,)), options="CastOptions") for t in ("int8", "uint8", "int16", I32, "int64", "bool")],
    case("CAST", [ints("uint8", 70, high=1).astype(bool)], (F32, (70,)), options="CastOptions"),
    case("CUMSUM", [real(3), const(2)], (F32, (3,)), options="CumsumOptions", bad="axis 2"),
    *[
        case(
            "ONE_HOT",
            [np.array([[0, 2], [-1, 5]], t), const(3), const(on, dt), const(off, dt)],
            (dt, s),
            options="OneHotOptions",
            axis=axis,
        )
        for t, dt, on, off, axis, s in [
            (I32, F32, 2, -1, -1, (2, 2, 3)),
            ("int64", "bool", 1, 0, 0, (3, 2, 2)),
            (I32, "int8", 5, 1, 1, (2, 3, 2)),
        ]
    ],
    case("ONE_HOT", [IDS, const(-1), const(1, F32), const(0, F32)], (F32, (4, 1)), options="OneHotOptions", axis=-1, bad="depth is -1"),
    *[
        case("QUANTIZE", [ints(t, 200)], (y, (200,)), options="QuantizeOptions", quant=[(0.02, 0), (0.013, 0)])
        for t, y in (("int16", I32), (I32, "int8"), (I32, "int16"))
    ],
    case("BITCAST", [ints("int16", 2, 3)], ("uint8", (2, 3, 2)), options="BitcastOptions"),
    case("BITCAST", [ints("uint8", 3, 4, high=126)], (F32, (3,)), options="BitcastOptions"),
    case("BITCAST", [ints("uint8", 3, 3)], (F32, (3,)), options="BitcastOptions", bad="expected 4 in its last dimension"),
    *[case("BITWISE_XOR", [ints(t, 2, 3), ints(t, 3)], (t, (2, 3)), options="BitwiseXorOptions") for t in ("uint8", I32)],
    *[
        case("RIGHT_SHIFT", [ints(t, 50), ints(t, 50, low=lo, high=40)], (t, (50,)), options="RightShiftOptions")
        for t, lo in (("uint8", 0), ("int16", -3), (I32, -3))
    ],
    case("REVERSE_V2", [ints("int16", 2, 3, 4), const([1])], ("int16", (2, 3, 4)), options="ReverseV2Options"),
    case("REVERSE_V2", [real(2), const([1])], (F32, (2,)), options="ReverseV2Options", bad="axis 1"),
    *[
        case(
            "REVERSE_SEQUENCE",
            [ints(t, 3, 2, 4, 2), np.array(n, lt)],
            (t, (3, 2, 4, 2)),
            options="ReverseSequenceOptions",
            seqDim=s,
            batchDim=b,
        )
        for t, n, lt, s, b in [(I32, [2, 0, 1], I32, 1, 0), ("uint8", [3, 1], "int64", 2, 1), ("int64", [3, 2], "int64", 0, 1)]
    ],
    case(
        "REVERSE_SEQUENCE",
        [real(2, 3), np.array([1, 4], I32)],
        (F32, (2, 3)),
        options="ReverseSequenceOptions",
        seqDim=1,
        batchDim=0,
        bad="length 4 of sequence 1",
    ),
    *[
        case("SPACE_TO_BATCH_ND", [x, const(b), const(pads)], (x.dtype.name, s), options="SpaceToBatchNDOptions", quant=q)
        for x, b, pads, s, q in [
            (real(2, 3, 4, 2), [2, 3], [[1, 0], [0, 2]], (12, 2, 2, 2), []),
            (ints("int64", 1, 4, 3), [2], [[1, 1]], (2, 3, 3), []),
            (ints("int8", 1, 2, 2, 1), [2, 2], [[1, 1], [2, 0]], (4, 2, 2, 1), [(0.5, 3), (1, 0), (1, 0), (0.5, 3)]),
        ]
    ],
    case("SPACE_TO_BATCH_ND", [real(1, 3, 4, 1), const([2, 2]), const([[0, 0], [0, 0]])], (F32, (4, 1, 2, 1)), bad="in blocks of 2x2"),
    case("SPACE_TO_BATCH_ND", [real(1, 3, 4, 1), const([0, 2]), const([[0, 0], [0, 0]])], (F32, (4, 1, 2, 1)), bad="block 0"),
    case(
        "BATCH_TO_SPACE_ND",
        [ints(I32, 12, 2, 2, 2), const([2, 3]), const([[1, 0], [0, 2]])],
        (I32, (2, 3, 4, 2)),
        options="BatchToSpaceNDOptions",
    ),
    case("BATCH_TO_SPACE_ND", [real(3, 2, 2, 2), const([2, 2]), const([[0, 0], [0, 0]])], (F32, (1, 4, 4, 2)), bad="a batch of 3"),
    case("SPACE_TO_DEPTH", [real(2, 4, 6, 3)], (F32, (2, 2, 3, 12)), options="SpaceToDepthOptions", blockSize=2),
    case("SPACE_TO_DEPTH", [real(2, 4, 6, 3)], (F32, (2, 2, 3, 12)), options="SpaceToDepthOptions", blockSize=0, bad="a block of 0"),
    case("DEPTH_TO_SPACE", [ints("int8", 2, 2, 3, 12)], ("int8", (2, 4, 6, 3)), options="DepthToSpaceOptions", blockSize=2),
    *[case("ADD_N", [x, x * 2, x], (x.dtype.name, x.shape), options="AddNOptions") for x in (real(3, 2), ints(I32, 7))],
    *[
        case(op, [make(*a), make(*b)], (kind, np.broadcast_shapes(a, b)), options=f"{op.title()}Options", quant=quant)
        for a, b in SHORT_RUNS
        for op, make, kind, quant in (
            ("MUL", real, F32, []),
            ("ADD", functools.partial(ints, "int8"), "int8", [(0.25, 3), (0.125, -5), (0.5, 7)]),
            ("GREATER", functools.partial(ints, "int64", low=-2, high=2), "bool", []),
            ("ADD", functools.partial(ints, I32), I32, []),
        )
    ],
    case("BROADCAST_ARGS", [np.array([4, 1], "int64"), np.array([3, 1, 5], "int64")], ("int64", (3,))),
    case("BROADCAST_ARGS", [np.array([4, 2], I32), np.array([3], I32)], (I32, (2,)), bad="do not broadcast"),
    *[case("MATRIX_DIAG", [x], (x.dtype.name, (2, 3, 3)), options="MatrixDiagOptions") for x in (real(2, 3), ints("int64", 2, 3))],
    *[
        case("MATRIX_SET_DIAG", [x, x[..., 0, :]], (x.dtype.name, x.shape), options="MatrixSetDiagOptions")
        for x in (real(2, 4, 3), ints("uint8", 3, 3))
    ],
    case("MATRIX_SET_DIAG", [real(2, 2), real(3)], (F32, (2, 2)), options="MatrixSetDiagOptions", bad="diagonals of shape"),
    case("ATAN2", [real(9), real(9)], (F32, (9,)), builtin=True),
    *[
        case("RFFT2D", [real(2, 5, 7), const(n)], ("complex64", (2, n[0], n[1] // 2 + 1)), options="Rfft2dOptions")
        for n in ([8, 8], [4, 16], [2, 4], [1, 8], [1, 2], [16, 2])
    ],
    *[case("RFFT2D", [real(7, 1, n), const([1, 64])], ("complex64", (7, 1, 33)), options="Rfft2dOptions") for n in (64, 50)],
    case("RFFT2D", [real(3, 32, 128), const([32, 128])], ("complex64", (3, 32, 65)), options="Rfft2dOptions"),
    case("RFFT2D", [real(4, 6), const([4, 6])], ("complex64", (4, 4)), bad="fft_length 6 is no power of two"),
    *[case(op, [(real(5) + 1j * real(5)).astype("complex64")], (F32, (5,)), builtin=True) for op in ("REAL", "IMAG", "COMPLEX_ABS")],
    case("COMPLEX_ABS", [(real(600) + 1j * real(600)).astype("complex64")], (F32, (600,)), builtin=True),
    case("COMPLEX_ABS", [(real(6) * 1e25 + 1j * 1e-25).astype("complex64")], (F32, (6,)), builtin=True),
    case("COMPLEX_ABS", [(real(6) * 1e-25 + 0j).astype("complex64")], (F32, (6,)), builtin=True),
    case("COMPLEX_ABS", [np.array([0, 3 + 4j, 1e-30j], "complex64")], (F32, (3,)), builtin=True),
    case("EMBEDDING_LOOKUP", [IDS, const(real(3, 4), F32)], (F32, (4, 4))),
    case("EMBEDDING_LOOKUP", [IDS, const(ints("int8", 3, 4), "int8")], (F32, (4, 4)), quant=[(1, 0), (0.25, 0), (1, 0)]),
    case("EMBEDDING_LOOKUP", [IDS, const(real(2, 4), F32)], (F32, (4, 4)), bad="row 2 at position 2"),
    *[
        case(
            "EMBEDDING_LOOKUP_SPARSE",
            [np.array([1, 2, 0], I32), np.array([[0, 0], [0, 1], [2, 0]], I32), const([3, 2]), real(3), const(real(3, 4), F32)],
            (F32, (3, 4)),
            options="EmbeddingLookupSparseOptions",
            combiner=k,
        )
        for k in range(3)
    ],
    case("HASHTABLE_LOOKUP", [np.array([7, 3, 9], I32), const([1, 3, 9]), const(real(3, 2), F32)], (F32, (3, 2)), ("uint8", (3,))),
    *[
        case("LSH_PROJECTION", [const(real(2, 3), F32), ints(I32, 4, n), real(4)], (I32, (s,)), options="LSHProjectionOptions", type=k)
        for n, s, k in ((1, 2, 1), (3, 6, 2), (6, 2, 1), (11, 6, 2), (16, 6, 2), (40, 6, 2))
    ],
    case("BUCKETIZE", [real(20)], (I32, (20,)), options="BucketizeOptions", boundaries=[-1.0, 0.0, 0.5], builtin=True),
    case("BUCKETIZE", [real(2)], (I32, (2,)), options="BucketizeOptions", boundaries=[1.0, 0.0], bad="not sorted"),
    *[case("FAKE_QUANT", [real(30)], (F32, (30,)), options="FakeQuantOptions", min=-1.3, max=2.1, numBits=n) for n in (8, 4)],
    case("FAKE_QUANT", [real(3)], (F32, (3,)), options="FakeQuantOptions", min=1.0, max=0.0, numBits=8, bad="the range"),
    case("DILATE", [real(2, 3), const([2, 3]), const(-1, F32)], (F32, (3, 7))),
    case("DILATE", [real(2), const([0]), const(-1, F32)], (F32, (2,)), bad="dilation 0"),
    *[case("GELU", [real(40)], (F32, (40,)), options="GeluOptions", approximate=a) for a in (False, True)],
    case("GELU", [ints("int8", 99)], ("int8", (99,)), options="GeluOptions", quant=[(0.04, 3), (0.02, -100)]),
    case("PRELU", [real(2, 3, 4, 5), const(real(1, 1, 5), F32)], (F32, (2, 3, 4, 5))),
    *[
        case("PRELU", [ints(t, 2, 6, 4, 5), const(ints(t, 1, 1, 5), t)], (t, (2, 6, 4, 5)), quant=[(0.05, 3), (0.01, 7), (0.04, 11)])
        for t in ("int8", "uint8")
    ],
    case("PRELU", [real(2, 3), const(real(4, 3), F32)], (F32, (2, 3)), bad="do not broadcast"),
    case(
        "LOCAL_RESPONSE_NORMALIZATION",
        [real(1, 2, 2, 9)],
        (F32, (1, 2, 2, 9)),
        options="LocalResponseNormalizationOptions",
        radius=2,
        bias=1.5,
        alpha=0.3,
        beta=0.7,
        builtin=True,
    ),
    case("NON_MAX_SUPPRESSION_V4", [real(9, 4), real(9), const(5), const(0.3, F32), const(-0.5, F32)], (I32, (5,)), (I32, ())),
    case(
        "NON_MAX_SUPPRESSION_V5",
        [real(9, 4), real(9), const(6), const(0.6, F32), const(-0.5, F32), const(0.5, F32)],
        (I32, (6,)),
        (F32, (6,)),
        (I32, ()),
    ),
    case(
        "NON_MAX_SUPPRESSION_V4",
        [real(9, 4), real(9), const(-1), const(0.3, F32), const(0, F32)],
        (I32, (5,)),
        (I32, ()),
        bad="max_output_size is -1",
    ),
    *[
        case(f"RANDOM_{op}", [const([3, 5])], (F32, (3, 5)), options="RandomOptions", seed=s, seed2=3)
        for op in ("UNIFORM", "STANDARD_NORMAL")
        for s in (0, -7)
    ],
    case("MULTINOMIAL", [real(3, 7), const(5)], ("int64", (3, 5)), options="RandomOptions", seed=5, seed2=0),
    case("MULTINOMIAL", [real(3, 7), const(-5)], ("int64", (3, 5)), options="RandomOptions", seed=5, bad="-5 samples"),
    *[
        case(
            "CONV_3D",
            [real(2, 4, 5, 6, 3), const(real(2, 3, 2, 3, 4), F32), const(real(4), F32)],
            (F32, s),
            options="Conv3DOptions",
            padding=p,
            strideD=1,
            strideH=2,
            strideW=2,
            dilationDFactor=1,
            dilationHFactor=1,
            dilationWFactor=1,
            fusedActivationFunction=mm.RELU,
        )
        for p, s in ((mm.SAME, (2, 4, 3, 3, 4)), (mm.VALID, (2, 3, 2, 3, 4)))
    ],
    # Planes of several blocks of pixels, a filter that comes with every call, and planes that no tap of the filter reaches.
    *[
        case(
            "CONV_3D",
            [real(1, 2, *plane, 5), filters, const(real(6), F32)],
            (F32, (1, 2, *plane, 6)),
            options="Conv3DOptions",
            padding=mm.SAME,
            strideD=1,
            strideH=1,
            strideW=1,
            dilationDFactor=dilation,
            dilationHFactor=1,
            dilationWFactor=2,
            fusedActivationFunction=mm.RELU,
        )
        for plane, filters, dilation in [
            ((17, 30), const(real(3, 3, 3, 5, 6), F32), 1),
            ((4, 5), real(3, 3, 2, 5, 6), 1),
            ((4, 5), const(real(2, 1, 1, 5, 6), F32), 3),
        ]
    ],
    case(
        "CONV_3D",
        [real(1, 2, 2, 2, 3), const(real(1, 1, 1, 3, 4), F32)],
        (F32, (1, 2, 2, 2, 4)),
        options="Conv3DOptions",
        padding=mm.SAME,
        strideD=0,
        strideH=1,
        strideW=1,
        bad="a stride of 0",
    ),
    *[
        case(
            "CONV_3D_TRANSPOSE",
            [const(s), const(real(2, 3, 2, 4, 3), F32), real(2, 2, 3, 2, 3), const(real(4), F32)],
            (F32, tuple(s)),
            options="Conv3DOptions",
            padding=p,
            strideD=2,
            strideH=2,
            strideW=2,
            dilationDFactor=1,
            dilationHFactor=1,
            dilationWFactor=1,
        )
        for p, s in ((mm.SAME, [2, 4, 6, 4, 4]), (mm.VALID, [2, 4, 7, 4, 4]))
    ],
    # Strides that differ, that no tap reaches and that leave gaps in a row of taps; a filter that comes with every call; long rows.
    *[
        case(
            "CONV_3D_TRANSPOSE",
            [const(shape), filters, real(1, *image), const(real(6), F32)],
            (F32, tuple(shape)),
            options="Conv3DOptions",
            padding=mm.SAME,
            strideD=strides[0],
            strideH=strides[1],
            strideW=strides[2],
            dilationDFactor=1,
            dilationHFactor=1,
            dilationWFactor=1,
        )
        for shape, filters, image, strides in [
            ([1, 2, 9, 4, 6], const(real(3, 2, 3, 6, 5), F32), (2, 3, 4, 5), (1, 3, 1)),
            ([1, 4, 5, 38, 6], real(3, 3, 3, 6, 5), (2, 5, 19, 5), (2, 1, 2)),
            ([1, 3, 7, 40, 6], const(real(1, 4, 5, 6, 70), F32), (3, 7, 40, 70), (1, 1, 1)),
        ]
    ],
    case(
        "CONV_3D_TRANSPOSE",
        [const([1, 40, 40, 40, 4]), const(real(2, 3, 2, 4, 3), F32), real(1, 1, 1, 1, 3), const(real(4), F32)],
        (F32, (1, 40, 40, 40, 4)),
        options="Conv3DOptions",
        padding=mm.SAME,
        strideD=40,
        strideH=40,
        strideW=40,
        bad="strides of 40, 40 and 40",
    ),
    # Few rows or columns, blocks of 16 bytes, and neither.
    *[
        case("TRANSPOSE", [ints(t, *s), const(order)], (t, tuple(s[d] for d in order)), options="TransposeOptions")
        for t in ("int8", "int16", I32)
        for s, order in [
            *[((3, *s), (0, 2, 1)) for n in (2, 3, 4, 8) for s in ((n, 50), (50, n), (n, 3))],
            ((37, 53), (1, 0)),
            ((2, 16, 20, 5), (0, 3, 1, 2)),
            ((90, 17), (1, 0)),
            # Rows that are written piece by piece.
            *[((n, 20, 37), (2, 1, 0)) for n in (3, 8, 14, 70)],
            ((2, 9, 20, 33), (0, 3, 2, 1)),
            ((20, 33, 3), (2, 1, 0)),
            ((14, 20, 6), (1, 2, 0)),
        ]
    ],
    *[
        case(op, [ints(t, 2, 9, 37), ints(t, *other)], (t, (2, 9, 37)), options="MaximumMinimumOptions")
        for op in ("MAXIMUM", "MINIMUM")
        for t in ("int8", "uint8", "int16")
        for other in ((2, 9, 37), (37,), (9, 1), (1,))
    ],
    case("REVERSE_V2", [ints("int16", 3, 75), const([1])], ("int16", (3, 75)), options="ReverseV2Options"),
    *[  # small values, of which some sums are the float below a half
        case(
            "RESIZE_BILINEAR",
            [ints("uint8", 8, 6, 9, 8, high=2), const([9, 10])],
            ("uint8", (8, 9, 10, 8)),
            options="ResizeBilinearOptions",
            quant=[(0.1, 3), (1, 0), (0.1, 3)],
            **how,
        )
        for how in ({}, {"halfPixelCenters": True}, {"alignCorners": True})
    ],
    *[
        case(
            "RESIZE_BILINEAR",
            [ints("int8", 2, 5, 7, d), const(size)],
            ("int8", (2, *size, d)),
            options="ResizeBilinearOptions",
            quant=[(0.1, 3), (1, 0), (0.1, 3)],
            **how,
        )
        for d in (1, 3, 16, 37)
        for size in ([13, 12], [3, 4], [10, 14])
        for how in ({}, {"halfPixelCenters": True}, {"alignCorners": True})
    ],
    *[
        case(
            op,
            [make(2, 9, 37, channels)],
            (make(1).dtype.name, (2, -(-9 // stride), -(-37 // stride), channels)),
            options="Pool2DOptions",
            quant=quant,
            padding=0,
            strideW=stride,
            strideH=stride,
            filterWidth=4,
            filterHeight=3,
        )
        for op in ("MAX_POOL_2D", "AVERAGE_POOL_2D")
        for make, quant in ((real, []), (functools.partial(ints, "int8"), [(0.1, 3), (0.1, 3)]))
        for channels in (1, 3, 20)
        for stride in (1, 2, 3)
    ],
    *[
        case(
            "SELECT_V2",
            [ints("uint8", *mask, high=1).astype(bool), make(*yes), make(*no)],
            (make(1).dtype.name, np.broadcast_shapes(mask, yes, no)),
            options="SelectV2Options",
        )
        for mask, yes, no in (
            ((2, 70), (2, 70), (2, 70)),
            ((2, 70), (1, 1), (2, 70)),
            ((2, 70), (2, 70), (1, 1)),
            ((2, 70), (2, 1), (1, 1)),
            ((1, 1, 9), (4, 5, 9), (4, 5, 1)),
        )
        for make in (real, functools.partial(ints, "int8"), functools.partial(ints, "int64"))
    ],
]


@pytest.mark.parametrize("c", [c for c in CASES if not c.bad], ids=str)
def test_against_litert(c):
    check_against_litert(c)


@pytest.mark.parametrize("c", [c for c in CASES if c.bad], ids=str)
def test_bad_data(c):
    check_refused(c)

#!/usr/bin/env python3
"""Writes flex_goldens.npz and flex_updates.npz: what TensorFlow's operators give, and what they make of variables, with the NodeDef that
a Flex operator carries. Needs TensorFlow.

Keys: <case>/node (the serialised NodeDef), <case>/in<i>, <case>/out<o>; a case is the operator's name, a point and a number.
Strings have the dtype S. checkpoint/file is a file that TensorFlow's Save writes, checkpoint/index and checkpoint/data those of SaveV2,
checkpoint/<name> are the tensors in them.
"""

import pathlib
import tempfile

import numpy as np
import tensorflow as tf

RNG = np.random.default_rng(11)


def real(*shape):
    return RNG.normal(0, 1.5, shape).astype("float32")


X, Y = real(3, 5), real(3, 5)
P = np.abs(X) / 10
TEXTS = np.array(["Hello World", "", " a,b ,, c\t", "\u00c4rger \u03a3 \u0416", "x" * 70, "0123456789abcdef0123456789"], object)
BITS = RNG.integers(-99, 99, (2, 4), dtype="int32")

UNARY = [
    *("Acos", "Asin", "Asinh", "Atan", "Atanh", "Cosh", "Erf", "Erfc", "Expm1", "Lgamma", "Log1p", "Reciprocal", "Sinh"),
    *("Softplus", "Softsign", "Selu", "Tan", "Sigmoid", "Rint", "IsNan"),
]
GRADIENTS = {
    "EluGrad": ("gradients", "outputs"),
    "ReciprocalGrad": ("y", "dy"),
    "Relu6Grad": ("gradients", "features"),
    "ReluGrad": ("gradients", "features"),
    "RsqrtGrad": ("y", "dy"),
    "SigmoidGrad": ("y", "dy"),
    "SoftplusGrad": ("gradients", "features"),
    "SoftsignGrad": ("gradients", "features"),
    "SqrtGrad": ("y", "dy"),
    "TanhGrad": ("y", "dy"),
}
IMAGE = real(2, 7, 6, 4)
NONE = np.zeros(0, "float32")
CONVOLUTIONS = [
    ("SAME", (1, 1), (1, 1), (7, 6)),
    ("VALID", (2, 1), (1, 1), (3, 5)),
    ("SAME", (2, 2), (1, 1), (4, 3)),
    ("VALID", (1, 1), (2, 3), (3, 3)),
]
PATTERNS = [
    ("o", "0"),
    (r"(\w+)\s+(\w+)", r"\2 \1"),
    (r"^\s*(.*?)\s*$", r"[\1]"),
    ("(?i)[A-F]|\u00c4", "."),
    ("x{2,7}?", "y"),
    ("x*", "-"),
    (r"(a|ab)(c|bcd)?[^\d,]", r"\0|\1"),
    (r"\b[[:alpha:]]", r"_\\"),
    (r"(?:[0-9][a-f]?)+", "#"),
    ("\u03a3|\u0416.?", "S"),
    (r"(?P<first>\d)(\d)(?:3|4)|l+", r"\2\1"),
    (r"\Q ,\E+", ";"),
    ("(?:.??)*|(?:[^o]*?)+", "<\\0>"),
]


def max_pool(padding):
    pooled = tf.nn.max_pool2d(IMAGE, (3, 2), 2, padding).numpy()
    return {"orig_input": IMAGE, "orig_output": pooled, "grad": real(*pooled.shape)}


def average_pool(padding):
    return {"orig_input_shape": np.array(IMAGE.shape, "int32"), "grad": real(*tf.nn.avg_pool2d(IMAGE, (3, 2), 2, padding).shape)}


CASES = [
    *[(op, {"x" if op not in ("Softplus", "Softsign", "Selu") else "features": P}) for op in UNARY],
    *[(op, dict(zip(names, (X, Y), strict=True))) for op, names in GRADIENTS.items()],
    *[(op, {"x": X, "y": Y}) for op in ("AddV2", "Sub", "Mul", "RealDiv", "Maximum", "Minimum")],
    *[(op, {"x": X, "y": Y}) for op in ("DivNoNan", "MulNoNan", "Xdivy", "SquaredDifference")],
    *[(op, {"x": P, "y": P[:1]}) for op in ("Xlogy", "Xlog1py", "Pow")],
    *[(op, {"x": BITS, "y": BITS[::-1]}) for op in ("AddV2", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Less")],
    ("AddV2", {"x": X.astype("float64"), "y": Y.astype("float64")}),
    ("BiasAdd", {"value": X, "bias": Y[0]}),
    ("BiasAddGrad", {"out_backprop": X}),
    ("L2Loss", {"t": X}),
    ("Sum", {"input": X, "axis": np.array([1], "int32"), "keep_dims": True}),
    ("Mean", {"input": X, "axis": np.array([0], "int32"), "keep_dims": False}),
    ("SoftmaxCrossEntropyWithLogits", {"features": X, "labels": P}),
    ("SparseSoftmaxCrossEntropyWithLogits", {"features": X, "labels": np.array([4, 0, 2], "int64")}),
    ("StringJoin", {"inputs": [TEXTS, TEXTS[::-1], np.array("!", object)], "separator": "-"}),
    ("StringLower", {"input": TEXTS, "encoding": ""}),
    ("StringLower", {"input": TEXTS, "encoding": "utf-8"}),
    ("StringUpper", {"input": TEXTS, "encoding": "utf-8"}),
    ("StringLength", {"input": TEXTS, "unit": "BYTE"}),
    ("StringLength", {"input": TEXTS, "unit": "UTF8_CHAR"}),
    ("StringStrip", {"input": TEXTS}),
    ("StringToHashBucketFast", {"input": TEXTS, "num_buckets": 1 << 40}),
    ("StringSplitV2", {"input": TEXTS, "sep": np.array("", object)}),
    ("StringSplitV2", {"input": TEXTS, "sep": np.array(",", object), "maxsplit": 2}),
    ("StringSplit", {"input": TEXTS, "delimiter": np.array(", ", object)}),
    ("Substr", {"input": TEXTS[3:], "pos": np.array(-2, "int32"), "len": np.array(5, "int32")}),
    *[
        (op, {"input": TEXTS, "pattern": np.array(pattern, object), **more})
        for pattern, rewrite in PATTERNS
        for op, more in (
            ("RegexReplace", {"rewrite": np.array(rewrite, object)}),
            ("RegexReplace", {"rewrite": np.array(rewrite, object), "replace_global": False}),
            ("RegexFullMatch", {}),
        )
    ],
    ("StaticRegexReplace", {"input": TEXTS, "pattern": "[aeiou]", "rewrite": "<\\0>"}),
    ("StaticRegexFullMatch", {"input": TEXTS, "pattern": "x{70}"}),
    ("ConcatV2", {"values": [X, Y[:2]], "axis": np.array(0, "int32")}),
    ("ConcatV2", {"values": [TEXTS, TEXTS[:2]], "axis": np.array(-1, "int32")}),
    ("Pack", {"values": [X, Y, X], "axis": 1}),
    ("Unpack", {"value": X, "num": 5, "axis": -1}),
    ("GatherV2", {"params": X, "indices": np.array([[4, 0], [2, 2]], "int64"), "axis": np.array(1, "int32")}),
    ("GatherV2", {"params": X, "indices": np.array([[4, 0], [2, 2], [1, 3]], "int32"), "axis": np.array(1, "int32"), "batch_dims": 1}),
    ("Roll", {"input": X, "shift": np.array([2, -1, 4], "int32"), "axis": np.array([1, 0, 1], "int32")}),
    ("MatrixBandPart", {"input": X, "num_lower": np.array(1, "int64"), "num_upper": np.array(-1, "int64")}),
    ("MatrixBandPart", {"input": X, "num_lower": np.array(0, "int64"), "num_upper": np.array(1, "int64")}),
    ("Size", {"input": X, "out_type": tf.int64}),
    ("ClipByValue", {"t": X, "clip_value_min": np.array(-1, "float32"), "clip_value_max": np.array(0.5, "float32")}),
    ("Identity", {"input": TEXTS}),
    ("BroadcastGradientArgs", {"s0": np.array([2, 1, 4], "int32"), "s1": np.array([3, 4], "int32")}),
    *[
        (op, gradient | {"strides": [1, *stride, 1], "padding": padding, "dilations": [1, *dilation, 1]})
        for padding, stride, dilation, size in CONVOLUTIONS
        for op, gradient in (
            ("Conv2DBackpropFilter", {"input": IMAGE, "filter_sizes": np.array([3, 2, 4, 5], "int32"), "out_backprop": real(2, *size, 5)}),
            (
                "Conv2DBackpropInput",
                {"input_sizes": np.array([2, 7, 6, 4], "int32"), "filter": real(3, 2, 4, 5), "out_backprop": real(2, *size, 5)},
            ),
        )
    ],
    *[
        (op, gradient | {"ksize": [1, 3, 2, 1], "strides": [1, 2, 2, 1], "padding": padding})
        for padding in ("SAME", "VALID")
        for op, gradient in (("MaxPoolGrad", max_pool(padding)), ("AvgPoolGrad", average_pool(padding)))
    ],
    ("ReduceJoin", {"inputs": TEXTS.reshape(2, 3), "reduction_indices": np.array([1], "int32"), "separator": "+", "keep_dims": True}),
    *[
        (f"DepthwiseConv2dNativeBackprop{of}", gradient | {"strides": [1, 2, 2, 1], "padding": padding})
        for padding, size in (("SAME", (4, 3)), ("VALID", (3, 3)))
        for of, gradient in (
            ("Filter", {"input": IMAGE, "filter_sizes": np.array([3, 2, 4, 3], "int32"), "out_backprop": real(2, *size, 12)}),
            ("Input", {"input_sizes": np.array([2, 7, 6, 4], "int32"), "filter": real(3, 2, 4, 3), "out_backprop": real(2, *size, 12)}),
        )
    ],
    ("FusedBatchNormV3", {"x": IMAGE, "scale": real(4), "offset": real(4), "mean": NONE, "variance": NONE, "epsilon": 0.01}),
    *[
        ("FusedBatchNormV3", {"x": IMAGE, "scale": real(4), "offset": real(4), "mean": real(4), "variance": np.abs(real(4))} | more)
        for more in ({"is_training": False}, {"exponential_avg_factor": 0.25})
    ],
    *[
        (
            "FusedBatchNormGradV3",
            {
                **{"y_backprop": real(2, 7, 6, 4), "x": IMAGE, "scale": real(4), "epsilon": 0.01, "is_training": trains},
                **{"reserve_space_1": real(4), "reserve_space_2": np.abs(real(4)), "reserve_space_3": np.zeros((), "float32")},
            },
        )
        for trains in (True, False)
    ],
]


# Variables, then numbers and the gradient, by the names of TensorFlow's raw operators.
SLOTS = [np.abs(real(3, 5)), np.abs(real(3, 5))]
UPDATES = [
    ("AssignAddVariableOp", {"resource": X}, {"value": Y}),
    ("AssignSubVariableOp", {"resource": BITS}, {"value": BITS[::-1]}),
    ("ResourceApplyGradientDescent", {"var": X}, {"alpha": 0.1, "delta": Y}),
    *[
        (f"ResourceApply{op}", {"var": X, "accum": SLOTS[0]}, {"lr": 0.1, "grad": Y, "momentum": 0.9, "use_nesterov": nesterov})
        for op in ("Momentum", "KerasMomentum")
        for nesterov in (False, True)
    ],
    *[
        (
            "ResourceApplyAdam",
            {"var": X, "m": SLOTS[0], "v": SLOTS[1]},
            {
                **{"beta1_power": 0.81, "beta2_power": 0.998, "lr": 0.1, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-3},
                **{"grad": Y, "use_nesterov": nesterov},
            },
        )
        for nesterov in (False, True)
    ],
    *[
        (op, {"var": X, "accum": SLOTS[0]}, {"lr": 0.1, "grad": Y, "update_slots": updates} | more)
        for updates in (True, False)
        for op, more in (("ResourceApplyAdagrad", {}), ("ResourceApplyAdagradV2", {"epsilon": 0.01}))
    ],
    (
        "ResourceApplyRMSProp",
        {"var": X, "ms": SLOTS[0], "mom": SLOTS[1]},
        {"lr": 0.1, "rho": 0.9, "momentum": 0.5, "epsilon": 0.01, "grad": Y},
    ),
]


def stored(value):
    array = np.asarray(value)
    if array.dtype != object:
        return array
    return np.array([t if isinstance(t, bytes) else t.encode() for t in array.ravel()], "S").reshape(array.shape)


def run(op, arguments):
    """The NodeDef, the inputs in their order and the outputs."""
    with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
        feeds = {}

        def feed(value):
            placeholder = tf.compat.v1.placeholder(tf.string if value.dtype == object else value.dtype, value.shape)
            feeds[placeholder] = value
            return placeholder

        def convert(value):
            if isinstance(value, list) and isinstance(value[0], np.ndarray):
                return [feed(v) for v in value]
            return feed(value) if isinstance(value, np.ndarray) else value

        result = getattr(tf.raw_ops, op)(**{k: convert(v) for k, v in arguments.items()})
        node = next(n for n in graph.get_operations() if n.type == op)
        by_name = {t.name: v for t, v in feeds.items()}
        del result
        return node.node_def.SerializeToString(), [by_name[t.name] for t in node.inputs], session.run(node.outputs, feeds)


def update(op, variables, operands):
    """The NodeDef, and what the variables hold afterwards."""
    operands = {k: np.float32(v) if isinstance(v, float) else v for k, v in operands.items()}
    with tf.Graph().as_default() as graph:
        handles = {k: tf.compat.v1.placeholder(tf.resource, []) for k in variables}
        values = {k: tf.constant(v) if isinstance(v, np.ndarray | np.float32) else v for k, v in operands.items()}
        getattr(tf.raw_ops, op)(**handles, **values)
        [node] = [n for n in graph.get_operations() if n.type == op]
        fed = [t.op.get_attr("value") for t in node.inputs[len(variables) :]]
    held = {k: tf.Variable(v) for k, v in variables.items()}
    getattr(tf.raw_ops, op)(**{k: v.handle for k, v in held.items()}, **operands)
    return node.node_def.SerializeToString(), [tf.make_ndarray(t) for t in fed], [v.numpy() for v in held.values()]


def write_updates(path):
    """Keys: <case>/node, <case>/variable<i> before and <case>/out<i> after it, <case>/in<i> of the other operands."""
    arrays = {}
    for i, (op, variables, operands) in enumerate(UPDATES):
        node, inputs, outputs = update(op, variables, operands)
        arrays[f"{op}.{i}/node"] = np.frombuffer(node, np.uint8)
        for part, values in (("variable", variables.values()), ("in", inputs), ("out", outputs)):
            arrays |= {f"{op}.{i}/{part}{k}": value for k, value in enumerate(values)}
    np.savez_compressed(path, **arrays)


def checkpoint():
    tensors = {
        "w": X,
        "scalar": np.float32(7),
        "text": TEXTS,
        "counts": np.array([1, -2], "int64"),
        "flag": np.array([True, False]),
        "double": np.array([1.5]),
        "bytes": BITS.astype("int8"),
        "half": X.astype("float16"),
        "none": np.zeros((0, 3), "float32"),
    }
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "file"
        tf.raw_ops.Save(filename=str(path), tensor_names=list(tensors), data=list(tensors.values()))
        whole = [""] * len(tensors)
        tf.raw_ops.SaveV2(prefix=str(path), tensor_names=list(tensors), shape_and_slices=whole, tensors=list(tensors.values()))
        files = {"file": path, "index": path.with_suffix(".index"), "data": path.with_suffix(".data-00000-of-00001")}
        contents = {name: np.frombuffer(file.read_bytes(), np.uint8) for name, file in files.items()}
        return contents | {name: stored(value) for name, value in tensors.items()}


def main():
    arrays = {f"checkpoint/{key}": value for key, value in checkpoint().items()}
    for i, (op, arguments) in enumerate(CASES):
        node, inputs, outputs = run(op, arguments)
        arrays[f"{op}.{i}/node"] = np.frombuffer(node, np.uint8)
        for k, value in enumerate(inputs):
            arrays[f"{op}.{i}/in{k}"] = stored(value)
        for k, value in enumerate(outputs):
            arrays[f"{op}.{i}/out{k}"] = stored(value)
    folder = pathlib.Path(__file__).parent
    np.savez_compressed(folder / "flex_goldens.npz", **arrays)
    write_updates(folder / "flex_updates.npz")


if __name__ == "__main__":
    main()

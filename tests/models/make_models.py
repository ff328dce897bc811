#!/usr/bin/env python3
"""Writes the .tflite files of this folder: python make_models.py [FOLDER].

Needs ai-edge-litert (its schema objects, and its interpreter to calibrate the quantised models), flatbuffers and numpy. Every weight is
seeded: running it again writes the same bytes.
"""

from __future__ import annotations

import copy
import dataclasses
import pathlib
import sys
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import interpreter as litert
from ai_edge_litert import schema_py_generated as schema

TYPES = {"float32": 0, "float16": 1, "int32": 2, "uint8": 3, "int64": 4, "string": 5, "bool": 6, "int16": 7, "int8": 9, "resource": 13}
TYPES["int4"] = 17
SAME, VALID = 0, 1
NONE, RELU, RELU6 = 0, 1, 3


@dataclasses.dataclass
class Quant:
    scale: np.ndarray
    zero_point: np.ndarray
    dimension: int = 0
    block: int = 0  # > 0: a scale for each run of so many elements, in the tensor `scales`
    scales: int = -1


@dataclasses.dataclass
class Tensor:
    name: str
    shape: list[int]
    dtype: str = "float32"
    data: np.ndarray | None = None
    quant: Quant | None = None
    signature: list[int] | None = None
    external: bool = False  # its bytes stand behind the FlatBuffer
    variable: bool = False
    ranked: bool = True


@dataclasses.dataclass
class Op:
    code: str  # a builtin's name, or a custom operator's
    inputs: list[int]
    outputs: list[int]
    options: str = ""
    fields: dict[str, Any] = dataclasses.field(default_factory=dict)
    custom_options: bytes | None = None
    intermediates: list[int] | None = None


class Graph:
    """One subgraph under construction; tensors are their indices."""

    def __init__(self, name: str = "main") -> None:
        self.name = name
        self.tensors: list[Tensor] = []
        self.ops: list[Op] = []
        self.inputs: list[int] = []
        self.outputs: list[int] = []
        self.rng = np.random.default_rng(zlib.crc32(name.encode()))

    def add(self, tensor: Tensor) -> int:
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def input(self, name: str, shape: Sequence[int], dtype: str = "float32") -> int:
        """Dimensions of -1 are unknown: stored as 1, and as -1 in the shape signature."""
        known = [1 if d < 0 else d for d in shape]
        self.inputs.append(self.add(Tensor(name, known, dtype, signature=list(shape) if -1 in shape else None)))
        return self.inputs[-1]

    def const(self, data: Any, dtype: str = "", name: str = "") -> int:
        array = np.asarray(data, dtype or None)
        return self.add(Tensor(name or f"const{len(self.tensors)}", list(array.shape), str(array.dtype), array))

    def weights(self, *shape: int, scale: float | None = None) -> int:
        spread = scale or 1.0 / np.sqrt(np.prod(shape[1:]) or 1)
        return self.const(self.rng.normal(0, spread, shape).astype("float32"), name=f"weights{len(self.tensors)}")

    def op(self, code: str, inputs: Sequence[int], shape: Sequence[int], options: str = "", *, dtype: str = "", name: str = "",
           custom: bytes | None = None, **fields: Any) -> int:
        """Appends an operator with one output of `shape`; the dtype is that of its first input unless given."""
        known = [1 if d < 0 else d for d in shape]
        result = Tensor(name or f"{code.lower()}{len(self.ops)}", known, dtype or self.tensors[inputs[0]].dtype,
                        signature=list(shape) if -1 in shape else None)
        out = self.add(result)
        self.ops.append(Op(code, list(inputs), [out], options, fields, custom))
        return out

    def shape(self, tensor: int) -> list[int]:
        t = self.tensors[tensor]
        return list(t.signature or t.shape)

    # The layers that the nets below share.

    def dense(self, x: int, units: int, activation: int = NONE, bias: bool = True, name: str = "") -> int:
        shape = self.shape(x)
        w = self.weights(units, shape[-1])
        b = self.const(self.rng.normal(0, 0.1, units).astype("float32")) if bias else -1
        return self.op("FULLY_CONNECTED", [x, w, b], [*shape[:-1], units], "FullyConnectedOptions", name=name,
                       fusedActivationFunction=activation, keepNumDims=len(shape) > 2)

    def conv(self, x: int, channels: int, size: int, stride: int = 1, padding: int = SAME, activation: int = RELU) -> int:
        n, h, w, c = self.shape(x)
        bias = self.const(self.rng.normal(0, 0.1, channels).astype("float32"))
        return self.op("CONV_2D", [x, self.weights(channels, size, size, c), bias], window(n, h, w, channels, size, stride, padding),
                       "Conv2DOptions", padding=padding, strideH=stride, strideW=stride, dilationHFactor=1, dilationWFactor=1,
                       fusedActivationFunction=activation)

    def depthwise(self, x: int, size: int, stride: int = 1, activation: int = RELU6) -> int:
        n, h, w, c = self.shape(x)
        bias = self.const(self.rng.normal(0, 0.1, c).astype("float32"))
        return self.op("DEPTHWISE_CONV_2D", [x, self.weights(1, size, size, c, scale=1 / size), bias],
                       window(n, h, w, c, size, stride, SAME), "DepthwiseConv2DOptions", padding=SAME, strideH=stride, strideW=stride,
                       depthMultiplier=1, dilationHFactor=1, dilationWFactor=1, fusedActivationFunction=activation)

    def pool(self, kind: str, x: int, size: int, stride: int) -> int:
        n, h, w, c = self.shape(x)
        return self.op(kind, [x], window(n, h, w, c, size, stride, VALID), "Pool2DOptions", padding=VALID, strideH=stride, strideW=stride,
                       filterHeight=size, filterWidth=size)

    def binary(self, code: str, a: int, b: int, shape: Sequence[int] | None = None, options: str = "", **more: Any) -> int:
        named = options or {"SQUARED_DIFFERENCE": "SquaredDifferenceOptions"}.get(code, code.title().replace("_", "") + "Options")
        return self.op(code, [a, b], shape or self.shape(a), named, **more)

    def reshape(self, x: int, shape: Sequence[int]) -> int:
        return self.op("RESHAPE", [x, self.const(shape, "int32")], shape, "ReshapeOptions", newShape=list(shape))

    def softmax(self, x: int) -> int:
        return self.op("SOFTMAX", [x], self.shape(x), "SoftmaxOptions", beta=1.0)


def window(n: int, h: int, w: int, c: int, size: int, stride: int, padding: int) -> list[int]:
    if padding == SAME:
        return [n, -(-h // stride), -(-w // stride), c]
    return [n, (h - size) // stride + 1, (w - size) // stride + 1, c]


@dataclasses.dataclass
class Model:
    graphs: list[Graph]
    # key -> (subgraph, inputs, outputs): names -> tensors
    signatures: dict[str, tuple[int, dict[str, int], dict[str, int]]] = dataclasses.field(default_factory=dict)
    metadata: dict[str, bytes] = dataclasses.field(default_factory=dict)
    deprecated_codes: bool = False  # as converters before 2020 wrote them
    versions: dict[str, int] = dataclasses.field(default_factory=dict)  # of operators where it is not 1

    def tobytes(self) -> bytes:
        """The file; equal constants share one buffer, external ones stand behind the FlatBuffer."""
        first, outside = self._pack(0)
        if not outside:
            return first
        start = len(first) + -len(first) % 16
        return self._pack(start)[0].ljust(start, b"\0") + outside

    def _pack(self, start: int) -> tuple[bytes, bytes]:
        m = schema.ModelT()
        m.version, m.description = 3, "sigrun test model"
        m.buffers, outside = [schema.BufferT()], bytearray()
        buffers: dict[tuple[bytes, bool], int] = {}

        def buffer(data: bytes, external: bool = False) -> int:
            key = (data, external)
            if key not in buffers:
                buffers[key] = len(m.buffers)
                entry = schema.BufferT()
                if external:
                    entry.offset, entry.size = start + len(outside) or 2, len(data)
                    outside.extend(data + bytes(-len(data) % 16))
                else:
                    entry.data = np.frombuffer(data, np.uint8)
                m.buffers.append(entry)
            return buffers[key]

        codes: dict[str, int] = {}
        for g in self.graphs:
            for op in g.ops:
                codes.setdefault(op.code, len(codes))
        m.operatorCodes = [self._code(code) for code in codes]
        m.subgraphs = []
        for g in self.graphs:
            sub = schema.SubGraphT()
            sub.name, sub.inputs, sub.outputs = g.name, np.array(g.inputs, "int32"), np.array(g.outputs, "int32")
            sub.tensors = [pack_tensor(t, 0 if t.data is None else buffer(t.data.tobytes(), t.external)) for t in g.tensors]
            sub.operators = [pack_op(op, codes[op.code]) for op in g.ops]
            m.subgraphs.append(sub)
        m.signatureDefs = [pack_signature(key, *rest) for key, rest in self.signatures.items()]
        m.metadata = []
        for name, data in self.metadata.items():
            entry = schema.MetadataT()
            entry.name, entry.buffer = name, buffer(data)
            m.metadata.append(entry)
        builder = flatbuffers.Builder(4096)
        builder.Finish(m.Pack(builder), b"TFL3")
        return bytes(builder.Output()), bytes(outside)

    def _code(self, name: str) -> schema.OperatorCodeT:
        code = schema.OperatorCodeT()
        builtin = getattr(schema.BuiltinOperator, name, None)
        if builtin is None:
            code.customCode, builtin = name, schema.BuiltinOperator.CUSTOM
        code.deprecatedBuiltinCode, code.version = min(builtin, 127), self.versions.get(name, 1)
        code.builtinCode = 0 if self.deprecated_codes else builtin
        return code


def pack_tensor(t: Tensor, buffer: int) -> schema.TensorT:
    out = schema.TensorT()
    out.name, out.type, out.buffer, out.hasRank = t.name or None, TYPES[t.dtype], buffer, t.ranked
    out.isVariable = t.variable
    out.shape = np.array(t.shape, "int32")
    if t.signature:
        out.shapeSignature = np.array(t.signature, "int32")
    if t.quant is not None:
        q = out.quantization = schema.QuantizationParametersT()
        q.scale, q.zeroPoint = t.quant.scale.astype("float32"), t.quant.zero_point.astype("int64")
        q.quantizedDimension = t.quant.dimension
        if t.quant.block:
            q.detailsType, q.details = schema.QuantizationDetails.BlockwiseQuantization, schema.BlockwiseQuantizationT()
            q.details.scales, q.details.zeroPoints, q.details.blockSize = t.quant.scales, -1, t.quant.block
    return out


def pack_op(op: Op, code: int) -> schema.OperatorT:
    out = schema.OperatorT()
    out.opcodeIndex, out.inputs, out.outputs = code, np.array(op.inputs, "int32"), np.array(op.outputs, "int32")
    if op.options:
        options = getattr(schema, op.options + "T")()
        for field, value in op.fields.items():
            assert hasattr(options, field), (op.options, field)
            setattr(options, field, value)
        if hasattr(schema.BuiltinOptions, op.options):
            out.builtinOptionsType, out.builtinOptions = getattr(schema.BuiltinOptions, op.options), options
        else:
            out.builtinOptions2Type, out.builtinOptions2 = getattr(schema.BuiltinOptions2, op.options), options
    if op.intermediates is not None:
        out.intermediates = np.array(op.intermediates, "int32")
    if op.custom_options is not None:
        out.customOptions = np.frombuffer(op.custom_options, np.uint8)
    return out


def pack_signature(key: str, subgraph: int, inputs: dict[str, int], outputs: dict[str, int]) -> schema.SignatureDefT:
    out = schema.SignatureDefT()
    out.signatureKey, out.subgraphIndex = key, subgraph
    for field, names in (("inputs", inputs), ("outputs", outputs)):
        maps = []
        for name, tensor in names.items():
            entry = schema.TensorMapT()
            entry.name, entry.tensorIndex = name, tensor
            maps.append(entry)
        setattr(out, field, maps)
    return out


def served(g: Graph, key: str = "serving_default", **outputs: int) -> Model:
    """A model of one graph and one signature, whose input names are the tensors'."""
    g.outputs = list(outputs.values())
    return Model([g], {key: (0, {g.tensors[i].name: i for i in g.inputs}, outputs)})


# --- the same net in other number formats -------------------------------------------------------------------------------------------------

SAME_SCALE = {"MAX_POOL_2D", "AVERAGE_POOL_2D", "RESHAPE", "PAD", "CONCATENATION", "RESIZE_BILINEAR"}
WEIGHTED = {"CONV_2D": 0, "FULLY_CONNECTED": 0, "DEPTHWISE_CONV_2D": 3, "TRANSPOSE_CONV": 0}


def operands(op: Op) -> tuple[int, int, int]:
    """Positions of input, weights and bias of a WEIGHTED operator."""
    return (2, 1, 3) if op.code == "TRANSPOSE_CONV" else (0, 1, 2)


def halve(model: Model) -> Model:
    """Weights and biases as float16 behind DEQUANTIZE."""
    model = copy.deepcopy(model)
    for g in model.graphs:
        ops = []
        for op in g.ops:
            for i, v in enumerate(op.inputs):
                t = g.tensors[v]
                if t.data is None or t.dtype != "float32":
                    continue
                half = g.add(Tensor(t.name + "_half", t.shape, "float16", t.data.astype("float16")))
                full = g.add(Tensor(t.name + "_full", t.shape))
                ops.append(Op("DEQUANTIZE", [half], [full], "DequantizeOptions"))
                op.inputs[i] = full
            ops.append(op)
        g.ops = ops
    return model


def symmetric(data: np.ndarray, axis: int | None) -> tuple[np.ndarray, Quant]:
    """int8 weights in [-127, 127], one scale a tensor or one an index of `axis`."""
    others = tuple(i for i in range(data.ndim) if i != axis)
    scale = np.maximum(np.abs(data).max(others if axis is not None else None), 1e-6) / 127
    spread = np.reshape(scale, [-1 if i == axis else 1 for i in range(data.ndim)])
    return np.round(data / spread).astype("int8"), Quant(np.atleast_1d(scale), np.zeros(scale.size), axis or 0)


def dynamic_range(model: Model) -> Model:
    """int8 weights under float activations."""
    model = copy.deepcopy(model)
    for g in model.graphs:
        for op in g.ops:
            if op.code in WEIGHTED:
                t = g.tensors[op.inputs[1]]
                t.data, t.quant = symmetric(t.data, None if op.code == "FULLY_CONNECTED" else WEIGHTED[op.code])
                t.dtype = "int8"
                op.fields["asymmetricQuantizeInputs"] = op.code == "FULLY_CONNECTED"
                if op.code != "FULLY_CONNECTED":
                    del op.fields["asymmetricQuantizeInputs"]
    return model


def blockwise(model: Model, block: int = 32) -> Model:
    """int4 weights with a float16 scale for each block of them, under float activations."""
    model = copy.deepcopy(model)
    for g in model.graphs:
        for op in g.ops:
            if op.code != "FULLY_CONNECTED":
                continue
            t = g.tensors[op.inputs[1]]
            runs = t.data.reshape(-1, block)
            scale = (np.maximum(np.abs(runs).max(1), 1e-6) / 7).astype("float16")
            values = np.clip(np.round(runs / scale[:, None].astype("float32")), -7, 7).astype("int8").reshape(-1) & 15
            scales = g.add(Tensor(f"{t.name}_scales", [t.shape[0], t.shape[1] // block], "float16", scale))
            t.dtype, t.data = "int4", (values[::2] | values[1::2] << 4).astype("uint8")
            t.quant = Quant(np.zeros(0), np.zeros(0), 0, block, scales)
    return model


def calibrate(model: Model, samples: int = 8) -> list[tuple[float, float]]:
    """The range of every tensor of subgraph 0 over random inputs in [-1, 1)."""
    runner = litert.Interpreter(model_content=model.tobytes(), experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF,
                                experimental_preserve_all_tensors=True)
    runner.allocate_tensors()
    rng = np.random.default_rng(1)
    low, high = np.zeros(len(model.graphs[0].tensors)), np.zeros(len(model.graphs[0].tensors))
    for _ in range(samples):
        for d in runner.get_input_details():
            runner.set_tensor(d["index"], rng.uniform(-1, 1, d["shape"]).astype("float32"))
        runner.invoke()
        for i, t in enumerate(model.graphs[0].tensors):
            if t.data is None:
                value = runner.get_tensor(i)
                low[i], high[i] = min(low[i], value.min()), max(high[i], value.max())
    return list(zip(low.tolist(), high.tolist(), strict=True))


def quantize(model: Model, dtype: str) -> Model:
    """Post-training quantisation: int8 with weights per channel, or uint8 with everything per tensor."""
    ranges = calibrate(model)
    model = copy.deepcopy(model)
    g = model.graphs[0]
    zero = {"int8": -128, "uint8": 0}[dtype]

    # Operators that only move or average values keep the parameters of their input: one group of tensors, one range.
    group = list(range(len(g.tensors)))

    def root(v: int) -> int:
        while group[v] != v:
            v = group[v]
        return v

    for op in g.ops:
        if op.code in SAME_SCALE:
            for v in op.inputs:
                if g.tensors[v].data is None:
                    group[root(v)] = root(op.outputs[0])
    joint: dict[int, tuple[float, float]] = {}
    for i, (low, high) in enumerate(ranges):
        known = joint.get(root(i), (0.0, 0.0))
        joint[root(i)] = (min(low, known[0]), max(high, known[1]))

    fixed = {op.outputs[0] for op in g.ops if op.code in ("SOFTMAX", "LOGISTIC")}
    for i, t in enumerate(g.tensors):
        if t.data is not None or t.dtype != "float32":
            continue
        low, high = joint[root(i)]
        scale = 1 / 256 if i in fixed else max(high - low, 1e-6) / 255
        point = zero if i in fixed else round(zero - low / scale)
        t.dtype, t.quant = dtype, Quant(np.array([scale]), np.array([point]))
    for op in g.ops:
        if op.code not in WEIGHTED:
            continue
        x, w, b = (op.inputs[i] if i < len(op.inputs) else -1 for i in operands(op))
        weights = g.tensors[w]
        if dtype == "int8":
            weights.data, weights.quant = symmetric(weights.data, WEIGHTED[op.code])
        else:
            low, high = min(weights.data.min(), 0), max(weights.data.max(), 0)
            scale = (high - low) / 255
            point = np.round(-low / scale)
            weights.quant = Quant(np.array([scale]), np.array([point]))
            weights.data = np.clip(np.round(weights.data / scale) + point, 0, 255).astype("uint8")
        weights.dtype = dtype
        if b >= 0:
            bias, q = g.tensors[b], weights.quant
            scales = q.scale.astype("float32") * np.float32(g.tensors[x].quant.scale[0])
            bias.data, bias.dtype = np.round(bias.data / scales).astype("int32"), "int32"
            bias.quant = Quant(scales, np.zeros(scales.size), 0)
    return model


# --- Flex operators -----------------------------------------------------------------------------------------------------------------------


def varint(n: int) -> bytes:
    n &= (1 << 64) - 1
    out = bytearray()
    while n >= 128:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes([*out, n])


def proto(field: int, value: bytes | int) -> bytes:
    """One protobuf field: a varint or a length-delimited one."""
    if isinstance(value, int):
        return varint(field << 3) + varint(value)
    return varint(field << 3 | 2) + varint(len(value)) + value


def node_def(op: str, name: str, attributes: dict[str, bytes]) -> bytes:
    """A TensorFlow NodeDef with one input; attributes are encoded AttrValues."""
    attr = b"".join(proto(5, proto(1, key.encode()) + proto(2, value)) for key, value in attributes.items())
    return proto(1, name.encode()) + proto(2, op.encode()) + proto(3, b"") + attr


def flex_options(op: str, name: str, attributes: dict[str, bytes]) -> bytes:
    """A FlexBuffer vector of two strings: the operator's name and its NodeDef."""
    first, second = op.encode(), node_def(op, name, attributes)
    assert max(len(first), len(second)) < 256
    body = bytes([len(first)]) + first + b"\0"
    at_second = len(body) + 1
    body += bytes([len(second)]) + second + b"\0"
    at_first = 1
    string, untyped_vector = 5 << 2, 10 << 2
    size_at = len(body)
    vector = bytes([2, size_at + 1 - at_first, size_at + 2 - at_second, string, string])
    # Offsets of one byte count back from where they stand. The root is the vector, 4 bytes before its own offset.
    assert max(vector[1:3]) < 256
    return body + vector + bytes([4, untyped_vector, 1])


TYPE_FLOAT = proto(6, 1)
AS_STRING = {
    "T": TYPE_FLOAT, "precision": proto(3, -1), "scientific": proto(5, 0), "shortest": proto(5, 0), "width": proto(3, -1),
    "fill": proto(2, b""),
}


# --- the models ---------------------------------------------------------------------------------------------------------------------------

MODELS: dict[str, Callable[[], Model]] = {}


def model(make: Callable[[], Model]) -> Callable[[], Model]:
    MODELS[make.__name__] = make
    return make


@model
def dense2_dense1() -> Model:
    g = Graph("dense2_dense1")
    x = g.input("x", [-1, 4])
    return served(g, output=g.dense(g.dense(x, 2), 1, name="output"))


@model
def encode_decode() -> Model:
    encode, decode = Graph("encode"), Graph("decode")
    x = encode.input("encode_x", [-1])
    options = flex_options("AsString", "encode/AsString", AS_STRING)
    encoded = encode.op("FlexAsString", [x], [-1], dtype="string", custom=options)
    s = decode.input("decode_x", [-1], "string")
    options = flex_options("StringToNumber", "decode/StringToNumber", {"out_type": TYPE_FLOAT})
    decoded = decode.op("FlexStringToNumber", [s], [-1], dtype="float32", custom=options)
    encode.outputs, decode.outputs = [encoded], [decoded]
    signatures = {"encode": (1, {"x": x}, {"encoded_result": encoded}), "decode": (0, {"x": s}, {"decoded_result": decoded})}
    return Model([decode, encode], signatures)


@model
def add_two_signatures() -> Model:
    """Tensors stand in another order than their names; two names of `add` share one output."""
    graphs, signatures = [], {}
    for i, code in enumerate(["MUL", "ADD"]):
        g = Graph(code.lower())
        y, x = g.input("y_tensor", [-1, 3]), g.input("x_tensor", [-1, 3])
        result = g.binary(code, y, x)
        twice = g.binary("ADD", result, result)
        g.outputs = [twice, result]
        names = {"result": result, "twice": twice}
        signatures[code.lower()] = (i, {"y": y, "x": x}, names | ({"alias": result} if code == "ADD" else {}))
        graphs.append(g)
    return Model(graphs, signatures)


@model
def boundaries() -> Model:
    """An output that is an input, an output that is a constant, and an input that nothing reads."""
    g = Graph("boundaries")
    x, unused = g.input("x", [2, 2]), g.input("unused", [3], "int32")
    constant = g.const([[1.5, -2.5], [3.5, 4.5]], "float32", "table")
    total = g.binary("ADD", x, constant)
    g.outputs = [total, constant, x]
    return Model([g], {"run": (0, {"x": x, "unused": unused}, {"total": total, "constant": constant, "same": x})})


@model
def no_signatures() -> Model:
    built = dense2_dense1()
    built.signatures.clear()
    return built


@model
def no_signatures_no_names() -> Model:
    g = Graph("no_names")
    a, b = g.input("", [2, 3]), g.input("", [2, 3])
    difference = g.binary("SUB", a, b)
    g.outputs = [difference, g.binary("MUL", difference, b)]
    for t in g.tensors:
        t.name = ""
    return Model([g])


@model
def dynamic_batch() -> Model:
    g = Graph("dynamic_batch")
    image = g.input("image", [-1, 8, 8, 3])
    pooled = g.pool("MAX_POOL_2D", g.conv(image, 8, 3, stride=2), 2, 2)
    scores = g.dense(g.reshape(pooled, [-1, 32]), 5)
    return served(g, probabilities=g.softmax(scores), features=pooled)


def convnet() -> Model:
    g = Graph("convnet")
    x = g.conv(g.input("image", [1, 12, 12, 3]), 8, 3, stride=2)
    main = g.conv(g.depthwise(x, 3), 8, 1, activation=NONE)
    x = g.binary("ADD", main, x, fusedActivationFunction=RELU)
    x = g.pool("AVERAGE_POOL_2D", x, 3, 3)
    return served(g, probabilities=g.softmax(g.dense(g.reshape(x, [1, 32]), 6)))


@model
def convnet_float32() -> Model:
    return convnet()


@model
def convnet_float16() -> Model:
    return halve(convnet())


@model
def convnet_int8() -> Model:
    return quantize(convnet(), "int8")


@model
def convnet_uint8() -> Model:
    return quantize(convnet(), "uint8")


@model
def convnet_hybrid() -> Model:
    return dynamic_range(convnet())


@model
def convnet_int8_float_io() -> Model:
    """QUANTIZE in front and DEQUANTIZE behind the int8 net."""
    built = quantize(convnet(), "int8")
    g = built.graphs[0]
    x, y = g.inputs[0], g.outputs[0]
    image = g.add(Tensor("image_float", g.tensors[x].shape))
    scores = g.add(Tensor("probabilities_float", g.tensors[y].shape))
    g.ops = [Op("QUANTIZE", [image], [x], "QuantizeOptions"), *g.ops, Op("DEQUANTIZE", [y], [scores], "DequantizeOptions")]
    g.inputs, g.outputs = [image], [scores]
    built.signatures = {"serving_default": (0, {"image": image}, {"probabilities": scores})}
    return built


def fusable() -> Model:
    """PAD before a convolution, RELU and RELU6 behind one, a constant that can be computed, and a node that nothing needs."""
    g = Graph("fusable")
    image = g.input("image", [1, 9, 9, 3])
    padded = g.op("PAD", [image, g.const([[0, 0], [1, 1], [0, 2], [0, 0]], "int32")], [1, 11, 11, 3], "PadOptions")
    x = g.conv(padded, 4, 3, stride=2, padding=VALID, activation=NONE)
    x = g.op("RELU6", [x], g.shape(x))
    g.op("LOGISTIC", [x], g.shape(x))
    x = g.conv(x, 4, 1, activation=NONE)
    x = g.op("RELU", [x], g.shape(x))
    offset = g.binary("ADD", g.const(np.full([1, 1, 1, 4], 0.25), "float32"), g.const([0.5, 1, 1.5, 2], "float32"), [1, 1, 1, 4])
    return served(g, output=g.binary("ADD", x, offset))


@model
def fusable_float32() -> Model:
    return fusable()


def blocks() -> Model:
    """Blocks of MobileNet and EfficientNet: expansion, window, squeeze, projection, sum, and every activation that a convolution can
    take."""
    g = Graph("blocks")
    x = g.conv(g.input("image", [1, 29, 26, 3]), 8, 3, stride=2, activation=NONE)
    x = g.op("HARD_SWISH", [x], g.shape(x), "HardSwishOptions")
    for window_size, stride, activation in ((3, 1, RELU6), (5, 1, NONE), (3, 2, RELU6), (5, 1, RELU)):
        wide = g.conv(x, 20, 1, activation=activation)
        wide = g.op("HARD_SWISH", [wide], g.shape(wide), "HardSwishOptions") if activation == NONE else wide
        wide = g.depthwise(wide, window_size, stride, activation)
        if activation == NONE:
            wide = g.binary("MUL", wide, g.op("LOGISTIC", [wide], g.shape(wide)))
            squeezed = g.op("MEAN", [wide, g.const([1, 2], "int32")], [1, 1, 1, 20], "ReducerOptions", keepDims=True)
            gate = g.conv(g.conv(squeezed, 4, 1), 20, 1, activation=NONE)
            wide = g.binary("MUL", wide, g.op("LOGISTIC", [gate], g.shape(gate)))
        narrow = g.conv(wide, 8, 1, activation=NONE)
        x = g.binary("ADD", x, narrow, fusedActivationFunction=RELU if activation == RELU else NONE) if stride == 1 else narrow
    x = g.conv(x, 12, 3, activation=NONE)
    x = g.op("LEAKY_RELU", [x], g.shape(x), "LeakyReluOptions", alpha=0.25)
    x = g.conv(x, 12, 1, activation=NONE)
    x = g.op("PRELU", [x, g.weights(1, 1, 12)], g.shape(x))
    x = g.op("TANH", [g.depthwise(x, 3, activation=NONE)], g.shape(x))
    return served(g, output=x)


@model
def blocks_float32() -> Model:
    return blocks()


@model
def fusable_int8() -> Model:
    """Without the constants' own ADD; RELU behind other quantisation parameters must stay."""
    g = Graph("fusable_int8")
    image = g.input("image", [1, 9, 9, 3])
    padded = g.op("PAD", [image, g.const([[0, 0], [2, 1], [1, 2], [0, 0]], "int32")], [1, 12, 12, 3], "PadOptions")
    x = g.conv(padded, 4, 3, stride=2, padding=VALID, activation=NONE)
    return quantize(served(g, output=g.op("RELU", [x], g.shape(x))), "int8")


def unet() -> Model:
    g = Graph("unet")
    image = g.input("image", [1, 8, 8, 2])
    outer = g.conv(image, 4, 3)
    inner = g.conv(g.pool("MAX_POOL_2D", outer, 2, 2), 6, 3)
    deep = g.conv(g.pool("MAX_POOL_2D", inner, 2, 2), 8, 3)
    up = g.op("RESIZE_BILINEAR", [deep, g.const([4, 4], "int32")], [1, 4, 4, 8], "ResizeBilinearOptions", halfPixelCenters=True)
    x = g.conv(g.op("CONCATENATION", [up, inner], [1, 4, 4, 14], "ConcatenationOptions", axis=3), 6, 3)
    weights, bias = g.weights(4, 2, 2, 6), g.const(g.rng.normal(0, 0.1, 4).astype("float32"))
    up = g.op("TRANSPOSE_CONV", [g.const([1, 8, 8, 4], "int32"), weights, x, bias], [1, 8, 8, 4], "TransposeConvOptions", dtype="float32",
              padding=SAME, strideH=2, strideW=2)
    x = g.op("CONCATENATION", [up, outer], [1, 8, 8, 8], "ConcatenationOptions", axis=3)
    return served(g, mask=g.op("LOGISTIC", [g.conv(x, 1, 1, activation=NONE)], [1, 8, 8, 1]))


@model
def unet_float32() -> Model:
    return unet()


@model
def unet_int8() -> Model:
    return quantize(unet(), "int8")


HEADS, HEAD, WIDTH, VOCABULARY, CONTEXT = 2, 4, 8, 16, 8


def transformer_step(name: str, tokens: int) -> tuple[Graph, dict[str, int], dict[str, int]]:
    """One layer with a key-value cache that the caller feeds back; the same weights for every number of tokens."""
    g = Graph(name)
    g.rng = np.random.default_rng(7)
    ids, position = g.input("tokens", [1, tokens], "int32"), g.input("position", [1], "int32")
    caches = [g.input(n, [1, HEADS, CONTEXT, HEAD]) for n in ("k_cache", "v_cache")]
    x = g.op("GATHER", [g.weights(VOCABULARY, WIDTH, scale=1), ids], [1, tokens, WIDTH], "GatherOptions", axis=0)

    def norm(v: int) -> int:
        axes, scale = g.const([2], "int32"), g.const(g.rng.uniform(0.5, 1.5, WIDTH), "float32")
        mean = g.op("MEAN", [v, axes], [1, tokens, 1], "ReducerOptions", keepDims=True)
        variance = g.op("MEAN", [g.binary("SQUARED_DIFFERENCE", v, mean), axes], [1, tokens, 1], "ReducerOptions", keepDims=True)
        inverse = g.op("RSQRT", [g.binary("ADD", variance, g.const(1e-5, "float32"))], [1, tokens, 1])
        return g.binary("MUL", g.binary("MUL", g.binary("SUB", v, mean), inverse), scale)

    def heads(v: int) -> int:
        split = g.reshape(v, [1, tokens, HEADS, HEAD])
        return g.op("TRANSPOSE", [split, g.const([0, 2, 1, 3], "int32")], [1, HEADS, tokens, HEAD], "TransposeOptions")

    h = norm(x)
    query, key, value = (heads(g.dense(h, WIDTH, bias=False)) for _ in range(3))
    start = g.op("CONCATENATION", [g.const([0, 0], "int32"), position, g.const([0], "int32")], [4], "ConcatenationOptions", axis=0)
    k, v = (g.op("DYNAMIC_UPDATE_SLICE", [cache, new, start], [1, HEADS, CONTEXT, HEAD], "DynamicUpdateSliceOptions")
            for cache, new in zip(caches, (key, value), strict=True))
    scores = g.op("BATCH_MATMUL", [query, k], [1, HEADS, tokens, CONTEXT], "BatchMatMulOptions", adjX=False, adjY=True)
    scores = g.binary("MUL", scores, g.const(HEAD**-0.5, "float32"))
    rows = g.binary("ADD", g.const(np.arange(tokens).reshape(tokens, 1), "int32"), position)
    seen = g.op("LESS_EQUAL", [g.const(np.arange(CONTEXT), "int32"), rows], [tokens, CONTEXT], "LessEqualOptions", dtype="bool")
    mask = g.op("SELECT_V2", [seen, g.const(0, "float32"), g.const(-1e9, "float32")], [tokens, CONTEXT], "SelectV2Options", dtype="float32")
    attention = g.softmax(g.binary("ADD", scores, mask))
    mixed = g.op("BATCH_MATMUL", [attention, v], [1, HEADS, tokens, HEAD], "BatchMatMulOptions", adjX=False, adjY=False)
    mixed = g.op("TRANSPOSE", [mixed, g.const([0, 2, 1, 3], "int32")], [1, tokens, HEADS, HEAD], "TransposeOptions")
    x = g.binary("ADD", x, g.dense(g.reshape(mixed, [1, tokens, WIDTH]), WIDTH))
    hidden = g.dense(norm(x), 2 * WIDTH)
    hidden = g.binary("MUL", hidden, g.op("LOGISTIC", [hidden], g.shape(hidden)))
    x = g.binary("ADD", x, g.dense(hidden, WIDTH))
    g.outputs = [g.dense(norm(x), VOCABULARY), k, v]
    outputs = dict(zip(("logits", "k_cache_out", "v_cache_out"), g.outputs, strict=True))
    return g, {g.tensors[i].name: i for i in g.inputs}, outputs


@model
def transformer() -> Model:
    prefill, decode = transformer_step("prefill", 4), transformer_step("decode", 1)
    return Model([prefill[0], decode[0]], {"prefill": (0, *prefill[1:]), "decode": (1, *decode[1:])})


@model
def external_buffers() -> Model:
    built = dense2_dense1()
    for t in built.graphs[0].tensors:
        t.external = t.data is not None
    return built


@model
def deprecated_codes() -> Model:
    built = dense2_dense1()
    built.deprecated_codes = True
    return built


@model
def metadata() -> Model:
    built = dense2_dense1()
    built.metadata = {"min_runtime_version": b"1.5.0".ljust(16, b"\0"), "labels": b"cat\ndog\n"}
    return built


@model
def unknown_operator() -> Model:
    g = Graph("unknown_operator")
    x = g.input("x", [1, 4])
    return served(g, output=g.op("NoSuchOperator", [g.dense(x, 4)], [1, 4], custom=b"\x01\x02\x03"))


def main() -> None:
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).parent
    for name, make in MODELS.items():
        data = make().tobytes()
        (folder / f"{name}.tflite").write_bytes(data)
        print(f"{name}: {len(data)} bytes")


if __name__ == "__main__":
    main()

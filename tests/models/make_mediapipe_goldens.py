#!/usr/bin/env python3
"""Writes mediapipe_goldens.npz: what MediaPipe's custom operators give. Needs the package mediapipe (0.10.14).

Keys: <case>/options, <case>/version, <case>/in<i> and <case>/out<o>; a case is the operator's name, a point and a number. MediaPipe
runs a model inside a graph of its own, with one tensor in and one out: so all inputs are constants here, and the outputs stand one behind
the other.
"""

import pathlib
import struct
import sys
import tempfile
import types

import make_models as mm
import numpy as np
from flatbuffers import flexbuffers

RNG = np.random.default_rng(9)


def real(*shape):
    return RNG.normal(0, 1, shape).astype("float32")


def pool(padding, stride, window):
    """A C struct: padding, strides and window, each width first, and no activation; the rest is room for what the operator computes."""
    return struct.pack("<6i", padding, stride[1], stride[0], window[1], window[0], 0) + bytes(16)


def matrix(*rows):
    return np.array([*rows[0], *rows[1], 0, 0, 1, 0, 0, 0, 0, 1], "float32").reshape(1, 4, 4)


TURN = matrix([0.8, -0.3, 0, 1.6], [0.25, 0.9, 0, -0.4])
PLACES = RNG.integers(0, 4, (1, 3, 4, 2)).astype("float32") + 0.1
LANDMARKS = np.abs(real(1, 7, 3)) * 20
CROP = {
    "left_rotation_idx": 0,
    "output_height": 16,
    "output_width": 16,
    "right_rotation_idx": 1,
    "scale_x": 1.5,
    "scale_y": 1.25,
    "target_rotation_radians": 0.3,
}


def crop():
    """Options of which the indices are a typed vector."""
    builder = flexbuffers.Builder()
    with builder.Map():
        builder.TypedVectorFromElements("subset_idxs", [0, 1, 2, 4, 6])
        for name, value in CROP.items():
            builder.Add(name, value)
    return bytes(builder.Finish())


# operator, version, options, inputs, shapes of the outputs
CASES = [
    ("MaxPoolingWithArgmax2D", 1, pool(1, (2, 2), (2, 2)), [real(1, 6, 8, 3)], [(1, 3, 4, 3)] * 2),
    ("MaxPoolingWithArgmax2D", 1, pool(2, (2, 1), (3, 2)), [real(2, 7, 5, 2)], [(2, 3, 4, 2)] * 2),
    ("MaxUnpooling2D", 1, pool(1, (2, 2), (2, 2)), [real(1, 3, 4, 2), PLACES], [(1, 6, 8, 2)]),
    ("Convolution2DTransposeBias", 1, pool(1, (2, 2), (0, 0)), [real(1, 4, 5, 3), real(4, 2, 2, 3), real(4)], [(1, 8, 9, 4)]),
    ("Convolution2DTransposeBias", 1, pool(1, (2, 2), (0, 0)), [real(1, 4, 5, 3), real(2, 3, 3, 3), real(2)], [(1, 8, 9, 2)]),
    ("TransformTensorBilinear", 2, {"mode": 1, "output_height": 6, "output_width": 7}, [real(1, 9, 8, 2), TURN], [(1, 6, 7, 2)]),
    ("TransformLandmarks", 2, {"dimensions": 3}, [LANDMARKS, TURN], [(1, 7, 3)]),
    ("Landmarks2TransformMatrix", 2, crop(), [LANDMARKS], [(1, 4, 4)]),
]

GRAPH = """
input_stream: "MATRIX:in" output_stream: "FLOATS:out"
node { calculator: "TensorConverterCalculator" input_stream: "MATRIX:in" output_stream: "TENSORS:tensors" }
node { calculator: "TfLiteCustomOpResolverCalculator" output_side_packet: "OP_RESOLVER:resolver" }
node {
  calculator: "InferenceCalculatorCpu" input_stream: "TENSORS:tensors" output_stream: "TENSORS:results"
  input_side_packet: "OP_RESOLVER:resolver"
  options { [mediapipe.InferenceCalculatorOptions.ext] { model_path: "FILE" delegate { tflite {} } } }
}
node { calculator: "TensorsToFloatsCalculator" input_stream: "TENSORS:results" output_stream: "FLOATS:out" }
"""


def model(op, version, options, inputs, shapes):
    g = mm.Graph("main")
    g.inputs = [g.add(mm.Tensor("unused", [1, 1, 1], "float32"))]
    fixed = [g.add(mm.Tensor(f"i{i}", list(x.shape), "float32", x)) for i, x in enumerate(inputs)]
    made = [g.add(mm.Tensor(f"o{o}", list(shape), "float32")) for o, shape in enumerate(shapes)]
    g.ops.append(mm.Op(op, fixed, made, custom_options=options))
    flat = [g.op("RESHAPE", [v, g.const(np.array([-1], "int32"))], [int(np.prod(s))], "") for v, s in zip(made, shapes, strict=True)]
    g.outputs = [g.op("CONCATENATION", flat, [sum(int(np.prod(s)) for s in shapes)], "ConcatenationOptions", axis=0)]
    return mm.Model([g], versions={op: version}).tobytes()


def run(content):
    for name in ("cv2", "matplotlib", "matplotlib.pyplot", "sounddevice"):  # which the operators do not need
        sys.modules.setdefault(name, types.ModuleType(name))
    from google.protobuf import text_format
    from mediapipe.calculators.tensor import inference_calculator_pb2  # noqa: F401
    from mediapipe.framework import calculator_pb2
    from mediapipe.python import packet_creator, packet_getter
    from mediapipe.python._framework_bindings import calculator_graph

    with tempfile.NamedTemporaryFile(suffix=".tflite") as file:
        file.write(content)
        file.flush()
        config = text_format.Parse(GRAPH.replace("FILE", file.name), calculator_pb2.CalculatorGraphConfig())
        graph = calculator_graph.CalculatorGraph(graph_config=config)
        out = []
        graph.observe_output_stream("out", lambda _, packet: out.append(packet_getter.get_float_list(packet)))
        graph.start_run()
        graph.add_packet_to_input_stream("in", packet_creator.create_matrix(np.zeros((1, 1), "float32")).at(0))
        graph.close_all_packet_sources()
        graph.wait_until_done()
    return np.array(out[0], "float32")


def main():
    arrays = {}
    for number, (op, version, options, inputs, shapes) in enumerate(CASES):
        packed = options if isinstance(options, bytes) else bytes(flexbuffers.Dumps(options))
        flat = run(model(op, version, packed, inputs, shapes))
        case = f"{op}.{number}"
        print(case, flat[:4], file=sys.stderr)
        arrays |= {f"{case}/options": np.frombuffer(packed, np.uint8), f"{case}/version": np.array(version)}
        arrays |= {f"{case}/in{i}": x for i, x in enumerate(inputs)}
        for o, shape in enumerate(shapes):
            size = int(np.prod(shape))
            arrays[f"{case}/out{o}"], flat = flat[:size].reshape(shape), flat[size:]
    np.savez_compressed(pathlib.Path(__file__).parent / "mediapipe_goldens.npz", **arrays)


if __name__ == "__main__":
    main()

"""TensorFlow's operators inside a .tflite file give what TensorFlow gives: stored in flex_goldens.npz by make_flex_goldens.py."""

import collections

import numpy as np
import pytest
from conftest import MODELS
from flatbuffers import flexbuffers
from one_op import compare, mm

import sigrun


def load():
    cases = collections.defaultdict(dict)
    for key, value in np.load(MODELS / "flex_goldens.npz").items():
        case, part = key.split("/")
        cases[case][part] = value
    return cases


CASES = load()


def type_of(array):
    return "string" if array.dtype.kind == "S" else str(array.dtype)


@pytest.mark.parametrize("name", CASES)
def test_as_tensorflow(name):
    parts = CASES[name]
    op = name.split(".")[0]
    inputs = [parts[f"in{i}"] for i in range(len(parts)) if f"in{i}" in parts]
    outputs = [parts[f"out{o}"] for o in range(len(parts)) if f"out{o}" in parts]
    g = mm.Graph("main")
    g.inputs = [g.add(mm.Tensor(f"i{i}", list(x.shape), type_of(x))) for i, x in enumerate(inputs)]
    made = [g.add(mm.Tensor(f"o{o}", list(y.shape), type_of(y))) for o, y in enumerate(outputs)]
    options = bytes(flexbuffers.Dumps([op, parts["node"].tobytes()]))
    g.ops.append(mm.Op(f"Flex{op}", g.inputs, made, custom_options=options))
    content = mm.served(g, **{f"o{o}": v for o, v in enumerate(made)}).tobytes()
    arguments = {f"i{i}": x.astype(object) if x.dtype.kind == "S" else x for i, x in enumerate(inputs)}
    got = sigrun.Interpreter(model_content=content).get_signature_runner()(**arguments)
    for o, want in enumerate(outputs):
        if want.dtype.kind == "S":
            assert [bytes(t) for t in np.asarray(got[f"o{o}"], object).ravel()] == [bytes(t) for t in want.ravel()]
        else:
            compare(got, {f"o{o}": want}, 3e-6)

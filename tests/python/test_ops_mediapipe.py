"""MediaPipe's custom operators give what MediaPipe gives: stored in mediapipe_goldens.npz by make_mediapipe_goldens.py."""

import pytest
from one_op import compare, mm, stored_cases

import sigrun

CASES = stored_cases("mediapipe_goldens")


def model(op, version, options, inputs, outputs):
    g = mm.Graph("main")
    g.inputs = [g.add(mm.Tensor(f"i{i}", list(x.shape), "float32")) for i, x in enumerate(inputs)]
    made = [g.add(mm.Tensor(f"o{o}", list(y.shape), "float32")) for o, y in enumerate(outputs)]
    g.ops.append(mm.Op(op, g.inputs, made, custom_options=options))
    built = mm.served(g, **{f"o{o}": v for o, v in enumerate(made)})
    built.versions = {op: version}
    return built.tobytes()


@pytest.mark.parametrize("name", CASES)
def test_as_mediapipe(name):
    parts = CASES[name]
    inputs = [parts[f"in{i}"] for i in range(len(parts)) if f"in{i}" in parts]
    outputs = [parts[f"out{o}"] for o in range(len(parts)) if f"out{o}" in parts]
    content = model(name.split(".")[0], int(parts["version"]), parts["options"].tobytes(), inputs, outputs)
    got = sigrun.Interpreter(model_content=content).get_signature_runner()(**{f"i{i}": x for i, x in enumerate(inputs)})
    compare(got, {f"o{o}": y for o, y in enumerate(outputs)}, 2e-6)

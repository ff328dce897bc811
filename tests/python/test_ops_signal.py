"""The operators of tflite-micro's audio front end give what tflite-micro gives: stored in signal_goldens.npz by make_signal_goldens.py."""

import numpy as np
import pytest
from flatbuffers import flexbuffers
from one_op import compare, mm, stored_cases

import sigrun

CASES = stored_cases("signal_goldens")


def model(op, options, inputs, outputs):
    """`inputs` by their position: what is fed, or a constant in a tuple; `outputs` as the first call gives them."""
    g = mm.Graph("main")
    ids = []
    for i, x in enumerate(inputs):
        constant = x[0] if isinstance(x, tuple) else None
        array = x if constant is None else constant
        ids.append(g.add(mm.Tensor(f"i{i}", list(array.shape), str(array.dtype), constant)))
        if constant is None:
            g.inputs.append(ids[-1])
    made = [g.add(mm.Tensor(f"o{o}", list(y.shape), str(y.dtype))) for o, y in enumerate(outputs)]
    g.ops.append(mm.Op(op, ids, made, custom_options=options))
    return mm.served(g, **{f"o{o}": v for o, v in enumerate(made)}).tobytes()


@pytest.mark.parametrize("name", CASES)
def test_as_tflite_micro(name):
    parts = CASES[name]
    count = sum(key.startswith(("in", "const")) for key in parts)
    outputs = [parts[f"out{o}"] for o in range(len(parts)) if f"out{o}" in parts]
    inputs = [parts[f"in{i}"][0] if f"in{i}" in parts else (parts[f"const{i}"],) for i in range(count)]
    content = model(name.split(".")[0], parts["options"].tobytes(), inputs, [y[0] for y in outputs])
    for _ in range(2):  # a second interpreter starts afresh
        runner = sigrun.Interpreter(model_content=content).get_signature_runner()
        for call in range(len(outputs[0])):
            got = runner(**{f"i{i}": parts[f"in{i}"][call] for i in range(count) if f"in{i}" in parts})
            valid = outputs[-1].dtype != bool or outputs[-1][call]
            if not valid:  # what the operator leaves then is not said
                del got["o0"]
            compare(got, {key: outputs[int(key[1:])][call] for key in got}, 2e-6)


# What tflite-micro shows after calls that run to the end, once the buffer is full: (cycles, slots) -> {call: values}.
MICRO = {
    (1, 3): {call: [call - 2, call - 1, call] for call in range(3, 9)},
    (2, 3): {4: [2, 3, 4], 6: [4, 5, 6], 8: [6, 7, 8]},
    (3, 5): {6: [2, 3, 4, 5, 6]},
}


def streaming(cycles, slots=3):
    """A buffer of the last 3 inputs, and what is made of it."""
    g = mm.Graph("main")
    g.inputs = [g.add(mm.Tensor("i0", [1, 1, 1, 2], "int8"))]
    kept = g.add(mm.Tensor("kept", [1, slots, 1, 2], "int8"))
    g.ops.append(mm.Op("CIRCULAR_BUFFER", g.inputs, [kept], custom_options=bytes(flexbuffers.Dumps({"cycles_max": cycles}))))
    g.outputs = [g.op("MAXIMUM", [kept, kept], [1, slots, 1, 2], dtype="int8")]
    return mm.served(g, o0=g.outputs[0]).tobytes()


def test_a_circular_buffer_ends_the_runs_between():
    runner = sigrun.Interpreter(model_content=streaming(2)).get_signature_runner()
    got = [runner(i0=np.full((1, 1, 1, 2), v, "int8"))["o0"][0, :, 0, 0].tolist() for v in (1, 2, 3, 4, 5)]
    assert got == [[0, 0, 0], [0, 1, 2], [0, 1, 2], [2, 3, 4], [2, 3, 4]]


def test_a_circular_buffer_of_every_call():
    runner = sigrun.Interpreter(model_content=streaming(1)).get_signature_runner()
    got = [runner(i0=np.full((1, 1, 1, 2), v, "int8"))["o0"][0, :, 0, 0].tolist() for v in (1, 2, 3, 4)]
    assert got == [[0, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 4]]


@pytest.mark.parametrize("form", MICRO, ids=str)
def test_a_circular_buffer_is_that_of_tflite_micro(form):
    runner = sigrun.Interpreter(model_content=streaming(*form)).get_signature_runner()
    for call in range(1, 9):
        got = runner(i0=np.full((1, 1, 1, 2), call, "int8"))["o0"][0, :, 0, 0].tolist()
        assert got == MICRO[form].get(call, got)

"""Profiles of runs by operator."""

import itertools
import json

import numpy as np
import pytest

import sigrun


@pytest.fixture
def interpreter(model_path):
    interpreter = sigrun.Interpreter(model_path=model_path("unet_float32"))
    interpreter.allocate_tensors()
    return interpreter


def test_rows_are_the_operators_that_run(interpreter):
    profile = interpreter.profile(3)
    ops = [row.op for row in profile.operators]
    assert {"CONV_2D", "TRANSPOSE_CONV"} <= set(ops)
    assert [row.index for row in profile.operators] == sorted(row.index for row in profile.operators)
    assert all(row.seconds > 0 and row.calls == 1 for row in profile.operators)
    assert sum(row.share for row in profile.operators) == pytest.approx(1)
    assert profile.seconds >= max(row.seconds for row in profile.operators)
    assert profile.tier == sigrun.build_info()["tier_in_use"]
    assert profile.threads == 1


def test_work_follows_from_the_shapes(interpreter):
    details = {d["index"]: d for d in interpreter.get_tensor_details()}
    operators = interpreter._get_ops_details()
    for row in interpreter.profile(1).operators:
        inputs = [details[i]["shape"] for i in operators[row.index]["inputs"] if i >= 0]
        if row.op == "CONV_2D":
            assert row.multiply_adds == np.prod(row.shape) * np.prod(inputs[1][1:])
        elif row.op == "TRANSPOSE_CONV":
            assert row.multiply_adds == np.prod(inputs[2]) * np.prod(inputs[1][:3])
        elif row.op == "CONCATENATION":
            assert row.multiply_adds == 0
            assert row.bytes == 2 * 4 * np.prod(row.shape)


def test_together_by_kind(interpreter):
    profile = interpreter.profile(2)
    kinds = profile.by_op()
    assert [k.seconds for k in kinds] == sorted((k.seconds for k in kinds), reverse=True)
    assert sum(k.calls for k in kinds) == len(profile.operators)
    assert sum(k.multiply_adds for k in kinds) == sum(row.multiply_adds for row in profile.operators)
    assert profile.slowest(1)[0].seconds == max(row.seconds for row in profile.operators)


def test_table_json_and_trace(interpreter):
    profile = interpreter.profile(2)
    assert len(profile.table().splitlines()) == 2 + len(profile.by_op())
    assert "CONV_2D" in str(profile)
    assert len(json.loads(profile.json())["operators"]) == len(profile.operators)
    events = json.loads(profile.chrome_trace())["traceEvents"]
    assert [e["name"] for e in events] == [row.op for row in profile.operators]
    assert all(after["ts"] >= before["ts"] for before, after in itertools.pairwise(events))


def test_outputs_are_those_of_a_run(model_path, rng):
    runner = sigrun.Interpreter(model_path=model_path("dense2_dense1")).get_signature_runner()
    inputs = {name: rng.standard_normal(d["shape"]).astype(np.float32) for name, d in runner.get_input_details().items()}
    wanted = runner(**inputs)
    assert len(runner.profile(2).operators) == 2
    for name, value in wanted.items():
        assert runner.get_tensor(name).tolist() == value.tolist()


def test_refusals(model_path):
    interpreter = sigrun.Interpreter(model_path=model_path("dense2_dense1"))
    with pytest.raises(RuntimeError, match="Call AllocateTensors first"):
        interpreter.profile()
    interpreter.allocate_tensors()
    with pytest.raises(ValueError, match="a profile takes at least 1 run"):
        interpreter.profile(0)

"""What a runner tells of its plan and its memory."""

import pathlib

import numpy as np
import pytest

import sigrun

MODELS = pathlib.Path(__file__).parents[1] / "models"


def runner_of(name, **options):
    runner = sigrun.Interpreter(model_path=MODELS / f"{name}.tflite", **options).get_signature_runner()
    runner(**{key: np.ones(d["shape"], d["dtype"]) for key, d in runner.get_input_details().items()})
    return runner


def test_steps_name_their_kernels():
    plan = runner_of("blocks_float32").plan
    tier = sigrun.build_info()["tier_in_use"]
    assert plan.tier == tier
    assert plan.whole
    assert all(step.kernel for step in plan.steps)
    products = [step for step in plan.steps if "matrix product" in step.kernel]
    assert products
    assert all(tier in step.kernel and "float32" in step.kernel for step in products)
    assert all(step.op.split("+")[0].isupper() for step in plan.steps)
    lines = str(plan).splitlines()
    assert len(lines) == len(plan.steps) + 2
    assert len({len(line) for line in lines}) == 1


def test_the_plan_follows_the_shapes():
    runner = sigrun.Interpreter(model_path=MODELS / "add_two_signatures.tflite").get_signature_runner("add")
    for rows in (1, 5):
        x = np.ones((rows, 3), np.float32)
        runner(x=x, y=x)
        assert {step.shape for step in runner.plan.steps} == {(rows, 3)}


def test_blocks_that_live_together_do_not_overlap():
    memory = runner_of("blocks_float32").memory
    assert memory.blocks
    for i, a in enumerate(memory.blocks):
        assert a.offset % 64 == 0
        assert a.offset + a.bytes <= memory.arena
        for b in memory.blocks[i + 1 :]:
            apart = a.last < b.first or b.last < a.first
            assert apart or a.offset + a.bytes <= b.offset or b.offset + b.bytes <= a.offset, (a, b)
    assert 0 < memory.peak <= memory.arena
    assert memory.packed > 0
    assert 0 < memory.weights < (MODELS / "blocks_float32.tflite").stat().st_size
    assert str(memory.arena) in str(memory)


def test_packed_weights_are_the_models():
    model = sigrun.Model(MODELS / "blocks_float32.tflite")
    sizes = []
    for _ in range(3):
        runner = sigrun.Interpreter(model=model).get_signature_runner()
        runner(**{key: np.ones(d["shape"], d["dtype"]) for key, d in runner.get_input_details().items()})
        sizes.append(runner.memory.packed)
    assert len(set(sizes)) == 1


def test_there_is_nothing_to_tell_before_planning():
    runner = sigrun.Interpreter(model_path=MODELS / "blocks_float32.tflite").get_signature_runner()
    for read in (lambda: runner.plan, lambda: runner.memory):
        with pytest.raises(ValueError, match="allocate_tensors"):
            read()


def test_profiles_count_what_chains_compute():
    runner = runner_of("blocks_float32")
    profile = runner.profile(2)
    assert [row.op for row in profile.operators] == [step.op for step in runner.plan.steps]
    assert sum(row.multiply_adds for row in profile.operators) > 0

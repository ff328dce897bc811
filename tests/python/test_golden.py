"""Every model of tests/models gives what LiteRT's reference kernels give: integers bit by bit, floats within 1e-5 of the largest."""

import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import MODELS

import sigrun

NOT_IN_LITERT = {"encode_decode", "unknown_operator"}  # Flex operators need TensorFlow there
NAMES = sorted(path.stem for path in MODELS.glob("*.tflite") if path.stem not in NOT_IN_LITERT)
BATCHES = (1, 3, 2, 3)  # by turns: new plans and cached ones


def reference(path):
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    return litert.Interpreter(model_path=path, experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF)


def random_value(name, dtype, shape, rng):
    if dtype == np.float32:
        return rng.uniform(-1, 1, shape).astype(dtype)
    low, high = {"tokens": (0, 16), "position": (0, 5)}.get(name, (np.iinfo(dtype).min, np.iinfo(dtype).max + 1))
    return rng.integers(low, high, shape, dtype=np.int64).astype(dtype)


def random_shape(details, batch):
    return [batch if d == -1 else d for d in details["shape_signature"]]


def assert_close(got, want, what):
    assert got.shape == want.shape, what
    assert got.dtype == want.dtype, what
    if want.dtype.kind == "f":
        bound = 1e-5 * max(float(np.max(np.abs(want), initial=0)), 1e-6)
        error = float(np.max(np.abs(got.astype(np.float64) - want), initial=0))
        assert error <= bound, f"{what}: off by {error:.3g}, the bound is {bound:.3g}"
    else:
        np.testing.assert_array_equal(got, want, what)


def signatures():
    for name in NAMES:
        keys = sigrun.Interpreter(model_path=str(MODELS / f"{name}.tflite")).get_signature_list()
        yield from ((name, key) for key in keys)


@pytest.mark.parametrize(("name", "key"), list(signatures()))
def test_signature_equals_reference(name, key, model_path, rng):
    theirs = reference(model_path(name)).get_signature_runner(key)
    ours = sigrun.Interpreter(model_path=model_path(name)).get_signature_runner(key)
    details = theirs.get_input_details()
    for batch in BATCHES:
        inputs = {n: random_value(n, d["dtype"], random_shape(d, batch), rng) for n, d in details.items()}
        want, got = theirs(**inputs), ours(**inputs)
        assert set(got) == set(want)
        for output in want:
            assert_close(got[output], want[output], f"{name}:{key}:{output} at batch {batch}")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("threads", [1, 3])
def test_subgraph_0_equals_reference(name, threads, model_path, rng):
    theirs, ours = reference(model_path(name)), sigrun.Interpreter(model_path=model_path(name), num_threads=threads)
    for batch in BATCHES:
        for d in theirs.get_input_details():
            shape = random_shape(d, batch)
            for interpreter in (theirs, ours):
                interpreter.resize_tensor_input(d["index"], shape)
        theirs.allocate_tensors()
        ours.allocate_tensors()
        for d in theirs.get_input_details():
            value = random_value(d["name"], d["dtype"], d["shape"], rng)
            theirs.set_tensor(d["index"], value)
            ours.set_tensor(d["index"], value)
        theirs.invoke()
        ours.invoke()
        for d in theirs.get_output_details():
            assert_close(ours.get_tensor(d["index"]), theirs.get_tensor(d["index"]), f"{name}: tensor {d['index']} at batch {batch}")


def test_decoding_step_by_step_equals_one_prefill(model_path):
    interpreter = sigrun.Interpreter(model_path=model_path("transformer"))
    prefill, decode = interpreter.get_signature_runner("prefill"), interpreter.get_signature_runner("decode")
    tokens = np.array([[3, 1, 4, 15]], np.int32)
    caches = {n: np.zeros([1, 2, 8, 4], np.float32) for n in ("k_cache", "v_cache")}
    whole = prefill(tokens=tokens, position=np.array([0], np.int32), **caches)
    for i in range(4):
        step = decode(tokens=tokens[:, i : i + 1], position=np.array([i], np.int32), **caches)
        caches = {n: step[n + "_out"].copy() for n in caches}
        np.testing.assert_allclose(step["logits"][:, 0], whole["logits"][:, i], atol=1e-5)


@pytest.mark.parametrize("tier", sigrun.build_info()["supported_tiers"])
@pytest.mark.skipif("SIGRUN_MAX_ISA" in os.environ, reason="already capped")
def test_every_tier_equals_reference(tier):
    if tier == sigrun.build_info()["tier_in_use"]:
        pytest.skip("the tier of this process")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", __file__],
        env=os.environ | {"SIGRUN_MAX_ISA": tier}, capture_output=True, text=True, timeout=600, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.skipif("SIGRUN_MAX_ISA" not in os.environ, reason="no cap")
def test_cap_is_honoured():
    assert sigrun.build_info()["tier_in_use"] == os.environ["SIGRUN_MAX_ISA"]

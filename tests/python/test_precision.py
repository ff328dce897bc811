"""The precision of float products: what each word promises, on every tier."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import MODELS

import sigrun

sys.path.insert(0, str(MODELS))

WORDS = ("highest", "high", "medium")
# A net's relative error, with a wide margin: float32 and three parts of bfloat16 have 24 bits, two parts 16, one 8.
BOUNDS = {"float32": 1e-5, "bfloat16x6": 1e-5, "bfloat16x3": 1e-3, "bfloat16": 0.1}


def run_net(path, precision):
    interpreter = sigrun.Interpreter(model_path=path, precision=precision)
    assert interpreter.precision == precision
    interpreter.allocate_tensors()
    random = np.random.default_rng(0)
    for details in interpreter.get_input_details():
        interpreter.set_tensor(details["index"], random.uniform(-1, 1, details["shape"]).astype(details["dtype"]))
    interpreter.invoke()
    return [interpreter.get_tensor(details["index"]).astype(np.float64) for details in interpreter.get_output_details()]


def relative_errors(path):
    exact = run_net(path, "highest")
    errors = {}
    for word in WORDS:
        pairs = zip(exact, run_net(path, word), strict=True)
        errors[word] = max(float(np.abs(a - b).max() / np.abs(a).max()) for a, b in pairs)
    return errors


def test_build_info_tells_what_each_word_comes_to():
    meanings = sigrun.build_info()["precisions"]
    assert tuple(meanings) == WORDS
    assert meanings["highest"] in ("float32", "bfloat16x6")
    assert meanings["high"] in ("float32", "bfloat16x3")
    assert meanings["medium"] in ("float32", "bfloat16")


@pytest.mark.parametrize("tier", sigrun.build_info()["supported_tiers"])
@pytest.mark.parametrize("name", ["convnet_float32", "unet_float32", "transformer"])
def test_errors_are_what_the_word_allows(model_path, name, tier):
    check_errors(model_path(name), tier)


def check_errors(path, tier):
    """In a process of its own: the tier is chosen once."""
    result = subprocess.run(
        [sys.executable, __file__, path],
        env={**os.environ, "SIGRUN_MAX_ISA": tier},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    told = json.loads(result.stdout)
    assert told["tier"] == tier
    for word in WORDS:
        meaning = told["precisions"][word]
        assert told["errors"][word] <= BOUNDS[meaning], word
        if meaning == "float32":
            assert told["errors"][word] == 0


def inverted_residuals():
    """A net in which products, depthwise convolutions and residuals follow each other."""
    mm = pytest.importorskip("make_models")
    random = np.random.default_rng(1)
    g = mm.Graph("main")

    def tensor(shape, data=None):
        return g.add(mm.Tensor(f"t{len(g.tensors)}", list(shape), "float32", data))

    def weights(*shape, scale):
        return tensor(shape, random.normal(0, scale, shape).astype("float32"))

    def conv(x, side, channels, out, window=1, stride=1, activation=3):
        """Of one channel each if `channels` is 0."""
        fields = {"padding": mm.SAME, "strideH": stride, "strideW": stride, "fusedActivationFunction": activation}
        fields |= {"dilationHFactor": 1, "dilationWFactor": 1}
        op, options, shape = "CONV_2D", "Conv2DOptions", (out, window, window, channels)
        if channels == 0:
            op, options, shape = "DEPTHWISE_CONV_2D", "DepthwiseConv2DOptions", (1, window, window, out)
            fields["depthMultiplier"] = 1
        y = tensor((2, side, side, out))
        operands = [x, weights(*shape, scale=(2 / (window * window * max(channels, 1))) ** 0.5), weights(out, scale=0.1)]
        g.ops.append(mm.Op(op, operands, [y], options, fields))
        return y

    x = tensor((2, 26, 26, 3))
    g.inputs = [x]
    y = conv(x, 13, 3, 24, window=3, stride=2)
    for channels, activation in ((40, 3), (72, 1), (100, 0)):
        wide = conv(conv(y, 13, 24, channels, activation=activation), 13, 0, channels, window=3, activation=activation)
        z = conv(wide, 13, channels, 24, activation=0)
        total = tensor((2, 13, 13, 24))
        g.ops.append(mm.Op("ADD", [y, z], [total], "AddOptions", {"fusedActivationFunction": 0}))
        y = total
    return mm.served(g, y=conv(y, 13, 24, 33)).tobytes()


@pytest.mark.parametrize("tier", sigrun.build_info()["supported_tiers"])
def test_errors_of_values_that_stay_bfloat16(tmp_path, tier):
    path = tmp_path / "inverted_residuals.tflite"
    path.write_bytes(inverted_residuals())
    check_errors(str(path), tier)


def test_what_follows_each_other_stays_bfloat16():
    content = inverted_residuals()
    kernels, outputs = [], []
    for threads in (1, 2):
        runner = sigrun.Interpreter(model_content=content, precision="medium", num_threads=threads).get_signature_runner()
        details = next(iter(runner.get_input_details().items()))
        x = np.random.default_rng(0).uniform(-1, 1, details[1]["shape"]).astype("float32")
        outputs.append(runner(**{details[0]: x})["y"].copy())
        kernels += [step.kernel for step in runner.plan.steps]
    np.testing.assert_array_equal(*outputs)
    if sigrun.build_info()["precisions"]["medium"] == "bfloat16":
        assert any("windows, bfloat16" in kernel for kernel in kernels), kernels


def test_values_that_are_looked_at_are_floats():
    interpreter = sigrun.Interpreter(model_content=inverted_residuals(), precision="medium", experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    details = interpreter.get_input_details()[0]
    interpreter.set_tensor(details["index"], np.random.default_rng(0).uniform(-1, 1, details["shape"]).astype("float32"))
    interpreter.invoke()
    for details in interpreter.get_tensor_details():
        value = interpreter.get_tensor(details["index"])
        assert np.abs(value).max() < 1e3


def test_interpreters_of_one_model_differ_in_precision(model_path):
    model = sigrun.Model.from_file(model_path("convnet_float32"))
    interpreters = [sigrun.Interpreter(model=model, precision=word) for word in WORDS]
    assert [interpreter.precision for interpreter in interpreters] == list(WORDS)
    x = np.random.default_rng(0).uniform(-1, 1, interpreters[0].get_input_details()[0]["shape"]).astype(np.float32)
    outputs = []
    for interpreter in interpreters:
        runner = interpreter.get_signature_runner()
        outputs.append(next(iter(runner(**{runner.input_names[0]: x}).values())))
    for output in outputs[1:]:
        np.testing.assert_allclose(output, outputs[0], atol=0.1 * np.abs(outputs[0]).max())


if __name__ == "__main__":
    info = sigrun.build_info()
    print(json.dumps({"tier": info["tier_in_use"], "precisions": info["precisions"], "errors": relative_errors(sys.argv[1])}))

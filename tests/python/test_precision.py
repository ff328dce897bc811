"""The precision of float products: what each word promises, on every tier."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import sigrun

WORDS = ("highest", "high", "medium")
# A net's relative error, with a wide margin: float32 has 24 bits, two parts of bfloat16 16, one 8.
BOUNDS = {"float32": 1e-5, "bfloat16x3": 1e-3, "bfloat16": 0.1}


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
    assert meanings["highest"] == "float32"
    assert meanings["high"] in ("float32", "bfloat16x3")
    assert meanings["medium"] in ("float32", "bfloat16")


@pytest.mark.parametrize("tier", sigrun.build_info()["supported_tiers"])
@pytest.mark.parametrize("name", ["convnet_float32", "unet_float32", "transformer"])
def test_errors_are_what_the_word_allows(model_path, name, tier):
    """In a process of its own: the tier is chosen once."""
    result = subprocess.run(
        [sys.executable, __file__, model_path(name)],
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

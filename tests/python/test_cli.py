"""The command line, as a process of its own."""

import json
import subprocess
import sys

import numpy as np
import pytest

import sigrun


def run(*arguments):
    return subprocess.run([sys.executable, "-m", "sigrun", *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False)


def test_demo_prints_what_the_guide_prints():
    result = run("demo")
    assert result.returncode == 0, result.stderr
    assert "{'encoded_result': array([b'1.000000', b'2.000000', b'3.000000'], dtype=object)}" in result.stdout
    assert "{'decoded_result': array([1., 2., 3.], dtype=float32)}" in result.stdout
    assert "'encode'" in result.stdout.splitlines()[0]


def test_without_a_command():
    result = run()
    assert result.returncode == 0
    assert "demo" in result.stdout


def test_version():
    assert run("--version").stdout.strip() == f"sigrun {sigrun.__version__}"


def test_info():
    assert json.loads(run("info").stdout) == sigrun.build_info()


def test_list(model_path):
    result = run("list", model_path("add_two_signatures"))
    assert "add" in result.stdout
    assert "input   x  float32  [-1, 3]" in result.stdout


def test_list_without_signatures(model_path):
    assert "serving_default  (the file has no signature)" in run("list", model_path("no_signatures")).stdout


def test_list_of_a_model_that_cannot_run(model_path):
    result = run("list", model_path("unknown_operator"))
    assert result.returncode == 0
    assert "NoSuchOperator" in result.stdout


def test_run(model_path, tmp_path):
    x, y = np.full((2, 3), 2, np.float32), np.full((2, 3), 5, np.float32)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    inputs = [f"--input=x={tmp_path}/x.npy", f"--input=y={tmp_path}/y.npy"]
    result = run("run", model_path("add_two_signatures"), "--signature", "add", *inputs, "--output", f"result={tmp_path}/out.npy")
    assert result.returncode == 0, result.stderr
    assert "result: float32 [2, 3]\n[[7. 7. 7.]\n [7. 7. 7.]]" in result.stdout
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), x + y)


def test_random_inputs_are_said_and_seeded(model_path):
    arguments = ("run", model_path("add_two_signatures"), "--signature", "add", "--threads", 2, "--count", 3)
    first, second = run(*arguments), run(*arguments)
    assert "input x: random float32 [1, 3], seed 0" in first.stdout
    assert "median of 3 runs" in first.stdout
    assert first.stdout.split("median")[0] == second.stdout.split("median")[0]
    assert run(*arguments, "--seed", 1).stdout.split("median")[0] != first.stdout.split("median")[0]


def test_strings(model_path, tmp_path):
    model = model_path("encode_decode")
    np.save(tmp_path / "x.npy", np.array([b"1.5", b"2"]))
    result = run("run", model, "--signature", "decode", "--input", f"x={tmp_path}/x.npy")
    assert "[1.5 2. ]" in result.stdout
    assert run("run", model, "--signature", "decode").returncode == 0


def test_profile(model_path, tmp_path):
    trace, rows = tmp_path / "trace.json", tmp_path / "rows.json"
    result = run("profile", model_path("convnet_float32"), "--count", 2, "--trace", trace, "--json", rows)
    assert result.returncode == 0, result.stderr
    assert "| CONV_2D" in result.stdout
    assert "us a run" in result.stdout
    assert len(json.loads(trace.read_text())["traceEvents"]) == len(json.loads(rows.read_text())["operators"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{model}"], "signature_key is None"),
        (["{model}", "--signature", "div"], "Invalid signature_key"),
        (["{model}", "--signature", "add", "--input", "z=z.npy"], "z=z.npy"),
        (["{model}", "--signature", "add", "--input", "x"], "NAME=FILE.npy"),
        (["{model}", "--signature", "add", "--input", "x=missing.npy"], "missing.npy"),
        (["{model}", "--signature", "add", "--output", "z=z.npy"], "z=z.npy"),
        (["{model}", "--signature", "add", "--count", "0"], "--count"),
        (["{model}", "--signature", "add", "--threads", "0"], "num_threads should >= 1"),
        (["{model}", "--signature", "add", "--precision", "low"], "'highest', 'high' or 'medium'"),
        (["missing.tflite"], "Could not open 'missing.tflite'"),
    ],
)
def test_errors_are_one_line(model_path, arguments, message):
    result = run("run", *(a.format(model=model_path("add_two_signatures")) for a in arguments))
    assert result.returncode == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr

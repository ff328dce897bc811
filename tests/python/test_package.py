"""The package itself: what it imports, exports and says of itself."""

import ast
import importlib.metadata
import os
import pathlib
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import sigrun
from sigrun import _core

# What numpy brings is not ours, so both imports are looked at.
IMPORTS = """
import sys
import numpy
before = set(sys.modules)
import sigrun
print(sorted({name.partition(".")[0] for name in set(sys.modules) - before}))
"""


def test_imports_nothing_but_numpy():
    result = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=True)
    extra = set(ast.literal_eval(result.stdout)) - {"sigrun"} - set(sys.stdlib_module_names)
    assert not extra


def test_build_info():
    info = sigrun.build_info()
    assert set(info) == {"version", "compiler", "compiled_tiers", "supported_tiers", "tier_in_use", "cpu_features", "precisions"}
    assert info["version"] == sigrun.__version__
    assert info["compiled_tiers"][0] == "scalar"
    assert set(info["supported_tiers"]) <= set(info["compiled_tiers"])
    assert info["tier_in_use"] in info["supported_tiers"]


def test_tier_can_be_capped():
    code = "import sigrun; print(sigrun.build_info()['tier_in_use'])"
    environment = {**os.environ, "SIGRUN_MAX_ISA": "scalar", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "scalar"


def test_version_is_the_distributions():
    try:
        version = importlib.metadata.version("sigrun")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("not installed")
    assert version == sigrun.__version__


def test_typed_and_with_its_model():
    folder = pathlib.Path(sigrun.__file__).parent
    assert (folder / "py.typed").exists()
    assert (folder / "models" / "encode_decode.tflite").stat().st_size < 10_000


def stub_names(tree):
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)}


def test_stub_names_what_the_extension_has():
    stub = pathlib.Path(sigrun.__file__).parent / "_core.pyi"
    declared = stub_names(ast.parse(stub.read_text()))
    actual = {name for name in vars(_core) if not name.startswith("_")}
    assert actual == set(declared) - {"BuildInfo"}
    for name in ("Model", "Interpreter", "SignatureRunner"):
        members = {m for m in vars(getattr(_core, name)) if not m.startswith("__") and not m.startswith("_pybind11")}
        assert members == {m for m in stub_names(declared[name]) if not m.startswith("__")}, name


def test_everything_public_is_documented():
    for name in sigrun.__all__:
        assert name == "__version__" or getattr(sigrun, name).__doc__, name
    for cls in (sigrun.Interpreter, sigrun.SignatureRunner):
        for name in dir(cls):
            assert name.startswith("_") or isinstance(getattr(cls, name), property) or getattr(cls, name).__doc__, name


def test_gil_is_released_while_running(model_path):
    """A thread that counts goes on while another one runs a model."""
    run = sigrun.Interpreter(model_path=model_path("dynamic_batch")).get_signature_runner()
    image = np.zeros((4096, 8, 8, 3), np.float32)
    run(image=image)
    ticks, stop = 0, threading.Event()

    def tick():
        nonlocal ticks
        while not stop.is_set():
            ticks += 1
            time.sleep(0)

    thread = threading.Thread(target=tick)
    thread.start()
    before = ticks
    end = time.perf_counter() + 0.3
    while time.perf_counter() < end:
        run(image=image)
    during = ticks - before
    stop.set()
    thread.join()
    assert during > 10

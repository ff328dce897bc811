"""What the tests share: the models of tests/models and random inputs for them."""

import pathlib
import sys

import numpy as np
import pytest

MODELS = pathlib.Path(__file__).parent.parent / "models"


@pytest.fixture(scope="session")
def models():
    """The folder of the test models."""
    return MODELS


@pytest.fixture(scope="session")
def model_path():
    """model_path("dense2_dense1") -> the path of that file."""

    def path(name):
        found = MODELS / f"{name}.tflite"
        assert found.exists(), f"no test model '{name}'"
        return str(found)

    return path


@pytest.fixture(scope="session")
def builder(models):
    """The script that makes the test models, as a module."""
    sys.path.insert(0, str(models))
    try:
        import make_models
    finally:
        sys.path.remove(str(models))
    return make_models


@pytest.fixture
def rng(request):
    """A generator that every test seeds by its own name."""
    return np.random.default_rng(list(request.node.name.encode()))

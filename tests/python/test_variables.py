"""Variables as arrays: read, set, saved and loaded."""

import numpy as np
import pytest
from test_state import counter

import sigrun


def interpreter():
    return sigrun.Interpreter(model_content=counter())


def test_values_are_those_that_the_signatures_see(tmp_path):
    first = interpreter()
    values = first.get_variables()
    assert set(values) == {"total"}  # `last` has no value yet
    np.testing.assert_array_equal(values["total"], [10, 20])
    first.get_signature_runner("add")(x=np.float32([1, 2]))
    np.testing.assert_array_equal(first.get_variables()["total"], [11, 22])
    first.set_variables({"total": [5, 6]})
    assert [5, 6] in [value.tolist() for value in first.get_signature_runner("get")().values()]

    first.save_variables(tmp_path / "state.npz")
    with np.load(tmp_path / "state.npz") as file:
        np.testing.assert_array_equal(file["total"], [5, 6])
    second = interpreter()
    np.testing.assert_array_equal(second.get_variables()["total"], [10, 20])
    second.load_variables(tmp_path / "state.npz")
    for name, value in first.get_variables().items():
        np.testing.assert_array_equal(second.get_variables()[name], value)


def test_copies_are_copies():
    first = interpreter()
    first.get_variables()["total"][...] = 0
    np.testing.assert_array_equal(first.get_variables()["total"], [10, 20])


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"total": np.float32([7, 7]), "totl": np.float32([1, 2])}, ValueError, "totl"),
        ({"total": np.float64([1, 2])}, sigrun.DTypeError, "variable 'total' is of type float32, got float64"),
        ({"total": np.float32([1, 2, 3])}, sigrun.ShapeError, r"variable 'total' has the shape \[2\], got \[3\]"),
    ],
)
def test_nothing_is_set_unless_all_is_right(values, error, message):
    first = interpreter()
    with pytest.raises(error, match=message):
        first.set_variables(values)
    np.testing.assert_array_equal(first.get_variables()["total"], [10, 20])

"""Values on their way in and out of a model: casts as numpy has them, and floats for quantised tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sigrun import _core

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

    Details = Mapping[str, Mapping[str, Any]]

Cast = Literal["no", "safe", "same_kind"]
CASTS = ("no", "safe", "same_kind")


def cast_inputs(inputs: Mapping[str, ArrayLike], details: Details, cast: Cast) -> dict[str, ArrayLike]:
    """The inputs as arrays of the tensors' dtypes, where numpy's rule `cast` allows it; what is unknown or a string stays as it is.

    Raises:
        DTypeError: the rule forbids it.
        ValueError: no such rule.
    """
    if cast not in CASTS:
        raise ValueError(f"cast should be one of 'no', 'safe' and 'same_kind', got {cast!r}")
    converted = dict(inputs)
    for name, value in inputs.items():
        dtype = np.dtype(details[name]["dtype"]) if name in details else None
        if cast == "no" or dtype is None or dtype.kind in "SO" or not hasattr(value, "dtype"):
            continue  # Python's numbers and lists are converted anyway, and checked by value
        array = np.asarray(value)
        if array.dtype == dtype:
            continue
        if not np.can_cast(array.dtype, dtype, cast):
            raise _core.DTypeError(f"input '{name}': cannot cast {array.dtype} to {dtype} by the rule {cast!r}")
        converted[name] = array.astype(dtype)
    return converted


def quantize(value: ArrayLike, details: Mapping[str, Any]) -> ArrayLike:
    """Floats in the tensor's quantised type: value / scale + zero point, rounded half away from zero as LiteRT does, saturated.

    What is no float, or has no float's meaning here (the tensor is not quantised), stays as it is.
    """
    axis = _scales(details)
    if axis is None:
        return value
    array = np.asarray(value)
    if array.dtype.kind != "f":
        return value
    scale, zero_point = axis
    limits = np.iinfo(details["dtype"])
    steps = array.astype(np.float64) / scale
    rounded = np.trunc(steps + np.copysign(0.5, steps)) + zero_point
    return np.clip(rounded, limits.min, limits.max).astype(details["dtype"])


def dequantize(value: NDArray[Any], details: Mapping[str, Any]) -> NDArray[Any]:
    """The float32 meaning of a quantised tensor's values; others stay as they are."""
    axis = _scales(details)
    if axis is None:
        return value
    scale, zero_point = axis
    return ((value.astype(np.float64) - zero_point) * scale).astype(np.float32)


def _scales(details: Mapping[str, Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Scale and zero point, ready to broadcast; None if the tensor is not a quantised integer."""
    parameters = details["quantization_parameters"]
    scales, zero_points = np.asarray(parameters["scales"], np.float64), np.asarray(parameters["zero_points"], np.float64)
    if scales.size == 0 or parameters.get("block_size", 0) or np.dtype(details["dtype"]).kind not in "iu":
        return None
    shape = [1] * len(details["shape"])
    if scales.size > 1:
        shape[parameters["quantized_dimension"]] = scales.size
    return scales.reshape(shape if scales.size > 1 else ()), zero_points.reshape(shape if zero_points.size > 1 else ())

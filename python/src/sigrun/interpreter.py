"""The interpreter and its signature runners, with the names and messages of LiteRT's Python interface."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from sigrun import _core
from sigrun.profile import Profile

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray
    from typing_extensions import Buffer


class OpResolverType(enum.Enum):
    """LiteRT's choice of kernels. Accepted, and without effect: sigrun has one set of kernels for everything."""

    AUTO = 0
    BUILTIN = 1
    BUILTIN_REF = 2
    BUILTIN_WITHOUT_DEFAULT_DELEGATES = 3


class SignatureRunner(_core.SignatureRunner):
    """One signature of a model, callable with its inputs by name.

    >>> add = interpreter.get_signature_runner("add")
    >>> add(x=np.float32([1, 2]), y=np.float32([3, 4]))
    {'sum': array([4., 6.], dtype=float32)}

    A call takes every input of the signature as a keyword argument: an array of the input's dtype, in any memory layout, or Python numbers
    and (nested) lists, which are converted as long as nothing but float precision is lost; strings are bytes or str. Where a shape differs
    from the current one, the input is resized and the signature planned again; the last plans are kept. The result is a dictionary of new
    arrays, in alphabetical order; strings come as object arrays of bytes.

    The runner has memory of its own: it shares only weights, and the model's variables, with other runners. Different runners may run at
    the same time in different threads; calls of one runner are serialised, each from its inputs to its outputs.

    Beside the call stand the native steps, without a copy: `resize_input_tensor`, `allocate_tensors`, `input_tensor`, `invoke`,
    `output_tensor`; and `run`, which takes the inputs in a mapping and can write into arrays of the caller's.

    A call raises:
        ValueError: an input is missing, unknown, or of another dtype.
        InvalidArgumentError: the operators cannot take these shapes (a ValueError and a RuntimeError).
        RuntimeError: an operator refuses the values that it reads, or a view shows memory that a new shape would move.
    """

    def __init__(self, interpreter: Interpreter, signature_key: str | None = None) -> None:
        """Makes a new runner; `Interpreter.get_signature_runner` is the usual way."""
        if signature_key == "":
            raise ValueError("None signature_key provided.")
        super().__init__(interpreter, signature_key)
        names = f"{', '.join(self.input_names)} -> {', '.join(self.output_names)}"
        self._text = f"<sigrun.SignatureRunner {self.signature_key!r}: {names}>"

    def profile(self, count: int = 20) -> Profile:
        """Returns what each operator takes; see `Interpreter.profile`."""
        return Profile(self._profile(count))

    def __repr__(self) -> str:
        return getattr(self, "_text", object.__repr__(self))  # __init__ may have failed


class Interpreter(_core.Interpreter):
    """A model ready to run; takes the place of `ai_edge_litert.interpreter.Interpreter`.

    By name, through signatures:

    >>> runner = sigrun.Interpreter(model_path="model.tflite").get_signature_runner()
    >>> runner(x=image)["scores"]

    By tensor index, for subgraph 0:

    >>> interpreter.allocate_tensors()
    >>> interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    >>> interpreter.invoke()
    >>> scores = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    """

    def __init__(
        self,
        model_path: str | bytes | os.PathLike[str] | None = None,
        model_content: Buffer | None = None,
        experimental_delegates: Sequence[object] | None = None,
        num_threads: int | None = None,
        experimental_op_resolver_type: OpResolverType = OpResolverType.AUTO,
        experimental_preserve_all_tensors: bool = False,
        *,
        model: _core.Model | None = None,
        precision: str = "highest",
        **experimental: Any,
    ) -> None:
        """Loads a model: from exactly one of `model_path`, `model_content` and `model`.

        Args:
            model_path: a .tflite file; it is mapped, not read.
            model_content: an object with a buffer (bytes, bytearray, memoryview, mmap ...), used in place and kept alive.
            model: a `Model` that other interpreters may share, with its packed weights.
            precision: of the products in float32 matrix products and convolutions, whose sums are always float32: "highest" (float32),
                "high" (each number as two bfloat16, three products) or "medium" (each number rounded to bfloat16). Where this machine would
                not gain by it, float32 is used; `build_info()["precisions"]` tells.
            num_threads: how many threads an operator may use; 1 if not given. The results do not depend on it.
            experimental_delegates: must be empty; there are no delegates.
            experimental_op_resolver_type: accepted, without effect.
            experimental_preserve_all_tensors: must be false; memory of intermediate tensors is reused.
            experimental: LiteRT's other experimental options: accepted, without effect.

        Raises:
            ValueError: none or several models are given, the model is no valid one, or an option has no place here or no such value.
        """
        _check_options(num_threads, experimental_delegates, experimental_op_resolver_type, experimental_preserve_all_tensors, experimental)
        super().__init__(_load(model_path, model_content, model), 1 if num_threads is None else num_threads, str(precision))

    def get_signature_runner(self, signature_key: str | None = None) -> SignatureRunner:
        """Returns a new, independent runner of a signature.

        Args:
            signature_key: may be left out if the model has one signature, or none at all: subgraph 0 is then the signature
                "serving_default", with the names of its tensors.

        Raises:
            ValueError: no such signature, or several and no key.
            RuntimeError: the signature needs operators that this build lacks; the message names them all.
        """
        return SignatureRunner(self, signature_key)

    def profile(self, count: int = 20) -> Profile:
        """Runs subgraph 0 on its inputs as they are, once and then `count` times with a clock, and returns what each operator takes.

        >>> print(interpreter.profile())

        Operators that were folded, or fused into their neighbours, are not listed. Outside of this call no clock is read.

        Raises:
            ValueError: count is below 1.
            RuntimeError: as for invoke().
        """
        return Profile(self._profile(count))

    def tensor(self, tensor_index: int) -> Callable[[], NDArray[Any]]:
        """Returns a function that gives a view of an input's, output's or constant's memory: an array, no copy.

        The view keeps its memory alive by itself and may be held while running, which shows through it. While it lives, allocate_tensors()
        refuses to give this tensor another shape. Views of constants are read-only.

        The function raises:
            ValueError: an index out of range, an intermediate tensor, tensors are not allocated, or strings or packed integers, which
                numpy cannot show in place.
        """
        return lambda: self._view(tensor_index)


def _check_options(
    num_threads: object, delegates: Sequence[object] | None, resolver: object, preserve_all_tensors: bool, experimental: dict[str, Any]
) -> None:
    if num_threads is not None:
        if not isinstance(num_threads, int):
            raise ValueError("type of num_threads should be int")
        if num_threads < 1:
            raise ValueError("num_threads should >= 1")
    if not isinstance(resolver, OpResolverType) and type(resolver).__name__ != "OpResolverType":
        raise ValueError(f"Unrecognized passed in op resolver type: {resolver}")
    if delegates:
        raise ValueError("experimental_delegates: sigrun has no delegates, its own kernels run every operator")
    if preserve_all_tensors:
        raise ValueError("experimental_preserve_all_tensors: the memory of intermediate tensors is reused and cannot be kept")
    for name in experimental:
        if not name.startswith("experimental_"):
            raise TypeError(f"Interpreter() got an unexpected keyword argument {name!r}")


def _load(path: str | bytes | os.PathLike[str] | None, content: Buffer | None, model: _core.Model | None) -> _core.Model:
    if model is not None and not path and content is None:
        return model
    if path and content is None and model is None:
        return _core.Model.from_file(path)
    if content is not None and not path and model is None and memoryview(content).nbytes > 0:
        return _core.Model.from_buffer(content)
    if path and content is not None:
        raise ValueError("Can't both provide `model_path` and `model_content`")
    if model is not None:
        raise ValueError("Can't provide `model` and `model_path` or `model_content`")
    raise ValueError("`model_path` or `model_content` must be specified.")

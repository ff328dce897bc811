"""The interpreter and its signature runners, with the names and messages of LiteRT's Python interface."""

from __future__ import annotations

import enum
import functools
import itertools
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sigrun import _core, values
from sigrun.model import Model
from sigrun.plan import Memory, Plan
from sigrun.profile import Profile

if TYPE_CHECKING:
    import os

    from numpy.typing import ArrayLike, NDArray
    from typing_extensions import Buffer

QuantizedIO = Literal["raw", "float"]

_LOG = logging.getLogger("sigrun")


class OpResolverType(enum.Enum):
    """LiteRT's choice of kernels: BUILTIN_REF takes sigrun's scalar tier, the others the best of this machine. Integers are the same."""

    AUTO = 0
    BUILTIN = 1
    BUILTIN_REF = 2
    BUILTIN_WITHOUT_DEFAULT_DELEGATES = 3


class DelegateError(OSError, ValueError):
    """There are no delegates. Both what LiteRT raises for one that cannot be loaded, and what it says that it raises."""


class Delegate:
    """LiteRT's handle of a delegate; making one is refused."""

    def __init__(self, library: str, options: Mapping[str, object] | None = None) -> None:
        """Raises DelegateError (an OSError and a ValueError)."""
        raise DelegateError(f"Failed to load delegate from {library}: sigrun has none, its own kernels run every operator")


def load_delegate(library: str, options: Mapping[str, object] | None = None) -> Delegate:
    """Raises DelegateError (an OSError and a ValueError), which programs that can do without a delegate catch."""
    return Delegate(library, options)


class SignatureRunner(_core.SignatureRunner):
    """One signature of a model, callable with its inputs.

    >>> add = interpreter.get_signature_runner("add")
    >>> add(x=np.float32([1, 2]), y=np.float32([3, 4]))
    {'sum': array([4., 6.], dtype=float32)}

    A call takes every input of the signature, by name, or by position in the order of `input_names`: an array of the input's dtype, in any
    memory layout, anything with `__array__`, `__dlpack__` or a buffer, or Python numbers and (nested) lists, which are converted as long
    as nothing but float precision is lost; strings are bytes or str. Where a shape differs from the current one, the input is resized and
    the signature planned again; the last plans are kept. The result is a dictionary of new arrays, in alphabetical order; strings come as
    object arrays of bytes.

    Arrays that are C-contiguous and of the right dtype are read where they stand, without a copy, and a call leaves the runner's own input
    tensors alone, except those that a view shows.

    The runner has memory of its own: it shares only weights, and the model's variables, with other runners. Different runners may run at
    the same time in different threads; calls of one runner are serialised, each from its inputs to its outputs.

    Beside the call stand the native steps, without a copy: `resize_input_tensor`, `allocate_tensors`, `input_tensor`, `invoke`,
    `output_tensor`; and `run`, which takes the inputs in a mapping and can write into arrays of the caller's.

    A call raises:
        SignatureError: an input is missing or unknown (a ValueError).
        DTypeError: an input is of another dtype (a ValueError).
        InvalidArgumentError: the operators cannot take these shapes (a ValueError and a RuntimeError).
        DataError: an operator refuses the values that it reads (a RuntimeError).
        HeldViewError: a view shows memory that a new shape would move (a RuntimeError).
    """

    def __init__(self, interpreter: Interpreter, signature_key: str | None = None) -> None:
        """Makes a new runner; `Interpreter.get_signature_runner` is the usual way."""
        if signature_key == "":
            raise _core.SignatureError("None signature_key provided.")
        super().__init__(interpreter, signature_key)
        self._interpreter = interpreter
        self._asked_key = signature_key
        self._turn = threading.Lock()  # guards _running
        self._running: object = None  # the call_async() whose run is under way
        names = f"{', '.join(self.input_names)} -> {', '.join(self.output_names)}"
        self._text = f"<sigrun.{type(self).__name__} {self.signature_key!r}: {names}>"

    def run(
        self,
        inputs: Mapping[str, ArrayLike],
        out: Mapping[str, NDArray[Any]] | None = None,
        *,
        cast: values.Cast = "no",
        timeout: float | None = None,
    ) -> dict[str, NDArray[Any]]:
        """Runs the signature like a call, with the inputs in a mapping.

        Args:
            inputs: {name: value} with every input of the signature.
            out: {name: array}: outputs that are written straight into arrays of the caller's, C-contiguous and of the output's dtype and
                shape; the others are new. After a run that failed on its way their content is undefined.
            cast: which casts of arrays are allowed, by numpy's rule of that name: "no", "safe" or "same_kind".
            timeout: seconds after which the run ends with TimedOutError, before its next operator.

        Returns:
            {name: array} of all outputs, in alphabetical order; an array of `out` stands for its output.

        Raises:
            ShapeError, DTypeError, SignatureError: as for a call, or an array of `out` does not fit; nothing is written then.
            TimedOutError, CancelledError: the runner can be used again.
        """
        if cast != "no":
            inputs = values.cast_inputs(inputs, self.get_input_details(), cast)
        return self._run(inputs, out, timeout)

    def bind_state(self, states: Mapping[str, str] | Iterable[str]) -> None:
        """Makes outputs the next values of inputs, in place of what was bound before: the caches of a transformer, the state of a cell.

        >>> decode.bind_state({"k_cache_in": "k_cache_out", "v_cache_in": "v_cache_out"})

        From then on every run leaves the output in the input. Where the operators allow it, as DYNAMIC_UPDATE_SLICE does, both are the same
        memory, which is changed in place: no run copies it. A call may leave bound inputs out, which then keep their state, or give them to
        set it; its result leaves bound outputs out, unless `out` asks for them. `input_tensor` and `output_tensor` show them.

        A state is zeros at first and after `reset_state()`. A run that fails leaves it with any content, and a new shape starts it anew.

        Args:
            states: {input name: output name}, or names that stand for an input and an output. Empty to bind none.

        Raises:
            SignatureError: an unknown name, or one that comes twice; strings, another type, quantisation or shape; an input that is another
                output too (a ValueError).
            HeldViewError: a view shows a bound output's memory, which would move (a RuntimeError).
        """
        if isinstance(states, str):
            raise TypeError(f"states should be a mapping or several names, got the name {states!r}")
        pairs = states.items() if isinstance(states, Mapping) else ((name, name) for name in states)
        self._bind_state(list(pairs))

    async def call_async(self, **inputs: ArrayLike) -> dict[str, NDArray[Any]]:
        """Calls the signature in a thread of the event loop's executor. Cancelling the task cancels the run."""
        import asyncio

        ticket = object()
        dropped = threading.Event()

        def work() -> dict[str, NDArray[Any]]:
            with self._one_at_a_time:
                with self._turn:
                    if dropped.is_set():
                        raise _core.CancelledError("the call was cancelled before it began")
                    self._running = ticket
                try:
                    return self(**inputs)
                finally:
                    with self._turn:
                        self._running = None

        try:
            return await asyncio.get_running_loop().run_in_executor(None, work)
        except asyncio.CancelledError:
            with self._turn:
                dropped.set()
                if self._running is ticket:
                    self.cancel()
            raise

    @functools.cached_property
    def _one_at_a_time(self) -> threading.Lock:
        return threading.Lock()

    def map(self, items: Iterable[Mapping[str, ArrayLike] | ArrayLike], batch: int = 32) -> Iterator[dict[str, NDArray[Any]]]:
        """Runs single examples in batches along the first dimension, which every input and output must have, and yields theirs in order.

        Args:
            items: {name: example}, or the example itself where there is one input; each without the batch dimension. Taken as needed.
            batch: the most examples of one run. The last run may be smaller.

        Yields:
            {name: array} without the batch dimension, one for each item.

        Raises:
            ShapeError: the signature cannot run a batch of this size, or an output has no batch dimension.
            ValueError: `batch` is below 1.
        """
        if batch < 1:
            raise ValueError(f"batch should be at least 1, got {batch}")
        details = self.get_input_details()
        for name, tensor in details.items():
            signature = tensor["shape_signature"]
            if len(signature) == 0 or (signature[0] != -1 and signature[0] != batch):
                fixed = f"the fixed first dimension {signature[0]}" if len(signature) else "no dimension"
                raise _core.ShapeError(f"input '{name}' has {fixed}, it cannot take batches of up to {batch}")
        return self._map(items, batch, list(details))

    def _map(
        self, items: Iterable[Mapping[str, ArrayLike] | ArrayLike], batch: int, names: Sequence[str]
    ) -> Iterator[dict[str, NDArray[Any]]]:
        source = iter(items)
        while chunk := list(itertools.islice(source, batch)):
            examples = [item if isinstance(item, Mapping) else {names[0]: item} for item in chunk]
            # An example that lacks an input is reported by the call, which knows all names.
            given = examples[0].keys()
            results = self(**{name: np.stack([np.asarray(example[name]) for example in examples]) for name in given})
            for name, value in results.items():
                if value.ndim == 0 or len(value) != len(chunk):
                    raise _core.ShapeError(f"output '{name}' of shape {list(value.shape)} has no batch dimension of {len(chunk)}")
            for i in range(len(chunk)):
                yield {name: value[i] for name, value in results.items()}

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._interpreter, self._asked_key)

    def __copy__(self) -> SignatureRunner:
        return type(self)(self._interpreter, self._asked_key)

    @property
    def plan(self) -> Plan:
        """The steps of the current plan, with the kernels that were chosen.

        Raises:
            ValueError: tensors are not allocated: no call and no allocate_tensors() yet.
        """
        return Plan(self._report())

    @property
    def memory(self) -> Memory:
        """What the current plan takes: the arena and its map, inputs and outputs, weights, packed weights.

        Raises:
            ValueError: tensors are not allocated: no call and no allocate_tensors() yet.
        """
        return Memory(self._report())

    def profile(self, count: int = 20) -> Profile:
        """Returns what each operator takes; see `Interpreter.profile`."""
        return Profile(self._profile(count))

    def __repr__(self) -> str:
        return getattr(self, "_text", object.__repr__(self))  # __init__ may have failed


class FloatSignatureRunner(SignatureRunner):
    """A runner that takes and gives floats where the model has quantised integers; made by `get_signature_runner(quantized_io="float")`.

    Floats are quantised by the tensor's scale and zero point, rounded half away from zero and saturated; integers are taken as they are.
    Quantised outputs come as float32. The native steps (`input_tensor` ...) still show the model's own integers.
    """

    def __call__(self, *positional: ArrayLike, **inputs: ArrayLike) -> dict[str, NDArray[Any]]:
        named = dict(zip(self.input_names, positional, strict=False))
        if len(positional) > len(self.input_names) or named.keys() & inputs.keys():
            super().__call__(*positional, **inputs)  # says what is wrong
        return self._dequantized(self._run_floats({**named, **inputs}, None))

    def run(
        self,
        inputs: Mapping[str, ArrayLike],
        out: Mapping[str, NDArray[Any]] | None = None,
        *,
        cast: values.Cast = "no",
        timeout: float | None = None,
    ) -> dict[str, NDArray[Any]]:
        """Like SignatureRunner.run, in floats; `out` takes float32 arrays for quantised outputs."""
        results = self._dequantized(self._run_floats(inputs, timeout, cast))
        for name, array in (out or {}).items():
            if name not in results:
                raise _core.SignatureError(f"out has no output '{name}' to take. There are: {', '.join(map(repr, results))}.")
            if array.shape != results[name].shape:
                raise _core.ShapeError(f"out['{name}'] has the shape {list(array.shape)}, the output {list(results[name].shape)}")
            if array.dtype != results[name].dtype:
                raise _core.DTypeError(f"out['{name}'] is of type {array.dtype}, the output of type {results[name].dtype}")
        for name, array in (out or {}).items():
            np.copyto(array, results[name])
            results[name] = array
        return results

    def _run_floats(self, inputs: Mapping[str, ArrayLike], timeout: float | None, cast: values.Cast = "no") -> dict[str, NDArray[Any]]:
        details = self.get_input_details()
        quantized = {name: values.quantize(value, details[name]) if name in details else value for name, value in inputs.items()}
        return super().run(quantized, None, cast=cast, timeout=timeout)

    def _dequantized(self, results: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        details = self.get_output_details()
        return {name: values.dequantize(value, details[name]) for name, value in results.items()}


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

    An interpreter can be pickled and copied: the copy runs the same model with the same options, in memory of its own.
    """

    def __init__(
        self,
        model_path: str | bytes | os.PathLike[str] | None = None,
        model_content: Buffer | None = None,
        experimental_delegates: Sequence[object] | None = None,
        num_threads: int | None = None,
        experimental_op_resolver_type: OpResolverType = OpResolverType.AUTO,
        experimental_preserve_all_tensors: bool = False,
        experimental_disable_delegate_clustering: bool = False,
        experimental_default_delegate_latest_features: bool = False,
        experimental_compress_quantization_zero_points: bool = False,
        experimental_disable_delegate_node_fusion: bool = False,
        experimental_force_delegate_node_profiling: bool = False,
        *,
        model: _core.Model | None = None,
        precision: str = "highest",
    ) -> None:
        """Loads a model: from exactly one of `model_path`, `model_content` and `model`.

        Args:
            model_path: a .tflite file; it is mapped, not read.
            model_content: an object with a buffer (bytes, bytearray, memoryview, mmap ...), used in place and kept alive.
            model: a `Model` that other interpreters may share, with its packed weights.
            num_threads: how many threads an operator may use; 1 if not given. The results do not depend on it.
            precision: of the products in float32 matrix products and convolutions, whose sums are always float32: "highest" (float32, or
                three bfloat16 for each number, which is as exact),
                "high" (each number split into two bfloat16, three products) or "medium" (bfloat16). Permissions: where this machine would
                not gain by it, float32 is used; `build_info()["precisions"]` tells.
            experimental_delegates: must be empty; there are no delegates.
            experimental_op_resolver_type: BUILTIN_REF runs the scalar kernels, every other the best of this machine.
            experimental_preserve_all_tensors: keeps every intermediate tensor, for get_tensor(). The results stay the same.
            experimental_compress_quantization_zero_points: kept as the property of this name; sigrun stores them once anyway.
            experimental_disable_delegate_clustering, experimental_default_delegate_latest_features,
                experimental_disable_delegate_node_fusion, experimental_force_delegate_node_profiling: about delegates; without effect.

        Raises:
            ValueError: none or several models are given, or an option has no place here.
            ModelError: the file cannot be opened, or is no valid model (a ValueError).
        """
        _check_options(num_threads, experimental_delegates, experimental_op_resolver_type)
        threads = 1 if num_threads is None else num_threads
        reference = experimental_op_resolver_type.name == "BUILTIN_REF"
        preserve = bool(experimental_preserve_all_tensors)
        self._model = _load(model_path, model_content, model)
        super().__init__(self._model, threads, str(precision), reference, preserve)
        self._options = {
            "num_threads": threads,
            "precision": self.precision,
            "experimental_op_resolver_type": OpResolverType[experimental_op_resolver_type.name],
            "experimental_preserve_all_tensors": preserve,
        }
        self._compress_zero_points = bool(experimental_compress_quantization_zero_points)
        self._runners: dict[str | None, SignatureRunner] = {}
        self._log_what_was_made()

    def _log_what_was_made(self) -> None:
        if not _LOG.isEnabledFor(logging.DEBUG):
            return
        info = _core.build_info()
        tier = "scalar" if self._options["experimental_op_resolver_type"] is OpResolverType.BUILTIN_REF else info["tier_in_use"]
        numbers = info["precisions"][self.precision]
        _LOG.debug("interpreter of %r: kernels %s, threads %d, products in %s", self._model, tier, self._options["num_threads"], numbers)

    @property
    def model(self) -> _core.Model:
        """The model, for further interpreters of it."""
        return self._model

    @property
    def experimental_compress_quantization_zero_points(self) -> bool:
        """What the constructor was given."""
        return self._compress_zero_points

    def get_signature_runner(self, signature_key: str | None = None, *, quantized_io: QuantizedIO = "raw") -> SignatureRunner:
        """Returns a new, independent runner of a signature.

        Args:
            signature_key: may be left out if the model has one signature, or none at all: subgraph 0 is then the signature
                "serving_default", with the names of its tensors.
            quantized_io: "float" for a runner that takes and gives floats where the model has quantised integers.

        Raises:
            SignatureError: no such signature, or several and no key (a ValueError).
            UnsupportedOpError: the signature needs operators that this build lacks; names them all (a RuntimeError).
        """
        if quantized_io not in ("raw", "float"):
            raise ValueError(f"quantized_io should be 'raw' or 'float', got {quantized_io!r}")
        return (FloatSignatureRunner if quantized_io == "float" else SignatureRunner)(self, signature_key)

    def run_signature(
        self, inputs: Mapping[str, ArrayLike], outputs: Mapping[str, NDArray[Any]] | None = None, signature_key: str | None = None
    ) -> dict[str, NDArray[Any]]:
        """Runs a signature in one call, as LiteRT's Java interface does, with outputs written into the caller's arrays.

        The runner is made by the first call and kept. See `SignatureRunner.run`.
        """
        runner = self._runners.get(signature_key)
        if runner is None:
            runner = self._runners.setdefault(signature_key, self.get_signature_runner(signature_key))
        return runner.run(inputs, outputs)

    def get_variables(self) -> dict[str, NDArray[Any]]:
        """Returns {name: array}, copies of all variables that have a value.

        These are the variables that the model assigns, by their shared names, and the tensors that it marks as variable (the states of
        recurrent operators), by theirs. What the model runs once to initialise its variables is run if it has not been. Each interpreter
        has its own, which all of its signatures share.

        Raises:
            DataError, UnsupportedOpError: the initialisation fails.
        """
        values = {name: self._get_variable(name) for name in self._variable_names}
        return {name: value for name, value in values.items() if value is not None}

    def set_variables(self, values: Mapping[str, ArrayLike]) -> None:
        """Sets some or all variables. All values are checked before the first is set.

        Raises:
            InvalidArgumentError: there is no variable of this name; the message lists them.
            DTypeError, ShapeError: a variable that has a value keeps its dtype and shape.
        """
        arrays = {name: _variable(name, value, self._get_variable(name)) for name, value in values.items()}
        for name, array in arrays.items():
            self._set_variable(name, array)

    def save_variables(self, path: str | os.PathLike[str]) -> None:
        """Writes all variables that have a value to an .npz file, which `numpy.load` reads as well."""
        import zipfile  # here, since it takes a tenth of what sigrun takes to import

        with zipfile.ZipFile(path, "w") as file:
            for name, value in self.get_variables().items():
                if value.dtype == object:
                    value = _fixed_width(name, value)
                with file.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, value, allow_pickle=False)

    def load_variables(self, path: str | os.PathLike[str]) -> None:
        """Sets the variables that `save_variables` wrote, of this model in another interpreter or process; see `set_variables`."""
        with np.load(path, allow_pickle=False) as file:
            values = {name: file[name] for name in file.files}
        self.set_variables({name: value.astype(object) if value.dtype.kind == "S" else value for name, value in values.items()})

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
            ValueError: an index out of range, an intermediate tensor that is not preserved, tensors are not allocated, or strings or packed
                integers, which numpy cannot show in place.
        """
        return lambda: self._view(tensor_index)

    def _get_tensor_details(self, tensor_index: int, subgraph_index: int = 0) -> dict[str, Any]:
        details = self.get_tensor_details(subgraph_index)
        if not 0 <= tensor_index < len(details):
            raise ValueError(f"Invalid tensor index {tensor_index} exceeds max tensor index {len(details)}")
        return details[tensor_index]

    def _safe_to_run(self) -> bool:
        return True  # views own what they show

    def _ensure_safe(self) -> None:
        """LiteRT's check for views, which are always safe here."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self._model, self._options)

    def __copy__(self) -> Interpreter:
        return _rebuild(type(self), self._model, self._options)

    def __deepcopy__(self, memo: dict[int, Any]) -> Interpreter:
        return _rebuild(type(self), self._model, self._options)

    def __repr__(self) -> str:
        return f"<sigrun.{type(self).__name__} of {getattr(self, '_model', None)!r}, {self._options['num_threads']} threads>"


class InterpreterWithCustomOps(Interpreter):
    """An `Interpreter` that first registers custom operators, as LiteRT's class of this name does.

    Args:
        custom_op_registerers: functions that are called with `register_op`. (LiteRT's take a pointer to its C++ resolver, or are names of
            C functions, neither of which means anything here.)
        All others are those of `Interpreter`.

    Raises:
        ValueError: an element is no function.
    """

    def __init__(self, custom_op_registerers: Sequence[Callable[..., object]] | None = None, **options: Any) -> None:
        for registerer in custom_op_registerers or ():
            if not callable(registerer):
                raise ValueError(f"custom_op_registerers should be functions that take sigrun.register_op, got {registerer!r}")
            registerer(_core.register_op)
        super().__init__(**options)


def _rebuild(cls: type[Interpreter], model: _core.Model, options: dict[str, Any]) -> Interpreter:
    return cls(model=model, **options)


def _check_options(num_threads: object, delegates: Sequence[object] | None, resolver: object) -> None:
    if num_threads is not None:
        if not isinstance(num_threads, int):
            raise ValueError("type of num_threads should be int")
        if num_threads < 1:
            raise ValueError("num_threads should >= 1")
    if not isinstance(resolver, OpResolverType) and type(resolver).__name__ != "OpResolverType":
        raise ValueError(f"Unrecognized passed in op resolver type: {resolver}")
    if delegates:
        raise ValueError("experimental_delegates: sigrun has no delegates, its own kernels run every operator")


def _load(path: str | bytes | os.PathLike[str] | None, content: Buffer | None, model: _core.Model | None) -> _core.Model:
    if model is not None and not path and content is None:
        return model
    if path and content is None and model is None:
        return Model(path)
    if content is not None and not path and model is None and memoryview(content).nbytes > 0:
        return Model(model_content=content)
    if path and content is not None:
        raise ValueError("Can't both provide `model_path` and `model_content`")
    if model is not None:
        raise ValueError("Can't provide `model` and `model_path` or `model_content`")
    raise ValueError("`model_path` or `model_content` must be specified.")


def _variable(name: str, value: ArrayLike, current: NDArray[Any] | None) -> NDArray[Any]:
    array = np.asarray(value, dtype=None if current is None or hasattr(value, "dtype") else current.dtype)
    if array.dtype.kind in "SU":
        array = array.astype(object)
    if current is not None and array.dtype != current.dtype:
        raise _core.DTypeError(f"variable '{name}' is of type {current.dtype}, got {array.dtype}")
    if current is not None and array.shape != current.shape:
        raise _core.ShapeError(f"variable '{name}' has the shape {list(current.shape)}, got {list(array.shape)}")
    return array


def _fixed_width(name: str, strings: NDArray[Any]) -> NDArray[Any]:
    """Strings in a dtype that needs no pickle."""
    if any(text.endswith(b"\0") for text in strings.ravel()):
        raise ValueError(f"variable '{name}' holds strings that end in a zero byte, which .npz files lose")
    return strings.astype("S")

"""sigrun in the place of LiteRT, for programs that cannot be edited."""

from __future__ import annotations

import importlib.machinery
import sys
import types
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sigrun import interpreter

if TYPE_CHECKING:  # to import it takes as long as the rest of sigrun
    from importlib.abc import Loader

_NAMES = ("Interpreter", "InterpreterWithCustomOps", "SignatureRunner", "OpResolverType", "Delegate", "load_delegate")


def stand_in() -> None:
    """Puts sigrun in the place of `tflite_runtime.interpreter`, `ai_edge_litert.interpreter` and `tensorflow.lite.Interpreter`.

    Call it before the program imports one of them. TensorFlow itself, where it is installed, stays what it is; only `tf.lite`'s interpreter
    is replaced. Where it is not, `import tensorflow as tf` gives a module that has `tf.lite.Interpreter` and nothing else.

    >>> sigrun.stand_in()
    >>> import tflite_runtime.interpreter as tflite
    >>> tflite.Interpreter
    <class 'sigrun.interpreter.Interpreter'>
    """
    for package in ("tflite_runtime", "ai_edge_litert"):
        _register(package, {"interpreter": _interpreter_module(f"{package}.interpreter")})
    if "tensorflow" in sys.modules:
        _replace_in(sys.modules["tensorflow"])
    elif not any(isinstance(finder, _TensorFlowFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _TensorFlowFinder())


def _interpreter_module(name: str) -> types.ModuleType:
    module = types.ModuleType(name, interpreter.__doc__)
    for attribute in _NAMES:
        setattr(module, attribute, getattr(interpreter, attribute))
    return module


def _register(package: str, children: dict[str, types.ModuleType]) -> types.ModuleType:
    parent = sys.modules.get(package)
    if parent is None:
        parent = types.ModuleType(package)
        parent.__path__ = []
        sys.modules[package] = parent
    for name, child in children.items():
        setattr(parent, name, child)
        sys.modules[f"{package}.{name}"] = child
    return parent


def _lite_module() -> Any:
    lite: Any = _interpreter_module("tensorflow.lite")
    lite.__path__ = []
    experimental: Any = types.ModuleType("tensorflow.lite.experimental")
    experimental.load_delegate = interpreter.load_delegate
    experimental.OpResolverType = interpreter.OpResolverType
    lite.experimental = experimental
    return lite


def _replace_in(tensorflow: types.ModuleType) -> None:
    lite: Any = getattr(tensorflow, "lite", None)
    if lite is None:
        tensorflow.lite = _lite_module()  # type: ignore[attr-defined]
        return
    lite.Interpreter = interpreter.Interpreter
    behind: Any = sys.modules.get("tensorflow.lite.python.interpreter")
    if behind is not None:
        behind.Interpreter = interpreter.Interpreter
        behind.load_delegate = interpreter.load_delegate
    if hasattr(lite, "experimental"):
        lite.experimental.load_delegate = interpreter.load_delegate


class _TensorFlowFinder:
    """A finder and loader of modules: finds tensorflow where it is and replaces its interpreter, or makes one that has nothing else."""

    def __init__(self) -> None:
        self._loader: Loader | None = None

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != "tensorflow":
            return None
        found = importlib.machinery.PathFinder.find_spec(fullname, path)
        self._loader = found.loader if found is not None else None
        loader: Any = self
        if found is None:
            return importlib.machinery.ModuleSpec(fullname, loader, is_package=True)
        found.loader = loader
        return found

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType | None:
        return self._loader.create_module(spec) if self._loader is not None else None

    def exec_module(self, module: types.ModuleType) -> None:
        if self._loader is not None:
            self._loader.exec_module(module)
            _replace_in(module)
            return
        lite = _lite_module()
        module.lite = lite  # type: ignore[attr-defined]
        sys.modules["tensorflow.lite"] = lite
        sys.modules["tensorflow.lite.experimental"] = lite.experimental
        python = _register("tensorflow.lite.python", {"interpreter": _interpreter_module("tensorflow.lite.python.interpreter")})
        lite.python = python

"""A model file, parsed once and shared."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from sigrun import _core

if TYPE_CHECKING:
    from typing_extensions import Buffer


class Model(_core.Model):
    """A parsed and checked .tflite file: immutable, and safe to share.

    Any number of interpreters, in any threads, use one Model with its mapped file and its packed weights: `Interpreter(model=model)`.
    A Model can be pickled: by the path of its file, or by its content if it was made from one. Copies are the Model itself.
    """

    def __init__(self, model_path: str | bytes | os.PathLike[str] | None = None, *, model_content: Buffer | None = None) -> None:
        """Maps a file, or reads bytes, bytearray, memoryview, mmap ... in place and holds the object; its bytes must not change.

        Raises:
            ValueError: not exactly one of the two is given.
            ModelError: the file cannot be opened, or is no valid model (a ValueError).
            TypeError: not a path, or not an object with a buffer.
        """
        if (model_path is None) == (model_content is None):
            raise ValueError("a Model takes either `model_path` or `model_content`")
        super().__init__(model_path, model_content)
        self._path = None if model_path is None else os.path.abspath(os.fsdecode(model_path))

    @classmethod
    def from_file(cls, path: str | bytes | os.PathLike[str]) -> Model:
        """Maps a file; str, bytes or os.PathLike."""
        return cls(path)

    @classmethod
    def from_buffer(cls, content: Buffer) -> Model:
        """Reads bytes, bytearray, memoryview, mmap ... in place and holds the object."""
        return cls(model_content=content)

    def __reduce__(self) -> tuple[Any, ...]:
        return (Model, (self._path,)) if self._path is not None else (_from_content, (self._content(),))

    def __copy__(self) -> Model:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Model:
        return self

    def __repr__(self) -> str:
        return f"<sigrun.Model {self._path or 'from memory'}: signatures {', '.join(self.signatures) or '(none)'}>"


def _from_content(content: bytes) -> Model:
    return Model(model_content=content)

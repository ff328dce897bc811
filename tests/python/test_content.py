"""Where a model may come from, and how long its bytes live."""

import gc
import mmap
import os
import shutil
import sys

import numpy as np
import pytest

import sigrun

NAME = "add_two_signatures"


def check(interpreter):
    x = np.ones((1, 3), np.float32)
    np.testing.assert_array_equal(interpreter.get_signature_runner("add")(x=x, y=x)["result"], 2 * x)


@pytest.fixture
def content(model_path):
    with open(model_path(NAME), "rb") as file:
        return file.read()


@pytest.mark.parametrize(
    "wrap",
    [
        bytes,
        bytearray,
        memoryview,
        lambda b: memoryview(bytearray(b)),
        lambda b: np.frombuffer(b, np.uint8),
        lambda b: memoryview(b + b"x")[:-1],
    ],
    ids=["bytes", "bytearray", "memoryview", "memoryview of bytearray", "array", "slice"],
)
def test_buffers(content, wrap):
    check(sigrun.Interpreter(model_content=wrap(content)))


@pytest.mark.parametrize("offset", range(1, 8))
def test_unaligned_buffers(content, offset):
    check(sigrun.Interpreter(model_content=memoryview(bytes(offset) + content)[offset:]))


def test_mmap(model_path):
    with open(model_path(NAME), "rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    interpreter = sigrun.Interpreter(model_content=mapped)
    with pytest.raises(BufferError):
        mapped.close()
    check(interpreter)
    del interpreter
    gc.collect()
    mapped.close()


def test_buffer_is_held_and_released(content):
    buffer = bytearray(content)
    interpreter = sigrun.Interpreter(model_content=buffer)
    run = interpreter.get_signature_runner("add")
    del interpreter
    gc.collect()
    with pytest.raises(BufferError):
        buffer.append(0)
    del run
    gc.collect()
    buffer.append(0)


def test_bytes_are_not_copied(content):
    references = sys.getrefcount(content)
    interpreter = sigrun.Interpreter(model_content=content)
    assert sys.getrefcount(content) == references + 1
    del interpreter
    gc.collect()
    assert sys.getrefcount(content) == references


def test_refused_buffer_is_released(content):
    buffer = bytearray(content[:100])
    with pytest.raises(ValueError, match="valid Flatbuffer"):
        sigrun.Interpreter(model_content=buffer)
    buffer.append(0)


@pytest.mark.parametrize("value", ["a string", 3, object(), [1, 2]])
def test_no_buffer(value):
    with pytest.raises(TypeError):
        sigrun.Interpreter(model_content=value)


def test_scattered_buffer(content):
    with pytest.raises(BufferError):
        sigrun.Interpreter(model_content=memoryview(content)[::2])


def test_deleted_file(model_path, tmp_path):
    path = tmp_path / "model.tflite"
    shutil.copy(model_path(NAME), path)
    interpreter = sigrun.Interpreter(model_path=path)
    path.unlink()
    check(interpreter)


def test_path_that_is_no_unicode(model_path, tmp_path):
    path = os.fsencode(tmp_path) + b"/\xff.tflite"
    try:
        shutil.copy(model_path(NAME), path)
    except OSError:
        pytest.skip("the file system takes no such names")
    check(sigrun.Interpreter(model_path=path))


def test_empty_and_truncated_files(content, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="empty"):
        sigrun.Interpreter(model_path=path)
    for size in (1, 8, 100, len(content) // 2):
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match="valid Flatbuffer"):
            sigrun.Interpreter(model_path=path)


def test_shared_model(model_path):
    model = sigrun.Model.from_file(model_path(NAME))
    assert set(model.signatures) == {"add", "mul"}
    for _ in range(3):
        check(sigrun.Interpreter(model=model))
    with pytest.raises(ValueError, match="model"):
        sigrun.Interpreter(model_path=model_path(NAME), model=model)


def test_metadata(model_path):
    model = sigrun.Model.from_file(model_path("metadata"))
    assert model.metadata
    assert all(isinstance(value, bytes) for value in model.metadata.values())
    assert isinstance(model.description, str)

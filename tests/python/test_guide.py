"""The guide's examples: typed, and with the results that it shows."""

import ast
import pathlib
import re
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from conftest import MODELS

GUIDE = pathlib.Path(__file__).parents[2] / "docs" / "signatures.md"
EXAMPLES = [block for block in re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL) if "tf." not in block]
# What the guide takes for granted.
HEAD = """
import logging
from collections.abc import Iterable
from typing import Any

from numpy.typing import NDArray

import numpy as np
import sigrun


async def guide(
    runner: sigrun.SignatureRunner, image: NDArray[np.float32],
    images: Iterable[NDArray[np.float32]], camera: Iterable[NDArray[np.float32]],
    token: NDArray[np.int32], keys: NDArray[np.float32], values: NDArray[np.float32],
) -> None:
"""


def test_examples_are_typed(tmp_path):
    pytest.importorskip("mypy")
    module = tmp_path / "guide.py"
    module.write_text(HEAD + textwrap.indent("\n".join(EXAMPLES), "    "))
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", "", "--cache-dir", str(tmp_path), str(module)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr


def test_examples_give_what_they_show(tmp_path, monkeypatch):
    shutil.copy(MODELS / "encode_decode.tflite", tmp_path / "codec.tflite")
    monkeypatch.chdir(tmp_path)
    names = {}
    shown = 0
    for example in EXAMPLES[:2]:
        lines = example.splitlines()
        for statement in ast.parse(example).body:
            text = "\n".join(lines[statement.lineno - 1 : statement.end_lineno])
            after = lines[statement.end_lineno] if statement.end_lineno < len(lines) else ""
            if after.startswith("# "):
                exec(text, names)
                target = statement.targets[0].id if isinstance(statement, ast.Assign) else None
                value = names[target] if target else eval(text, names)
                assert repr(value) == after[2:]
                shown += 1
            else:
                exec(text, names)
    assert shown == 3
    assert np.allclose(names["decode"](x=[b"1.5"])["decoded_result"], 1.5)

"""Models of one operator, made from a description of its inputs, outputs and options, and what they compute."""

import collections
import dataclasses
import sys
from typing import Any

import numpy as np
import pytest
from conftest import MODELS

import sigrun

litert = pytest.importorskip("ai_edge_litert.interpreter")
sys.path.insert(0, str(MODELS))
import make_models as mm  # noqa: E402

mm.TYPES |= {"complex64": 8, "float64": 10, "uint64": 12, "uint32": 15, "uint16": 16, "bfloat16": 18}
RNG = np.random.default_rng(7)


def stored_cases(name):
    """{case: {part: array}} of the goldens in tests/models/NAME.npz, whose keys are "case/part"."""
    cases = collections.defaultdict(dict)
    for key, value in np.load(MODELS / f"{name}.npz").items():
        case, part = key.split("/")
        cases[case][part] = value
    return cases


class Const(np.ndarray):
    """An input that the model itself holds."""


def const(value, dtype="int32"):
    return np.asarray(value, dtype).view(Const)


def real(*shape):
    return RNG.normal(0, 2, shape).astype("float32")


def ints(dtype, *shape, low=None, high=None):
    info = np.iinfo(dtype)
    return RNG.integers(info.min if low is None else low, info.max if high is None else high, shape, dtype=dtype, endpoint=True)


@dataclasses.dataclass
class Case:
    op: str
    inputs: list[np.ndarray]
    outputs: list[tuple[str, tuple[int, ...]]]
    options: str = ""
    fields: dict[str, Any] = dataclasses.field(default_factory=dict)
    quant: list[tuple[float, int]] = dataclasses.field(default_factory=list)  # of the inputs, then of the outputs
    builtin: bool = False  # LiteRT's reference kernels lack it
    bad: str = ""  # what the error says
    body: str | None = None  # the operator of subgraph 1, on two scalars; "" for the second of them

    def __str__(self):
        return f"{self.op}-{self.inputs[0].dtype}"


def case(op, inputs, *outputs, options="", quant=(), builtin=False, bad="", body=None, **fields):
    return Case(op, inputs, list(outputs), options, fields, list(quant), builtin, bad, body)


def pair(op, dtype):
    g = mm.Graph("body")
    g.inputs = [g.add(mm.Tensor(name, [], dtype)) for name in "ab"]
    g.outputs = [g.op(op, g.inputs, [], f"{op.title()}Options" if op in ("ADD", "MUL") else "") if op else g.inputs[1]]
    return g


def build(c):
    g = mm.Graph("main")
    quant = [mm.Quant(np.array([s]), np.array([z])) for s, z in c.quant] or [None] * (len(c.inputs) + len(c.outputs))
    inputs = []
    for i, value in enumerate(c.inputs):
        data = np.asarray(value)
        fixed = isinstance(value, Const)
        inputs.append(g.add(mm.Tensor(f"i{i}", list(data.shape), str(data.dtype), data if fixed else None, quant[i])))
        if not fixed:
            g.inputs.append(inputs[-1])
    outputs = [g.add(mm.Tensor(f"o{o}", list(shape), dtype, None, quant[len(inputs) + o])) for o, (dtype, shape) in enumerate(c.outputs)]
    g.ops.append(mm.Op(c.op, inputs, outputs, c.options, c.fields))
    model = mm.served(g, **{f"o{o}": v for o, v in enumerate(outputs)})
    if c.body is not None:
        model.graphs.append(pair(c.body, c.outputs[0][0]))
    return model.tobytes()


def arguments(c):
    return {f"i{i}": np.asarray(v) for i, v in enumerate(c.inputs) if not isinstance(v, Const)}


def run(interpreter, c):
    return {name: np.array(value) for name, value in interpreter.get_signature_runner()(**arguments(c)).items()}


def check_against_litert(c):
    """sigrun's outputs are those of LiteRT's reference kernels, or where they lack the operator of the others."""
    content = build(c)
    kind = litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES if c.builtin else litert.OpResolverType.BUILTIN_REF
    want = run(litert.Interpreter(model_content=content, experimental_op_resolver_type=kind), c)
    compare(run(sigrun.Interpreter(model_content=content), c), want)


def compare(got, want, tolerance=1e-5):
    for name, value in want.items():
        assert got[name].shape == value.shape, name
        assert got[name].dtype == value.dtype, name
        if value.dtype.kind in "fc":
            largest = float(np.nanmax(np.abs(value), initial=0))
            np.testing.assert_allclose(got[name], value, rtol=0, atol=tolerance * max(largest, 1e-6), err_msg=name)
        else:
            np.testing.assert_array_equal(got[name], value, err_msg=name)


def check_refused(c):
    """sigrun refuses the data, naming the operator."""
    with pytest.raises((RuntimeError, ValueError), match=f"{c.op} #0.*{c.bad}"):
        run(sigrun.Interpreter(model_content=build(c)), c)

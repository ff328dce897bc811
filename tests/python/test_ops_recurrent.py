"""Recurrent operators: sequences of calls on one interpreter give what LiteRT gives, and each interpreter has a state of its own."""

import dataclasses
import sys

import numpy as np
import pytest
from conftest import MODELS

import sigrun

litert = pytest.importorskip("ai_edge_litert.interpreter")
sys.path.insert(0, str(MODELS))
import make_models as mm  # noqa: E402

RELU, TANH = 1, 4


@dataclasses.dataclass
class Net:
    """A graph of one recurrent operator under construction."""

    hybrid: bool = False
    graph: mm.Graph = dataclasses.field(default_factory=mm.Graph)
    rng: np.random.Generator = dataclasses.field(default_factory=lambda: np.random.default_rng(5))

    def weights(self, *shape):
        values = self.rng.normal(0, 0.4, shape).astype("float32")
        if not self.hybrid:
            return self.graph.const(values)
        scale = np.abs(values).max() / 127
        data = np.round(values / scale).astype("int8")
        return self.graph.add(mm.Tensor(f"w{len(self.graph.tensors)}", list(shape), "int8", data, quant(scale)))

    def floats(self, *shape):
        return self.graph.const(self.rng.normal(0, 0.4, shape).astype("float32"))

    def state(self, *shape, dtype="float32", scale=None, zero=0):
        given = None if scale is None else quant(scale, zero)
        return self.graph.add(mm.Tensor(f"state{len(self.graph.tensors)}", list(shape), dtype, None, given, variable=True))

    def built(self, code, inputs, outputs, options, intermediates=None, **fields):
        out = [self.graph.add(o) for o in outputs]
        self.graph.ops.append(mm.Op(code, inputs, out, options, fields, None, intermediates))
        return mm.served(self.graph, **{f"y{i}": o for i, o in enumerate(out)}).tobytes()


def quant(scale, zero=0):
    return mm.Quant(np.array([scale]), np.array([zero]))


BATCH, TIME, INPUT, CELLS, OUTPUTS = 2, 3, 5, 6, 4


def lstm_operands(net, cifg, peephole, projection, norm, inputs=INPUT):
    """The weights of one direction, up to the states; then what normalises."""
    n = OUTPUTS if projection else CELLS
    absent = [-1] if cifg else []
    operands = [*absent, *(net.weights(CELLS, inputs) for _ in range(4 - cifg)), *absent, *(net.weights(CELLS, n) for _ in range(4 - cifg))]
    operands += [*absent, *(net.weights(CELLS) for _ in range(3 - cifg))] if peephole else [-1] * 3
    operands += [*absent, *(net.floats(CELLS) for _ in range(4 - cifg))]
    operands += [net.weights(n, CELLS), net.floats(n)] if projection else [-1, -1]
    return operands, [*absent, *(net.floats(CELLS) for _ in range(4 - cifg))] if norm else []


def lstm(hybrid=False, cifg=False, peephole=False, projection=False, norm=False, time_major=False, asymmetric=False, clip=0.0):
    net = Net(hybrid)
    shape = [TIME, BATCH] if time_major else [BATCH, TIME]
    x = net.graph.input("x", [*shape, INPUT])
    operands, norms = lstm_operands(net, cifg, peephole, projection, norm)
    n = OUTPUTS if projection else CELLS
    inputs = [x, *operands, net.state(BATCH, n), net.state(BATCH, CELLS), *norms]
    return net.built(
        "UNIDIRECTIONAL_SEQUENCE_LSTM",
        inputs,
        [mm.Tensor("y", [*shape, n])],
        "UnidirectionalSequenceLSTMOptions",
        fusedActivationFunction=TANH,
        cellClip=clip,
        projClip=clip,
        timeMajor=time_major,
        asymmetricQuantizeInputs=asymmetric,
    )


def bidirectional_lstm(merge):
    net = Net()
    x = net.graph.input("x", [TIME, BATCH, INPUT])
    sides = [lstm_operands(net, False, False, False, False)[0] for _ in range(2)]
    states = [net.state(BATCH, CELLS) for _ in range(4)]
    outputs = [2 * CELLS] if merge else [CELLS, CELLS]
    return net.built(
        "BIDIRECTIONAL_SEQUENCE_LSTM",
        [x, *sides[0], *sides[1], *states, *[-1] * 9],
        [mm.Tensor(f"y{i}", [TIME, BATCH, n]) for i, n in enumerate(outputs)],
        "BidirectionalSequenceLSTMOptions",
        fusedActivationFunction=TANH,
        mergeOutputs=merge,
        timeMajor=True,
    )


def int8_lstm(projection=False, norm=False, cifg=False, peephole=False):
    net = Net(hybrid=True)
    x = net.graph.add(mm.Tensor("x", [BATCH, TIME, INPUT], "int8", None, quant(0.02, 5)))
    net.graph.inputs = [x]
    operands, _ = lstm_operands(net, cifg, False, projection, False)

    def vector(dtype, scale, n, low, high):
        data = net.rng.integers(low, high, n).astype(dtype)
        return net.graph.add(mm.Tensor(f"v{len(net.graph.tensors)}", [n], dtype, data, quant(scale)))

    first = int(cifg)
    for i in range(first, 4):
        operands[11 + i] = vector("int32", 1e-4, CELLS, -4000, 4000)
    for i in range(first, 3) if peephole else ():
        operands[8 + i] = vector("int16", 1e-4, CELLS, -6000, 6000)
    if projection:
        operands[16] = vector("int32", 1e-4, OUTPUTS, -100, 100)
    norms = [-1] * 4
    for i in range(first, 4) if norm else ():
        norms[i] = vector("int16", 3e-5, CELLS, 5000, 30000)
    n = OUTPUTS if projection else CELLS
    states = [net.state(BATCH, n, dtype="int8", scale=0.01, zero=-3), net.state(BATCH, CELLS, dtype="int16", scale=2.0**-11)]
    between = [net.graph.add(mm.Tensor(f"t{i}", [], "int16", None, quant(2.0**-11))) for i in range(4)]
    between.append(net.graph.add(mm.Tensor("hidden", [], "int8", None, quant(*(0.008, 2) if projection else (0.01, -3)))))
    return net.built(
        "UNIDIRECTIONAL_SEQUENCE_LSTM",
        [x, *operands, *states, *norms],
        [mm.Tensor("y", [BATCH, TIME, n], "int8", None, quant(0.01, -3))],
        "UnidirectionalSequenceLSTMOptions",
        between,
        fusedActivationFunction=TANH,
        cellClip=10.0,
    )


def rounded_lstm(clip=0.0):
    """An int8 LSTM with three intermediate tensors a gate."""
    net = Net(hybrid=True)
    x = net.graph.add(mm.Tensor("x", [BATCH, INPUT], "int8", None, quant(0.02, 5)))
    net.graph.inputs = [x]
    operands, _ = lstm_operands(net, False, False, True, False)

    def vector(dtype, scale, n, low, high):
        data = net.rng.integers(low, high, n).astype(dtype)
        return net.graph.add(mm.Tensor(f"v{len(net.graph.tensors)}", [n], dtype, data, quant(scale)))

    for i in range(4):
        operands[11 + i] = vector("int32", 1e-4, CELLS, -4000, 4000)
    operands[16] = vector("int32", 1e-4, OUTPUTS, -100, 100)
    norms = [vector("int16", 3e-5, CELLS, 5000, 30000) for _ in range(4)]
    states = [net.state(BATCH, OUTPUTS, dtype="int8", scale=0.01, zero=-3), net.state(BATCH, CELLS, dtype="int16", scale=2.0**-15)]
    between = [
        net.graph.add(mm.Tensor(f"t{i}", [], "int8", None, quant(float(net.rng.uniform(0.01, 0.04)), int(net.rng.integers(-20, 20)))))
        for i in range(12)
    ]
    return net.built(
        "LSTM",
        [x, *operands, *states, *norms],
        [mm.Tensor("y", [BATCH, OUTPUTS], "int8", None, quant(0.01, -3))],
        "LSTMOptions",
        between,
        fusedActivationFunction=TANH,
        cellClip=clip,
        projClip=clip,
    )


def rnn(hybrid=False, time_major=False, activation=TANH):
    net = Net(hybrid)
    shape = [TIME, BATCH] if time_major else [BATCH, TIME]
    x = net.graph.input("x", [*shape, INPUT])
    operands = [x, net.weights(CELLS, INPUT), net.weights(CELLS, CELLS), net.floats(CELLS), net.state(BATCH, CELLS)]
    out = [mm.Tensor("y", [*shape, CELLS])]
    fields = {"timeMajor": time_major, "fusedActivationFunction": activation}
    return net.built("UNIDIRECTIONAL_SEQUENCE_RNN", operands, out, "SequenceRNNOptions", **fields)


def bidirectional_rnn(merge):
    net = Net()
    x = net.graph.input("x", [BATCH, TIME, INPUT])
    sides = [[net.weights(CELLS, INPUT), net.weights(CELLS, CELLS), net.floats(CELLS), net.state(BATCH, CELLS)] for _ in range(2)]
    outputs = [2 * CELLS] if merge else [CELLS, CELLS]
    return net.built(
        "BIDIRECTIONAL_SEQUENCE_RNN",
        [x, *sides[0], *sides[1], -1, -1, -1],
        [mm.Tensor(f"y{i}", [BATCH, TIME, n]) for i, n in enumerate(outputs)],
        "BidirectionalSequenceRNNOptions",
        fusedActivationFunction=TANH,
        mergeOutputs=merge,
    )


def svdf(hybrid=False, rank=2, memory=4):
    net = Net(hybrid)
    x = net.graph.input("x", [BATCH, INPUT])
    filters = CELLS * rank
    operands = [x, net.weights(filters, INPUT), net.weights(filters, memory), net.floats(CELLS), net.state(BATCH, filters * memory)]
    return net.built("SVDF", operands, [mm.Tensor("y", [BATCH, CELLS])], "SVDFOptions", rank=rank, fusedActivationFunction=RELU)


CASES = {
    "lstm": lstm(),
    "lstm-time-major": lstm(time_major=True),
    "lstm-all": lstm(cifg=True, peephole=True, projection=True, norm=True, clip=0.4),
    "lstm-peephole-projection": lstm(peephole=True, projection=True, clip=0.4),
    "lstm-hybrid": lstm(hybrid=True, peephole=True, projection=True),
    "lstm-hybrid-asymmetric": lstm(hybrid=True, cifg=True, time_major=True, asymmetric=True),
    "lstm-int8": int8_lstm(),
    "lstm-int8-projection": int8_lstm(projection=True),
    "lstm-int8-norm": int8_lstm(norm=True),
    "lstm-int8-cifg-peephole": int8_lstm(cifg=True, peephole=True),
    "lstm-int8-all": int8_lstm(projection=True, norm=True, peephole=True),
    "lstm-int8-rounded": rounded_lstm(),
    "lstm-int8-rounded-clip": rounded_lstm(clip=0.3),
    "bilstm": bidirectional_lstm(False),
    "bilstm-merged": bidirectional_lstm(True),
    "rnn": rnn(),
    "rnn-time-major": rnn(time_major=True, activation=RELU),
    "rnn-hybrid": rnn(hybrid=True),
    "birnn": bidirectional_rnn(False),
    "birnn-merged": bidirectional_rnn(True),
    "svdf": svdf(),
    "svdf-hybrid": svdf(hybrid=True, rank=1),
}


def draw(runner, rng):
    inputs = {}
    for name, detail in runner.get_input_details().items():
        real = detail["dtype"] is np.float32
        shape = detail["shape"]
        inputs[name] = rng.normal(0, 1, shape).astype("float32") if real else rng.integers(-128, 128, shape, dtype="int8")
    return inputs


@pytest.mark.parametrize("name", CASES)
def test_against_litert(name, rng):
    kind = litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    theirs = litert.Interpreter(model_content=CASES[name], experimental_op_resolver_type=kind)
    ours, other = (sigrun.Interpreter(model_content=CASES[name]) for _ in range(2))
    runner, reference = ours.get_signature_runner(), theirs.get_signature_runner()
    calls = [draw(runner, rng) for _ in range(3)]
    for i, inputs in enumerate([*calls, calls[0]]):
        if i == len(calls):  # from the beginning again
            ours.reset_all_variables()
            theirs.reset_all_variables()
        want = reference(**inputs)
        for output, value in runner(**inputs).items():
            if value.dtype == np.int8:
                np.testing.assert_array_equal(value, want[output], err_msg=f"call {i}")
            else:
                np.testing.assert_allclose(value, want[output], atol=3e-3 if "hybrid" in name else 1e-5, err_msg=f"call {i}")
    fresh = other.get_signature_runner()(**calls[0])
    for output, value in runner(**calls[0]).items():
        assert not np.array_equal(fresh[output], value)


def test_a_state_that_is_no_variable():
    net = Net()
    x, h = net.graph.input("x", [BATCH, INPUT]), net.graph.input("h", [BATCH, CELLS])
    operands = [x, net.weights(CELLS, INPUT), net.weights(CELLS, CELLS), net.floats(CELLS), h]
    content = net.built("RNN", operands, [mm.Tensor("y", [BATCH, CELLS])], "RNNOptions")
    with pytest.raises(sigrun.InvalidArgumentError, match="RNN #0.*hidden state .input 4. are no variable"):
        sigrun.Interpreter(model_content=content).allocate_tensors()


def test_int8_svdf_whose_sums_wrap():
    """Full states times full weights leave 32 bits."""
    g = mm.Graph()
    x = g.add(mm.Tensor("x", [1, 4], "int8", None, quant(1.0)))
    g.inputs = [x]
    features = g.add(mm.Tensor("f", [2, 4], "int8", np.full((2, 4), 127, "int8"), quant(1.0)))
    time = g.add(mm.Tensor("t", [2, 5], "int16", np.full((2, 5), 32767, "int16"), quant(1.0)))
    bias = g.add(mm.Tensor("b", [2], "int32", np.array([1000, -7]), quant(1.0)))
    state = g.add(mm.Tensor("s", [1, 10], "int16", None, quant(1.0), variable=True))
    y = g.add(mm.Tensor("y", [1, 2], "int8", None, quant(2.0**24, 3)))
    g.ops.append(mm.Op("SVDF", [x, features, time, bias, state], [y], "SVDFOptions", {"rank": 1, "fusedActivationFunction": RELU}))
    content = mm.served(g, y=y).tobytes()
    kind = litert.OpResolverType.BUILTIN_REF
    theirs = litert.Interpreter(model_content=content, experimental_op_resolver_type=kind).get_signature_runner()
    ours = sigrun.Interpreter(model_content=content).get_signature_runner()
    for value in (127, 127, 127, 127, 127, -128, -128):
        full = np.full((1, 4), value, "int8")
        assert ours(x=full)["y"].tolist() == theirs(x=full)["y"].tolist()


@pytest.mark.parametrize("inputs", [7, 512, 1100])
def test_int8_svdf_of_any_length(inputs, rng):
    """Sums of the greatest products, of as many inputs as fill a part of the weights, and more."""
    g = mm.Graph()
    x = g.add(mm.Tensor("x", [2, inputs], "int8", None, quant(1.0, 127)))
    g.inputs = [x]
    weights = rng.integers(-127, 128, (6, inputs), dtype="int8")
    weights[0] = -127
    features = g.add(mm.Tensor("f", [6, inputs], "int8", weights, quant(1.0)))
    time = g.add(mm.Tensor("t", [6, 5], "int16", rng.integers(-300, 301, (6, 5), dtype="int16"), quant(1.0)))
    bias = g.add(mm.Tensor("b", [3], "int32", np.array([1000, -7, 0]), quant(1.0)))
    state = g.add(mm.Tensor("s", [2, 30], "int16", None, quant(2.0**10), variable=True))
    y = g.add(mm.Tensor("y", [2, 3], "int8", None, quant(1e5 * inputs**0.5, 3)))
    g.ops.append(mm.Op("SVDF", [x, features, time, bias, state], [y], "SVDFOptions", {"rank": 2, "fusedActivationFunction": RELU}))
    content = mm.served(g, y=y).tobytes()
    kind = litert.OpResolverType.BUILTIN_REF
    theirs = litert.Interpreter(model_content=content, experimental_op_resolver_type=kind).get_signature_runner()
    ours = sigrun.Interpreter(model_content=content).get_signature_runner()
    seen = set()
    for step in range(6):
        values = np.full((2, inputs), -128, "int8") if step == 0 else rng.integers(-128, 128, (2, inputs), dtype="int8")
        want = theirs(x=values)["y"].tolist()
        assert ours(x=values)["y"].tolist() == want, step
        seen.update(value for row in want for value in row)
    assert len(seen) > 8

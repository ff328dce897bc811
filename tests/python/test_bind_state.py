"""Outputs that are the next values of inputs: sigrun.SignatureRunner.bind_state."""

import numpy as np
import pytest

import sigrun

TOKENS = [3, 1, 4, 15, 9, 2]
CACHES = {"k_cache": "k_cache_out", "v_cache": "v_cache_out"}


def step(i):
    return {"tokens": np.array([[TOKENS[i]]], np.int32), "position": np.array([i], np.int32)}


@pytest.fixture
def decode(model_path):
    return sigrun.Interpreter(model_path=model_path("transformer")).get_signature_runner("decode")


def by_hand(model_path, steps=6):
    decode = sigrun.Interpreter(model_path=model_path("transformer")).get_signature_runner("decode")
    caches = {name: np.zeros([1, 2, 8, 4], np.float32) for name in CACHES}
    for i in range(steps):
        outputs = decode(**step(i), **caches)
        caches = {name: outputs[out] for name, out in CACHES.items()}
        yield outputs


def test_many_steps_give_the_same_bits_as_copies(decode, model_path):
    decode.bind_state(CACHES)
    for i, want in enumerate(by_hand(model_path)):
        got = decode(**step(i))
        assert set(got) == {"logits"}
        np.testing.assert_array_equal(got["logits"], want["logits"])
        for name, out in CACHES.items():
            np.testing.assert_array_equal(decode.get_tensor(name), want[out])
            np.testing.assert_array_equal(decode.get_tensor(out), want[out])


def test_a_cache_stays_where_it_is(decode):
    decode.allocate_tensors()
    decode.bind_state(CACHES)
    views = {name: (decode.input_tensor(name), decode.output_tensor(out)) for name, out in CACHES.items()}
    for state, output in views.values():
        assert state.ctypes.data == output.ctypes.data
    for i in range(len(TOKENS)):
        decode(**step(i))
        for state, _ in views.values():
            assert state[0, :, i].all()
            assert not state[0, :, i + 1 :].any()


def test_a_given_state_is_taken_over_and_reset(decode, model_path):
    first, second = by_hand(model_path, 2)
    decode.bind_state(CACHES)
    got = decode(**step(1), **{name: first[out] for name, out in CACHES.items()})
    np.testing.assert_array_equal(got["logits"], second["logits"])
    out = np.empty_like(first["k_cache_out"])
    decode.reset_state()
    assert decode.run(step(0), out={"k_cache_out": out})["k_cache_out"] is out
    np.testing.assert_array_equal(out, first["k_cache_out"])


def test_unbound_again(decode, model_path):
    (want,) = by_hand(model_path, 1)
    decode.bind_state(CACHES)
    decode(**step(0))
    decode.bind_state({})
    with pytest.raises(ValueError, match=r"expected 4 vs provided 2.*Missing: 'k_cache', 'v_cache'"):
        decode(**step(1))
    for _ in range(2):
        got = decode(**step(0), **{name: np.zeros([1, 2, 8, 4], np.float32) for name in CACHES})
        for name, value in want.items():
            np.testing.assert_array_equal(got[name], value)


def test_operators_that_need_the_old_value_get_it(builder):
    g = builder.Graph("counter")
    x, y = g.input("x", [64]), g.input("y", [64])
    total = g.op("ADD", [x, y], [64], "AddOptions")
    product = g.op("MUL", [total, x], [64], "MulOptions")  # reads the state after its next value is there
    runner = sigrun.Interpreter(model_content=builder.served(g, x=total, product=product).tobytes()).get_signature_runner()
    runner.bind_state(["x"])
    state = np.zeros(64, np.float32)
    for i in range(4):
        y = np.full(64, i + 1, np.float32)
        np.testing.assert_array_equal(runner(y=y)["product"], (state + y) * state)
        state = state + y
    np.testing.assert_array_equal(runner.get_tensor("x"), state)


def test_states_of_a_graph_with_subgraphs(builder):
    """IF runs other subgraphs, whose values have numbers of their own."""
    main = builder.Graph("main")
    up, x = main.input("up", [], "bool"), main.input("x", [64])
    moved = main.op("IF", [up, x], [64], "IfOptions", dtype="float32", thenSubgraphIndex=1, elseSubgraphIndex=2)
    model = builder.served(main, x=moved, twice=main.binary("ADD", moved, moved))
    for name, code in (("then", "ADD"), ("else", "SUB")):
        g = builder.Graph(name)
        g.outputs = [g.binary(code, g.input("x", [64]), g.const(np.ones(64), "float32"))]
        model.graphs.append(g)
    runner = sigrun.Interpreter(model_content=model.tobytes()).get_signature_runner()
    runner.bind_state(["x"])
    total = 0
    for up in (True, True, False, True, True):
        total += 1 if up else -1
        np.testing.assert_array_equal(runner(up=np.array(up))["twice"], np.full(64, 2 * total, np.float32))
        np.testing.assert_array_equal(runner.get_tensor("x"), np.full(64, total, np.float32))


def test_an_input_that_is_another_output_keeps_its_value(builder):
    g = builder.Graph("delay")
    x, last, before = (g.input(name, [3]) for name in ("x", "last", "before"))
    total = g.binary("ADD", x, g.binary("ADD", last, before))
    model = builder.served(g, last=g.binary("ADD", x, x), before=last, total=total)
    runner = sigrun.Interpreter(model_content=model.tobytes()).get_signature_runner()
    for states in (["last"], ["last", "before"]):
        with pytest.raises(sigrun.SignatureError, match="input 'last' cannot be bound: it is the output 'before' too"):
            runner.bind_state(states)
    runner.bind_state(["before"])
    values = {"x": np.float32([1, 2, 3]), "last": np.float32([4, 5, 6])}
    np.testing.assert_array_equal(runner(**values)["total"], [5, 7, 9])
    np.testing.assert_array_equal(runner(**values)["total"], [9, 12, 15])


def test_errors_come_before_changes(decode, model_path):
    decode.bind_state(CACHES)
    _, second = by_hand(model_path, 2)
    decode(**step(0))
    for wrong, message in (
        ({"k_cache": "logits"}, "state 'k_cache' has the shape .*, its next value"),
        ({"cache": "k_cache_out"}, "has no input 'cache' to bind: there are 'k_cache'"),
        ({"k_cache": "cache"}, "has no output 'cache' to bind: there are 'k_cache_out'"),
        ({"k_cache": "k_cache_out", "v_cache": "k_cache_out"}, "output 'k_cache_out' is bound twice"),
        ({"tokens": "k_cache_out"}, "they are INT32 and FLOAT32"),
    ):
        with pytest.raises(sigrun.SignatureError, match=message):
            decode.bind_state(wrong)
    with pytest.raises(TypeError, match="got the name 'k_cache'"):
        decode.bind_state("k_cache")
    view = decode.output_tensor("k_cache_out")
    with pytest.raises(sigrun.HeldViewError, match="view of"):
        decode.bind_state({})
    del view
    np.testing.assert_array_equal(decode(**step(1))["logits"], second["logits"])

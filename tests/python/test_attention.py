"""Attention as language models spell it, over caches that heads of queries share: one step, with the keys and values where they stand."""

import numpy as np
import pytest

import sigrun

litert = pytest.importorskip("ai_edge_litert.interpreter")

HEADS, SHARING, CONTEXT, CHANNELS = 2, 2, 21, 19
ALL = HEADS * SHARING


def shared_heads(mm, tokens, flat):
    """Queries [1, ALL, tokens, CHANNELS] and caches [1, CONTEXT, HEADS, CHANNELS] that are turned, repeated and scaled; with `flat`, the
    products are over one dimension of heads."""
    g = mm.Graph("attention")
    query, mask = g.input("query", [1, ALL, tokens, CHANNELS]), g.input("mask", [1, 1, tokens, CONTEXT])

    def repeated(name):
        turned = g.op("TRANSPOSE", [g.input(name, [1, CONTEXT, HEADS, CHANNELS]), g.const([0, 2, 1, 3], "int32")],
                      [1, HEADS, CONTEXT, CHANNELS], "TransposeOptions")
        apart = g.reshape(turned, [1, HEADS, 1, CONTEXT, CHANNELS])
        shape = [1, HEADS, SHARING, CONTEXT, CHANNELS]
        return g.reshape(g.op("BROADCAST_TO", [apart, g.const(shape, "int32")], shape, "BroadcastToOptions"), [1, ALL, CONTEXT, CHANNELS])

    def matrices(v):
        return g.reshape(v, [ALL, *g.shape(v)[2:]]) if flat else v

    keys, values = repeated("keys"), repeated("values")
    scaled = g.binary("MUL", keys, g.const(0.3, "float32"))
    turned = g.op("TRANSPOSE", [scaled, g.const([0, 1, 3, 2], "int32")], [1, ALL, CHANNELS, CONTEXT], "TransposeOptions")
    batch = [ALL] if flat else [1, ALL]
    operands, shape = [matrices(query), matrices(turned)], [*batch, tokens, CONTEXT]
    scores = g.op("BATCH_MATMUL", operands, shape, "BatchMatMulOptions", adjX=False, adjY=False)
    weights = g.softmax(g.binary("ADD", g.reshape(scores, [1, ALL, tokens, CONTEXT]) if flat else scores, mask))
    operands, shape = [matrices(weights), matrices(values)], [*batch, tokens, CHANNELS]
    mixed = g.op("BATCH_MATMUL", operands, shape, "BatchMatMulOptions", adjX=False, adjY=False)
    model = mm.served(g, y=mixed)
    model.versions["BROADCAST_TO"] = 2
    return model.tobytes()


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("tokens", [1, 3, 40])
def test_shared_heads(builder, rng, tokens, flat):
    model = shared_heads(builder, tokens, flat)
    runner = sigrun.Interpreter(model_content=model).get_signature_runner()
    reference = litert.Interpreter(model_content=model, experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF)
    inputs = {
        name: rng.uniform(-1, 1, details["shape"]).astype(np.float32) for name, details in runner.get_input_details().items()
    }
    np.testing.assert_allclose(runner(**inputs)["y"], reference.get_signature_runner()(**inputs)["y"], atol=1e-5)
    assert "sigrun.attention" in str(runner.plan)
    assert "BROADCAST_TO" not in str(runner.plan)


def excluding(mm, kept, number, scores_first):
    """Causal and other masks as a SELECT_V2 of the scores or a number."""
    g = mm.Graph("attention")
    heads, tokens, channels = 3, kept.shape[-1], 8
    shape = [1, heads, tokens, tokens]
    query, key, value = (g.input(name, [1, heads, tokens, channels]) for name in ("query", "key", "value"))
    scores = g.op("BATCH_MATMUL", [query, key], shape, "BatchMatMulOptions", adjX=False, adjY=True)
    scaled, fill = g.binary("MUL", scores, g.const(0.35, "float32")), g.const(number, "float32")
    choice = [g.const(kept, "bool"), scaled, fill] if scores_first else [g.const(~kept, "bool"), fill, scaled]
    chosen = g.op("SELECT_V2", choice, shape, "SelectV2Options", dtype="float32")
    mixed = g.op("BATCH_MATMUL", [g.softmax(chosen), value], [1, heads, tokens, channels], "BatchMatMulOptions", adjX=False, adjY=False)
    return mm.served(g, y=mixed).tobytes()


CAUSAL = np.tri(17, dtype=bool)
EMPTY_ROW = np.where(np.arange(17)[:, None] == 5, False, CAUSAL)


@pytest.mark.parametrize("scores_first", [True, False])
@pytest.mark.parametrize(
    ("kept", "number", "fused"),
    [
        (CAUSAL, -1e9, True),
        (CAUSAL, -3.4e38, True),
        (CAUSAL, -np.inf, True),
        (np.broadcast_to(CAUSAL, (1, 3, 17, 17)), -1e9, True),
        (np.arange(17)[None] < 9, -1e9, True),
        (CAUSAL, -1e3, False),
        (CAUSAL, 0.0, False),
        (EMPTY_ROW, -1e9, False),
    ],
    ids=["causal", "least", "infinite", "of all heads", "one row", "near", "zero", "empty row"],
)
def test_scores_that_a_select_excludes(builder, rng, kept, number, scores_first, fused):
    model = excluding(builder, kept, number, scores_first)
    runner = sigrun.Interpreter(model_content=model).get_signature_runner()
    reference = litert.Interpreter(model_content=model, experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF)
    inputs = {name: rng.uniform(-2, 2, (1, 3, 17, 8)).astype(np.float32) for name in ("query", "key", "value")}
    np.testing.assert_allclose(runner(**inputs)["y"], reference.get_signature_runner()(**inputs)["y"], atol=1e-5)
    assert ("sigrun.attention" in str(runner.plan)) == fused
    assert ("SELECT_V2" in str(runner.plan)) != fused

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

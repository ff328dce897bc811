"""Shapes that depend on data: the rest of such a graph is planned while it runs, and again only when the deciding data changes."""

import numpy as np
import pytest

import sigrun

litert = pytest.importorskip("ai_edge_litert.interpreter")


def both(model):
    """The same model in both runtimes, as functions from named inputs to the output."""
    content = model.tobytes()
    runner = sigrun.Interpreter(model_content=content).get_signature_runner()

    def reference(**inputs):  # a new interpreter for each call: LiteRT keeps the first shape that it has seen
        interpreter = litert.Interpreter(model_content=content, experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF)
        return interpreter.get_signature_runner()(**inputs)["y"]

    return (lambda **inputs: runner(**inputs)["y"]), reference


def reshaped(builder):
    g = builder.Graph("reshaped")
    x, shape = g.input("x", [6]), g.input("shape", [2], "int32")
    middle = g.op("EXP", [x], [6], "ExpOptions")
    turned = g.op("RESHAPE", [middle, shape], [-1, -1])
    return builder.served(g, y=g.op("ADD", [turned, g.const(np.float32(1))], [-1, -1], "AddOptions"))


def test_reshape_by_an_input(builder, rng):
    ours, reference = both(reshaped(builder))
    x = rng.uniform(-1, 1, 6).astype(np.float32)
    for shape in ([2, 3], [3, 2], [3, 2], [6, 1], [2, 3], [-1, 3]):
        inputs = {"x": x, "shape": np.array(shape, np.int32)}
        got, want = ours(**inputs), reference(**inputs)
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=1e-6)


def test_a_refused_shape_leaves_the_runner_usable(builder, rng):
    ours, _ = both(reshaped(builder))
    x = rng.uniform(-1, 1, 6).astype(np.float32)
    for _ in range(2):
        with pytest.raises((ValueError, RuntimeError), match="RESHAPE #1"):
            ours(x=x, shape=np.array([4, 2], np.int32))
        assert ours(x=x, shape=np.array([3, 2], np.int32)).shape == (3, 2)


def test_two_steps_that_wait(builder, rng):
    g = builder.Graph("two_waits")
    x, times = g.input("x", [2]), g.input("times", [1], "int32")
    tiled = g.op("TILE", [x, times], [-1], "TileOptions")
    size = g.op("SHAPE", [tiled], [1], "ShapeOptions", dtype="int32", outType=2)
    twice = g.op("ADD", [size, size], [1], "AddOptions")
    zeros = g.op("FILL", [twice, g.const(np.float32(0.5))], [-1], "FillOptions", dtype="float32")
    ours, reference = both(builder.served(g, y=zeros))
    value = rng.uniform(-1, 1, 2).astype(np.float32)
    for times in (1, 3, 2):
        inputs = {"x": value, "times": np.array([times], np.int32)}
        np.testing.assert_array_equal(ours(**inputs), reference(**inputs))


def test_views_of_an_output_that_would_move_are_protected(builder):
    interpreter = sigrun.Interpreter(model_content=reshaped(builder).tobytes())
    runner = interpreter.get_signature_runner()
    runner(x=np.zeros(6, np.float32), shape=np.array([2, 3], np.int32))
    view = runner.output_tensor("y")
    with pytest.raises(RuntimeError, match="view of"):
        runner(x=np.zeros(6, np.float32), shape=np.array([3, 2], np.int32))
    assert view.tolist() == [[2, 2, 2], [2, 2, 2]]
    del view
    assert runner(x=np.zeros(6, np.float32), shape=np.array([3, 2], np.int32))["y"].shape == (3, 2)


def normalised(builder, axes):
    """A layer normalisation of [2, 1, 8] whose mean is the sum times 1 / 8."""
    g = builder.Graph("normalised")
    x, axes = g.input("x", [2, 1, 8]), g.const(axes, "int32")

    def mean(v):
        total = g.op("SUM", [v, axes], [2, 1, 1], "ReducerOptions", keepDims=True)
        return g.binary("MUL", total, g.const(np.float32(1 / 8)))

    deviation = g.binary("SUB", x, mean(x), [2, 1, 8])
    stable = g.binary("ADD", mean(g.op("SQUARE", [deviation], [2, 1, 8], "SquareOptions")), g.const(np.float32(1e-3)))
    return builder.served(g, y=g.binary("MUL", deviation, g.op("RSQRT", [stable], [2, 1, 1]), [2, 1, 8]))


def grouped(builder):
    g = builder.Graph("grouped")
    x, axes = g.input("x", [2, 3, 8]), g.const([1, 2], "int32")

    def mean(v):
        return g.op("MEAN", [v, axes], [2, 1, 1], "ReducerOptions", keepDims=True)

    deviation = g.binary("SUB", x, mean(x), [2, 3, 8])
    stable = g.binary("ADD", mean(g.op("SQUARE", [deviation], [2, 3, 8], "SquareOptions")), g.const(np.float32(1e-3)))
    normal = g.binary("DIV", deviation, g.op("SQRT", [stable], [2, 1, 1]), [2, 3, 8])
    return builder.served(g, y=g.binary("MUL", normal, g.const(np.linspace(0.5, 2, 8, dtype=np.float32))))


def summed(builder):
    """A convolution and the sum with a mean, which has the same shape for images of one pixel."""
    g = builder.Graph("summed")
    x = g.input("x", [1, 1, 1, 8])
    mean = g.op("MEAN", [x, g.const([1, 2], "int32")], [1, 1, 1, 8], "ReducerOptions", keepDims=True)
    return builder.served(g, y=g.binary("ADD", g.conv(x, 8, 1, activation=builder.NONE), mean))


@pytest.mark.parametrize(
    ("make", "fused", "shapes"),
    [
        (lambda b: normalised(b, [2]), "sigrun.layer_norm", [(5, 1, 8), (2, 1, 4), (2, 3, 8)]),
        (lambda b: normalised(b, [1, 2]), "sigrun.layer_norm", [(5, 1, 8), (2, 3, 8), (2, 4, 2)]),
        (grouped, "sigrun.group_norm", [(5, 3, 8), (2, 3, 1), (2, 5, 8)]),
        (summed, "CONV_2D", [(2, 1, 1, 8), (1, 4, 5, 8)]),
    ],
)
def test_what_was_fused_gives_way_to_other_shapes(builder, rng, make, fused, shapes):
    content = make(builder).tobytes()
    interpreter = sigrun.Interpreter(model_content=content)
    runner = interpreter.get_signature_runner()
    first = tuple(runner.get_input_details()["x"]["shape"])
    for shape in (first, *shapes, first):
        x = rng.normal(0, 1, shape).astype(np.float32)
        reference = litert.Interpreter(model_content=content, experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF)
        want = reference.get_signature_runner()(x=x)["y"]
        got = runner(x=x)["y"]
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, atol=1e-5)
    assert [step.op for step in runner.plan.steps][-1] == fused


def test_keys_of_one_batch_entry(builder, rng):
    """Queries of four batch entries and keys of one: no heads share keys."""
    g = builder.Graph("attention")
    query, key, value = (g.input(name, [-1, 4, 3, 5]) for name in ("query", "key", "value"))
    scores = g.op("BATCH_MATMUL", [query, key], [-1, 4, 3, 3], "BatchMatMulOptions", adjX=False, adjY=True)
    mixed = g.op("BATCH_MATMUL", [g.softmax(scores), value], [-1, 4, 3, 5], "BatchMatMulOptions", adjX=False, adjY=False)
    ours, reference = both(builder.served(g, y=mixed))
    for keys in (4, 1, 4):
        inputs = {name: rng.normal(0, 1, (n, 4, 3, 5)).astype(np.float32) for name, n in (("query", 4), ("key", keys), ("value", keys))}
        np.testing.assert_allclose(ours(**inputs), reference(**inputs), atol=1e-5)

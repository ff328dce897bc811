"""The custom operators of language models, beside those that LiteRT brings along for them."""

import flatbuffers.flexbuffers as flexbuffers
import numpy as np
import pytest
from one_op import litert, mm

import sigrun

genai = pytest.importorskip("ai_edge_litert.pywrap_genai_ops")


def custom(g, op, inputs, outputs, **options):
    made = [g.add(mm.Tensor(f"o{o}", list(shape), "float32")) for o, shape in enumerate(outputs)]
    g.ops.append(mm.Op(op, inputs, made, custom_options=bytes(flexbuffers.Dumps(options))))
    return made


def tensor(g, name, dtype, *shape):
    value = g.add(mm.Tensor(name, list(shape), dtype))
    g.inputs.append(value)
    return value


def theirs(content):
    return litert.InterpreterWithCustomOps(
        custom_op_registerers=[genai.GenAIOpsRegisterer],
        model_content=content,
        experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF,
    )


def attention(queries, keys, heads, shared, mask, batch=2, **options):
    g = mm.Graph()
    q = tensor(g, "q", "float32", batch, queries, heads, 8)
    k = tensor(g, "k", "float32", batch, keys, heads // shared, 8)
    v = tensor(g, "v", "float32", batch, keys, heads // shared, 8)
    m = tensor(g, "m", "float32", *mask)
    [y] = custom(g, "odml.scaled_dot_product_attention", [q, k, v, m], [(batch, queries, heads, 8)], **options)
    return mm.served(g, y=y).tobytes()


def in_doubles(inputs, shared, scale):
    q, k, v, m = (inputs[n].astype("float64") for n in "qkvm")
    k, v = np.repeat(k, shared, 2), np.repeat(v, shared, 2)
    scores = np.einsum("btnh,bsnh->bnts", q, k) * scale + m
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return np.einsum("bnts,bsnh->btnh", weights / weights.sum(-1, keepdims=True), v)


@pytest.mark.parametrize(
    ("queries", "keys", "heads", "shared", "mask"),
    [
        (5, 7, 4, 1, (1, 1, 5, 7)),
        (5, 7, 6, 2, (2, 1, 5, 7)),
        (40, 33, 6, 3, (2, 6, 40, 33)),
        (1, 64, 8, 4, (1, 1, 1, 64)),
        (1, 64, 8, 4, (2, 8, 1, 64)),
        (130, 300, 12, 4, (1, 1, 1, 300)),
    ],
)
@pytest.mark.parametrize("options", [{}, {"scale": 0.3}])
def test_scaled_dot_product_attention(queries, keys, heads, shared, mask, options, rng):
    content = attention(queries, keys, heads, shared, mask, **options)
    runner = sigrun.Interpreter(model_content=content, num_threads=2).get_signature_runner()
    inputs = {n: rng.normal(0, 2, d["shape"]).astype("float32") for n, d in runner.get_input_details().items()}
    got, want = runner(**inputs)["y"], in_doubles(inputs, shared, options.get("scale", 8**-0.5))
    np.testing.assert_allclose(got, want, atol=2e-5 * np.abs(want).max())
    if queries == 1:  # for more, LiteRT's kernel takes keys and queries for one another
        got = theirs(content).get_signature_runner()(**inputs)["y"]
        np.testing.assert_allclose(got, want, atol=2e-5 * np.abs(want).max())


def test_one_head_of_keys(rng):
    content = attention(5, 7, 4, 4, (1, 1, 5, 7), batch=1)
    runner = sigrun.Interpreter(model_content=content).get_signature_runner()
    inputs = {n: rng.normal(0, 2, d["shape"]).astype("float32") for n, d in runner.get_input_details().items()}
    want = theirs(content).get_signature_runner()(**inputs)["y"]
    np.testing.assert_allclose(runner(**inputs)["y"], want, atol=2e-5 * np.abs(want).max())


def external(tokens, before=False):
    g = mm.Graph()
    caches = [tensor(g, n, "float32", 1, 9, 2, 3) for n in ("k", "v")]
    position = tensor(g, "position", "int32", tokens)
    slices = [tensor(g, n, "float32", 1, tokens, 2, 3) for n in ("ks", "vs")]
    if before:
        caches = [g.op("MUL", [c, g.const(np.float32(2))], [1, 9, 2, 3], "MulOptions", dtype="float32") for c in caches]
    k, v = custom(g, "odml.update_external_kv_cache", [*caches, position, *slices], [(1, 9, 2, 3)] * 2)
    return mm.served(g, k_out=k, v_out=v).tobytes()


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("position", [[3], [8], [0, 1, 2], [2, 5, 0], [4, 4, 7], [0, 0, 0]])
def test_external_cache(position, before, rng):
    content = external(len(position), before)
    runner = sigrun.Interpreter(model_content=content).get_signature_runner()
    inputs = {n: rng.normal(0, 2, d["shape"]).astype("float32") for n, d in runner.get_input_details().items()}
    inputs["position"] = np.array(position, "int32")
    want = theirs(content).get_signature_runner()(**inputs)
    for name, value in runner(**inputs).items():
        np.testing.assert_array_equal(value, want[name], err_msg=name)


@pytest.mark.parametrize("position", [[9], [-1]])
def test_external_cache_refuses_what_lies_outside(position):
    runner = sigrun.Interpreter(model_content=external(1)).get_signature_runner()
    inputs = {n: np.zeros(d["shape"], d["dtype"]) for n, d in runner.get_input_details().items()}
    with pytest.raises((RuntimeError, ValueError), match=rf"odml.update_external_kv_cache #0.*position {position[0]} of a cache of 9"):
        runner(**(inputs | {"position": np.array(position, "int32")}))


def held(layers=2, capacity=6):
    """Signatures prefill, of 4 tokens, and decode, of one: two layers each."""
    graphs, signatures = [], {}
    for i, (name, tokens) in enumerate((("prefill", 4), ("decode", 1))):
        g = mm.Graph(name)
        position = tensor(g, "position", "int64", tokens)
        outputs = {}
        for layer in range(layers):
            slices = [tensor(g, f"{n}{layer}", "float32", 1, tokens, 2, 3) for n in "kv"]
            options = {"kv_cache_max": capacity, "num_layers": layers, "layer_index": layer}
            made = custom(g, "odml.update_kv_cache", [position, *slices], [(1, capacity, 2, 3)] * 2, **options)
            outputs |= {f"{n}_out{layer}": value for n, value in zip("kv", made, strict=True)}
        g.outputs = list(outputs.values())
        graphs.append(g)
        signatures[name] = (i, {g.tensors[v].name: v for v in g.inputs}, outputs)
    return mm.Model(graphs, signatures).tobytes()


def test_cache_of_the_interpreter(rng):
    content = held()
    ours, reference = sigrun.Interpreter(model_content=content), theirs(content)
    for signature, position in (("prefill", 0), ("decode", 4), ("decode", 5), ("decode", 6), ("decode", 7), ("decode", 9)):
        mine, other = (i.get_signature_runner(signature) for i in (ours, reference))
        inputs = {n: rng.normal(0, 2, d["shape"]).astype("float32") for n, d in mine.get_input_details().items()}
        tokens = 4 if signature == "prefill" else 1
        inputs["position"] = np.arange(position, position + tokens, dtype="int64")
        want = other(**inputs)
        for name, value in mine(**inputs).items():
            np.testing.assert_array_equal(value, want[name], err_msg=f"{signature} {position} {name}")


def test_cache_of_the_interpreter_does_not_go_back():
    runner = sigrun.Interpreter(model_content=held()).get_signature_runner("decode")
    inputs = {n: np.zeros(d["shape"], d["dtype"]) for n, d in runner.get_input_details().items()}
    runner(**(inputs | {"position": np.array([8], "int64")}))
    with pytest.raises(
        (RuntimeError, ValueError), match=r"odml.update_kv_cache #0.*position 2 and 1 tokens for a cache of 6 that begins with 3"
    ):
        runner(**(inputs | {"position": np.array([2], "int64")}))


def normalised(spelling, rank, scale):
    """x over the root of its squares, spelled in one of the ways of converters."""
    shape = [2, 3, 24][3 - rank :]
    row = [*shape[:-1], 1]
    g = mm.Graph()
    x = tensor(g, "x", "float32", *shape)
    number = lambda v: g.const(np.float32(v))  # noqa: E731
    squares = g.op("SQUARE", [x], shape, "SquareOptions") if spelling == "square" else g.op("MUL", [x, x], shape, "MulOptions")
    axis = g.const([rank - 1], "int32")
    if spelling == "sum":
        total = g.op("SUM", [squares, axis], row[:-1], "ReducerOptions", keepDims=False)
        total = g.op("MUL", [total, number(1 / 24)], row[:-1], "MulOptions")
        total = g.op("RESHAPE", [total, g.const(row, "int32")], row)
    elif spelling == "count":
        total = g.op("SUM", [squares, axis], row[:-1], "ReducerOptions", keepDims=False)
        total = g.op("DIV", [total, number(24)], row[:-1], "DivOptions")
    elif spelling == "l2":
        total = g.op("SUM", [squares, axis], row, "ReducerOptions", keepDims=True)
    else:
        total = g.op("MEAN", [squares, axis], row, "ReducerOptions", keepDims=True)
    if spelling == "count":
        stable = g.op("RESHAPE", [g.op("ADD", [total, number(1e-3)], row[:-1], "AddOptions"), g.const(row, "int32")], row)
    else:
        stable = g.op("ADD", [number(1e-3), total], row, "AddOptions")
    if spelling == "l2":
        y = g.op("DIV", [x, g.op("SQRT", [stable], row)], shape, "DivOptions")
    else:
        y = g.op("MUL", [g.op("RSQRT", [stable], row), x], shape, "MulOptions")
    if scale:
        y = g.op("MUL", [y, g.const(np.linspace(-1, 2, 24, dtype="float32"))], shape, "MulOptions")
    return mm.served(g, y=y).tobytes()


@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("spelling", ["square", "mean", "sum", "count", "l2"])
def test_normalisation_becomes_one_step(spelling, rank, scale, rng):
    content = normalised(spelling, rank, scale)
    runner = sigrun.Interpreter(model_content=content).get_signature_runner()
    inputs = {"x": rng.normal(0, 2, [2, 3, 24][3 - rank :]).astype("float32")}
    got, want = runner(**inputs)["y"], theirs(content).get_signature_runner()(**inputs)["y"]
    np.testing.assert_allclose(got, want, atol=1e-6 * np.abs(want).max())
    assert [step.op for step in runner.plan.steps] == ["sigrun.rms_norm"]


def centred(spelling, keeps_dim):
    """x less its mean over its deviation, times a scale and plus a shift, as JAX and TensorFlow spell it."""
    shape, depth = [2, 3, 24], 24
    row = [2, 3, 1] if keeps_dim else [2, 3]
    g = mm.Graph()
    x = tensor(g, "x", "float32", *shape)
    number = lambda v: g.const(np.float32(v))  # noqa: E731
    axis = g.const([2], "int32")

    def mean(v):
        if spelling == "mean":
            return g.op("MEAN", [v, axis], row, "ReducerOptions", keepDims=keeps_dim)
        total = g.op("SUM", [v, axis], row, "ReducerOptions", keepDims=keeps_dim)
        if spelling in ("times", "relu"):
            return g.op("MUL", [total, number(1 / depth)], row, "MulOptions")
        return g.op("DIV", [total, number(depth)], row, "DivOptions")

    def column(v):
        return v if keeps_dim else g.op("RESHAPE", [v, g.const([2, 3, 1], "int32")], [2, 3, 1])

    middle = mean(x)
    less = g.op("SUB", [x, column(middle)], shape, "SubOptions")
    if spelling == "centred":
        variance = mean(g.op("MUL", [less, less], shape, "MulOptions"))
    else:
        squares, square = g.op("MUL", [x, x], shape, "MulOptions"), g.op("MUL", [middle, middle], row, "MulOptions")
        variance = g.op("SUB", [mean(squares), square], row, "SubOptions", fusedActivationFunction=1 if spelling == "relu" else 0)
    if spelling == "maximum":
        variance = g.op("MAXIMUM", [number(0), variance], row)
    stable = column(g.op("ADD", [variance, number(1e-3)], row, "AddOptions"))
    factor = g.op("MUL", [g.op("RSQRT", [stable], [2, 3, 1]), g.const(np.linspace(-1, 2, depth, dtype="float32"))], shape, "MulOptions")
    y = g.op("MUL", [less, factor], shape, "MulOptions")
    y = g.op("ADD", [y, g.const(np.linspace(3, 2, depth, dtype="float32"))], shape, "AddOptions")
    return mm.served(g, y=y).tobytes()


@pytest.mark.parametrize("keeps_dim", [False, True])
@pytest.mark.parametrize("spelling", ["mean", "times", "relu", "count", "maximum", "centred"])
def test_normalisation_of_rows_becomes_one_step(spelling, keeps_dim, rng):
    content = centred(spelling, keeps_dim)
    runner = sigrun.Interpreter(model_content=content).get_signature_runner()
    inputs = {"x": rng.normal(1, 2, [2, 3, 24]).astype("float32")}
    got, want = runner(**inputs)["y"], theirs(content).get_signature_runner()(**inputs)["y"]
    np.testing.assert_allclose(got, want, atol=4e-6 * np.abs(want).max())
    assert [step.op for step in runner.plan.steps] == ["sigrun.layer_norm"]


GROUPS = {  # shapes of what is normalised, axes, and shapes of what comes of it and of its scale
    "channels-first": ((2, 3, 4, 30), (2, 3), (2, 12, 5, 6), (1, 12, 1, 1)),
    "flat": ((2, 3, 120), (2,), (2, 12, 5, 6), (1, 12, 1, 1)),
    "channels-last": ((2, 10, 3, 8), (1, 3), (2, 5, 2, 24), (24,)),
    "scaled-in-groups": ((2, 3, 4, 30), (2, 3), None, (1, 3, 4, 1)),
    "positions-of-single-channels": ((2, 3, 1, 30), (-2, -1), (2, 3, 5, 6), (1, 3, 1, 1)),
    "unlike": ((2, 3, 40), (2,), (2, 5, 24), (24,)),
    "long": ((2, 150, 70), (1, 2), None, (70,)),
    "many-columns": ((2, 70, 40, 8), (1, 3), (2, 70, 320), (320,)),
    "many-channels": ((2, 3, 2, 600), (2, 3), None, (600,)),
}


def grouped(spelling, name):
    """Groups of x less their mean over their deviation, times a scale and plus a shift."""
    shape, axes, made, channels = GROUPS[name]
    row = [1 if d in [a % len(shape) for a in axes] else n for d, n in enumerate(shape)]
    count = int(np.prod([shape[a] for a in axes]))
    g = mm.Graph()
    x = tensor(g, "x", "float32", *(made or shape))
    of = g.op("RESHAPE", [x, g.const(list(shape), "int32")], list(shape)) if made else x
    along = g.const(list(axes), "int32")
    number = lambda v: g.const(np.float32(v))  # noqa: E731

    def mean(v):
        if spelling == "mean":
            return g.op("MEAN", [v, along], row, "ReducerOptions", keepDims=True)
        kept = [n for d, n in enumerate(shape) if d not in [a % len(shape) for a in axes]]
        total = g.op("SUM", [v, along], kept, "ReducerOptions", keepDims=False)
        total = (
            g.op("DIV", [total, number(count)], kept, "DivOptions") if spelling == "div" else g.op("MUL", [number(1 / count), total], kept)
        )
        return g.op("RESHAPE", [total, g.const(row, "int32")], row)

    less = g.op("SUB", [of, mean(of)], list(shape), "SubOptions")
    variance = mean(g.op("MUL", [less, less], list(shape), "MulOptions"))
    stable = g.op("ADD", [variance, number(1e-3)], row, "AddOptions")
    if spelling == "div":
        y = g.op("DIV", [less, g.op("SQRT", [stable], row)], list(shape), "DivOptions")
    else:
        y = g.op("MUL", [less, g.op("RSQRT", [stable], row)], list(shape), "MulOptions")
    if made:
        y = g.op("RESHAPE", [y, g.const(list(made), "int32")], list(made))
    numbers = np.linspace(-1, 2, int(np.prod(channels)), dtype="float32").reshape(channels)
    y = g.op("MUL", [y, g.const(numbers)], list(made or shape), "MulOptions")
    y = g.op("ADD", [g.const(numbers[::-1].copy()), y], list(made or shape), "AddOptions")
    return mm.served(g, y=y).tobytes()


@pytest.mark.parametrize("name", GROUPS)
@pytest.mark.parametrize("spelling", ["mean", "sum", "div"])
def test_normalisation_of_groups_becomes_one_step(spelling, name, rng):
    content = grouped(spelling, name)
    runner = sigrun.Interpreter(model_content=content, num_threads=2).get_signature_runner()
    inputs = {"x": rng.normal(1, 2, runner.get_input_details()["x"]["shape"]).astype("float32")}
    got, want = runner(**inputs)["y"], theirs(content).get_signature_runner()(**inputs)["y"]
    np.testing.assert_allclose(got, want, atol=2e-6 * np.abs(want).max())
    assert [step.op for step in runner.plan.steps if step.op != "RESHAPE"] == ["sigrun.group_norm"]

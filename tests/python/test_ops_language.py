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
    elif spelling == "l2":
        total = g.op("SUM", [squares, axis], row, "ReducerOptions", keepDims=True)
    else:
        total = g.op("MEAN", [squares, axis], row, "ReducerOptions", keepDims=True)
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
@pytest.mark.parametrize("spelling", ["square", "mean", "sum", "l2"])
def test_normalisation_becomes_one_step(spelling, rank, scale, rng):
    content = normalised(spelling, rank, scale)
    runner = sigrun.Interpreter(model_content=content).get_signature_runner()
    inputs = {"x": rng.normal(0, 2, [2, 3, 24][3 - rank :]).astype("float32")}
    got, want = runner(**inputs)["y"], theirs(content).get_signature_runner()(**inputs)["y"]
    np.testing.assert_allclose(got, want, atol=1e-6 * np.abs(want).max())
    assert [step.op for step in runner.plan.steps] == ["sigrun.rms_norm"]

"""Broken and hostile files: refused with a message that says where, or run; never a crash, a hang or a read beyond the file."""

import functools
import pathlib
import re
import struct
import subprocess
import sys

import numpy as np
import pytest
from conftest import MODELS

schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
flatbuffers = pytest.importorskip("flatbuffers")

# What a message must hold: a path into the file, an operator by name and number, or every missing operator.
PLACE = re.compile(
    r"(model|subgraphs|buffers|operator_codes|metadata|signature_defs)(\[\d+\]|\.[a-z_]+|:)"
    r"|[A-Za-z0-9_]+ #\d+ '|operators that this build|bytes of memory|tensor '|input '"
)
NAMES = sorted(path.stem for path in MODELS.glob("*.tflite"))


@functools.cache
def original(name):
    return (MODELS / f"{name}.tflite").read_bytes()


def sweep(folder, files):
    """Writes the files, runs sweep.py over them and returns name -> verdict; fails if one of them ended the process."""
    for name, data in files.items():
        (folder / f"{name}.tflite").write_bytes(data)
    script = pathlib.Path(__file__).parent / "sweep.py"
    command = [sys.executable, str(script), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=3000, check=False)
    lines = done.stdout.split("\n")[:-1]
    assert done.returncode == 0, f"exit code {done.returncode} at {lines[-1:]}: {done.stderr[-2000:]}"
    verdicts = dict(line.split("\t", 1) for line in lines)
    verdicts = {name.removesuffix(".tflite"): verdict for name, verdict in verdicts.items()}
    assert set(verdicts) == set(files)
    nowhere = {n: v for n, v in verdicts.items() if v not in ("ran", "allocated") and not PLACE.search(v)}
    assert not nowhere
    return verdicts


# --- bytes --------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["dense2_dense1", "transformer", "encode_decode", "external_buffers"])
def test_truncated_files_are_refused(name, tmp_path):
    data = original(name)
    cuts = {*range(0, 64), *np.random.default_rng(0).integers(0, len(data) - 1, 100).tolist()} - {0}
    verdicts = sweep(tmp_path, {f"cut_{n}": data[:n] for n in cuts})
    early = [n for n in cuts if n < len(data) // 2]
    assert all(verdicts[f"cut_{n}"].startswith(("ValueError", "ModelError")) for n in early)


def flipped(data, rng):
    """A copy with a few bits, bytes or 32-bit words changed."""
    copy = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        at, kind = int(rng.integers(len(copy))), rng.integers(3)
        if kind == 0:
            copy[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            copy[at] = rng.choice([0, 1, 127, 128, 255])
        elif at + 4 <= len(copy):
            struct.pack_into("<I", copy, at, int(rng.choice([0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, len(copy)])))
    return bytes(copy)


def flips(count, seed):
    rng = np.random.default_rng(seed)
    return {f"{name}_{i}": flipped(original(name), rng) for name in NAMES for i in range(count)}


def test_flipped_bytes(tmp_path):
    sweep(tmp_path, flips(20, seed=1))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10, 20))
def test_flipped_bytes_at_length(seed, tmp_path):
    sweep(tmp_path, flips(100, seed))


# --- fields -------------------------------------------------------------------------------------------------------------------------------


def parsed(data):
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(data)))  # vectors that can be written to


def packed(m):
    builder = flatbuffers.Builder(4096)
    builder.Finish(m.Pack(builder), b"TFL3")
    return bytes(builder.Output())


EXTREMES = [0, -1, 1, 2, 3, 7, 127, 2**15, 2**31 - 1, -(2**31), 1000003]


def mutate_tensor(m, rng):
    g = m.subgraphs[rng.integers(len(m.subgraphs))]
    t = g.tensors[rng.integers(len(g.tensors))]
    kind = rng.integers(6)
    if kind == 0:
        t.type = int(rng.integers(20))
    elif kind == 1 and len(t.shape):
        t.shape[rng.integers(len(t.shape))] = rng.choice(EXTREMES[:8])
    elif kind == 2:
        t.shape = rng.integers(0, 5, rng.integers(0, 6)).astype("int32")
    elif kind == 3:
        t.buffer = int(rng.integers(len(m.buffers)))
    elif kind == 4:
        t.quantization = schema.QuantizationParametersT()
        t.quantization.scale = rng.choice([0.5, 0, np.nan, np.inf, -1, 1e-30, 1e30], 1).astype("float32")
        t.quantization.zeroPoint = rng.choice([0, 300, -(2**40)], 1)
    else:
        t.isVariable = not t.isVariable


def mutate_options(op, rng):
    options = op.builtinOptions
    fields = [f for f, v in vars(options).items() if isinstance(v, (int, float, bool))] if options is not None else []
    if not fields or rng.integers(8) == 0:
        op.builtinOptions, op.builtinOptionsType = None, 0
        return
    field = fields[rng.integers(len(fields))]
    value = int(rng.choice(EXTREMES))
    current = getattr(options, field)
    setattr(options, field, type(current)(value))


def mutate_operator(m, rng):
    graphs = [g for g in m.subgraphs if len(g.operators)]
    g = graphs[rng.integers(len(graphs))]
    op = g.operators[rng.integers(len(g.operators))]
    kind = rng.integers(5)
    if kind == 0:
        mutate_options(op, rng)
    elif kind == 1 and len(op.inputs):
        op.inputs = np.delete(op.inputs, rng.integers(len(op.inputs)))
    elif kind == 2 and len(op.inputs):
        op.inputs = np.array(op.inputs)
        op.inputs[rng.integers(len(op.inputs))] = rng.integers(-1, len(g.tensors))
    elif kind == 3:
        op.outputs = np.array(op.outputs[:0] if rng.integers(2) else [*op.outputs, rng.integers(-1, len(g.tensors))], "int32")
    else:
        op.opcodeIndex = int(rng.integers(len(m.operatorCodes)))


def mutate_constant(m, rng):
    """Axes, shapes, paddings, block sizes ...: small integer constants get other values."""
    small = [b for b in m.buffers if b.data is not None and 0 < len(b.data) <= 64 and len(b.data) % 4 == 0]
    if small:
        b = small[rng.integers(len(small))]
        words = np.array(b.data, "uint8").view("int32").copy()
        words[rng.integers(len(words))] = rng.choice(EXTREMES)
        b.data = words.view("uint8")


def mutated(data, rng):
    while True:
        m = parsed(data)
        for _ in range(rng.integers(1, 4)):
            [mutate_tensor, mutate_operator, mutate_operator, mutate_constant][rng.integers(4)](m, rng)
        try:
            return packed(m)
        except (TypeError, AttributeError):
            pass  # the value does not fit the field, or the field says what another one holds


def mutations(count, seed):
    rng = np.random.default_rng(seed)
    return {f"{name}_{i}": mutated(original(name), rng) for name in NAMES if name != "external_buffers" for i in range(count)}


def test_changed_fields(tmp_path):
    sweep(tmp_path, mutations(20, seed=2))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20, 30))
def test_changed_fields_at_length(seed, tmp_path):
    sweep(tmp_path, mutations(100, seed))


# --- by hand ------------------------------------------------------------------------------------------------------------------------------

HOSTILE = {}


def hostile(name, where, *more):
    """A case: the decorated function edits the parsed model `name`, or gets the bytes; messages must match the regular expressions."""

    def register(edit):
        HOSTILE[edit.__name__] = (name, (where, *more), edit)
        return edit

    return register


def ints(*values):
    return np.array(values, "int32")


def clear_options(op):
    op.builtinOptions, op.builtinOptionsType = None, 0


@hostile("dense2_dense1", r"subgraphs\[0\]\.operators\[1\]\.inputs")
def input_index_beyond_the_tensors(m):
    m.subgraphs[0].operators[1].inputs[0] = 1000


@hostile("dense2_dense1", r"subgraphs\[0\]\.operators\[0\]\.inputs")
def input_index_very_negative(m):
    m.subgraphs[0].operators[0].inputs[1] = -(2**31)


@hostile("dense2_dense1", r"subgraphs\[0\]\.operators\[0\]\.outputs")
def output_index_beyond_the_tensors(m):
    m.subgraphs[0].operators[0].outputs[0] = 2**31 - 1


@hostile("dense2_dense1", r"subgraphs\[0\]\.inputs")
def graph_input_out_of_range(m):
    m.subgraphs[0].inputs = ints(-1)


@hostile("dense2_dense1", r"subgraphs\[0\]\.outputs")
def graph_output_out_of_range(m):
    m.subgraphs[0].outputs = ints(99)


@hostile("dense2_dense1", r"subgraphs\[0\]\.operators\[0\]\.inputs.*before")
def operators_in_the_wrong_order(m):
    m.subgraphs[0].operators.reverse()


@hostile("dense2_dense1", r"subgraphs\[0\]\.operators\[0\]\.inputs.*before")
def operator_reads_what_it_writes(m):
    op = m.subgraphs[0].operators[0]
    op.inputs[0] = op.outputs[0]


@hostile("dense2_dense1", r"subgraphs\[0\]\.operators\[1\]\.outputs")
def tensor_written_twice(m):
    first, second = m.subgraphs[0].operators
    second.outputs = ints(first.outputs[0])


@hostile("dense2_dense1", r"subgraphs\[0\]\.operators\[1\]\.outputs")
def operator_writes_a_constant(m):
    first, second = m.subgraphs[0].operators
    second.outputs = ints(first.inputs[1])


@hostile("dense2_dense1", r"subgraphs\[0\]\.inputs.*constant")
def constant_as_graph_input(m):
    m.subgraphs[0].inputs = ints(m.subgraphs[0].operators[0].inputs[1])
    m.signatureDefs = []


@hostile("dense2_dense1", r"subgraphs\[0\]\.outputs.*nothing writes")
def graph_output_that_nothing_writes(m):
    m.subgraphs[0].operators.pop()


@hostile("dense2_dense1", r"subgraphs\[0\]\.tensors\[0\]\.shape")
def negative_dimension(m):
    m.subgraphs[0].tensors[0].shape[1] = -4


@hostile("dense2_dense1", r"subgraphs\[0\]\.tensors\[0\]\.shape.*rank 33")
def too_many_dimensions(m):
    m.subgraphs[0].tensors[0].shape = np.ones(33, "int32")


@hostile("dense2_dense1", r"subgraphs\[0\]\.tensors\[0\].*2\^40")
def more_elements_than_any_memory(m):
    m.subgraphs[0].tensors[0].shape = ints(2**31 - 1, 2**31 - 1, 2**31 - 1, 4)


@hostile("add_two_signatures", r"bytes of memory|allocate")
def more_memory_than_the_machine_has(m):
    for t in m.subgraphs[0].tensors:
        t.shape, t.shapeSignature = ints(1 << 19, 1 << 20), None


@hostile("dense2_dense1", r"subgraphs\[0\]\.tensors\[1\]\.buffer")
def constant_shorter_than_its_shape(m):
    m.subgraphs[0].tensors[1].shape = ints(200, 4)


@hostile("dense2_dense1", r"subgraphs\[0\]\.tensors\[1\]\.buffer")
def buffer_index_out_of_range(m):
    m.subgraphs[0].tensors[1].buffer = 77


@hostile("dense2_dense1", r"subgraphs\[0\]\.tensors\[0\]\.type")
def unknown_element_type(m):
    m.subgraphs[0].tensors[0].type = 111


@hostile("dense2_dense1", r"subgraphs\[0\]\.operators\[0\]\.opcode_index")
def operator_code_out_of_range(m):
    m.subgraphs[0].operators[0].opcodeIndex = 5


@hostile("dense2_dense1", r"operators that this build.*BUILTIN_100000")
def builtin_code_unknown(m):
    m.operatorCodes[0].builtinCode = 100000


@hostile("dense2_dense1", r"operator_codes\[0\]")
def builtin_code_negative(m):
    m.operatorCodes[0].builtinCode = m.operatorCodes[0].deprecatedBuiltinCode = -3


@hostile("dense2_dense1", r"signature_defs\[0\]\.inputs\[0\]\.tensor_index")
def signature_input_out_of_range(m):
    m.signatureDefs[0].inputs[0].tensorIndex = 1 << 31


@hostile("dense2_dense1", r"signature_defs\[0\]\.inputs")
def signature_input_is_no_graph_input(m):
    m.signatureDefs[0].inputs[0].tensorIndex = 1


@hostile("dense2_dense1", r"signature_defs\[0\]\.subgraph_index")
def signature_of_a_missing_subgraph(m):
    m.signatureDefs[0].subgraphIndex = 9


@hostile("add_two_signatures", r"signature_defs\[1\]\.signature_key")
def signature_key_twice(m):
    m.signatureDefs[1].signatureKey = m.signatureDefs[0].signatureKey


@hostile("add_two_signatures", r"signature_defs\[0\]\.inputs.*twice")
def signature_name_twice(m):
    m.signatureDefs[0].inputs[1].name = m.signatureDefs[0].inputs[0].name


@hostile("dense2_dense1", r"subgraphs")
def no_subgraph(m):
    m.subgraphs, m.signatureDefs = [], []


@hostile("dense2_dense1", r"model\.version")
def other_schema_version(m):
    m.version = 4


@hostile("metadata", r"metadata\[1\]\.buffer")
def metadata_buffer_out_of_range(m):
    m.metadata[1].buffer = 1000


@hostile("convnet_int8", r"quantized_dimension")
def scales_do_not_match_the_channels(m):
    q = next(t.quantization for t in m.subgraphs[0].tensors if t.quantization is not None and len(t.quantization.scale) > 1)
    q.scale = q.scale[:3]
    q.zeroPoint = q.zeroPoint[:3]


@hostile("convnet_int8", r"#0 '.*scale")
def scale_of_zero(m):
    m.subgraphs[0].tensors[m.subgraphs[0].inputs[0]].quantization.scale = np.array([0], "float32")


@hostile("convnet_int8", r"#0 '.*scale")
def scale_not_a_number(m):
    m.subgraphs[0].tensors[m.subgraphs[0].inputs[0]].quantization.scale = np.array([np.nan], "float32")


@hostile("convnet_int8", r"#0 '.*(scale|quantisation)")
def no_quantization(m):
    m.subgraphs[0].tensors[m.subgraphs[0].inputs[0]].quantization = None


@hostile("convnet_float32", r"CONV_2D #0 '.*stride")
def stride_of_zero(m):
    m.subgraphs[0].operators[0].builtinOptions.strideH = 0


@hostile("convnet_float32", r"CONV_2D #0 '.*dilation")
def negative_dilation(m):
    m.subgraphs[0].operators[0].builtinOptions.dilationWFactor = -1


@hostile("convnet_float32", r"CONV_2D #0 '")
def convolution_without_options(m):
    clear_options(m.subgraphs[0].operators[0])


@hostile("convnet_float32", r"CONV_2D #0 '.*channels")
def channels_do_not_divide(m):
    g = m.subgraphs[0]
    g.tensors[g.inputs[0]].shape = ints(1, 12, 12, 5)


@hostile("convnet_float32", r"CONV_2D #0 '")
def filter_without_elements(m):
    g = m.subgraphs[0]
    g.tensors[g.operators[0].inputs[1]].shape = ints(8, 0, 3, 3)


@hostile("convnet_float32", r"DEPTHWISE_CONV_2D #1 '")
def channels_are_no_multiple(m):
    m.subgraphs[0].tensors[m.subgraphs[0].operators[1].inputs[1]].shape = ints(1, 3, 3, 7)
    m.subgraphs[0].tensors[m.subgraphs[0].operators[1].inputs[2]].shape = ints(7)


@hostile("dynamic_batch", r"MAX_POOL_2D #1 '")
def pool_with_a_window_of_zero(m):
    m.subgraphs[0].operators[1].builtinOptions.filterHeight = 0


@hostile("dynamic_batch", r"MAX_POOL_2D #1 '")
def pool_with_a_negative_stride(m):
    m.subgraphs[0].operators[1].builtinOptions.strideW = -2


@hostile("dynamic_batch", r"RESHAPE #2 '")
def reshape_to_another_size(m):
    set_constant(m, 2, 1, ints(-1, 33))


@hostile("dynamic_batch", r"RESHAPE #2 '")
def reshape_with_two_unknowns(m):
    set_constant(m, 2, 1, ints(-1, -1))


@hostile("dynamic_batch", r"RESHAPE #2 '")
def reshape_to_a_negative_size(m):
    set_constant(m, 2, 1, ints(-7, 32))


@hostile("unet_float32", r"CONCATENATION #\d+ '.*axis")
def concatenation_along_no_axis(m):
    operator(m, "CONCATENATION").builtinOptions.axis = 4


@hostile("unet_float32", r"RESIZE_BILINEAR #\d+ '")
def resize_to_nothing(m):
    set_constant(m, position(m, "RESIZE_BILINEAR"), 1, ints(0, -4))


@hostile("unet_float32", r"TRANSPOSE_CONV #\d+ '")
def transposed_convolution_of_stride_zero(m):
    operator(m, "TRANSPOSE_CONV").builtinOptions.strideH = 0


@hostile("convnet_float16", r"DEQUANTIZE #\d+ '.*its input 0 is missing")
def half_weights_that_are_missing(m):
    operator(m, "DEQUANTIZE").inputs = [-1]


@hostile("transformer", r"TRANSPOSE #\d+ '")
def permutation_out_of_range(m):
    set_constant(m, position(m, "TRANSPOSE"), 1, ints(0, 2, 1, 9))


@hostile("transformer", r"TRANSPOSE #\d+ '")
def permutation_twice_the_same(m):
    set_constant(m, position(m, "TRANSPOSE"), 1, ints(0, 2, 2, 3))


@hostile("transformer", r"GATHER #0 '.*(index|indices)")
def gather_beyond_the_table(m):
    m.subgraphs[0].tensors[m.subgraphs[0].operators[0].inputs[0]].shape = ints(1, 8)


@hostile("transformer", r"MEAN #\d+ '.*ax")
def mean_along_no_axis(m):
    set_constant(m, position(m, "MEAN"), 1, ints(3))


@hostile("fusable_float32", r"PAD #0 '")
def negative_padding(m):
    set_constant(m, 0, 1, ints(0, 0, -20, 1, 0, 2, 0, 0))


@hostile("fusable_float32", r"PAD #0 '|bytes of memory|2\^40")
def padding_without_end(m):
    set_constant(m, 0, 1, ints(0, 0, 2**31 - 1, 1, 0, 2**31 - 1, 0, 0))


@hostile("no_signatures_no_names", r"SUB #0 '")
def operator_without_inputs(m):
    m.subgraphs[0].operators[0].inputs = ints()


@hostile("no_signatures_no_names", r"SUB #0 '")
def operator_with_an_absent_input(m):
    m.subgraphs[0].operators[0].inputs = ints(0, -1)


@hostile("no_signatures_no_names", r"SUB #0 '")
def strings_where_numbers_belong(m):
    for t in m.subgraphs[0].tensors:
        t.type = schema.TensorType.STRING


@hostile("no_signatures_no_names", r"SUB #0 '")
def shapes_that_do_not_broadcast(m):
    m.subgraphs[0].tensors[1].shape = ints(2, 4)


@hostile("encode_decode", r"FlexStringToNumber #0 '")
def custom_options_are_no_flexbuffer(m):
    m.subgraphs[0].operators[0].customOptions = np.full(20, 255, "uint8")


def set_constant(m, operator_index, input_index, value):
    g = m.subgraphs[0]
    tensor = g.tensors[g.operators[operator_index].inputs[input_index]]
    tensor.buffer = len(m.buffers)
    m.buffers.append(schema.BufferT())
    m.buffers[-1].data = value.view("uint8")


def position(m, builtin):
    code = getattr(schema.BuiltinOperator, builtin)
    return next(i for i, op in enumerate(m.subgraphs[0].operators) if m.operatorCodes[op.opcodeIndex].builtinCode == code)


def operator(m, builtin):
    return m.subgraphs[0].operators[position(m, builtin)]


def calls(m, builtin, options, **fields):
    """Replaces the model's operators by one that runs subgraph 0 itself."""
    g = m.subgraphs[0]
    m.operatorCodes[0].builtinCode = getattr(schema.BuiltinOperator, builtin)
    op = g.operators[0]
    op.opcodeIndex = 0
    op.builtinOptionsType = getattr(schema.BuiltinOptions, options)
    op.builtinOptions = getattr(schema, options + "T")()
    for field, value in fields.items():
        setattr(op.builtinOptions, field, value)
    op.inputs, op.outputs = ints(*g.inputs), ints(*g.outputs)
    g.operators = [op]
    m.signatureDefs = []


@hostile("dense2_dense1", r"WHILE")
def loop_whose_body_is_itself(m):
    calls(m, "WHILE", "WhileOptions", condSubgraphIndex=0, bodySubgraphIndex=0)


@hostile("dense2_dense1", r"IF")
def branch_into_itself(m):
    g = m.subgraphs[0]
    calls(m, "IF", "IfOptions", thenSubgraphIndex=0, elseSubgraphIndex=0)
    g.tensors[g.inputs[0]].type, g.tensors[g.inputs[0]].shape = schema.TensorType.BOOL, ints(1)


@hostile("dense2_dense1", r"CALL_ONCE|subgraphs\[0\]")
def call_once_of_itself(m):
    calls(m, "CALL_ONCE", "CallOnceOptions", initSubgraphIndex=0)


@hostile("dense2_dense1", r"CALL_ONCE|WHILE|subgraph")
def loop_over_a_missing_subgraph(m):
    calls(m, "WHILE", "WhileOptions", condSubgraphIndex=5, bodySubgraphIndex=-2)


def test_fields_changed_by_hand(tmp_path):
    files = {}
    for case, (name, _, edit) in HOSTILE.items():
        m = parsed(original(name))
        edit(m)
        files[case] = packed(m)
    verdicts = sweep(tmp_path, files)
    wrong = {}
    for case, (_, patterns, _) in HOSTILE.items():
        verdict = verdicts[case]
        if "Error" not in verdict or not all(re.search(p, verdict) for p in patterns):
            wrong[case] = verdict
    assert not wrong


def with_word(data, at, word):
    return data[:at] + struct.pack("<I", word) + data[at + 4 :]


def vector_of_tensors(data):
    """Where the length of `subgraphs[0].tensors` stands."""
    subgraph = schema.Model.GetRootAs(data).Subgraphs(0)._tab
    return subgraph.Vector(subgraph.Offset(4)) - 4


def test_offsets_changed_by_hand(tmp_path):
    data = original("dense2_dense1")
    length = vector_of_tensors(data)
    root = struct.unpack_from("<I", data)[0]
    cases = {
        "no_bytes_to_speak_of": (data[:5], "header"),
        "other_identifier": (data[:4] + b"TFL2" + data[8:], "TFL3"),
        "root_beyond_the_file": (with_word(data, 0, 0x7FFFFFFF), "model"),
        "root_at_the_last_byte": (with_word(data, 0, len(data) - 1), "model"),
        "root_negative": (with_word(data, 0, 0xFFFFFFFC), "model"),
        "root_is_its_own_vtable": (with_word(data, root, 0), "model"),
        "vtable_before_the_file": (with_word(data, root, 0x7FFFFFFF), "model"),
        "vtable_beyond_the_file": (with_word(data, root, 0x80000000), "model"),
        "vector_without_end": (with_word(data, length, 0xFFFFFFFF), r"subgraphs\[0\]\.tensors"),
        "vector_overflowing_32_bits": (with_word(data, length, 0x40000001), r"subgraphs\[0\]\.tensors"),
        "vector_longer_than_its_elements": (with_word(data, length, 100), r"subgraphs\[0\]\.tensors\[\d+\]|subgraphs\[0\]\.tensors"),
        "element_beyond_the_file": (with_word(data, length + 4, 0xFFFFFFF0), r"subgraphs\[0\]\.tensors\[0\]"),
    }
    verdicts = sweep(tmp_path, {name: data for name, (data, _) in cases.items()})
    for name, (_, where) in cases.items():
        assert verdicts[name].startswith(("ValueError", "ModelError")), (name, verdicts[name])
        assert re.search(where, verdicts[name]), (name, verdicts[name])


def test_one_vector_shared_a_million_times(tmp_path):
    """A small file that says the same thing very often must not cost memory or time."""
    m = parsed(original("no_signatures_no_names"))
    g = m.subgraphs[0]
    g.inputs = np.zeros(200_000, "int32")
    g.tensors[0].name = "n" * 100_000
    verdicts = sweep(tmp_path, {"many_inputs": packed(m)})
    assert "Error" in verdicts["many_inputs"]

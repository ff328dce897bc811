"""Models that a converter does not write: a call must refuse or run them, never touch memory that is not the tensor's."""

import copy
import pathlib

import numpy as np
import pytest

import sigrun

schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
flatbuffers = pytest.importorskip("flatbuffers")


@pytest.fixture
def edited(model_path):
    """edited(name, edit) -> the interpreter of that model after edit(model object)."""

    def make(name, edit):
        model = schema.ModelT.InitFromPackedBuf(pathlib.Path(model_path(name)).read_bytes(), 0)
        edit(model)
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        return sigrun.Interpreter(model_content=bytes(builder.Output()))

    return make


def signature(model, key):
    return next(s for s in model.signatureDefs if s.signatureKey == key)


def test_two_names_for_one_input(edited):
    def edit(model):
        x, y = signature(model, b"add").inputs
        y.tensorIndex = x.tensorIndex

    add = edited("add_two_signatures", edit).get_signature_runner("add")
    with pytest.raises(ValueError, match="another input"):
        add(x=np.ones((4, 3), np.float32), y=np.ones((1, 3), np.float32))
    with pytest.raises(ValueError, match="another input"):
        add(x=np.ones((1, 3), np.float32), y=np.ones((4, 3), np.float32))


def test_input_with_a_constant_value(edited):
    def edit(model):
        buffer = schema.BufferT()
        buffer.data = np.full(3, 7, np.float32).view(np.uint8)
        model.buffers.append(buffer)
        for subgraph in model.subgraphs:
            for index in subgraph.inputs:
                if subgraph.tensors[index].name == b"x_tensor":
                    subgraph.tensors[index].buffer = len(model.buffers) - 1

    interpreter = edited("add_two_signatures", edit)
    ones = np.ones((1, 3), np.float32)
    try:
        outputs = interpreter.get_signature_runner("add")(x=ones, y=ones)
    except (ValueError, RuntimeError):
        return
    assert outputs["result"].tolist() in ([[2, 2, 2]], [[8, 8, 8]])


def test_names_that_are_no_text(edited):
    def edit(model):
        signature(model, b"add").inputs[0].name = b"\xff\xfe"
        model.subgraphs[0].tensors[0].name = b"\xff"

    interpreter = edited("add_two_signatures", edit)
    names = interpreter.get_signature_list()["add"]["inputs"]
    assert "\udcff\udcfe" in names
    assert "\udcff" in [d["name"] for d in interpreter.get_tensor_details(0)]
    add = interpreter.get_signature_runner("add")
    ones = np.ones((1, 3), np.float32)
    np.testing.assert_array_equal(add(**dict.fromkeys(names, ones))["result"], 2 * ones)
    with pytest.raises(ValueError, match="Invalid Input name"):
        add(**{"\udcff": ones, "y": ones})
    with pytest.raises(ValueError, match="FLOAT64"):
        add(**dict.fromkeys(names, np.ones((1, 3))))


def test_arrays_of_high_rank(model_path):
    add = sigrun.Interpreter(model_path=model_path("add_two_signatures")).get_signature_runner("add")
    for rank in (8, 32):
        value = np.ones((1,) * rank, np.float32)
        assert add(x=value, y=value)["result"].shape == value.shape


def test_input_listed_twice(edited):
    def edit(model):
        g = model.subgraphs[signature(model, b"add").subgraphIndex]
        g.inputs = np.array([*g.inputs, g.inputs[0]], np.int32)

    add = edited("add_two_signatures", edit).get_signature_runner("add")
    for rows in (4, 1, 6):
        ones = np.ones((rows, 3), np.float32)
        assert add(x=ones, y=ones)["result"].tolist() == [[2, 2, 2]] * rows


def test_inputs_of_a_branch_that_are_one_tensor(edited):
    """The branch has room for one of them."""

    def edit(model):
        model.signatureDefs = []
        g = model.subgraphs[0]
        model.subgraphs = [g, copy.deepcopy(g)]
        branch = model.subgraphs[1]
        branch.inputs = np.array([branch.inputs[0]] * 2, np.int32)
        branch.operators[0].inputs = branch.inputs
        for name, kind, shape in ((b"condition", schema.TensorType.BOOL, []), (b"large", schema.TensorType.FLOAT32, [500, 3])):
            tensor = schema.TensorT()
            tensor.name, tensor.type, tensor.shape = name, kind, np.array(shape, np.int32)
            g.tensors.append(tensor)
        condition, large = len(g.tensors) - 2, len(g.tensors) - 1
        g.inputs = np.array([condition, large, g.inputs[0]], np.int32)
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.IF
        model.operatorCodes.append(code)
        op = schema.OperatorT()
        op.opcodeIndex = len(model.operatorCodes) - 1
        op.inputs, op.outputs = g.inputs, g.outputs
        op.builtinOptionsType, op.builtinOptions = schema.BuiltinOptions.IfOptions, schema.IfOptionsT()
        op.builtinOptions.thenSubgraphIndex = op.builtinOptions.elseSubgraphIndex = 1
        g.operators = [op]

    with pytest.raises(ValueError, match=r"listed twice, and given the shapes \[500, 3\] and \[1, 3\]"):
        edited("add_two_signatures", edit).allocate_tensors()

"""TensorFlow's operators inside a .tflite file give what TensorFlow gives: stored in flex_goldens.npz by make_flex_goldens.py."""

import numpy as np
import pytest
from flatbuffers import flexbuffers
from one_op import compare, mm, stored_cases

import sigrun

CASES = stored_cases("flex_goldens")
CHECKPOINT = CASES.pop("checkpoint")
INDEX, DATA = CHECKPOINT.pop("index"), CHECKPOINT.pop("data")


def type_of(array):
    return "string" if array.dtype.kind == "S" else str(array.dtype)


def as_input(array):
    return array.astype(object) if array.dtype.kind == "S" else array


def check(got, want):
    if want.dtype.kind == "S":
        assert np.shape(got) == want.shape
        assert [bytes(t) for t in np.asarray(got, object).ravel()] == [bytes(t) for t in want.ravel()]
    else:
        compare({"": got}, {"": want}, 3e-6)


@pytest.mark.parametrize("name", CASES)
def test_as_tensorflow(name):
    parts = CASES[name]
    op = name.split(".")[0]
    inputs = [parts[f"in{i}"] for i in range(len(parts)) if f"in{i}" in parts]
    outputs = [parts[f"out{o}"] for o in range(len(parts)) if f"out{o}" in parts]
    g = mm.Graph("main")
    g.inputs = [g.add(mm.Tensor(f"i{i}", list(x.shape), type_of(x))) for i, x in enumerate(inputs)]
    made = [g.add(mm.Tensor(f"o{o}", list(y.shape), type_of(y))) for o, y in enumerate(outputs)]
    options = bytes(flexbuffers.Dumps([op, parts["node"].tobytes()]))
    g.ops.append(mm.Op(f"Flex{op}", g.inputs, made, custom_options=options))
    content = mm.served(g, **{f"o{o}": v for o, v in enumerate(made)}).tobytes()
    arguments = {f"i{i}": as_input(x) for i, x in enumerate(inputs)}
    got = sigrun.Interpreter(model_content=content).get_signature_runner()(**arguments)
    for o, want in enumerate(outputs):
        check(got[f"o{o}"], want)


UPDATES = stored_cases("flex_updates")


@pytest.mark.parametrize("name", UPDATES)
def test_variables_are_changed_as_tensorflow_does(name):
    parts = UPDATES[name]
    op = name.split(".")[0]
    of = lambda kind: [parts[f"{kind}{i}"] for i in range(len(parts)) if f"{kind}{i}" in parts]  # noqa: E731
    g = mm.Graph("main")
    handles = [g.add(mm.Tensor(f"h{i}", [], "resource")) for i in range(len(of("variable")))]
    for i, (handle, value) in enumerate(zip(handles, of("variable"), strict=True)):
        g.ops.append(mm.Op("VAR_HANDLE", [], [handle], "VarHandleOptions", {"container": "", "sharedName": f"v{i}"}))
        g.ops.append(mm.Op("ASSIGN_VARIABLE", [handle, g.const(value, str(value.dtype))], [], "AssignVariableOptions"))
    g.inputs = [g.add(mm.Tensor(f"i{i}", list(x.shape), str(x.dtype))) for i, x in enumerate(of("in"))]
    options = bytes(flexbuffers.Dumps([op, parts["node"].tobytes()]))
    g.ops.append(mm.Op(f"Flex{op}", [*handles, *g.inputs], [], custom_options=options))
    made = [g.add(mm.Tensor(f"o{i}", list(y.shape), str(y.dtype))) for i, y in enumerate(of("out"))]
    for handle, out in zip(handles, made, strict=True):
        read = bytes(flexbuffers.Dumps(["ReadVariableOp", b""]))
        g.ops.append(mm.Op("FlexReadVariableOp", [handle], [out], custom_options=read))
    content = mm.served(g, **{f"o{i}": v for i, v in enumerate(made)}).tobytes()
    got = sigrun.Interpreter(model_content=content).get_signature_runner()(**{f"i{i}": x for i, x in enumerate(of("in"))})
    for i, want in enumerate(of("out")):
        check(got[f"o{i}"], want)


@pytest.mark.parametrize(("held", "message"), [(None, "before a value was assigned"), ((3, 2), r"holds FLOAT32 \[3, 2\], its change")])
def test_a_variable_of_another_shape_is_not_changed(held, message):
    g = mm.Graph("main")
    handle = g.add(mm.Tensor("h", [], "resource"))
    g.ops.append(mm.Op("VAR_HANDLE", [], [handle], "VarHandleOptions", {"container": "", "sharedName": "v"}))
    if held:
        g.ops.append(mm.Op("ASSIGN_VARIABLE", [handle, g.const(np.zeros(held, "float32"))], [], "AssignVariableOptions"))
    g.inputs = [g.add(mm.Tensor("x", [2, 3], "float32"))]
    options = bytes(flexbuffers.Dumps(["ResourceApplyGradientDescent", b""]))
    rate = g.const(np.float32(1))
    g.ops.append(mm.Op("FlexResourceApplyGradientDescent", [handle, rate, *g.inputs], [], custom_options=options))
    content = mm.served(g, y=g.op("NEG", g.inputs, [2, 3])).tobytes()
    with pytest.raises((RuntimeError, ValueError), match=f"FlexResourceApplyGradientDescent #.*{message}"):
        sigrun.Interpreter(model_content=content).get_signature_runner()(x=np.zeros((2, 3), "float32"))


# The attributes dt of Restore: TensorFlow's numbers of the types.
TYPES = {"float32": 1, "int8": 6, "string": 7, "int64": 9, "bool": 10, "float64": 2, "float16": 19}


def packed(texts):
    """Strings as a buffer keeps them: how many, where each begins and the last ends, the bytes."""
    data = [t.encode() for t in texts]
    ends = np.cumsum([4 * (len(data) + 2), *map(len, data)])
    return np.frombuffer(np.array([len(data), *ends], "int32").tobytes() + b"".join(data), np.uint8)


def checkpoint_model(tensors):
    """Signatures save, which takes a file's name and the tensors, and restore, which gives them back."""
    save, restore = mm.Graph("save"), mm.Graph("restore")
    save.inputs = [save.add(mm.Tensor("path", [], "string"))]
    restore.inputs = [restore.add(mm.Tensor("path", [], "string"))]
    values = [save.add(mm.Tensor(f"v{i}", list(x.shape), type_of(x))) for i, x in enumerate(tensors.values())]
    save.inputs += values
    names = save.add(mm.Tensor("names", [len(tensors)], "string", packed(tensors)))
    save.ops.append(mm.Op("FlexSave", [save.inputs[0], names, *values], [], custom_options=bytes(flexbuffers.Dumps(["Save", b""]))))
    for i, (name, x) in enumerate(tensors.items()):
        key = restore.add(mm.Tensor(f"name{i}", [], "string", packed([name])))
        y = restore.add(mm.Tensor(f"o{i}", [], type_of(x)))
        node = b"\x2a\x08\x0a\x02dt\x12\x02\x30" + bytes([TYPES[type_of(x)]])
        restore.ops.append(mm.Op("FlexRestore", [restore.inputs[0], key], [y], custom_options=bytes(flexbuffers.Dumps(["Restore", node]))))
        restore.outputs.append(y)
    save.outputs = save.inputs[:1]
    model = mm.Model([save, restore])
    model.signatures = {
        "save": (0, {"path": 0} | {f"v{i}": v for i, v in enumerate(values)}, {"path": 0}),
        "restore": (1, {"path": 0}, {f"o{i}": y for i, y in enumerate(restore.outputs)}),
    }
    return model.tobytes()


def restored(content, path):
    return sigrun.Interpreter(model_content=content).get_signature_runner("restore")(path=np.array(str(path).encode(), object))


def test_restores_what_tensorflow_saved(tmp_path):
    path = tmp_path / "checkpoint"
    path.write_bytes(CHECKPOINT["file"].tobytes())
    tensors = {name: value for name, value in CHECKPOINT.items() if name != "file"}
    got = restored(checkpoint_model(tensors), path)
    for i, want in enumerate(tensors.values()):
        check(got[f"o{i}"], want)


def test_restores_what_it_saved(tmp_path):
    path = tmp_path / "checkpoint"
    tensors = {name: value for name, value in CHECKPOINT.items() if name != "file"}
    tensors["large"] = np.arange(40000, dtype="float32").reshape(200, 200)
    content = checkpoint_model(tensors)
    save = sigrun.Interpreter(model_content=content).get_signature_runner("save")
    save(path=np.array(str(path).encode(), object), **{f"v{i}": as_input(x) for i, x in enumerate(tensors.values())})
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint"]
    got = restored(content, path)
    for i, want in enumerate(tensors.values()):
        check(got[f"o{i}"], want)


def test_a_broken_checkpoint_is_refused(tmp_path):
    content = checkpoint_model({"w": CHECKPOINT["w"]})
    whole = CHECKPOINT["file"].tobytes()
    path = tmp_path / "checkpoint"
    with pytest.raises(RuntimeError, match="FlexRestore #0 'o0': there is no checkpoint"):
        restored(content, path)
    for at in (2, 40, len(whole) // 2, len(whole) - 60, len(whole) - 1):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        with pytest.raises(RuntimeError, match="checkpoint"):
            restored(content, path)
    for end in range(0, len(whole), 37):
        path.write_bytes(whole[:end])
        with pytest.raises(RuntimeError, match="checkpoint"):
            restored(content, path)


def bundle_model(tensors):
    """Signatures save, restore and merge over TensorFlow's second format."""
    save, restore, merge = mm.Graph("save"), mm.Graph("restore"), mm.Graph("merge")
    paths = [g.add(mm.Tensor("path", [], "string")) for g in (save, restore, merge)]
    values = [save.add(mm.Tensor(f"v{i}", list(x.shape), type_of(x))) for i, x in enumerate(tensors.values())]
    save.inputs, restore.inputs = [paths[0], *values], [paths[1]]
    names, parts = (
        [g.add(mm.Tensor(n, [len(tensors)], "string", packed(t))) for g in (save, restore)]
        for n, t in (("names", tensors), ("parts", [""] * len(tensors)))
    )
    options = {op: bytes(flexbuffers.Dumps([op, b""])) for op in ("SaveV2", "RestoreV2", "MergeV2Checkpoints")}
    save.ops.append(mm.Op("FlexSaveV2", [paths[0], names[0], parts[0], *values], [], custom_options=options["SaveV2"]))
    restore.outputs = [restore.add(mm.Tensor(f"o{i}", [], type_of(x))) for i, x in enumerate(tensors.values())]
    restore.ops.append(mm.Op("FlexRestoreV2", [paths[1], names[1], parts[1]], restore.outputs, custom_options=options["RestoreV2"]))
    to = merge.add(mm.Tensor("to", [], "string"))
    one = merge.op("RESHAPE", [paths[2], merge.const([1], "int32")], [1], dtype="string")
    merge.inputs = [paths[2], to]
    merge.ops.append(mm.Op("FlexMergeV2Checkpoints", [one, to], [], custom_options=options["MergeV2Checkpoints"]))
    save.outputs, merge.outputs = [paths[0]], [to]
    model = mm.Model([save, restore, merge])
    model.signatures = {
        "save": (0, {"path": paths[0]} | {f"v{i}": v for i, v in enumerate(values)}, {"path": paths[0]}),
        "restore": (1, {"path": paths[1]}, {f"o{i}": y for i, y in enumerate(restore.outputs)}),
        "merge": (2, {"path": paths[2], "to": to}, {"to": to}),
    }
    return model.tobytes()


def text(path):
    return np.array(str(path).encode(), object)


TENSORS = {name: value for name, value in CHECKPOINT.items() if name != "file"}


def test_restores_a_bundle_of_tensorflow(tmp_path):
    (tmp_path / "saved.index").write_bytes(INDEX.tobytes())
    (tmp_path / "saved.data-00000-of-00001").write_bytes(DATA.tobytes())
    got = restored(bundle_model(TENSORS), tmp_path / "saved")
    for i, want in enumerate(TENSORS.values()):
        check(got[f"o{i}"], want)


def test_saves_merges_and_restores_a_bundle(tmp_path):
    tensors = TENSORS | {"large": np.arange(40000, dtype="float32").reshape(200, 200)}
    content = bundle_model(tensors)
    interpreter = sigrun.Interpreter(model_content=content)
    interpreter.get_signature_runner("save")(path=text(tmp_path / "a"), **{f"v{i}": as_input(x) for i, x in enumerate(tensors.values())})
    interpreter.get_signature_runner("merge")(path=text(tmp_path / "a"), to=text(tmp_path / "b"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b.data-00000-of-00001", "b.index"]
    got = restored(content, tmp_path / "b")
    for i, want in enumerate(tensors.values()):
        check(got[f"o{i}"], want)


def test_a_broken_bundle_is_refused(tmp_path):
    content, data = bundle_model(TENSORS), bytearray(DATA.tobytes())
    with pytest.raises((RuntimeError, ValueError), match="FlexRestoreV2 #0.*there is no checkpoint"):
        restored(content, tmp_path / "saved")
    (tmp_path / "saved.index").write_bytes(INDEX.tobytes())
    path = tmp_path / "saved.data-00000-of-00001"
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises((RuntimeError, ValueError), match="FlexRestoreV2 #0.*the checkpoint holds"):
        restored(content, tmp_path / "saved")
    data[5] ^= 1
    path.write_bytes(data)
    with pytest.raises((RuntimeError, ValueError), match="FlexRestoreV2 #0.*wrong checksum"):
        restored(content, tmp_path / "saved")

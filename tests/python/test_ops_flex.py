"""TensorFlow's operators inside a .tflite file give what TensorFlow gives: stored in flex_goldens.npz by make_flex_goldens.py."""

import numpy as np
import pytest
from flatbuffers import flexbuffers
from one_op import compare, mm, stored_cases

import sigrun

CASES = stored_cases("flex_goldens")
CHECKPOINT = CASES.pop("checkpoint")


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

"""What outlives a call: variables and hash tables give what LiteRT gives, belong to one interpreter, and are shared by its signatures."""

import sys

import numpy as np
import pytest
from conftest import MODELS

import sigrun

litert = pytest.importorskip("ai_edge_litert.interpreter")
sys.path.insert(0, str(MODELS))
import make_models as mm  # noqa: E402


class Stateful(mm.Graph):
    """A graph with operators that have no output, or only a handle."""

    def handle(self, name):
        out = self.add(mm.Tensor(f"handle{len(self.tensors)}", [], "resource"))
        self.ops.append(mm.Op("VAR_HANDLE", [], [out], "VarHandleOptions", {"container": "", "sharedName": name}))
        return out

    def table(self, number, key, value):
        out = self.add(mm.Tensor(f"table{len(self.tensors)}", [1], "resource"))
        types = {"tableId": number, "keyDtype": mm.TYPES[key], "valueDtype": mm.TYPES[value]}
        self.ops.append(mm.Op("HASHTABLE", [], [out], "HashtableOptions", types))
        return out

    def read(self, name, shape, dtype="float32", ranked=True):
        out = self.add(mm.Tensor(f"read{len(self.tensors)}", list(shape), dtype, ranked=ranked))
        self.ops.append(mm.Op("READ_VARIABLE", [self.handle(name)], [out], "ReadVariableOptions"))
        return out

    def run(self, code, inputs, options, **fields):
        self.ops.append(mm.Op(code, inputs, [], options, fields))

    def assign(self, name, value):
        self.run("ASSIGN_VARIABLE", [self.handle(name), value], "AssignVariableOptions")

    def text(self, words):
        ends = np.cumsum([0] + [len(w) for w in words]) + 4 * (len(words) + 2)
        packed = np.array([len(words), *ends], "int32").tobytes() + b"".join(words)
        return self.add(mm.Tensor(f"text{len(self.tensors)}", [len(words)], "string", np.frombuffer(packed, np.uint8)))


def served(graphs, **signatures):
    names = {}
    for i, (key, outputs) in enumerate(signatures.items()):
        graphs[i].outputs = list(outputs.values())
        names[key] = (i, {graphs[i].tensors[t].name: t for t in graphs[i].inputs}, outputs)
    return mm.Model(graphs, names).tobytes()


def counter():
    """`add` and `get`; the variable `total` begins as [10, 20], `last` has no value before `add`."""
    add, get, init = Stateful("add"), Stateful("get"), Stateful("init")
    for g in (add, get):
        g.run("CALL_ONCE", [], "CallOnceOptions", initSubgraphIndex=2)
    x = add.input("x", [2])
    total = add.binary("ADD", add.read("total", [2]), x)
    add.assign("total", total)
    add.assign("last", x)
    init.assign("total", init.const([10.0, 20.0], "float32"))
    return served([add, get, init], add={"sum": total}, get={"total": get.read("total", [2])})


def test_signatures_share_variables():
    content = counter()
    ours, theirs = sigrun.Interpreter(model_content=content), litert.Interpreter(model_content=content)
    other = sigrun.Interpreter(model_content=content)
    for x in ([1, 2], [3, 4]):
        x = np.array(x, "float32")
        want = theirs.get_signature_runner("add")(x=x)["sum"]
        np.testing.assert_array_equal(ours.get_signature_runner("add")(x=x)["sum"], want)
        np.testing.assert_array_equal(ours.get_signature_runner("get")()["total"], want)
        np.testing.assert_array_equal(other.get_signature_runner("get")()["total"], [10, 20])


def test_variables_stay_when_states_are_reset():
    interpreter = sigrun.Interpreter(model_content=counter())
    interpreter.get_signature_runner("add")(x=np.ones(2, "float32"))
    interpreter.reset_all_variables()
    np.testing.assert_array_equal(interpreter.get_signature_runner("get")()["total"], [11, 21])


def test_a_variable_without_a_value():
    g = Stateful("get")
    content = served([g], get={"y": g.read("none", [2])})
    with pytest.raises(RuntimeError, match="READ_VARIABLE #1.*before a value was assigned"):
        sigrun.Interpreter(model_content=content).get_signature_runner()()


@pytest.mark.parametrize("shape", [(2, 3), (4,), ()])
def test_a_variable_of_any_rank(shape):
    put, get = Stateful("put"), Stateful("get")
    x = put.input("x", [-1] * len(shape))
    put.assign("v", x)
    doubled = get.binary("ADD", *[get.read("v", [], ranked=False)] * 2, shape=[])
    content = served([put, get], put={"y": x}, get={"y": doubled})
    interpreter = sigrun.Interpreter(model_content=content)
    for scale in (1, 2):
        value = scale * np.ones(shape, "float32")
        interpreter.get_signature_runner("put")(x=value)
        np.testing.assert_array_equal(interpreter.get_signature_runner("get")()["y"], 2 * value)


def test_a_variable_of_another_shape():
    put, get = Stateful("put"), Stateful("get")
    x = put.input("x", [-1])
    put.assign("v", x)
    content = served([put, get], put={"y": x}, get={"y": get.read("v", [2])})
    interpreter = sigrun.Interpreter(model_content=content)
    interpreter.get_signature_runner("put")(x=np.zeros(3, "float32"))
    with pytest.raises(RuntimeError, match=r"holds \[3\], the output is \[2\]"):
        interpreter.get_signature_runner("get")()


WORDS = [b"", b"two", b"and three"]


def lookup(key, value):
    """Finds keys in a table of three, which CALL_ONCE fills; `size` is 3."""
    find, init = Stateful("find"), Stateful("init")
    find.run("CALL_ONCE", [], "CallOnceOptions", initSubgraphIndex=1)
    sides = {"string": WORDS, "int64": [7, -1, 1 << 40]}
    keys, values = [init.text(sides[t]) if t == "string" else init.const(sides[t], t) for t in (key, value)]
    init.run("HASHTABLE_IMPORT", [init.table(5, key, value), keys, values], "HashtableImportOptions")
    wanted = find.input("keys", [4], key)
    absent = find.text([b"absent"]) if value == "string" else find.const([99], value)
    found, size = find.add(mm.Tensor("found", [4], value)), find.add(mm.Tensor("size", [1], "int64"))
    table = find.table(5, key, value)
    find.ops.append(mm.Op("HASHTABLE_FIND", [table, wanted, absent], [found], "HashtableFindOptions"))
    find.ops.append(mm.Op("HASHTABLE_SIZE", [table], [size], "HashtableSizeOptions"))
    return served([find, init], find={"found": found, "size": size})


@pytest.mark.parametrize(("key", "value"), [("string", "int64"), ("int64", "string")])
def test_tables(key, value):
    content = lookup(key, value)
    keys = np.array([b"two", b"none", b"and three", b""], object) if key == "string" else np.array([-1, 8, 1 << 40, 7], "int64")
    ours, theirs = (m.Interpreter(model_content=content).get_signature_runner() for m in (sigrun, litert))
    for _ in range(2):
        got, want = ours(keys=keys), theirs(keys=keys)
        assert got["found"].tolist() == want["found"].tolist()
        assert got["size"].tolist() == want["size"].tolist() == [3]


def test_a_table_without_entries():
    g = Stateful("find")
    found = g.add(mm.Tensor("found", [1], "int64"))
    g.ops.append(mm.Op("HASHTABLE_FIND", [g.table(1, "string", "int64"), g.text([b"x"]), g.const([0], "int64")], [found]))
    with pytest.raises(RuntimeError, match="HASHTABLE_FIND #1.*before it was filled"):
        sigrun.Interpreter(model_content=served([g], find={"found": found})).get_signature_runner()()

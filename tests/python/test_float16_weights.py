"""Weights that the file holds as float16 compute what they compute widened, in every plan of a model."""

import numpy as np
import pytest
from one_op import compare, litert, mm

import sigrun


@pytest.fixture(scope="module")
def content():
    g = mm.Graph("halves")
    x = g.conv(g.conv(g.input("image", [-1, 8, 8, 16]), 96, 3), 64, 3)  # two layouts of weights
    x = g.reshape(g.depthwise(g.conv(x, 64, 1, stride=2), 5), [-1, 1024])
    x = g.dense(g.dense(x, 512), 96)  # one that is large enough to stay float16 for few rows
    known = g.op("FULLY_CONNECTED", [g.weights(1, 96), g.weights(96, 96), -1], [1, 96], "FullyConnectedOptions")
    return mm.halve(mm.served(g, products=g.binary("ADD", x, known))).tobytes()


def outputs(interpreter, image):
    index = interpreter.get_input_details()[0]["index"]
    interpreter.resize_tensor_input(index, image.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(index, image)
    interpreter.invoke()
    return {d["name"]: interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()}


@pytest.mark.parametrize("threads", [1, 2])
def test_every_plan_reads_the_weights(content, threads):
    images = [np.random.default_rng(n).normal(0, 1, (n, 8, 8, 16)).astype("float32") for n in (1, 5, 1, 40)]
    kind = litert.OpResolverType.BUILTIN_REF
    reference = litert.Interpreter(model_content=content, experimental_op_resolver_type=kind)
    ours = sigrun.Interpreter(model_content=content, num_threads=threads)
    kept = sigrun.Interpreter(model_content=content, num_threads=threads, experimental_preserve_all_tensors=True)
    for image in images:
        want = outputs(reference, image)
        compare(outputs(ours, image), want)
        compare(outputs(kept, image), want)


def test_few_rows_read_large_weights_as_they_are(content):
    runner = sigrun.Interpreter(model_content=content).get_signature_runner()
    kept = {}
    for rows in (1, 40):
        runner(image=np.zeros((rows, 8, 8, 16), np.float32))
        kept[rows] = [step.shape for step in runner.plan.steps if "weights of float16" in step.kernel]
    assert kept == {1: [(1, 512)], 40: []}

"""MediaPipe's custom operators give what MediaPipe gives: stored in mediapipe_goldens.npz by make_mediapipe_goldens.py."""

import numpy as np
import pytest
from flatbuffers import flexbuffers
from one_op import compare, mm, stored_cases

import sigrun

CASES = stored_cases("mediapipe_goldens")


def model(op, version, options, inputs, outputs):
    g = mm.Graph("main")
    g.inputs = [g.add(mm.Tensor(f"i{i}", list(x.shape), "float32")) for i, x in enumerate(inputs)]
    made = [g.add(mm.Tensor(f"o{o}", list(y.shape), "float32")) for o, y in enumerate(outputs)]
    g.ops.append(mm.Op(op, g.inputs, made, custom_options=options))
    built = mm.served(g, **{f"o{o}": v for o, v in enumerate(made)})
    built.versions = {op: version}
    return built.tobytes()


@pytest.mark.parametrize("name", CASES)
def test_as_mediapipe(name):
    parts = CASES[name]
    inputs = [parts[f"in{i}"] for i in range(len(parts)) if f"in{i}" in parts]
    outputs = [parts[f"out{o}"] for o in range(len(parts)) if f"out{o}" in parts]
    content = model(name.split(".")[0], int(parts["version"]), parts["options"].tobytes(), inputs, outputs)
    got = sigrun.Interpreter(model_content=content).get_signature_runner()(**{f"i{i}": x for i, x in enumerate(inputs)})
    compare(got, {f"o{o}": y for o, y in enumerate(outputs)}, 2e-6)


def computed(op, version, options, inputs, shape):
    content = model(op, version, bytes(flexbuffers.Dumps(options)), inputs, [np.zeros(shape)])
    return sigrun.Interpreter(model_content=content).get_signature_runner()(**{f"i{i}": x for i, x in enumerate(inputs)})["o0"]


def tent(image, x, y):
    """Every pixel of an image weighted by how near it is to a place: 1 there, 0 from the next pixel on."""
    rows, columns = np.arange(image.shape[0]), np.arange(image.shape[1])
    weights = np.maximum(0, 1 - np.abs(rows - y))[:, None] * np.maximum(0, 1 - np.abs(columns - x))
    return np.einsum("ij,ijc->c", weights, image.astype("float64"))


@pytest.mark.parametrize("places", [(5, 6), (3, 4), (7,)])
def test_resampler(places, rng):
    """As tensorflow_addons defines it: bilinear, zeros beside the image."""
    image = rng.normal(0, 1, (2, 5, 6, 3)).astype("float32")
    warp = rng.uniform(-2, 7, (2, *places, 2)).astype("float32")
    warp.reshape(-1, 2)[:4] = [[0, 0], [5, 4], [-0.5, 4.5], [5.5, -0.5]]
    got = computed("Resampler", 1, {}, [image, warp], (2, *places, 3))
    flat = warp.reshape(2, -1, 2)
    want = [[tent(image[b], *flat[b, i]) for i in range(flat.shape[1])] for b in range(2)]
    np.testing.assert_allclose(got.reshape(2, -1, 3), want, atol=2e-6)


MATRIX = np.array([[0.8, -0.3, 0, 1.63], [0.25, 0.9, 0, -0.41], [0, 0, 1, 0], [0, 0, 0, 1]], "float32")


def test_the_first_version_of_a_transformed_tensor(rng):
    """Pixels are points: a place (x, y) of the output comes from the matrix times (x, y, 0, 1), if that lies between pixels."""
    image = rng.normal(0, 1, (1, 6, 7, 2)).astype("float32")
    got = computed("TransformTensor", 1, {"mode": 1}, [image, MATRIX.reshape(1, 4, 4)], (1, 5, 8, 2))
    for y in range(5):
        for x in range(8):
            u, v = (MATRIX.astype("float64") @ [x, y, 0, 1])[:2]
            inside = 0 <= u <= 6 and 0 <= v <= 5
            np.testing.assert_allclose(got[0, y, x], tent(image[0], u, v) if inside else [0, 0], atol=1e-5)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_the_first_version_of_transformed_landmarks(dimensions, rng):
    """The shift of the matrix is in other units than the landmarks."""
    points = rng.normal(0, 9, (1, 1, 1, 5 * dimensions)).astype("float32")
    options = {"dimensions": dimensions, "scale": 2.5}
    got = computed("TransformLandmarks", 1, options, [points, MATRIX.reshape(1, 4, 4)], points.shape).reshape(5, dimensions)
    flat = points.reshape(5, dimensions).astype("float64")
    want = flat.copy()
    want[:, :2] = flat[:, :2] @ MATRIX[:2, :2].T.astype("float64") + 2.5 * MATRIX[:2, 3]
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)

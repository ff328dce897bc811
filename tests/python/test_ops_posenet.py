"""PosenetDecoderOp finds the people that maps of scores and offsets were drawn from."""

import numpy as np
from flatbuffers import flexbuffers
from one_op import mm

import sigrun

SIDE, STRIDE, KEYPOINTS = 24, 16, 17
EDGES = [(0, 1), (1, 3), (0, 2), (2, 4), (0, 5), (5, 7), (7, 9), (5, 11), (11, 13), (13, 15)]
EDGES += [(0, 6), (6, 8), (8, 10), (6, 12), (12, 14), (14, 16)]
RNG = np.random.default_rng(3)


def person(y, x):
    """Keypoints around a place, a fraction of a pixel off the grid."""
    return np.array([y, x]) + np.stack([np.arange(KEYPOINTS) % 5, np.arange(KEYPOINTS) % 7], 1) + RNG.uniform(-0.3, 0.3, (KEYPOINTS, 2))


def draw(people, surest):
    """Maps in which a score stands out at every keypoint, and offsets lead from there to the keypoint and to its neighbours."""
    scores = np.full((1, SIDE, SIDE, KEYPOINTS), -9, "float32")
    shorts = np.zeros((1, SIDE, SIDE, 2, KEYPOINTS), "float32")
    mids = np.zeros((1, SIDE, SIDE, 4, len(EDGES)), "float32")
    for points, root in zip(people, surest, strict=True):
        for k, (y, x) in enumerate(points):
            near = np.abs(np.mgrid[:SIDE, :SIDE] - np.array([y, x])[:, None, None]).max(0) < 2
            scores[0, near, k] = 2 + (k == root) - 0.01 * k
            cells = np.argwhere(near)
            shorts[0, cells[:, 0], cells[:, 1], :, k] = (points[k] - cells) * STRIDE
            for e, (a, b) in enumerate(EDGES):
                if k == a:
                    mids[0, cells[:, 0], cells[:, 1], 0:2, e] = (points[b] - cells) * STRIDE
                if k == b:
                    mids[0, cells[:, 0], cells[:, 1], 2:4, e] = (points[a] - cells) * STRIDE
    return scores, shorts.reshape(1, SIDE, SIDE, -1), mids.reshape(1, SIDE, SIDE, -1)


def decoder(most, dtype="float32", scales=(1, 1, 1)):
    g = mm.Graph("main")
    quant = [mm.Quant(np.array([s]), np.array([128])) if dtype == "uint8" else None for s in scales]
    depths = (KEYPOINTS, 2 * KEYPOINTS, 4 * len(EDGES))
    g.inputs = [g.add(mm.Tensor(f"i{i}", [1, SIDE, SIDE, d], dtype, None, quant[i])) for i, d in enumerate(depths)]
    shapes = ([1, most, KEYPOINTS, 2], [1, most, KEYPOINTS], [1, most], [1])
    made = [g.add(mm.Tensor(f"o{o}", shape, "float32")) for o, shape in enumerate(shapes)]
    options = {"max_detections": most, "nms_radius": 20.0, "score_threshold": 0.5, "stride": STRIDE}
    g.ops.append(mm.Op("PosenetDecoderOp", g.inputs, made, custom_options=bytes(flexbuffers.Dumps(options))))
    return sigrun.Interpreter(model_content=mm.served(g, **{f"o{o}": v for o, v in enumerate(made)}).tobytes()).get_signature_runner()


def check(got, people, tolerance):
    assert got["o3"].tolist() == [len(people)]
    found = got["o0"][0, : len(people)] / STRIDE
    order = [int(np.argmin([np.abs(f - p).max() for p in people])) for f in found]
    assert sorted(order) == list(range(len(people)))
    np.testing.assert_allclose(found, np.stack([people[i] for i in order]), atol=tolerance)
    assert (np.diff(got["o2"][0, : len(people)]) <= 0).all()
    assert (got["o1"][0, : len(people)] > 0.8).all()
    assert not got["o0"][0, len(people) :].any()
    assert not got["o2"][0, len(people) :].any()


def test_finds_people():
    people = [person(2, 2), person(15, 13)]
    got = decoder(5)(**{f"i{i}": m for i, m in enumerate(draw(people, (0, 15)))})  # along the tree forward, and backward
    check(got, people, 1e-4)
    want = np.sort(1 / (1 + np.exp(-(2 + (np.arange(KEYPOINTS) == 0) - 0.01 * np.arange(KEYPOINTS)))))
    np.testing.assert_allclose(np.sort(got["o1"][0, 0]), want, atol=0.02)


def test_finds_no_more_than_it_may():
    people = [person(2, 2), person(15, 13)]
    got = decoder(1)(**{f"i{i}": m for i, m in enumerate(draw(people, (0, 0)))})
    assert got["o3"].tolist() == [1]


def test_finds_people_in_bytes():
    people = [person(3, 4), person(14, 15)]
    maps = draw(people, (0, 0))
    scales = [float(np.abs(m).max() / 127) for m in maps]
    fed = {f"i{i}": np.clip(np.round(m / s) + 128, 0, 255).astype("uint8") for i, (m, s) in enumerate(zip(maps, scales, strict=True))}
    check(decoder(4, "uint8", scales)(**fed), people, 0.1)


def test_finds_nobody():
    maps = draw([], ())
    assert decoder(3)(**{f"i{i}": m for i, m in enumerate(maps)})["o3"].tolist() == [0]

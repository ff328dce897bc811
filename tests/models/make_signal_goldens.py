#!/usr/bin/env python3
"""Writes signal_goldens.npz: what tflite-micro's front-end operators give, call by call. Needs the package tflite-micro.

Keys: <case>/options (a FlexBuffer), <case>/in<i> and <case>/out<o>, which have the calls along their first dimension; a case is the
operator's name, a point and a number. Inputs named const<i> are part of the model, and the same in every call.
"""

import pathlib
import sys

import make_models as mm
import numpy as np
from flatbuffers import flexbuffers

RNG = np.random.default_rng(5)
mm.TYPES |= {"uint32": 15, "uint64": 12}


def ints(dtype, *shape, low=None, high=None):
    info = np.iinfo(dtype)
    return RNG.integers(info.min if low is None else low, info.max if high is None else high, shape, dtype=dtype, endpoint=True)


def bank(channels):
    """Starts, weights and widths of a bank of triangles over 33 frequencies."""
    starts = np.arange(channels + 1, dtype="int16") * 5
    widths = np.full(channels + 1, 7, "int16")
    weights = ints("int16", 7 * (channels + 1), low=0, high=4096)
    return [weights, (4096 - weights).astype("int16"), starts, (np.arange(channels + 1) * 7).astype("int16"), widths]


def tone(*shape):
    t = np.arange(np.prod(shape)).reshape(shape)
    return (9000 * np.sin(t * 0.3) + 6000 * np.cos(t * 1.1) + RNG.integers(-900, 900, shape)).astype("int16")


SUBTRACTION = {
    "alternate_one_minus_smoothing": 15466,
    "alternate_smoothing": 918,
    "clamping": False,
    "min_signal_remaining": 819,
    "num_channels": 12,
    "one_minus_smoothing": 15973,
    "smoothing": 411,
    "smoothing_bits": 10,
    "spectral_subtraction_bits": 14,
}
SMALL = ints("uint32", 6, 12, low=0, high=60000)
T = {"int16": 7, "int32": 2, "float32": 0}

# operator, options, inputs (calls first; an array in a tuple is a constant), outputs (dtype, shape)
CASES = [
    ("SignalWindow", {"shift": 12}, [ints("int16", 2, 3, 40), (ints("int16", 40),)], [("int16", (3, 40))]),
    *[("SignalRfft", {"T": T["int16"], "fft_length": n}, [tone(2, n - 12)], [("int16", (n + 2,))]) for n in (32, 64, 512)],
    ("SignalRfft", {"T": T["int16"], "fft_length": 64}, [ints("int16", 2, 2, 64)], [("int16", (2, 66))]),
    *[
        ("SignalRfft", {"T": T["int32"], "fft_length": n}, [ints("int32", 1, n, low=-(2**28), high=2**28)], [("int32", (n + 2,))])
        for n in (64, 128)
    ],
    ("SignalRfft", {"T": T["float32"], "fft_length": 128}, [tone(1, 100).astype("float32")], [("float32", (130,))]),
    ("SignalIrfft", {"T": T["int16"], "fft_length": 64}, [ints("int16", 2, 66, low=-9000, high=9000)], [("int16", (64,))]),
    ("SignalIrfft", {"T": T["int32"], "fft_length": 128}, [ints("int32", 1, 130, low=-(2**28), high=2**28)], [("int32", (128,))]),
    ("SignalIrfft", {"T": T["float32"], "fft_length": 64}, [tone(1, 66).astype("float32")], [("float32", (64,))]),
    ("SignalFftAutoScale", {}, [np.stack([tone(50), tone(50) // 700, np.zeros(50, "int16")])], [("int16", (50,)), ("int32", ())]),
    ("SignalEnergy", {"end_index": 33, "start_index": 0}, [ints("int16", 2, 66)], [("uint32", (33,))]),
    (
        "SignalFilterBank",
        {"num_channels": 5},
        [ints("uint32", 2, 40), *[(x,) for x in bank(5)]],
        [("uint64", (5,))],
    ),
    (
        "SignalFilterBankSquareRoot",
        {},
        [np.stack([ints("uint64", 9), np.array([0, 1, 2, 3, 8, 15, 16, 2**32 - 1, 2**32], "uint64")]), np.array([0, 3], "int32")],
        [("uint32", (9,))],
    ),
    ("SignalFilterBankSpectralSubtraction", SUBTRACTION, [SMALL], [("uint32", (12,))] * 2),
    ("SignalFilterBankSpectralSubtraction", SUBTRACTION | {"clamping": True}, [SMALL], [("uint32", (12,))] * 2),
    (
        "SignalFilterBankLog",
        {"input_correction_bits": 3, "output_scale": 1600},
        [np.stack([ints("uint32", 10, high=2**20), np.arange(10, dtype="uint32"), 2 ** np.arange(10, dtype="uint32") * 7])],
        [("int16", (10,))],
    ),
    (
        "SignalPCAN",
        {"snr_shift": 6},
        [SMALL, np.sort(ints("uint32", 6, 12, low=0, high=2**24), axis=1), (np.sort(ints("int16", 125, low=0, high=32000))[::-1].copy(),)],
        [("uint32", (12,))],
    ),
    *[
        ("SignalFramer", {"frame_size": 10, "frame_step": 4, "prefill": p}, [tone(4, 2, 8)], [("int16", (2, 2, 10)), ("bool", ())])
        for p in (False, True)
    ],
    *[
        (
            "SignalStacker",
            {"num_channels": 5, "stacker_left_context": left, "stacker_right_context": 1, "stacker_step": step},
            [tone(7, 5)],
            [("int16", (5 * (left + 2),)), ("bool", ())],
        )
        for left, step in ((2, 2), (1, 3), (0, 1))
    ],
    ("SignalDelay", {"delay_length": 7}, [tone(4, 2, 5)], [("int16", (2, 5))]),
    ("SignalOverlapAdd", {"T": T["int16"], "frame_step": 4}, [ints("int16", 3, 2, 3, 10)], [("int16", (2, 12))]),
    ("SignalOverlapAdd", {"T": T["float32"], "frame_step": 4}, [tone(3, 2, 10).astype("float32")], [("float32", (8,))]),
]


def model(op, options, inputs, outputs):
    """The operator alone; `inputs` are the shapes and types of what is fed, or constants."""
    g = mm.Graph("main")
    ids = []
    for i, x in enumerate(inputs):
        fixed = isinstance(x, tuple)
        array = x[0] if fixed else x[0:1][0]
        ids.append(g.add(mm.Tensor(f"i{i}", list(array.shape), str(array.dtype), array if fixed else None)))
        if not fixed:
            g.inputs.append(ids[-1])
    made = [g.add(mm.Tensor(f"o{o}", list(shape), dtype)) for o, (dtype, shape) in enumerate(outputs)]
    g.outputs = made
    g.ops.append(mm.Op(op, ids, made, custom_options=options))
    return mm.served(g, **{f"o{o}": v for o, v in enumerate(made)}).tobytes()


def main():
    from tflite_micro import runtime

    arrays = {}
    for number, (op, options, inputs, outputs) in enumerate(CASES):
        packed = bytes(flexbuffers.Dumps(options))
        interpreter = runtime.Interpreter.from_bytes(model(op, packed, inputs, outputs), arena_size=1 << 20)
        fed = [x for x in inputs if not isinstance(x, tuple)]
        results = []
        for call in range(len(fed[0])):
            for k, x in enumerate(fed):
                interpreter.set_input(x[call], k)
            interpreter.invoke()
            results.append([np.array(interpreter.get_output(o)) for o in range(len(outputs))])
        case = f"{op}.{number}"
        arrays[f"{case}/options"] = np.frombuffer(packed, np.uint8)
        for i, x in enumerate(inputs):
            arrays[f"{case}/const{i}" if isinstance(x, tuple) else f"{case}/in{i}"] = x[0] if isinstance(x, tuple) else x
        for o in range(len(outputs)):
            arrays[f"{case}/out{o}"] = np.stack([r[o] for r in results])
        print(case, file=sys.stderr)
    np.savez_compressed(pathlib.Path(__file__).parent / "signal_goldens.npz", **arrays)


if __name__ == "__main__":
    main()

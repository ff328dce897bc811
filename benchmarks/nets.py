#!/usr/bin/env python3
"""Makes .tflite models of the kinds that phones and browsers run, to be timed by models.py.

    python nets.py FOLDER [--only REGEX] [--list]

The architectures are public ones, or of the shape that detectors, landmark and segmentation models have in production; the weights are
random, from a seed, and scaled so that activations stay in a sane range. Batch norms are left out, since the converter folds them into the
convolutions. Files are FOLDER/NAME.VARIANT.tflite with the variants fp32, fp16 (float16 weights behind DEQUANTIZE), int8 (all integer) and
dyn (int8 weights).
Needs TensorFlow 2.17 or later.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

Value = Any  # a Keras tensor
Activation = Callable[[Value], Value]


def he(fan: int) -> keras.initializers.Initializer:
    return keras.initializers.RandomNormal(stddev=(2.0 / fan) ** 0.5)


def small() -> keras.initializers.Initializer:
    return keras.initializers.RandomNormal(stddev=0.05)


def identity(x: Value) -> Value:
    return x


def relu(x: Value) -> Value:
    return layers.ReLU()(x)


def relu6(x: Value) -> Value:
    return layers.ReLU(6.0)(x)


def hard_swish(x: Value) -> Value:
    return layers.Activation("hard_silu")(x)


def swish(x: Value) -> Value:
    return layers.Activation("silu")(x)


def prelu(x: Value) -> Value:
    slopes = keras.initializers.RandomUniform(0.05, 0.4)
    return layers.PReLU(shared_axes=list(range(1, len(x.shape) - 1)), alpha_initializer=slopes)(x)


def conv(x: Value, channels: int, kernel: Any = 1, stride: Any = 1, act: Activation = relu, **options: Any) -> Value:
    height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
    options = {"padding": "same", "bias_initializer": small()} | options
    return act(layers.Conv2D(channels, kernel, stride, kernel_initializer=he(height * width * x.shape[-1]), **options)(x))


def depthwise(x: Value, kernel: Any = 3, stride: int = 1, act: Activation = relu, **options: Any) -> Value:
    height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
    options = {"padding": "same", "bias_initializer": small()} | options
    return act(layers.DepthwiseConv2D(kernel, stride, depthwise_initializer=he(height * width), **options)(x))


def conv_transpose(x: Value, channels: int, kernel: int = 2, stride: int = 2, act: Activation = relu) -> Value:
    taps = max(kernel // stride, 1) ** 2
    made = layers.Conv2DTranspose(
        channels, kernel, stride, padding="same", kernel_initializer=he(taps * x.shape[-1]), bias_initializer=small()
    )
    return act(made(x))


def dense(x: Value, channels: int, act: Activation = identity) -> Value:
    return act(layers.Dense(channels, kernel_initializer=he(2 * x.shape[-1]), bias_initializer=small())(x))


def pixel_mean(x: Value) -> Value:
    return layers.GlobalAveragePooling2D(keepdims=True)(x)


def squeeze_excite(x: Value, channels: int, act: Activation = relu, gate: str = "hard_sigmoid") -> Value:
    s = pixel_mean(x)
    s = conv(conv(s, channels, act=act), x.shape[-1], act=layers.Activation(gate))
    return layers.Multiply()([x, s])


def inverted_bottleneck(
    x: Value,
    kernel: int,
    expanded: int,
    channels: int,
    stride: int,
    act: Activation,
    squeezed: int = 0,
    gate: str = "hard_sigmoid",
    squeeze_act: Activation = relu,
) -> Value:
    y = conv(x, expanded, act=act) if expanded != x.shape[-1] else x
    y = depthwise(y, kernel, stride, act)
    if squeezed:
        y = squeeze_excite(y, squeezed, squeeze_act, gate)
    y = conv(y, channels, act=identity)
    return layers.Add()([x, y]) if stride == 1 and channels == x.shape[-1] else y


def upsample(x: Value, factor: int = 2) -> Value:
    return layers.UpSampling2D(factor, interpolation="bilinear")(x)


def image(size: int, channels: int = 3) -> Value:
    return keras.Input((size, size, channels), batch_size=1)


def classify(x: Value, classes: int) -> Value:
    return layers.Softmax()(dense(layers.GlobalAveragePooling2D()(x), classes))


# Classifiers.


def resnet50() -> keras.Model:
    inputs = image(224)
    x = layers.MaxPooling2D(3, 2, padding="same")(conv(inputs, 64, 7, 2))
    for channels, blocks, first_stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for block in range(blocks):
            stride = first_stride if block == 0 else 1
            shortcut = conv(x, 4 * channels, 1, stride, identity) if block == 0 else x
            y = conv(conv(conv(x, channels, 1, stride), channels, 3), 4 * channels, act=identity)
            x = relu(layers.Add()([shortcut, y]))
    return keras.Model(inputs, classify(x, 1000))


def mobilenet_v1_body(x: Value) -> Value:
    x = conv(x, 32, 3, 2, relu6)
    for channels, stride in ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)):
        x = conv(depthwise(x, 3, stride, relu6), channels, act=relu6)
    return x


def mobilenet_v1() -> keras.Model:
    inputs = image(224)
    return keras.Model(inputs, classify(mobilenet_v1_body(inputs), 1000))


def mobilenet_v2() -> keras.Model:
    inputs = image(224)
    x = conv(inputs, 32, 3, 2, relu6)
    stages = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    for expansion, channels, blocks, first_stride in stages:
        for block in range(blocks):
            x = inverted_bottleneck(x, 3, expansion * x.shape[-1], channels, first_stride if block == 0 else 1, relu6)
    return keras.Model(inputs, classify(conv(x, 1280, act=relu6), 1000))


def mobilenet_v3_large() -> keras.Model:
    inputs = image(224)
    x = conv(inputs, 16, 3, 2, hard_swish)
    blocks = (
        (3, 16, 16, 0, relu, 1), (3, 64, 24, 0, relu, 2), (3, 72, 24, 0, relu, 1), (5, 72, 40, 24, relu, 2), (5, 120, 40, 32, relu, 1),
        (5, 120, 40, 32, relu, 1), (3, 240, 80, 0, hard_swish, 2), (3, 200, 80, 0, hard_swish, 1), (3, 184, 80, 0, hard_swish, 1),
        (3, 184, 80, 0, hard_swish, 1), (3, 480, 112, 120, hard_swish, 1), (3, 672, 112, 168, hard_swish, 1),
        (5, 672, 160, 168, hard_swish, 2), (5, 960, 160, 240, hard_swish, 1), (5, 960, 160, 240, hard_swish, 1),
    )  # fmt: skip
    for kernel, expanded, channels, squeezed, act, stride in blocks:
        x = inverted_bottleneck(x, kernel, expanded, channels, stride, act, squeezed)
    x = pixel_mean(conv(x, 960, act=hard_swish))
    x = conv(conv(x, 1280, act=hard_swish), 1000, act=identity)
    return keras.Model(inputs, layers.Softmax()(layers.Flatten()(x)))


def efficientnet_b0() -> keras.Model:
    inputs = image(224)
    x = conv(inputs, 32, 3, 2, swish)
    stages = (
        (1, 16, 1, 1, 3),
        (6, 24, 2, 2, 3),
        (6, 40, 2, 2, 5),
        (6, 80, 3, 2, 3),
        (6, 112, 3, 1, 5),
        (6, 192, 4, 2, 5),
        (6, 320, 1, 1, 3),
    )
    for expansion, channels, blocks, first_stride, kernel in stages:
        for block in range(blocks):
            stride, depth = first_stride if block == 0 else 1, x.shape[-1]
            x = inverted_bottleneck(x, kernel, expansion * depth, channels, stride, swish, max(depth // 4, 1), "sigmoid", swish)
    return keras.Model(inputs, classify(conv(x, 1280, act=swish), 1000))


# Detectors and landmarks.


def widen(x: Value, channels: int) -> Value:
    """Zeros as further channels: how residuals widen without a convolution."""
    return ops.pad(x, ((0, 0), (0, 0), (0, 0), (0, channels - x.shape[-1])))


def residual_block(x: Value, kernel: int, channels: int, stride: int, act: Activation) -> Value:
    y = conv(depthwise(x, kernel, stride, identity), channels, act=identity)
    x = layers.MaxPooling2D(2)(x) if stride == 2 else x
    x = widen(x, channels) if channels != x.shape[-1] else x
    return act(layers.Add()([x, y]))


def face_detector() -> keras.Model:
    inputs = image(128)
    x = conv(inputs, 24, 5, 2)
    for channels, stride in ((24, 1), (28, 1), (32, 2), (36, 1), (42, 1), (48, 2), (56, 1), (64, 1), (72, 1), (80, 1), (88, 1)):
        x = residual_block(x, 5, channels, stride, relu)
    fine = x
    for stride in (2, 1, 1, 1, 1):
        x = residual_block(x, 5, 96, stride, relu)
    heads = []
    for values in (1, 16):
        parts = [layers.Reshape((-1, values))(conv(f, boxes * values, act=identity)) for f, boxes in ((fine, 2), (x, 6))]
        heads.append(layers.Concatenate(axis=1)(parts))
    return keras.Model(inputs, heads)


def face_landmarks() -> keras.Model:
    inputs = image(192)
    x = conv(inputs, 16, 3, 2, prelu)
    for channels, blocks in ((16, 2), (32, 3), (64, 3), (128, 3), (128, 3)):
        for _ in range(blocks):
            half = conv(x, channels // 2, act=prelu)
            y = conv(depthwise(half, 3, 1, identity), x.shape[-1], act=identity)
            x = prelu(layers.Add()([x, y]))
        x = residual_block(x, 3, min(2 * channels, 128), 2, prelu)
    mesh = conv(conv(x, 32, act=prelu), 1404, 3, act=identity, padding="valid")
    flag = conv(conv(x, 16, act=prelu), 1, 3, act=identity, padding="valid")
    return keras.Model(inputs, [layers.Reshape((1404,))(mesh), layers.Reshape((1,))(flag)])


def palm_detector() -> keras.Model:
    inputs = image(192)
    x = conv(inputs, 32, 5, 2, prelu)
    levels = []
    for channels, blocks in ((32, 3), (64, 3), (128, 3), (256, 3), (256, 3)):
        for _ in range(blocks):
            x = residual_block(x, 5, x.shape[-1], 1, prelu)
        levels.append(x)
        if len(levels) < 5:
            x = residual_block(x, 5, channels if channels > x.shape[-1] else min(2 * channels, 256), 2, prelu)
    for level in (levels[3], levels[2]):
        x = layers.Add()([upsample(conv(x, level.shape[-1], act=prelu)), level])
        x = residual_block(x, 5, level.shape[-1], 1, prelu)
    outputs = [layers.Reshape((-1, values))(conv(x, 2 * values, act=identity)) for values in (1, 18)]
    return keras.Model(inputs, outputs)


def hand_landmarks() -> keras.Model:
    inputs = image(224)
    x = conv(inputs, 24, 3, 2, relu6)
    stages = ((1, 16, 2, 1, 3), (6, 24, 3, 2, 3), (6, 40, 4, 2, 5), (6, 80, 6, 2, 3), (6, 112, 6, 1, 5), (6, 192, 7, 2, 5))
    for expansion, channels, blocks, first_stride, kernel in stages:
        for block in range(blocks):
            x = inverted_bottleneck(x, kernel, expansion * x.shape[-1], channels, first_stride if block == 0 else 1, relu6)
    x = layers.GlobalAveragePooling2D()(conv(x, 1152, act=relu6))
    sigmoid = layers.Activation("sigmoid")
    return keras.Model(inputs, [dense(x, 63), dense(x, 1, sigmoid), dense(x, 1, sigmoid), dense(x, 63)])


def pose_landmarks() -> keras.Model:
    inputs = image(256)
    x = conv(inputs, 16, 3, 2, hard_swish)
    levels = []
    for channels, blocks in ((16, 2), (32, 4), (64, 6), (96, 8), (160, 8)):
        for block in range(blocks):
            x = inverted_bottleneck(x, 3, 4 * x.shape[-1], channels, 2 if block == 0 and channels > 16 else 1, relu6)
        levels.append(x)
    for level in levels[3:0:-1]:
        x = layers.Add()([conv(upsample(x), 48, act=relu6), conv(level, 48, act=relu6)])
        x = conv(depthwise(x, 3, 1, relu6), 48, act=relu6)
    heatmap = conv(x, 39, act=identity)
    for channels in (64, 128, 192):
        for block in range(4):
            x = inverted_bottleneck(x, 3, 4 * x.shape[-1], channels, 2 if block == 0 else 1, relu6)
    points = conv(x, 195, (8, 8), act=identity, padding="valid")
    return keras.Model(inputs, [layers.Reshape((195,))(points), heatmap])


# Pictures in, pictures out.


def selfie_segmentation() -> keras.Model:
    inputs = image(256)
    x = conv(inputs, 16, 3, 2, hard_swish)
    levels = [x]
    x = inverted_bottleneck(x, 3, 16, 16, 2, relu, 8)
    levels.append(x)
    for expanded, stride in ((72, 2), (88, 1)):
        x = inverted_bottleneck(x, 3, expanded, 24, stride, relu)
    levels.append(x)
    for expanded, channels, squeezed, stride in ((96, 32, 24, 2), (128, 32, 32, 1), (128, 32, 32, 1), (96, 32, 24, 1), (96, 32, 24, 1)):
        x = inverted_bottleneck(x, 5, expanded, channels, stride, hard_swish, squeezed)
    x = layers.Multiply()([conv(x, 128), conv(pixel_mean(x), 128, act=layers.Activation("sigmoid"))])
    for level in levels[::-1]:
        depth = level.shape[-1]
        x = conv(upsample(x), depth, act=identity)
        gate = conv(conv(pixel_mean(layers.Add()([x, level])), depth), depth, act=layers.Activation("sigmoid"))
        x = conv(layers.Add()([layers.Multiply()([level, gate]), x]), depth)
        x = layers.Add()([x, depthwise(x)])
    return keras.Model(inputs, conv_transpose(x, 1, act=layers.Activation("sigmoid")))


def unet() -> keras.Model:
    inputs = x = image(128)
    levels = []
    for channels in (16, 32, 64):
        x = conv(conv(x, channels, 3), channels, 3)
        levels.append(x)
        x = layers.MaxPooling2D(2)(x)
    x = conv(conv(x, 128, 3), 128, 3)
    for level in levels[::-1]:
        channels = level.shape[-1]
        x = layers.Concatenate()([conv_transpose(x, channels, act=identity), level])
        x = conv(conv(x, channels, 3), channels, 3)
    return keras.Model(inputs, conv(x, 21, act=identity))


def super_resolution() -> keras.Model:
    inputs = image(160, 1)
    x = conv(conv(conv(inputs, 56, 5), 32, 3), 32, 3)
    x = conv(x, 9, 3, act=identity)
    return keras.Model(inputs, layers.Lambda(lambda t: tf.nn.depth_to_space(t, 3))(x))


def style_transfer() -> keras.Model:
    def normalised(x: Value) -> Value:
        mean = ops.mean(x, (1, 2), keepdims=True)
        variance = ops.mean(ops.square(x - mean), (1, 2), keepdims=True)
        return (x - mean) * ops.rsqrt(variance + 1e-3)

    def mirrored(x: Value, channels: int, kernel: int, stride: int = 1) -> Value:
        edge = kernel // 2
        x = layers.Lambda(lambda t: tf.pad(t, ((0, 0), (edge, edge), (edge, edge), (0, 0)), "REFLECT"))(x)
        return normalised(conv(x, channels, kernel, stride, identity, padding="valid"))

    inputs = image(128)
    x = relu(mirrored(inputs, 16, 9))
    x = relu(mirrored(x, 32, 3, 2))
    x = relu(mirrored(x, 64, 3, 2))
    for _ in range(3):
        x = layers.Add()([x, mirrored(relu(mirrored(x, 64, 3)), 64, 3)])
    x = relu(normalised(conv_transpose(x, 32, 3, 2, identity)))
    x = relu(normalised(conv_transpose(x, 16, 3, 2, identity)))
    return keras.Model(inputs, layers.Activation("sigmoid")(conv(x, 3, 9, act=identity)))


# Sound and text.


def ds_cnn() -> keras.Model:
    inputs = keras.Input((49, 10, 1), batch_size=1)
    x = conv(inputs, 64, (10, 4), 2)
    for _ in range(4):
        x = conv(depthwise(x), 64)
    return keras.Model(inputs, classify(x, 12))


def spectrogram_cnn() -> keras.Model:
    inputs = keras.Input((96, 64, 1), batch_size=1)
    x = conv(conv(inputs, 24, (1, 9), (1, 2)), 32, (9, 1), (2, 1))
    for channels in (48, 64, 96):
        x = conv(conv(x, channels, (1, 5)), channels, (5, 1))
        x = layers.MaxPooling2D((2, 2))(x)
    x = depthwise(depthwise(x, (1, 3)), (3, 1))
    return keras.Model(inputs, classify(x, 50))


def sound_events() -> keras.Model:
    inputs = keras.Input((96, 64, 1), batch_size=1)
    x = layers.GlobalAveragePooling2D()(mobilenet_v1_body(inputs))
    return keras.Model(inputs, [dense(x, 521, layers.Activation("sigmoid")), x])


def sound_embedding() -> keras.Model:
    inputs = keras.Input((96, 64, 1), batch_size=1)
    x = inputs
    for channels in ((64,), (128,), (256, 256), (512, 512)):
        for c in channels:
            x = conv(x, c, 3)
        x = layers.MaxPooling2D(2)(x)
    x = layers.Flatten()(x)
    return keras.Model(inputs, dense(dense(x, 512, relu), 128))


def streaming_keywords() -> keras.Model:
    """One frame a call; what it remembers is handed in and out."""
    frame = keras.Input((1, 40), batch_size=1)
    memory = keras.Input((9, 32), batch_size=1)
    x = layers.Concatenate(axis=1)([memory, dense(frame, 32, relu)])
    y = layers.DepthwiseConv1D(10, depthwise_initializer=he(10), bias_initializer=small())(x)
    y = dense(dense(layers.Flatten()(relu(y)), 32, relu), 12)
    return keras.Model([frame, memory], [layers.Softmax()(y), x[:, 1:]])


def tcn() -> keras.Model:
    inputs = keras.Input((128, 32), batch_size=1)
    x = layers.Conv1D(64, 1, kernel_initializer=he(32))(inputs)
    for dilation in (1, 2, 4, 8, 16, 32):
        y = x
        for _ in range(2):
            y = layers.Conv1D(64, 3, dilation_rate=dilation, padding="causal", kernel_initializer=he(192), bias_initializer=small())(y)
            y = relu(y)
        x = layers.Add()([x, y])
    return keras.Model(inputs, layers.Softmax()(dense(x[:, -1], 10)))


def lstm_step() -> keras.Model:
    x, h, c = (keras.Input((width,), batch_size=1) for width in (64, 128, 128))
    y, h_next, c_next = layers.LSTM(128, return_state=True, unroll=True)(layers.Reshape((1, 64))(x), initial_state=[h, c])
    return keras.Model([x, h, c], [dense(y, 32), h_next, c_next])


def lstm() -> keras.Model:
    inputs = keras.Input((64, 40), batch_size=1)
    x = layers.LSTM(128)(layers.LSTM(128, return_sequences=True)(inputs))
    return keras.Model(inputs, layers.Softmax()(dense(x, 35)))


def gru() -> keras.Model:
    inputs = keras.Input((64, 40), batch_size=1)
    x = layers.GRU(128)(layers.GRU(128, return_sequences=True)(inputs))
    return keras.Model(inputs, layers.Softmax()(dense(x, 35)))


def bert_tiny() -> keras.Model:
    length, width, heads, words = 128, 256, 4, 2048

    def split(x: Value) -> Value:
        return ops.transpose(ops.reshape(x, (1, length, heads, width // heads)), (0, 2, 1, 3))

    def normalised(x: Value) -> Value:
        return layers.LayerNormalization(epsilon=1e-6)(x)

    ids = keras.Input((length,), batch_size=1, dtype="int32")
    places = np.random.default_rng(1).standard_normal((1, length, width)).astype(np.float32)
    x = normalised(layers.Embedding(words, width, embeddings_initializer="normal")(ids) + places)
    for _ in range(4):
        q, k, v = (split(dense(x, width)) for _ in range(3))
        scores = layers.Softmax()(ops.matmul(q, ops.transpose(k, (0, 1, 3, 2))) * (heads / width) ** 0.5)
        mixed = ops.reshape(ops.transpose(ops.matmul(scores, v), (0, 2, 1, 3)), (1, length, width))
        x = normalised(x + dense(mixed, width))
        x = normalised(x + dense(dense(x, 4 * width, layers.Activation(lambda t: ops.gelu(t, approximate=False))), width))
    return keras.Model(ids, dense(x[:, 0], 2))


class Net(NamedTuple):
    build: Callable[[], keras.Model]
    variants: tuple[str, ...]


NETS = {
    "bert_tiny": Net(bert_tiny, ("fp32", "dyn")),
    "ds_cnn": Net(ds_cnn, ("fp32", "int8")),
    "efficientnet_b0": Net(efficientnet_b0, ("fp32",)),
    "face_detector": Net(face_detector, ("fp16", "int8")),
    "face_landmarks": Net(face_landmarks, ("fp16",)),
    "gru": Net(gru, ("fp32",)),
    "hand_landmarks": Net(hand_landmarks, ("fp16", "int8")),
    "lstm": Net(lstm, ("fp32",)),
    "lstm_step": Net(lstm_step, ("fp32", "dyn")),
    "mobilenet_v1": Net(mobilenet_v1, ("fp32", "int8")),
    "mobilenet_v2": Net(mobilenet_v2, ("fp32", "int8")),
    "mobilenet_v3_large": Net(mobilenet_v3_large, ("fp32", "int8")),
    "palm_detector": Net(palm_detector, ("fp16",)),
    "pose_landmarks": Net(pose_landmarks, ("fp16",)),
    "resnet50": Net(resnet50, ("fp32", "int8")),
    "selfie_segmentation": Net(selfie_segmentation, ("fp16", "fp32")),
    "sound_embedding": Net(sound_embedding, ("fp32",)),
    "sound_events": Net(sound_events, ("fp32", "int8")),
    "spectrogram_cnn": Net(spectrogram_cnn, ("fp32", "int8")),
    "streaming_keywords": Net(streaming_keywords, ("fp32", "int8")),
    "style_transfer": Net(style_transfer, ("fp32",)),
    "super_resolution": Net(super_resolution, ("fp32", "int8")),
    "tcn": Net(tcn, ("fp32", "int8")),
    "unet": Net(unet, ("fp32", "int8")),
}


def samples(model: keras.Model) -> Iterator[dict[str, np.ndarray]]:
    """Smooth noise in [-1, 1] for the calibration of int8 models: closer to pictures and sounds than white noise."""
    random = np.random.default_rng(7)
    for _ in range(8):
        found = {}
        for position, tensor in enumerate(model.inputs):
            noise = random.standard_normal(tensor.shape)
            for axis in range(1, len(tensor.shape)):
                noise = noise + np.roll(noise, 1, axis) + np.roll(noise, 2, axis)
            found[f"input_{position}"] = (noise / np.abs(noise).max()).astype(np.float32)
        yield found


def convert(model: keras.Model, variant: str) -> bytes:
    signature = [tf.TensorSpec(t.shape, t.dtype, f"input_{i}") for i, t in enumerate(model.inputs)]

    @tf.function(input_signature=signature)
    def serve(*inputs: Value) -> dict[str, Value]:
        outputs = model(list(inputs) if len(inputs) > 1 else inputs[0], training=False)
        return {f"output_{i}": y for i, y in enumerate(outputs if isinstance(outputs, list) else [outputs])}

    module = tf.Module()
    module.model, module.serve, module.values = model, serve, [v.value for v in model.variables]  # what is not reachable is not saved
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures={"serving_default": serve})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if variant != "fp32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if variant == "fp16":
            converter.target_spec.supported_types = [tf.float16]
        if variant == "int8":
            converter.representative_dataset = lambda: samples(model)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = converter.inference_output_type = tf.int8
        return bytes(converter.convert())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path, nargs="?", default=pathlib.Path("nets"))
    parser.add_argument("--only", default="", help="a regular expression that NAME.VARIANT matches")
    parser.add_argument("--list", action="store_true")
    args = parser.parse_args()
    wanted = [(name, variant) for name, net in NETS.items() for variant in net.variants if re.search(args.only, f"{name}.{variant}")]
    if args.list:
        print("\n".join(f"{name}.{variant}" for name, variant in wanted))
        return 0
    args.folder.mkdir(parents=True, exist_ok=True)
    for name, variant in wanted:
        keras.utils.set_random_seed(2024)
        keras.backend.clear_session()
        file = args.folder / f"{name}.{variant}.tflite"
        file.write_bytes(convert(NETS[name].build(), variant))
        print(f"{file.name}: {file.stat().st_size} bytes", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())

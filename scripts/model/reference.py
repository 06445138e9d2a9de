#!/usr/bin/env python3
"""The embedding of three fixed pictures, computed a second way.

    reference.py WEIGHTS.pth > apps/video/tests/fixtures/reference.json
    reference.py WEIGHTS.pth --classify PICTURE.rgb24...

Needs numpy. Run by hand when the fixture must be renewed; nothing else uses
it. It shares no code with convert.py and none with the Rust side: it reads the
weights by itself, keeps batch normalisation as its own step, computes in
float64, and carries the head so that `--classify` can show that the network
recognises things (224 x 224 RGB24 files in, ImageNet classes out).

The pictures are drawn by integer arithmetic alone (`picture`), so that the Rust
test draws the very same ones; the fixture carries a sum of each.
"""

import collections
import io
import json
import pickle
import sys

import numpy as np

SIDE = 224


def read_state_dict(path):
    raw = io.BytesIO(open(path, "rb").read())

    class Loader(pickle.Unpickler):
        def find_class(self, module, name):
            if name == "OrderedDict":
                return collections.OrderedDict
            if name == "_rebuild_tensor_v2":
                return lambda *args: args[:4]
            return {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}[name]

        def persistent_load(self, pid):
            return pid[1], pid[2]

    for _ in range(3):
        Loader(raw).load()
    state = Loader(raw).load()
    dtypes = {key: dtype for (dtype, key), *_ in state.values()}
    storages = {}
    for key in Loader(raw).load():
        count = int.from_bytes(raw.read(8), "little")
        storages[key] = np.frombuffer(raw.read(count * dtypes[key].itemsize), dtypes[key])
    return {
        name: np.lib.stride_tricks.as_strided(
            storages[key][offset:], shape, [s * dtype.itemsize for s in strides]
        ).astype(np.float64)
        for name, ((dtype, key), offset, shape, strides) in state.items()
    }


def conv_same(x, w, stride, depthwise):
    """x: C x H x W; TensorFlow's SAME padding."""
    k, size = w.shape[-1], x.shape[1]
    out = -(-size // stride)
    total = max((out - 1) * stride + k - size, 0)
    x = np.pad(x, ((0, 0), (total // 2, total - total // 2), (total // 2, total - total // 2)))
    y = 0.0
    for i in range(k):
        for j in range(k):
            patch = x[:, i : i + (out - 1) * stride + 1 : stride, j : j + (out - 1) * stride + 1 : stride]
            y = y + (w[:, 0, i, j, None, None] * patch if depthwise else np.tensordot(w[:, :, i, j], patch, 1))
    return y


def batch_norm(x, s, name):
    col = lambda part: s[f"{name}.{part}"][:, None, None]
    return (x - col("running_mean")) / np.sqrt(col("running_var") + 1e-3) * col("weight") + col("bias")


def relu6(x):
    return np.clip(x, 0.0, 6.0)


# (how often, kernel, stride of the first, expansion): the table of the EfficientNet paper.
STAGES = [(1, 3, 1, 1), (2, 3, 2, 6), (2, 5, 2, 6), (3, 3, 2, 6), (3, 5, 1, 6), (4, 5, 2, 6), (1, 3, 1, 6)]


def pooled(s, rgb):
    x = (rgb.astype(np.float64).transpose(2, 0, 1) - 127.0) / 128.0
    x = relu6(batch_norm(conv_same(x, s["_conv_stem.weight"], 2, False), s, "_bn0"))
    index = 0
    for repeats, kernel, first_stride, expansion in STAGES:
        for repeat in range(repeats):
            stride = first_stride if repeat == 0 else 1
            b = f"_blocks.{index}."
            y = x
            if expansion != 1:
                y = relu6(batch_norm(conv_same(y, s[b + "_expand_conv.weight"], 1, False), s, b + "_bn0"))
            w = s[b + "_depthwise_conv.weight"]
            assert w.shape[-1] == kernel
            y = relu6(batch_norm(conv_same(y, w, stride, True), s, b + "_bn1"))
            y = batch_norm(conv_same(y, s[b + "_project_conv.weight"], 1, False), s, b + "_bn2")
            x = y + x if y.shape == x.shape and stride == 1 else y
            index += 1
    x = relu6(batch_norm(conv_same(x, s["_conv_head.weight"], 1, False), s, "_bn1"))
    return x.mean(axis=(1, 2))


def picture(seed):
    """Blocks, gradients and noise; integers only, so that every language draws it alike."""
    rgb = np.zeros((SIDE, SIDE, 3), np.uint8)
    state = seed
    for y in range(SIDE):
        for x in range(SIDE):
            for channel in range(3):
                state = (state * 1664525 + 1013904223) % 2**32
                noise = (state >> 24) % 32
                block = ((x // (16 + 8 * seed)) * 37 + (y // (12 + 4 * seed)) * 59 + channel * 83) * seed
                slope = (x * (channel + 1) + y * (3 - channel)) // 4
                rgb[y, x, channel] = (block % 128 + slope % 96 + noise) % 256
    return rgb


def main():
    weights, *rest = sys.argv[1:]
    s = read_state_dict(weights)
    if rest[:1] == ["--classify"]:
        for path in rest[1:]:
            rgb = np.fromfile(path, np.uint8).reshape(SIDE, SIDE, 3)
            logits = s["_fc.weight"] @ pooled(s, rgb) + s["_fc.bias"]
            share = np.exp(logits - logits.max())
            share /= share.sum()
            print(path, [(int(c), round(float(share[c]), 3)) for c in np.argsort(-logits)[:5]])
        return
    frames = []
    vectors = []
    for seed in (1, 2, 3):
        rgb = picture(seed)
        vectors.append(pooled(s, rgb))
        frames.append({
            "seed": seed,
            "sum": int(rgb.astype(np.int64).sum()),
            "pooled": [float(f"{v:.6g}") for v in vectors[-1]],
        })
    mean = np.mean(vectors, axis=0)
    embedding = [float(f"{v:.6g}") for v in mean / np.linalg.norm(mean)]
    json.dump({"frames": frames, "embedding": embedding}, sys.stdout, separators=(",", ":"))
    print()


if __name__ == "__main__":
    main()

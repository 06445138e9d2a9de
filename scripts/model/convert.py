#!/usr/bin/env python3
"""Writes the image model as ONNX: EfficientNet-Lite0 without its classifier.

    convert.py WEIGHTS.pth MODEL.onnx

Input `frames`: float32, N x 3 x 224 x 224, RGB, (value - 127) / 128.
Output `pooled`: float32, N x 1280, the global average pool.

Uses only Python's standard library, so that a fresh machine needs neither
torch nor numpy nor onnx. The same weights give the same bytes on every
machine: all arithmetic is IEEE double, rounded once to float32.

The weights are a pickle from before torch 1.6: three header pickles, the
pickled state dict, the list of storage keys, then the storages themselves.
Every tensor is a *view* (offset, shape, strides) of its storage, and most
convolution weights here are stored transposed. Reading a storage front to back
yields numbers that are silently wrong.

A batch normalisation follows every convolution; it is folded into the
convolution's weights, which changes nothing but the rounding.
"""

import array
import collections
import math
import pickle
import struct
import sys

# What the first pickle of a legacy torch file must say.
TORCH_MAGIC = 0x1950A86A20F9469CFC6C
# The epsilon with which the network was trained.
BATCH_NORM_EPSILON = 1e-3
# Blocks whose depthwise convolution halves the picture; the weights do not say it.
STRIDE_2_BLOCKS = {1, 3, 5, 11}
BLOCKS = 16
INPUT_SIZE = 224
POOLED = 1280


# --- The weights ----------------------------------------------------------

Tensor = collections.namedtuple("Tensor", "storage_key offset shape strides")


class StateDictUnpickler(pickle.Unpickler):
    """Builds exactly the four names a state dict needs, and refuses any other,
    since a pickle can otherwise call anything."""

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda key, offset, shape, strides, *_: Tensor(key, offset, shape, strides)
        if (module, name) in (("torch", "FloatStorage"), ("torch", "LongStorage")):
            return name
        raise pickle.UnpicklingError(f"unexpected {module}.{name} in the weights")

    def persistent_load(self, pid):
        _, kind, key, _, _, view = pid
        if view is not None:
            raise pickle.UnpicklingError("views of storages are not expected here")
        return (kind, key)


def read_weights(path):
    """Name -> (shape, array of float32 in row-major order)."""
    item_bytes = {"FloatStorage": 4, "LongStorage": 8}
    with open(path, "rb") as file:
        if StateDictUnpickler(file).load() != TORCH_MAGIC:
            raise SystemExit(f"{path}: not a legacy torch file")
        StateDictUnpickler(file).load()  # protocol version
        if not StateDictUnpickler(file).load()["little_endian"]:
            raise SystemExit(f"{path}: written on a big-endian machine")
        tensors = StateDictUnpickler(file).load()
        kinds = {t.storage_key[1]: t.storage_key[0] for t in tensors.values()}
        storages = {}
        for key in StateDictUnpickler(file).load():
            (count,) = struct.unpack("<q", file.read(8))
            data = file.read(count * item_bytes[kinds[key]])
            if kinds[key] == "FloatStorage":
                storages[key] = little_endian_floats(data)
        if file.read(1):
            raise SystemExit(f"{path}: bytes left over after the last storage")
    return {
        name: (tensor.shape, gather(storages[tensor.storage_key[1]], tensor))
        for name, tensor in tensors.items()
        if tensor.storage_key[0] == "FloatStorage"
    }


def little_endian_floats(data):
    floats = array.array("f", data)
    if sys.byteorder == "big":
        floats.byteswap()
    return floats


def gather(storage, tensor):
    """The tensor's numbers in row-major order, following its strides."""
    dims = [(size, stride) for size, stride in zip(tensor.shape, tensor.strides) if size != 1]
    out = array.array("f")

    def walk(offset, dims):
        if not dims:
            out.append(storage[offset])
        elif len(dims) == 1:
            (size, stride), = dims
            out.extend(storage[offset : offset + (size - 1) * stride + 1 : stride])
        else:
            (size, stride), rest = dims[0], dims[1:]
            for i in range(size):
                walk(offset + i * stride, rest)

    walk(tensor.offset, dims)
    if len(out) != math.prod(tensor.shape):
        raise SystemExit("a tensor reaches past the end of its storage")
    return out


def fold(weights, convolution, batch_norm):
    """The convolution's weights and bias with its batch normalisation in them."""
    shape, kernel = weights[f"{convolution}.weight"]
    gamma, beta, mean, variance = (
        weights[f"{batch_norm}.{part}"][1] for part in ("weight", "bias", "running_mean", "running_var")
    )
    per_channel = math.prod(shape[1:])
    folded, bias = array.array("f"), array.array("f")
    for channel in range(shape[0]):
        scale = gamma[channel] / math.sqrt(variance[channel] + BATCH_NORM_EPSILON)
        start = channel * per_channel
        folded.extend(value * scale for value in kernel[start : start + per_channel])
        bias.append(beta[channel] - mean[channel] * scale)
    return shape, folded, bias


# --- ONNX: the few protobuf messages that a graph of convolutions needs ------


def varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field_int(number, value):
    return varint(number << 3) + varint(value)


def field_bytes(number, value):
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def attribute_int(name, value):
    return field_bytes(1, name) + field_int(3, value) + field_int(20, 2)


def attribute_ints(name, values):
    return field_bytes(1, name) + b"".join(field_int(8, v) for v in values) + field_int(20, 7)


def tensor_proto(name, shape, floats):
    if sys.byteorder == "big":
        floats = floats[:]
        floats.byteswap()
    dims = b"".join(field_int(1, size) for size in shape)
    return dims + field_int(2, 1) + field_bytes(8, name) + field_bytes(9, floats.tobytes())


def value_info(name, shape):
    dims = b"".join(
        field_bytes(1, field_bytes(2, d) if isinstance(d, str) else field_int(1, d)) for d in shape
    )
    return field_bytes(1, name) + field_bytes(2, field_bytes(1, field_int(1, 1) + field_bytes(2, dims)))


class Graph:
    """Nodes and weights in the order in which they are added."""

    def __init__(self):
        self.nodes, self.initializers = [], []
        self.constant("zero", (), array.array("f", [0.0]))
        self.constant("six", (), array.array("f", [6.0]))

    def constant(self, name, shape, floats):
        self.initializers.append(tensor_proto(name, shape, floats))
        return name

    def node(self, operator, inputs, output, attributes=()):
        self.nodes.append(
            b"".join(field_bytes(1, i) for i in inputs)
            + field_bytes(2, output)
            + field_bytes(3, output)
            + field_bytes(4, operator)
            + b"".join(field_bytes(5, a) for a in attributes)
        )
        return output

    def convolution(self, source, name, folded, stride, size):
        """Padded as TensorFlow's SAME does it: the odd pixel goes right and below."""
        shape, kernel, bias = folded
        window = shape[2]
        padding = max((math.ceil(size / stride) - 1) * stride + window - size, 0)
        before, after = padding // 2, padding - padding // 2
        depthwise = shape[1] == 1 and window > 1
        return self.node(
            "Conv",
            [
                source,
                self.constant(f"{name}.weight", shape, kernel),
                self.constant(f"{name}.bias", shape[:1], bias),
            ],
            name,
            [
                attribute_int("group", shape[0] if depthwise else 1),
                attribute_ints("kernel_shape", [window, window]),
                attribute_ints("pads", [before, before, after, after]),
                attribute_ints("strides", [stride, stride]),
            ],
        )

    def relu6(self, source):
        return self.node("Clip", [source, "zero", "six"], f"{source}.relu6")

    def model(self, inputs, outputs):
        graph = (
            b"".join(field_bytes(1, n) for n in self.nodes)
            + field_bytes(2, "efficientnet-lite0")
            + b"".join(field_bytes(5, i) for i in self.initializers)
            + b"".join(field_bytes(11, value_info(*i)) for i in inputs)
            + b"".join(field_bytes(12, value_info(*o)) for o in outputs)
        )
        opset_13 = field_bytes(1, "") + field_int(2, 13)
        # IR version 7 is the one that came with opset 13's ONNX 1.8.
        return field_int(1, 7) + field_bytes(2, "rowlock") + field_bytes(7, graph) + field_bytes(8, opset_13)


# --- The network ---------------------------------------------------------------


def build(weights):
    graph = Graph()
    size = INPUT_SIZE

    def convolve(source, name, convolution, batch_norm, stride=1):
        return graph.convolution(source, name, fold(weights, convolution, batch_norm), stride, size)

    x = graph.relu6(convolve("frames", "stem", "_conv_stem", "_bn0", stride=2))
    size //= 2
    for index in range(BLOCKS):
        block, name = f"_blocks.{index}.", f"block{index}."
        stride = 2 if index in STRIDE_2_BLOCKS else 1
        y = x
        if f"{block}_expand_conv.weight" in weights:
            y = graph.relu6(convolve(y, name + "expand", block + "_expand_conv", block + "_bn0"))
        y = graph.relu6(convolve(y, name + "depthwise", block + "_depthwise_conv", block + "_bn1", stride))
        size //= stride
        y = convolve(y, name + "project", block + "_project_conv", block + "_bn2")
        channels_in = weights[block + "_depthwise_conv.weight"][0][0]
        if f"{block}_expand_conv.weight" in weights:
            channels_in = weights[f"{block}_expand_conv.weight"][0][1]
        channels_out = weights[f"{block}_project_conv.weight"][0][0]
        if stride == 1 and channels_in == channels_out:
            y = graph.node("Add", [y, x], name + "add")
        x = y
    x = graph.relu6(convolve(x, "head", "_conv_head", "_bn1"))
    x = graph.node("GlobalAveragePool", [x], "pool")
    graph.node("Flatten", [x], "pooled", [attribute_int("axis", 1)])
    return graph.model(
        [("frames", ["n", 3, INPUT_SIZE, INPUT_SIZE])], [("pooled", ["n", POOLED])]
    )


def main():
    if len(sys.argv) != 3:
        raise SystemExit("usage: convert.py WEIGHTS.pth MODEL.onnx")
    model = build(read_weights(sys.argv[1]))
    with open(sys.argv[2], "wb") as file:
        file.write(model)


if __name__ == "__main__":
    main()

"""Writes all-MiniLM-L6-v2 as an ONNX graph, straight from its safetensors: the oracle and peer of
the encoder in crates/learn.

usage: python bench/minilm_onnx.py MODEL.safetensors OUT.onnx
needs: pip install onnx numpy safetensors
"""
import sys

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper, save
from safetensors.numpy import load_file

LAYERS, HEADS, WIDTH = 6, 12, 384
HEAD = WIDTH // HEADS


class Graph:
    """Nodes and weights, with names given in order."""

    def __init__(self, weights):
        self.weights, self.nodes, self.initializers, self.count = weights, [], [], 0

    def constant(self, value):
        self.count += 1
        name = f"c{self.count}"
        self.initializers.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def node(self, op, *inputs, **attributes):
        self.count += 1
        name = f"n{self.count}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def linear(self, x, name):
        weight = self.constant(np.ascontiguousarray(self.weights[f"{name}.weight"].T))
        return self.node("Add", self.node("MatMul", x, weight), self.constant(self.weights[f"{name}.bias"]))

    def norm(self, x, name):
        scale, bias = (self.constant(self.weights[f"{name}.{part}"]) for part in ("weight", "bias"))
        return self.node("LayerNormalization", x, scale, bias, axis=-1, epsilon=1e-12)

    def heads(self, x, order):
        split = self.node("Reshape", x, self.constant(np.array([0, 0, HEADS, HEAD], np.int64)))
        return self.node("Transpose", split, perm=order)


def layer(g, x, mask, index):
    name = lambda part: f"encoder.layer.{index}.{part}"
    q = g.heads(g.linear(x, name("attention.self.query")), [0, 2, 1, 3])
    k = g.heads(g.linear(x, name("attention.self.key")), [0, 2, 3, 1])
    v = g.heads(g.linear(x, name("attention.self.value")), [0, 2, 1, 3])
    scores = g.node("Div", g.node("MatMul", q, k), g.constant(np.float32(HEAD**0.5)))
    shares = g.node("Softmax", g.node("Add", scores, mask), axis=-1)
    mixed = g.node("Transpose", g.node("MatMul", shares, v), perm=[0, 2, 1, 3])
    mixed = g.node("Reshape", mixed, g.constant(np.array([0, 0, WIDTH], np.int64)))
    x = g.norm(g.node("Add", g.linear(mixed, name("attention.output.dense")), x), name("attention.output.LayerNorm"))
    inner = g.node("Gelu", g.linear(x, name("intermediate.dense")))
    return g.norm(g.node("Add", g.linear(inner, name("output.dense")), x), name("output.LayerNorm"))


def build(weights):
    g = Graph(weights)
    word = g.node("Gather", g.constant(weights["embeddings.word_embeddings.weight"]), "input_ids")
    length = g.node("Gather", g.node("Shape", "input_ids"), g.constant(np.int64(1)))
    steps = g.node("Range", g.constant(np.int64(0)), length, g.constant(np.int64(1)))
    place = weights["embeddings.position_embeddings.weight"] + weights["embeddings.token_type_embeddings.weight"][0]
    x = g.node("Add", word, g.node("Gather", g.constant(place), steps))
    x = g.norm(x, "embeddings.LayerNorm")
    absent = g.node("Sub", g.constant(np.float32(1)), g.node("Cast", "attention_mask", to=TensorProto.FLOAT))
    mask = g.node("Mul", g.node("Unsqueeze", absent, g.constant(np.array([1, 2], np.int64))), g.constant(np.float32(-1e9)))
    for index in range(LAYERS):
        x = layer(g, x, mask, index)
    g.nodes.append(helper.make_node("Identity", [x], ["last_hidden_state"]))
    ids = [helper.make_tensor_value_info(n, TensorProto.INT64, ["batch", "length"]) for n in ("input_ids", "attention_mask")]
    out = [helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["batch", "length", WIDTH])]
    graph = helper.make_graph(g.nodes, "all-MiniLM-L6-v2", ids, out, g.initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


if __name__ == "__main__":
    model = build(load_file(sys.argv[1]))
    checker.check_model(model)
    save(model, sys.argv[2])

"""Writes reference logits of the decoder, computed in numpy with 64-bit floats.

usage: reference.py DECODER.safetensors OUT.json

`pip install numpy safetensors`. The parity test of crates/learn compares its own logits of each
text's last byte with these.
"""

import json
import math
import sys

import numpy as np
from safetensors import safe_open

TEXTS = [
    "a",
    "The same task gives the same bytes on every node, ",
    "| what | command | result |\n|---|---|---|\n",
    "Caf\u00e9 \u4f60\u597d 0x1f8b {}[]();",
    "anthill prove credits:42 > p.cbor  # one payment with everything that proves it. " * 3,
]


def norm(x, weight, bias):
    mean = x.mean(-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-5) * weight + bias


def main():
    with safe_open(sys.argv[1], "np") as file:
        shape = json.loads(file.metadata()["decoder"])
        w = {k: file.get_tensor(k).astype(np.float64) for k in file.keys()}
    heads, erf = shape["heads"], np.vectorize(math.erf)
    cases = []
    for text in TEXTS:
        ids = list(text.encode())[: shape["context"]]
        text = bytes(ids).decode()
        x = w["tokens.weight"][ids] + w["positions.weight"][: len(ids)]
        mask = np.triu(np.full((len(ids), len(ids)), -np.inf), 1)
        for i in range(shape["layers"]):
            get = lambda part: (w[f"layers.{i}.{part}.weight"], w[f"layers.{i}.{part}.bias"])
            linear = lambda part, x: x @ get(part)[0].T + get(part)[1]
            q, k, v = np.split(linear("qkv", norm(x, *get("norm1"))), 3, axis=-1)
            cut = lambda t: t.reshape(len(ids), heads, -1).transpose(1, 0, 2)
            scores = cut(q) @ cut(k).transpose(0, 2, 1) / math.sqrt(q.shape[-1] / heads) + mask
            shares = np.exp(scores - scores.max(-1, keepdims=True))
            shares /= shares.sum(-1, keepdims=True)
            x = x + linear("out", (shares @ cut(v)).transpose(1, 0, 2).reshape(len(ids), -1))
            inner = linear("up", norm(x, *get("norm2")))
            x = x + linear("down", inner * 0.5 * (1 + erf(inner / math.sqrt(2))))
        logits = norm(x[-1], w["norm.weight"], w["norm.bias"]) @ w["tokens.weight"].T
        cases.append({"text": text, "logits": [round(v, 7) for v in logits.tolist()]})
    with open(sys.argv[2], "w") as out:
        json.dump(cases, out)
        out.write("\n")


main()

"""Embeds the corpus with the teacher (all-MiniLM-L6-v2), in numpy alone.

usage: teach.py WORK MODEL_DIR [WORKER WORKERS]

Writes WORK/teacher/NNNN.npy, unit vectors of 4,096 texts each, in the corpus's order; a shard that
is there is not made again, so the run can be stopped and resumed. Sentences of one length are
computed together, so nothing is padded.
"""

import json
import os
import pathlib
import sys

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer

SHARD = 4096
MAX_TOKENS = 128
LAYERS, HEADS, WIDTH = 6, 12, 384


def gelu(x):
    """x * Phi(x), in place, in blocks that fit the cache; erf by Abramowitz-Stegun 7.1.26."""
    flat = x.reshape(-1)
    for start in range(0, flat.size, 16384):
        part = flat[start : start + 16384]
        a = np.abs(part) * np.float32(0.7071067811865476)
        t = np.float32(1) / (np.float32(1) + np.float32(0.3275911) * a)
        poly = np.float32(1.061405429) * t
        for c in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
            poly += np.float32(c)
            poly *= t
        a *= a
        np.negative(a, out=a)
        np.exp(a, out=a)
        poly *= a
        erf = np.copysign(np.float32(1) - poly, part)
        part *= np.float32(0.5) * (np.float32(1) + erf)
    return x


def layer_norm(x, weight, bias):
    x = x - x.mean(axis=-1, keepdims=True)
    x *= 1.0 / np.sqrt((x * x).mean(axis=-1, keepdims=True) + 1e-12)
    x *= weight
    x += bias
    return x


class Teacher:
    """The BERT encoder with mean pooling."""

    def __init__(self, folder):
        folder = pathlib.Path(folder)
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(MAX_TOKENS)
        raw = load_file(str(folder / "model.safetensors"))
        self.weights = {name.removeprefix("bert."): value for name, value in raw.items()}

    def linear(self, x, name):
        w = self.weights
        return x @ w[name + ".weight"].T + w[name + ".bias"]

    def norm(self, x, name):
        return layer_norm(x, self.weights[name + ".weight"], self.weights[name + ".bias"])

    def block(self, x, layer):
        base = f"encoder.layer.{layer}."
        batch, length, _ = x.shape
        flat = x.reshape(-1, WIDTH)
        parts = [
            self.linear(flat, f"{base}attention.self.{p}")
            .reshape(batch, length, HEADS, WIDTH // HEADS)
            .transpose(0, 2, 1, 3)
            for p in ("query", "key", "value")
        ]
        score = parts[0] @ parts[1].transpose(0, 1, 3, 2) / np.float32((WIDTH // HEADS) ** 0.5)
        score -= score.max(axis=-1, keepdims=True)
        np.exp(score, out=score)
        score /= score.sum(axis=-1, keepdims=True)
        mixed = (score @ parts[2]).transpose(0, 2, 1, 3).reshape(-1, WIDTH)
        attended = self.linear(mixed, base + "attention.output.dense")
        flat = self.norm(flat + attended, base + "attention.output.LayerNorm")
        inner = gelu(self.linear(flat, base + "intermediate.dense"))
        flat = self.norm(flat + self.linear(inner, base + "output.dense"), base + "output.LayerNorm")
        return flat.reshape(batch, length, WIDTH)

    def encode(self, ids):
        """Unit vectors of sentences of one length; ids is (batch, length)."""
        w = self.weights
        x = w["embeddings.word_embeddings.weight"][ids]
        x = x + w["embeddings.position_embeddings.weight"][: ids.shape[1]]
        x = x + w["embeddings.token_type_embeddings.weight"][0]
        x = self.norm(x, "embeddings.LayerNorm")
        for layer in range(LAYERS):
            x = self.block(x, layer)
        mean = x.mean(axis=1)
        return mean / np.linalg.norm(mean, axis=1, keepdims=True)

    def embed(self, texts):
        ids = [e.ids for e in self.tokenizer.encode_batch(texts)]
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        out = np.zeros((len(ids), WIDTH), np.float32)
        start = 0
        while start < len(order):
            length = len(ids[order[start]])
            limit = max(1, 512 // length)
            group = [i for i in order[start : start + limit] if len(ids[i]) == length]
            out[group] = self.encode(np.array([ids[i] for i in group]))
            start += len(group)
        return out


def main():
    work, model = pathlib.Path(sys.argv[1]), sys.argv[2]
    worker, workers = (int(a) for a in sys.argv[3:5]) if len(sys.argv) > 4 else (0, 1)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    texts = [json.loads(line)["text"] for line in open(work / "corpus.jsonl", encoding="utf-8")]
    teacher = Teacher(model)
    (work / "teacher").mkdir(exist_ok=True)
    shards = (len(texts) + SHARD - 1) // SHARD
    for shard in range(worker, shards, workers):
        path = work / "teacher" / f"{shard:04}.npy"
        if not path.exists():
            vectors = teacher.embed(texts[shard * SHARD : (shard + 1) * SHARD])
            partial = path.with_suffix(".partial")
            with open(partial, "wb") as file:
                np.save(file, vectors)
            partial.rename(path)
            print(f"shard {shard + 1} of {shards}", flush=True)


if __name__ == "__main__":
    main()

"""Fits the static model to the teacher's sentence vectors and writes it.

usage: fit.py WORK MODEL_DIR OUT

A text's vector is the sum of its tokens' vectors, made unit length. Start: the teacher's own
vector of each token alone, weighted by SIF (Arora, Liang and Ma, 2017). Then all 384 targets are
corrected together by least squares over the fit texts (CGLS with damping, the block form of LSQR),
refined by gradient steps on the squared distance after normalisation, turned to the 256 main
directions of the predictions (SVD), and quantised to int8 with one scale per row. The layout of
OUT is documented in crates/learn/src/static_model.rs.
"""

import json
import os
import pathlib
import struct
import sys

os.environ.setdefault("OPENBLAS_NUM_THREADS", "2")
import numpy as np
import scipy.sparse as sp

from teach import SHARD, Teacher

DIMS = 256
DAMPING = 0.3
CG_STEPS = 30
SIF = 1e-3
REFINE_PASSES = 6
RATE = 0.05  # step size, in root mean squares of the vectors
BATCH = 2048
NAME = "anthill-static-256"


def counts(teacher, texts, vocabulary):
    """The sparse token-count matrix, each row divided by the root of its token count."""
    rows, columns = [], []
    for at in range(0, len(texts), SHARD):
        for i, encoding in enumerate(teacher.tokenizer.encode_batch(texts[at : at + SHARD])):
            ids = encoding.ids[1:-1]
            rows += [at + i] * len(ids)
            columns += ids
    ones = np.ones(len(rows), np.float32)
    matrix = sp.csr_matrix((ones, (rows, columns)), shape=(len(texts), vocabulary))
    total = np.maximum(np.asarray(matrix.sum(axis=1)).ravel(), 1)
    return sp.diags((1 / np.sqrt(total)).astype(np.float32)).dot(matrix).tocsr().astype(np.float32)


def unit(x):
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def token_vectors(teacher, vocabulary):
    """The teacher's vector of each token alone between [CLS] and [SEP]."""
    ids = np.array([[101, token, 102] for token in range(vocabulary)])
    return np.concatenate([teacher.encode(ids[i : i + 170]) for i in range(0, vocabulary, 170)])


def cgls(x, target, start):
    """Minimises |x v - target|^2 + DAMPING^2 |v - start|^2 for all columns at once."""
    v = start.copy()
    xt = x.T.tocsr()
    residual = target - x @ v
    gradient = xt @ residual
    direction = gradient.copy()
    power = (gradient * gradient).sum(axis=0)
    for step in range(CG_STEPS):
        image = x @ direction
        curve = (image * image).sum(axis=0) + DAMPING**2 * (direction * direction).sum(axis=0)
        alpha = (power / np.maximum(curve, 1e-20)).astype(np.float32)
        v += alpha * direction
        residual -= alpha * image
        gradient = xt @ residual - DAMPING**2 * (v - start)
        new = (gradient * gradient).sum(axis=0)
        direction = gradient + (new / np.maximum(power, 1e-20)).astype(np.float32) * direction
        power = new
    print("least squares: mean squared residual", float((residual * residual).sum(1).mean()))
    return v


def refine(x, target, v, seed=1):
    """Adam on the squared distance between the normalised prediction and the target."""
    order = np.random.default_rng(seed)
    first, second, step = np.zeros_like(v), np.zeros_like(v), 0
    rate = RATE * float(np.sqrt((v * v).mean()))
    total = REFINE_PASSES * (x.shape[0] // BATCH)
    for turn in range(REFINE_PASSES):
        loss, seen = 0.0, 0
        shuffled = order.permutation(x.shape[0])
        for at in range(0, x.shape[0] - BATCH + 1, BATCH):
            pick = shuffled[at : at + BATCH]
            part, goal = x[pick], target[pick]
            predicted = part @ v
            norm = np.maximum(np.linalg.norm(predicted, axis=1, keepdims=True), 1e-6)
            predicted /= norm
            error = predicted - goal
            loss += float((error * error).sum())
            seen += len(pick)
            error -= (error * predicted).sum(axis=1, keepdims=True) * predicted
            gradient = part.T @ (error / norm) / len(pick)
            step += 1
            first += 0.1 * (gradient - first)
            second += 0.01 * (gradient * gradient - second)
            pace = rate * (1 - step / (total + 1))
            corrected = np.sqrt(second / (1 - 0.99**step)) + 1e-12
            v -= pace * (first / (1 - 0.9**step)) / corrected
        print(f"refine pass {turn + 1}: mean squared distance {loss / seen:.4f}", flush=True)
    return v


def ranks(x):
    out = np.empty(len(x))
    out[np.argsort(x, kind="stable")] = np.arange(len(x))
    return out


def quality(ours, theirs, seed=7):
    """(Spearman of cosines over 10,000 random pairs, overlap of the ten nearest)."""
    n = len(ours)
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, n, 10000), rng.integers(0, n, 10000)
    keep = a != b
    pairs = [(v[a[keep]] * v[b[keep]]).sum(axis=1) for v in (ours, theirs)]
    spearman = float(np.corrcoef(ranks(pairs[0]), ranks(pairs[1]))[0, 1])
    shared = 0
    for at in range(0, n, 1000):
        tops = []
        for v in (ours, theirs):
            score = v[at : at + 1000] @ v.T
            score[np.arange(len(score)), np.arange(at, at + len(score))] = -2
            tops.append(np.argpartition(-score, 10, axis=1)[:, :10])
        shared += sum(len(set(p) & set(q)) for p, q in zip(*tops))
    return spearman, shared / (10 * n)


def report(label, v, x, splits, target):
    for split in ("debian", "man"):
        rows = np.array([i for i, s in enumerate(splits) if s == split])
        spearman, overlap = quality(unit(x[rows] @ v), target[rows])
        print(f"{label} {split}: Spearman {spearman:.4f}, top-10 overlap {overlap:.4f}", flush=True)


def write(path, tokens, v):
    """Quantises the rows and writes the model file."""
    scale = (np.abs(v).max(axis=1) / 127).astype(np.float32)
    rows = np.rint(v / np.maximum(scale, 1e-30)[:, None]).astype(np.int8)
    words = "\n".join(tokens).encode("utf-8")
    name = NAME.encode("ascii")
    head = struct.pack("<8sIIII", b"ANTSTAT1", v.shape[1], len(tokens), len(words), len(name))
    path.write_bytes(head + name + words + scale.tobytes() + rows.tobytes())
    return rows * scale[:, None]


def main():
    work, model, out = pathlib.Path(sys.argv[1]), sys.argv[2], pathlib.Path(sys.argv[3])
    rows = [json.loads(line) for line in open(work / "corpus.jsonl", encoding="utf-8")]
    shards = sorted((work / "teacher").glob("*.npy"))
    have = [i for s in shards for i in range(int(s.stem) * SHARD, min(len(rows), (int(s.stem) + 1) * SHARD))]
    target = np.concatenate([np.load(s) for s in shards])
    rows = [rows[i] for i in have]
    splits = [row["split"] for row in rows]
    fit = np.array([i for i, s in enumerate(splits) if s == "fit"])
    print(f"{len(fit)} fit texts, {len(rows) - len(fit)} held back", flush=True)
    teacher = Teacher(model)
    vocabulary = teacher.tokenizer.get_vocab_size()
    x = counts(teacher, [row["text"] for row in rows], vocabulary)
    xf = x[fit]
    start = token_vectors(teacher, vocabulary)
    seen = np.asarray(xf.astype(bool).sum(axis=0)).ravel()
    start *= (SIF / (SIF + seen / seen.sum())).astype(np.float32)[:, None]
    predicted = xf @ start
    start *= float((predicted * target[fit]).sum() / (predicted * predicted).sum())
    report("token vectors with SIF", start, x, splits, target)
    v = cgls(xf, target[fit], start)
    report("least squares", v, x, splits, target)
    v = refine(xf, target[fit], v)
    report("refined", v, x, splits, target)
    predicted = unit(xf @ v)
    values, directions = np.linalg.eigh(predicted.T @ predicted)
    v = v @ directions[:, ::-1][:, :DIMS].astype(np.float32)
    print(f"256 directions hold {values[::-1][:DIMS].sum() / values.sum():.5f} of the squares")
    names = {i: t for t, i in teacher.tokenizer.get_vocab().items()}
    keep = [i for i in range(vocabulary) if not names[i].startswith("[unused") and names[i] != "[MASK]"]
    v = np.ascontiguousarray(v[keep], np.float32)
    quantised = write(out, [names[i] for i in keep], v)
    xk = x[:, keep]
    projected = target
    report("written", quantised, xk, splits, projected)


if __name__ == "__main__":
    main()

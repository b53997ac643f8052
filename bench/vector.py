#!/usr/bin/env python3
"""Races `anthill vector` against hnswlib, faiss and usearch on the same vectors.

    pip install numpy faiss-cpu usearch
    pip install --no-binary hnswlib hnswlib        # compiled for this processor
    python3 bench/vector.py --base base.npy --query query.npy [--anthill target/release/anthill]

One thread each, float32, cosine of unit vectors, M 32, efConstruction 200, recall@10 against exact
search. Rounds are interleaved: in each round every engine answers all queries at every ef, and an
engine's figure is the median of its rounds. Times are CPU time of the process (peers) or of the
thread (anthill), so that a busy machine disturbs them less. `equal` interpolates each engine's
queries per second at the same recall.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time

os.environ["OMP_NUM_THREADS"] = "1"

import faiss  # noqa: E402
import hnswlib  # noqa: E402
import numpy as np  # noqa: E402
from usearch.index import Index as Usearch  # noqa: E402

K = 10


class Hnswlib:
    name = "hnswlib"

    def build(self, base, m, efc):
        self.index = hnswlib.Index("ip", base.shape[1])
        self.index.init_index(len(base), M=m, ef_construction=efc)
        self.index.set_num_threads(1)
        self.index.add_items(base, num_threads=1)

    def search(self, queries, ef):
        self.index.set_ef(ef)
        return self.index.knn_query(queries, K, num_threads=1)[0]


class Faiss:
    name = "faiss"

    def build(self, base, m, efc):
        faiss.omp_set_num_threads(1)
        self.index = faiss.IndexHNSWFlat(base.shape[1], m, faiss.METRIC_INNER_PRODUCT)
        self.index.hnsw.efConstruction = efc
        self.index.add(base)

    def search(self, queries, ef):
        self.index.hnsw.efSearch = ef
        return self.index.search(queries, K)[1]


class UsearchEngine:
    name = "usearch"

    def build(self, base, m, efc):
        self.index = Usearch(
            ndim=base.shape[1], metric="ip", dtype="f32", connectivity=m, expansion_add=efc
        )
        self.index.add(np.arange(len(base)), base, threads=1)

    def search(self, queries, ef):
        self.index.expansion_search = ef
        return self.index.search(queries, K, threads=1).keys


def anthill(program, *arguments):
    out = subprocess.run([program, "vector", *arguments, "--json"], capture_output=True, text=True)
    if out.returncode != 0:
        raise SystemExit(out.stderr)
    return json.loads(out.stdout)


def recall(found, truth):
    return sum(len(set(f) & set(t)) for f, t in zip(found, truth)) / truth.size


def at_recall(points, wanted):
    """Queries per second at a recall, on the line between the two efs around it."""
    points = sorted(points)
    if wanted <= points[0][0]:
        return points[0][1]
    for (r0, q0), (r1, q1) in zip(points, points[1:]):
        if r0 <= wanted <= r1:
            return q0 if r1 == r0 else q0 + (q1 - q0) * (wanted - r0) / (r1 - r0)
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", required=True)
    parser.add_argument("--query", required=True)
    parser.add_argument("--limit", type=int, default=None, help="first rows of the base only")
    parser.add_argument("--anthill", default="target/release/anthill")
    parser.add_argument("--m", type=int, default=32)
    parser.add_argument("--efc", type=int, default=200)
    parser.add_argument("--ef", default="16,32,40,48,56,64,80,96,128")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--storage", default="f32-int8,f32,int8")
    args = parser.parse_args()
    efs = [int(ef) for ef in args.ef.split(",")]
    base = np.ascontiguousarray(np.load(args.base)[: args.limit])
    queries = np.load(args.query)
    truth = np.argsort(-(queries @ base.T), axis=1, kind="stable")[:, :K]

    work = tempfile.mkdtemp()
    truth_file = os.path.join(work, "truth.ivecs")
    np.hstack([np.full((len(truth), 1), K), truth]).astype("<i4").tofile(truth_file)
    cut = ["--limit", str(args.limit)] if args.limit else []
    shape = ["--m", str(args.m), "--efc", str(args.efc), *cut]
    built, points = {}, {}
    engines = [Hnswlib(), Faiss(), UsearchEngine()]
    storages = args.storage.split(",")
    for storage in storages:
        out = os.path.join(work, storage)
        fact = anthill(
            args.anthill, "build", "--base", args.base, "--out", out, "--storage", storage, *shape
        )
        built[f"anthill {storage}"] = fact["build_seconds"]
    for engine in engines:
        start = time.process_time()
        engine.build(base, args.m, args.efc)
        built[engine.name] = time.process_time() - start
    for _ in range(args.rounds):
        for storage in storages:
            found = anthill(
                args.anthill, "bench", "--index", os.path.join(work, storage), "--query", args.query,
                "--gt", truth_file, "--ef", args.ef, "--rounds", "1",
            )
            for r in found["results"]:
                point = points.setdefault((f"anthill {storage}", r["ef"]), [r["recall"], []])
                point[1].append(r["qps"])
        for engine in engines:
            for ef in efs:
                start = time.process_time()
                found = engine.search(queries, ef)
                qps = len(queries) / (time.process_time() - start)
                point = points.setdefault((engine.name, ef), [recall(found, truth), []])
                point[1].append(qps)

    names = list(built)
    print(f"{len(base)} vectors of {base.shape[1]} values, {len(queries)} queries, {args.rounds} rounds")
    print(f"{'engine':18} build s  " + "  ".join(f"ef {ef:<12}" for ef in efs))
    curves = {}
    for name in names:
        cells = []
        for ef in efs:
            r, q = points[(name, ef)]
            cells.append(f"{r:.4f} / {statistics.median(q):<6.0f}")
            curves.setdefault(name, []).append((r, statistics.median(q)))
        print(f"{name:18} {built[name]:7.1f}  " + "  ".join(cells))
    for wanted in (0.95, 0.98, 0.99, 0.995):
        speeds = {name: at_recall(curve, wanted) for name, curve in curves.items()}
        line = "  ".join(f"{n} {s:.0f}" if s else f"{n} -" for n, s in speeds.items())
        own = speeds[names[0]]
        ratios = "  ".join(
            f"{own / speeds[e.name]:.2f}x {e.name}" for e in engines if own and speeds[e.name]
        )
        print(f"equal recall {wanted}: {line}\n    {names[0]}: {ratios}")
    own = built[names[0]]
    print("build: " + "  ".join(f"{own / built[e.name]:.2f}x {e.name}" for e in engines))
    for storage in storages:
        os.remove(os.path.join(work, storage))
    os.remove(truth_file)
    os.rmdir(work)


if __name__ == "__main__":
    main()

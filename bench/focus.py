#!/usr/bin/env python3
"""Races focus against PageRank of other programs on the same R-MAT graph.

    pip install numpy scipy python-graphblas fast-pagerank igraph networkx
    (cd bench/graph && cargo build --release)
    cargo build --release -p anthill-focus --example focus_bench
    python3 bench/focus.py [--scale 20] [--edges 10000000] [--rounds 5]

One core each (the process is pinned to it), CPU seconds, medians of the rounds. Weights and teleport vector are the same for
all that take them; `graph` knows neither. Full runs go to 1e-6: in L1 for focus and networkx's loop, in L2
(which is weaker) for fast-pagerank; igraph's solver has a tolerance of its own. `l1` is the distance of a
peer's result from focus: what is compared is the same vector.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time

os.environ["OMP_NUM_THREADS"] = "1"
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[0]})

import graphblas as gb  # noqa: E402
import igraph  # noqa: E402
import numpy as np  # noqa: E402
from fast_pagerank import pagerank_power  # noqa: E402
from scipy import sparse  # noqa: E402

DAMPING = 0.85


def timed(work):
    before = time.process_time()
    result = work()
    return time.process_time() - before, result


def median(rounds, work):
    times, result = [], None
    for _ in range(rounds):
        seconds, result = timed(work)
        times.append(seconds)
    return statistics.median(times), result


def networkx_loop(transition, dangling, teleport):
    """networkx 3's `_pagerank_scipy` from the point where the matrix is ready."""
    x = np.repeat(1.0 / len(teleport), len(teleport))
    for step in range(1000):
        last = x
        x = DAMPING * (x @ transition + sum(x[dangling]) * teleport) + (1 - DAMPING) * teleport
        if np.absolute(x - last).sum() < 1e-6:
            return x, step + 1
    raise SystemExit("networkx's loop did not settle")


def graphblas_steps(matrix, steps):
    """Weighted steps as in LAGraph's GAP PageRank, with FP64 and plus-times."""
    n = matrix.nrows
    x = gb.Vector.from_dense(np.full(n, 1.0 / n))
    teleport = gb.Vector.from_dense(np.full(n, 0.15 / n))
    for _ in range(steps):
        next_x = teleport.dup()
        next_x(gb.binary.plus) << matrix.mxv(x, gb.semiring.plus_times)
        diff = x.ewise_add(next_x, gb.binary.minus).new()
        diff << diff.apply(gb.unary.abs)
        diff.reduce(gb.monoid.plus).new()
        x = next_x
    return x


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--scale", default="20")
    parser.add_argument("--edges", default="10000000")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--bench", default="target/release/examples/focus_bench")
    parser.add_argument("--graph", default="bench/graph/target/release/focus-graph")
    options = parser.parse_args()
    folder = tempfile.mkdtemp()
    ours = [options.bench, "--scale", options.scale, "--edges", options.edges]
    ours += ["--rounds", str(options.rounds)]
    focus = json.loads(subprocess.check_output([*ours, "--out", folder]))
    peer = [options.graph, f"{folder}/edges.u32", str(options.rounds)]
    graph = json.loads(subprocess.check_output(peer))
    again = json.loads(subprocess.check_output([*ours, "--quick"]))
    read = lambda name, kind: np.fromfile(f"{folder}/{name}", kind)  # noqa: E731
    edges = read("edges.u32", np.uint32).reshape(-1, 2)
    weights, teleport = read("weights.f64", np.float64), read("teleport.f64", np.float64)
    masses = read("masses.f64", np.float64)
    n, m = len(teleport), len(edges)
    kept = weights > 0
    a = sparse.csr_array((weights[kept], (edges[kept, 0], edges[kept, 1])), shape=(n, n))
    out = np.asarray(a.sum(axis=1)).ravel()
    dangling = np.where(out == 0)[0]
    transition = sparse.csr_array(sparse.diags_array(1 / np.where(out == 0, 1, out)) @ a)

    step = statistics.mean([focus["step_s"], again["step_s"]])
    full = statistics.mean([focus["full_s"], again["full_s"]])
    rows = {"graph (f32, unweighted)": graph["step_s"] / step}

    gb.ss.config["nthreads"] = 1
    pull = gb.io.from_scipy_sparse(sparse.csr_array(DAMPING * transition.T))
    graphblas_steps(pull, 2)
    blas, _ = median(options.rounds, lambda: graphblas_steps(pull, 10))
    rows["GraphBLAS FP64"] = blas / 10 / step

    def distance(x):
        return float(np.abs(x / x.sum() - masses).sum())

    seconds, x = median(options.rounds, lambda: pagerank_power(
        sparse.csr_matrix(a), p=DAMPING, tol=1e-6, personalize=teleport))
    fast = {"s": seconds, "ratio": seconds / full, "l1": distance(x)}
    seconds, (x, steps) = median(
        options.rounds, lambda: networkx_loop(transition, dangling, teleport))
    nx = {"s": seconds, "ratio": seconds / full, "steps": steps, "l1": distance(x)}
    g = igraph.Graph(n=n, edges=edges[kept], directed=True)
    seconds, x = median(max(1, options.rounds // 2), lambda: g.personalized_pagerank(
        damping=DAMPING, reset=teleport.tolist(), weights=weights[kept].tolist()))
    ig = {"s": seconds, "ratio": seconds / full, "l1": distance(np.array(x))}
    print(json.dumps({
        "edges": m, "particles": n, "focus": focus, "again": again,
        "edges_per_s": round(m / step), "step_ratio": rows, "full_s": full,
        "fast-pagerank": fast, "networkx on CSR": nx, "igraph": ig,
    }, indent=1))


if __name__ == "__main__":
    main()

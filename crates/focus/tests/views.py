"""The views of a graph once more, independently: numpy, scipy and networkx.

Reads links (neuron, from, to) and stakes (neuron, stake) from two files and prints JSON by view.
Particles are given in the order of the digests on standard input (name a line), which is the
canonical order: only label propagation depends on it.
"""

import json
import sys
from fractions import Fraction

import networkx as nx
import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import expm_multiply

ONE = 1 << 62


def weights(edges, stakes):
    links = {tuple(line.rstrip("\n").split("\t")) for line in open(edges)}
    links = {link for link in links if link[1] != link[2]}
    stake = dict(line.rstrip("\n").split("\t") for line in open(stakes))
    degree = {}
    for neuron, _, _ in links:
        degree[neuron] = degree.get(neuron, 0) + 1
    found = {}
    for neuron, u, v in links:
        found[u, v] = found.get((u, v), 0) + int(stake.get(neuron, 0)) // degree[neuron]
    return {pair: s for pair, s in found.items() if s > 0}


def springs(names, s, alpha):
    """Dense least squares on the energy itself: no Laplacian, no conjugate gradients."""
    mean = sum(s.values()) / len(s)
    rows, right = [], []
    at = {name: i for i, name in enumerate(names)}
    for (u, v), weight in s.items():
        row = np.zeros(len(names))
        row[at[v]], row[at[u]] = 1, -1
        rows.append(row * np.sqrt(weight / mean))
        right.append(np.sqrt(weight / mean))
    if alpha:
        rows += list(np.eye(len(names)) * np.sqrt(alpha))
        right += [0] * len(names)
    x = np.linalg.lstsq(np.array(rows), np.array(right), rcond=None)[0]
    if not alpha:
        graph = nx.Graph()
        graph.add_nodes_from(names)
        graph.add_edges_from(s)
        for component in nx.connected_components(graph):
            places = [at[name] for name in component]
            x[places] -= x[places].mean()
    return x.tolist()


def heat(names, s, start, time):
    at = {name: i for i, name in enumerate(names)}
    out = {}
    for (u, _), weight in s.items():
        out[u] = out.get(u, 0) + weight
    q = sp.lil_matrix((len(names), len(names)))
    for (u, v), weight in s.items():
        q[at[v], at[u]] = float(Fraction(weight, out[u]))
    for name in names:
        if name not in out:
            q[at[name], at[name]] = 1
    p = np.zeros(len(names))
    p[[at[name] for name in start]] = 1 / len(start)
    return expm_multiply((q.tocsc() - sp.identity(len(names))) * time, p).tolist()


def labels(names, s, rounds):
    at = {name: i for i, name in enumerate(names)}
    near = [{} for _ in names]
    for (u, v), weight in s.items():
        near[at[u]][at[v]] = near[at[u]].get(at[v], 0) + weight
        near[at[v]][at[u]] = near[at[v]].get(at[u], 0) + weight
    label = list(range(len(names)))
    for _ in range(rounds):
        changed = False
        for i in range(len(names)):
            score = {}
            for j, weight in near[i].items():
                score[label[j]] = score.get(label[j], 0) + weight
            if not score:
                continue
            best = max(score.values())
            heaviest = sorted(l for l, w in score.items() if w == best)
            if label[i] not in heaviest:
                label[i] = heaviest[0]
                changed = True
        if not changed:
            break
    return [names[l] for l in label]


def walk_exact(names, s, start, dq):
    """The integer steps of the page, with the set as teleport."""
    out = {}
    for (u, _), weight in s.items():
        out[u] = out.get(u, 0) + weight
    p = {(u, v): weight * (2**32 - 1) // out[u] for (u, v), weight in s.items()}
    start = [name for name in names if name in set(start)]
    t = {name: ONE // len(start) + (i < ONE % len(start)) for i, name in enumerate(start)}
    pi = dict(t)
    for _ in range(2048):
        y = {}
        for (u, v), weight in p.items():
            y[v] = y.get(v, 0) + (pi.get(u, 0) * weight >> 32)
        y = {v: dq * total >> 32 for v, total in y.items()}
        rest = ONE - sum(y.values())
        new = {name: y.get(name, 0) + (rest * t.get(name, 0) >> 62) for name in names}
        new[start[0]] += ONE - sum(new.values())
        residual = sum(abs(new[name] - pi.get(name, 0)) for name in names)
        pi = new
        if residual <= ONE // 10**6:
            break
    return [str(pi[name]) for name in names]


def walk_networkx(names, s, start, damping):
    graph = nx.DiGraph()
    graph.add_nodes_from(names)
    graph.add_weighted_edges_from((u, v, float(weight)) for (u, v), weight in s.items())
    set_ = {name: 1 for name in start}
    rank = nx.pagerank(graph, alpha=damping, personalization=set_, dangling=set_, tol=1e-14, max_iter=5000)
    return [rank[name] for name in names]


def groups(names, components):
    found = {}
    for component in components:
        first = min(component, key=names.index)
        found.update({name: first for name in component})
    return [found[name] for name in names]


def main():
    edges, stakes, start = sys.argv[1], sys.argv[2], sys.argv[3].split(",")
    names = sys.stdin.read().split("\n")[:-1]
    s = weights(edges, stakes)
    graph = nx.DiGraph()
    graph.add_nodes_from(names)
    graph.add_edges_from(s)
    json.dump(
        {
            "springs": springs(names, s, 0),
            "springs_pulled": springs(names, s, 0.5),
            "heat": heat(names, s, start, 1.7),
            "labels": labels(names, s, 100),
            "walk": walk_exact(names, s, start, 9 * 2**32 // 10),
            "walk_real": walk_networkx(names, s, start, 0.9),
            "weak": groups(names, nx.weakly_connected_components(graph)),
            "strong": groups(names, nx.strongly_connected_components(graph)),
        },
        sys.stdout,
    )


main()

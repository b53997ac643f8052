#!/usr/bin/env python3
"""Focus on two real graphs: equal bits on every back-end, and the distance to networkx and igraph.

    apt-get install wordnet-base; npm install moby; pip install numpy scipy networkx igraph
    python3 bench/focus_real.py [--anthill target/release/anthill] [--wordnet /usr/share/wordnet]
                                [--moby node_modules/moby/words.txt] [--backends scalar,cpu,shards:5]

WordNet 3.0: synsets linked by their pointers, a neuron for each lexicographer file. Moby Thesaurus II:
2.5 million links from each root word to its synonyms, a neuron for the first two letters of the root.
Stakes are a fixed function of the neuron's name. networkx and igraph get the same weights and the same
teleport vector in floats; the sum of absolute differences says how far they are from the integers.
"""

import argparse
import collections
import hashlib
import json
import pathlib
import subprocess
import tempfile

import igraph
import networkx
import numpy as np

DAMPING = 0.85


def wordnet(folder):
    for part in ["noun", "verb", "adj", "adv"]:
        for line in open(folder / f"data.{part}", encoding="latin-1"):
            if line.startswith(" "):
                continue
            fields = line.split("|")[0].split()
            kind = fields[2]
            own = ("a" if kind == "s" else kind) + fields[0]
            at = 4 + 2 * int(fields[3], 16)
            for pointer in range(int(fields[at])):
                _, offset, part_of_speech, _ = fields[at + 1 + 4 * pointer: at + 5 + 4 * pointer]
                kind = "a" if part_of_speech == "s" else part_of_speech
                yield f"lex{fields[1]}", own, kind + offset


def moby(file):
    for line in open(file, encoding="utf-8"):
        root, *synonyms = line.strip().split(",")
        for synonym in synonyms:
            if root and synonym:
                yield f"letters {root[:2]}", root, synonym


def stake(neuron):
    return int.from_bytes(hashlib.sha256(neuron.encode()).digest()[:5], "big")


def run(anthill, folder, backend):
    out = folder / f"pi-{backend.replace(':', '-')}.tsv"
    command = [anthill, "focus", "--edges", folder / "e.tsv", "--stakes", folder / "s.tsv"]
    text = subprocess.check_output([*command, "--backend", backend, "--out", out, "--json"])
    return json.loads(text), out


def floats(links):
    """Weights and teleport of the definition, as floats."""
    degrees = collections.Counter(neuron for neuron, _, _ in links)
    weights, tokens = collections.Counter(), collections.defaultdict(set)
    for neuron, source, target in links:
        weights[source, target] += stake(neuron) // degrees[neuron]
        tokens[target].add(neuron)
    particles = sorted({p for _, source, target in links for p in (source, target)})
    teleport = np.array([1.0 + sum(map(stake, tokens[p])) for p in particles])
    return particles, {pair: w for pair, w in weights.items() if w}, teleport / teleport.sum()


def compare(name, links, anthill, backends):
    links = sorted({link for link in links if link[1] != link[2]})
    folder = pathlib.Path(tempfile.mkdtemp())
    with open(folder / "e.tsv", "w", encoding="utf-8") as file:
        file.writelines("\t".join(link) + "\n" for link in links)
    with open(folder / "s.tsv", "w", encoding="utf-8") as file:
        file.writelines(f"{n}\t{stake(n)}\n" for n in sorted({link[0] for link in links}))
    runs = {backend: run(anthill, folder, backend) for backend in backends}
    first, file = next(iter(runs.values()))
    texts = {out.read_bytes() for _, out in runs.values()}
    equal = len(texts) == 1 and len({j["commitment"] for j, _ in runs.values()}) == 1
    masses = dict(line.rsplit("\t", 1) for line in file.read_text(encoding="utf-8").splitlines())
    particles, weights, teleport = floats(links)
    ours = np.array([int(masses[p]) / 2**62 for p in particles])
    graph = networkx.DiGraph()
    graph.add_nodes_from(particles)
    graph.add_weighted_edges_from((a, b, float(w)) for (a, b), w in weights.items())
    start = dict(zip(particles, teleport))
    scores = networkx.pagerank(graph, alpha=DAMPING, personalization=start, dangling=start,
                               tol=1e-12 / len(particles) * 1e3, max_iter=1000)
    index = {p: i for i, p in enumerate(particles)}
    other = igraph.Graph(n=len(particles), directed=True,
                         edges=[(index[a], index[b]) for a, b in weights])
    ranks = other.personalized_pagerank(damping=DAMPING, reset=teleport.tolist(),
                                        weights=[float(w) for w in weights.values()])
    far = {
        "networkx": float(np.abs(np.array([scores[p] for p in particles]) - ours).sum()),
        "igraph": float(np.abs(np.array(ranks) - ours).sum()),
    }
    bound = DAMPING / (1 - DAMPING) * 1e-6
    print(json.dumps({
        "graph": name, "particles": len(particles), "links": len(links), "edges": first["edges"],
        "iterations": first["iterations"], "commitment": first["commitment"],
        "backends": backends, "equal": equal, "l1": far, "bound": bound,
        "top": [particles[i] for i in np.argsort(-ours)[:5]],
    }))
    return equal and max(far.values()) < 2 * bound


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--anthill", default="target/release/anthill")
    parser.add_argument("--wordnet", type=pathlib.Path, default="/usr/share/wordnet")
    parser.add_argument("--moby", type=pathlib.Path, default="node_modules/moby/words.txt")
    parser.add_argument("--backends", default="scalar,cpu,shards:1,shards:2,shards:5")
    options = parser.parse_args()
    backends = options.backends.split(",")
    right = compare("WordNet 3.0", wordnet(options.wordnet), options.anthill, backends)
    right &= compare("Moby Thesaurus II", moby(options.moby), options.anthill, backends)
    raise SystemExit(not right)


if __name__ == "__main__":
    main()

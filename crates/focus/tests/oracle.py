"""Focus in Python's integers, from docs/spec/focus.md alone: what tests/python.rs compares with.

Reads a JSON case a line (`links`: [neuron, from, to], ids in hexadecimal; `stakes`: {neuron: text};
`damping`: text; `start`: {id: text} or null) and answers each with a line (`pi`, `residuals`, `converged`, `commitment`).
"""

import collections
import hashlib
import json
import sys
from fractions import Fraction

ONE = 2**62


def merkle(leaves):
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + merkle(leaves[:half]) + merkle(leaves[half:])).digest()


def teleport(particles, links, stakes):
    neurons = collections.defaultdict(set)
    for neuron, _, target in links:
        neurons[target].add(neuron)
    weights = {p: 1 + sum(stakes.get(n, 0) for n in neurons[p]) for p in particles}
    total = sum(weights.values())
    t = {p: ONE * w // total for p, w in weights.items()}
    order = sorted(particles, key=lambda p: (-(ONE * weights[p] % total), p))
    for p in order[: ONE - sum(t.values())]:
        t[p] += 1
    return t


def matrix(links, stakes):
    degree = collections.Counter(neuron for neuron, _, _ in links)
    s, out = collections.Counter(), collections.Counter()
    for neuron, source, target in links:
        s[source, target] += stakes.get(neuron, 0) // degree[neuron]
    for (source, _), stake in s.items():
        out[source] += stake
    return [(u, v, stake * (2**32 - 1) // out[u]) for (u, v), stake in s.items() if stake]


def focus(case):
    links = {tuple(link) for link in case["links"] if link[1] != link[2]}
    stakes = {neuron: int(stake) for neuron, stake in case["stakes"].items()}
    particles = sorted({p for _, source, target in links for p in (source, target)})
    dq = int(Fraction(case["damping"]) * 2**32)
    t, edges = teleport(particles, links, stakes) if links else {}, matrix(links, stakes)
    start = case["start"]
    pi = dict(t) if start is None else {p: int(start.get(p, 0)) for p in particles}
    residuals, converged = [], False
    while particles and not converged and len(residuals) < 2048:
        flow = collections.Counter()
        for u, v, weight in edges:
            flow[v] += pi[u] * weight // 2**32
        y = {p: dq * flow[p] // 2**32 for p in particles}
        rest = ONE - sum(y.values())
        following = {p: y[p] + rest * t[p] // ONE for p in particles}
        following[particles[0]] += ONE - sum(following.values())
        residuals.append(sum(abs(following[p] - pi[p]) for p in particles))
        pi, converged = following, residuals[-1] <= ONE // 10**6
    prefix = bytes([0x01, 0x55, 0x1E, 0x20])
    leaves = [prefix + bytes.fromhex(p) + pi[p].to_bytes(8, "big") for p in particles]
    return {
        "pi": {p: str(mass) for p, mass in pi.items()},
        "residuals": [str(r) for r in residuals],
        "converged": converged,
        "commitment": merkle(leaves).hex(),
    }


for line in sys.stdin:
    print(json.dumps(focus(json.loads(line))), flush=True)

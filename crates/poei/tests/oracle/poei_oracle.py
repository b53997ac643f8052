"""PoEI written a second time, from docs/spec/poei.md alone, to make random cases for the tests.

    python3 poei_oracle.py > random.json        # 60 cases, always the same

Nothing is shared with the Rust code: exact rationals where the page divides, and a CBOR encoder
of its own.
"""

import hashlib
import json
import random
from fractions import Fraction

U = 10**9


def sha3(data):
    return hashlib.sha3_256(data).digest()


def tree(leaves):
    if not leaves:
        return sha3(b"")
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return sha3(b"\x01" + tree(leaves[:k]) + tree(leaves[k:]))


def cbor(x):
    def head(major, n):
        if n < 24:
            return bytes([major << 5 | n])
        for info, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
            if n < 256**size:
                return bytes([major << 5 | info]) + n.to_bytes(size, "big")

    if isinstance(x, int):
        return head(0, x)
    if isinstance(x, bytes):
        return head(2, len(x)) + x
    if isinstance(x, str):
        return head(3, len(x)) + x.encode()
    items = sorted((cbor(k), cbor(v)) for k, v in x.items())
    return head(5, len(items)) + b"".join(k + v for k, v in items)


def floor(x):
    return x.numerator // x.denominator if isinstance(x, Fraction) else x


def mean(xs):
    return sum(xs) // len(xs)


def share(x, m):
    return 0 if x == 0 else U * x // (x + m)


def multiplier(n):
    points = [(0, 10 * U), (10_000, 10 * U), (50_000, 2 * U), (100_000, U)]
    for (n0, m0), (n1, m1) in zip(points, points[1:]):
        if n0 <= n <= n1:
            return m0 - (m0 - m1) * (n - n0) // (n1 - n0)
    return U


def largest_remainder(total, claims):
    """Shares of total proportional to claims, ties to the earlier."""
    exact = [Fraction(total) * c / sum(claims) for c in claims]
    shares = [floor(x) for x in exact]
    order = sorted(range(len(claims)), key=lambda i: (-(exact[i] - shares[i]), i))
    for i in order[: total - sum(shares)]:
        shares[i] += 1
    return shares


def score(epoch, previous_tlr, records, p):
    rs = sorted((r for r in records if r["trust"] >= p["threshold"]), key=lambda r: r["node"])
    k = p["kappa"]
    rows = []
    if rs:
        mean_flow = mean([r["flow"] for r in rs])
        gains = [max(0, r["focus_after"] - r["focus_before"]) for r in rs]
        mean_gain = mean(gains)
    for r, gain in zip(rs, gains if rs else []):
        ratio = 0
        if r["offered"]:
            ratio = min(U, r["work"] * U * U // (r["offered"] * p["e_ref"]))
        E = ((U - k) * ratio + k * share(r["flow"], mean_flow)) // U
        Q = r["ok"] * U // (r["ok"] + r["bad"]) if r["ok"] + r["bad"] else 0
        I = share(gain, mean_gain)
        T = r["trust"]
        raw = sum(w * m for w, m in zip(p["weights"], (E, Q, I, T))) // U
        s = raw
        if r["previous"] is not None:
            s = ((U - p["memory"]) * raw + p["memory"] * r["previous"]) // U
        message = cbor(
            {
                "E": E, "I": I, "Q": Q, "T": T, "score": s,
                "node_id": bytes.fromhex(r["node"]), "epoch_id": epoch,
                "timestamp": r["timestamp"], "attestation": bytes.fromhex(r["attestation"]),
            }
        )
        rows.append((r, (E, Q, I, T), s, message))
    root = tree([sha3(b"\x00" + m) for _, _, _, m in rows])
    tlr = sha3(b"TLR" + previous_tlr + root + epoch.to_bytes(8, "big"))
    pool = p["base_pool"] * multiplier(len(rs)) // U
    F = 10**15
    W, Fl = sum(r["work"] for r in rs), sum(r["flow"] for r in rs)
    claims = []
    for r, _, s, _ in rows:
        fw = ((U - k) * (r["work"] * F // W if W else 0) + k * (r["flow"] * F // Fl if Fl else 0)) // U
        claims.append((s * fw // U) * (p["parent_ratio"] if r["is_parent"] else U))
    rewards = largest_remainder(pool, claims) if sum(claims) else [0] * len(rows)
    weights = p["weights"]
    if rows:
        means = [mean([m[j] for _, m, _, _ in rows]) for j in range(4)]
        average = mean(means)
        moved = []
        for w, m in zip(weights, means):
            d = Fraction(average - m, 20)
            d = floor(d) if d >= 0 else -floor(-d)
            d = max(-U // 100, min(U // 100, d))
            moved.append(max(U // 10, min(4 * U // 10, w + d)))
        weights = largest_remainder(U, moved)
    return root, tlr, sum(rewards), rewards, weights


def count(rng):
    return rng.choice([0, 1, rng.randrange(100), rng.randrange(10**6), rng.randrange(2**64), 2**64 - 1])


def weights(rng):
    cuts = sorted(rng.randrange(U + 1) for _ in range(3))
    return [cuts[0], cuts[1] - cuts[0], cuts[2] - cuts[1], U - cuts[2]]


def main():
    rng = random.Random(20260)
    cases = []
    for number in range(60):
        p = dict(e_ref=U, kappa=U * 15 // 100, weights=[U // 4] * 4, threshold=U * 3 // 4,
                 memory=U // 5, parent_ratio=U * 12 // 10, base_pool=10**12)
        if number % 2:
            p.update(e_ref=rng.randrange(1, 10 * U), kappa=rng.randrange(U + 1), weights=weights(rng),
                     threshold=rng.randrange(U), memory=rng.randrange(U + 1),
                     parent_ratio=rng.randrange(U, 3 * U), base_pool=rng.randrange(10**12))
        records = []
        for _ in range(rng.randrange(9)):
            records.append(dict(
                node=rng.randbytes(32).hex(), work=count(rng), offered=count(rng), flow=count(rng),
                ok=count(rng), bad=count(rng), focus_before=count(rng) >> 2, focus_after=count(rng) >> 2,
                trust=rng.choice([U, U * 3 // 4, U * 3 // 4 - 1, rng.randrange(U)]),
                is_parent=rng.random() < 0.4,
                attestation=rng.choice([bytes(32), rng.randbytes(32)]).hex(),
                previous=rng.choice([None, rng.randrange(U + 1)]), timestamp=rng.randrange(2**33)))
        epoch, previous = rng.randrange(2**40), rng.randbytes(32)
        root, tlr, pool, rewards, after = score(epoch, previous, records, p)
        case = dict(epoch=epoch, previous_tlr=previous.hex(), params=p, records=records, root=root.hex(),
                    tlr=tlr.hex(), pool=pool, rewards=rewards, adaptive_weights=after)
        cases.append(case)
    # Integers of 2^53 and more as decimal strings, as in the other vectors.
    def wide(x):
        if isinstance(x, dict):
            return {k: wide(v) for k, v in x.items()}
        if isinstance(x, list):
            return [wide(v) for v in x]
        return str(x) if isinstance(x, int) and not isinstance(x, bool) and x >= 2**53 else x

    print("[" + ",\n".join(json.dumps(wide(c), separators=(",", ":")) for c in cases) + "]")


main()

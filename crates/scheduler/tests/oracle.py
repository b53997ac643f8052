"""The controller, its audit log and its training once more, from docs/spec/controller.md alone."""
import hashlib
import json
import math
import sys


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def run(case):
    """All beats of one case: settings, and per beat features, an injection and the clock."""
    s = case["settings"]
    R, B, E, O = 0.25, 0.25, 0.15, 0.35
    g, w, bias = 0, 0.12, 0.0
    integral = previous_error = 0.0
    previous_time = None
    beat = 0
    kP = s["k"] * s["P"]
    out = []
    for step in case["steps"]:
        if step.get("inject_anoms") is not None:
            g = step["inject_anoms"]
        if step.get("inject_weight") is not None:
            w = step["inject_weight"]
        f = step["features"]
        t = max(1e-6, s["T1"] * math.log(s["U"]) / (1 - 1 / kP))
        m = max(t, f.get("beat_s", 0.0))
        n = g + f.get("anoms", 0)
        urgency = min(0.9, n / 100)
        cost = urgency / 2
        conserve = max(min(1, m / s["Tt"]), f.get("imbalance", 0.0))
        x = w * n + bias
        threat = 1 / (1 + math.exp(-x)) if x > -700 else 0.0
        gain = min(0.5, max(0.12 * O, f.get("gain", 0.0)))
        if threat >= 0.85:
            action = "QUARANTINE"
        elif threat >= 0.60:
            action = "ALERT"
        elif conserve > 0.25 and urgency < 0.1:
            action = "APPLY_BALANCE"
        elif gain > 0.1:
            action = "APPLY_OPTIMIZE"
        else:
            action = "NOOP"
        weighted = {"threat": threat * E, "stability": conserve * B, "repair_score": urgency * R, "opt_gain": gain * O}
        dT = m - s["Tt"]
        now = step["now"]
        dt = 0.0 if previous_time is None else now - previous_time
        if abs(dT) < 1e-4:
            integral = 0.0
        derivative = 0.0
        if dt > 0:
            integral = max(-1.0, min(1.0, integral + dT * dt))
            derivative = (dT - previous_error) / dt
        total = s["Kp"] * dT + s["Ki"] * integral + s["Kd"] * derivative
        dO = max(-0.05, min(0.05, -total))
        dV = dT - previous_error
        pid = {"p": s["Kp"] * dT, "i": s["Ki"] * integral, "d": s["Kd"] * derivative, "out": total, "integral": integral, "delta_t": dT, "delta_v": dV, "stable": dV < 0, "weight_adjustment": dO}
        previous_error, previous_time = dT, now
        O = max(0.1, min(0.9, O + dO))
        total = R + B + E + O
        R, B, E, O = R / total, B / total, E / total, O / total
        beat += 1
        E = 0.15 * threat * math.exp(-beat / 50) * max(0, 1 - O / 0.3) if threat > 0.5 else 0.10
        E = max(0.05, min(0.30, E))
        total = R + B + E + O
        R, B, E, O = R / total, B / total, E / total, O / total
        out.append({
            "beat": beat, "t_lambda": t, "measured": m,
            "advisers": {"R": {"urgency": urgency, "cost": cost}, "B": {"conserve": conserve, "kp": s["Kp"], "ki": s["Ki"], "kd": s["Kd"]},
                         "E": {"threat_score": threat}, "O": {"expected_gain": gain}},
            "decision": {"threat": threat, "stability": conserve, "repair_score": urgency, "opt_gain": gain, "weighted": weighted},
            "action": action, "pid": pid, "weights": {"R": R, "B": B, "E": E, "O": O},
        })
    return out


def check_log(entries):
    """Verifies a log as any Python would; gives its Merkle root."""
    previous = "0" * 64
    for at, entry in enumerate(entries):
        body = {name: entry[name] for name in ("index", "timestamp", "data", "previous_hash")}
        assert set(entry) == set(body) | {"hash"}
        assert entry["index"] == at and entry["previous_hash"] == previous, at
        assert hashlib.sha3_256(canonical(body).encode()).hexdigest() == entry["hash"], at
        previous = entry["hash"]
    level = [entry["hash"] for entry in entries]
    while len(level) > 1:
        if len(level) % 2:
            level.append(level[-1])
        level = [hashlib.sha3_256((level[i] + level[i + 1]).encode()).hexdigest() for i in range(0, len(level), 2)]
    return level[0] if level else "0" * 64


def auc(samples, w, bias):
    """By all pairs, and the mean squared error."""
    score = lambda n: 1 / (1 + math.exp(-(w * n + bias)))
    threats = [score(n) for n, y in samples if y]
    others = [score(n) for n, y in samples if not y]
    wins = sum(1.0 if a > b else 0.5 if a == b else 0.0 for a in threats for b in others)
    mse = sum((score(n) - y) ** 2 for n, y in samples) / len(samples)
    return {"auc": wins / (len(threats) * len(others)), "mse": mse}


for line in sys.stdin:
    value = json.loads(line)
    mode = sys.argv[1]
    if mode == "json":
        print(canonical(value))
    elif mode == "beats":
        print(json.dumps(run(value)))
    elif mode == "log":
        print(check_log(value))
    elif mode == "auc":
        print(json.dumps(auc(value["samples"], value["weight"], value["bias"])))
    elif mode == "floats":
        import struct
        print(json.dumps([repr(struct.unpack(">d", bytes.fromhex(bits))[0]) for bits in value]))

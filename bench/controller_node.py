#!/usr/bin/env python3
"""Plots the controller of a running node as it settles under load (docs/controller-node.svg).

usage: bench/controller_node.py path/to/anthill [--beats 80] [--out docs/controller-node.svg]
needs: matplotlib
"""
import argparse, json, os, subprocess, tempfile, time

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "anthill"
import matplotlib.pyplot as plt

parser = argparse.ArgumentParser()
parser.add_argument("binary")
parser.add_argument("--beats", type=int, default=80)
parser.add_argument("--out", default="docs/controller-node.svg")
args = parser.parse_args()
root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
module = os.path.join(root, "crates/sandbox/guests/pi.wasm")

with tempfile.TemporaryDirectory() as folder:
    data = os.path.join(folder, "node")
    os.makedirs(data)
    with open(os.path.join(data, "config.toml"), "w") as file:
        file.write("virtual_nodes = 2\nt1_ms = 10\n")
    empty = os.path.join(folder, "empty")
    open(empty, "w").close()
    base = [args.binary, "--data", data, "--json"]
    node = subprocess.Popen(
        base + ["up", "--fast", "--quiet", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"],
        stdout=subprocess.DEVNULL,
    )

    def ask(*words):
        done = subprocess.run(base + list(words), capture_output=True, text=True)
        return json.loads(done.stdout) if done.returncode == 0 else None

    try:
        while not ask("status"):
            time.sleep(0.2)
        words = ["--module", module, "--input", empty, "--args", "1 0 60000000000", "--steps", "16"]
        seen, submitted = {}, 0.0
        while len(seen) < args.beats:
            # A task without an end in sight is refunded, and stops: the next one is there before that.
            if time.time() - submitted > 2:
                ask("task", "submit", *words, "--fuel", "1000000000", "--detach")
                submitted = time.time()
            beat = (ask("vn", "control") or {}).get("beat")
            if beat:
                seen[beat["beat"]] = beat
            time.sleep(0.02)
    finally:
        # Asked to end, it would finish its task first, and this one has none.
        node.kill()
        node.wait()

beats = [seen[number] for number in sorted(seen)]
numbers = [beat["beat"] for beat in beats]
figure, (top, bottom) = plt.subplots(2, 1, sharex=True, figsize=(7, 5))
for name in "RBEO":
    top.plot(numbers, [beat["weights"][name] for beat in beats], label=name)
top.set_ylabel("weight after the beat")
top.legend(ncol=4)
bottom.plot(numbers, [beat["measured"] * 1e3 for beat in beats], label="measured m")
bottom.axhline(200, color="grey", linestyle="--", label="threshold Tt")
bottom.set_ylabel("ms")
bottom.set_xlabel("beat")
bottom.legend()
figure.tight_layout()
figure.savefig(args.out, metadata={"Date": None})
tail = [beat["weights"]["O"] for beat in beats[-20:]]
print(f"{len(beats)} beats; O in the last 20: {min(tail):.3f} to {max(tail):.3f}; plot in {args.out}")

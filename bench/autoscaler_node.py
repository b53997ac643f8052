#!/usr/bin/env python3
"""Plots the autoscaler of a running node under a step load (docs/images/autoscaler-node.svg).

usage: cargo run --release -p anthill-node --example virtual_nodes -- step 7 trace.csv
       bench/autoscaler_node.py trace.csv [--out docs/images/autoscaler-node.svg]
needs: matplotlib
"""
import argparse, csv, re

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "anthill"
import matplotlib.pyplot as plt

parser = argparse.ArgumentParser()
parser.add_argument("trace")
parser.add_argument("--out", default="docs/images/autoscaler-node.svg")
args = parser.parse_args()
with open(args.trace) as file:
    head = file.readline()
    rows = list(csv.DictReader(file))
found = re.search(r"step at ([\d.]+), best fixed count (\d+) does (\d+)", head)
step, count, best = float(found[1]), int(found[2]), float(found[3])
seconds = [float(row["seconds"]) - step for row in rows]
figure, (top, middle, bottom) = plt.subplots(3, 1, sharex=True, figsize=(7, 6))
top.plot(seconds, [float(row["tasks"]) for row in rows], label="tasks a second")
top.axhline(best, color="tab:red", label=f"best fixed count ({count})")
top.axhline(0.9 * best, color="tab:red", linestyle=":", label="0.9 of it")
top.legend(loc="lower right")
middle.step(seconds, [int(row["count"]) for row in rows], where="post", label="virtual nodes")
middle.legend(loc="upper right")
bottom.plot(seconds, [float(row["load"]) for row in rows], color="tab:green", label="load of the processors")
bottom.set_ylim(0, 1.05)
bottom.set_xlabel("seconds after the step (an interval is one)")
bottom.legend(loc="lower right")
figure.tight_layout()
figure.savefig(args.out, metadata={"Date": None})

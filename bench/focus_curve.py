#!/usr/bin/env python3
"""Draws what a step and a run of focus cost against the number of edges.

    pip install matplotlib
    cargo build --release -p anthill-focus --example focus_bench
    python3 bench/focus_curve.py [--most 8] [--svg docs/focus-curve.svg]

R-MAT graphs of 10^4 to 10^`most` links, CPU seconds of one thread, medians of three rounds.
"""

import argparse
import json
import subprocess

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402

SCALES = {4: 10, 5: 13, 6: 17, 7: 20, 8: 23}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--most", type=int, default=8)
    parser.add_argument("--bench", default="target/release/examples/focus_bench")
    parser.add_argument("--svg", default="docs/focus-curve.svg")
    options = parser.parse_args()
    rows = []
    for power in range(4, options.most + 1):
        command = [options.bench, "--scale", str(SCALES[power]), "--edges", str(10**power)]
        row = json.loads(subprocess.check_output([*command, "--rounds", "3", "--quick"]))
        print(f"| {row['edges']:,} | {row['particles']:,} | {row['step_s'] * 1e3:.3f} | "
              f"{row['edges_per_s'] / 1e6:.0f} | {row['of_gather']:.2f} | {row['iterations']} | "
              f"{row['full_s'] * 1e3:.1f} | {row['commitment_s'] * 1e3:.1f} |", flush=True)
        rows.append(row)
    edges = [row["edges"] for row in rows]
    pyplot.rcParams["svg.hashsalt"] = "focus"
    figure, axis = pyplot.subplots(figsize=(6, 4))
    axis.loglog(edges, [row["full_s"] for row in rows], "o-", label="run to 1e-6")
    axis.loglog(edges, [row["step_s"] for row in rows], "s-", label="one step")
    axis.loglog(edges, [rows[0]["step_s"] / edges[0] * e for e in edges],
                ":", color="grey", label="in proportion to edges")
    axis.set_xlabel("edges")
    axis.set_ylabel("CPU seconds, one thread")
    axis.legend()
    axis.grid(True, which="both", linewidth=0.3)
    figure.tight_layout()
    figure.savefig(options.svg, metadata={"Date": None})


if __name__ == "__main__":
    main()

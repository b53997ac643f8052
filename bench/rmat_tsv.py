"""Writes an R-MAT graph as files for `anthill focus`: LINKS lines, 2^SCALE particles, 1000 neurons.

    python3 bench/rmat_tsv.py E.tsv S.tsv --links 10000000 --scale 20
    anthill focus --edges E.tsv --stakes S.tsv --threads 1 --out PI.tsv --json
"""

import argparse

import numpy as np

parser = argparse.ArgumentParser()
parser.add_argument("edges")
parser.add_argument("stakes")
parser.add_argument("--links", type=int, default=10_000_000)
parser.add_argument("--scale", type=int, default=20)
args = parser.parse_args()
random = np.random.default_rng(1)
begin = np.zeros(args.links, dtype=np.int64)
end = np.zeros(args.links, dtype=np.int64)
for _ in range(args.scale):
    # a = 0.57, b = c = 0.19, d = 0.05.
    r = random.random(args.links)
    begin = begin * 2 + (((r >= 0.57) & (r < 0.76)) | (r >= 0.95))
    end = end * 2 + (r >= 0.76)
with open(args.edges, "w") as out:
    for at in range(0, args.links, 500_000):
        pairs = zip(begin[at : at + 500_000].tolist(), end[at : at + 500_000].tolist())
        out.write("".join(f"n{(at + i) % 1000}\tp{u}\tp{v}\n" for i, (u, v) in enumerate(pairs)))
with open(args.stakes, "w") as out:
    out.writelines(f"n{i}\t{1_000_000 + i}\n" for i in range(1000))

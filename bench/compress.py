"""Compares `anthill compress` with the reference `zstd -3` on the same files.

usage: compress.py ANTHILL FILE...

Needs the command `zstd`. Both write to a file; five interleaved runs, the least CPU time of each (of
the process, its start included). `zstd -t` must accept what anthill wrote.
"""

import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile


def cpu(command):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main():
    binary, files = sys.argv[1], sys.argv[2:]
    for name in files:
        size, times = os.path.getsize(name), {}
        with tempfile.TemporaryDirectory() as folder:
            ours, theirs, back = (pathlib.Path(folder, n) for n in ("a.zst", "b.zst", "back"))
            steps = {
                "anthill": [binary, "compress", name, "-o", ours],
                "zstd": ["zstd", "-q", "-f", "-3", "--single-thread", name, "-o", theirs],
                "anthill_back": [binary, "decompress", ours, "-o", back],
                "zstd_back": ["zstd", "-q", "-f", "-d", theirs, "-o", back],
            }
            for _ in range(5):
                ours.unlink(missing_ok=True)
                for step, command in steps.items():
                    back.unlink(missing_ok=True)
                    times.setdefault(step, []).append(cpu(command))
            subprocess.run(["zstd", "-q", "-t", ours], check=True)
            sizes = {"anthill": ours.stat().st_size, "zstd": theirs.stat().st_size}
        ratio = {k: round(size / v, 4) for k, v in sizes.items()}
        rate = {k: round(size / min(v) / 1e6, 1) for k, v in times.items()}
        print(json.dumps({"bytes": size, "ratio": ratio, "megabytes_per_cpu_second": rate}))


main()

#!/usr/bin/env python3
"""What a task costs beside its work: Anthill's no-op tasks beside Ray's, in one run on one machine.

Anthill: two local nodes (`up --fast` and `join`), `anthill bench`; each task is agreed on by
consensus, run by two nodes, compared, and accepted on the chain before it counts.
Ray: one worker (`num_cpus=1`), no-op remote functions; neither replicated, checked nor paid.
The two do different things: the ratio says what agreement costs, not which is better.

    pip install ray
    python3 bench/overhead.py --anthill target/release/anthill
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time


class Node:
    """A node as a process of its own."""

    def __init__(self, binary, data, *words):
        self.binary, self.data = binary, data
        self.log = open(data + ".log", "w")
        listen = ["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]
        command = [binary, "--data", data, *words, *listen]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=self.log)

    def run(self, *words):
        command = [self.binary, "--data", self.data, *words, "--json"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def wait(self, peers):
        for _ in range(600):
            try:
                if self.run("status")["peers"] >= peers:
                    return
            except RuntimeError:
                if self.process.poll() is not None:
                    raise RuntimeError(f"the node ended; see {self.data}.log") from None
            time.sleep(0.1)
        raise RuntimeError(f"the node is not up; see {self.data}.log")

    def stop(self):
        self.process.terminate()
        self.process.wait()


def anthill(binary, batch, single, repeat):
    with tempfile.TemporaryDirectory() as folder:
        nodes = [Node(binary, os.path.join(folder, "a"), "up", "--fast", "--quiet")]
        try:
            nodes[0].wait(0)
            ticket = nodes[0].run("ticket")["ticket"]
            nodes.append(Node(binary, os.path.join(folder, "b"), "join", ticket))
            nodes[1].wait(1)
            time.sleep(2)  # the newcomer's offer reaches the chain
            nodes[0].run("bench", "--tasks", "100")
            batched = [nodes[0].run("bench", "--tasks", str(batch)) for _ in range(repeat)]
            alone = nodes[0].run("bench", "--one-by-one", "--tasks", str(single))
        finally:
            for node in nodes:
                node.stop()
    for reply in [*batched, alone]:
        if reply["accepted"] != reply["tasks"]:
            raise RuntimeError(f"only {reply['accepted']} of {reply['tasks']} tasks were accepted")
    return [r["tasks_per_second"] for r in batched], alone["tasks_per_second"]


def ray(batch, single, repeat):
    import ray as library

    library.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")

    @library.remote
    def noop(i):
        return i

    library.get([noop.remote(i) for i in range(100)])
    batched = []
    for _ in range(repeat):
        begun = time.perf_counter()
        got = library.get([noop.remote(i) for i in range(batch)])
        batched.append(batch / (time.perf_counter() - begun))
        if got != list(range(batch)):
            raise RuntimeError("Ray gave other results")
    begun = time.perf_counter()
    for i in range(single):
        if library.get(noop.remote(i)) != i:
            raise RuntimeError("Ray gave another result")
    alone = single / (time.perf_counter() - begun)
    library.shutdown()
    return batched, alone, library.__version__


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--anthill", default="target/release/anthill", help="the binary")
    parser.add_argument("--batch", type=int, default=1000, help="tasks submitted at once")
    parser.add_argument("--single", type=int, default=50, help="tasks one at a time")
    parser.add_argument("--repeat", type=int, default=3, help="runs of the batch; the median counts")
    args = parser.parse_args()
    print(f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores")
    ours, ours_alone = anthill(args.anthill, args.batch, args.single, args.repeat)
    try:
        theirs, theirs_alone, version = ray(args.batch, args.single, args.repeat)
    except ImportError:
        print(f"anthill: {statistics.median(ours):.0f} tasks/s batched, {ours_alone:.2f} alone")
        sys.exit("Ray is not installed: pip install ray")
    rows = [
        ("batched", statistics.median(ours), statistics.median(theirs)),
        ("one at a time", ours_alone, theirs_alone),
    ]
    print(f"{'no-op tasks/s':16}{'anthill':>12}{'ray ' + version:>14}{'ray/anthill':>14}")
    for name, a, b in rows:
        print(f"{name:16}{a:12.2f}{b:14.1f}{b / a:14.1f}")
    print(f"every run of the batch: anthill {[round(x) for x in ours]}, ray {[round(x) for x in theirs]}")
    print("all tasks of both were done; Anthill's by two nodes each, compared and agreed on")


if __name__ == "__main__":
    main()

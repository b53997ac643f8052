"""all-MiniLM-L6-v2 beside onnxruntime and candle: sentences per second of one thread, with the
least cosine between the vectors.

usage: python bench/minilm.py --anthill target/release/anthill --weights MODEL_DIR --texts LINES.txt
           [--candle PATH_TO_MINILM_CANDLE] [--rounds 3] [--check-only]
       python bench/minilm.py --weights MODEL_DIR --texts LINES.txt --tokens OUT.json
needs: pip install numpy onnx onnxruntime safetensors tokenizers

Every side tokenises, runs one thread, and takes its turn in each round; the figures are medians of CPU
seconds, those of programs less what they take for the first text alone (loading the model). `--candle` names the binary of bench/candle (cargo build --release in that folder).
"""
import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
from tokenizers import Tokenizer

HERE = os.path.dirname(os.path.abspath(__file__))


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--anthill")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--texts", required=True)
    parser.add_argument("--candle")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", help="write the texts' token ids and end")
    parser.add_argument("--check-only", action="store_true", help="compare the vectors, time nothing")
    return parser.parse_args()


def tokenizer(weights):
    made = Tokenizer.from_file(os.path.join(weights, "tokenizer.json"))
    made.no_padding()
    made.enable_truncation(256)
    return made


class Onnx:
    """onnxruntime on one thread, batches padded to their longest text."""

    def __init__(self, weights, folder):
        import onnxruntime

        sys.path.insert(0, HERE)
        import minilm_onnx
        from onnx import save
        from safetensors.numpy import load_file

        path = os.path.join(folder, "minilm.onnx")
        save(minilm_onnx.build(load_file(os.path.join(weights, "model.safetensors"))), path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.tokenizer = tokenizer(weights)

    def batch(self, texts):
        encoded = self.tokenizer.encode_batch(texts)
        ids = np.zeros((len(texts), max(len(e.ids) for e in encoded)), np.int64)
        mask = np.zeros_like(ids)
        for row, e in enumerate(encoded):
            ids[row, : len(e.ids)] = e.ids
            mask[row, : len(e.ids)] = 1
        hidden = self.session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
        mean = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
        return mean / np.linalg.norm(mean, axis=1, keepdims=True)

    def embed(self, texts, batch):
        start = time.process_time()
        made = np.concatenate([self.batch(texts[i : i + batch]) for i in range(0, len(texts), batch)])
        return made, len(texts) / (time.process_time() - start)


class Command:
    """A program that reads a file of texts and writes an .npy."""

    def __init__(self, make):
        self.make = make

    def run(self, texts, batch, folder):
        lines, out = os.path.join(folder, "lines.txt"), os.path.join(folder, "vectors.npy")
        with open(lines, "w", encoding="utf-8") as file:
            file.write("\n".join(texts))
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(self.make(lines, batch, out), capture_output=True, text=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return np.load(out), after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    def embed(self, texts, batch):
        with tempfile.TemporaryDirectory() as folder:
            _, first = self.run(texts[:1], batch, folder)
            vectors, all_of_them = self.run(texts, batch, folder)
            return vectors, (len(texts) - 1) / (all_of_them - first)


def sides(args, folder):
    def anthill(*more):
        base = [args.anthill, "--json", "embed", "--model", "minilm", "--weights", args.weights]
        base += ["--threads", "1", *more]
        return Command(lambda lines, batch, out: base + ["--in", lines, "--batch", str(batch), "--out", out])

    made = {"anthill": anthill(), "anthill int8": anthill("--int8"), "onnxruntime": Onnx(args.weights, folder)}
    if args.candle:
        made["candle"] = Command(lambda lines, batch, out: [args.candle, args.weights, lines, str(batch), out])
    return made


def least_cosine(a, b):
    return float((a * b).sum(1).min())


def main():
    args = arguments()
    texts = open(args.texts, encoding="utf-8").read().splitlines()
    if args.tokens:
        ids = [e.ids for e in tokenizer(args.weights).encode_batch(texts)]
        json.dump(ids, open(args.tokens, "w"))
        return
    with tempfile.TemporaryDirectory() as folder:
        made = sides(args, folder)
        ours, _ = made["anthill"].embed(texts, 32)
        report = {"texts": len(texts), "cosine": {}, "rate": {}, "ratio": {}}
        for name, side in made.items():
            vectors, _ = side.embed(texts, 32)
            report["cosine"][name] = least_cosine(ours, vectors)
        for batch in [] if args.check_only else [1, 32]:
            rates = {name: [] for name in made}
            for _ in range(args.rounds):
                for name, side in made.items():
                    rates[name].append(side.embed(texts, batch)[1])
            report["rate"][batch] = {name: statistics.median(r) for name, r in rates.items()}
            peers = [name for name in made if not name.startswith("anthill")]
            report["ratio"][batch] = {
                p: statistics.median(a / b for a, b in zip(rates["anthill"], rates[p])) for p in peers
            }
    print(json.dumps(report, indent=1))
    if report["cosine"]["onnxruntime"] < 0.99999:
        sys.exit("the vectors differ from onnxruntime's")


if __name__ == "__main__":
    main()

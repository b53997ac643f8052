"""The same bits everywhere: the vectors of one file of texts from every native backend, with changing
batches and threads, and from the browser's module in Node, wasmtime and Chromium.

usage: python bench/bits.py --anthill target/release/anthill --weights MODEL_DIR --texts LINES.txt
           [--module target/wasm-simd/wasm32-unknown-unknown/release/anthill_wasm_check.wasm] [--int8]
needs: pip install wasmtime; Node and Chromium for the module (built by cargo xtask wasm)

Prints one line for each place, with the SHA-256 of the vectors, and fails when two differ.
"""
import argparse
import hashlib
import json
import os
import struct
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CHECK = os.path.join(ROOT, "xtask", "wasm-check")
ENGINES = {
    "Node": ["node", os.path.join(CHECK, "check.mjs")],
    "wasmtime": [sys.executable, os.path.join(CHECK, "check_wasmtime.py")],
    "Chromium": ["node", os.path.join(CHECK, "check_browser.mjs")],
}
ENCODER, ENCODER_INT8 = 7, 8
WIDTH = 384
# Texts of one request to the module.
PART = 1000


def arguments():
    parser = argparse.ArgumentParser()
    for name in ("anthill", "weights", "texts"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--module")
    parser.add_argument("--int8", action="store_true")
    return parser.parse_args()


def native(args, backend, batch, threads):
    command = [args.anthill, "--json", "embed", "--model", "minilm", "--weights", args.weights]
    command += ["--in", args.texts, "--backend", backend, "--batch", str(batch), "--threads", str(threads)]
    command += ["--int8"] if args.int8 else []
    ran = subprocess.run(command, capture_output=True, text=True)
    return ran, json.loads(ran.stdout)["vectors_sha256"] if ran.returncode == 0 else None


def backends(args):
    ran, _ = native(args, "neon", 1, 1)
    if ran.returncode == 0:
        return ["scalar", "neon"]
    return ran.stderr.split("it can run ")[1].split("\n")[0].rstrip("\"}").split(", ")


def pack(kind, parts):
    return bytes([kind]) + b"".join(struct.pack("<I", len(p)) + p for p in parts)


def module(args, command):
    texts = open(args.texts, "rb").read().splitlines()
    files = [open(os.path.join(args.weights, f), "rb").read() for f in ("model.safetensors", "tokenizer.json")]
    kind = ENCODER_INT8 if args.int8 else ENCODER
    digest = hashlib.sha256()
    with tempfile.TemporaryDirectory() as folder:
        count = 0
        for start in range(0, len(texts), PART):
            with open(os.path.join(folder, f"{count}.request"), "wb") as file:
                file.write(pack(kind, files + texts[start : start + PART]))
            count += 1
        subprocess.run([*command, args.module, folder], check=True, stdout=subprocess.DEVNULL)
        for n in range(count):
            answer = open(os.path.join(folder, f"{n}.answer"), "rb").read()
            rows = memoryview(answer)[32:]
            for at in range(0, len(rows), 1 + 4 * WIDTH):
                if rows[at] != 1:
                    sys.exit(f"a text was refused: {bytes(rows[at : at + 200])}")
                digest.update(rows[at + 1 : at + 1 + 4 * WIDTH])
    return digest.hexdigest()


def main():
    args = arguments()
    found = set()

    def say(place, work):
        start = time.time()
        made = work()
        found.add(made)
        print(f"{made}  {place}  ({time.time() - start:.0f} s)", flush=True)

    for number, backend in enumerate(backends(args)):
        batch, threads = [1, 7, 500, 32][number % 4], 1 + (number + 1) % 2
        say(f"{backend}, batch {batch}, {threads} threads", lambda: native(args, backend, batch, threads)[1])
    for name, command in ENGINES.items() if args.module else []:
        say(f"WASM in {name}", lambda: module(args, command))
    if len(found) != 1:
        sys.exit("the vectors differ")
    print("all equal")


if __name__ == "__main__":
    main()

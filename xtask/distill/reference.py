"""Writes reference vectors of all-MiniLM-L6-v2, made with torch and transformers.

usage: reference.py MODEL_DIR OUT.json

Run with torch 2.15.0 and transformers 5.23.0 (`pip install torch==2.15.0 transformers==5.23.0`).
The parity test of crates/learn compares its own encoder with these vectors.
"""

import json
import pathlib
import sys

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import BertConfig, BertModel

TEXTS = [
    "a",
    "Hello, world",
    "How do I restore a key?",
    "Keys are restored from an encrypted backup with your password.",
    "Recursively searches directories for a regex pattern",
    "The quick brown fox jumps over the lazy dog; pack my box with five dozen liquor jugs!",
    "fn main() { println!(\"{}\", x_y[0] -> &'a T); } https://a.b/c?d=e&f#g",
    "Caf\u00e9 na\u00efve r\u00e9sum\u00e9 \u2014 Stra\u00dfe, \u0130stanbul \u20ac5",
    "\u4f60\u597dworld\u3002\u65e5\u672c\u8a9e \U0001f600",
    "A node earns credits for work that other nodes have checked. " * 6,
    "An index is named by a Merkle root over its items, so two machines can compare it. " * 30,
    "0x1f8b 3.14159 1e-9 42% -7",
]


def main():
    folder, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    config = BertConfig(
        hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536
    )
    model = BertModel(config, add_pooling_layer=False).eval()
    state = {k.removeprefix("bert."): v for k, v in load_file(folder / "model.safetensors").items()}
    missing = model.load_state_dict(state, strict=False).missing_keys
    assert not [key for key in missing if "position_ids" not in key], missing
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)
    rows = []
    for text in TEXTS:
        ids = torch.tensor([tokenizer.encode(text).ids])
        with torch.no_grad():
            mean = model(input_ids=ids).last_hidden_state[0].double().mean(dim=0)
        vector = (mean / mean.norm()).tolist()
        rows.append(
            {"text": text, "tokens": ids.shape[1], "vector": [float(f"{v:.9g}") for v in vector]}
        )
    body = ",\n".join(json.dumps(row) for row in rows)
    out.write_text(f"[\n{body}\n]\n", "utf-8")


if __name__ == "__main__":
    main()

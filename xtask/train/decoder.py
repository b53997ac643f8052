"""Trains the tiny byte-level GPT of crates/learn/src/decoder.rs and writes its weights.

usage: decoder.py OUT.safetensors MINUTES FILE...

`pip install torch==2.15.0 numpy safetensors`; one thread. Every file is cut into blocks of 2 KiB;
each twelfth block is held back, and the weights of the lowest loss on those are written. Prints the
losses in nats per byte. The same files, minutes and machine give about the same loss; the bits of
training are not promised, those of inference are.
"""

import json
import math
import pathlib
import sys
import time

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

WIDTH, LAYERS, HEADS, CONTEXT, VOCABULARY = 128, 4, 4, 256, 256
BATCH, RATE, WARM_UP, DROP = 12, 2e-3, 100, 0.1
BLOCK, HELD_EVERY = 2048, 12


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x):
        batch, length, _ = x.shape
        parts = self.qkv(self.norm1(x)).view(batch, length, 3, HEADS, WIDTH // HEADS)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        mixed = self.out(mixed.transpose(1, 2).reshape(batch, length, WIDTH))
        x = x + F.dropout(mixed, DROP, self.training)
        return x + F.dropout(self.down(F.gelu(self.up(self.norm2(x)))), DROP, self.training)


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(WIDTH)
        for name, tensor in self.named_parameters():
            if tensor.dim() == 2:
                deep = name.endswith(("out.weight", "down.weight"))
                nn.init.normal_(tensor, std=0.02 / (math.sqrt(2 * LAYERS) if deep else 1))
            elif name.endswith("bias"):
                nn.init.zeros_(tensor)

    def forward(self, ids):
        x = self.tokens(ids) + self.positions.weight[: ids.shape[1]]
        for layer in self.layers:
            x = layer(x)
        return self.norm(x) @ self.tokens.weight.T


def read(files):
    fit, held = [], []
    for name in files:
        data = pathlib.Path(name).read_bytes()
        for at in range(0, len(data), BLOCK):
            number = len(fit) + len(held)
            (held if number % HELD_EVERY == HELD_EVERY - 1 else fit).append(data[at : at + BLOCK])
    text = b"".join(fit)
    return torch.tensor(list(text)), [torch.tensor(list(b)) for b in held if len(b) > CONTEXT]


def held_loss(model, held):
    model.eval()
    with torch.no_grad():
        # Non-overlapping windows: every byte but a window's first is predicted once.
        windows = [b[i : i + CONTEXT] for b in held for i in range(0, len(b) - CONTEXT + 1, CONTEXT)]
        batch = torch.stack(windows)
        total = 0.0
        for part in batch.split(32):
            logits = model(part)[:, :-1].reshape(-1, VOCABULARY)
            total += F.cross_entropy(logits, part[:, 1:].reshape(-1), reduction="sum").item()
    model.train()
    return total / (len(windows) * (CONTEXT - 1))


def main():
    out, seconds = pathlib.Path(sys.argv[1]), float(sys.argv[2]) * 60
    torch.manual_seed(1)
    torch.set_num_threads(1)
    text, held = read(sys.argv[3:])
    model = Decoder()
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.1)
    begun, step, best, recent = time.process_time(), 0, math.inf, []
    while (spent := time.process_time() - begun) < seconds:
        part = spent / seconds
        rate = RATE * min(1, (step + 1) / WARM_UP) * (0.05 + 0.95 * (1 + math.cos(math.pi * part)) / 2)
        optimiser.param_groups[0]["lr"] = rate
        starts = torch.randint(len(text) - CONTEXT - 1, (BATCH,))
        batch = torch.stack([text[i : i + CONTEXT + 1] for i in starts])
        logits = model(batch[:, :-1]).reshape(-1, VOCABULARY)
        loss = F.cross_entropy(logits, batch[:, 1:].reshape(-1))
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        recent.append(loss.item())
        step += 1
        if step % 200 == 0:
            now = held_loss(model, held)
            mean = sum(recent) / len(recent)
            print(f"step {step} fit {mean:.4f} held {now:.4f} cpu {spent:.0f} s", flush=True)
            recent.clear()
            if now < best:
                best = now
                shape = {"layers": LAYERS, "heads": HEADS, "width": WIDTH, "context": CONTEXT}
                state = {k: v.contiguous() for k, v in model.state_dict().items()}
                save_file(state, out, {"decoder": json.dumps(shape)})
    size = out.stat().st_size
    print(json.dumps({"bytes": len(text), "steps": step, "held_nats_per_byte": best, "file": size}))


main()

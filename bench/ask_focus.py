"""What focus adds to similarity when `anthill ask` ranks: an ablation on WordNet.

    apt-get install wordnet-base
    python3 bench/ask_focus.py --anthill target/release/anthill --wordnet /usr/share/wordnet

Documents are the synsets: lemmas and definition, without the examples. The graph is WordNet's own
relations between synsets, a link each, made by one neuron for each of the files nouns, verbs,
adjectives and adverbs. Two labelled sets of queries, of which neither reads the graph:

- `examples`: a sentence that a synset's entry gives as an example; right is that synset.
- `words`: a word with several senses; right is the sense that occurs most in the tagged texts behind
  WordNet (`cntlist.rev`), for words whose first sense was seen at least twice.

Vectors are made by `anthill embed`, focus by `anthill focus`. A passage's score is
    similarity + w * ln(1 + n * focus) / ln(1 + n)
with n particles, among the 100 most similar documents (as in the node: docs/FOCUS.md). Queries are cut
in two halves by a hash. The default weight is chosen on the first: the largest that makes MRR@10 of no
set worse than w = 0 beyond what chance does (95 % of bootstrap samples). The second half reports.
"""

import argparse
import hashlib
import json
import math
import re
import subprocess
import tempfile
from pathlib import Path

import numpy as np

POS = {"noun": "n", "verb": "v", "adj": "a", "adv": "r"}
WEIGHTS = [0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0]
CANDIDATES = 100


def synsets(folder):
    """Each synset: id, file, lemmas, definition, examples, ids of related synsets."""
    for name, pos in POS.items():
        for line in (folder / f"data.{name}").read_text(encoding="latin-1").splitlines():
            if line.startswith("  "):
                continue
            data, _, gloss = line.partition("|")
            fields = data.split()
            offset, count = fields[0], int(fields[3], 16)
            lemmas = [re.sub(r"\(.*\)", "", fields[4 + 2 * i]).replace("_", " ") for i in range(count)]
            at = 4 + 2 * count
            pointers = []
            for i in range(int(fields[at])):
                _, target, tpos, _ = fields[at + 1 + 4 * i : at + 5 + 4 * i]
                pointers.append(("a" if tpos == "s" else tpos) + target)
            gloss = gloss.strip()
            examples = re.findall(r'"([^"]+)"', gloss)
            definition = re.split(r';?\s*"', gloss)[0].strip().rstrip(";")
            yield pos + offset, name, lemmas, definition, examples, pointers


def tagged_words(folder):
    """Words with several senses and the synset that occurs most in tagged texts."""
    counts = {}
    for line in (folder / "cntlist.rev").read_text(encoding="latin-1").splitlines():
        key, number, count = line.split()
        lemma, _, rest = key.partition("%")
        pos = {1: "n", 2: "v", 3: "a", 4: "r", 5: "a"}[int(rest[0])]
        counts.setdefault(lemma, []).append((int(count), pos, int(number)))
    senses = {}
    for name, pos in POS.items():
        for line in (folder / f"index.{name}").read_text(encoding="latin-1").splitlines():
            if line.startswith("  "):
                continue
            fields = line.split()
            number = int(fields[2])
            senses[fields[0], pos] = [pos + offset for offset in fields[-number:]]
    for lemma, found in sorted(counts.items()):
        everywhere = sum(len(senses.get((lemma, pos), [])) for pos in POS.values())
        count, pos, number = max(found)
        listed = senses.get((lemma, pos), [])
        if count >= 2 and everywhere > 1 and number <= len(listed):
            yield lemma.replace("_", " "), listed[number - 1]


def embed(anthill, texts, folder, name, model):
    (folder / f"{name}.txt").write_text("\n".join(t.replace("\n", " ") for t in texts) + "\n")
    out = folder / f"{name}.npy"
    command = [anthill, "embed", "--in", folder / f"{name}.txt", "--out", out]
    subprocess.run(command + (["--model", model] if model else []), check=True, capture_output=True)
    vectors = np.load(out).astype(np.float32)
    assert len(vectors) == len(texts)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


def focus(anthill, all_synsets, folder):
    known = {s[0] for s in all_synsets}
    with open(folder / "E.tsv", "w") as edges:
        for ident, name, _, _, _, pointers in all_synsets:
            edges.writelines(f"{name}\t{ident}\t{p}\n" for p in pointers if p in known)
    # Each neuron's links weigh the same when stakes go by the number of links.
    links = {}
    for line in open(folder / "E.tsv"):
        links[line.split("\t")[0]] = links.get(line.split("\t")[0], 0) + 1
    (folder / "S.tsv").write_text("".join(f"{n}\t{c * 1000}\n" for n, c in links.items()))
    command = [anthill, "focus", "--edges", folder / "E.tsv", "--stakes", folder / "S.tsv"]
    done = subprocess.run(command + ["--out", folder / "PI.tsv", "--json"], check=True, capture_output=True)
    report = json.loads(done.stdout)
    masses = dict(line.rstrip("\n").split("\t") for line in open(folder / "PI.tsv"))
    n = len(masses)
    scaled = [math.log1p(n * int(masses.get(s[0], 0)) / 2**62) / math.log1p(n) for s in all_synsets]
    return np.array(scaled, dtype=np.float32), report


def ranks(queries, documents, scaled, right):
    """For each weight and query, the rank of the right document among the candidates, or none (0)."""
    found = np.zeros((len(WEIGHTS), len(queries)), dtype=np.int32)
    for begin in range(0, len(queries), 256):
        scores = queries[begin : begin + 256] @ documents.T
        best = np.argpartition(-scores, CANDIDATES, axis=1)[:, :CANDIDATES]
        for i, places in enumerate(best):
            similar = scores[i, places]
            for at, weight in enumerate(WEIGHTS):
                mixed = similar + weight * scaled[places]
                hit = np.flatnonzero(places == right[begin + i])
                if len(hit):
                    found[at, begin + i] = 1 + np.sum(mixed > mixed[hit[0]])
    return found


def measures(rank):
    mrr = np.where((rank > 0) & (rank <= 10), 1 / np.maximum(rank, 1), 0).mean()
    return {"mrr10": float(mrr), "hit1": float((rank == 1).mean()), "hit10": float(((rank > 0) & (rank <= 10)).mean())}


def interval(first, second, rounds=2000):
    """95 % of bootstrap samples of the difference in MRR@10."""
    value = lambda r: np.where((r > 0) & (r <= 10), 1 / np.maximum(r, 1), 0)
    difference = value(second) - value(first)
    random = np.random.default_rng(1)
    means = [difference[random.integers(0, len(difference), len(difference))].mean() for _ in range(rounds)]
    return [float(x) for x in np.percentile(means, [2.5, 97.5])]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--anthill", default="target/release/anthill")
    parser.add_argument("--wordnet", type=Path, default=Path("/usr/share/wordnet"))
    parser.add_argument("--model")
    parser.add_argument("--most", type=int, default=20000, help="queries of a set at most")
    args = parser.parse_args()
    everything = list(synsets(args.wordnet))
    place = {s[0]: i for i, s in enumerate(everything)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        documents = embed(args.anthill, [", ".join(s[2]) + ": " + s[3] for s in everything], folder, "documents", args.model)
        scaled, report = focus(args.anthill, everything, folder)
        print(f"{len(everything)} synsets; {report['edges']} edges, {report['iterations']} steps")
        sets = {
            "examples": [(text, s[0]) for s in everything for text in s[4] if len(text.split()) >= 4],
            "words": list(tagged_words(args.wordnet)),
        }
        worse = set()
        for kind, pairs in sets.items():
            hashed = sorted(pairs, key=lambda p: hashlib.sha256(f"{p[0]} {p[1]}".encode()).digest())
            pairs = hashed[: args.most]
            queries = embed(args.anthill, [p[0] for p in pairs], folder, kind, args.model)
            found = ranks(queries, documents, scaled, [place[p[1]] for p in pairs])
            half = len(pairs) // 2
            print(f"\n{kind}: {len(pairs)} queries, {len(pairs) - half} of them for the report")
            print("| w | chosen on: MRR@10, against w = 0 | report: MRR@10, against w = 0 | hit@1 | hit@10 |\n|---|---|---|---|---|")
            for at, weight in enumerate(WEIGHTS):
                first, second = measures(found[at, :half]), measures(found[at, half:])
                chosen = interval(found[0, :half], found[at, :half])
                if chosen[1] < 0:
                    worse.add(weight)
                low, high = interval(found[0, half:], found[at, half:])
                print(
                    f"| {weight} | {first['mrr10']:.4f}, {chosen[0]:+.4f} to {chosen[1]:+.4f} "
                    f"| {second['mrr10']:.4f}, {low:+.4f} to {high:+.4f} | {second['hit1']:.4f} | {second['hit10']:.4f} |"
                )
        harmless = [weight for weight in WEIGHTS if not any(w <= weight for w in worse)]
        print(f"\nthe largest weight that makes no set worse: {harmless[-1]}")


main()

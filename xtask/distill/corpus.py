"""Builds the training and held-back texts of the static model from Debian packages.

usage: corpus.py WORK

Everything comes through apt: package descriptions (the archive's index and its English
translation file) and the packages in PACKAGES below, which are unpacked but never installed.
Writes WORK/corpus.jsonl, one {"kind", "split", "text"} a line, in an order that depends on the
texts alone (ascending SHA-256), so that any prefix is a fair sample. Splits: `fit`; `debian`
(held-back descriptions: whole source packages, so that no sibling package was fitted);
`man` (manual pages: a kind of text of which nothing is fitted).
"""

import gzip
import hashlib
import html.parser
import json
import pathlib
import re
import subprocess
import sys

FIT_PACKAGES = [
    "wordnet-base",
    "dict-foldoc",
    "dict-jargon",
    "fortunes",
    "bible-kjv-text",
    "debian-faq",
    "developers-reference",
    "debian-handbook",
    "python3.11-doc",
    "rust-doc",
]
HELD_OUT_PACKAGES = ["manpages", "manpages-dev"]
HELD_DEBIAN = 8000
HELD_MAN = 8000
# Texts of the fit, per kind, at most.
QUOTA = {"debian": 60000, "paragraph": 25000, "wordnet": 50000, "docs": 30000, "prose": 8000}


def run(command, cwd=None):
    """The standard output of a command, or an error that names it."""
    return subprocess.run(command, cwd=cwd, check=True, capture_output=True).stdout


def apt_options(work):
    return ["-o", f"Dir::State::Lists={work / 'lists'}", "-o", "Acquire::Languages=en"]


def fetch(work):
    """Fetches the package index with English descriptions, and unpacks the packages."""
    (work / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    (work / "debs").mkdir(exist_ok=True)
    if not any((work / "lists").glob("*Packages*")):
        run(["apt-get", "update", "-q", *apt_options(work)])
    for name in FIT_PACKAGES + HELD_OUT_PACKAGES:
        if not list((work / "debs").glob(f"{name}_*.deb")):
            run(["apt-get", "download", "-q", *apt_options(work), name], cwd=work / "debs")
        deb = next((work / "debs").glob(f"{name}_*.deb"))
        if not (work / "unpacked" / name).exists():
            (work / "unpacked" / name).mkdir(parents=True)
            run(["dpkg-deb", "-x", str(deb), str(work / "unpacked" / name)])


def clean(text):
    return re.sub(r"\s+", " ", text).strip()


def prose(text, low=30, high=700):
    """Whether a paragraph is words rather than a table, code or a list of names."""
    letters = sum(c.isalpha() or c == " " for c in text)
    return low <= len(text) <= high and text.count(" ") >= 4 and letters >= 0.8 * len(text)


def debian(work):
    """(source package, short description, paragraphs of the long one) of every package."""
    wanted = ("Package", "Source", "Description")
    text = run(["apt-cache", *apt_options(work), "dumpavail"]).decode("utf-8", "replace")
    long_text = {}
    for path in sorted((work / "lists").glob("*Translation-en*")):
        raw = run(["lz4", "-dc", str(path)]) if path.suffix == ".lz4" else path.read_bytes()
        for block in raw.decode("utf-8", "replace").split("\n\n"):
            name, body = "", []
            for line in block.split("\n"):
                if line.startswith("Package: "):
                    name = line[9:]
                elif line.startswith(" "):
                    body.append(line[1:])
            long_text[name] = "\n".join(body)
    out = []
    for block in text.split("\n\n"):
        fields = dict(
            line.split(": ", 1) for line in block.split("\n") if line.startswith(wanted) and ": " in line
        )
        if "Package" in fields and "Description" in fields:
            source = fields.get("Source", fields["Package"]).split(" ")[0]
            body = re.split(r"\n\.\n", long_text.get(fields["Package"], ""))
            out.append((source, clean(fields["Description"]), [clean(p) for p in body]))
    return out


def wordnet(root):
    """Definitions and examples of WordNet."""
    for path in sorted(root.rglob("data.*")):
        for line in path.read_text("utf-8", "replace").split("\n"):
            if " | " in line and not line.startswith("  "):
                words = line.split(" ")
                gloss = clean(line.split(" | ", 1)[1])
                yield gloss
                yield clean(words[4].replace("_", " ") + ": " + gloss.split(";")[0])


class Paragraphs(html.parser.HTMLParser):
    """The text of every <p>, <li> and heading of a page."""

    def __init__(self):
        super().__init__()
        self.depth, self.buffer, self.found = 0, [], []

    def handle_starttag(self, tag, attrs):
        if tag in ("p", "h1", "h2", "h3", "dd"):
            self.flush()
            self.depth = 1

    def handle_endtag(self, tag):
        if tag in ("p", "h1", "h2", "h3", "dd"):
            self.flush()
            self.depth = 0

    def flush(self):
        text = clean("".join(self.buffer)).replace("\u00b6", "")
        self.buffer = []
        if text:
            self.found.append(text)

    def handle_data(self, data):
        if self.depth:
            self.buffer.append(data)


def pages(root):
    """Paragraphs of the HTML documentation under `root`; other languages left out."""
    for path in sorted(root.rglob("*.html")):
        parts = str(path)
        if "/debian-handbook/html/" in parts and "/en-US/" not in parts:
            continue
        if re.search(r"\.(ca|de|es|fr|it|ja|ko|nl|pl|pt|ru|zh[-_a-z]*|uk|vi)\.html$", parts):
            continue
        if "/rust-doc/html/" in parts and re.search(r"/(core|alloc|src|proc_macro|test)/", parts):
            continue
        parser = Paragraphs()
        parser.feed(path.read_text("utf-8", "replace"))
        yield from parser.found


def dictionary(root):
    """Paragraphs of a dictd dictionary."""
    for path in sorted(root.rglob("*.dict.dz")):
        text = gzip.decompress(path.read_bytes()).decode("utf-8", "replace")
        for paragraph in re.split(r"\n\s*\n", text):
            yield clean(re.sub(r"[{}]", "", paragraph))


def sayings(root):
    """Fortunes and verses."""
    for path in sorted(root.rglob("games/fortunes/*")):
        if path.is_file() and "." not in path.name and path.name != "translate-me":
            for saying in path.read_text("utf-8", "replace").split("\n%\n"):
                yield clean(saying)


def verses(root):
    for path in sorted(root.rglob("*")):
        if path.is_file() and path.stat().st_size > 1_000_000:
            try:
                text = path.read_text("utf-8")
            except UnicodeDecodeError:
                continue
            yield from (clean(line) for line in text.split("\n"))


def manual(root):
    """Paragraphs of manual pages, their markup removed."""
    for path in sorted(root.rglob("man/man*/*")):
        if path.is_symlink() or not path.is_file():
            continue
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        block = []
        for line in raw.decode("utf-8", "replace").split("\n") + [".PP"]:
            macro = re.match(r"[.'](\w+|\\\")\s*(.*)", line)
            if macro and macro[1] in ("B", "I", "BR", "BI", "IR", "RB", "RI", "IB", "SM"):
                parts = re.findall(r'"[^"]*"|\S+', macro[2])
                block.append(("" if len(macro[1]) == 2 else " ").join(p.strip('"') for p in parts))
            elif macro or not line.strip():
                text = re.sub(r"\\f[BIRP]|\\f\(..|\\[&/,|c]", "", " ".join(block))
                text = re.sub(r"\\-", "-", re.sub(r"\\\(aq", "'", text))
                block = []
                if "\\" not in text:
                    yield clean(text)
            else:
                block.append(line)


def key(text):
    return hashlib.sha256(text.encode("utf-8")).digest()


def main():
    work = pathlib.Path(sys.argv[1]).resolve()
    work.mkdir(parents=True, exist_ok=True)
    fetch(work)
    root = work / "unpacked"
    packages = debian(work)
    sources = sorted({source for source, _, _ in packages}, key=key)
    held = set(sources[: len(sources) // 5])
    kinds = {
        "debian": [short for source, short, _ in packages if source not in held],
        "paragraph": [p for source, _, body in packages if source not in held for p in body],
        "wordnet": list(wordnet(root / "wordnet-base")),
        "docs": [
            text
            for name in FIT_PACKAGES
            for text in list(pages(root / name)) + list(dictionary(root / name))
        ],
        "prose": list(sayings(root / "fortunes")) + list(verses(root / "bible-kjv-text")),
    }
    chosen, used = [], set()
    held_texts = sorted({s for source, s, _ in packages if source in held and len(s) >= 12}, key=key)
    fitted = {s for s in kinds["debian"]}
    held_texts = [text for text in held_texts if text not in fitted][:HELD_DEBIAN]
    man_texts = {t for name in HELD_OUT_PACKAGES for t in manual(root / name) if prose(t, 40, 400)}
    for split, texts in (("debian", held_texts), ("man", sorted(man_texts, key=key)[:HELD_MAN])):
        used.update(texts)
        chosen += [{"kind": split, "split": split, "text": text} for text in texts]
    for kind, texts in kinds.items():
        fine = (lambda t: len(t) >= 12) if kind in ("debian", "wordnet") else prose
        unique = sorted({t for t in texts if fine(t) and t not in used}, key=key)[: QUOTA[kind]]
        print(f"{kind}: {len(unique)} of {len(texts)}", flush=True)
        used.update(unique)
        chosen += [{"kind": kind, "split": "fit", "text": text} for text in unique]
    print(f"held back: {len(held_texts)} descriptions, {len(man_texts)} manual paragraphs")
    chosen.sort(key=lambda row: (row["split"] == "fit", key(row["text"])))
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in chosen)
    (work / "corpus.jsonl").write_text(lines, "utf-8")
    print("corpus.jsonl sha256", hashlib.sha256(lines.encode("utf-8")).hexdigest())


if __name__ == "__main__":
    main()

"""Measures `anthill match` on Debian's package descriptions, by section.

usage: match.py ANTHILL [MODEL]

Needs apt's lists (`apt-get update`). Categories are eight sections, each with EXAMPLES descriptions;
TESTS others of each section are placed, and as many of each of four sections that are no category.
Which are taken is decided by the SHA-256 of the text, and no source package gives both an example
and a test. Prints accuracy, rejection and the expected calibration error (ten bins of equal width).
"""

import collections
import hashlib
import json
import pathlib
import subprocess
import sys
import tempfile

CATEGORIES = ["electronics", "fonts", "games", "graphics", "httpd", "mail", "science", "sound"]
OTHERS = ["java", "kernel", "localization", "shells"]
EXAMPLES, TESTS = 100, 100


def packages():
    dump = subprocess.run(["apt-cache", "dumpavail"], capture_output=True, text=True, check=True).stdout
    for entry in dump.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in entry.splitlines() if ": " in line and line[0] != " ")
        text = fields.get("Description") or fields.get("Description-en")
        if text and "Section" in fields and "Package" in fields:
            source = fields.get("Source", fields["Package"]).split()[0]
            yield fields["Section"].split("/")[-1], source, text


def main():
    binary, model = sys.argv[1], (sys.argv[2:] or ["static"])[0]
    found, seen = collections.defaultdict(list), set()
    for section, source, text in packages():
        if section in CATEGORIES + OTHERS and text not in seen:
            seen.add(text)
            order = hashlib.sha256(source.encode()).hexdigest()
            found[section].append((order, hashlib.sha256(text.encode()).hexdigest(), source, text))
    examples, tests = {}, []
    for section, items in found.items():
        items.sort()
        wanted = EXAMPLES if section in CATEGORIES else 0
        taken = items[:wanted]
        sources = {item[2] for item in taken}
        examples[section] = [item[3] for item in taken]
        rest = [item[3] for item in items[wanted:] if item[2] not in sources][:TESTS]
        tests += [(section if section in CATEGORIES else None, text) for text in rest]
    with tempfile.TemporaryDirectory() as folder:
        categories, lines = pathlib.Path(folder, "c.json"), pathlib.Path(folder, "t.txt")
        categories.write_text(json.dumps({c: examples[c] for c in CATEGORIES}))
        lines.write_text("\n".join(text for _, text in tests))
        command = [binary, "match", "--json", "--categories", categories, "--in", lines, "--model", model]
        answer = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    rows = list(zip([truth for truth, _ in tests], answer["results"], strict=True))
    inside = [(t, r) for t, r in rows if t is not None]
    outside = [r for t, r in rows if t is None]
    share = lambda hits: round(sum(hits) / len(hits), 4)
    named = [(t, r) for t, r in inside if r["category"] is not None]
    print(json.dumps({
        "model": answer["model"],
        "sharpness": answer["sharpness"],
        "none_cosine": answer["none_cosine"],
        "tests_inside": len(inside),
        "tests_outside": len(outside),
        "accuracy_inside": share([t == r["category"] for t, r in inside]),
        "accuracy_where_a_category_is_named": share([t == r["category"] for t, r in named]),
        "inside_called_none": share([r["category"] is None for _, r in inside]),
        "outside_called_none": share([r["category"] is None for r in outside]),
        "expected_calibration_error_inside": calibration_error(inside),
        "expected_calibration_error_all": calibration_error(rows),
    }, indent=1))


def calibration_error(rows):
    bins = collections.defaultdict(list)
    for truth, row in rows:
        bins[min(int(row["confidence"] * 10), 9)].append((row["confidence"], truth == row["category"]))
    gap = lambda b: abs(sum(c for c, _ in b) - sum(hit for _, hit in b))
    return round(sum(gap(b) for b in bins.values()) / len(rows), 4)


main()

"""Reads an exposition on standard input with Prometheus' own parser; prints names, labels and types."""
import json
import sys

from prometheus_client.parser import text_string_to_metric_families

found = {}
for family in text_string_to_metric_families(sys.stdin.read()):
    assert family.name not in found, f"{family.name} stands in two places"
    assert family.documentation, f"{family.name} has no help"
    seen = set()
    for sample in family.samples:
        key = (sample.name, tuple(sorted(sample.labels.items())))
        assert key not in seen, f"{key} is there twice"
        seen.add(key)
    found[family.name] = {"type": family.type, "samples": len(family.samples)}
print(json.dumps(found))

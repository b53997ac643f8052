"""Runs schemathesis over a node's OpenAPI document: schemathesis_run.py URL TOKEN SEED EXAMPLES. Exit
code 0: no failure of any check, and so no server error."""

import os
import subprocess
import sys
import tempfile

# What a schema cannot say: which texts hold a word of the model's, how long the vectors of the model
# named beside them are, what a program takes, which texts are content ids or canonical bytes, and what the state allows. For
# these routes 400, 404 or 409 is a fitting answer to a valid request.
CONFIG = """
[[operations]]
include-path = ["/v1/embeddings", "/api/ask"]
checks.positive_data_acceptance.expected-statuses = ["2xx", 400, 404, 503]

[[operations]]
include-path = [
    "/v1/run", "/v1/tasks", "/v1/tx", "/v1/gov", "/v1/stake", "/v1/state/links/{neuron}/{from}/{to}",
    "/v1/state/names-of/{id}", "/v1/state/particles/{id}",
]
checks.positive_data_acceptance.expected-statuses = ["2xx", 400, 404, 409]
"""


def run(url, token, seed, examples, *more):
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as config:
        config.write(CONFIG)
        config.flush()
        command = [
            sys.executable, "-m", "schemathesis.cli", "--config-file", config.name,
            "run", f"{url}/openapi.json", "--header", f"Authorization: Bearer {token}",
            "--checks", "all", "--seed", seed, "--max-examples", examples,
            "--workers", "1", "--request-timeout", "60", "--no-color", *more,
        ]
        return subprocess.run(command).returncode


def main():
    # No proxy between this machine and itself.
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            del os.environ[name]
    arguments = sys.argv[1:5]
    # A bench of 10,000 tasks takes its time, a paused node answers 503 as it should, and a drained one
    # ends: so these are tried apart. No generator makes WebAssembly: `task.rs` tries /v1/modules.
    apart = ["/api/bench", "/api/pause", "/api/drain", "/v1/modules"]
    code = run(*arguments, *[word for path in apart for word in ("--exclude-path", path)])
    code = code or run(*arguments, "--include-path", "/api/bench", "--mode", "negative")
    code = code or run(*arguments, "--include-path", "/api/pause", "--include-path", "/api/resume")
    return code or run(*arguments, "--include-path", "/api/drain", "--mode", "negative")


if __name__ == "__main__":
    sys.exit(main())

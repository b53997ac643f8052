"""Runs schemathesis over a node's OpenAPI document: schemathesis_run.py URL TOKEN. Exit code 0: no
failure, no server error."""

import subprocess
import sys

url, token = sys.argv[1:3]
common = [
    sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json",
    "--header", f"Authorization: Bearer {token}",
    "--checks", "all", "--seed", "1", "--max-examples", "20", "--workers", "1",
    "--request-timeout", "60", "--no-color",
]
sys.exit(subprocess.run(common).returncode)

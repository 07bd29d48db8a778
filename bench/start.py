"""How long a command takes from its start to its end: ``start.py WORD …`` prints one JSON object.

``instructions`` are counted by valgrind where it is installed and BENCH_COUNT is set; they hardly vary from run to run.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory


def count_instructions(command: list[str]) -> float:
    """Millions of instructions of a command, whose modules are compiled by then."""
    subprocess.run(command, check=True, capture_output=True)
    with TemporaryDirectory() as folder:
        output_file = Path(folder, "out")
        valgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={output_file}"]
        subprocess.run([*valgrind, *command], check=True, capture_output=True)
        match = re.search(r"^(?:summary|totals): (\d+)", output_file.read_text(), re.MULTILINE)
        return int(match[1]) / 1e6 if match else float("nan")


def main() -> None:
    """Either the time or the instructions."""
    command = [sys.executable, *sys.argv[1:]]
    if os.environ.get("BENCH_COUNT"):
        print(json.dumps({"instructions": count_instructions(command)} if shutil.which("valgrind") else {}))
        return
    started_at = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    print(json.dumps({"wall": (time.perf_counter() - started_at) * 1000}))


if __name__ == "__main__":
    main()

"""Duration of a command: ``start.py ARGUMENT …`` prints one JSON object.

With BENCH_COUNT set and valgrind installed it counts ``instructions`` instead, which hardly vary between runs.
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
    """Count the instructions of a command, in millions, after one run that compiles its modules."""
    subprocess.run(command, check=True, capture_output=True)
    with TemporaryDirectory() as folder:
        output_file = Path(folder, "out")
        valgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={output_file}"]
        subprocess.run([*valgrind, *command], check=True, capture_output=True)
        match = re.search(r"^(?:summary|totals): (\d+)", output_file.read_text(), re.MULTILINE)
        return int(match[1]) / 1e6 if match else float("nan")


def main() -> None:
    """Print the time or the instruction count."""
    command = [sys.executable, *sys.argv[1:]]
    if os.environ.get("BENCH_COUNT"):
        print(json.dumps({"instructions": count_instructions(command)} if shutil.which("valgrind") else {}))
        return
    started_at = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    print(json.dumps({"wall": (time.perf_counter() - started_at) * 1000}))


if __name__ == "__main__":
    main()

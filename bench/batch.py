"""A batch of many prompts through the command: ``batch.py PROMPTS`` prints one JSON object with samples over time.

The samples are taken from outside, every half second: how many files lie there, and the command's resident memory.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import mkdtemp

EVERY = 0.5  # seconds


def main() -> None:
    """Seconds in all, pictures a second, and the samples: seconds, files, MB."""
    prompts = int(sys.argv[1])
    folder = Path(mkdtemp(dir=os.environ["BENCH_FOLDER"]))
    asked, made = folder / "prompts.txt", folder / "made"
    asked.write_text("".join(f"a kite {number}\n" for number in range(prompts)))
    command = [sys.executable, "-m", "hfmedia", "batch", str(asked), "-o", str(made), "-m", "bench/small"]
    began, samples = time.perf_counter(), []
    with subprocess.Popen([*command, "--concurrency", "32"], stdout=subprocess.DEVNULL) as running:
        status = Path(f"/proc/{running.pid}/status")
        while running.poll() is None:
            time.sleep(EVERY)
            lines = status.read_text().splitlines() if status.exists() else []
            resident = [int(line.split()[1]) / 1000 for line in lines if line.startswith("VmRSS:")]
            files = sum(1 for entry in os.scandir(made) if entry.name.endswith(".png")) if made.exists() else 0
            samples += [(round(time.perf_counter() - began, 1), files, resident[0])] if resident else []
    taken = time.perf_counter() - began
    files = sum(1 for entry in os.scandir(made) if entry.name.endswith(".png"))
    assert (running.returncode, files) == (0, prompts), f"the batch ended with {running.returncode}, {files} files"
    half = [memory for _, files, memory in samples if files >= prompts // 2]
    grown = half[-1] - half[0] if half else 0.0
    print(json.dumps({"wall": taken, "rate": prompts / taken, "peak": max(m for *_, m in samples), "grown": grown,
                      "samples": samples}))  # fmt: skip


if __name__ == "__main__":
    main()

"""A batch of many prompts through the command: ``batch.py PROMPTS`` prints one JSON object with samples over time.

A sample is taken from outside every half second: the number of files so far and the command's resident memory.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import mkdtemp

SAMPLE_INTERVAL = 0.5  # seconds


def main() -> None:
    """Print total seconds, images per second, and samples of (seconds, files, MB)."""
    prompts = int(sys.argv[1])
    folder = Path(mkdtemp(dir=os.environ["BENCH_FOLDER"]))
    prompts_file, output_folder = folder / "prompts.txt", folder / "output"
    prompts_file.write_text("".join(f"a kite {number}\n" for number in range(prompts)))
    command = [
        sys.executable,
        "-m",
        "hfmedia",
        "batch",
        str(prompts_file),
        "-o",
        str(output_folder),
        "-m",
        "bench/small",
    ]
    started_at, samples = time.perf_counter(), []
    with subprocess.Popen([*command, "--concurrency", "32"], stdout=subprocess.DEVNULL) as process:
        status = Path(f"/proc/{process.pid}/status")
        while process.poll() is None:
            time.sleep(SAMPLE_INTERVAL)
            lines = status.read_text().splitlines() if status.exists() else []
            resident = [int(line.split()[1]) / 1000 for line in lines if line.startswith("VmRSS:")]
            files = (
                sum(1 for entry in os.scandir(output_folder) if entry.name.endswith(".png"))
                if output_folder.exists()
                else 0
            )
            samples += [(round(time.perf_counter() - started_at, 1), files, resident[0])] if resident else []
    elapsed = time.perf_counter() - started_at
    assert process.returncode == 0, f"the batch exited with code {process.returncode}"
    files = sum(1 for entry in os.scandir(output_folder) if entry.name.endswith(".png"))
    assert files == prompts, f"the batch wrote {files} of {prompts} files"
    second_half = [memory for _, files, memory in samples if files >= prompts // 2]
    memory_growth = second_half[-1] - second_half[0] if second_half else 0.0
    peak = max(memory for *_, memory in samples)
    numbers = {"wall": elapsed, "rate": prompts / elapsed, "peak": peak, "grown": memory_growth, "samples": samples}
    print(json.dumps(numbers))


if __name__ == "__main__":
    main()

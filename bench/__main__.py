"""`python -m bench [NAME …]`: runs the cases by turns and prints a table with ratios and budgets."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile

from .cases import CASES, Case

ROUNDS = 5
FROM_THE_INTERPRETER = {"import", "help"}


def measure(case: Case, environ: dict[str, str]) -> dict[str, list[float]]:
    """The numbers of each program, taken by turns so that a slow minute hits all of them."""
    numbers: dict[str, list[float]] = {name: [] for name in case.programs}
    for number in range(ROUNDS + 1):
        for name, (program, *words) in case.programs.items():
            command = [sys.executable, "-c", program, *words]
            done = subprocess.run(command, env=environ, capture_output=True, text=True)
            if done.returncode:
                sys.exit(f"{case.about}, {name}: {done.stderr[-2000:]}")
            if number:  # the first round only warms the caches
                numbers[name].append(float(done.stdout))
    return numbers


def verdict(name: str, case: Case, middle: dict[str, float]) -> bool:
    """Whether ours is within its budget."""
    ours = middle["ours"]
    if case.at_most is not None:
        ours -= middle["floor"] if name == "import" else 0
        return ours <= case.at_most
    return all(ours <= times * middle[other] for other, times in case.within.items())


def main() -> None:
    """The table."""
    names = sys.argv[1:] or list(CASES)
    unknown = set(names) - set(CASES)
    if unknown:
        sys.exit(f"there is no case {min(unknown)!r}; there are {', '.join(CASES)}")
    with tempfile.TemporaryDirectory() as home:
        world = subprocess.Popen([sys.executable, "-m", "bench.world"], stdout=subprocess.PIPE, text=True)
        try:
            assert world.stdout is not None
            url = f"http://127.0.0.1:{int(world.stdout.readline())}"
            environ = {**os.environ, "HF_ENDPOINT": url, "HFMEDIA_ROUTER": f"{url}/router", "HF_TOKEN": "hf_bench"}
            environ |= {"HFMEDIA_TRUSTED_HOSTS": url.removeprefix("http://"), "HFMEDIA_HOME": home}
            for name in names:
                case = CASES[name]
                numbers = measure(case, environ)
                middle = {who: statistics.median(taken) for who, taken in numbers.items()}
                print(f"\n{case.about} (budget: {case.budget})")
                for who, taken in numbers.items():
                    ratio = f"{middle['ours'] / middle[who]:6.2f} x" if who != "ours" else ""
                    spread = f"{min(taken):.2f} to {max(taken):.2f}"
                    print(f"  {who:16} {middle[who]:9.2f} {case.unit:3} ({spread:>20})  {ratio}")
                print(f"  {'within budget' if verdict(name, case, middle) else 'OVER BUDGET'}")
        finally:
            world.kill()
            world.wait()


if __name__ == "__main__":
    main()

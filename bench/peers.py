"""The peers' own environments, made beside the project's where they are not there yet; pip's own settings hold.

LiteLLM has one to itself, for it wants older versions of what the others are measured in.
"""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from .cases import FAL, FLOOR, G4F, HUB, LITELLM, OURS

ROOT = Path(__file__).parent.parent
UNWANTED = ("_proxy", "pythondontwritebytecode")  # the second would have every process compile its modules anew
NO_PRICES = {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}  # or LiteLLM asks the internet for them at each start


@dataclass(frozen=True)
class Environment:
    """Where it lies, who lives there, what is installed, and the imports that are compiled before anything runs."""

    folder: str
    who: tuple[str, ...]
    packages: tuple[str, ...]
    compiled: str

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return ROOT / self.folder / "bin" / "python"


ENVIRONMENTS = (
    Environment(
        ".venv-bench",
        (HUB, G4F, FAL),
        ("huggingface_hub>=2.4,<3", "g4f", "fal-client", "aiohttp", "pillow"),
        "import aiohttp, fal_client; from huggingface_hub import AsyncInferenceClient, HfApi; "
        "from g4f.Provider import HuggingFaceMedia",
    ),
    Environment(".venv-bench-litellm", (LITELLM,), ("litellm[proxy]",), "import litellm.proxy.proxy_server"),
)


def plain_environ() -> dict[str, str]:
    """This process's environment without what would slow the others down or lead them astray."""
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith(UNWANTED)}
    return {**kept, **NO_PRICES}


def interpreters(needed: set[str]) -> dict[str, str]:
    """Whose programs run by which interpreter. Who is not needed is not installed; who cannot be had is missing."""
    wanted = [one for one in ENVIRONMENTS if needed.intersection(one.who)]
    with ThreadPoolExecutor(len(ENVIRONMENTS)) as pool:
        ready = list(pool.map(_made, wanted))
    found = {who: str(one.python) for one, there in zip(wanted, ready, strict=True) if there for who in one.who}
    return {**found, OURS: sys.executable, FLOOR: sys.executable}


def _made(one: Environment) -> bool:
    """Whether the environment is there now."""
    stamp, wanted = ROOT / one.folder / "installed", "\n".join((*one.packages, one.compiled))
    if stamp.exists() and stamp.read_text() == wanted:
        return True
    print(f"installing {', '.join(one.who)} into {one.folder} …", file=sys.stderr)
    plain = {**os.environ, **NO_PRICES}
    plain.pop("PYTHONDONTWRITEBYTECODE", None)
    pip = [sys.executable, "-m", "pip", "--python", str(one.python), "install", "--quiet", "--no-compile"]
    for command in (
        [sys.executable, "-m", "venv", "--clear", "--without-pip", str(ROOT / one.folder)],
        [*pip, *one.packages],
        [str(one.python), "-c", one.compiled],
    ):
        done = subprocess.run(command, env=plain, capture_output=True, text=True)
        if done.returncode:
            print(f"no {', '.join(one.who)}: {done.stderr[-300:]}", file=sys.stderr)
            return False
    stamp.write_text(wanted)
    return True

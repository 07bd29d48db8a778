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

from .cases import FAL_CLIENT, FLOOR, G4F, HFMEDIA, HUGGINGFACE_HUB, LITELLM

ROOT = Path(__file__).parent.parent
REMOVED_VARIABLES = (
    "_proxy",
    "pythondontwritebytecode",
)  # the second would have every process compile its modules anew
LITELLM_OFFLINE = {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}  # or LiteLLM asks the internet for them at each start


@dataclass(frozen=True)
class Environment:
    """Where it lies, who lives there, what is installed, and the imports that are compiled before anything runs."""

    folder: str
    clients: tuple[str, ...]
    packages: tuple[str, ...]
    precompile: str

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return ROOT / self.folder / "bin" / "python"


ENVIRONMENTS = (
    Environment(
        ".venv-bench",
        (HUGGINGFACE_HUB, G4F, FAL_CLIENT),
        ("huggingface_hub>=2.4,<3", "g4f", "fal-client", "aiohttp", "pillow"),
        "import aiohttp, fal_client; from huggingface_hub import AsyncInferenceClient, HfApi; "
        "from g4f.Provider import HuggingFaceMedia",
    ),
    Environment(".venv-bench-litellm", (LITELLM,), ("litellm[proxy]",), "import litellm.proxy.proxy_server"),
)


def clean_environ() -> dict[str, str]:
    """This process's environment without what would slow the others down or lead them astray."""
    variables = {name: value for name, value in os.environ.items() if not name.lower().endswith(REMOVED_VARIABLES)}
    return {**variables, **LITELLM_OFFLINE}


def find_interpreters(clients: set[str]) -> dict[str, str]:
    """Whose programs run by which interpreter. Who is not needed is not installed; who cannot be had is missing."""
    environments = [environment for environment in ENVIRONMENTS if clients.intersection(environment.clients)]
    with ThreadPoolExecutor(len(ENVIRONMENTS)) as pool:
        are_ready = list(pool.map(_ensure_environment, environments))
    pythons = {
        client: str(environment.python)
        for environment, is_ready in zip(environments, are_ready, strict=True)
        if is_ready
        for client in environment.clients
    }
    return {**pythons, HFMEDIA: sys.executable, FLOOR: sys.executable}


def _ensure_environment(environment: Environment) -> bool:
    """Whether the environment is there now."""
    stamp, expected = (
        ROOT / environment.folder / "installed",
        "\n".join((*environment.packages, environment.precompile)),
    )
    if stamp.exists() and stamp.read_text() == expected:
        return True
    print(f"installing {', '.join(environment.clients)} into {environment.folder} …", file=sys.stderr)
    environ = {**os.environ, **LITELLM_OFFLINE}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    pip = [sys.executable, "-m", "pip", "--python", str(environment.python), "install", "--quiet", "--no-compile"]
    for command in (
        [sys.executable, "-m", "venv", "--clear", "--without-pip", str(ROOT / environment.folder)],
        [*pip, *environment.packages],
        [str(environment.python), "-c", environment.precompile],
    ):
        result = subprocess.run(command, env=environ, capture_output=True, text=True)
        if result.returncode:
            print(f"no {', '.join(environment.clients)}: {result.stderr[-300:]}", file=sys.stderr)
            return False
    stamp.write_text(expected)
    return True

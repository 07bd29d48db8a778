"""Virtual environments of the compared clients, created next to the project's on first use, with pip's settings.

LiteLLM has its own, since it requires older versions of packages that the other clients use.
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
# proxies do not apply to loopback; the second would make every process recompile its modules
REMOVED_VARIABLES = ("_proxy", "pythondontwritebytecode")
LITELLM_OFFLINE = {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}  # otherwise LiteLLM downloads it at every start


@dataclass(frozen=True)
class Environment:
    """A virtual environment: folder, clients, packages, and imports to precompile."""

    folder: str
    clients: tuple[str, ...]
    packages: tuple[str, ...]
    precompile: str

    @property
    def python(self) -> Path:
        """Interpreter of the environment."""
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
    """Return this process's variables without those that would distort the measurement."""
    variables = {name: value for name, value in os.environ.items() if not name.lower().endswith(REMOVED_VARIABLES)}
    return {**variables, **LITELLM_OFFLINE}


def find_interpreters(clients: set[str]) -> dict[str, str]:
    """Return the interpreter per client, installing what is needed. Clients that fail to install are omitted."""
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
    """Create the environment unless it exists. Returns False when that fails."""
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
            print(f"cannot install {', '.join(environment.clients)}: {result.stderr[-300:]}", file=sys.stderr)
            return False
    stamp.write_text(expected)
    return True

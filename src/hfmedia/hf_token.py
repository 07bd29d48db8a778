"""Discovery of the Hugging Face token, in the order of huggingface_hub, and validation of tokens and keys.

No error or representation shows a secret.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from msgspec import Struct

from .core.credentials import Secret, redact
from .core.errors import AuthenticationError, MissingAuthError

MAX_TOKEN_CHARS = 4096  # characters; signed tokens have about 1,500, and servers limit headers to 8 KiB
EXPLICIT_SOURCE = "the token given"  # Token.source of a token that the caller passed
TRUE_VALUES = frozenset({"1", "ON", "YES", "TRUE"})  # as huggingface_hub reads its flags
_VARIABLE_PATTERN = re.compile(r"\$(?:(\w+)|\{([^}]*)\})")


class Token(Struct, frozen=True):
    """A token and its source: ``HF_TOKEN``, ``the file …``, ``the token given``.

    ``is_provider_key``: the caller passed it and it is not a Hugging Face token, so it is the key of the provider that
    the request chooses.
    """

    secret: Secret
    source: str
    is_provider_key: bool = False


def find_token(environ: Mapping[str, str], explicit: str | None) -> tuple[Token | None, str | None]:
    """Return the token, and the reason why an existing one is not used; either may be None.

    ``explicit`` is the caller's; without it, the places are searched in the order of huggingface_hub.
    """
    text = validate_secret(explicit, "the token")
    if text:
        return Token(Secret(text), EXPLICIT_SOURCE, is_provider_key=not text.startswith("hf_")), None
    may_use_implicit = environ.get("HF_HUB_DISABLE_IMPLICIT_TOKEN", "").upper() not in TRUE_VALUES
    if may_use_implicit and environ.get("HF_OIDC_RESOURCE"):
        return _oidc_token(), None
    for name, text in _token_candidates(environ):
        secret = validate_secret(text, f"the token in {name}")
        if secret and may_use_implicit:
            return Token(Secret(secret), name), None
        if secret:
            return None, f"the token in {name} is not used, because HF_HUB_DISABLE_IMPLICIT_TOKEN is set"
    return None, None


def _token_candidates(environ: Mapping[str, str]) -> Iterable[tuple[str, str | None]]:
    """Yield each place that may contain a token, with its content; a place is read only when it is reached."""
    if environ.get("HF_TOKEN"):
        yield "HF_TOKEN", environ["HF_TOKEN"]
    else:
        yield "HUGGING_FACE_HUB_TOKEN", environ.get("HUGGING_FACE_HUB_TOKEN")
    path = _token_path(environ)
    yield f"the file {path}", _read_token_file(path)
    yield "the Colab secret HF_TOKEN", _colab_secret(environ)


def _token_path(environ: Mapping[str, str]) -> Path:
    """Return the path at which ``hf auth login`` stores the token."""
    if environ.get("HF_TOKEN_PATH"):
        return Path(expand_path(environ["HF_TOKEN_PATH"], environ))
    cache_home = environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(expand_path(environ.get("HF_HOME") or f"{cache_home}/huggingface", environ)) / "token"


def _read_token_file(path: Path) -> str | None:
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(4 * MAX_TOKEN_CHARS)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise AuthenticationError(f"the token file {path} cannot be read: {reason}") from error
    except UnicodeDecodeError:
        raise AuthenticationError(f"the token file {path} is not text; replace it with `hf auth login`") from None


def _colab_secret(environ: Mapping[str, str]) -> str | None:
    """Return the notebook's own secret, only inside a Colab notebook that is not Colab Enterprise."""
    if "google.colab" not in sys.modules or environ.get("VERTEX_PRODUCT") == "COLAB_ENTERPRISE":
        return None
    userdata = import_module("google.colab.userdata")
    colab_error = import_module("google.colab.errors").Error
    try:
        text = userdata.get("HF_TOKEN")
    except (userdata.SecretNotFoundError, userdata.NotebookAccessError, colab_error):  # none there, or no access
        return None
    return text if isinstance(text, str) else None


def _oidc_token() -> Token:
    """Return the short-lived token of a trusted publisher, which huggingface_hub obtains."""
    try:
        text = import_module("huggingface_hub").get_token()
    except ImportError as error:
        raise MissingAuthError(
            "HF_OIDC_RESOURCE is set, which requires huggingface_hub: run `pip install huggingface_hub`, "
            "or set HF_TOKEN and unset HF_OIDC_RESOURCE"
        ) from error
    except Exception as error:  # its HTTP client raises various types; the message is the same
        raise MissingAuthError(
            f"HF_OIDC_RESOURCE is set, but the token exchange failed: {redact(str(error))[:300]}"
        ) from None
    secret = validate_secret(text, "the token for HF_OIDC_RESOURCE")
    if secret is None:
        raise MissingAuthError("HF_OIDC_RESOURCE is set, but the token exchange returned no token")
    return Token(Secret(secret), "HF_OIDC_RESOURCE")


def validate_secret(text: Any, label: str) -> str | None:
    """Return a token or key without surrounding white space, None when it is empty.

    Raises AuthenticationError when it is malformed; ``label`` names it in the error.
    """
    if text is None:
        return None
    if not isinstance(text, str):
        raise AuthenticationError(f"{label} is {type(text).__name__}, but must be text")
    stripped = text.strip()
    defect = next((description for pattern, description in _TOKEN_DEFECTS if pattern.search(stripped)), None)
    if defect is None and len(stripped) > MAX_TOKEN_CHARS:
        defect = f"has more than {MAX_TOKEN_CHARS} characters"
    if defect:
        raise AuthenticationError(
            f"{label} {defect}, so it is not valid; copy it again, completely and without anything else"
        )
    return stripped or None


_TOKEN_DEFECTS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"[\r\n]"), "contains a line break"),
    (re.compile(r"\s"), "contains white space"),
    (re.compile(r"[\x00-\x1f\x7f]"), "contains a control character"),
    (re.compile(r"[^\x00-\x7f]"), "contains a non-ASCII character"),
    (re.compile(r"^[\"'].*|.*[\"']$"), "is enclosed in quotation marks"),
)


def expand_path(text: str, environ: Mapping[str, str]) -> str:
    """Expand ``~`` and ``$NAME`` from this environment; unknown names stay."""
    home = environ.get("HOME") or environ.get("USERPROFILE") or str(Path.home())
    if text == "~" or text.startswith(("~/", "~\\")):
        text = home + text[1:]
    return _VARIABLE_PATTERN.sub(lambda match: environ.get(match[1] or match[2], match[0]), text)

"""The package root: the public names, pinned, and a fast import."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import hfmedia

NAMES = """
__version__
MediaClient GenerationOptions VideoGenerationOptions TargetSize Timeouts Media FileStorage Ledger MemoryLedger
Job State HubModel ProviderMapping Preview Task Cost InputImage
Event Started Submitting Accepted Queued Running Retrying FailedOver Downloading MediaReady JobFailed
HfmediaError InvalidRequestError MissingAuthError ModelNotFoundError ModelNotSupportedError ProviderError
AuthenticationError InsufficientCreditError PermissionDeniedError RequestRejectedError ContentPolicyError
ProviderBusyError ProviderServerError ProviderUnreachableError GenerationFailedError InvalidResponseError
ResultExpiredError DownloadError HubError UnsafeUrlError DeadlineExceededError InDoubtError JobCancelledError
StorageError
text_to_image text_to_video image_to_image image_to_video generate models mapping jobs resume cancel close
HuggingFaceMedia AsyncGeneratorProvider ProviderModelMixin ProviderInfo ImageResponse VideoResponse Reasoning Messages
StreamSession save_response_media
"""
PROMISED = NAMES.split()

HEAVY = ("aiohttp", "PIL", "av", "rich", "typer", "huggingface_hub", "msgspec", "puremagic", "asyncio", "typing")


def python(program: str) -> str:
    """Return the output of a new interpreter, in which every warning is an error."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_the_public_names_are_these_and_no_others() -> None:
    """Adding one is a promise, removing one breaks callers."""
    assert sorted(hfmedia.__all__) == sorted(PROMISED)


@pytest.mark.parametrize("name", PROMISED)
def test_each_public_name_is_imported_and_cached(name: str) -> None:
    """It is imported at first use and stays the same object."""
    assert getattr(hfmedia, name) is getattr(hfmedia, name)
    assert name in vars(hfmedia)
    assert name in dir(hfmedia)


def test_type_checkers_see_the_same_names() -> None:
    """The imports for type checkers equal the table, from the same modules."""
    tree = ast.parse(Path(hfmedia.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    shown = {
        (alias.asname, node.module) for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert shown == set(vars(hfmedia)["_MODULE_OF"].items())


def test_every_error_of_the_tree_is_public() -> None:
    """Every deliberate error can be caught by its public name."""
    from hfmedia.core import errors

    ours = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)}
    assert {name for name in ours if issubclass(vars(errors)[name], errors.HfmediaError)} <= set(PROMISED)


def test_every_event_is_public() -> None:
    """Every event of a generator can be distinguished by its public name."""
    from hfmedia.engine import events

    kinds = {name for name, kind in vars(events).items() if isinstance(kind, type) and issubclass(kind, events.Event)}
    assert kinds <= set(PROMISED)


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    """As everywhere in Python."""
    with pytest.raises(AttributeError, match="has no attribute 'text_to_imgae'"):
        _ = hfmedia.text_to_imgae  # type: ignore[attr-defined]


def test_star_import_brings_every_name() -> None:
    """``from hfmedia import *`` works, and brings nothing private."""
    program = "from hfmedia import *; print(*sorted(n for n in dir() if n[:2] != '__' or n == '__version__'))"
    assert python(program).split() == sorted(PROMISED)


def test_the_bare_import_is_fast() -> None:
    """``import hfmedia`` loads no heavy module, and hardly any at all."""
    program = "import sys; before = set(sys.modules); import hfmedia; print(*sorted(set(sys.modules) - before))"
    loaded = python(program).split()
    assert not [name for name in loaded if name.partition(".")[0] in HEAVY]
    assert [name for name in loaded if name.startswith("hfmedia")] == ["hfmedia", "hfmedia._version"]


def test_the_client_loads_nothing_that_only_the_command_needs() -> None:
    """Neither the command's parts nor the imaging libraries come with the client."""
    program = "import sys, hfmedia; hfmedia.MediaClient; print(*{name.partition('.')[0] for name in sys.modules})"
    assert not set(python(program).split()) & {"PIL", "av", "rich", "typer", "click", "huggingface_hub", "puremagic"}

"""Bad input, through the library's own door: each gets one clear sentence, the right class and exit code.

Nothing goes to any provider, and what can be seen without the Hub does not even ask the Hub.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct
from PIL import Image

from hfmedia.client import MediaClient
from hfmedia.core.errors import (
    AuthenticationError,
    HfmediaError,
    InvalidRequestError,
    MissingAuthError,
    ModelNotFoundError,
    ModelNotSupportedError,
    StorageError,
)
from hfmedia.engine import Timeouts
from hfmedia.sandbox import Sandbox

SCHNELL, FILM = "black-forest-labs/FLUX.1-schnell", "Wan-AI/Wan2.2-T2V-A14B"
KONTEXT, MOVING = "black-forest-labs/FLUX.1-Kontext-dev", "Wan-AI/Wan2.2-I2V-A14B"


class Bad(Struct, frozen=True):
    """One mistake: how it is made, and what must be said of it. ``hub``: the Hub has to be asked to see it."""

    error: type[HfmediaError]
    exit_code: int
    words: tuple[str, ...]
    call: dict[str, Any] = {}
    client: dict[str, Any] = {}
    environ: dict[str, str | None] = {}
    hub: bool = False
    lines: int = 1


def wrong(*words: str, hub: bool = False, client: dict[str, Any] | None = None, **call: Any) -> Bad:
    """A mistake in the request itself."""
    return Bad(InvalidRequestError, 2, words, call, client or {}, hub=hub)


def unsupported(model: str, *words: str, **call: Any) -> Bad:
    """A model, a provider and a task that do not go together."""
    return Bad(ModelNotSupportedError, 5, words, {"model": model, **call}, hub=True)


def setup(*words: str, **client: Any) -> Bad:
    """A mistake in the client's own arguments."""
    return Bad(InvalidRequestError, 2, words, client=client)


def png(width: int = 64, height: int = 64, form: str = "PNG") -> bytes:
    made = BytesIO()
    Image.effect_noise((width, height), 90).save(made, form)
    return made.getvalue()


BAD: dict[str, Bad] = {
    # the prompt
    "an empty prompt": wrong("prompt is empty", "describe what to generate", prompt=""),
    "a blank prompt": wrong("prompt is empty", prompt=" \n\t "),
    "no prompt": wrong("prompt is empty", prompt=None),
    "a prompt of 32,001 characters": wrong("32001", "32000", prompt="x" * 32_001),
    "a prompt that is no text": wrong("prompt", "must be text", prompt=17),
    "a prompt with half a character": wrong("UTF-8", prompt="fox \udcff"),
    "an endless negative prompt": wrong("negative prompt", "32000", negative_prompt="x" * 40_000),
    # the task
    "an unknown task": wrong("text-to-music", "text-to-image", "image-to-video", task="text-to-music"),
    "a text task with an image": wrong("takes no input image", "image-to-image", task="text-to-image", image=png()),
    "an image task without an image": wrong("needs an input image", task="image-to-image", model=KONTEXT),
    # the model
    "a model that is a sentence": wrong("org/name", model="the red one"),
    "a model that is an address": wrong("org/name", model="https://huggingface.co/a/b"),
    "a model that climbs": wrong("org/name", model="../../etc/passwd"),
    "a provider that is missing after the colon": wrong("after the colon", model=f"{SCHNELL}:"),
    "a model that is not on the Hub": Bad(
        ModelNotFoundError, 5, ("acme/no-such-model", "Hub"), {"model": "acme/no-such-model"}, hub=True
    ),
    "a model that nobody serves": unsupported("acme/unserved-model", "no provider"),
    "a model whose providers all sleep": unsupported(
        "acme/sleeping-model", "replicate", "staging", "together", "failing"
    ),
    "a provider that is not in the mapping": unsupported(f"{SCHNELL}:novita", "novita", "fal-ai", "wavespeed"),
    "a provider with a slip of the pen": unsupported(f"{SCHNELL}:fal-aí".replace("í", "i-"), "did you mean", "fal-ai"),
    "a provider that is not live": unsupported("black-forest-labs/FLUX.1-dev:nscale", "nscale", "staging", "fal-ai"),
    "a provider without the task": unsupported(
        f"{FILM}:replicate", "replicate", "text-to-video", "text-to-image", task="text-to-image"
    ),
    "a model without the task": unsupported(SCHNELL, "text-to-video", task="text-to-video"),
    # how many
    **{f"n={n!r}": wrong("n is", "1 to 100", n=n) for n in (0, -1, 101, 10**9)},
    "n=2.5": wrong("n is 2.5", "whole number", n=2.5),
    "n=True": wrong("whole number", n=True),
    # sizes
    **{
        f"{side}={pixels}": wrong(f"{side} is", "16 to 16384", **{side: pixels})  # type: ignore[arg-type]
        for side in ("width", "height")
        for pixels in (0, -512, 16_385, 10**50)
    },
    "a width in words": wrong("width", "whole number", width="512"),
    "a height of 512.5": wrong("height", "whole number", height=512.5),
    "a target size of zero": wrong("width is 0", target_size={"width": 0, "height": 512}),
    **{
        f"aspect ratio {ratio}": wrong("aspect ratio", "16:9", aspect_ratio=ratio)
        for ratio in ("16/9", "banana", "16:", "0:9", "16:9:4", "-16:9", "1.5")
    },
    "an aspect ratio that is a wall": wrong("aspect ratio", "8:1", aspect_ratio="100:1"),
    "an unknown resolution": wrong("resolution", "480p", "720p", resolution="potato"),
    # numbers
    "a negative seed": wrong("seed is -1", seed=-1),
    "a seed beyond 64 bits": wrong("seed", seed=2**64),
    "no steps": wrong("num_inference_steps is 0", num_inference_steps=0),
    "guidance that is no number": wrong("guidance_scale", "number", guidance_scale=float("nan")),
    "a film of no length": wrong("seconds is 0", model=FILM, seconds=0),
    "a film of a day": wrong("seconds", "3600", model=FILM, seconds=86_400),
    "a parameter that nobody knows": wrong("stepz", "extra", stepz=4),
    "extra that is no JSON": wrong("extra", "JSON", extra_body={"mask": object()}),
    # input images
    "an image that is not there": wrong("/nowhere/fox.png", "cannot be read", image="/nowhere/fox.png", model=KONTEXT),
    "an image that is a directory": wrong("cannot be read", image=Path("/"), model=KONTEXT),
    "an image that is text": wrong("not an image", image=b"this is no picture", model=KONTEXT),
    "an image that is empty": wrong("empty", image=b"", model=KONTEXT),
    "an image that is half": wrong("input image", image=png()[:40], model=KONTEXT),
    "an image by a broken URL": wrong("names no host", image="https:///fox.png", model=KONTEXT),
    "an image by a data URI that is none": wrong("base64", image="data:image/png;base64,@@@@", model=KONTEXT),
    "an image that is a number": wrong("path, a URL, bytes", image=17, model=KONTEXT),
    "an image over a provider's limit": wrong(
        "together", "at most", "its URL", image=png(512, 512), model=f"{MOVING}:together", hub=True
    ),
    "an image of a kind that a provider cannot read": wrong(
        "image/tiff", "image/png", image=png(form="TIFF"), model=f"{KONTEXT}:fal-ai", hub=True
    ),
    # time
    **{
        f"timeout={limit!r}": wrong("timeout", "0 (no limit)", timeout=limit)
        for limit in (-1, float("nan"), float("inf"), "soon", 10**9, True)
    },
    "a client's timeout of -1": setup("timeout", "0 (no limit)", timeout=-1),
    "a timeout for one step of -1": setup("timeout", timeout=Timeouts(submit=-1)),
    # the client
    **{
        f"proxy {proxy}": setup("proxy", proxy=proxy)
        for proxy in ("not a proxy", "http:/proxy", "ftp://proxy:21", "http://", "http://proxy:99999", "socks9://proxy:1080")
    },
    "concurrency of 0": setup("concurrency is 0", concurrency=0),
    "a key for a provider that nobody knows": setup("acme", "fal-ai", provider_keys={"acme": "key-1"}),
    "a router that is no address": setup("router", "URL", router="banana"),
    "an invalid organization": setup("bill_to", "organization", bill_to="a b\r\nc"),
    "an output that is no path": wrong("output is 17", "path", output=17, hub=True),
    "an output in the home of nobody": wrong("output is", "path", output="~nobody-of-that-name/fox.png", hub=True),
    # credentials
    "no token": Bad(
        MissingAuthError, 3, ("HF_TOKEN", "https://huggingface.co/settings/tokens", "--sandbox"),
        environ={"HF_TOKEN": None}, lines=3,
    ),
    "a token with a space in it": Bad(AuthenticationError, 3, ("white space", "copy it again"), client={"token": "hf_a b"}),
    "a token with a line break in it": Bad(AuthenticationError, 3, ("line break",), client={"token": "hf_a\nX-Evil: 1"}),
    "a token with quotation marks": Bad(AuthenticationError, 3, ("quotation marks",), environ={"HF_TOKEN": "'hf_abc'"}),
    "a token that is a novel": Bad(AuthenticationError, 3, ("4096",), client={"token": "hf_" + "a" * 5000}),
    "a key without its provider's name": Bad(
        MissingAuthError, 3, ("hf_", f"{SCHNELL}:"), client={"token": "some-other-key-123456"}
    ),
}  # fmt: skip


async def ask(environ: dict[str, str], bad: Bad) -> HfmediaError:
    """The error that a mistake brings."""
    world = {**environ, **{name: value for name, value in bad.environ.items() if value is not None}}
    for name in (name for name, value in bad.environ.items() if value is None):
        world.pop(name)
    call: dict[str, Any] = {"prompt": "a red fox", "model": SCHNELL, **bad.call}
    with pytest.raises(bad.error) as caught:
        async with MediaClient(environ=world, **bad.client) as client:
            media = None
            async for event in client.generate(call.pop("prompt"), **call):
                media = getattr(event, "media", media)
                if (error := getattr(event, "error", None)) is not None:
                    raise error
            assert media is None, "it was made"
    return caught.value


@pytest.mark.parametrize("name", BAD)
async def test_bad_input_gets_one_clear_sentence_and_nothing_is_sent(
    world: Sandbox, environ: dict[str, str], name: str
) -> None:
    """The class says who acts next, the words what to do; no provider hears of it."""
    bad = BAD[name]
    error = await ask(environ, bad)
    assert type(error) is bad.error
    assert error.exit_code == bad.exit_code
    for words in bad.words:
        assert words in str(error), name
    check_sentence(error, lines=bad.lines)
    check_silence(world, hub=bad.hub)


def check_sentence(error: HfmediaError, lines: int = 1) -> None:
    """Readable text, one line unless stated otherwise, without a secret and without Python internals."""
    assert len(str(error).splitlines()) == lines
    assert 10 < len(str(error)) < 700
    for unfit in ("Traceback", "<class", "object at 0x", "hf_sandbox", "hf_aaaa", "some-other-key"):
        assert unfit not in str(error)


def check_silence(world: Sandbox, *, hub: bool) -> None:
    """No provider was asked for anything; the Hub only where it had to be."""
    kinds = {seen.kind for seen in world.requests}
    assert kinds <= ({"hub"} if hub else set())
    assert not world.submissions


# -- what needs more than a table -------------------------------------------------------------------------------------


def sealed(folder: Path) -> Path:
    """A folder in which nobody can write, root included: a file stands where it should be."""
    (folder / "file").write_text("in the way")
    return folder / "file"


PLACES: dict[str, Callable[[Path], str]] = {
    "a folder below a file": lambda folder: f"{sealed(folder)}/out/",
    "a file below a file": lambda folder: f"{sealed(folder)}/fox.png",
    "a folder that only the kernel writes to": lambda folder: "/proc/hfmedia/",
    "a name that is too long": lambda folder: str(folder / ("x" * 300 + ".png")),
    "a name with a null in it": lambda folder: f"{folder}/fox\0.png",
}


@pytest.mark.parametrize("place", PLACES)
async def test_a_place_that_cannot_be_written_is_told_before_anything_is_bought(
    world: Sandbox, environ: dict[str, str], tmp_path: Path, place: str
) -> None:
    """A picture that has no place to lie is not paid for."""
    async with MediaClient(environ=environ) as client:
        with pytest.raises(StorageError, match=r"cannot be written .*nothing was sent") as caught:
            await client.text_to_image("a red fox", model=SCHNELL, output=PLACES[place](tmp_path))
        assert await client.jobs() == []
    assert caught.value.exit_code == 1
    check_sentence(caught.value)
    check_silence(world, hub=True)


@pytest.mark.parametrize("home", ["/proc/hfmedia", "{file}/home"])
async def test_a_home_that_cannot_be_written_is_told_before_anything_is_bought(
    world: Sandbox, environ: dict[str, str], tmp_path: Path, home: str
) -> None:
    """Without a ledger a paid job could be lost, so none is begun."""
    environ["HFMEDIA_HOME"] = home.format(file=sealed(tmp_path))
    with pytest.raises(StorageError, match="cannot be used") as caught:
        async with MediaClient(environ=environ, store=tmp_path / "out") as client:
            await client.text_to_image("a red fox", model=SCHNELL)
    check_sentence(caught.value)
    check_silence(world, hub=True)


async def test_a_token_that_the_hub_refuses_is_told_at_the_first_provider(
    world: Sandbox, environ: dict[str, str]
) -> None:
    """Public models can be looked up without it; the router is the one that says no, and nothing is made."""
    async with MediaClient(environ={**environ, "HF_TOKEN": "hf_notTheOneOfThisWorld"}) as client:
        with pytest.raises(AuthenticationError) as caught:
            await client.text_to_image("a red fox", model=SCHNELL)
    assert caught.value.exit_code == 3
    assert "https://huggingface.co/settings/tokens" in str(caught.value)
    assert "hf_notTheOne" not in str(caught.value)
    assert len([seen for seen in world.requests if seen.kind == "submit"]) == 1  # the same token knocks only once
    assert not world.submissions


async def test_a_providers_own_key_that_is_refused_is_told(world: Sandbox, environ: dict[str, str]) -> None:
    """The same with a key of fal.ai's own, and no other credential there."""
    alone = {name: value for name, value in environ.items() if name != "HF_TOKEN"}
    async with MediaClient(environ=alone, provider_keys={"fal-ai": "wrong-key-0123456789"}) as client:
        with pytest.raises(AuthenticationError) as caught:
            await client.text_to_image("a red fox", model=SCHNELL)
    assert "fal-ai" in str(caught.value)
    assert "wrong-key" not in str(caught.value)
    assert not world.submissions


async def test_an_input_image_that_cannot_be_fetched_is_told_before_anything_is_bought(
    world: Sandbox, environ: dict[str, str]
) -> None:
    """hf-inference takes bytes alone, so the image is fetched here; a private address is not even asked."""
    async with MediaClient(environ=environ) as client:
        for url, words in ((f"{world.url}/cdn/nothing.png", "HTTP 404"), ("http://127.0.0.1:9/fox.png", "127.0.0.1")):
            with pytest.raises(HfmediaError, match=words) as caught:
                await client.image_to_image(url, "in winter", model=f"{KONTEXT}:hf-inference")
            assert caught.value.exit_code in (2, 6)
    assert not [seen for seen in world.requests if seen.kind == "submit"]


async def test_what_only_one_provider_cannot_take_goes_to_the_next(world: Sandbox, environ: dict[str, str]) -> None:
    """A TIFF is refused where it cannot be read; the error comes only when nobody can."""
    async with MediaClient(environ=environ) as client:
        with pytest.raises(InvalidRequestError, match="image/tiff"):
            await client.image_to_image(png(form="TIFF"), "in winter", model=KONTEXT)
        assert {job.state for job in await client.jobs()} == {"failed"}
    assert not [seen for seen in world.requests if seen.kind == "submit"]


@pytest.mark.parametrize("door", ["resume", "cancel"])
async def test_a_job_that_nobody_knows_is_told(environ: dict[str, str], door: str) -> None:
    """A mistyped id is no mystery."""
    async with MediaClient(environ=environ) as client:
        with pytest.raises(InvalidRequestError, match="no job 'nonsense'"):
            await getattr(client, door)("nonsense")


async def test_models_of_an_unknown_task_are_not_looked_for(world: Sandbox, environ: dict[str, str]) -> None:
    """Listing has the same door."""
    async with MediaClient(environ=environ) as client:
        with pytest.raises(InvalidRequestError, match="text-to-image"):
            await client.models("text-to-music")
        with pytest.raises(InvalidRequestError, match="org/name"):
            await client.mapping("not a model")
    assert world.requests == []

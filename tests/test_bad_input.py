"""Invalid input to the library: each gets one clear message, the right class and exit code.

Nothing is sent to any provider, and the Hub is queried only where it is needed to detect the mistake.
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

SCHNELL, VIDEO = "black-forest-labs/FLUX.1-schnell", "Wan-AI/Wan2.2-T2V-A14B"
KONTEXT, IMAGE_TO_VIDEO = "black-forest-labs/FLUX.1-Kontext-dev", "Wan-AI/Wan2.2-I2V-A14B"


class Mistake(Struct, frozen=True):
    """One mistake, and the texts that its message must contain. ``hub``: it takes the Hub to detect it."""

    error: type[HfmediaError]
    exit_code: int
    texts: tuple[str, ...]
    call: dict[str, Any] = {}
    client: dict[str, Any] = {}
    environ: dict[str, str | None] = {}
    hub: bool = False
    lines: int = 1


def invalid(*texts: str, hub: bool = False, client: dict[str, Any] | None = None, **call: Any) -> Mistake:
    """A mistake in the request itself."""
    return Mistake(InvalidRequestError, 2, texts, call, client or {}, hub=hub)


def unsupported(model: str, *texts: str, **call: Any) -> Mistake:
    """A model, a provider and a task that do not fit together."""
    return Mistake(ModelNotSupportedError, 5, texts, {"model": model, **call}, hub=True)


def invalid_client(*texts: str, **client: Any) -> Mistake:
    """A mistake in the client's own arguments."""
    return Mistake(InvalidRequestError, 2, texts, client=client)


def png(width: int = 64, height: int = 64, form: str = "PNG") -> bytes:
    buffer = BytesIO()
    Image.effect_noise((width, height), 90).save(buffer, form)
    return buffer.getvalue()


MISTAKES: dict[str, Mistake] = {
    # the prompt
    "an empty prompt": invalid("prompt is empty", "describe what to generate", prompt=""),
    "a blank prompt": invalid("prompt is empty", prompt=" \n\t "),
    "no prompt": invalid("prompt is empty", prompt=None),
    "a prompt of 32,001 characters": invalid("32001", "32000", prompt="x" * 32_001),
    "a prompt that is not text": invalid("prompt", "must be text", prompt=17),
    "a prompt that is not UTF-8": invalid("UTF-8", prompt="fox \udcff"),
    "an endless negative prompt": invalid("negative prompt", "32000", negative_prompt="x" * 40_000),
    # the task
    "an unknown task": invalid("text-to-music", "text-to-image", "image-to-video", task="text-to-music"),
    "a text task with an image": invalid("takes no input image", "image-to-image", task="text-to-image", image=png()),
    "an image task without an image": invalid("needs an input image", task="image-to-image", model=KONTEXT),
    # the model
    "a model that is a sentence": invalid("org/name", model="the red one"),
    "a model that is a URL": invalid("org/name", model="https://huggingface.co/a/b"),
    "a model with parent folders": invalid("org/name", model="../../etc/passwd"),
    "a provider that is missing after the colon": invalid("after the colon", model=f"{SCHNELL}:"),
    "a model that is not on the Hub": Mistake(
        ModelNotFoundError, 5, ("acme/no-such-model", "Hub"), {"model": "acme/no-such-model"}, hub=True
    ),
    "a model without providers": unsupported("acme/unserved-model", "no provider"),
    "a model without live providers": unsupported(
        "acme/sleeping-model", "replicate", "staging", "together", "failing"
    ),
    "a provider that is not in the mapping": unsupported(f"{SCHNELL}:novita", "novita", "fal-ai", "wavespeed"),
    "a provider with a typo": unsupported(f"{SCHNELL}:fal-aí".replace("í", "i-"), "did you mean", "fal-ai"),
    "a provider that is not live": unsupported("black-forest-labs/FLUX.1-dev:nscale", "nscale", "staging", "fal-ai"),
    "a provider without the task": unsupported(
        f"{VIDEO}:replicate", "replicate", "text-to-video", "text-to-image", task="text-to-image"
    ),
    "a model without the task": unsupported(SCHNELL, "text-to-video", task="text-to-video"),
    # how many
    **{f"n={n!r}": invalid("n is", "1 to 100", n=n) for n in (0, -1, 101, 10**9)},
    "n=2.5": invalid("n is 2.5", "whole number", n=2.5),
    "n=True": invalid("whole number", n=True),
    # sizes
    **{
        f"{side}={pixels}": invalid(f"{side} is", "16 to 16384", **{side: pixels})  # type: ignore[arg-type]
        for side in ("width", "height")
        for pixels in (0, -512, 16_385, 10**50)
    },
    "a width as text": invalid("width", "whole number", width="512"),
    "a height of 512.5": invalid("height", "whole number", height=512.5),
    "a target size of zero": invalid("width is 0", target_size={"width": 0, "height": 512}),
    **{
        f"aspect ratio {ratio}": invalid("aspect ratio", "16:9", aspect_ratio=ratio)
        for ratio in ("16/9", "banana", "16:", "0:9", "16:9:4", "-16:9", "1.5")
    },
    "an extreme aspect ratio": invalid("aspect ratio", "8:1", aspect_ratio="100:1"),
    "an unknown resolution": invalid("resolution", "480p", "720p", resolution="potato"),
    # numbers
    "a negative seed": invalid("seed is -1", seed=-1),
    "a seed beyond 64 bits": invalid("seed", seed=2**64),
    "no steps": invalid("num_inference_steps is 0", num_inference_steps=0),
    "guidance that is not a number": invalid("guidance_scale", "number", guidance_scale=float("nan")),
    "a video without length": invalid("seconds is 0", model=VIDEO, seconds=0),
    "a video of a day": invalid("seconds", "3600", model=VIDEO, seconds=86_400),
    "an unknown parameter": invalid("stepz", "extra", stepz=4),
    "extra_body that is not JSON": invalid("extra", "JSON", extra_body={"mask": object()}),
    # input images
    "an image that does not exist": invalid("/none/fox.png", "cannot be read", image="/none/fox.png", model=KONTEXT),
    "an image that is a directory": invalid("cannot be read", image=Path("/"), model=KONTEXT),
    "an image that is text": invalid("not a readable image", image=b"this is not an image", model=KONTEXT),
    "an image that is empty": invalid("empty", image=b"", model=KONTEXT),
    "a truncated image": invalid("input image", image=png()[:40], model=KONTEXT),
    "an image by a broken URL": invalid("names no host", image="https:///fox.png", model=KONTEXT),
    "an image by an invalid data URI": invalid("base64", image="data:image/png;base64,@@@@", model=KONTEXT),
    "an image that is a number": invalid("path, a URL, bytes", image=17, model=KONTEXT),
    "an image over a provider's limit": invalid(
        "together", "at most", "its URL", image=png(512, 512), model=f"{IMAGE_TO_VIDEO}:together", hub=True
    ),
    "an image of a type that a provider does not accept": invalid(
        "image/tiff", "image/png", image=png(form="TIFF"), model=f"{KONTEXT}:fal-ai", hub=True
    ),
    # time
    **{
        f"timeout={limit!r}": invalid("timeout", "0 (no limit)", timeout=limit)
        for limit in (-1, float("nan"), float("inf"), "soon", 10**9, True)
    },
    "a client's timeout of -1": invalid_client("timeout", "0 (no limit)", timeout=-1),
    "a timeout for one step of -1": invalid_client("timeout", timeout=Timeouts(submit=-1)),
    # the client
    **{
        f"proxy {proxy}": invalid_client("proxy", proxy=proxy)
        for proxy in ("not a proxy", "http:/proxy", "ftp://proxy:21", "http://", "http://proxy:99999", "socks9://proxy:1080")
    },
    "concurrency of 0": invalid_client("concurrency is 0", concurrency=0),
    "a key for an unknown provider": invalid_client("acme", "fal-ai", provider_keys={"acme": "key-1"}),
    "a router that is not a URL": invalid_client("router", "URL", router="banana"),
    "an invalid organization": invalid_client("bill_to", "organization", bill_to="a b\r\nc"),
    "an output that is not a path": invalid("output is 17", "path", output=17, hub=True),
    "an output in an unknown home": invalid("output is", "path", output="~unknown-user-name/fox.png", hub=True),
    # credentials
    "no token": Mistake(
        MissingAuthError, 3, ("HF_TOKEN", "https://huggingface.co/settings/tokens", "--sandbox"),
        environ={"HF_TOKEN": None}, lines=3,
    ),
    "a token with a space in it": Mistake(
        AuthenticationError, 3, ("white space", "copy it again"), client={"token": "hf_a b"}
    ),
    "a token with a line break": Mistake(AuthenticationError, 3, ("line break",), client={"token": "hf_a\nX-Evil: 1"}),
    "a quoted token": Mistake(AuthenticationError, 3, ("quotation marks",), environ={"HF_TOKEN": "'hf_abc'"}),
    "a token that is too long": Mistake(AuthenticationError, 3, ("4096",), client={"token": "hf_" + "a" * 5000}),
    "a key without its provider": Mistake(
        MissingAuthError, 3, ("hf_", f"{SCHNELL}:"), client={"token": "some-other-key-123456"}
    ),
}  # fmt: skip


async def provoke(environ: dict[str, str], mistake: Mistake) -> HfmediaError:
    """Return the error that a mistake causes."""
    merged_environ = {**environ, **{name: value for name, value in mistake.environ.items() if value is not None}}
    for name in (name for name, value in mistake.environ.items() if value is None):
        merged_environ.pop(name)
    call: dict[str, Any] = {"prompt": "a red fox", "model": SCHNELL, **mistake.call}
    with pytest.raises(mistake.error) as caught:
        async with MediaClient(environ=merged_environ, **mistake.client) as client:
            media = None
            async for event in client.generate(call.pop("prompt"), **call):
                media = getattr(event, "media", media)
                if (error := getattr(event, "error", None)) is not None:
                    raise error
            assert media is None, "no error was raised"
    return caught.value


@pytest.mark.parametrize("name", MISTAKES)
async def test_invalid_input_gets_a_clear_message_and_nothing_is_sent(
    world: Sandbox, environ: dict[str, str], name: str
) -> None:
    """The class says what failed, the message what to do; no provider receives a request."""
    mistake = MISTAKES[name]
    error = await provoke(environ, mistake)
    assert type(error) is mistake.error
    assert error.exit_code == mistake.exit_code
    for text in mistake.texts:
        assert text in str(error), name
    check_sentence(error, lines=mistake.lines)
    check_no_requests(world, hub=mistake.hub)


def check_sentence(error: HfmediaError, lines: int = 1) -> None:
    """Readable text, one line unless stated otherwise, without a secret and without Python internals."""
    assert len(str(error).splitlines()) == lines
    assert 10 < len(str(error)) < 700
    for unwanted in ("Traceback", "<class", "object at 0x", "hf_sandbox", "hf_aaaa", "some-other-key"):
        assert unwanted not in str(error)


def check_no_requests(world: Sandbox, *, hub: bool) -> None:
    """No provider received a request; the Hub only where necessary."""
    kinds = {request.kind for request in world.requests}
    assert kinds <= ({"hub"} if hub else set())
    assert not world.submissions


# -- cases that do not fit into the table ------------------------------------------------------------------------------


def unwritable(folder: Path) -> Path:
    """Return a path below which not even root can write, since it is a file."""
    (folder / "file").write_text("not a folder")
    return folder / "file"


UNWRITABLE_OUTPUTS: dict[str, Callable[[Path], str]] = {
    "a folder below a file": lambda folder: f"{unwritable(folder)}/out/",
    "a file below a file": lambda folder: f"{unwritable(folder)}/fox.png",
    "a folder that only the kernel writes to": lambda folder: "/proc/hfmedia/",
    "a name that is too long": lambda folder: str(folder / ("x" * 300 + ".png")),
    "a name with a null in it": lambda folder: f"{folder}/fox\0.png",
}


@pytest.mark.parametrize("output", UNWRITABLE_OUTPUTS)
async def test_an_unwritable_output_is_reported_before_anything_is_sent(
    world: Sandbox, environ: dict[str, str], tmp_path: Path, output: str
) -> None:
    """An image that cannot be stored is not paid for."""
    async with MediaClient(environ=environ) as client:
        with pytest.raises(StorageError, match=r"cannot be written .*nothing was sent") as caught:
            await client.text_to_image("a red fox", model=SCHNELL, output=UNWRITABLE_OUTPUTS[output](tmp_path))
        assert await client.jobs() == []
    assert caught.value.exit_code == 1
    check_sentence(caught.value)
    check_no_requests(world, hub=True)


@pytest.mark.parametrize("home", ["/proc/hfmedia", "{file}/home"])
async def test_an_unwritable_home_is_reported_before_anything_is_sent(
    world: Sandbox, environ: dict[str, str], tmp_path: Path, home: str
) -> None:
    """Without a ledger a paid job could be lost, so none is started."""
    environ["HFMEDIA_HOME"] = home.format(file=unwritable(tmp_path))
    with pytest.raises(StorageError, match="cannot be used") as caught:
        async with MediaClient(environ=environ, store=tmp_path / "out") as client:
            await client.text_to_image("a red fox", model=SCHNELL)
    check_sentence(caught.value)
    check_no_requests(world, hub=True)


async def test_a_token_that_the_hub_rejects_is_reported_by_the_router(world: Sandbox, environ: dict[str, str]) -> None:
    """Public models can be looked up without it; the router rejects it, and nothing is generated."""
    async with MediaClient(environ={**environ, "HF_TOKEN": "hf_notTheRightTokenHere"}) as client:
        with pytest.raises(AuthenticationError) as caught:
            await client.text_to_image("a red fox", model=SCHNELL)
    assert caught.value.exit_code == 3
    assert "https://huggingface.co/settings/tokens" in str(caught.value)
    assert "hf_notTheRight" not in str(caught.value)
    assert len([request for request in world.requests if request.kind == "submit"]) == 1  # not once per provider
    assert not world.submissions


async def test_a_rejected_provider_key_is_reported(world: Sandbox, environ: dict[str, str]) -> None:
    """The same with fal.ai's own key and no other credential."""
    without_token = {name: value for name, value in environ.items() if name != "HF_TOKEN"}
    async with MediaClient(environ=without_token, provider_keys={"fal-ai": "wrong-key-0123456789"}) as client:
        with pytest.raises(AuthenticationError) as caught:
            await client.text_to_image("a red fox", model=SCHNELL)
    assert "fal-ai" in str(caught.value)
    assert "wrong-key" not in str(caught.value)
    assert not world.submissions


async def test_an_unavailable_input_image_is_reported_before_anything_is_sent(
    world: Sandbox, environ: dict[str, str]
) -> None:
    """hf-inference takes only bytes, so hfmedia fetches the image; a private address is never contacted."""
    async with MediaClient(environ=environ) as client:
        for url, message in ((f"{world.url}/cdn/nothing.png", "HTTP 404"), ("http://127.0.0.1:9/fox.png", "127.0.0.1")):
            with pytest.raises(HfmediaError, match=message) as caught:
                await client.image_to_image(url, "in winter", model=f"{KONTEXT}:hf-inference")
            assert caught.value.exit_code in (2, 6)
    assert not [request for request in world.requests if request.kind == "submit"]


async def test_an_image_that_one_provider_rejects_goes_to_the_next(world: Sandbox, environ: dict[str, str]) -> None:
    """A TIFF is rejected by each provider that does not accept it; the error is raised after the last one."""
    async with MediaClient(environ=environ) as client:
        with pytest.raises(InvalidRequestError, match="image/tiff"):
            await client.image_to_image(png(form="TIFF"), "in winter", model=KONTEXT)
        assert {job.state for job in await client.jobs()} == {"failed"}
    assert not [request for request in world.requests if request.kind == "submit"]


@pytest.mark.parametrize("method", ["resume", "cancel"])
async def test_an_unknown_job_is_reported(environ: dict[str, str], method: str) -> None:
    """As for a mistyped id."""
    async with MediaClient(environ=environ) as client:
        with pytest.raises(InvalidRequestError, match="no job 'nonsense'"):
            await getattr(client, method)("nonsense")


async def test_models_of_an_unknown_task_are_an_error(world: Sandbox, environ: dict[str, str]) -> None:
    """Listing validates its arguments too."""
    async with MediaClient(environ=environ) as client:
        with pytest.raises(InvalidRequestError, match="text-to-image"):
            await client.models("text-to-music")
        with pytest.raises(InvalidRequestError, match="org/name"):
            await client.mapping("not a model")
    assert world.requests == []

"""The client that people use, ``openai`` for Python, held against the gateway: images, streams, errors and retries."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import openai
import pytest
from PIL import Image

from hfmedia.server.db.api_keys import ApiKey, KeyLimits, generate_api_key
from tests.support.gateway import RunningGateway
from tests.support.models import FLUX, KONTEXT

TOGETHER, REPLICATE = f"{FLUX}:together", f"{FLUX}:replicate"


@pytest.fixture
def client(gateway: RunningGateway) -> Iterator[openai.OpenAI]:
    """The stock client, with its own retries."""
    with openai.OpenAI(base_url=gateway.api, api_key="not needed on this machine") as made:
        yield made


@pytest.fixture
async def aclient(gateway: RunningGateway) -> AsyncIterator[openai.AsyncOpenAI]:
    """The same, asynchronous."""
    async with openai.AsyncOpenAI(base_url=gateway.api, api_key="not needed on this machine") as made:
        yield made


def is_picture(text: str | None) -> bool:
    """Whether this is base64 of an image that opens."""
    Image.open(BytesIO(base64.b64decode(text or ""))).load()
    return True


def test_it_generates(client: openai.OpenAI) -> None:
    """Extra fields go in by ``extra_body`` and come out as attributes."""
    result = client.images.generate(
        model=TOGETHER, prompt="a fox", size="512x512", extra_body={"seed": 7, "negative_prompt": "dogs"}
    )
    (one,) = result.data or []
    assert is_picture(one.b64_json)
    assert one.url
    extra: Any = one
    assert (extra.seed, extra.provider) == (7, "together")


async def test_it_generates_asynchronously(aclient: openai.AsyncOpenAI) -> None:
    """Three at once."""
    async with aclient:
        result = await asyncio.gather(*(aclient.images.generate(model=TOGETHER, prompt=f"fox {n}") for n in range(3)))
    assert all(one.data and is_picture(one.data[0].b64_json) for one in result)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A picture to edit."""
    path = tmp_path / "fox.png"
    Image.new("RGB", (96, 64), "orange").save(path)
    return path


@pytest.mark.parametrize("way", ["file", "bytes", "list"])
def test_it_edits(client: openai.OpenAI, picture: Path, way: str) -> None:
    """In each of the ways that it sends files."""
    with picture.open("rb") as file:
        given: Any = {"file": file, "bytes": picture.read_bytes(), "list": [picture.read_bytes(), picture.read_bytes()]}
        result = client.images.edit(model=KONTEXT, prompt="autumn", image=given[way], input_fidelity="high")
    assert result.data
    assert is_picture(result.data[0].b64_json)


def test_it_streams(client: openai.OpenAI) -> None:
    """Two images are two completed events."""
    stream = client.images.generate(model=TOGETHER, prompt="a fox", n=2, stream=True, partial_images=1)
    result = list(stream)
    assert [event.type for event in result] == ["image_generation.completed"] * 2
    assert all(is_picture(event.b64_json) for event in result)


def test_it_streams_an_edit(client: openai.OpenAI, picture: Path) -> None:
    """Under the name that edits have."""
    stream = client.images.edit(model=KONTEXT, prompt="autumn", image=picture.read_bytes(), stream=True)
    assert [event.type for event in stream] == ["image_edit.completed"]


def test_a_failure_in_a_stream_is_raised(client: openai.OpenAI, gateway: RunningGateway) -> None:
    """With what it was."""
    gateway.fault("replicate", "fail", times=5)
    with pytest.raises(openai.APIError) as caught:
        list(client.images.generate(model=REPLICATE, prompt="a fox", stream=True))
    assert caught.value.code == "provider_failed"
    assert gateway.submissions == 1


RAISED: list[tuple[str, dict[str, Any], type[openai.APIStatusError], int]] = [
    # fault at together, fields, what is raised, submissions that were refused or made
    ("", {"model": "nobody/nothing"}, openai.NotFoundError, 0),
    ("", {"prompt": ""}, openai.BadRequestError, 0),
    ("moderated", {}, openai.BadRequestError, 1),
    ("forbidden", {}, openai.PermissionDeniedError, 1),
    ("credit", {}, openai.APIStatusError, 1),
    ("unauthorized", {}, openai.InternalServerError, 1),
    ("disconnect", {}, openai.InternalServerError, 1),
    ("html", {}, openai.InternalServerError, 1),
]


@pytest.mark.parametrize(("fault", "fields", "kind", "most"), RAISED)
def test_errors_are_of_the_class_that_its_users_catch(
    client: openai.OpenAI,
    gateway: RunningGateway,
    fault: str,
    fields: dict[str, Any],
    kind: type[openai.APIStatusError],
    most: int,
) -> None:
    """And what may have been bought is not sent again by its own retries."""
    if fault:
        gateway.fault("together", fault, times=20)
    with pytest.raises(kind) as caught:
        client.images.generate(**{"model": TOGETHER, "prompt": "a fox", **fields})
    assert caught.value.request_id
    assert caught.value.body
    asked = gateway.sandbox_thread.run(lambda: sum(seen.kind == "submit" for seen in gateway.sandbox.requests))
    assert asked <= most


def test_no_credit_is_402(client: openai.OpenAI, gateway: RunningGateway) -> None:
    """Which it never sends again by itself."""
    gateway.fault("together", "credit", times=20)
    with pytest.raises(openai.APIStatusError) as caught:
        client.images.generate(model=TOGETHER, prompt="a fox")
    assert (caught.value.status_code, caught.value.code) == (402, "insufficient_quota")
    assert gateway.sandbox_thread.run(lambda: sum(seen.kind == "submit" for seen in gateway.sandbox.requests)) == 1


def test_a_key_that_is_none_and_a_key_at_its_limit(client: openai.OpenAI, gateway: RunningGateway) -> None:
    """The first is 401; the second 429 with the time when it resets, and is not tried again by itself."""
    key_id, text, digest = generate_api_key()
    key = ApiKey(id=key_id, name="one a day", created_at=time.time(), limits=KeyLimits(images_per_day=1))
    gateway.gateway.database.add_key(key, digest)
    with pytest.raises(openai.AuthenticationError) as refused:
        client.images.generate(model=TOGETHER, prompt="a fox")
    assert refused.value.code == "invalid_api_key"
    keyed = client.with_options(api_key=text)
    assert keyed.images.generate(model=TOGETHER, prompt="a fox").data
    with pytest.raises(openai.RateLimitError) as limited:
        keyed.images.generate(model=TOGETHER, prompt="another fox")
    assert limited.value.response.headers["x-should-retry"] == "false"
    assert gateway.submissions == 1


BOUGHT = [  # faults after which the provider may have sold: where, what, in which answer
    ("together", "disconnect"),
    ("together", "html"),
    ("replicate", "fail"),
]


@pytest.mark.parametrize(("provider", "fault"), BOUGHT)
def test_its_own_retries_never_buy_twice(
    client: openai.OpenAI, gateway: RunningGateway, provider: str, fault: str
) -> None:
    """Though each of these is a 5xx, which it would send three times."""
    gateway.fault(provider, fault, times=20)
    with pytest.raises(openai.InternalServerError) as caught:
        client.images.generate(model=f"{FLUX}:{provider}", prompt="a fox")
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert gateway.submissions <= 1
    assert gateway.sandbox_thread.run(lambda: sum(seen.kind == "submit" for seen in gateway.sandbox.requests)) == 1


def test_its_own_retries_bring_what_was_only_busy(client: openai.OpenAI, gateway: RunningGateway) -> None:
    """Nothing was bought, so it may try again by itself, and then it comes."""
    gateway.fault("together", "rate-limit", times=4, retry_after=1)
    result = client.images.generate(model=TOGETHER, prompt="a fox")
    assert result.data
    assert gateway.submissions == 1


def test_an_impatient_client_pays_once(gateway: RunningGateway) -> None:
    """It gives up and tries again by itself; with an idempotency key all its tries are one job."""
    gateway.fault("replicate", "cold", seconds=90)
    with openai.OpenAI(base_url=gateway.api, api_key="x", timeout=0.7, max_retries=8) as client:
        result = client.images.generate(model=REPLICATE, prompt="a fox", extra_headers={"Idempotency-Key": "mine"})
    assert result.data
    assert gateway.submissions == 1


def test_headers_are_there_for_clients_that_read_them(client: openai.OpenAI) -> None:
    """The request's id, and that what was bought is not to be bought again, beside the parsed answer."""
    raw = client.images.with_raw_response.generate(model=TOGETHER, prompt="a fox")
    assert raw.headers["x-should-retry"] == "false"
    result = raw.parse()
    assert result.data
    assert result._request_id == raw.headers["x-request-id"]


def test_it_lists_and_finds_models(client: openai.OpenAI) -> None:
    """By an id with a slash in it, which it quotes."""
    listed = client.models.list()
    assert FLUX in [model.id for model in listed.data]
    assert client.models.retrieve(FLUX).id == FLUX
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nobody/nothing")

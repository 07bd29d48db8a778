"""The catalog against a Hub on loopback: what it finds, what it asks, and what it says when it finds nothing."""

from __future__ import annotations

import asyncio
import threading

import pytest

from hfmedia.core.errors import AuthenticationError, HubError, MissingAuthError, ModelNotFoundError
from hfmedia.core.hub_models import HubModel, parse_models

from ..support.fake_hub import FakeHub, ScriptedResponse, mapping_entry
from .conftest import TOKEN, Open


async def test_all_pages_are_read_and_only_live_models_listed(opened: Open, hub: FakeHub) -> None:
    """The second page is found by its Link; a model whose only provider fails is left out."""
    models = await opened().models("text-to-image")
    assert [model.id for model in models] == ["acme/kite", "acme/swan"]
    assert [(one.provider, one.status) for one in models[0].mappings] == [("fal-ai", "live"), ("replicate", "staging")]
    assert [dict(asked.query).get("cursor") for asked in hub.requests] == [None, "2"]
    first = hub.requests[0].query
    assert first == {
        "pipeline_tag": "text-to-image",
        "inference_provider": "all",
        "limit": "1000",
        "expand[]": "inferenceProviderMapping",
    }


async def test_without_a_task_all_four_are_listed_without_duplicates(opened: Open, hub: FakeHub) -> None:
    """One query for each task; the results come together."""
    hub.add("acme/film", mapping_entry("novita", task="text-to-video"), task="text-to-video")
    models = await opened().models()
    assert [model.id for model in models] == ["acme/kite", "acme/swan", "acme/film"]
    assert sorted({asked.query["pipeline_tag"] for asked in hub.requests}) == [
        "image-to-image",
        "image-to-video",
        "text-to-image",
        "text-to-video",
    ]


@pytest.mark.parametrize(
    ("narrow", "found"),
    [
        ({"provider": "replicate"}, ["acme/swan"]),
        ({"provider": "together"}, []),
        ({"search": "KITE"}, ["acme/kite"]),
        ({"search": "acme", "provider": "fal-ai"}, ["acme/kite"]),
        ({"limit": 1}, ["acme/kite"]),
    ],
)
async def test_a_list_can_be_narrowed(opened: Open, narrow: dict[str, object], found: list[str]) -> None:
    """By a provider that is live there, by a part of the id in any case, by number."""
    assert [model.id for model in await opened().models("text-to-image", **narrow)] == found  # type: ignore[arg-type]


async def test_a_limit_that_the_first_page_fills_asks_for_no_second(opened: Open, hub: FakeHub) -> None:
    """Pages are read only as far as they are needed."""
    await opened().models("text-to-image", limit=1)
    assert len(hub.requests) == 1


async def test_a_mapping_holds_every_provider_live_or_not(opened: Open) -> None:
    """An error message needs those that are not live."""
    model = await opened().model("acme/kite")
    assert [(one.provider, one.provider_id, one.is_live) for one in model.mappings] == [
        ("fal-ai", "fal-ai/kite", True),
        ("replicate", "replicate/kite", False),
    ]


async def test_a_renamed_model_is_followed(opened: Open, hub: FakeHub) -> None:
    """The Hub redirects old names, on its own origin."""
    hub.renamed["kite"] = "acme/kite"
    assert (await opened().model("kite")).id == "acme/kite"


@pytest.mark.parametrize("elsewhere", ["http://evil.example/api/models/x", "//evil.example/x", "https://127.0.0.1/x"])
async def test_a_redirect_to_another_origin_is_refused(opened: Open, hub: FakeHub, elsewhere: str) -> None:
    """A token would go along."""
    hub.scripted_responses.append(ScriptedResponse(307, {"Location": elsewhere}))
    with pytest.raises(HubError, match="points to another origin"):
        await opened(token=TOKEN).model("acme/kite")
    assert len(hub.requests) == 1


async def test_redirects_in_circles_end(opened: Open, hub: FakeHub) -> None:
    """A bound on hops."""
    hub.renamed.update({"a": "b", "b": "a"})
    with pytest.raises(HubError, match="redirects too often"):
        await opened().model("a")
    assert len(hub.requests) == 4


@pytest.mark.parametrize(
    "link",
    [
        '<http://evil.example/api/models?cursor=2>; rel="next"',
        '<https://127.0.0.1/api/models?cursor=2>; rel="next"',
        '<http://user@127.0.0.1/api/models>; rel="next"',
        "<file:///etc/passwd>; rel=next",
    ],
)
async def test_a_next_page_on_another_origin_is_refused(opened: Open, hub: FakeHub, link: str) -> None:
    """The rest of the list lies on the Hub or nowhere."""
    hub.link = lambda _: link
    with pytest.raises(HubError, match="points to another origin"):
        await opened(token=TOKEN).models("text-to-image")


async def test_a_list_that_leads_to_itself_ends(opened: Open, hub: FakeHub) -> None:
    """A page that was seen before ends the list with an error."""
    hub.link = lambda url: f'<{url.partition("&cursor")[0]}&cursor=0>; rel="next"'
    with pytest.raises(HubError, match="does not end"):
        await opened().models("text-to-image")
    assert len(hub.requests) == 2


async def test_an_unknown_model_without_a_token_has_both_reasons(opened: Open) -> None:
    """The Hub answers 401 to strangers for what does not exist as for what is private."""
    with pytest.raises(ModelNotFoundError, match=r"does not exist, or it is private.*hf auth login") as caught:
        await opened().model("acme/nothing")
    assert caught.value.model == "acme/nothing"
    assert caught.value.exit_code == 5


async def test_an_unknown_model_with_a_token_is_not_found(opened: Open) -> None:
    """With a valid token the Hub returns 404, which says nothing against the token."""
    with pytest.raises(ModelNotFoundError, match="model acme/nothing was not found"):
        await opened(token=TOKEN).model("acme/nothing")


async def test_a_private_model_is_seen_with_the_token_alone(opened: Open, hub: FakeHub) -> None:
    """The token goes to the Hub."""
    hub.private.add("acme/kite")
    assert (await opened(token=TOKEN).model("acme/kite")).id == "acme/kite"
    assert hub.requests[-1].token == f"Bearer {TOKEN}"
    with pytest.raises(ModelNotFoundError):
        await opened().model("acme/kite")


@pytest.mark.parametrize(
    ("wrong", "right"), [("acme/kte", "acme/kite"), ("other/swan", "acme/swan"), ("KITE", "acme/kite")]
)
async def test_a_slip_of_the_pen_is_put_right_where_a_list_is_known(opened: Open, wrong: str, right: str) -> None:
    """The nearest ids of the list that is in memory."""
    catalog = opened()
    await catalog.models("text-to-image")
    with pytest.raises(ModelNotFoundError, match=f"Did you mean {right}"):
        await catalog.model(wrong)


async def test_a_refused_token_is_put_aside_with_a_warning(opened: Open, hub: FakeHub) -> None:
    """What is public is shown without it, and the next question goes without it at once."""
    catalog = opened(token="hf_thisOneIsNoLongerValid")
    assert (await catalog.model("acme/kite")).id == "acme/kite"
    assert ["rejected the Hugging Face token" in words for words in catalog.warnings] == [True]
    assert [asked.token is None for asked in hub.requests] == [False, True]
    await catalog.models("text-to-image")
    assert all(asked.token is None for asked in hub.requests[1:])
    assert not any("NoLongerValid" in words for words in catalog.warnings)


async def test_a_rejected_token_is_an_error_where_anonymous_access_fails(opened: Open) -> None:
    """Both the token and the model may be wrong; the token is what can be helped."""
    with pytest.raises(AuthenticationError, match="rejected the Hugging Face token") as caught:
        await opened(token="hf_thisOneIsNoLongerValid").model("acme/nothing")
    assert caught.value.exit_code == 3
    assert "NoLongerValid" not in str(caught.value)


NONSENSE = [
    (b"<html>log in to the hotel's network</html>", "text/html"),
    (b"", "application/json"),
    (b'{"error": "odd"}', "application/json"),
    (b'[{"name": 1}]', "application/json"),
    (b"\xff\xfe", "application/json"),
]


@pytest.mark.parametrize(("body", "mime"), NONSENSE)
async def test_nonsense_is_an_error_of_the_hub(opened: Open, hub: FakeHub, body: bytes, mime: str) -> None:
    """An error page is no model, whatever its status."""
    for ask in (lambda c: c.model("acme/kite"), lambda c: c.models("text-to-image")):
        hub.scripted_responses = [ScriptedResponse(200, {"Content-Type": mime}, body)]
        with pytest.raises(HubError, match="sent something other than"):
            await ask(opened())


async def test_other_refusals_keep_the_hubs_words_without_secrets(opened: Open, hub: FakeHub) -> None:
    """A 400 is shown as the Hub words it."""
    hub.scripted_responses = [
        ScriptedResponse(400, {"Content-Type": "application/json"}, '{"error": "bad cursor hf_abcdefghijklmn"}')
    ]
    with pytest.raises(HubError, match=r"bad cursor \*\*\* \(HTTP 400\)") as caught:
        await opened().models("text-to-image")
    assert caught.value.status == 400


async def test_whoami_tells_who_and_what_the_token_may(opened: Open, hub: FakeHub) -> None:
    """Asked once, then remembered."""
    catalog = opened(token=TOKEN)
    who, again = await asyncio.gather(catalog.whoami(), catalog.whoami())
    assert (who.name, who.can_call_inference, who.token_name, [one.name for one in who.organizations]) == (
        "kite",
        True,
        "tests",
        ["acme"],
    )
    assert again == who == await catalog.whoami()
    assert len(hub.requests) == 1


@pytest.mark.parametrize(("token", "error"), [(None, MissingAuthError), ("hf_noLongerValid", AuthenticationError)])
async def test_whoami_without_a_good_token_is_an_error(opened: Open, token: str | None, error: type[Exception]) -> None:
    """There is no account."""
    with pytest.raises(error):
        await opened(token=token).whoami()


async def test_the_same_thing_is_asked_for_once_at_a_time(opened: Open, hub: FakeHub) -> None:
    """Ten who want the same wait for one answer."""
    catalog = opened()
    models = await asyncio.gather(*(catalog.model("acme/kite") for _ in range(10)))
    assert {model.id for model in models} == {"acme/kite"}
    assert len(hub.requests) == 1


async def test_a_waiter_that_gives_up_leaves_the_others_theirs(opened: Open, hub: FakeHub) -> None:
    """Even when it was the first, which began the request."""
    hold = asyncio.Event()
    body = '{"id": "acme/kite", "inferenceProviderMapping": []}'
    hub.scripted_responses = [ScriptedResponse(200, {}, body, hold=hold)]
    catalog = opened()
    first, second = (asyncio.create_task(catalog.model("acme/kite")) for _ in range(2))
    await hub.request_received.wait()
    first.cancel()
    await asyncio.wait({first})
    hold.set()
    assert (await second).id == "acme/kite"
    assert len(hub.requests) == 1


async def test_after_the_last_waiter_is_cancelled_a_new_caller_sends_a_new_request(opened: Open, hub: FakeHub) -> None:
    """A new caller does not join a request that is being cancelled."""
    hub.scripted_responses = [ScriptedResponse(200, {}, "", hold=asyncio.Event())]
    catalog = opened()
    first = asyncio.create_task(catalog.model("acme/kite"))
    await hub.request_received.wait()
    first.cancel()
    second = asyncio.create_task(catalog.model("acme/kite"))
    assert (await second).id == "acme/kite"
    assert first.cancelled()


async def test_one_failure_reaches_all_who_wait(opened: Open, hub: FakeHub) -> None:
    """And the next call sends a new request."""
    catalog = opened()
    hub.scripted_responses = [ScriptedResponse(400)]
    results = await asyncio.gather(*(catalog.model("acme/kite") for _ in range(3)), return_exceptions=True)
    assert [type(one) for one in results] == [HubError] * 3
    assert (await catalog.model("acme/kite")).id == "acme/kite"


async def test_a_large_list_is_read_beside_the_loop(
    opened: Open, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page of a thousand models does not stop everything else for its whole length."""
    hub.page_size = 1000
    for number in range(1000):
        hub.add(f"acme/kite-{number}", mapping_entry("fal-ai"), mapping_entry("replicate"))
    readers: list[threading.Thread] = []

    def read(body: bytes) -> list[HubModel]:
        readers.append(threading.current_thread())
        return parse_models(body)

    monkeypatch.setattr("hfmedia.catalog.catalog.parse_models", read)
    assert len(await opened().models("text-to-image")) == 1002
    assert [reader is threading.main_thread() for reader in readers] == [False, True]  # the second page is a short one

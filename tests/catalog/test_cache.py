"""The page cache: freshness, files on disk, and warnings about stale pages."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from pathlib import Path

import pytest

from hfmedia.catalog import Catalog
from hfmedia.catalog import cache as cache_module
from hfmedia.catalog.cache import CachedPage, PageCache
from hfmedia.core.credentials import Credential, Secret
from hfmedia.core.errors import HubError, ModelNotFoundError
from hfmedia.core.hub_models import HubModel, ProviderMapping
from hfmedia.transport import Transport

from ..support.fake_hub import FakeHub, ScriptedResponse, mapping_entry
from .conftest import TOKEN, ManualClock, Open


async def test_a_young_answer_is_not_asked_for_again(opened: Open, hub: FakeHub, clock: ManualClock) -> None:
    """Neither in memory nor from disk, in the next run."""
    await opened(folder=True).model("acme/kite")
    clock.now += 299
    assert (await opened(folder=True).model("acme/kite")).mappings[0].provider == "fal-ai"
    assert len(hub.requests) == 1


async def test_an_older_answer_is_asked_for_with_its_etag(opened: Open, hub: FakeHub, clock: ManualClock) -> None:
    """304 makes it young again; something new replaces it."""
    catalog = opened(folder=True)
    first = await catalog.model("acme/kite")
    clock.now += 301
    assert await catalog.model("acme/kite") == first
    assert hub.requests[1].headers["If-None-Match"].startswith('W/"')
    await catalog.model("acme/kite")
    assert len(hub.requests) == 2
    clock.now += 301
    hub.add("acme/kite", mapping_entry("novita"))
    assert [one.provider for one in (await catalog.model("acme/kite")).mappings] == ["novita"]


async def test_every_page_of_a_list_is_revalidated(opened: Open, hub: FakeHub, clock: ManualClock) -> None:
    """After a 304 the next page is still known."""
    catalog = opened(folder=True)
    before = await catalog.models("text-to-image")
    clock.now += 301
    assert await opened(folder=True).models("text-to-image") == before
    assert len(hub.requests) == 4
    assert all("If-None-Match" in asked.headers for asked in hub.requests[2:])


async def test_fresh_asks_although_the_answer_is_young(opened: Open, hub: FakeHub) -> None:
    """For a user who just changed something on the Hub."""
    catalog = opened()
    await catalog.model("acme/kite")
    hub.add("acme/kite", mapping_entry("novita"))
    assert [one.provider for one in (await catalog.model("acme/kite", fresh=True)).mappings] == ["novita"]


FAILURES = [
    ("a failing Hub", [ScriptedResponse(503, {}, "try later")] * 9),
    ("a gateway in between", [ScriptedResponse(502, {}, "<html>")] * 9),
    ("a hotel's network", [ScriptedResponse(200, {"Content-Type": "text/html"}, "<html>log in</html>")]),
    ("a limit for minutes", [ScriptedResponse(429, {"Retry-After": "280"}, "slow down")]),
]


@pytest.mark.parametrize(("what", "orders"), FAILURES, ids=[what for what, _ in FAILURES])
async def test_a_stale_page_serves_while_the_hub_fails(
    opened: Open, hub: FakeHub, clock: ManualClock, what: str, orders: list[ScriptedResponse]
) -> None:
    """With a warning that disappears when the Hub recovers; without a cached page it is an error."""
    catalog = opened(folder=True)
    kite = await catalog.model("acme/kite")
    clock.now += 600
    hub.scripted_responses = list(orders)
    assert await catalog.model("acme/kite") == kite
    (warning,) = catalog.warnings
    assert "10 min old" in warning
    asked = len(hub.requests)
    assert await catalog.model("acme/kite") == kite
    assert len(hub.requests) == asked  # a failing Hub is not contacted again for a while
    hub.scripted_responses.clear()
    clock.now += 300
    await catalog.model("acme/kite")
    assert catalog.warnings == ()
    hub.scripted_responses = list(orders)
    with pytest.raises(HubError):
        await catalog.model("acme/swan")


async def test_an_unreachable_hub_is_a_warning_and_stale_pages_serve(
    transport: Transport, clock: ManualClock, tmp_path: Path
) -> None:
    """The port is closed: the page of the last run serves the next."""

    def opened() -> Catalog:
        return Catalog(transport, endpoint=hub.url, credential=None, folder=tmp_path, clock=clock, sleep=clock.sleep)

    async with FakeHub() as hub:
        hub.add("acme/kite", mapping_entry("fal-ai"))
        await opened().model("acme/kite")
    clock.now += 3600
    catalog = opened()
    assert (await catalog.model("acme/kite")).id == "acme/kite"
    assert "cannot be reached" in catalog.warnings[0]
    with pytest.raises(HubError, match="cannot be reached"):
        await catalog.model("acme/swan")
    clock.now += 8 * 24 * 3600
    with pytest.raises(HubError):
        await catalog.model("acme/kite")


async def test_a_model_that_is_gone_is_forgotten(opened: Open, hub: FakeHub, clock: ManualClock) -> None:
    """404 is a valid response: the cached page is no longer true."""
    catalog = opened(folder=True)
    await catalog.model("acme/kite")
    clock.now += 301
    del hub.models["acme/kite"]
    for later in (catalog, opened(folder=True)):
        with pytest.raises(ModelNotFoundError):
            await later.model("acme/kite")


async def test_what_one_token_sees_is_not_shown_to_another(opened: Open, hub: FakeHub, tmp_path: Path) -> None:
    """Pages are kept apart by token; the token itself is nowhere in the cache."""
    hub.private.add("acme/kite")
    await opened(token=TOKEN, folder=True).model("acme/kite")
    with pytest.raises(ModelNotFoundError):
        await opened(folder=True).model("acme/kite")
    files = list((tmp_path / "cache").iterdir())
    assert files
    assert not any(TOKEN in path.name or TOKEN.encode() in path.read_bytes() for path in files)


@pytest.mark.skipif(os.name == "nt", reason="modes mean something else there")
async def test_the_cache_is_for_its_owner_alone(opened: Open, tmp_path: Path) -> None:
    """Names of private models are private."""
    await opened(folder=True).models("text-to-image")
    assert stat.S_IMODE((tmp_path / "cache").stat().st_mode) == 0o700
    files = list((tmp_path / "cache").iterdir())
    assert [stat.S_IMODE(path.stat().st_mode) for path in files] == [0o600] * 2


DAMAGE = [b"", b"{", b"\xff\x00", b"[]", b'{"key": "other", "at": 0, "models": []}', b'{"at": "soon"}']


@pytest.mark.parametrize("damage", DAMAGE)
async def test_a_damaged_cache_is_no_cache(opened: Open, hub: FakeHub, tmp_path: Path, damage: bytes) -> None:
    """It is fetched and written again."""
    await opened(folder=True).model("acme/kite")
    (path,) = (tmp_path / "cache").iterdir()
    path.write_bytes(damage)
    assert (await opened(folder=True).model("acme/kite")).id == "acme/kite"
    assert len(hub.requests) == 2
    assert json.loads(path.read_bytes())["models"][0]["id"] == "acme/kite"


async def test_an_answer_from_the_future_is_asked_for_again(opened: Open, hub: FakeHub, clock: ManualClock) -> None:
    """A clock that was wrong does not keep an old answer young for years."""
    clock.now += 10_000_000
    await opened(folder=True).model("acme/kite")
    clock.now -= 10_000_000
    await opened(folder=True).model("acme/kite")
    assert len(hub.requests) == 2


async def test_a_disk_that_takes_nothing_is_a_warning(transport: Transport, clock: ManualClock, tmp_path: Path) -> None:
    """The answer is as good without it."""
    (tmp_path / "file").write_text("in the way")
    async with FakeHub() as hub:
        hub.add("acme/kite", mapping_entry("fal-ai"))
        catalog = Catalog(
            transport,
            endpoint=hub.url,
            credential=None,
            folder=tmp_path / "file" / "cache",
            clock=clock,
            sleep=clock.sleep,
        )
        assert (await catalog.model("acme/kite")).id == "acme/kite"
    assert "cannot write the Hub cache" in catalog.warnings[0]


def names(folder: Path) -> list[str]:
    """What lies in a folder."""
    return sorted(path.name for path in folder.iterdir())


def page(key: str, at: float) -> CachedPage:
    """A page of one model."""
    mapping = ProviderMapping(provider="fal-ai", provider_id="x", task="text-to-image", status="live")
    return CachedPage(key=key, fetched_at=at, models=(HubModel(f"acme/{key}", (mapping,)),))


async def test_the_shelf_is_bounded_in_memory_and_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest go first, and what a crash left half-written goes too."""
    monkeypatch.setattr(cache_module, "MAX_PAGES", 3)
    left = tmp_path / ".left.tmp"
    left.write_bytes(b"half")
    os.utime(left, (1, 1))
    shelf = PageCache(tmp_path)
    for number in range(5):
        await shelf.put(page(f"p{number}", 10_000.0))
        os.utime(tmp_path / f"p{number}.json", (number + 100, number + 100))
    assert names(tmp_path) == ["p2.json", "p3.json", "p4.json"]
    assert [shelf.peek(f"p{number}") is not None for number in range(5)] == [False, False, True, True, True]
    assert await PageCache(tmp_path).get("p4") == page("p4", 10_000.0)


async def test_the_bytes_on_disk_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few large pages count as much as many small ones."""
    one = len(json.dumps("x")) + 1
    monkeypatch.setattr(cache_module, "MAX_DISK_BYTES", one)
    await PageCache(tmp_path).put(page("p", 1.0))
    assert names(tmp_path) == []


async def test_a_failed_write_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Complete or absent, and the error is reported."""

    def refuse(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", refuse)
    shelf = PageCache(tmp_path)
    await shelf.put(page("p", 1.0))
    assert names(tmp_path) == []
    assert shelf.write_error is not None
    assert "No space left" in shelf.write_error


async def test_a_token_is_sent_to_its_endpoint_alone(transport: Transport, clock: ManualClock) -> None:
    """A Hub below a path keeps the token below that path."""
    async with FakeHub() as hub:
        hub.add("acme/kite", mapping_entry("fal-ai"), task="text-to-image")
        hub.add("acme/swan", mapping_entry("fal-ai"), task="text-to-image")
        hub.add("acme/crane", mapping_entry("fal-ai"), task="text-to-image")
        base = hub.url + "/mirror"
        body = json.dumps([{"id": "acme/kite", "inferenceProviderMapping": [mapping_entry("fal-ai")]}])
        link = f'<{hub.url}/api/models?cursor=2>; rel="next"'
        hub.scripted_responses = [ScriptedResponse(200, {"Link": link}, body)]
        credential = Credential(secret=Secret(TOKEN), base_url=base)
        catalog = Catalog(transport, endpoint=base, credential=credential, folder=None, clock=clock, sleep=clock.sleep)
        with pytest.raises(HubError, match="points to another origin"):
            await catalog.models("text-to-image")
        assert [asked.path for asked in hub.requests] == ["/mirror/api/models"]


async def test_a_file_of_an_earlier_format_counts_as_absent(
    opened: Open, hub: FakeHub, clock: ManualClock, tmp_path: Path
) -> None:
    """Renamed fields would silently be read as missing, so files of the first version are not read at all."""
    await opened(folder=True).model("acme/swan")
    (current,) = (tmp_path / "cache").iterdir()
    page = json.loads(current.read_bytes())
    assert page["models"][0]["mappings"][0]["adapter_weights_path"] == "swan.safetensors"
    old_mapping = page["models"][0]["mappings"][0]
    old_mapping["weights"] = old_mapping.pop("adapter_weights_path")
    page["at"], page["next"] = page.pop("fetched_at"), page.pop("next_url")
    url = f"{hub.url}/api/models/acme/swan?expand[]=inferenceProviderMapping"
    old_key = hashlib.sha256(f"{hub.url}\nanybody\n{url}".encode()).hexdigest()[:40]  # as the first version named it
    for key in (old_key, current.stem):  # under its old name, and even under the present one
        (tmp_path / "cache" / f"{key}.json").write_text(json.dumps({**page, "key": key}))
    model = await opened(folder=True).model("acme/swan")
    assert model.mappings[0].adapter_weights_path == "swan.safetensors"
    assert len(hub.requests) == 2
    assert "If-None-Match" not in hub.requests[1].headers

"""Our own API on a real gateway: begin, watch, list, cancel, delete, settle a doubt; and who may see what."""

from __future__ import annotations

import asyncio
import base64
import json
from io import BytesIO
from typing import Any

import aiohttp
import pytest
from PIL import Image

from hfmedia.server.api.native.serializers import stored_media
from hfmedia.server.db.api_keys import ApiKey, generate_api_key
from tests.support.gateway import RunningGateway, Serve
from tests.support.gateway_jobs import TIMEOUT, asked, ended, made
from tests.support.models import FLUX, KONTEXT, WAN


async def test_a_job_is_reported_from_its_creation_to_its_file(
    gateway: RunningGateway, http: aiohttp.ClientSession
) -> None:
    """It is there at once; done, it has a file that anybody with its name can fetch, and all that is known of it."""
    (job,) = await made(http, gateway, prompt="a red fox", model=FLUX, seed=7, size="512x512")
    assert job["status"] in ("queued", "in_progress", "completed")
    done = await ended(http, gateway, job["id"])
    assert (done["status"], done["state"], done["seed"]) == ("completed", "stored", 7)
    assert done["allowed_actions"] == ["delete"]
    (media,) = done["media"]
    async with http.get(media["url"]) as answer:
        data = await answer.read()
    assert Image.open(BytesIO(data)).size == (media["width"], media["height"])
    assert len(data) == media["bytes"]
    async with http.get(media["thumbnail_url"]) as answer:
        assert answer.status == 200


async def test_several_outputs_have_seeds_of_their_own(gateway: RunningGateway, http: aiohttp.ClientSession) -> None:
    """One after the other from the first; each is a job of its own."""
    jobs = await made(http, gateway, prompt="a fox", model=FLUX, n=3, seed=10)
    done = [await ended(http, gateway, job["id"]) for job in jobs]
    assert [job["seed"] for job in done] == [10, 11, 12]
    assert [job["index"] for job in done] == [0, 1, 2]
    assert len({job["generation"] for job in done}) == 1


async def test_the_events_of_a_job_end_with_it(gateway: RunningGateway, http: aiohttp.ClientSession) -> None:
    """Each carries the whole job; the last is called done."""
    (job,) = await made(http, gateway, prompt="waves", model=f"{WAN}:fal-ai", task="text-to-video")
    names, last = [], {}
    async with http.get(f"{gateway.api}/jobs/{job['id']}/events") as answer:
        assert answer.content_type == "text/event-stream"
        async for line in answer.content:
            if line.startswith(b"event: "):
                names.append(line[7:].decode().strip())
            elif line.startswith(b"data: "):
                last = json.loads(line[6:])
    assert names[-1] == "done"
    assert set(names) <= {"queued", "position", "running", "downloading", "done"}
    assert last["status"] == "completed"


async def test_one_stream_has_the_events_of_all_jobs(gateway: RunningGateway, http: aiohttp.ClientSession) -> None:
    """Also of those that begin after it was opened."""
    async with http.get(f"{gateway.api}/events") as stream:
        assert (await stream.content.readline()).startswith(b":")
        ids = {job["id"] for job in await made(http, gateway, prompt="a fox", model=FLUX, n=2)}
        done: set[str] = set()
        async with asyncio.timeout(TIMEOUT):
            name = b""
            while done != ids:
                line = await stream.content.readline()
                if line.startswith(b"event: "):
                    name = line[7:].strip()
                elif line.startswith(b"data: ") and name == b"done":
                    done.add(json.loads(line[6:])["id"])


async def test_the_stream_reports_deleted_and_restored_jobs(
    gateway: RunningGateway, http: aiohttp.ClientSession
) -> None:
    """So that every other page of the same person shows the same."""
    (job,) = await made(http, gateway, prompt="a fox", model=f"{FLUX}:together")
    assert (await ended(http, gateway, job["id"]))["requested_model"] == f"{FLUX}:together"
    async with http.get(f"{gateway.api}/events") as stream, asyncio.timeout(TIMEOUT):
        assert (await stream.content.readline()).startswith(b":")

        async def heard() -> tuple[str, dict[str, Any]]:
            while not (line := await stream.content.readline()).startswith(b"event: "):
                pass
            return line[7:].decode().strip(), json.loads((await stream.content.readline())[6:])

        await asked(http, "DELETE", f"{gateway.api}/jobs/{job['id']}")
        name, body = await heard()
        assert (name, body["id"], body["deleted_at"] is not None) == ("deleted", job["id"], True)
        await asked(http, "POST", f"{gateway.api}/jobs/{job['id']}/restore")
        name, body = await heard()
        assert (name, body["id"], body["deleted_at"]) == ("done", job["id"], None)


async def test_jobs_are_listed_in_pages_newest_first(gateway: RunningGateway, http: aiohttp.ClientSession) -> None:
    """Pages join without a gap and without a double; words of the prompt find."""
    ids = [
        job["id"] for number in range(3) for job in await made(http, gateway, prompt=f"fox {number}", model=FLUX, n=2)
    ]
    for job_id in ids:
        await ended(http, gateway, job_id)
    seen: list[str] = []
    after = ""
    for _ in range(10):
        _, page = await asked(http, "GET", f"{gateway.api}/jobs?limit=4{after}")
        seen += [job["id"] for job in page["data"]]
        if not page["has_more"]:
            break
        after = f"&after={page['last_id']}"
    assert sorted(seen) == sorted(ids)
    assert len(set(seen)) == len(seen)
    _, page = await asked(http, "GET", f"{gateway.api}/jobs?search=FOX%201")
    assert {job["prompt"] for job in page["data"]} == {"fox 1"}
    _, page = await asked(http, "GET", f"{gateway.api}/jobs?kind=video")
    assert page["data"] == []


async def test_a_deleted_job_is_out_of_sight_and_can_come_back(
    gateway: RunningGateway, http: aiohttp.ClientSession
) -> None:
    """Its neighbours of the same order stay."""
    first, second = await made(http, gateway, prompt="a fox", model=FLUX, n=2)
    for job in (first, second):
        await ended(http, gateway, job["id"])
    url = f"{gateway.api}/jobs/{first['id']}"
    assert await asked(http, "DELETE", url) == (200, {"id": first["id"], "object": "job.deleted", "deleted": True})
    status, body = await asked(http, "GET", url)
    assert (status, body["error"]["code"]) == (404, "job_not_found")
    _, page = await asked(http, "GET", f"{gateway.api}/jobs")
    assert [job["id"] for job in page["data"]] == [second["id"]]
    _, page = await asked(http, "GET", f"{gateway.api}/jobs?status=deleted")
    assert [(job["id"], job["allowed_actions"], bool(job["deleted_at"])) for job in page["data"]] == [
        (first["id"], ["restore"], True)
    ]
    assert (await asked(http, "POST", f"{url}/restore"))[0] == 200
    assert (await asked(http, "GET", url))[0] == 200
    assert (await asked(http, "GET", f"{gateway.api}/jobs?status=deleted"))[1]["data"] == []


async def test_what_was_deleted_too_long_ago_cannot_come_back(
    gateway: RunningGateway, http: aiohttp.ClientSession
) -> None:
    """After an hour it is not listed; once its file is gone the response is 410, and it stays deleted."""
    (job,) = await made(http, gateway, prompt="a fox", model=FLUX)
    await ended(http, gateway, job["id"])
    url = f"{gateway.api}/jobs/{job['id']}"
    await asked(http, "DELETE", url)
    book = gateway.gateway.database
    book.mark_deleted(job["generation"], 0, book.clock() - 3601)
    assert (await asked(http, "GET", f"{gateway.api}/jobs?status=deleted"))[1]["data"] == []
    kept = await gateway.gateway.client.ledger.get(job["id"])
    assert kept is not None
    (media,) = stored_media(kept)
    media.path.unlink()
    status, body = await asked(http, "POST", f"{url}/restore")
    assert (status, body["error"]["code"]) == (410, "gone")
    assert (await asked(http, "GET", url))[0] == 404


async def test_cancelling_reaches_the_provider(gateway: RunningGateway, http: aiohttp.ClientSession) -> None:
    """And the job says so."""
    gateway.fault("fal-ai", "cold", seconds=5000)
    (job,) = await made(http, gateway, prompt="waves", model=f"{WAN}:fal-ai", task="text-to-video")
    async with asyncio.timeout(TIMEOUT):
        while (await asked(http, "GET", f"{gateway.api}/jobs/{job['id']}"))[1]["state"] != "running":  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    status, body = await asked(http, "POST", f"{gateway.api}/jobs/{job['id']}/cancel")
    assert (status, body["status"], body["stage"]) == (200, "cancelled", "ended")
    assert body["error"]["hint"]


async def test_a_failover_is_reported_with_its_reason(gateway: RunningGateway, http: aiohttp.ClientSession) -> None:
    """On the job, and as the reason for which the provider rests."""
    gateway.fault("fal-ai", "credit", times=10)
    (job,) = await made(http, gateway, prompt="a fox", model=FLUX)
    done = await ended(http, gateway, job["id"])
    assert done["provider"] != "fal-ai"
    assert "fal-ai" in done["failovers"][0]["reason"]
    _, body = await asked(http, "GET", f"{gateway.api}/providers")
    fal = next(one for one in body["data"] if one["name"] == "fal-ai")
    assert fal["cooldown_seconds"] > 0
    assert "fal-ai" in fal["last_error"]


async def test_a_job_in_doubt_is_reported_and_resolved(gateway: RunningGateway, http: aiohttp.ClientSession) -> None:
    """Its answer was lost: it is never sent again by itself, but its owner may."""
    gateway.fault("together", "disconnect")
    (job,) = await made(http, gateway, prompt="a fox", model=f"{FLUX}:together")
    body = await ended(http, gateway, job["id"])
    assert (body["state"], body["status"]) == ("in_doubt", "failed")
    assert body["allowed_actions"] == ["resolve", "delete"]
    assert body["may_be_billed"] is True
    url = f"{gateway.api}/jobs/{job['id']}/resolve"
    assert (await asked(http, "POST", url, json={"decision": "perhaps"}))[0] == 400
    before = gateway.submissions
    assert (await asked(http, "POST", url, json={"decision": "resend"}))[0] == 200
    assert (await ended(http, gateway, job["id"]))["status"] == "completed"
    assert gateway.submissions == before + 1
    assert (await asked(http, "POST", url, json={"decision": "drop"}))[0] == 400


async def test_of_many_who_settle_a_doubt_at_once_one_does(
    gateway: RunningGateway, http: aiohttp.ClientSession
) -> None:
    """It is sent once, and the other requests fail because it is resolved."""
    gateway.fault("together", "disconnect")
    (job,) = await made(http, gateway, prompt="a fox", model=f"{FLUX}:together")
    assert (await ended(http, gateway, job["id"]))["state"] == "in_doubt"
    before = gateway.submissions
    url = f"{gateway.api}/jobs/{job['id']}/resolve"
    body = await asyncio.gather(*(asked(http, "POST", url, json={"decision": "resend"}) for _ in range(6)))
    assert sorted(status for status, _ in body) == [200, 400, 400, 400, 400, 400]
    assert {answer["error"]["code"] for status, answer in body if status == 400} == {"not_in_doubt"}
    assert (await ended(http, gateway, job["id"]))["status"] == "completed"
    assert gateway.submissions == before + 1


async def test_requested_parameters_are_reported_next_to_those_sent(
    gateway: RunningGateway, http: aiohttp.ClientSession
) -> None:
    """A provider that takes less changes nothing of what can be made again."""
    payload = {
        "aspect_ratio": "21:9",
        "seed": 5,
        "num_inference_steps": 7,
        "negative_prompt": "text",
        "extra": {"odd": 2},
    }
    (job,) = await made(http, gateway, prompt="a fox", model="Tongyi-MAI/Z-Image-Turbo", **payload)
    done = await ended(http, gateway, job["id"])
    parameters = {name: value for name, value in payload.items() if name != "extra"}
    assert done["requested_parameters"] == {**parameters, "odd": 2}
    assert done["parameters"] != done["requested_parameters"]


async def test_what_is_noted_on_the_way_is_known_afterwards(
    gateway: RunningGateway, http: aiohttp.ClientSession
) -> None:
    """That a provider was asked last because it had just failed is not forgotten when the job is done."""
    gateway.fault("fal-ai", "credit", times=1)
    (job,) = await made(http, gateway, prompt="a fox", model=FLUX)
    await ended(http, gateway, job["id"])
    (job,) = await made(http, gateway, prompt="a fox", model=FLUX)
    done = await ended(http, gateway, job["id"])
    (note,) = [words for words in done["warnings"] if "tried last" in words]
    assert note.startswith("fal-ai")


async def test_a_key_that_is_revoked_hears_nothing_more(gateway: RunningGateway, http: aiohttp.ClientSession) -> None:
    """Not even on a stream that it began before; neither does one that is an admin's no longer."""
    (key, text), (boss, high) = keyed(gateway), keyed(gateway, admin=True)
    streams = [
        await http.get(f"{gateway.api}/events", headers={"Authorization": f"Bearer {one}"}) for one in (text, high)
    ]
    for stream in streams:
        assert (await stream.content.readline()).startswith(b":")
    gateway.gateway.database.revoke_key(key.id, 1.0)
    gateway.gateway.database.change_key(boss.id, admin=False)
    _, other = keyed(gateway)
    async with http.post(
        f"{gateway.api}/jobs", json={"prompt": "a fox", "model": FLUX}, headers={"Authorization": f"Bearer {other}"}
    ) as answer:
        assert answer.status == 202
    for stream in streams:
        async with asyncio.timeout(TIMEOUT):
            assert b"data:" not in await stream.read()


async def test_what_a_provider_says_to_one_key_no_other_hears(
    gateway: RunningGateway, http: aiohttp.ClientSession
) -> None:
    """It may quote the prompt. That there was an error, and of what kind, every key may know."""
    (_, one), (_, other), (_, boss) = keyed(gateway), keyed(gateway), keyed(gateway, admin=True)
    gateway.fault("together", "status", status=400, text="no: project zeus launches in May")
    as_one = {"Authorization": f"Bearer {one}"}
    payload = {"prompt": "project zeus launches in May", "model": f"{FLUX}:together"}
    async with http.post(f"{gateway.api}/jobs", json=payload, headers=as_one) as answer:
        (job,) = (await answer.json())["data"]
    async with asyncio.timeout(TIMEOUT):
        while True:
            _, body = await asked(http, "GET", f"{gateway.api}/jobs/{job['id']}", headers=as_one)
            if body["stage"] == "ended":
                break
            await asyncio.sleep(0.05)
    heard = []
    for key in (one, other, boss):
        _, body = await asked(http, "GET", f"{gateway.api}/providers", headers={"Authorization": f"Bearer {key}"})
        heard.append(next(provider["last_error"] for provider in body["data"] if provider["name"] == "together"))
    assert heard[0] == heard[2] and heard[0].startswith("together rejected the request")
    assert heard[1] == "together rejected the request (HTTP 400)"


def keyed(gateway: RunningGateway, **fields: Any) -> tuple[ApiKey, str]:
    """A key of the gateway, and its text."""
    key_id, text, digest = generate_api_key()
    key = ApiKey(id=key_id, name=key_id, created_at=0.0, **fields)
    gateway.gateway.database.add_key(key, digest)
    return key, text


async def test_a_preview_costs_nothing(gateway: RunningGateway, http: aiohttp.ClientSession) -> None:
    """It shows what each provider would receive, and what would be dropped."""
    payload = {"prompt": "a fox", "model": FLUX, "size": "1000x777", "negative_prompt": "dogs"}
    status, body = await asked(http, "POST", f"{gateway.api}/jobs/preview", json=payload)
    assert status == 200
    assert any(one["warnings"] for one in body["data"])
    assert gateway.submissions == 0


async def test_an_image_comes_as_a_file_or_as_a_url(gateway: RunningGateway, http: aiohttp.ClientSession) -> None:
    """The task follows from it."""
    picture = BytesIO()
    Image.new("RGB", (64, 64), "orange").save(picture, "PNG")
    form = aiohttp.FormData({"prompt": "autumn", "model": KONTEXT})
    form.add_field("image", picture.getvalue(), filename="../../x.png", content_type="image/png")
    status, body = await asked(http, "POST", f"{gateway.api}/jobs", data=form)
    assert (status, body["data"][0]["task"]) == (202, "image-to-image")
    data = f"data:image/png;base64,{base64.b64encode(picture.getvalue()).decode()}"
    (job,) = await made(http, gateway, prompt="autumn", model=KONTEXT, image=data)
    assert (await ended(http, gateway, job["id"]))["status"] == "completed"


async def test_the_same_key_is_the_same_order(gateway: RunningGateway, http: aiohttp.ClientSession) -> None:
    """Twenty at once are one submission; another request under that key is refused."""
    payload, key = {"prompt": "a fox", "model": FLUX}, {"Idempotency-Key": "mine"}
    asking = [asked(http, "POST", f"{gateway.api}/jobs", json=payload, headers=key) for _ in range(20)]
    body = await asyncio.gather(*asking)
    assert {status for status, _ in body} == {202}
    assert len({one["data"][0]["id"] for _, one in body}) == 1
    status, other = await asked(http, "POST", f"{gateway.api}/jobs", json={**payload, "prompt": "b"}, headers=key)
    assert (status, other["error"]["code"]) == (422, "idempotency_key_reused")
    await ended(http, gateway, body[0][1]["data"][0]["id"])
    assert gateway.submissions == 1


WRONG: list[tuple[dict[str, Any], int, str | None]] = [
    ({}, 400, None),
    ({"prompt": ""}, 400, None),
    ({"prompt": "x" * 40_000}, 400, None),
    ({"prompt": "x", "model": "nobody/nothing"}, 404, None),
    ({"prompt": "x", "model": "../../etc/passwd"}, 400, "model"),
    ({"prompt": "x", "n": 101}, 400, "n"),
    ({"prompt": "x", "size": "1e9x1"}, 400, "size"),
    ({"prompt": "x", "image": "/etc/passwd"}, 400, "image"),
    ({"prompt": "x", "image": "data:image/png;base64,AAAA"}, 400, None),
    ({"prompt": "x", "colour": "red"}, 400, None),
]


@pytest.mark.parametrize(("payload", "status", "param"), WRONG)
async def test_bad_input_is_refused_before_anything_is_sent(
    shared: RunningGateway, http: aiohttp.ClientSession, payload: dict[str, Any], status: int, param: str | None
) -> None:
    """In OpenAI's shape, with a sentence, and no job is left behind."""
    got, body = await asked(http, "POST", f"{shared.api}/jobs", json=payload)
    assert got == status, body
    assert set(body["error"]) >= {"message", "type", "param", "code"}
    assert param is None or body["error"]["param"] == param
    assert (await asked(http, "GET", f"{shared.api}/jobs"))[1]["data"] == []
    assert shared.submissions == 0


async def test_outputs_are_counted(gateway: RunningGateway, http: aiohttp.ClientSession) -> None:
    """Today and this month; a cost that was not reported is unknown, not zero."""
    for job in await made(http, gateway, prompt="a fox", model=f"{FLUX}:together", n=2):
        await ended(http, gateway, job["id"])
    async with asyncio.timeout(TIMEOUT):
        while True:
            _, used = await asked(http, "GET", f"{gateway.api}/usage")
            if not used["usd_reserved"]:
                break
            await asyncio.sleep(0.05)
    assert used["images_today"] == 2
    assert used["today"]["jobs"] == 2
    assert used["today"]["jobs_with_cost"] + used["today"]["jobs_without_cost"] == 2


async def test_a_gateway_that_stops_keeps_its_jobs(serve: Serve, http: aiohttp.ClientSession) -> None:
    """The next one on the same home carries them to their ends, and nothing is sent twice."""
    first = serve()
    first.fault("wavespeed", "cold", seconds=100)  # at fifty times the pace of life
    (job,) = await made(http, first, prompt="waves", model=f"{WAN}:wavespeed", task="text-to-video")
    first.close()
    second = serve()
    done = await ended(http, second, job["id"])
    assert done["status"] == "completed"
    assert second.submissions == 1


async def test_the_timestamp_of_a_job_never_decreases(
    gateway: RunningGateway, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader keeps the newest; the ledger's word at the end must not look older than the progress before it."""
    runner: Any = gateway.gateway.runner
    before = runner.clock
    monkeypatch.setattr(runner, "clock", lambda: before() + 100)  # it hears long after the ledger has written
    (job,) = await made(http, gateway, prompt="a fox", model=FLUX)
    async with http.get(f"{gateway.api}/jobs/{job['id']}/events") as answer:
        lines = [line async for line in answer.content if line.startswith(b"data: ")]
    times = [json.loads(line[6:])["updated_at"] for line in lines]
    times.append((await ended(http, gateway, job["id"]))["updated_at"])
    assert times == sorted(times)
    assert times[-1] > job["created_at"] + 90

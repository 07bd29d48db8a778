"""The cases: each is a program run in a process of its own, ours, the peer's and the floor's by turns.

A program prints one number. Wall and CPU are taken inside it, around the work and after the imports.
"""

from __future__ import annotations

from dataclasses import dataclass, field

OURS = """
import asyncio, os, sys, time, resource, tempfile
import hfmedia
N, TASK, MODEL, WHAT = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
async def main():
    with tempfile.TemporaryDirectory() as home:
        async with hfmedia.MediaClient(store=home) as client:
            make = getattr(client, TASK)
            await make("warm", model=MODEL)
            cpu, wall = time.process_time(), time.perf_counter()
            await asyncio.gather(*(make(f"a kite {i}", model=MODEL) for i in range(N)))
            print((time.process_time() - cpu) / N * 1000 if WHAT == "cpu" else time.perf_counter() - wall)
asyncio.run(main())
"""

FLOOR = """
import asyncio, os, sys, time, tempfile, pathlib
import aiohttp
N, TASK, WHAT = int(sys.argv[1]), sys.argv[2], sys.argv[4]
BASE, HEADERS = os.environ["HFMEDIA_ROUTER"], {"Authorization": "Bearer " + os.environ["HF_TOKEN"]}
async def one(session, folder, i):
    video = TASK == "text_to_video"
    query = "?_subdomain=queue" if video else ""
    asked = {"prompt": f"a kite {i}"}
    async with session.post(f"{BASE}/fal-ai/bench/kite{query}", json=asked, headers=HEADERS) as reply:
        told = await reply.json()
    if video:
        path = told["response_url"].split("queue.fal.run")[1]
        while True:
            await asyncio.sleep(0.25)
            async with session.get(f"{BASE}/fal-ai{path}/status{query}", headers=HEADERS) as reply:
                if (await reply.json())["status"] == "COMPLETED":
                    break
        async with session.get(f"{BASE}/fal-ai{path}{query}", headers=HEADERS) as reply:
            url = (await reply.json())["video"]["url"]
    else:
        url = told["images"][0]["url"]
    async with session.get(url) as reply:
        with open(pathlib.Path(folder, str(i)), "wb") as file:
            async for chunk in reply.content.iter_chunked(262144):
                file.write(chunk)
async def main():
    with tempfile.TemporaryDirectory() as folder:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            await one(session, folder, -1)
            cpu, wall = time.process_time(), time.perf_counter()
            await asyncio.gather(*(one(session, folder, i) for i in range(N)))
            print((time.process_time() - cpu) / N * 1000 if WHAT == "cpu" else time.perf_counter() - wall)
asyncio.run(main())
"""

PEER = """
import asyncio, os, sys, time
from huggingface_hub import AsyncInferenceClient, constants
from huggingface_hub.inference._providers import fal_ai, _common
from huggingface_hub.hf_api import InferenceProviderMapping
N, TASK, MODEL, WHAT = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
constants.INFERENCE_PROXY_TEMPLATE = os.environ["HFMEDIA_ROUTER"] + "/{provider}"
entry = InferenceProviderMapping(provider="fal-ai", hf_model_id=MODEL, providerId="bench/kite", status="live",
                                 task=TASK.replace("_", "-"))
_common.HARDCODED_MODEL_INFERENCE_MAPPING["fal-ai"][MODEL] = entry
parse = fal_ai.urlparse
def routed(url):  # the helper adds the provider's name only for the real router's host
    made = parse(url)
    return made._replace(netloc=made.netloc + "/router/fal-ai") if made.netloc.startswith("127.") else made
fal_ai.urlparse = routed
async def main():
    async with AsyncInferenceClient(provider="fal-ai", api_key=os.environ["HF_TOKEN"]) as client:
        make = getattr(client, TASK)
        await make("warm", model=MODEL)
        cpu, wall = time.process_time(), time.perf_counter()
        await asyncio.gather(*(make(f"a kite {i}", model=MODEL) for i in range(N)))
        print((time.process_time() - cpu) / N * 1000 if WHAT == "cpu" else time.perf_counter() - wall)
asyncio.run(main())
"""

TIMED = """
import subprocess, sys, time
began = time.perf_counter()
subprocess.run([sys.executable, *sys.argv[1:]], check=True, stdout=subprocess.DEVNULL)
print((time.perf_counter() - began) * 1000)
"""


@dataclass(frozen=True)
class Case:
    """One thing measured: the programs with their arguments, the unit, and what it may be at most."""

    about: str
    unit: str
    programs: dict[str, tuple[str, ...]]
    budget: str
    within: dict[str, float] = field(default_factory=dict)  # ours at most so many times that program's
    at_most: float | None = None  # ours less the floor, in the unit


VIDEOS = ("100", "text_to_video", "bench/video", "wall")
IMAGES = ("200", "text_to_image", "bench/image", "cpu")

CASES = {
    "import": Case(
        "import hfmedia, beyond the bare interpreter",
        "ms",
        {
            "ours": (TIMED, "-c", "import hfmedia"),
            "floor": (TIMED, "-c", "pass"),
            "huggingface_hub": (TIMED, "-c", "from huggingface_hub import AsyncInferenceClient"),
        },
        "60 ms beyond the interpreter",
        at_most=60,
    ),
    "help": Case(
        "hfmedia --help, warm",
        "ms",
        {"ours": (TIMED, "-m", "hfmedia", "--help"), "floor": (TIMED, "-c", "pass")},
        "200 ms",
        at_most=200,
    ),
    "videos": Case(
        "100 video jobs of 2 s each, at once",
        "s",
        {"ours": (OURS, *VIDEOS), "floor": (FLOOR, *VIDEOS), "huggingface_hub": (PEER, *VIDEOS)},
        "2.3 s",
        at_most=2.3,
    ),
    "image": Case(
        "CPU for one image of 1 MB by URL, submit to file",
        "ms",
        {"ours": (OURS, *IMAGES), "floor": (FLOOR, *IMAGES), "huggingface_hub": (PEER, *IMAGES)},
        "1.35 x the floor, 0.5 x huggingface_hub",
        within={"floor": 1.35, "huggingface_hub": 0.5},
    ),
}

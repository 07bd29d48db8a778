"""Lets the version before the redesign write the files beside this script. It runs on commit 0dab672 alone.

It imports names that the redesign changed, so it is kept to tell how the files came to be, not to be run again. See
README.md for what they hold. From a checkout of that commit:

    PYTHONPATH=src:. python PATH/TO/make_fixtures.py

Everything happens below /tmp/hfmedia-fixture and at two fixed ports of loopback, so that no path and no address of the
machine gets into the files.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, ClassVar

HERE = Path(__file__).resolve().parent
ROOT = Path("/tmp/hfmedia-fixture")
SANDBOX_PORT, GATEWAY_PORT = 18765, 18766
URL = f"http://127.0.0.1:{GATEWAY_PORT}"
FLUX, SDXL, EDIT = (
    "black-forest-labs/FLUX.1-schnell",
    "stabilityai/stable-diffusion-xl-base-1.0",
    "black-forest-labs/FLUX.1-Kontext-dev",
)
WAN, ANIMATE = "Wan-AI/Wan2.2-T2V-A14B", "Wan-AI/Wan2.2-I2V-A14B"
SMALL: dict[str, Any] = {"width": 256, "height": 256}
MOST_FILE = 9_000  # bytes; a larger media file stays away, as if somebody had removed it
AWAY = ("two-of-a-kind", "direct", "castle", "failover", "from-a-batch", "old-front-end", "in-other-units",
        "in-dollars", "edited", "a-deleted-film")  # fmt: skip
IMAGE = ROOT / "inputs" / "sketch.png"
CONFIG = """\
caller_tokens = true
most_wait = 8
most_body = 100000

[aliases]
"house-style" = "black-forest-labs/FLUX.1-schnell:nscale"

[prices]
"black-forest-labs/FLUX.1-schnell:nscale" = { output = 0.003 }
"Wan-AI/Wan2.2-T2V-A14B:fal-ai" = { second = 0.08 }
"""


def say(*words: object) -> None:
    sys.stderr.write(" ".join(map(str, words)) + "\n")


# -- the simulated world ----------------------------------------------------------------------------------------------


class Ground:
    """The sandbox in a thread of its own, at a fixed port; its pictures and films are small, whatever was asked for."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self.world: Any = self._wait(self._open())
        self.environ = {**self.world.environment, "HOME": str(ROOT), "PATH": os.environ["PATH"], "TZ": "UTC"}
        self.environ |= {"PYTHONPATH": os.environ.get("PYTHONPATH", ""), "LANG": "C.UTF-8", "COLUMNS": "120"}

    def home(self, name: str) -> dict[str, str]:
        return {**self.environ, "HFMEDIA_HOME": str(ROOT / name)}

    def fault(self, provider: str, kind: str, **order: Any) -> None:
        self.do(lambda: self.world.fault(provider, kind, **order))

    def calm(self) -> None:
        self.do(lambda: self.world.world.faults.clear())

    def do(self, deed: Callable[[], Any]) -> Any:
        async def done() -> Any:
            return deed()

        return self._wait(done())

    def asked(self) -> int:
        return int(self.do(lambda: sum(seen.kind == "submit" for seen in self.world.requests)))

    async def _open(self) -> Any:
        import msgspec

        from hfmedia.sandbox import Sandbox
        from hfmedia.sandbox.cdn import drawn

        sandbox = await Sandbox(port=SANDBOX_PORT, speed=50).__aenter__()

        async def draw(recipe: Any) -> bytes:
            size = {"width": 128, "height": 128, "seconds": 0.5} if recipe.video else {"width": 96, "height": 96}
            return await asyncio.to_thread(drawn, msgspec.structs.replace(recipe, **size))

        sandbox.world.shelf.draw = draw  # type: ignore[method-assign]
        return sandbox

    def _wait(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)


# -- processes of the version before ----------------------------------------------------------------------------------


def command(environ: dict[str, str], *words: str, codes: tuple[int, ...] = (0,), stdin: str = "") -> dict[str, Any]:
    """What ``hfmedia`` says: its exit code, the lines of stdout (JSON where they are) and those of stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "hfmedia", *words], env=environ, cwd=ROOT, input=stdin, capture_output=True, text=True
    )
    if done.returncode not in codes:
        raise SystemExit(f"hfmedia {words} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return {"command": ["hfmedia", *words], "exit": done.returncode, "stdout": read(done.stdout),
            "stderr": read(done.stderr)}  # fmt: skip


def read(text: str) -> list[Any]:
    lines: list[Any] = []
    for line in text.splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            lines.append(line)
    return lines


def start(environ: dict[str, str], deed: str, **order: Any) -> subprocess.Popen[bytes]:
    """A process with a client of its own that obeys, as the children of the crash harness do."""
    order = {"deed": deed, "environ": environ, **order}
    return subprocess.Popen([sys.executable, __file__, "child", json.dumps(order)], env=environ, stdout=subprocess.PIPE)


def make(environ: dict[str, str], *, killed: bool = False, **order: Any) -> Any:
    """What a process says that makes these wishes; ``killed``: it dies at the step named in ``fate``."""
    child = start(environ, "make", **order)
    out, _ = child.communicate(timeout=60)
    expected = -signal.SIGKILL if killed else 0
    if child.returncode != expected:
        raise SystemExit(f"a child ended with {child.returncode}, not {expected}: {order}")
    return None if killed else json.loads(out)


def one(prompt: str, model: str = f"{FLUX}:fal-ai", **wish: Any) -> dict[str, Any]:
    size = {} if "video" in str(wish.get("task")) else SMALL
    return {"prompt": prompt, "model": model, **size, **wish}


def child(text: str) -> None:
    from tests.crash.child import obey

    print(json.dumps(asyncio.run(obey(json.loads(text)))))  # noqa: T201


def job_of(home: str, prompt: str) -> str:
    """The id of the newest job under a prompt; read without a word to the ledger."""
    with closing(sqlite3.connect(f"file:{ROOT / home / 'ledger.sqlite3'}?mode=ro", uri=True)) as connection:
        rows = connection.execute(
            "SELECT id FROM jobs WHERE json_extract(body, '$.request.prompt') = ? ORDER BY seq DESC", (prompt,)
        ).fetchall()
    if not rows:
        raise SystemExit(f"there is no job under {prompt!r}")
    return str(rows[0][0])


def waited(look: Callable[[], Any], what: str, seconds: float = 30) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.05)
    raise SystemExit(f"waited too long for {what}: {found!r}")


# -- home -------------------------------------------------------------------------------------------------------------


def make_home(ground: Ground) -> None:
    env, film = ground.home("home"), {"task": "text-to-video"}
    media = f"{ROOT}/home/media"
    # stored, by the command
    command(env, "a red fox in the snow", "-m", f"{FLUX}:fal-ai", "--size", "256x256", "--seed", "7", "--steps", "4",
            "--guidance", "3.5", "--negative", "blurry", "-p", "enable_safety_checker=false",
            "-p", 'loras=[{"path":"a"}]', "-o", f"{media}/fox.jpg", "--json")  # fmt: skip
    command(env, "make it autumn", "--image", str(IMAGE), "-m", f"{EDIT}:replicate", "-o", f"{media}/", "--json")
    command(env, "waves at night", "-m", f"{WAN}:fal-ai", "--seconds", "5", "--aspect-ratio", "16:9",
            "-o", f"{media}/waves.mp4", "--json")  # fmt: skip
    command(env, "a pixel castle", "-m", "nerijs/pixel-art-xl:fal-ai", "--size", "256x256", "--bill-to", "acme",
            "-o", f"{media}/castle.jpg")  # fmt: skip
    direct = {**env, "HFMEDIA_DIRECT": "fal-ai", "FAL_KEY": ground.world.keys["fal-ai"]}
    command(direct, "asked directly", "-m", f"{FLUX}:fal-ai", "--size", "256x256", "-o", f"{media}/direct.jpg")
    url = sqlite_value("home", "SELECT json_extract(body, '$.outputs[0].url') FROM jobs ORDER BY seq LIMIT 1")
    command(env, "let it move", "--image", url, "-m", f"{ANIMATE}:fal-ai", "-o", f"{media}/moving.mp4")
    # stored twice, because its file went away
    command(env, "stored twice", "-m", f"{FLUX}:fal-ai", "--size", "256x256", "-o", f"{media}/twice.jpg")
    Path(f"{media}/twice.jpg").unlink()
    Path(f"{media}/twice.jpg.json").unlink(missing_ok=True)
    command(env, "jobs", "resume", job_of("home", "stored twice"))
    # failover, then stored
    ground.fault("fal-ai", "busy", retry_after=1)
    command(env, "after a failover", "-m", FLUX, "--size", "256x256", "-o", f"{media}/failover.jpg")
    # n > 1 under one idempotency key; one output fails, and is tried anew under the same key
    ground.fault("fal-ai", "moderated", after=1)
    trio = one("two of a kind", n=2, seed=11, idempotency_key="summer-poster")
    make(env, wishes=[trio])
    ground.calm()
    make(env, wishes=[trio])
    # a batch
    sheet = ROOT / "home" / "sheet.txt"
    sheet.write_text("from a batch, the first\nfrom a batch, the second\n")
    command(env, "batch", str(sheet), "-o", f"{ROOT}/home/batch", "-m", f"{FLUX}:fal-ai", "--size", "256x256")
    # in doubt, and what became of doubts
    for prompt, model in (
        ("in doubt", FLUX), ("dropped", FLUX), ("sent again", FLUX), ("looked up", f"{FLUX}:replicate"),
    ):  # fmt: skip
        ground.fault("*", "disconnect", step="submit")
        command(env, prompt, "-m", model if ":" in model else f"{model}:fal-ai", "--size", "256x256",
                "-o", f"{media}/", codes=(8,))  # fmt: skip
        ground.calm()
    command(env, "jobs", "resolve", job_of("home", "dropped"), "--drop")
    command(env, "jobs", "resolve", job_of("home", "sent again"), "--resend", "--yes")
    command(env, "jobs", "resolve", job_of("home", "looked up"), "--ask")
    # failed
    ground.fault("fal-ai", "credit", times=None, by="provider")
    ground.fault("replicate", "server", times=None, step="submit")
    ground.fault("wavespeed", "moderated", times=None)
    command(
        env,
        "refused by everybody",
        "-m",
        "stabilityai/stable-diffusion-3.5-large",
        "--size",
        "256x256",
        "-o",
        f"{media}/",
        codes=(6,),
    )
    ground.calm()
    ground.fault("fal-ai", "fail", text="CUDA out of memory")
    command(env, "accepted, then failed", "-m", f"{WAN}:fal-ai", "-o", f"{media}/", codes=(6,))
    ground.fault("fal-ai", "moderated")
    command(env, "against the rules", "-m", f"{FLUX}:fal-ai", "--size", "256x256", "-o", f"{media}/", codes=(6,))
    ground.fault("cdn", "expired", times=None)
    command(env, "expired", "-m", f"{FLUX}:fal-ai", "--size", "256x256", "-o", f"{media}/", codes=(6,))
    ground.calm()
    # finished, not downloaded: a broken download, a death before it, and inline media that died with its process
    ground.fault("cdn", "cdn-html", times=None)
    command(env, "download failed", "-m", f"{FLUX}:fal-ai", "--size", "256x256", "-o", f"{media}/", codes=(6,))
    ground.calm()
    make(env, killed=True, fate=["after made"], wishes=[one("killed before the download")])
    make(env, killed=True, fate=["after made"], wishes=[one("inline and lost", f"{FLUX}:nscale")])
    # cancelled: at the provider, where it cannot be, and before anything was sent
    for prompt, provider, codes in (("cancelled there", "fal-ai", (0,)), ("cannot be cancelled", "together", (6,))):
        ground.fault(provider, "cold", seconds=1_000_000)
        make(env, killed=True, fate=["between polls"], wishes=[one(prompt, f"{WAN}:{provider}", **film)])
        command(env, "jobs", "cancel", job_of("home", prompt), codes=codes)
    make(env, killed=True, fate=["after created"], wishes=[one("cancelled unsent")])
    command(env, "jobs", "cancel", job_of("home", "cancelled unsent"))
    # running: let go of by a time limit, and killed
    ground.fault("fal-ai", "cold", seconds=1_000_000)
    command(env, "out of time", "-m", f"{WAN}:fal-ai", "--timeout", "3", "-o", f"{media}/", codes=(7,))
    ground.fault("novita", "cold", seconds=1_000_000)
    make(env, killed=True, fate=["between polls", 3], wishes=[one("running", f"{WAN}:novita", **film)])
    # ready: killed after a refusal, while it would have waited to try again
    ground.fault("fal-ai", "busy", retry_after=30)
    make(env, killed=True, fate=["after refused"], wishes=[one("refused once")])
    # new: killed before a way was chosen
    make(env, killed=True, fate=["after created"], wishes=[one("new", idempotency_key="asked once")])
    ground.calm()
    # sending: killed while the request was on its way. The last of all: whoever looks next finds a doubt
    ground.fault("fal-ai", "hang", step="submit")
    before = ground.asked()
    last = start(env, "make", wishes=[one("on its way", n=1)])
    waited(lambda: ground.asked() > before, "the request on its way")
    time.sleep(0.3)
    shown = command(env, "jobs", "show", job_of("home", "on its way"), "--json")
    golden("cli/jobs-show-sending-alive", steady(shown, last.pid))
    last.kill()
    last.communicate()
    ground.calm()
    snapshot("home")


def steady(told: Any, pid: int) -> Any:
    """The same with 4242 for the number of our process."""
    return json.loads(json.dumps(told).replace(str(pid), "4242"))


def golden_home(ground: Ground) -> None:
    """What the command says of this home. The job on its way is in doubt from the first word on."""
    env = ground.home("home")
    golden("cli/jobs-list", command(env, "jobs", "list", "--all", "--json"))
    golden("cli/jobs-list-doubt", command(env, "jobs", "list", "--state", "doubt", "--json"))
    prompts = {
        "new": "new", "ready": "sent again", "ready-refused": "refused once", "sending-orphan": "on its way",
        "doubt": "in doubt", "running": "running", "running-detached": "out of time", "finished": "download failed",
        "finished-inline-lost": "inline and lost", "finished-killed": "killed before the download",
        "stored": "a red fox in the snow", "stored-image-to-image": "make it autumn", "stored-video": "waves at night",
        "stored-failover": "after a failover", "stored-twice": "stored twice",
        "failed-refusals": "refused by everybody",
        "failed": "accepted, then failed", "failed-content": "against the rules", "failed-gone": "expired",
        "failed-dropped": "dropped", "cancelled": "cancelled there", "cancelled-unreached": "cannot be cancelled",
        "cancelled-unsent": "cancelled unsent", "looked-up": "looked up", "lora": "a pixel castle",
    }  # fmt: skip
    for name, prompt in prompts.items():
        golden(f"cli/jobs-show-{name}", command(env, "jobs", "show", job_of("home", prompt), "--json"))
    for by in ("provider", "model", "day"):
        golden(f"cli/jobs-costs-{by}", command(env, "jobs", "costs", "--by", by, "--json"))
    plain = command(env, "jobs", "show", job_of("home", "after a failover"))
    golden("cli/jobs-show-plain", plain)
    golden("cli/jobs-list-plain", command(env, "jobs", "list", "--all"))
    golden("cli/jobs-resolve", command(env, "jobs", "resolve", job_of("home", "in doubt"), "--drop", "--json"))
    golden("cli/jobs-cancel", command(env, "jobs", "cancel", job_of("home", "running"), "--json", codes=(0, 6)))
    golden("cli/jobs-resume", command(env, "jobs", "resume", job_of("home", "killed before the download"), "--json"))
    over = command(env, "jobs", "resume", job_of("home", "on its way"), "--json", codes=(8,))
    golden("cli/jobs-resume-doubt", over)
    golden("cli/jobs-prune", command(env, "jobs", "prune", "--before", "2020-01-01", "--yes", "--json"))
    sandbox = ("--sandbox", "--json", "-m", f"{FLUX}:fal-ai", "--size", "256x256", "--seed", "7", "-o", "out/fox.jpg")
    golden("cli/generate-sandbox", command(env, "a red fox", *sandbox))
    golden("cli/generate-quiet", command(env, "a red fox", "--sandbox", "-m", FLUX, "-o", "out/quiet.jpg", "-q"))
    golden("cli/models", command(env, "models", "--task", "text-to-video", "--json"), most=3)
    golden("cli/providers", command(env, "providers", FLUX, "--json"))
    ground.fault("fal-ai", "credential", times=None)
    golden("cli/generate-error-credential", command(
        env, "no", "-m", f"{FLUX}:fal-ai", "--json", "-o", "out/", codes=(3,)))  # fmt: skip
    ground.calm()
    golden("cli/generate-error-model", command(env, "no", "-m", "acme/none", "--json", "-o", "out/", codes=(5,)))
    golden("cli/generate-error-usage", command(env, "no", "--size", "1x", "--json", "-o", "out/", codes=(2,)))


# -- batch ------------------------------------------------------------------------------------------------------------


def make_batch(ground: Ground) -> None:
    env, sheet = ground.home("batch/home"), ROOT / "batch" / "prompts.jsonl"
    model = {"model": f"{FLUX}:fal-ai", "size": "256x256"}
    lines: list[dict[str, Any]] = [
        {"prompt": "a lighthouse", **model, "output": "lighthouse.jpg", "seed": 3},
        {"prompt": "two boats", **model, "n": 2},
        {"prompt": "a named line", **model, "key": "my-own-name"},
        {"prompt": "in a folder", **model, "output": "below/harbor.jpg"},
        {"prompt": "make it night", "model": f"{EDIT}:replicate", "image": "../inputs/sketch.png"},
        {"prompt": "a short film", "model": f"{WAN}:fal-ai", "seconds": 2},
        {"prompt": "this one fails", "model": f"{WAN}:wavespeed"},
        {"prompt": "this one is in doubt", "model": f"{FLUX}:together", "size": "256x256"},
    ]
    sheet.parent.mkdir(parents=True, exist_ok=True)
    sheet.write_text("".join(json.dumps(line) + "\n" for line in lines))
    ground.fault("together", "disconnect", step="submit")
    ground.fault("wavespeed", "fail", text="the model gave up")
    words = ("batch", str(sheet), "-o", f"{ROOT}/batch/out", "--json", "--concurrency", "1")
    told = command(env, *words, codes=(0, 6, 8))
    ground.calm()
    snapshot("batch")
    golden("cli/batch", told)
    golden("cli/batch-dry-run", command(env, *words, "--dry-run"))
    golden("cli/batch-again", command(env, *words, codes=(0, 6, 8)))
    golden("cli/batch-jobs-list", command(env, "jobs", "list", "--all", "--json"))
    broken = ROOT / "batch" / "broken.jsonl"
    broken.write_text('{"prompt": "fine"}\n{"prompt": "", "seed": "x"}\nnot json\n')
    golden("cli/batch-broken", command(env, "batch", str(broken), "-o", f"{ROOT}/batch/none", "--json", codes=(2,)))


# -- gateway ----------------------------------------------------------------------------------------------------------


class Server:
    """``hfmedia serve`` over the home ``gateway``."""

    all: ClassVar[list[Server]] = []

    def __init__(self, ground: Ground) -> None:
        self.all.append(self)
        config = ROOT / "gateway.toml"
        config.write_text(CONFIG)
        words = [sys.executable, "-m", "hfmedia", "serve", "--port", str(GATEWAY_PORT), "--config", str(config), "-q"]
        self.process = subprocess.Popen(words, env=ground.home("gateway"), cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        if not self.process.stdout.readline().startswith("http"):
            raise SystemExit("the gateway did not start")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def ask(
    method: str, path: str, body: Any = None, *, key: str | None = None, raw: bytes | None = None, **headers: str
) -> dict[str, Any]:
    """One request to the gateway, as a golden file tells it."""
    data = raw if raw is not None else None if body is None else json.dumps(body).encode()
    sent = {name.replace("_", "-"): text for name, text in headers.items()}
    sent.setdefault("content-type", "application/json")
    if key:
        sent["authorization"] = f"Bearer {key}"
    request = urllib.request.Request(f"{URL}{path}", data, sent, method=method)
    try:
        with urllib.request.urlopen(request, timeout=40) as reply:
            status, got, text = reply.status, reply.headers, reply.read()
    except urllib.error.HTTPError as error:
        status, got, text = error.code, error.headers, error.read()
    named = ("content-type", "x-should-retry", "retry-after", "www-authenticate")
    told: dict[str, Any] = {"request": f"{method} {path}"}
    if body is not None:
        told["sent"] = body
    told |= {"status": status, "headers": {name: got[name] for name in named if got[name]}}
    try:
        told["body"] = json.loads(text)
    except ValueError:
        told["body"] = text.decode("utf-8", "replace")
    return told


def ok(told: dict[str, Any], *statuses: int) -> Any:
    if told["status"] not in (statuses or (200, 202)):
        raise SystemExit(f"unexpected: {json.dumps(told)[:2000]}")
    return told["body"]


def stream(path: str, key: str, events: int, rung: Callable[[], object] = lambda: None) -> dict[str, Any]:
    """The first events of a stream, as they stand on the wire; ``rung`` is done once it listens."""
    request = urllib.request.Request(f"{URL}{path}", headers={"authorization": f"Bearer {key}"})
    told: list[dict[str, Any]] = []
    with urllib.request.urlopen(request, timeout=20) as reply:
        now: dict[str, Any] = {}
        rang = False
        while len(told) < events and (line := reply.readline()):
            if not rang:
                rang = True
                threading.Thread(target=rung, daemon=True).start()
            name, _, rest = line.decode().rstrip("\n").partition(":")
            if line.strip():
                now[name or "comment"] = (
                    json.loads(rest) if name == "data" and rest.strip()[:1] == "{" else rest.strip()
                )
            elif now:
                told.append(now)
                now = {}
    return {"request": f"GET {path}", "events": told}


def make_gateway(ground: Ground) -> None:
    env = ground.home("gateway")
    server = Server(ground)
    image, film = "/v1/images/generations", "/v1/videos"
    small = {"size": "256x256"}
    # before the first key: this machine alone. The first order is forgotten at once, and its tab stays
    ok(ask("POST", image, {"model": f"{FLUX}:nscale", "prompt": "forgotten", "response_format": "url", **small}))
    forget_all()
    ok(ask("POST", image, {"model": f"{FLUX}:nscale", "prompt": "before any key", "response_format": "url", **small}))
    keys: dict[str, dict[str, Any]] = {}

    def key(name: str, *words: str) -> str:
        (told,) = command(env, "keys", "make", name, *words, "--json")["stdout"]
        keys[name] = told
        return str(told["key"])

    alice = key("alice", "--models", "black-forest-labs/*", "--models", "Wan-AI/*", "--images-per-day", "50",
                "--videos-per-day", "5", "--usd-per-month", "20")  # fmt: skip
    admin = key("operator", "--admin")
    key("billed", "--bill-to", "acme", "--requests-per-minute", "2", "--expires", "36500")
    tiny = key("tiny", "--images-per-day", "1", "--usd-per-month", "0.05")
    key("expired", "--expires", "0.00001")
    key("revoked", "--images-per-day", "3")
    command(env, "keys", "revoke", "revoked")
    key("limited-later")
    command(env, "keys", "limit", "limited-later", "--videos-per-day", "1")
    billed = keys["billed"]["key"]
    # images: charged at the configured price and at the reported one, with warnings, n = 2, an idempotency key
    pair = {"model": f"{FLUX}:replicate", "prompt": "a pair of foxes", "n": 2, "response_format": "url", "seed": 21,
            "style": "vivid", "partial_images": 2, **small}  # fmt: skip
    golden("gateway/images-n2", told := ask("POST", image, pair, key=alice, Idempotency_Key="pair-1"))
    ok(told)
    golden("gateway/images-n2-again", ask("POST", image, pair, key=alice, Idempotency_Key="pair-1"))
    one_ = {"model": f"{FLUX}:nscale", "prompt": "one fox", **small}
    golden("gateway/images-b64", without_pixels(told := ask("POST", image, one_, key=alice)))
    ok(told)
    ok(ask("POST", image, {"model": f"{FLUX}:together", "prompt": "reported in dollars", "response_format": "url",
                           **small}, key=alice))  # fmt: skip
    ok(ask("POST", image, {"model": f"{SDXL}:fal-ai", "prompt": "in other units", "response_format": "url", **small},
           key=admin))  # fmt: skip
    streamed = {**one_, "prompt": "streamed", "stream": True}
    golden("gateway/images-stream", without_pixels(ask("POST", image, streamed, key=alice)))
    picture = "data:image/png;base64," + base64.b64encode(IMAGE.read_bytes()).decode()
    edits = {"model": f"{EDIT}:fal-ai", "prompt": "edited", "image": picture, "response_format": "url"}
    told = ask("POST", "/v1/images/edits", edits, key=alice)
    ok(told)
    told["sent"]["image"] = "data:image/png;base64,…"
    golden("gateway/images-edit", told)
    ok(ask("POST", image, {"model": f"{FLUX}:nscale", "prompt": "on somebody's account", "response_format": "url",
                           **small}, key=billed))  # fmt: skip
    # an own token pays
    own = ground.world.token
    ok(ask("POST", image, {"model": f"{FLUX}:nscale", "prompt": "with an own token", "response_format": "url", **small},
           key=own))  # fmt: skip
    # jobs of our own API: one refused by everybody, its key free again; one in doubt; one cancelled; one deleted
    ground.fault("nscale", "moderated")
    fails = {"model": f"{FLUX}:nscale", "prompt": "against the rules", "width": 256, "height": 256}
    ok(ask("POST", "/v1/jobs", fails, key=alice, Idempotency_Key="in-vain"))
    ended(alice, "against the rules", "failed")
    ground.fault("fal-ai", "disconnect", step="submit")
    ok(ask("POST", "/v1/jobs", {**fails, "model": f"{FLUX}:fal-ai", "prompt": "in doubt"}, key=alice))
    ended(alice, "in doubt", "in_doubt", "doubt")
    ground.calm()
    ground.fault("fal-ai", "cold", seconds=1_000_000)
    golden("gateway/jobs-begun", told := ask("POST", "/v1/jobs", {
        "model": f"{WAN}:fal-ai", "prompt": "cancelled", "seconds": 2, "n": 1}, key=alice))  # fmt: skip
    (begun,) = ok(told)["data"]
    waited(lambda: sqlite_value("gateway", "SELECT state FROM jobs WHERE id = ?", begun["id"]) == "running", "a start")
    golden("gateway/job-cancel", told := ask("POST", f"/v1/jobs/{begun['id']}/cancel", {}, key=alice))
    ok(told)
    for prompt in ("deleted", "half deleted"):
        n = 1 if prompt == "deleted" else 2
        made = {"model": f"{FLUX}:fal-ai", "prompt": prompt, "width": 256, "height": 256, "n": n}
        jobs = ok(ask("POST", "/v1/jobs", made, key=alice, Idempotency_Key=prompt.replace(" ", "-")))["data"]
        ended(alice, prompt, "completed", "stored")
        told = ask("DELETE", f"/v1/jobs/{jobs[-1]['id']}", key=alice)
        ok(told)
        golden("gateway/job-delete", told)
    # videos: completed, deleted, failed
    told = ask("POST", film, {"model": f"{WAN}:fal-ai", "prompt": "waves at night", "seconds": "2", "mood": "calm"},
               key=alice, Idempotency_Key="film-1")  # fmt: skip
    golden("gateway/video-begun", told)
    done = ok(told)["id"]
    waited(lambda: ask("GET", f"{film}/{done}", key=alice)["body"]["status"] == "completed", "a film")
    gone = ok(ask("POST", film, {"model": f"{WAN}:fal-ai", "prompt": "a deleted film", "seconds": "2"}, key=alice))[
        "id"
    ]
    waited(lambda: ask("GET", f"{film}/{gone}", key=alice)["body"]["status"] == "completed", "a film")
    golden("gateway/video-delete", told := ask("DELETE", f"{film}/{gone}", key=alice))
    ok(told)
    ground.fault("fal-ai", "fail", text="CUDA out of memory")
    bad = ok(ask("POST", film, {"model": f"{WAN}:fal-ai", "prompt": "a failed film", "seconds": "2"}, key=alice))["id"]
    waited(lambda: ask("GET", f"{film}/{bad}", key=alice)["body"]["status"] == "failed", "a failed film")
    # a front-end of old
    ok(ask("POST", "/sdapi/v1/txt2img", {"prompt": "for an old front-end", "width": 256, "height": 256}, key=alice))
    # not over when the gateway is killed: a film under way, an own token's, and a job on its way out
    ground.fault("fal-ai", "cold", seconds=1_000_000, times=2)
    slow = ok(ask("POST", film, {"model": f"{WAN}:fal-ai", "prompt": "under way", "seconds": "2"}, key=alice,
                  Idempotency_Key="film-2"))["id"]  # fmt: skip
    held = ok(ask("POST", film, {"model": f"{WAN}:fal-ai", "prompt": "an own token's", "seconds": "2"}, key=own))["id"]
    waited(lambda: all(
        ask("GET", f"/v1/jobs/{job}", key=admin)["body"].get("state") in (None, "running", "queued", "in_progress")
        and sqlite_value("gateway", "SELECT count(*) FROM jobs WHERE state = 'running'") >= 2
        for job in (slow, held)), "two films under way")  # fmt: skip
    ground.fault("nscale", "hang", step="submit")
    before = ground.asked()
    ok(
        ask(
            "POST",
            "/v1/jobs",
            {"model": f"{FLUX}:nscale", "prompt": "on its way", "width": 256, "height": 256},
            key=alice,
        )
    )
    waited(lambda: ground.asked() > before, "a request on its way")
    time.sleep(0.3)
    server.kill()
    ground.calm()
    snapshot("gateway")
    golden("gateway/keys", {"note": "They open this fixture and nothing else.", "keys": keys})
    golden_gateway(ground, keys, own, {"completed": done, "failed": bad, "running": slow, "tiny": tiny})


def ended(key: str, prompt: str, *states: str) -> None:
    def look() -> bool:
        jobs = ask("GET", "/v1/jobs?limit=200", key=key)["body"]["data"]
        mine = [job for job in jobs if job["prompt"] == prompt]
        return bool(mine) and all(set(states) & {job.get("state"), job.get("status")} for job in mine)

    waited(look, f"{prompt!r} to be {states}")


def forget_all() -> None:
    """What the janitor does with orders that are too old: they are forgotten, and what they count stays."""
    from hfmedia.server.books.book import Book

    book = Book(ROOT / "gateway" / "gateway.sqlite3")
    waited(lambda: not book.unsettled(), "a settled order")
    book.forget(time.time())
    book.close()


def golden_gateway(ground: Ground, keys: dict[str, dict[str, Any]], own: str, videos: dict[str, str]) -> None:
    """What the gateway says of its home after a start, the film still under way; then what errors look like."""
    server = Server(ground)
    alice, admin = (str(keys[name]["key"]) for name in ("alice", "operator"))
    on_its_way = waited(
        lambda: sqlite_value("gateway", "SELECT id FROM jobs WHERE state = 'doubt' ORDER BY seq DESC"), ""
    )
    waited(lambda: ask("GET", f"/v1/videos/{videos['running']}", key=alice)["body"]["status"] == "in_progress"
           or time.sleep(1) or True, "the film")  # fmt: skip
    get = {
        "jobs": "/v1/jobs?limit=200", "jobs-page": "/v1/jobs?limit=2", "jobs-open": "/v1/jobs?status=open",
        "jobs-deleted": "/v1/jobs?status=deleted", "jobs-failed": "/v1/jobs?status=failed",
        "usage": "/v1/usage", "providers": "/v1/providers", "videos": "/v1/videos",
        **{f"video-{name}": f"/v1/videos/{videos[name]}" for name in ("completed", "failed", "running")},
        "job-doubt": f"/v1/jobs/{on_its_way}",
    }  # fmt: skip
    for name, path in get.items():
        golden(f"gateway/{name}", told := ask("GET", path, key=alice))
        ok(told)
    for job in ask("GET", "/v1/jobs?limit=200", key=alice)["body"]["data"]:
        kind = f"{job.get('state') or job['status']}"
        golden(f"gateway/job-{kind}", ask("GET", f"/v1/jobs/{job['id']}", key=alice))
    golden("gateway/usage-admin", ask("GET", "/v1/usage", key=admin))
    golden("gateway/jobs-admin-page", ask("GET", "/v1/jobs?limit=3", key=admin))
    models = ask("GET", "/v1/models", key=admin)
    models["body"]["data"] = models["body"]["data"][:3]
    golden("gateway/models", models)
    golden("gateway/model", ask("GET", f"/v1/models/{FLUX}", key=admin))
    golden("gateway/healthz", ask("GET", "/healthz"))
    golden("gateway/readyz", ask("GET", "/readyz"))
    golden("gateway/preview", ask("POST", "/v1/jobs/preview", {"model": FLUX, "prompt": "a fox", "size": "300x200"},
                                  key=alice))  # fmt: skip
    stored = sqlite_value("gateway", "SELECT id FROM jobs WHERE state = 'stored' AND json_extract(body, "
                                     "'$.request.prompt') = 'half deleted' ORDER BY seq")  # fmt: skip
    running = sqlite_value("gateway", "SELECT id FROM jobs WHERE json_extract(body, '$.request.prompt') = 'under way'")
    golden("gateway/events-job-ended", stream(f"/v1/jobs/{stored}/events", alice, 1))
    golden("gateway/events-job-running", stream(f"/v1/jobs/{running}/events", alice, 1))
    golden("gateway/events-all", stream("/v1/events", alice, 3, lambda: [
        (time.sleep(0.5), ask(way, path, key=alice)) for way, path in (
            ("DELETE", f"/v1/jobs/{stored}"), ("POST", f"/v1/jobs/{stored}/restore"))]))  # fmt: skip
    golden("gateway/keys-list", command(ground.home("gateway"), "keys", "list", "--json"))
    golden("gateway/keys-show", command(ground.home("gateway"), "keys", "show", "alice", "--json"))
    golden("gateway/keys-list-plain", command(ground.home("gateway"), "keys", "list"))
    errors(ground, keys, own, videos, stored)
    server.kill()


def errors(ground: Ground, keys: dict[str, dict[str, Any]], own: str, videos: dict[str, str], stored: str) -> None:
    """One body for each code that is easy to provoke; named by the code that came."""
    alice, admin = keys["alice"]["key"], keys["operator"]["key"]
    image, film, small = "/v1/images/generations", "/v1/videos", {"size": "256x256", "response_format": "url"}
    fox = {"model": f"{FLUX}:fal-ai", "prompt": "a fox", **small}

    def tell(told: dict[str, Any], more: str = "") -> None:
        if not (isinstance(told["body"], dict) and "error" in told["body"]):
            say("no error:", json.dumps(told)[:300])
            return
        golden(f"gateway/error-{told['body']['error'].get('code')}{more}", told)

    tell(ask("GET", "/v1/jobs"))
    for name in ("expired", "revoked"):
        tell(ask("GET", "/v1/jobs", key=keys[name]["key"]), f"-{name}")
    tell(ask("GET", "/v1/jobs/none", key=alice))
    tell(ask("GET", f"{film}/none", key=alice))
    tell(ask("GET", "/v1/nowhere", key=alice))
    tell(ask("PUT", "/v1/jobs", {}, key=alice))
    tell(ask("GET", "/v1/jobs?limit=0", key=alice), "-query")
    tell(ask("POST", image, {**fox, "n": 0}, key=alice))
    tell(ask("POST", image, {**fox, "prompt": ""}, key=alice), "-prompt")
    tell(ask("POST", image, key=alice, raw=b"{not json"))
    tell(ask("POST", image, key=alice, raw=b"x=1", content_type="text/plain"))
    tell(ask("POST", image, {**fox, "model": "acme/none"}, key=admin))
    tell(ask("POST", image, {**fox, "model": "acme/unserved-model"}, key=admin))
    tell(ask("POST", image, {**fox, "model": SDXL}, key=alice))
    tell(ask("POST", "/v1/images/edits", {**fox, "image": "data:image/png;base64,AAAA"}, key=alice), "-image")
    tell(ask("POST", image, {**fox, "prompt": "another"}, key=alice, Idempotency_Key="pair-1"))
    tell(ask("POST", image, {**fox, "n": 2}, key=keys["tiny"]["key"]), "-images-never")
    tell(ask("POST", film, {"model": f"{WAN}:fal-ai", "prompt": "a fox", "seconds": "9"}, key=keys["tiny"]["key"]))
    for _ in range(4):
        told = ask("GET", "/v1/usage", key=keys["billed"]["key"])
    tell(told, "-requests")
    tell(ask("POST", f"/v1/jobs/{stored}/resolve", {"decision": "drop"}, key=alice))
    tell(ask("POST", f"/v1/jobs/{stored}/resolve", {"decision": "perhaps"}, key=alice), "-decision")
    tell(ask("GET", f"{film}/{videos['running']}/content", key=alice))
    tell(ask("GET", f"{film}/{videos['failed']}/content", key=alice))
    tell(ask("GET", "/metrics", key=alice))
    tell(ask("GET", "/media/none", key=alice), "-media")
    tell(ask("GET", "/v1/jobs", key="hf_short"), "-token")
    for kind, more in (
        ("credit", {}), ("credential", {}), ("forbidden", {}), ("status", {"status": 422}), ("moderated", {}),
        ("server", {}), ("busy", {"retry_after": 1}), ("fail", {}), ("garbage", {}), ("disconnect", {"step": "submit"}),
        ("expired", {}), ("cdn-html", {}),
    ):  # fmt: skip
        ground.fault("fal-ai", kind, times=None, **more)
        tell(ask("POST", image, {**fox, "prompt": f"a fox and {kind}"}, key=alice))
        ground.calm()
    ground.fault("fal-ai", "credential", times=None)
    tell(ask("POST", image, {**fox, "prompt": "own"}, key=own), "-own-token")
    ground.calm()
    ground.fault("hub", "server", times=None)
    tell(ask("GET", "/v1/models/acme/kite-diffusion", key=admin), "-hub")
    tell(ask("POST", image, {**fox, "model": "acme/kite-diffusion"}, key=admin), "-hub-images")
    ground.calm()
    tell(ask("POST", image, key=alice, raw=b"{" + b" " * 120_000 + b"}"))
    ground.fault("fal-ai", "cold", seconds=1_000_000)
    tell(ask("POST", image, {**fox, "prompt": "too slow"}, key=alice))


# -- keeping ----------------------------------------------------------------------------------------------------------


def sqlite_value(home: str, text: str, *values: object) -> Any:
    with closing(sqlite3.connect(f"file:{ROOT / home / 'ledger.sqlite3'}?mode=ro", uri=True)) as connection:
        found = connection.execute(text, values).fetchone()
    return found and found[0]


def golden(name: str, told: Any, *, most: int | None = None) -> None:
    if most is not None:
        told = {**told, "stdout": told["stdout"][:most]}
    path = HERE / "golden" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n")


def without_pixels(told: Any) -> Any:
    """The same with a few words in place of pictures as base64."""
    if isinstance(told, str) and "b64_json" in told:
        import re

        return re.sub(r'("b64_json": ?")[^"]+', r"\1(base64)", told)
    if isinstance(told, dict):
        return {
            name: "(base64)" if name == "b64_json" and item else without_pixels(item) for name, item in told.items()
        }
    return [without_pixels(item) for item in told] if isinstance(told, list) else told


def snapshot(name: str) -> None:
    """A copy of what lies under ROOT, its databases whole in one file each, without media files that are large."""
    target = HERE / name
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(ROOT / name, target, symlinks=True)
    for path in sorted(target.rglob("*.sqlite3")):
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            (HERE / "schema").mkdir(exist_ok=True)
            pragmas = [(word, connection.execute(f"PRAGMA {word}").fetchone()[0])
                       for word in ("user_version", "application_id", "journal_mode", "page_size")]  # fmt: skip
            text = "".join(f"-- PRAGMA {word} = {value}\n" for word, value in pragmas)
            text += "".join(f"-- meta: {row}\n" for row in connection.execute("SELECT * FROM meta"))
            text += "".join(f"{sql};\n" for (sql,) in connection.execute(
                "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid"))  # fmt: skip
            (HERE / "schema" / f"{path.stem}.sql").write_text(text)
        for end in ("-wal", "-shm"):
            with suppress(FileNotFoundError):
                path.with_name(path.name + end).unlink()
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))
        path.unlink()
    list_ids(name)
    for path in sorted(target.rglob("*")):
        if not path.is_file() or path.suffix not in (".jpg", ".png", ".jpeg", ".webp", ".mp4", ".webm"):
            continue
        if path.stat().st_size > MOST_FILE or any(word in path.name for word in AWAY):
            say("left away:", path.relative_to(HERE), path.stat().st_size)
            path.unlink()


def list_ids(name: str) -> None:
    """Adds to ids.json what the ledger holds: each job with its state and its facts; and the orders of a gateway."""
    path = HERE / "ids.json"
    told = json.loads(path.read_text()) if path.exists() else {}
    home = ROOT / name / "home" if name == "batch" else ROOT / name
    with closing(sqlite3.connect(f"file:{home / 'ledger.sqlite3'}?mode=ro", uri=True)) as connection:
        jobs = "SELECT id, state, key, task, provider, json_extract(body, '$.request.prompt') FROM jobs ORDER BY seq"
        facts = "SELECT kind FROM facts WHERE job = ? ORDER BY seq"
        told[name] = [
            dict(zip(("id", "state", "key", "task", "provider", "prompt"), row, strict=True))
            | {"facts": [kind for (kind,) in connection.execute(facts, row[:1])]}
            for row in connection.execute(jobs).fetchall()
        ]
    if name == "gateway":
        with closing(sqlite3.connect(f"file:{home / 'gateway.sqlite3'}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            orders = "SELECT o.id, o.key, o.kind, o.api, o.idempotency_key, o.deleted, t.standing, t.micro"
            told["orders"] = [dict(row) for row in connection.execute(f"{orders} FROM orders o JOIN tabs t USING (id)")]
            told["tabs without an order"] = [
                dict(row) for row in connection.execute("SELECT * FROM tabs WHERE id NOT IN (SELECT id FROM orders)")
            ]
            told["keys"] = [dict(row) for row in connection.execute("SELECT id, name, made, revoked FROM keys")]
    rows = [f"{json.dumps(part)}: [\n" + ",\n".join(json.dumps(row) for row in told[part]) + "\n]" for part in told]
    path.write_text("{" + ",\n".join(rows) + "}\n")


def main() -> None:
    shutil.rmtree(ROOT, ignore_errors=True)
    IMAGE.parent.mkdir(parents=True)
    (ROOT / "out").mkdir()
    from PIL import Image

    Image.new("RGB", (256, 256), (200, 90, 40)).save(IMAGE)
    for name in ("golden", "schema", "home", "batch", "gateway"):
        shutil.rmtree(HERE / name, ignore_errors=True)
    (HERE / "ids.json").unlink(missing_ok=True)
    ground = Ground()
    wanted = sys.argv[1:] or ["home", "batch", "gateway"]
    if "home" in wanted:
        make_home(ground)
        golden_home(ground)
    if "batch" in wanted:
        make_batch(ground)
    if "gateway" in wanted:
        try:
            make_gateway(ground)
        finally:
            for server in Server.all:
                server.kill()


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        child(sys.argv[2])
    else:
        main()

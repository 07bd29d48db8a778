"""A world with one fault in it, ordered in one of the five ways, and a journey that meets it.

The provider is one with jobs, so that every kind but the Hub's own has somewhere to strike.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from hfmedia.sandbox import Sandbox

from .asks import WISHES, door, look
from .conftest import SPEED, Asking, Heard

ASKED = ("wavespeed", "text-to-image")
WAYS = ("Python", "command", "environment", "header", "HTTP")
IMPATIENT = 0.25  # seconds after which a silence is one


class Ground:
    """One world with one fault in it, ordered in one of the ways, and a journey that meets it."""

    def __init__(self, world: Sandbox, ask: Asking, header: dict[str, str]) -> None:
        self.world, self.ask, self.header = world, ask, header
        self.said: Any = None
        self.url = ""

    async def submit(self, *, struck: bool = False, patience: float = 10.0) -> Heard:
        """One submission."""
        more = self.header if struck else {}
        wish = WISHES[ASKED]
        base, headers = door(self.world, ASKED[0], wish, "router")
        made = await self.ask("POST", base + wish.path, json=wish.body, headers={**headers, **more}, patience=patience)
        if made.status == 200 and made.type == "application/json":
            self.said = read_json(made.body)
        return made

    async def poll(self, *, struck: bool = False) -> Heard:
        """One question after the job."""
        return await look(self.ask, self.world, *ASKED, self.said, more=self.header if struck else {})

    async def end(self) -> Any:
        """What the job says when it is over."""
        for _ in range(400):
            data = (await self.poll()).json["data"]
            if data["status"] not in ("created", "processing"):
                return data
            await asyncio.sleep(0.01)
        raise AssertionError("the job never ended")

    async def fetch(self, *, struck: bool = False, **headers: str) -> Heard:
        """The medium, or a part of it."""
        return await self.ask("GET", self.url, headers={**(self.header if struck else {}), **headers})

    async def meet(self, step: str) -> Heard:
        """The answer that the fault strikes."""
        if step == "submit":
            return await self.submit(struck=True, patience=IMPATIENT if self.hangs else 10)
        await self.submit()
        if step == "poll":
            return await self.poll(struck=True)
        (self.url,) = (await self.end())["outputs"]
        return await self.fetch(struck=True)

    hangs = False


def read_json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None


@asynccontextmanager
async def ground(
    way: str, kind: str, ask: Asking, monkeypatch: pytest.MonkeyPatch, **details: Any
) -> AsyncIterator[Ground]:
    """A world in which that fault is ordered in that way."""
    tail = "".join(f";{name}={value}" for name, value in details.items())
    line = f"wavespeed:{kind}{tail}"
    if way == "environment":
        monkeypatch.setenv("HFMEDIA_SANDBOX_FAULTS", f"together:empty, {line}")
    header = {"x-sandbox-fault": kind + tail} if way == "header" else {}
    async with Sandbox(speed=SPEED, faults=[line] if way == "command" else []) as world:
        if way == "Python":
            world.fault("wavespeed", kind, **details)
        elif way == "HTTP":
            told = await ask(
                "POST", f"{world.url}/sandbox/faults", json={"provider": "wavespeed", "kind": kind, **details}
            )
            assert told.json == {"ok": True}
        yield Ground(world, ask, header)

"""Links: names of files that nobody can guess, signed with the book's secret.

A name is ``<job id>.<mark>.<variant>.<signature><suffix>``; every character of it may stand in a URL and in a header.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re

from msgspec import Struct
from starlette.requests import Request

from hfmedia.core.job import Job
from hfmedia.server.entrance.forwarded import base_url
from hfmedia.store import Media

from .variants import ORIGINAL, suffix_of

SIGNED = 18  # bytes kept of the HMAC: 144 bits, which make 24 characters without padding
MARKED = 12  # hex digits kept of a file's digest; they only tell apart the files of one job
PATH = "/media"
NAME = re.compile(
    r"(?P<job_id>[0-9A-Za-z_-]{1,64})\.(?P<mark>[0-9a-f]{1,64})\.(?P<variant>[a-z0-9-]{1,16})"
    r"\.(?P<signature>[0-9A-Za-z_-]{24})(?P<suffix>\.[a-z0-9]{1,8})?"
)


class Link(Struct, frozen=True):
    """What a name stands for: a file of a job, told by the first digits of its digest, in one of its variants."""

    job_id: str
    mark: str
    variant: str


class Links:
    """Makes names and reads them. Whoever has ``secret`` can make them, too."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def __repr__(self) -> str:
        return "Links(…)"

    def name(self, job_id: str, mark: str, variant: str = ORIGINAL, suffix: str = "") -> str:
        """The name of one variant of a file; the suffix is signed as well."""
        text = f"{job_id}.{mark}.{variant}"
        made = f"{text}.{self._signature(text, suffix)}{suffix}"
        if not NAME.fullmatch(made):
            raise ValueError(f"no name can be made of {text!r} and {suffix!r}")
        return made

    def read(self, name: str) -> Link | None:
        """What a name stands for; None for one that was not made with this secret."""
        found = NAME.fullmatch(name)
        if found is None:
            return None
        link = Link(found["job_id"], found["mark"], found["variant"])
        right = self._signature(f"{link.job_id}.{link.mark}.{link.variant}", found["suffix"] or "")
        return link if hmac.compare_digest(right.encode(), found["signature"].encode()) else None

    def of(self, media: Media, variant: str = ORIGINAL) -> str:
        """The name of a file in one of its variants."""
        return self.name(media.job_id, mark_of(media), variant, suffix_of(media, variant))

    def url(self, request: Request, media: Media, variant: str = ORIGINAL) -> str:
        """The whole address of a file, as whoever asked can reach it."""
        return f"{base_url(request)}{PATH}/{self.of(media, variant)}"

    def _signature(self, text: str, suffix: str) -> str:
        digest = hmac.new(self._secret, f"hfmedia link\n{text}\n{suffix}".encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest[:SIGNED]).decode()


def mark_of(media: Media) -> str:
    """What tells a file from the others of its job: the beginning of its digest."""
    return media.sha256[:MARKED].lower()


def files_of(job: Job) -> list[Media]:
    """The files of a job that is done; ValueError, KeyError or TypeError when its facts are none."""
    return [Media.of(facts) for facts in (job.media or {}).get("files", ())]

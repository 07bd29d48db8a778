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
from hfmedia.server.http.urls import external_base_url
from hfmedia.storage import Media

from .variants import ORIGINAL, suffix_for

SIGNATURE_BYTES = 18  # bytes kept of the HMAC: 144 bits, which make 24 characters without padding
DIGEST_CHARS = 12  # hex digits kept of a file's digest; they only tell apart the files of one job
MEDIA_PATH = "/media"
NAME_PATTERN = re.compile(
    r"(?P<job_id>[0-9A-Za-z_-]{1,64})\.(?P<mark>[0-9a-f]{1,64})\.(?P<variant>[a-z0-9-]{1,16})"
    r"\.(?P<signature>[0-9A-Za-z_-]{24})(?P<suffix>\.[a-z0-9]{1,8})?"
)


class SignedName(Struct, frozen=True):
    """What a name stands for: a file of a job, told by the first digits of its digest, in one of its variants."""

    job_id: str
    digest_prefix: str
    variant: str


class UrlSigner:
    """Makes names and reads them. Whoever has ``secret`` can make them, too."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def __repr__(self) -> str:
        return "Links(…)"

    def sign(self, job_id: str, digest_prefix: str, variant: str = ORIGINAL, suffix: str = "") -> str:
        """The name of one variant of a file; the suffix is signed as well."""
        unsigned = f"{job_id}.{digest_prefix}.{variant}"
        name = f"{unsigned}.{self._signature(unsigned, suffix)}{suffix}"
        if not NAME_PATTERN.fullmatch(name):
            raise ValueError(f"no name can be made of {unsigned!r} and {suffix!r}")
        return name

    def verify(self, name: str) -> SignedName | None:
        """What a name stands for; None for one that was not made with this secret."""
        match = NAME_PATTERN.fullmatch(name)
        if match is None:
            return None
        signed_name = SignedName(match["job_id"], match["mark"], match["variant"])
        expected = self._signature(
            f"{signed_name.job_id}.{signed_name.digest_prefix}.{signed_name.variant}", match["suffix"] or ""
        )
        return signed_name if hmac.compare_digest(expected.encode(), match["signature"].encode()) else None

    def name_for(self, media: Media, variant: str = ORIGINAL) -> str:
        """The name of a file in one of its variants."""
        return self.sign(media.job_id, digest_prefix_of(media), variant, suffix_for(media, variant))

    def url_for(self, request: Request, media: Media, variant: str = ORIGINAL) -> str:
        """The whole address of a file, as whoever asked can reach it."""
        return f"{external_base_url(request)}{MEDIA_PATH}/{self.name_for(media, variant)}"

    def _signature(self, unsigned: str, suffix: str) -> str:
        digest = hmac.new(self._secret, f"hfmedia link\n{unsigned}\n{suffix}".encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest[:SIGNATURE_BYTES]).decode()


def digest_prefix_of(media: Media) -> str:
    """What tells a file from the others of its job: the beginning of its digest."""
    return media.sha256[:DIGEST_CHARS].lower()


def stored_media(job: Job) -> list[Media]:
    """The files of a job that is done; ValueError, KeyError or TypeError when its facts are none."""
    return [Media.from_dict(file) for file in job.stored_files()]

"""Signed names of media files: unguessable, signed with the gateway's secret.

A name is ``<job id>.<digest prefix>.<variant>.<signature><suffix>``; its characters are safe in URLs and headers.
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
DIGEST_CHARS = 12  # hex digits of a file's digest; they distinguish only the files of one job
MEDIA_PATH = "/media"
NAME_PATTERN = re.compile(
    r"(?P<job_id>[0-9A-Za-z_-]{1,64})\.(?P<digest_prefix>[0-9a-f]{1,64})\.(?P<variant>[a-z0-9-]{1,16})"
    r"\.(?P<signature>[0-9A-Za-z_-]{24})(?P<suffix>\.[a-z0-9]{1,8})?"
)


class SignedName(Struct, frozen=True):
    """A verified name: a variant of a file, which the prefix of its digest selects among the files of a job."""

    job_id: str
    digest_prefix: str
    variant: str


class UrlSigner:
    """Signs and verifies names; holders of ``secret`` can sign names themselves."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def __repr__(self) -> str:
        return "UrlSigner(…)"

    def sign(self, job_id: str, digest_prefix: str, variant: str = ORIGINAL, suffix: str = "") -> str:
        """Return the name of a variant of a file; the suffix is signed too. Raises ValueError for illegal parts."""
        unsigned = f"{job_id}.{digest_prefix}.{variant}"
        name = f"{unsigned}.{self._signature(unsigned, suffix)}{suffix}"
        if not NAME_PATTERN.fullmatch(name):
            raise ValueError(f"{unsigned!r} with {suffix!r} is not a valid name")
        return name

    def verify(self, name: str) -> SignedName | None:
        """Return what a name refers to; None if this secret did not sign it."""
        match = NAME_PATTERN.fullmatch(name)
        if match is None:
            return None
        signed_name = SignedName(match["job_id"], match["digest_prefix"], match["variant"])
        expected = self._signature(
            f"{signed_name.job_id}.{signed_name.digest_prefix}.{signed_name.variant}", match["suffix"] or ""
        )
        return signed_name if hmac.compare_digest(expected.encode(), match["signature"].encode()) else None

    def name_for(self, media: Media, variant: str = ORIGINAL) -> str:
        """Return the name of a variant of a file."""
        return self.sign(media.job_id, digest_prefix_of(media), variant, suffix_for(media, variant))

    def url_for(self, request: Request, media: Media, variant: str = ORIGINAL) -> str:
        """Return the absolute URL of a file, as the client of this request reaches it."""
        return f"{external_base_url(request)}{MEDIA_PATH}/{self.name_for(media, variant)}"

    def _signature(self, unsigned: str, suffix: str) -> str:
        digest = hmac.new(self._secret, f"hfmedia link\n{unsigned}\n{suffix}".encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest[:SIGNATURE_BYTES]).decode()


def digest_prefix_of(media: Media) -> str:
    """Return the start of a file's digest, which distinguishes it from the other files of its job."""
    return media.sha256[:DIGEST_CHARS].lower()


def stored_media(job: Job) -> list[Media]:
    """Return the files of a stored job; raise ValueError, KeyError or TypeError if their data is invalid."""
    return [Media.from_dict(file) for file in job.stored_files()]

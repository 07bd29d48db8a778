"""nscale: images at once, as base64 only, in the OpenAI dialect.

It takes a size and nothing of steps, guidance or a negative prompt; its 429 says that the credit is used up.
Source: docs.nscale.com, create image and error codes; the Hub's own client.
"""

from __future__ import annotations

from ..core.provider import Abilities, Provider
from ..core.sizes import SizeRule
from ._reading import guarded
from ._refusals import Disguise, refusing
from .openai_images import Dialect, read_images

DIALECT = Dialect(paths={"text-to-image": "/v1/images/generations"}, names={"seed": "seed"})

DISGUISES = (Disguise(r"", "credit", status=429),)  # its documentation knows no other 429

NSCALE = Provider(
    name="nscale",
    encode=DIALECT.encode,
    decode=guarded(read_images, refusing(DISGUISES)),
    tasks={"text-to-image": Abilities(size=SizeRule(form="pixels"), takes=frozenset(DIALECT.names))},
    hosts={"text-to-image": "https://inference.api.nscale.com"},
    key_names=("NSCALE_SERVICE_TOKEN",),
)

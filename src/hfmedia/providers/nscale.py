"""nscale: images synchronously, as base64 only, in the OpenAI dialect.

It accepts a size and a seed, but no steps, guidance or negative prompt; its 429 means insufficient credit.
Source: docs.nscale.com, create image and error codes; the Hub's own client.
"""

from __future__ import annotations

from ..core.provider import Capabilities, Provider
from ..core.sizes import SizeConstraints
from ._decoding import safe_decoder
from ._errors import ErrorPattern, error_decoder
from .openai_images import Dialect, decode_images

DIALECT = Dialect(paths={"text-to-image": "/v1/images/generations"}, parameter_names={"seed": "seed"})

ERROR_PATTERNS = (ErrorPattern(r"", "insufficient_credit", status=429),)  # its documentation has no other 429

NSCALE = Provider(
    name="nscale",
    encode=DIALECT.encode,
    decode=safe_decoder(decode_images, error_decoder(ERROR_PATTERNS)),
    tasks={
        "text-to-image": Capabilities(
            size=SizeConstraints(style="pixels"), parameters=frozenset(DIALECT.parameter_names)
        )
    },
    base_urls={"text-to-image": "https://inference.api.nscale.com"},
    api_key_env_vars=("NSCALE_SERVICE_TOKEN",),
)

"""g4f-compatible provider API: HuggingFaceMedia and the classes and functions that its callers use.

Its names and behavior are frozen; it is an adapter onto MediaClient.
"""

from __future__ import annotations

from hfmedia.core.errors import MissingAuthError, ModelNotFoundError, ModelNotSupportedError

from .base import AsyncGeneratorProvider, ProviderModelMixin
from .huggingface import HuggingFaceMedia
from .messages import Messages
from .responses import ImageResponse, MediaResponse, ProviderInfo, Reasoning, VideoResponse
from .save import save_response_media
from .session import StreamResponse, StreamSession

__all__ = [
    "AsyncGeneratorProvider",
    "HuggingFaceMedia",
    "ImageResponse",
    "MediaResponse",
    "Messages",
    "MissingAuthError",
    "ModelNotFoundError",
    "ModelNotSupportedError",
    "ProviderInfo",
    "ProviderModelMixin",
    "Reasoning",
    "StreamResponse",
    "StreamSession",
    "VideoResponse",
    "save_response_media",
]

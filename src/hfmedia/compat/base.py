"""Base classes of a g4f-compatible provider: the interface through which callers run it and list its models.

A provider is a class that is never instantiated; it consists of class methods and class attributes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Generator
from typing import Any, ClassVar

from .messages import Messages
from .responses import ImageResponse, ProviderInfo, Reasoning, VideoResponse

Chunk = Reasoning | ProviderInfo | ImageResponse | VideoResponse


class AsyncGeneratorProvider(ABC):
    """A provider that yields its results as they arrive.

    Subclasses implement ``create_async_generator``; the other ways to run it are derived from that.
    """

    label: ClassVar[str] = ""
    parent: ClassVar[str | None] = None
    url: ClassVar[str] = ""
    working: ClassVar[bool] = False
    needs_auth: ClassVar[bool] = False
    supports_stream: ClassVar[bool] = True
    supports_message_history: ClassVar[bool] = False
    supports_system_message: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def create_async_generator(cls, model: str, messages: Messages, **kwargs: Any) -> AsyncGenerator[Chunk, None]:
        """Yield progress and results as they arrive."""

    @classmethod
    def async_create_function(cls, *args: Any, **kwargs: Any) -> AsyncGenerator[Chunk, None]:
        """Alias of ``create_async_generator``, used by retrying callers."""
        return cls.create_async_generator(*args, **kwargs)

    @classmethod
    def create_completion(cls, model: str, messages: Messages, **kwargs: Any) -> Generator[Chunk, None, None]:
        """Run ``create_async_generator`` synchronously, even in a running event loop; closing it cancels the jobs."""
        from hfmedia.sync import BlockingPortal

        with BlockingPortal() as portal:
            yield from portal.events(cls.create_async_generator(model, messages, **kwargs))

    @classmethod
    def create_function(cls, *args: Any, **kwargs: Any) -> Generator[Chunk, None, None]:
        """Alias of ``create_completion``, used by retrying callers."""
        return cls.create_completion(*args, **kwargs)

    @classmethod
    async def create_async(cls, model: str, messages: Messages, **kwargs: Any) -> str:
        """Return all results as one text, Markdown and HTML, without progress."""
        chunks = cls.create_async_generator(model, messages, **kwargs)
        return "".join([str(chunk) async for chunk in chunks if not isinstance(chunk, Reasoning)])

    @classmethod
    def get_dict(cls) -> dict[str, str | None]:
        """Return name, URL and label, for a list of providers."""
        return {"name": cls.__name__, "url": cls.url, "label": cls.label}

    @classmethod
    def get_parent(cls) -> str:
        """Return the provider whose credential this one uses."""
        return cls.parent or cls.__name__


class ProviderModelMixin:
    """Models by name. The lists are replaced, never modified in place, so that each subclass has its own."""

    default_model: ClassVar[str | None] = None
    models: ClassVar[list[str]] = []
    image_models: ClassVar[list[str]] = []
    video_models: ClassVar[list[str]] = []
    model_aliases: ClassVar[dict[str, str]] = {}

    @classmethod
    def get_models(cls, **kwargs: Any) -> list[str]:
        """Return the names of the models; only the default model if none are known."""
        return list(cls.models) or ([cls.default_model] if cls.default_model else [])

    @classmethod
    def get_model(cls, model: str | None, **kwargs: Any) -> str:
        """Resolve aliases and the default model; empty if there is none."""
        name = model or cls.default_model or ""
        return cls.model_aliases.get(name, name)

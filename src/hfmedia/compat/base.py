"""The bases of a published provider: how callers that know many providers run one, and ask for its models.

A provider is a class that is never instantiated; all of it are class methods and class attributes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Generator
from typing import Any, ClassVar

from .messages import Messages
from .responses import ImageResponse, ProviderInfo, Reasoning, VideoResponse

Chunk = Reasoning | ProviderInfo | ImageResponse | VideoResponse


class AsyncGeneratorProvider(ABC):
    """A provider that yields its results as they come.

    The one thing to implement is ``create_async_generator``; the other ways to run it follow from that.
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
        """The results, and what is told on the way, as they come."""

    @classmethod
    def async_create_function(cls, *args: Any, **kwargs: Any) -> AsyncGenerator[Chunk, None]:
        """The same as ``create_async_generator``, by the name that retrying callers use."""
        return cls.create_async_generator(*args, **kwargs)

    @classmethod
    def create_completion(cls, model: str, messages: Messages, **kwargs: Any) -> Generator[Chunk, None, None]:
        """The same for callers without ``async``, also beside a running loop; closing it cancels the work."""
        from hfmedia.sync import BlockingPortal

        with BlockingPortal() as portal:
            yield from portal.events(cls.create_async_generator(model, messages, **kwargs))

    @classmethod
    def create_function(cls, *args: Any, **kwargs: Any) -> Generator[Chunk, None, None]:
        """The same as ``create_completion``, by the name that retrying callers use."""
        return cls.create_completion(*args, **kwargs)

    @classmethod
    async def create_async(cls, model: str, messages: Messages, **kwargs: Any) -> str:
        """All results as one text: Markdown and HTML, without what was told on the way."""
        chunks = cls.create_async_generator(model, messages, **kwargs)
        return "".join([str(chunk) async for chunk in chunks if not isinstance(chunk, Reasoning)])

    @classmethod
    def get_dict(cls) -> dict[str, str | None]:
        """Name, address and label, for a list of providers."""
        return {"name": cls.__name__, "url": cls.url, "label": cls.label}

    @classmethod
    def get_parent(cls) -> str:
        """The provider whose credential this one uses."""
        return cls.parent or cls.__name__


class ProviderModelMixin:
    """Models by name. The lists are replaced, never changed in place, so that a subclass fills its own."""

    default_model: ClassVar[str | None] = None
    models: ClassVar[list[str]] = []
    image_models: ClassVar[list[str]] = []
    video_models: ClassVar[list[str]] = []
    model_aliases: ClassVar[dict[str, str]] = {}

    @classmethod
    def get_models(cls, **kwargs: Any) -> list[str]:
        """The names of the models; the default model alone where none are known."""
        return list(cls.models) or ([cls.default_model] if cls.default_model else [])

    @classmethod
    def get_model(cls, model: str | None, **kwargs: Any) -> str:
        """The model's own name: behind an alias, and the default where none is given. Empty where there is none."""
        name = model or cls.default_model or ""
        return cls.model_aliases.get(name, name)

"""hfmedia: images and videos from every model on Hugging Face Inference Providers.

Everything public is listed here, once, and imported when it is first used: ``import hfmedia`` costs next to nothing.
"""

from __future__ import annotations

from ._version import __version__ as __version__

TYPE_CHECKING = False  # type checkers take any name spelled so for true; typing itself would be most of our import time
if TYPE_CHECKING:  # the same list once more for type checkers, who cannot read a table; a test holds them together
    from .client import MediaClient as MediaClient
    from .core.answers import Cost as Cost
    from .core.errors import ProviderBusyError as ProviderBusyError
    from .core.errors import ContentPolicyError as ContentPolicyError
    from .core.errors import AuthenticationError as AuthenticationError
    from .core.errors import InsufficientCreditError as InsufficientCreditError
    from .core.errors import DownloadError as DownloadError
    from .core.errors import ResultExpiredError as ResultExpiredError
    from .core.errors import GenerationFailedError as GenerationFailedError
    from .core.errors import PermissionDeniedError as PermissionDeniedError
    from .core.errors import HfmediaError as HfmediaError
    from .core.errors import HubError as HubError
    from .core.errors import InDoubtError as InDoubtError
    from .core.errors import InvalidRequestError as InvalidRequestError
    from .core.errors import JobCancelledError as JobCancelledError
    from .core.errors import MissingAuthError as MissingAuthError
    from .core.errors import ModelNotFoundError as ModelNotFoundError
    from .core.errors import ModelNotSupportedError as ModelNotSupportedError
    from .core.errors import DeadlineExceededError as DeadlineExceededError
    from .core.errors import ProviderError as ProviderError
    from .core.errors import RequestRejectedError as RequestRejectedError
    from .core.errors import ProviderServerError as ProviderServerError
    from .core.errors import StorageError as StorageError
    from .core.errors import ProviderUnreachableError as ProviderUnreachableError
    from .core.errors import InvalidResponseError as InvalidResponseError
    from .core.errors import UnsafeUrlError as UnsafeUrlError
    from .core.job import Job as Job
    from .core.job import State as State
    from .core.mapping import ProviderMapping as ProviderMapping
    from .core.mapping import HubModel as HubModel
    from .core.request import InputImage as InputImage
    from .core.request import Task as Task
    from .doors import cancel as cancel
    from .doors import close as close
    from .doors import generate as generate
    from .doors import image_to_image as image_to_image
    from .doors import image_to_video as image_to_video
    from .doors import jobs as jobs
    from .doors import mapping as mapping
    from .doors import models as models
    from .doors import resume as resume
    from .doors import text_to_image as text_to_image
    from .doors import text_to_video as text_to_video
    from .engine import Accepted as Accepted
    from .engine import Downloading as Downloading
    from .engine import Event as Event
    from .engine import JobFailed as JobFailed
    from .engine import MediaReady as MediaReady
    from .engine import FailedOver as FailedOver
    from .engine import Queued as Queued
    from .engine import Retrying as Retrying
    from .engine import Running as Running
    from .engine import Started as Started
    from .engine import Submitting as Submitting
    from .engine import Timeouts as Timeouts
    from .ledger import Ledger as Ledger
    from .ledger import MemoryLedger as MemoryLedger
    from .options import GenerationOptions as GenerationOptions
    from .options import TargetSize as TargetSize
    from .options import VideoGenerationOptions as VideoGenerationOptions
    from .plans import Preview as Preview
    from .published import AsyncGeneratorProvider as AsyncGeneratorProvider
    from .published import HuggingFaceMedia as HuggingFaceMedia
    from .published import ImageResponse as ImageResponse
    from .published import Messages as Messages
    from .published import ProviderInfo as ProviderInfo
    from .published import ProviderModelMixin as ProviderModelMixin
    from .published import Reasoning as Reasoning
    from .published import StreamSession as StreamSession
    from .published import VideoResponse as VideoResponse
    from .published import save_response_media as save_response_media
    from .store import Media as Media
    from .store import FileStorage as FileStorage
else:
    _ERRORS = """
        AuthenticationError ContentPolicyError DeadlineExceededError DownloadError GenerationFailedError
        HfmediaError HubError InDoubtError InsufficientCreditError InvalidRequestError InvalidResponseError
        JobCancelledError MissingAuthError ModelNotFoundError ModelNotSupportedError PermissionDeniedError
        ProviderBusyError ProviderError ProviderServerError ProviderUnreachableError RequestRejectedError
        ResultExpiredError StorageError UnsafeUrlError"""
    _SYNC_FUNCTIONS = """
        cancel close generate image_to_image image_to_video jobs mapping models resume text_to_image text_to_video"""
    _EVENTS = """
        Accepted Downloading Event FailedOver JobFailed MediaReady Queued Retrying Running Started Submitting"""
    _COMPAT = """
        AsyncGeneratorProvider HuggingFaceMedia ImageResponse Messages ProviderInfo ProviderModelMixin Reasoning
        StreamSession VideoResponse save_response_media"""
    _PUBLIC = {
        "client": "MediaClient",
        "options": "GenerationOptions TargetSize VideoGenerationOptions",
        "core.answers": "Cost",
        "core.errors": _ERRORS,
        "core.job": "Job State",
        "core.mapping": "HubModel ProviderMapping",
        "core.request": "InputImage Task",
        "doors": _SYNC_FUNCTIONS,
        "engine": _EVENTS + " Timeouts",
        "ledger": "Ledger MemoryLedger",
        "plans": "Preview",
        "published": _COMPAT,
        "store": "FileStorage Media",
    }
    _MODULE_OF = {name: module for module, names in _PUBLIC.items() for name in names.split()}
    __all__ = ["__version__", *sorted(_MODULE_OF)]

    def __getattr__(name):
        """The public name, imported now and kept."""
        if name not in _MODULE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        value = globals()[name] = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
        return value

    def __dir__():
        return sorted({*globals(), *__all__})

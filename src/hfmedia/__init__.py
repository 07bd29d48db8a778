"""hfmedia: images and videos from every model on Hugging Face Inference Providers.

Every public name is listed here once and imported at first use, which keeps ``import hfmedia`` fast.
"""

from __future__ import annotations

from ._version import __version__ as __version__

TYPE_CHECKING = False  # type checkers treat this name as true; importing typing would dominate our import time
if TYPE_CHECKING:  # the same list for type checkers, which cannot evaluate the table; a test compares them
    from .client import MediaClient as MediaClient
    from .compat import AsyncGeneratorProvider as AsyncGeneratorProvider
    from .compat import HuggingFaceMedia as HuggingFaceMedia
    from .compat import ImageResponse as ImageResponse
    from .compat import Messages as Messages
    from .compat import ProviderInfo as ProviderInfo
    from .compat import ProviderModelMixin as ProviderModelMixin
    from .compat import Reasoning as Reasoning
    from .compat import StreamSession as StreamSession
    from .compat import VideoResponse as VideoResponse
    from .compat import save_response_media as save_response_media
    from .core.errors import AuthenticationError as AuthenticationError
    from .core.errors import ContentPolicyError as ContentPolicyError
    from .core.errors import DeadlineExceededError as DeadlineExceededError
    from .core.errors import DownloadError as DownloadError
    from .core.errors import GenerationFailedError as GenerationFailedError
    from .core.errors import HfmediaError as HfmediaError
    from .core.errors import HubError as HubError
    from .core.errors import InDoubtError as InDoubtError
    from .core.errors import InsufficientCreditError as InsufficientCreditError
    from .core.errors import InvalidRequestError as InvalidRequestError
    from .core.errors import InvalidResponseError as InvalidResponseError
    from .core.errors import JobCancelledError as JobCancelledError
    from .core.errors import MissingAuthError as MissingAuthError
    from .core.errors import ModelNotFoundError as ModelNotFoundError
    from .core.errors import ModelNotSupportedError as ModelNotSupportedError
    from .core.errors import PermissionDeniedError as PermissionDeniedError
    from .core.errors import ProviderBusyError as ProviderBusyError
    from .core.errors import ProviderError as ProviderError
    from .core.errors import ProviderServerError as ProviderServerError
    from .core.errors import ProviderUnreachableError as ProviderUnreachableError
    from .core.errors import RequestRejectedError as RequestRejectedError
    from .core.errors import ResultExpiredError as ResultExpiredError
    from .core.errors import StorageError as StorageError
    from .core.errors import UnsafeUrlError as UnsafeUrlError
    from .core.hub_models import HubModel as HubModel
    from .core.hub_models import ProviderMapping as ProviderMapping
    from .core.job import Job as Job
    from .core.job import State as State
    from .core.protocol import Cost as Cost
    from .core.request import InputImage as InputImage
    from .core.request import Task as Task
    from .core.timeouts import Timeouts as Timeouts
    from .engine import Accepted as Accepted
    from .engine import Downloading as Downloading
    from .engine import Event as Event
    from .engine import FailedOver as FailedOver
    from .engine import JobFailed as JobFailed
    from .engine import MediaReady as MediaReady
    from .engine import Queued as Queued
    from .engine import Retrying as Retrying
    from .engine import Running as Running
    from .engine import Started as Started
    from .engine import Submitting as Submitting
    from .ledger import Ledger as Ledger
    from .ledger import MemoryLedger as MemoryLedger
    from .options import GenerationOptions as GenerationOptions
    from .options import TargetSize as TargetSize
    from .options import VideoGenerationOptions as VideoGenerationOptions
    from .planning import Preview as Preview
    from .storage import FileStorage as FileStorage
    from .storage import Media as Media
    from .sync import cancel as cancel
    from .sync import close as close
    from .sync import generate as generate
    from .sync import image_to_image as image_to_image
    from .sync import image_to_video as image_to_video
    from .sync import jobs as jobs
    from .sync import mapping as mapping
    from .sync import models as models
    from .sync import resume as resume
    from .sync import text_to_image as text_to_image
    from .sync import text_to_video as text_to_video
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
        "core.protocol": "Cost",
        "core.errors": _ERRORS,
        "core.job": "Job State",
        "core.hub_models": "HubModel ProviderMapping",
        "core.request": "InputImage Task",
        "sync": _SYNC_FUNCTIONS,
        "core.timeouts": "Timeouts",
        "engine": _EVENTS,
        "ledger": "Ledger MemoryLedger",
        "planning": "Preview",
        "compat": _COMPAT,
        "storage": "FileStorage Media",
    }
    _MODULE_OF = {name: module for module, names in _PUBLIC.items() for name in names.split()}
    __all__ = ["__version__", *sorted(_MODULE_OF)]

    def __getattr__(name):
        """Import a public name at first use and cache it."""
        if name not in _MODULE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        value = globals()[name] = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
        return value

    def __dir__():
        return sorted({*globals(), *__all__})

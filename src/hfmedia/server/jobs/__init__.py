"""Jobs of the gateway: run independently of client connections, recovered after restarts, with their live status.

Nothing here knows HTTP: errors are exceptions of the domain (``errors``), which ``server.errors`` maps to responses.
"""

from .account_clients import AccountClients, CallerAccount
from .active import ActiveGeneration, OutputResult
from .runner import GenerationRunner
from .service import GenerationService
from .status import JobStatus, PublicStatus

__all__ = [
    "AccountClients",
    "ActiveGeneration",
    "CallerAccount",
    "GenerationRunner",
    "GenerationService",
    "JobStatus",
    "OutputResult",
    "PublicStatus",
]

"""Jobs of the gateway: run independently of client connections, recovered after restarts, with their live status.

Nothing here knows HTTP: errors are exceptions of the domain (``errors``), which ``server.errors`` maps to responses.
"""

from .account_clients import CallerAccount, AccountClients
from .active import ActiveGeneration, OutputResult
from .runner import GenerationRunner
from .service import GenerationService
from .status import JobStatus, PublicStatus

__all__ = [
    "CallerAccount",
    "AccountClients",
    "ActiveGeneration",
    "GenerationRunner",
    "GenerationService",
    "JobStatus",
    "OutputResult",
    "PublicStatus",
]

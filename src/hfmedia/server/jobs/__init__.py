"""Works: jobs carried apart from the connections that asked for them, through restarts, and what is known meanwhile."""

from .account_clients import AccountClients
from .active import ActiveGeneration, OutputResult
from .service import GenerationService
from .status import JobStatus, PublicStatus

__all__ = ["AccountClients", "ActiveGeneration", "GenerationService", "JobStatus", "OutputResult", "PublicStatus"]

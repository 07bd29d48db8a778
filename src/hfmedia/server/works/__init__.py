"""Works: jobs carried apart from the connections that asked for them, through restarts, and what is known meanwhile."""

from .clients import AccountClients
from .live import JobStatus, PublicStatus
from .run import OutputResult, ActiveGeneration
from .works import GenerationService

__all__ = ["AccountClients", "JobStatus", "OutputResult", "ActiveGeneration", "PublicStatus", "GenerationService"]

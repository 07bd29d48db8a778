"""Works: jobs carried apart from the connections that asked for them, through restarts, and what is known meanwhile."""

from .clients import Clients
from .live import Live, Status
from .run import Outcome, Run
from .works import Works

__all__ = ["Clients", "Live", "Outcome", "Run", "Status", "Works"]

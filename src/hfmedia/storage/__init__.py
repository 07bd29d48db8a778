"""Storage of media: atomically written files, each with a JSON sidecar.

A file's type is detected from its bytes; headers, names and what a provider says are hints at most.
"""

from .file_storage import FileStorage
from .media import Media
from .targets import check_writable, resolve_target

__all__ = ["FileStorage", "Media", "check_writable", "resolve_target"]

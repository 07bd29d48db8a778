"""Where media lives: files that are whole or absent, and the facts of each beside it.

The bytes decide what a file is; a header, a name or a provider's word is a hint at most.
"""

from .file_storage import FileStorage
from .media import Media
from .targets import check_writable, resolve_target

__all__ = ["FileStorage", "Media", "check_writable", "resolve_target"]

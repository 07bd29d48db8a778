"""Where media lives: files that are whole or absent, and the facts of each beside it.

The bytes decide what a file is; a header, a name or a provider's word is a hint at most.
"""

from .files import FileStorage
from .media import Media
from .places import check_writable, resolve_target

__all__ = ["Media", "FileStorage", "check_writable", "resolve_target"]

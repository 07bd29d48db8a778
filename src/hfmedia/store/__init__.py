"""Where media lives: files that are whole or absent, and the facts of each beside it.

The bytes decide what a file is; a header, a name or a provider's word is a hint at most.
"""

from .files import Store
from .media import Media
from .places import check_writable, place_at

__all__ = ["Media", "Store", "check_writable", "place_at"]

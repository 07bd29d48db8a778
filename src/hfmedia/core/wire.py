"""Deprecated location: import from ``core.http`` and ``core.credentials``."""

from .credentials import SECRET_HEADERS as SECRET_HEADERS
from .credentials import SECRET_PATTERNS as SECRET_PATTERNS
from .credentials import Credential as Credential
from .credentials import Secret as Secret
from .credentials import redact as redact
from .http import MAX_RAW_BYTES as MAX_RAW_BYTES
from .http import HttpRequest as HttpRequest
from .http import HttpResponse as HttpResponse
from .http import get as get
from .http import post_json as post_json
from .http import safe_path as safe_path

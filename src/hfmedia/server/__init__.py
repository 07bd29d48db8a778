"""The gateway: OpenAI's images and videos API, a native jobs API, and operator endpoints in front of hfmedia.

``create_app`` returns an ASGI app; ``hfmedia serve`` runs it. Requires the extra ``hfmedia[server]``.
"""

from __future__ import annotations

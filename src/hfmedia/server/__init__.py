"""The gateway: OpenAI's images and videos API, an API of our own, and what operators need, in front of hfmedia.

``create_app`` gives an ASGI app; ``hfmedia serve`` runs it. It needs the extra ``hfmedia[server]``.
"""

from __future__ import annotations

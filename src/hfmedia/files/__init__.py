"""Low-level file primitives: atomic replacement (``atomic``) and advisory locks (``locks``). Everything here blocks."""

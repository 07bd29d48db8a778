"""Clients under comparison. Each module has ``open_client(folder)``, an async context manager yielding a client.

``image(model, prompt)`` and ``video(model, prompt)`` return when the media is available; each module says in what form.
"""

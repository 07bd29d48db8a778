"""Those who are compared. Each module has ``opened(folder)``: an async context whose value makes images and videos.

``image(model, prompt)`` and ``video(model, prompt)`` return when the media is in hand; a module says how far it goes.
"""

"""Media files over HTTP: signed URLs, range requests, renditions in other formats, and their removal."""

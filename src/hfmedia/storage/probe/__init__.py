"""Media probing: format signatures, container and image structure."""

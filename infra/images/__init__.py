"""Images of containers; `healthy.py` is what a container asks itself."""

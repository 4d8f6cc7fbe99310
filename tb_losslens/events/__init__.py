"""The format on disk: names, chunks, and their bytes."""

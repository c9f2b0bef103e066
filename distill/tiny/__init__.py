"""The tiny model: what it learns from, how it is trained, what it can do."""

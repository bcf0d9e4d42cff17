"""What stays on disk: checkpoints (the only Orbax), a cache of arrays, the image store."""

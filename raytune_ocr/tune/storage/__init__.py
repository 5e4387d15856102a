"""Store a run: the output folder's lock, a storage URI and the copies in it."""

"""Where a run is kept: the output folder's lock, a storage URI and the copies in it."""

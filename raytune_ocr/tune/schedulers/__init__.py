"""Which trial trains next, and until which epoch. Nothing here knows Ray, files or the clock."""

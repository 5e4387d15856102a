"""One run: its trials, its budget, what is written of it, and Ray's side of it."""

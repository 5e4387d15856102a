"""Orders to a run: what they are, how they reach the process that runs it, and its lock."""

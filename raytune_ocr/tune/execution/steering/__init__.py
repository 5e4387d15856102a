"""What orders of users change about the trials of a run."""

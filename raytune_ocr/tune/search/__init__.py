"""Which parameters the next trial has. Nothing here knows Ray, files or epochs to spend."""

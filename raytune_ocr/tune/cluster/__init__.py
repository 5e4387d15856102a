"""The Ray cluster: nodes, placement, the client, what is private to Ray."""

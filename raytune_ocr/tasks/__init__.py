"""What trials train: the protocol, and the tasks that come with the package."""

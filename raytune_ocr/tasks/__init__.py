"""Tasks that trials train: the interface and the package's tasks."""

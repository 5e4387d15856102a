"""A model of learning curves, which chooses the trial that freeze-thaw continues or begins."""

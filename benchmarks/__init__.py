"""What the package costs, beside others doing the same work in the same run."""

"""Which trial wins: confirmation with fresh seeds, the test split, reproduction."""

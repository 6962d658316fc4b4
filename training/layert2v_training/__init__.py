"""Training of all three stages, and the data they learn from."""

"""The loop that every stage shares: optimizers, checkpoints, stopping, reports."""

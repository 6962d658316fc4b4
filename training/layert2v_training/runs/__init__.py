"""Runs: recipes and overrides, what binds a run, its networks, sheets and export."""

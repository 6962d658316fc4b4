"""Figures of a take: one file for each family, and all of them by name."""

"""Layers that composite back to their full video: plates, edges, and the report."""

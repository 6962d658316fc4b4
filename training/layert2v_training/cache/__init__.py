"""Latents and captions on disk, and the workers that make them."""

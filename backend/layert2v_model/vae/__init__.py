"""Pixels to latents and back: the codec, the alpha VAE, and decoding of several streams."""

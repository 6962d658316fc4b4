"""The small linear VAE of `tiny`, and the codec that it is fitted from."""

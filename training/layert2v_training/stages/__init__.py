"""The stages of training, and the losses that they minimise."""

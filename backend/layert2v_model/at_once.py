"""Limits on work done at once, which bound the memory of a step and of decoding.

The estimate of a shot's memory reads them too, and it runs without torch.
"""

FEED_FORWARD_BYTES = 128 * 2**20
"""Most that a hidden tensor of the feed-forward takes. It holds thousands of tokens of the largest
model, so that its matrices stay as fast as whole ones."""

PIXELS_PER_DECODE = 512 * 512
"""Pixels of one frame, over all streams decoded together. A small GPU holds so many at Wan's
width."""

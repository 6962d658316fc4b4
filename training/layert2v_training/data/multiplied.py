"""Whether the colours of a layer look as if they were multiplied by its alpha.

Shape letters: H, W, C channels.
"""

import numpy as np

from layert2v_media.transfer import Pixels

_SOFT = (0.05, 0.95)
"""Alpha between which a pixel tells: straight colours stay bright there."""
_SLACK = 3 / 255
"""Most that compression lifts a colour above its alpha."""
_LEAST_SOFT = 16
"""Soft pixels below which nothing is said."""
_MOST_BRIGHTER = 0.01
"""Share of soft pixels that may be brighter than their alpha."""


class LooksMultiplied:
    """Looks at the frames of a layer, one after another."""

    def __init__(self) -> None:
        self._num_soft = self._num_brighter = 0

    def look(self, frame_HWC: Pixels) -> None:
        """Look at a frame (H, W, 4), as read."""
        alpha_HW = frame_HWC[..., 3]
        soft_HW = (alpha_HW > _SOFT[0]) & (alpha_HW < _SOFT[1])
        brightest_N = frame_HWC[..., :3].max(-1)[soft_HW]
        self._num_soft += int(soft_HW.sum())
        self._num_brighter += int(np.count_nonzero(brightest_N > alpha_HW[soft_HW] + _SLACK))

    @property
    def so(self) -> bool:
        """No colour exceeds its alpha, but for a few."""
        is_known = self._num_soft >= _LEAST_SOFT
        return is_known and self._num_brighter <= _MOST_BRIGHTER * self._num_soft

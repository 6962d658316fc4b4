"""The modulation of every block: the time of a stream, and the stream's role.

Shape letters: S streams, M timesteps, R roles, K foregrounds, D width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from layert2v_model.errors import InvalidShot
from layert2v_model.streams import StreamRole, num_foregrounds_of


class LayerAdaLN(nn.Module):
    """The role of a stream, as an addition to the time modulation of every block.

    Source: LayerT2V's release, `LayerAdaLN`; the foreground table is this project's.
    """

    def __init__(self, dim: int, max_foregrounds: int) -> None:
        super().__init__()
        self.layer_modulation = nn.Parameter(torch.zeros(len(StreamRole), 6, dim))
        # Row 0 belongs to foreground 1 and is never read: one foreground is the released model.
        self.foreground_modulation = nn.Parameter(torch.zeros(max_foregrounds, 6, dim))

    def forward(self, num_streams: int) -> Tensor:
        """Return the rows of `num_streams` streams in their order: (S, 6, D), float32."""
        num_foregrounds = num_foregrounds_of(num_streams)
        if num_foregrounds > len(self.foreground_modulation):
            raise InvalidShot(
                f"the model takes at most {len(self.foreground_modulation)} foregrounds, "
                f"got {num_foregrounds}; remove some"
            )
        roles_R6D = self.layer_modulation.float()
        nearer_K6D = self.foreground_modulation[1:num_foregrounds].float()
        numbers_K6D = F.pad(nearer_K6D, (0, 0, 0, 0, 1, 0))
        pairs_KR6D = roles_R6D[StreamRole.FOREGROUND :] + numbers_K6D[:, None]
        return torch.cat([roles_R6D[: StreamRole.FOREGROUND], pairs_KR6D.flatten(0, 1)])


def time_waves(timestep_M: Tensor, num_channels: int) -> Tensor:
    """Embed timesteps as cosines, then sines: (M, `num_channels`), float32.

    In float64 as in the release: near t = 1000 the library's float32 is wrong by 4e-5.
    """
    exact = torch.float32 if timestep_M.device.type == "mps" else torch.float64
    half = num_channels // 2
    powers = torch.arange(half, device=timestep_M.device, dtype=exact) / half
    angles = timestep_M.to(exact)[:, None] * 10000**-powers
    return torch.cat([angles.cos(), angles.sin()], dim=-1).float()

"""Every choice of the data engine."""

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from pathlib import Path


class Matter(StrEnum):
    """The tools that cut subjects out."""

    U2NETP = "u2netp"
    """Any object; small ONNX model."""
    MODNET = "modnet"
    """People; small ONNX model."""
    SAM2 = "sam2"
    """SAM 2 of transformers, started from boxes around what moves; hard edges."""
    SAM3 = "sam3"
    """The tracker of SAM 3, started as SAM 2."""
    MATANYONE = "matanyone"
    """MatAnyone, soft edges, from u2netp's first matte; its own package, non-commercial."""


BOX_PROMPTED = (Matter.SAM2, Matter.SAM3)
"""Segment something in any box, so that they cannot tell whether a subject is gone."""


class Plates(StrEnum):
    """The tools that show the background without subjects."""

    MEDIAN = "median"
    """Median over time of what is not covered, inpainted where no frame looks."""
    WAN_VACE = "wan-vace"
    """Wan2.1-VACE of diffusers paints what is covered, and around it, in every frame."""


class Captioner(StrEnum):
    """The tools that write captions."""

    TEMPLATE = "template"
    """Words for size, motion and light. A text beside the video names the subject."""
    QWEN_VL = "qwen-vl"
    """Qwen-VL of transformers."""


ADAPTERS = (
    Matter.SAM2.value,
    Matter.SAM3.value,
    Matter.MATANYONE.value,
    Plates.WAN_VACE.value,
    Captioner.QWEN_VL.value,
)
"""Tools whose weights the user gives."""


@dataclass(frozen=True)
class EngineRecipe:
    """A recipe for building clips from raw video."""

    height: int = 192
    """Lines of the clips. The width follows the video's shape, even."""
    num_frames: int = 33
    fps: Fraction = Fraction(8)
    """Rate at which frames are chosen. A slower video keeps its own, and its clips state it."""
    most_clips: int = 4
    """Most clips from one shot."""
    most_frames: int = 240
    """Frames of a shot that are looked at: bounds memory."""
    most_layers: int = 2
    """Foregrounds; more subjects share the farthest."""
    mattes: Matter = Matter.U2NETP
    plates: Plates = Plates.MEDIAN
    captions: Captioner = Captioner.TEMPLATE
    weights: tuple[tuple[str, str], ...] = ()
    """Tool and the folder of its weights, for adapters."""
    most_similar: float | None = 0.85
    """Cosine of captions from which a clip is redundant; None: repeats are kept. Templates are not
    judged. Source: VidLayer, `decisions.md` 3."""
    least_recomposition: float = 27.0
    """dB below which layers do not explain the video."""
    most_unseen: float = 0.2
    """Share of the plate that no frame shows."""
    most_camera: float = 0.6
    """Median movement of the background in pixels per frame."""
    most_core_flicker: float = 100.0
    """1000 times the second difference of alpha where the matte stays. Exact layers reach 6, the
    worst models 49 (`docs/results.md`)."""
    most_area_flicker: float = 0.4
    """Second difference of the matte's area, as a share of it. Looked at in vtest.avi: at .2 the
    area is steady within 15 %, at .5 single frames gain or lose half of the matte."""
    most_in_plate: float = 0.5
    """Overlap (soft IoU) of what is cut out of frames and of plates: subjects that stood still.
    Not looked at with `BOX_PROMPTED` mattes."""
    cover: tuple[float, float] = (0.003, 0.6)
    """Least and most of the picture that subjects cover."""
    cache: Path = Path("cache")
    """Folder of fetched models."""

    def __post_init__(self) -> None:
        """Refuse what no build could keep.

        Raises:
            ValueError: A field is out of its limits. It names the field, the value and the limit.
        """
        least = {"height": 16, "num_frames": 2, "most_clips": 1, "most_layers": 1}
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise ValueError(f"{name} is {getattr(self, name)}; give {bound} or more")
        if self.fps <= 0:
            raise ValueError(f"fps is {self.fps}; give a positive rate, such as 24 or 30000/1001")
        if self.most_frames < self.num_frames:
            raise ValueError(
                f"most_frames is {self.most_frames}, fewer than the {self.num_frames} of a clip: "
                f"every shot would be too short; give num_frames or more"
            )
        low, high = self.cover
        if not 0 <= low <= high <= 1:
            raise ValueError(f"cover is {low:g} to {high:g}; give two ascending shares in 0 to 1")
        for tool, folder in self.weights:
            if tool not in ADAPTERS or not folder:
                raise ValueError(
                    f"weights name {tool}={folder}; write NAME=FOLDER, NAME one of "
                    f"{', '.join(ADAPTERS)}"
                )

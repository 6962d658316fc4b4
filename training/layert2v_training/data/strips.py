"""Pictures of clips for people: a row for each moment, a column for each layer and matte.

Shape letters: T frames, H, W, C channels. Pixels are float32, display-referred sRGB in [0, 1].
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from layert2v_training.data.clip_files import ClipFiles
from layert2v_training.data.clip_footage import FootageFacts
from layert2v_training.data.clips import LayeredClip, Pixels
from layert2v_training.data.sources import ClipFormat, read_frames

GREY = 0.5
"""Under a foreground, plain."""
_CHECKER, _CHECKS = 8, (0.4, 0.6)
"""Pixels of a square of the checkerboard, and its greys."""
_MADE_BY = "layert2v-data check"
"""Stands in the pictures, so that a later check knows those that it may replace."""
_NUM_MOMENTS = 3
_WIDEST, _NARROWEST = 320, 192
"""Pixels of a column: larger clips are scaled down, smaller ones are repeated pixel by pixel."""
_LINE, _MARGIN, _TEXT = 18, 6, 13
"""Pixels of a line of text, around it, and of its letters."""


def moments_of(num_frames: int, count: int = _NUM_MOMENTS) -> list[int]:
    """Choose frames from the first to the last, each once."""
    return sorted(set(np.linspace(0, num_frames - 1, count).round().astype(int).tolist()))


def column_titles(num_foregrounds: int) -> list[str]:
    """Name the columns of `draw_rows`."""
    pairs = ((f"foreground {k}", f"matte {k}") for k in range(1, num_foregrounds + 1))
    return ["full", "background", *(title for pair in pairs for title in pair)]


def draw_rows(clip: LayeredClip, moments: Sequence[int], under_HW1: Pixels | float) -> Pixels:
    """Draw full, background, and each foreground and its matte: (rows x H, columns x W, 3).

    Args:
        clip: Clip to draw.
        moments: Frames, a row each.
        under_HW1: Pixels that show through foregrounds.
    """
    rows = []
    for t in moments:
        cells = [clip.full_THWC[t], clip.background_THWC[t]]
        for layer in clip.foregrounds:
            alpha_HW1 = layer.alpha_THW[t][..., None]
            cells += [layer.rgb_THWC[t] * alpha_HW1 + under_HW1 * (1 - alpha_HW1)]
            cells += [alpha_HW1.repeat(3, -1)]
        rows.append(np.concatenate(cells, axis=1))
    return np.concatenate(rows).clip(0, 1).astype(np.float32)


def checkerboard(height: int, width: int) -> Pixels:
    """Make what shows through foregrounds: (H, W, 1)."""
    y, x = np.indices((height, width)) // _CHECKER
    return np.where((x + y) % 2, *_CHECKS)[..., None].astype(np.float32)


def write_preview(
    path: Path, clip: ClipFiles, facts: FootageFacts, target: ClipFormat | None = None
) -> None:
    """Write a strip of a clip that was checked: its first, middle and last frame, with captions.

    Args:
        path: A PNG; its folder exists.
        clip: Files of the layers.
        facts: Findings of the check.
        target: Shows frames as training will crop them; None: whole frames.

    Raises:
        BadClip: Something of it cannot be read.
        OSError: The picture cannot be written.
    """
    size = (target.width, target.height) if target else _fitting(facts.width, facts.height)
    moments = moments_of(facts.num_frames)
    read = read_frames(clip, moments, size)
    drawn = draw_rows(read, range(len(moments)), checkerboard(size[1], size[0]))
    picture = Image.fromarray((drawn * 255).round().astype(np.uint8))
    scale = max(1, -(-_NARROWEST // size[0]))
    picture = picture.resize(
        (picture.width * scale, picture.height * scale), Image.Resampling.NEAREST
    )
    rate = f" at {float(facts.fps):.5g} fps" if facts.fps else ", no rate"
    head = (
        f"{clip.path.name}: {facts.width}x{facts.height}, {facts.num_frames} frames{rate}; "
        f"rows are frames {', '.join(str(t + 1) for t in moments)}"
    )
    mark = PngInfo()
    mark.add_text("Software", _MADE_BY)
    titles = column_titles(len(read.foregrounds))
    _labelled(picture, head, titles, _captions(read)).save(path, pnginfo=mark)


def remove_previews(folder: Path) -> None:
    """Remove the pictures that `write_preview` made in a folder, and no others.

    Raises:
        OSError: One cannot be removed.
    """
    for path in sorted(folder.glob("*.png")):
        try:
            with Image.open(path) as picture:
                is_ours = picture.info.get("Software") == _MADE_BY
        except UnidentifiedImageError:
            continue
        if is_ours:
            path.unlink()


def _fitting(width: int, height: int) -> tuple[int, int]:
    """Scale a size down to the widest column."""
    scale = min(1.0, _WIDEST / width)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _captions(clip: LayeredClip) -> list[str]:
    named = [("background", clip.background_caption)]
    named += [(f"foreground {k}", f.caption) for k, f in enumerate(clip.foregrounds, start=1)]
    full = clip.full_caption or "(none: made of the others)"
    return [f"{name}: {caption}" for name, caption in [("full", full), *named]]


def _labelled(
    picture: Image.Image, head: str, titles: Sequence[str], captions: Sequence[str]
) -> Image.Image:
    """Put a line and the columns' titles above a picture and captions below it."""
    font = ImageFont.load_default(_TEXT)
    below = [part for text in captions for part in _wrapped(text, font, picture.width)]
    above = _wrapped(head, font, picture.width)
    top = (len(above) + 1) * _LINE + _MARGIN
    height = top + picture.height + len(below) * _LINE + 2 * _MARGIN
    sheet = Image.new("RGB", (picture.width, height), "white")
    sheet.paste(picture, (0, top))
    draw = ImageDraw.Draw(sheet)
    for number, line in enumerate(above):
        draw.text((_MARGIN, _MARGIN + number * _LINE), line, "black", font)
    width = picture.width // len(titles)
    for number, title in enumerate(titles):
        draw.text((number * width + _MARGIN, top - _LINE), title, "black", font)
    for number, line in enumerate(below):
        draw.text((_MARGIN, top + picture.height + _MARGIN + number * _LINE), line, "black", font)
    return sheet


def _wrapped(
    text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int
) -> list[str]:
    """Break a text into lines that fit a width. A word that is too long stands alone."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width - 2 * _MARGIN:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines

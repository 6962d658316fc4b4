"""The demo's contact sheet: both takes side by side, a row per layer."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from blender_addon.core.takes import Take
from layert2v_client import ArtifactFormat, ArtifactKind

CELL_WIDTH = 240
COLUMNS = (0.0, 0.5, 1.0)
"""Instants shown, as shares of the shot."""
MARGIN, LABEL_HEIGHT, GAP = 8, 18, 4
CHECKER = 12
"""Pixels of a square of the checkerboard, after scaling."""

Picture = NDArray[np.uint8]
Row = tuple[str, list[Picture]]


def draw_contact_sheet(takes: Sequence[tuple[Take, list[Picture]]]) -> Image.Image:
    """Draw each take and Blender's render of it as a column."""
    columns = [_rows(take, rendered) for take, rendered in takes]
    blocks = [_draw_take(f"take {take.number}", rows) for (take, _), rows
              in zip(takes, columns, strict=True)]  # fmt: skip
    width = sum(block.width for block in blocks) + MARGIN * (len(blocks) + 1)
    sheet = Image.new("RGB", (width, blocks[0].height + 2 * MARGIN), (32, 32, 32))
    x = MARGIN
    for block in blocks:
        sheet.paste(block, (x, MARGIN))
        x += block.width + MARGIN
    return sheet


def _rows(take: Take, rendered: list[Picture]) -> list[Row]:
    layers = take.made.layers
    rows = [
        ("full (flattened stack)", _read(take, ArtifactKind.FULL, -1)),
        (f"background: {layers[0].prompt}", _read(take, ArtifactKind.BACKGROUND, 0)),
    ]
    for k in range(1, len(layers)):
        label = f"foreground {k}: {layers[k].prompt}"
        rows.append((label, _read(take, ArtifactKind.FOREGROUND, k)))
        rows.append((f"matte {k}", _read(take, ArtifactKind.MATTE, k)))
    return [*rows, ("Blender's render of the strips", rendered)]


def _read(take: Take, kind: ArtifactKind, layer_index: int) -> list[Picture]:
    paths: tuple[Path, ...] = take.frames(kind, layer_index, ArtifactFormat.PNG)
    return [np.asarray(Image.open(path)) for path in paths]


def _draw_take(title: str, rows: list[Row]) -> Image.Image:
    height, width = rows[0][1][0].shape[:2]
    cell_height = round(CELL_WIDTH * height / width)
    row_height = cell_height + LABEL_HEIGHT
    size = ((CELL_WIDTH + GAP) * len(COLUMNS) - GAP, LABEL_HEIGHT + row_height * len(rows))
    block = Image.new("RGB", size, (32, 32, 32))
    pen = ImageDraw.Draw(block)
    pen.text((2, 2), title, fill=(255, 200, 80))
    for number, (label, pictures) in enumerate(rows):
        y = LABEL_HEIGHT + number * row_height
        pen.text((2, y + 3), label, fill=(235, 235, 235))
        for column, share in enumerate(COLUMNS):
            picture = pictures[round(share * (len(pictures) - 1))]
            cell = _cell(picture, (CELL_WIDTH, cell_height))
            block.paste(cell, (column * (CELL_WIDTH + GAP), y + LABEL_HEIGHT))
    return block


def _cell(picture: Picture, size: tuple[int, int]) -> Image.Image:
    scaled = Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC)
    if scaled.mode != "RGBA":
        return scaled.convert("RGB")
    cell = _checkerboard(size)
    cell.paste(scaled, (0, 0), scaled.getchannel("A"))
    return cell


def _checkerboard(size: tuple[int, int]) -> Image.Image:
    x, y = np.meshgrid(np.arange(size[0]) // CHECKER, np.arange(size[1]) // CHECKER)
    grey = np.where((x + y) % 2, 150, 105).astype(np.uint8)
    return Image.fromarray(np.repeat(grey[..., None], 3, -1))

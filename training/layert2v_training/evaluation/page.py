"""One self-contained page of a report: figures, plots, and pictures with the worst cases first."""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined
from PIL import Image

from layert2v_training.evaluation.metrics.catalogue import METRICS

WORST = 3
"""Shots shown for each metric, the worst first."""
_WIDTH, _ROW, _MARGIN, _LABEL = 640, 22, 12, 230
"""Pixels of a plot: its width, a row's height, the margin, the room for names."""


def draw_page(report: Mapping[str, Any], pictures: Mapping[str, Image.Image]) -> str:
    """Draw the page.

    Args:
        report: As `report.json` holds it.
        pictures: Pictures of shots, by name; drawn twice as large.
    """
    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(
        resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    )
    return template.render(
        report=report,
        meanings=METRICS,
        pictures={name: _encoded(picture) for name, picture in pictures.items()},
        sizes={name: (2 * p.width, 2 * p.height) for name, p in pictures.items()},
        worst={name: worst_shots(report["shots"], name) for name in report["metrics"]},
        plots={name: draw_plot(report, name) for name in report["metrics"]},
    )


def worst_shots(shots: Sequence[Mapping[str, Any]], metric: str) -> list[Mapping[str, Any]]:
    """Choose the shots with the worst values of a metric, worst first."""
    measured = [shot for shot in shots if metric in shot["values"]]
    bad = METRICS[metric].badness
    return sorted(measured, key=lambda s: bad(s["values"][metric]), reverse=True)[:WORST]


def _encoded(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def draw_plot(report: Mapping[str, Any], metric: str) -> str:
    """Draw every shot's value as a dot, a row per method, means as bars: SVG."""
    methods = {"measured": report["shots"], **report["baseline_shots"]}
    rows = {
        name: [shot["values"][metric] for shot in shots if metric in shot["values"]]
        for name, shots in methods.items()
    }
    rows = {name: values for name, values in rows.items() if values}
    low = min(min(values) for values in rows.values())
    span = max(max(values) for values in rows.values()) - low or 1.0
    inner = _WIDTH - _LABEL - 2 * _MARGIN

    def at(value: float) -> float:
        return _LABEL + _MARGIN + inner * (value - low) / span

    height = _ROW * len(rows) + _ROW
    parts = [f'<svg viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" role="img">']
    for number, (name, values) in enumerate(rows.items()):
        y = _ROW * number + _ROW / 2
        mean = at(sum(values) / len(values))
        parts.append(f'<text x="0" y="{y + 4}">{html.escape(name)}</text>')
        parts += [f'<circle cx="{at(v):.1f}" cy="{y}" r="3"/>' for v in values]
        parts.append(f'<path d="M{mean:.1f} {y - 9}v18"/>')
    y = height - 5
    parts.append(f'<text x="{at(low):.0f}" y="{y}">{low:.3g}</text>')
    parts.append(f'<text x="{at(low + span):.0f}" y="{y}" class="end">{low + span:.3g}</text>')
    return "".join([*parts, "</svg>"])

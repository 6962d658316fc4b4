"""The engine's report: counts, reasons, figures, captions, and a strip of pictures per clip."""

import html
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import cv2
import numpy as np

from layert2v_training.data.clips import LayeredClip
from layert2v_training.data.strips import GREY, draw_rows
from layert2v_training.engine.reasons import Reason

_STYLE = (
    "body{font:14px sans-serif;margin:2em;max-width:70em}img{max-width:100%}"
    "td,th{text-align:left;padding:.2em 1em .2em 0}.bad{color:#a22}"
)


@dataclass(frozen=True)
class Outcome:
    """The outcome of a clip, or of a shot or video that gave none."""

    name: str
    reasons: tuple[Reason, ...] = ()
    """Reasons of the rejection. An accepted clip has none."""
    captions: tuple[str, ...] = ()
    """Background, then foregrounds."""
    figures: dict[str, float] = field(default_factory=dict)
    told: str = ""
    """Text by which repeats are found. It is empty if no text distinguishes the clip."""
    told_of: str = ""
    """Name of the video that the whole text describes, or empty if it describes the clip."""


def write_strip(path: Path, clip: LayeredClip, num_moments: int = 3) -> None:
    """Write rows of full, background, foregrounds on grey and their mattes, one per moment."""
    moments = np.linspace(0, len(clip.full_THWC) - 1, num_moments).astype(int).tolist()
    codes = (draw_rows(clip, moments, GREY) * 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), codes[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])


def write_report(path: Path, outcomes: Sequence[Outcome], not_judged: Sequence[str] = ()) -> None:
    """Write one HTML page. Strips are looked for in `pictures/` beside it.

    Args:
        path: The page.
        outcomes: Outcomes of everything.
        not_judged: Clips not judged for repeats, and the reasons.
    """
    accepted = [outcome for outcome in outcomes if not outcome.reasons]
    kinds = Counter(reason.kind for outcome in outcomes for reason in outcome.reasons)
    reasons = "".join(
        f"<tr><td>{html.escape(kind)}</td><td>{n}</td></tr>" for kind, n in kinds.most_common()
    )
    unique = "".join(
        f"<tr><td>{name}</td><td>{len(set(said))} of {len(said)}</td></tr>"
        for name, said in (
            ("background", [o.captions[0] for o in accepted if o.captions]),
            ("foreground", [c for o in accepted for c in o.captions[1:]]),
        )
    )
    body = (
        f"<h1>Layered clips</h1><p>{len(accepted)} accepted, "
        f"{len(outcomes) - len(accepted)} rejected.</p>"
        f"<h2>Reasons</h2><table>{reasons}</table>{_unjudged(not_judged)}"
        f"<h2>Unique captions</h2><table>{unique}</table>"
        f"<h2>Figures of accepted clips</h2><table>{_figure_rows(accepted)}</table>"
        f"{''.join(_section(path, outcome) for outcome in outcomes)}"
    )
    page = f"<!doctype html><meta charset=utf-8><title>Clips</title><style>{_STYLE}</style>{body}"
    path.write_text(page, "utf-8")


def _unjudged(reasons: Sequence[str]) -> str:
    items = "".join(f"<li>{html.escape(reason)}</li>" for reason in reasons)
    return f"<h2>Not judged for repeats</h2><ul>{items}</ul>" if items else ""


def _figure_rows(accepted: Sequence[Outcome]) -> str:
    rows = ["<tr><th>figure</th><th>least</th><th>median</th><th>most</th></tr>"]
    for name in dict.fromkeys(name for outcome in accepted for name in outcome.figures):
        values = np.array([o.figures[name] for o in accepted if name in o.figures])
        cells = "".join(f"<td>{v:.3g}</td>" for v in np.percentile(values, (0, 50, 100)))
        rows.append(f"<tr><td>{name}</td>{cells}</tr>")
    return "".join(rows)


def _section(path: Path, outcome: Outcome) -> str:
    said = "".join(f"<li>{html.escape(caption)}</li>" for caption in outcome.captions)
    why = "".join(f"<p class=bad>{html.escape(reason.said)}</p>" for reason in outcome.reasons)
    figures = ", ".join(f"{name} {value:.3g}" for name, value in outcome.figures.items())
    strip = f"pictures/{outcome.name}.jpg"
    source = html.escape(quote(strip))
    picture = f'<img src="{source}">' if (path.parent / strip).is_file() else ""
    return f"<h3>{html.escape(outcome.name)}</h3>{why}<ul>{said}</ul><p>{figures}</p>{picture}"

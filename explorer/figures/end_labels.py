"""Names of lines at their ends, moved apart where ends are close. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from explorer.look.theme import GREY

PLOT_PIXELS = 360
"""About the height of the plot itself."""

LINE_PIXELS = 16
FONT_PIXELS = 12
LINE_CHARACTERS = 11
"""What fits beside the curves on a window of 420 pixels."""

NEAR = 0.3
"""Labels whose lines end so close, as a share of the axis, would lie over each other."""

_MOVED_PIXELS = 7


@dataclass(frozen=True)
class EndLabel:
    """The name of one line."""

    x: float
    y: float
    text: str
    """As plotly's HTML, like the note."""
    note: str
    """Said below the name, such as why the line ends there."""
    colour: str


def end_labels(
    labels: Sequence[EndLabel], *, x_range: tuple[float, float], y_range: tuple[float, float]
) -> list[dict[str, Any]]:
    """Annotations: each label right of its line's end, with a thread to it where it was moved."""
    low, high = y_range
    per_pixel = (high - low) / PLOT_PIXELS
    texts = [
        broken(label.text) + (f"<br><i>{broken(label.note)}</i>" if label.note else "")
        for label in labels
    ]
    heights = [(text.count("<br>") + 1) * LINE_PIXELS * per_pixel for text in texts]
    close = NEAR * (x_range[1] - x_range[0])
    columns = [label.x for label in labels]
    places = spread([label.y for label in labels], heights, columns, close, bounds=y_range)
    return [
        _annotation(label, text, (place - label.y) / per_pixel)
        for label, text, place in zip(labels, texts, places, strict=True)
    ]


def _annotation(label: EndLabel, text: str, up_pixels: float) -> dict[str, Any]:
    moved = abs(up_pixels) > _MOVED_PIXELS
    return {
        "x": label.x,
        "y": label.y,
        "text": f"<span style='color:{label.colour}'>\u25cf</span> {text}",
        "xanchor": "left",
        "align": "left",
        "font": {"size": FONT_PIXELS},
        "showarrow": True,
        "ax": 18 if moved else 12,
        "ay": -up_pixels,
        "arrowhead": 0,
        "arrowwidth": 0.8,
        "arrowcolor": GREY if moved else "rgba(0,0,0,0)",
        "standoff": 7,
    }


def spread(
    wanted: Sequence[float],
    heights: Sequence[float],
    columns: Sequence[float],
    close: float,
    *,
    bounds: tuple[float, float] | None = None,
) -> list[float]:
    """Places for labels near the wanted ones, such that those in near columns do not overlap.

    bounds: labels stay within, as far as there is room.
    """
    places = list(wanted)
    order = sorted(range(len(places)), key=lambda i: places[i])
    for _ in range(60):
        moved = False
        for below, above in ((a, b) for k, a in enumerate(order) for b in order[k + 1 :]):
            if abs(columns[below] - columns[above]) > close:
                continue
            overlap = (heights[below] + heights[above]) / 2 - (places[above] - places[below])
            if overlap > 1e-9:
                places[below] -= overlap / 2
                places[above] += overlap / 2
                moved = True
        if bounds is not None:
            low, high = bounds
            for i, height in enumerate(heights):
                places[i] = min(max(places[i], low + height / 2), high - height / 2)
        if not moved:
            break
    return places


def broken(text: str) -> str:
    """A text in lines of about LINE_CHARACTERS, broken between words."""
    lines: list[str] = []
    for word in text.split(" "):
        if lines and len(lines[-1]) + len(word) + 1 <= LINE_CHARACTERS:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return "<br>".join(lines)

"""The picture of the results: score against what was removed, one panel a task, as SVG. No torch.

Written by hand as text: the same bytes everywhere, and neither a browser nor a drawing library.
"""

from collections.abc import Callable, Sequence
from html import escape
from operator import itemgetter

from finegates_engine.metrics import METRICS
from finegates_engine.report.fall import fall_of_one_point
from finegates_engine.report.levels import Curve, TaskResults
from finegates_engine.tasks import TASKS

ACCENT, GREY = "#D55E00", "#999999"
COLORS = {  # Okabe-Ito
    "finegates": "#E69F00",
    "taylor": "#0072B2",
    "magnitude": "#56B4E9",
    "random": GREY,
    "full": "#222222",
    "lora": "#009E73",
}
"""Methods that are drawn; a path of FineGates has ACCENT. The tables have all: a linear probe would
take up the scale."""

_PANEL, _COLUMNS = (430, 280), 2
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 122, 34, 44
_LINE_HEIGHT = 13

Scale = Callable[[float], float]


def results_svg(results: Sequence[TaskResults]) -> str:
    """One panel a task: curves with pale intervals, methods that remove nothing dotted."""
    width, height = _PANEL
    rows = -(-len(results) // _COLUMNS)
    size = (width * min(len(results), _COLUMNS), height * rows)
    panels = [
        f'<g transform="translate({width * (i % _COLUMNS)} {height * (i // _COLUMNS)})">\n'
        f"{_panel(task)}\n</g>"
        for i, task in enumerate(results)
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size[0]} {size[1]}" '
        f'width="{size[0]}" height="{size[1]}" font-family="sans-serif" font-size="11">\n'
        f"<title>Score against the share of the encoder's weights removed</title>\n"
        f'<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(panels) + "\n</svg>\n"
    )


def _panel(task: TaskResults) -> str:
    curves = _shown(task)
    lows = [level.interval.low for curve in curves for level in curve.levels]
    highs = [level.interval.high for curve in curves for level in curve.levels]
    low, high = min(lows), max(highs)
    margin = 0.06 * (high - low) or 0.01
    low, high = low - margin, high + margin
    last = max(level.removed for curve in curves for level in curve.levels)
    right = max(0.1, last)
    width, height = _PANEL

    def x(share: float) -> float:
        return _LEFT + (width - _LEFT - _RIGHT) * share / right

    def y(score: float) -> float:
        return _TOP + (height - _TOP - _BOTTOM) * (high - score) / (high - low)

    spec = METRICS[task.metric]
    parts = [_text(_LEFT, 18, _title(task), size=13, weight="bold"), *_axes(x, y, low, high, right)]
    middle = (_LEFT + width - _RIGHT) / 2
    parts.append(_text(middle, height - 8, "Encoder weights removed (%)", anchor="middle"))
    parts.append(
        f'<text transform="translate(12 {height / 2:.1f}) rotate(-90)" text-anchor="middle" '
        f'fill="#444">{escape(f"{spec.label} ({spec.unit})")}</text>'
    )
    for curve in reversed(curves):
        if curve.is_point:
            parts.append(_dotted(curve, x(right), y))
        parts.append(_drawn(curve, x, y))
    return "\n".join([*parts, *_labels(curves, x(right) + 7, y)])


def _shown(task: TaskResults) -> list[Curve]:
    """Curves of the drawn methods without variants, ours first."""
    drawn = [c for c in task.curves if not c.variant and c.method in COLORS]
    return drawn or [task.curves[0]]


def _title(task: TaskResults) -> str:
    name = TASKS[task.task].title if task.task in TASKS else task.task
    ours = task.curves[0]
    fall = fall_of_one_point(ours, task.metric)
    if fall is None:
        return name
    who = "path" if ours.strategy == "path" else ours.label
    if fall.share is None:
        return f"{name}: {who} loses no point up to {fall.last:.0%}"
    low, high = (
        f"over {fall.last:.0%}" if end is None else f"{end:.0%}" for end in (fall.low, fall.high)
    )
    return f"{name}: {who} loses one point at {fall.share:.0%} ({low} to {high})"


def _axes(x: Scale, y: Scale, low: float, high: float, right: float) -> list[str]:
    bottom, end = _PANEL[1] - _BOTTOM, x(right)
    parts = [f'<path d="M{_LEFT} {_TOP}V{bottom}H{end:.1f}" fill="none" stroke="#888"/>']
    for share in _ticks(0, right):
        parts.append(_text(x(share), bottom + 15, f"{100 * share:.0f}", anchor="middle"))
    for score in _ticks(low, high):
        parts.append(_text(_LEFT - 6, y(score) + 4, f"{score:.3g}", anchor="end"))
        parts.append(f'<path d="M{_LEFT} {y(score):.1f}H{end:.1f}" stroke="#eee"/>')
    return parts


def _ticks(low: float, high: float) -> list[float]:
    """Round values in an interval, four to eight of them."""
    for step in (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0):
        first, last = -int(-low // step), int(high // step)
        if last - first < 8:
            return [round(step * k, 6) for k in range(first, last + 1)]
    return [low, high]


def _drawn(curve: Curve, x: Scale, y: Scale) -> str:
    color = _color(curve)
    dots = "".join(
        f'<circle cx="{x(lv.removed):.1f}" cy="{y(lv.interval.mean):.1f}" r="3" fill="{color}"/>'
        for lv in curve.levels
    )
    if len(curve.levels) < 2:
        level = curve.levels[0]
        at, ends = x(level.removed), (y(level.interval.low), y(level.interval.high))
        return f'<path d="M{at:.1f} {ends[0]:.1f}V{ends[1]:.1f}" stroke="{color}"/>{dots}'
    edge = [(lv, lv.interval.high) for lv in curve.levels]
    edge += [(lv, lv.interval.low) for lv in reversed(curve.levels)]
    band = _path([(x(lv.removed), y(value)) for lv, value in edge])
    line = _path([(x(lv.removed), y(lv.interval.mean)) for lv in curve.levels])
    pale = f'<path d="{band}Z" fill="{color}" fill-opacity="0.13"/>'
    return (
        f"{pale if curve.method == 'finegates' else ''}"
        f'<path d="{line}" fill="none" stroke="{color}" stroke-width="2"/>{dots}'
    )


def _dotted(curve: Curve, end: float, y: Scale) -> str:
    """From a method that removes nothing to its name."""
    at = y(curve.levels[0].interval.mean)
    return (
        f'<path d="M{_LEFT} {at:.1f}H{end:.1f}" stroke="{_color(curve)}" stroke-dasharray="2 3"/>'
    )


def _labels(curves: Sequence[Curve], left: float, y: Scale) -> list[str]:
    """Names beside the panel, each at the height of its curve's end, moved apart if they meet."""
    ends = sorted(
        ((y(curve.levels[-1].interval.mean) + 4, curve) for curve in curves), key=itemgetter(0)
    )
    places, free = [], float(_TOP)
    for height, _ in ends:
        places.append(max(free, height))
        free = places[-1] + _LINE_HEIGHT
    free = float(_PANEL[1] - _BOTTOM)
    for i in reversed(range(len(ends))):
        places[i] = min(free, places[i])
        free = places[i] - _LINE_HEIGHT
    return [
        _text(left, place, curve.label, fill=_color(curve))
        for place, (_, curve) in zip(places, ends, strict=True)
    ]


def _color(curve: Curve) -> str:
    if curve.method == "finegates" and curve.strategy == "path":
        return ACCENT
    return COLORS.get(curve.method, GREY)


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in points)


def _text(
    x: float,
    y: float,
    words: str,
    *,
    anchor: str = "start",
    size: int = 11,
    weight: str = "normal",
    fill: str = "#444",
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
        f'font-weight="{weight}" fill="{fill}">{escape(words)}</text>'
    )

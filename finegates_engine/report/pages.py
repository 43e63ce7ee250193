"""Results as Markdown: a page a task, and one that names all. No torch."""

from collections.abc import Sequence

from finegates_engine.analysis.intervals import Interval
from finegates_engine.metrics import METRICS
from finegates_engine.report.fall import Fall, fall_of_one_point
from finegates_engine.report.levels import Curve, TaskResults, paired
from finegates_engine.report.paper import paper_rows
from finegates_engine.tasks import TASKS
from finegates_engine.text.format import MISSING, count_text, score_text, share_text
from finegates_engine.text.markdown import plain, table

FIGURE = "results.svg"


def index_page(results: Sequence[TaskResults], command: str) -> str:
    """All tasks in one table: FineGates at nothing removed, and where it has lost one point."""
    rows = []
    for task in results:
        ours = task.curves[0]
        first, fall = ours.levels[0], fall_of_one_point(ours, task.metric)
        rows.append(
            [
                f"[{plain(title(task))}]({task.task}.md)",
                METRICS[task.metric].label,
                plain(ours.label),
                f"{share_text(first.removed)}: {interval_text(first.interval)}",
                _against_full(task),
                MISSING if fall is None else _fall_words(fall),
                count_text(first.trained),
            ]
        )
    heads = (
        "Task",
        "Metric",
        "Curve",
        "First level",
        "Less full finetuning",
        "One point lost at",
        "Trained parameters",
    )
    return (
        "# Results\n\n"
        f"Made by `{command}`; a change by hand is lost.\n\n"
        f"![Score against the encoder weights removed, a panel a task]({FIGURE})\n\n"
        f"{table(heads, rows)}\n\n{_READING}\n"
    )


_READING = (
    "Scores are means over seeds with 95% intervals: evaluation rows resampled, and seeds by "
    "Student's t; with one seed rows only. One point is 0.01 of the metric, counted from the "
    "curve's own level with nothing removed, on the line between two measured levels; its interval "
    "varies rows and seeds of all levels together. Differences are over the seeds that both curves "
    "have, or over all where they share none."
)


def _against_full(task: TaskResults) -> str:
    """The first curve's first level less full finetuning, over the seeds and rows of both."""
    full = [curve for curve in task.curves if curve.method == "full" and not curve.variant]
    found = paired(task.curves[0], full[0]) if full else []
    return interval_text(found[0][1]) if found else MISSING


def task_page(task: TaskResults, command: str) -> str:
    """Every curve of a task, level by level; differences; the papers' figures beside ours."""
    metric = METRICS[task.metric]
    parts = [
        f"# {plain(title(task))}",
        f"Made by `{command}`. {metric.label} ({metric.unit}; {metric.better} is better) on "
        f"{task.rows:,} evaluation rows of `{plain(task.split)}`; training rows: "
        f"{task.train_rows}.",
    ]
    parts += [_curve_part(curve, task.metric) for curve in task.curves if not curve.is_point]
    if points := [curve for curve in task.curves if curve.is_point]:
        parts += ["## Nothing removed", _points_table(points)]
    parts += _differences(task)
    if paper := _paper_table(task):
        parts += ["## Beside the papers", paper]
    return "\n\n".join(parts) + "\n"


def title(task: TaskResults) -> str:
    """A task's name for readers."""
    return TASKS[task.task].title if task.task in TASKS else task.task


def interval_text(interval: Interval) -> str:
    """0.972 (0.965 to 0.979)."""
    return (
        f"{score_text(interval.mean)} ({score_text(interval.low)} to {score_text(interval.high)})"
    )


def _curve_part(curve: Curve, metric: str) -> str:
    rows = [
        [
            share_text(level.removed),
            interval_text(level.interval),
            str(level.interval.seeds),
            count_text(level.trained),
        ]
        for level in curve.levels
    ]
    heads = ("Encoder weights removed", METRICS[metric].label, "Seeds", "Trained parameters")
    fall = fall_of_one_point(curve, metric)
    words = "" if fall is None else f"\n\nOne point lost: {_fall_words(fall)}."
    return f"## {plain(curve.label)}\n\nBackbone: {curve.backbone}.\n\n{table(heads, rows)}{words}"


def _fall_words(fall: Fall) -> str:
    """43.2% removed (12.0% to more than 70.0%)."""
    beyond = f"more than {share_text(fall.last)}"
    low, high = (beyond if end is None else share_text(end) for end in (fall.low, fall.high))
    interval = low if low == high else f"{low} to {high}"
    if fall.share is None:
        return f"not up to {share_text(fall.last)}, the most that was measured ({interval})"
    return f"{share_text(fall.share)} removed ({interval})"


def _points_table(points: Sequence[Curve]) -> str:
    rows = [
        [plain(c.label), interval_text(lv.interval), str(lv.interval.seeds), count_text(lv.trained)]
        for c in points
        for lv in c.levels
    ]
    return table(("Method", "Score", "Seeds", "Trained parameters"), rows)


def _differences(task: TaskResults) -> list[str]:
    """Each curve of FineGates less every curve that comes after it."""
    rows = [
        [
            plain(f"{ours.label} less {other.label}"),
            share_text(removed),
            interval_text(interval),
            "yes" if interval.excludes_zero else "no",
        ]
        for place, ours in enumerate(task.curves)
        if ours.is_ours
        for other in task.curves[place + 1 :]
        if not other.variant or _is_variant_of(other, ours)
        for removed, interval in paired(ours, other)
        if not (other.is_ours and removed == 0)
    ]
    if not rows:
        return []
    heads = ("Difference, rows paired", "Removed", "Score", "Interval without 0")
    return ["## Differences", table(heads, rows)]


def _is_variant_of(other: Curve, ours: Curve) -> bool:
    return (other.method, other.strategy) == (ours.method, ours.strategy)


def _paper_table(task: TaskResults) -> str:
    """Theirs and ours in columns that say which backbone they are of."""
    theirs = paper_rows(task.task)
    if not theirs:
        return ""
    ours = [
        (curve.label, share_text(level.removed), curve.backbone, level)
        for curve in task.curves
        if not curve.variant and (curve.method == "finegates" or curve.is_point)
        for level in curve.levels
    ]
    backbones = list(dict.fromkeys([*(c[2] for c in ours), *(row.backbone for row in theirs)]))
    rows = []
    for label, removed, backbone, level in ours:
        cells = [f"{100 * level.interval.mean:.1f}" if b == backbone else "" for b in backbones]
        name = f"{plain(label)}, {removed} of the encoder removed"
        rows.append([name, "here", count_text(level.trained), *cells])
    for row in theirs:
        cells = [f"{row.scores[task.task]:.1f}" if b == row.backbone else "" for b in backbones]
        rows.append([plain(row.method), f"arXiv {row.source}", row.trained, *cells])
    text = (
        "Score times 100. The backbones differ in size and pre-training, the papers train other "
        "numbers of rows and epochs: the columns are not to be compared with each other. Their "
        "parameters are without the head and as printed; what they say is removed is counted in "
        "parameters of the model.\n\n"
    )
    return text + table(("Method", "Source", "Trained parameters", *backbones), rows)

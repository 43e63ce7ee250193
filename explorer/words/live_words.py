"""What the live page says about its results. No Streamlit."""

from collections.abc import Sequence

import numpy as np

from explorer.look.numbers import MINUS, plural
from explorer.words.live_values import beyond, flipped, label_shift, level_values, percent
from finegates_engine.explain.advice import gap_text, remarks, worthwhile
from finegates_engine.explain.explanation import Explanation
from finegates_engine.live.results import (
    Ablation,
    Effects,
    Levels,
    Predictions,
    Reading,
    TextRace,
    part_label,
)
from finegates_engine.parity import Certificate
from finegates_engine.text.format import ms_text
from finegates_engine.timing.latency import Speedup
from finegates_engine.timing.stored import DENSE, PRUNED, TRANSFORMERS

EXAMPLES = {
    "sst2": ("A gripping film, sharply written and never dull.",),
    "cola": ("The keys to the cabinet are on the table.",),
    "agreement": ("The keys to the cabinet are on the table.",),
    "stsb": ("A man is playing a guitar.", "Someone plays a musical instrument."),
    "mrpc": ("The company sold its last shop in May.", "In May the firm sold its last store."),
    "qqp": ("How do I learn to cook?", "What is the best way to learn cooking?"),
    "rte": ("The museum opened in 1921 in Lyon.", "The museum is in Lyon."),
    "qnli": ("When did the museum open?", "The museum opened in 1921 in Lyon."),
    "mnli": ("A woman is reading in the park.", "A woman is outdoors."),
}
"""Task -> a text for each of its fields, to begin with."""

OTHER_EXAMPLES = {
    1: ("It was better than I had hoped.",),
    2: ("A dog runs on the beach.", "An animal is outside."),
}

_BUSY = 0.5  # processes beyond the race's own threads, as a share of the cores


def predictions_finding(found: Predictions) -> tuple[str, str]:
    """(title, subtitle): whether both models say the same."""
    dense, pruned = np.array(found.dense), np.array(found.pruned)
    if found.labels is None:
        apart = np.abs(dense - pruned).max()
        if len(dense) == 1:
            title = f"Dense scores {dense[0, 0]:.2f}, pruned {pruned[0, 0]:.2f}"
        else:
            title = f"Scores are at most {apart:.2f} apart"
        return title, "On the task's own scale."
    same = dense.argmax(1) == pruned.argmax(1)
    if len(dense) == 1:
        names = found.labels[dense[0].argmax()], found.labels[pruned[0].argmax()]
        shares = f"dense {percent(dense[0].max())}, pruned {percent(pruned[0].max())}"
        if same[0]:
            return f"Both say {names[0]}", f"With a probability of: {shares}."
        return f"They differ: {names[0]} and {names[1]}", f"Probability of its label: {shares}."
    title = f"{int(same.sum())} of {len(same)} rows get the same label"
    if same.all():
        title = f"All {len(same)} rows get the same label"
    apart = np.abs(dense - pruned).max()
    return title, f"Probabilities are at most {100 * apart:.0f} points apart."


def reading_note(reading: Reading) -> str:
    """What of the text is not read. Empty: all of it is."""
    if not reading.cut:
        return ""
    if len(reading.tokens) == 1:
        return f"Only the first {reading.width} of its {reading.tokens[0]:,} tokens are read."
    named = ", ".join(str(number) for number in reading.cut[:5])
    more = ", ..." if len(reading.cut) > 5 else ""
    return f"Only the first {reading.width} tokens are read of row {named}{more}."


def speedup_words(gain: Speedup, *, pruned: str = "Pruned") -> str:
    """Pruned is 1.5x as fast (1.4 to 1.6); or that no difference can be measured."""
    digits = 1 if gain.high - gain.low >= 0.1 else 2
    value, low, high = (f"{number:.{digits}f}" for number in (gain.value, gain.low, gain.high))
    interval = f"({low} to {high})"
    match gain.verdict:
        case "faster":
            return f"{pruned} is {value}x faster {interval}"
        case "slower":
            return f"{pruned} is slower: {value}x as fast {interval}"
        case _:
            return f"No measurable difference: {value}x as fast {interval}"


def race_finding(found: TextRace) -> tuple[str, str]:
    """(title, subtitle) of a race."""
    width, rounds = found.reading.width, len(found.seconds[DENSE])
    subtitle = (
        f"{plural(found.batch, 'row')} of {width} tokens, {plural(found.shape.threads, 'thread')} "
        f"on {found.machine}; {plural(rounds, 'round')}, 95% interval."
    )
    return speedup_words(found.speedup[PRUNED]), subtitle


def race_table(found: TextRace) -> list[dict[str, str]]:
    """A row a variant: median, p95, how many times as fast as dense."""
    names = {DENSE: "Dense", PRUNED: "Pruned", TRANSFORMERS: "Transformers"}
    rows = []
    for name, label in names.items():
        if name not in found.latency:
            continue
        gain = found.speedup.get(name)
        times = found.latency[name]
        rows.append(
            {
                "Model": label,
                "Median": f"{ms_text(times.median)} ms",
                "p95": f"{ms_text(times.p95)} ms",
                "Speed": "1x"
                if gain is None
                else f"{gain.value:.2f}x ({gain.low:.2f} to {gain.high:.2f})",
            }
        )
    return rows


def race_notes(found: TextRace, cores: int) -> list[str]:
    """Efficiency, tokenisation, padding, and what makes the numbers doubtful."""
    notes = [
        f"Efficiency {100 * found.efficiency:.0f}%: its arithmetic is {found.mac_ratio:.2f} times "
        "less.",
        f"Tokenising takes {1000 * found.tokenise.median:.2g} ms more, the same for every model.",
    ]
    if slow := beyond(found):
        notes.append(f"{plural(slow, 'slower call')} beyond the figure's edge.")
    if found.filled < 1:
        notes.append(f"{100 * (1 - found.filled):.0f}% of the tokens are padding.")
    if (found.load or 0.0) - found.shape.threads > _BUSY * cores:
        notes.append("Other work ran on this machine: milliseconds are too high, the ratio stands.")
    if found.ended == "stopped":
        notes.append("It was stopped early: the interval is wider for it.")
    return notes


def certificate_words(certificate: Certificate | None) -> str:
    """What is known of the pruned model's exactness."""
    if certificate is None:
        return "No certificate yet; one is made before anything is timed."
    parity = certificate.torch
    if not certificate.passed:
        return "Its certificate did not pass: it is not timed."
    return (
        f"Certified: logits differ from the gated model's by at most "
        f"{parity.largest_difference:.0e} over {parity.rows:,} rows."
    )


def levels_finding(found: Levels, row: int) -> tuple[str, str]:
    """(title, subtitle): where the label of a row flips."""
    values, other = level_values(found), flipped(found)
    removed = [level.removed for level in found.levels]
    if found.labels is None:
        title = f"The score goes from {values[0, row]:.2f} to {values[-1, row]:.2f}"
        return title, f"From {removed[0]:.0%} to {removed[-1]:.0%} of the encoder removed."
    first = found.labels[int(np.argmax(found.levels[0].outputs[row]))]
    rows = other.shape[1]
    subtitle = ""
    if rows > 1:
        flips = int(other.any(axis=0).sum())
        subtitle = f"{flips} of {rows} rows change their label somewhere."
    if not other[:, row].any():
        return f"It stays {first} at all {len(removed)} levels", subtitle
    level = int(np.argmax(other[:, row]))
    title = f"The label flips between {removed[level - 1]:.0%} and {removed[level]:.0%} removed"
    back = np.flatnonzero(~other[level:, row])
    if len(back):
        subtitle = f"And is {first} again at {removed[level + int(back[0])]:.0%}. {subtitle}"
    return title, subtitle.strip()


def effects_finding(found: Effects) -> str:
    """Which single head or quarter of the FFN matters most for the text."""
    single = [e for e in found.effects if e.logits is not None and e.part.count(".") == 2]
    if not single:
        return "No head or FFN is left to close"
    most = max(single, key=lambda effect: abs(label_shift(found, effect)))
    name = part_label(most.part)
    shift = f"{label_shift(found, most):+.2f}".replace("-", MINUS)
    unit = "of the score" if found.labels is None else "logits"
    return f"{name[:1].upper()}{name[1:]} matters most: {shift} {unit}"


def ablation_finding(found: Ablation, row: int) -> tuple[str, str]:
    """(title, subtitle): how far it moves the logits, beside random groups of the same size."""
    before = np.array(found.before[row])
    after, random = np.array(found.after[row]), np.array([v[row] for v in found.random])
    own = np.abs(after - before).max()
    others = np.abs(random - before).max(axis=1)
    beaten = int((own > others).sum())
    title = f"Closing it moves a logit by {own:.2f}; a random group by {np.median(others):.2f}"
    words = [
        f"{found.size:,} of {found.of:,} inner dimensions close. It moves more than {beaten} of "
        f"{len(others)} random groups of the same size."
    ]
    if found.labels is not None:
        labels = found.labels[int(before.argmax())], found.labels[int(after.argmax())]
        flips = int((random.argmax(1) != before.argmax()).sum())
        if labels[0] != labels[1]:
            words.append(f"The label flips from {labels[0]} to {labels[1]}")
        else:
            words.append(f"The label stays {labels[0]}")
        words[-1] += f"; random groups flip it {flips} of {len(random)} times."
    return title, " ".join(words)


def explain_finding(found: Explanation) -> tuple[str, list[str]]:
    """(title, lines): the largest loss, what could be had at most, what to change."""
    ceiling = "without limit" if found.ceiling is None else f"{found.ceiling:.1f}x at most"
    lines = [
        f"Measured {found.speedup.value:.2f}x; {found.predicted:.2f}x if each part took what is "
        f"left of its arithmetic; {ceiling} if all that can be removed cost nothing.",
        *remarks(found),
    ]
    lines += [
        f"{trial.what}: {trial.gain.value:.2f}x as fast as now ({trial.how})."
        for trial in worthwhile(found)[:3]
    ]
    return f"Largest loss: {gap_text(found)}", lines


def row_names(rows: Sequence[Sequence[str]]) -> list[str]:
    """A line for each row; the two texts of a pair beside each other."""
    return [" / ".join(row) for row in rows]

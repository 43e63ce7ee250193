"""What is computed on a user's own text: its rows, checked, and the results. No torch."""

from collections.abc import Sequence
from typing import Literal

from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

from finegates_engine.errors import UserError
from finegates_engine.timing.latency import Latency, Speedup

MOST_CHARACTERS = 100_000
"""Of all texts together; longer ones are refused before they are tokenised."""

MOST_ROWS = 64

Row = tuple[str, ...]
"""One text, or the two of a pair."""

Values = tuple[tuple[float, ...], ...]
"""(rows, outputs)"""

_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Shape:
    """How the text is given to a model."""

    device: Literal["cpu", "cuda"] = "cpu"
    threads: int = Field(default=1, ge=1, le=1024)
    """Threads inside an operation."""

    batch: int | None = Field(default=None, ge=1, le=MOST_ROWS)
    """Rows of a timed call; the text's are repeated or cut. None: as many as the text has."""

    tokens: int | None = Field(default=None, ge=4, le=8192)
    """Every row is padded or cut to so many tokens. None: as long as the longest row."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Reading:
    """What a model reads of the text."""

    tokens: tuple[int, ...]
    """Tokens of each row, all of them."""

    width: int
    """Tokens of a row as it is computed: shorter ones are padded, longer ones cut."""

    @property
    def cut(self) -> tuple[int, ...]:
        """Numbers of the rows, from 1, of which only the first `width` tokens are read."""
        return tuple(i + 1 for i, count in enumerate(self.tokens) if count > self.width)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Predictions:
    """The text through the model with nothing removed and through a pruned one."""

    run_id: str
    dense_run_id: str | None
    """The run with nothing removed. None: the pruned run with all its gates open."""

    labels: tuple[str, ...] | None
    """Class names. None: regression."""

    dense: Values
    """Probabilities, or scores."""

    pruned: Values
    reading: Reading


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class TextRace:
    """The models timed against each other on the text."""

    run_id: str
    shape: Shape
    batch: int
    reading: Reading
    filled: float = Field(gt=0, le=1)
    """Share of the batch's tokens that are no padding."""

    seconds: dict[str, tuple[float, ...]]
    """Variant -> seconds of one call in each round."""

    latency: dict[str, Latency]
    speedup: dict[str, Speedup]
    """Variant -> how many times as fast as dense."""

    mac_ratio: float = Field(gt=0)
    """Multiply-accumulates of dense / of pruned, in rows of `reading.width` tokens."""

    efficiency: float = Field(gt=0)
    tokenise: Latency
    """Text to tensors on the CPU, the same for every model, apart from the calls."""

    ended: Literal["narrow", "budget", "rounds", "stopped"]
    machine: str
    load: float | None
    """Processes that wanted to run when it began (1-minute average). None: not known."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Level:
    """The text through one run of a curve."""

    run_id: str
    removed: float
    """folded_encoder_fraction"""

    outputs: Values
    """Probabilities, or scores."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Levels:
    """The text through all runs of a curve, least removed first."""

    labels: tuple[str, ...] | None
    levels: tuple[Level, ...]


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class PartEffect:
    """One part of a pruned model, closed alone."""

    part: str
    """Its code, see `part_label`."""

    layer: int
    size: int = Field(ge=0)
    """Inner dimensions that it still has."""

    logits: tuple[float, ...] | None
    """Logits of the first row without it. None: it has none left."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Ablation:
    """A pruned model before and after more of it is closed."""

    run_id: str
    labels: tuple[str, ...] | None
    parts: tuple[str, ...]
    """What is closed in addition."""

    size: int = Field(ge=0)
    """Inner dimensions that close with it."""

    of: int = Field(ge=0)
    """Inner dimensions that the pruned model has."""

    before: Values
    """Logits."""

    after: Values
    random: tuple[Values, ...]
    """Logits with as many dimensions of the same kinds closed, drawn from the whole model."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Effects:
    """Every part of a pruned model closed alone, on the first row."""

    run_id: str
    labels: tuple[str, ...] | None
    before: tuple[float, ...]
    effects: tuple[PartEffect, ...]


PREDICTIONS: TypeAdapter[Predictions] = TypeAdapter(Predictions)
TEXT_RACE: TypeAdapter[TextRace] = TypeAdapter(TextRace)
LEVELS: TypeAdapter[Levels] = TypeAdapter(Levels)
ABLATION: TypeAdapter[Ablation] = TypeAdapter(Ablation)
EFFECTS: TypeAdapter[Effects] = TypeAdapter(Effects)
SHAPE: TypeAdapter[Shape] = TypeAdapter(Shape)


def parse_rows(texts: Sequence[str], fields: Sequence[str]) -> tuple[Row, ...]:
    """What a user typed to rows: one a line. texts: one for each of the task's text fields.

    Line i of one field goes with line i of the other. Raises UserError for no text, a pair with
    one text alone, too many lines or characters.
    """
    count = sum(len(text) for text in texts)
    if count > MOST_CHARACTERS:
        raise UserError(
            f"The text has {count:,} characters, at most {MOST_CHARACTERS:,} are taken. Shorten it."
        )
    lines = [_lines(text) for text in texts]
    if not any(lines):
        raise UserError("There is no text yet. Type a sentence; each line is a row of its own.")
    rows = [(line,) for line in lines[0] if line] if len(fields) == 1 else _pairs(lines, fields)
    if len(rows) > MOST_ROWS:
        raise UserError(
            f"The text has {len(rows):,} lines, at most {MOST_ROWS} are taken as a batch. "
            "Remove some."
        )
    return tuple(rows)


def _lines(text: str) -> list[str]:
    """Lines without the blank ones at the end; what no encoder can write becomes a ?."""
    text = text.encode("utf-8", "replace").decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    lines = [line.strip() for line in text.split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _pairs(lines: Sequence[list[str]], fields: Sequence[str]) -> list[Row]:
    first, second = lines
    for own, name in ((first, fields[0]), (second, fields[1])):
        if not own:
            raise UserError(
                f"This task reads two texts, {fields[0]} and {fields[1]}, and {name} is empty. "
                "Type it too."
            )
    if len(first) != len(second):
        raise UserError(
            f"{fields[0]} has {len(first)} lines and {fields[1]} has {len(second)}; line by line "
            "they make pairs. Give both as many lines."
        )
    rows = [pair for pair in zip(first, second, strict=True) if any(pair)]
    for number, pair in enumerate(rows, start=1):
        if not all(pair):
            missing = fields[0] if not pair[0] else fields[1]
            raise UserError(f"Pair {number} has no {missing}. Fill the line, or remove the pair.")
    return list(rows)


def part_label(part: str) -> str:
    """The code of a part in words; numbers of layers and heads from 1.

    >>> part_label("2.head.0"), part_label("0.ffn.3"), part_label("1.attention"), part_label("4")
    ('head 1 of layer 3', 'FFN quarter 4 of layer 1', 'all heads of layer 2', 'layer 5')
    """
    layer, *rest = part.split(".")
    words = {
        "head": lambda number: f"head {number + 1} of ",
        "ffn": lambda number: f"FFN quarter {number + 1} of ",
    }
    where = f"layer {int(layer) + 1}"
    if not rest:
        return where
    if len(rest) == 1:
        return ("all heads of " if rest[0] == "attention" else "the FFN of ") + where
    return words[rest[0]](int(rest[1])) + where

"""What a run gives back: numbers, tables and everything that was trained. No torch."""

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, StringConstraints, TypeAdapter, model_validator
from pydantic.dataclasses import dataclass

from finegates_engine.config import RunConfig
from finegates_engine.environment import Environment
from finegates_engine.fold.dimensions import EncoderShape
from finegates_engine.identity import NUMERICS_VERSION
from finegates_engine.ladder import Ladder, check_ladder
from finegates_engine.validation import MOST_COUNT, PRINTABLE

SCHEMA_VERSION: Final = 1
"""Raised whenever a run.json of this version cannot be read as one of the version before."""

TrainedKind = Literal["gates", "biases", "low_rank", "head"]
_Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
_Text = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=PRINTABLE)]
_Score = Annotated[float, Field(ge=-1e9, le=1e9)]
Metrics = dict[str, dict[str, float | None]]
"""Validation split to metric name to score; None where the metric is not defined."""

LOCATION, VALUE = "gates.", "gate_values."
ADAPTER_PREFIXES = (LOCATION, VALUE, "biases.", "low_rank.", "head.")
"""How names of adapter arrays begin. `gates.x` is the learned location of gate vector x, and
`gate_values.x` its final value in [0, 1], fp32, from which masks come (`gate_masks`)."""

MAX_FRAMES = 32
PREDICTION_COLUMNS = ("row_id", "text_hash", "label", "split")
_PROBABILITY = re.compile(r"prob_\d+")
_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Costs:
    """What the training took on its machine."""

    seconds_total: float = Field(ge=0, le=1e12)
    """Wall time of the run, evaluation included."""

    seconds_per_step: float | None = Field(ge=0, le=1e12)
    """Median wall time of a training step. None: nothing was trained."""

    steps: int = Field(ge=0, le=MOST_COUNT)
    """Optimiser steps."""

    peak_memory_bytes: int | None = Field(ge=0, le=MOST_COUNT)
    """Largest memory held by the process, or by the accelerator where there was one."""

    trained_parameters: dict[TrainedKind, Annotated[int, Field(ge=0, le=MOST_COUNT)]]
    """Trained values by kind. Methods without gates count theirs under biases, low_rank or head."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Identity:
    """What the run id's hash was taken of, beside the config."""

    data_hash: _Text
    """Hash of the content of the splits."""

    weights_hash: _Text
    """Hash of the backbone's weights."""

    base_weights: _Text
    """Hub id of the backbone (or its folder's name), for loading the base weights again."""

    numerics_version: int = Field(default=NUMERICS_VERSION, ge=0, le=MOST_COUNT)
    """`identity.NUMERICS_VERSION` at the time of the run."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class StoredFile:
    """Size and content of a core file, so that a damaged one is noticed."""

    bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class LeftOut:
    """What a light copy of a run was shipped without."""

    files: dict[str, StoredFile]
    """Core files of the whole run that are not there, as they were."""

    remake: str = Field(min_length=1, max_length=4096)
    """The command that trains the whole run again, in a store of its own."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class RunRecord:
    """The content of run.json."""

    schema_version: Literal[1]
    run_id: str
    config: RunConfig
    metrics: Annotated[
        dict[_Name, Annotated[dict[_Name, _Score | None], Field(max_length=50)]],
        Field(max_length=20),
    ]
    headline: str
    """Name of the metric that stands for the run."""

    headline_split: str
    """Validation split of the headline score."""

    ladder: Ladder
    shape: EncoderShape | None = None
    """Sizes of the dense encoder, so that gates can be drawn without loading a model."""

    costs: Costs
    environment: Environment
    identity: Identity
    files: dict[str, StoredFile] = dataclasses.field(default_factory=dict)
    """Core files beside run.json."""

    left_out: LeftOut | None = None
    """Of a light run only."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.headline not in self.metrics.get(self.headline_split, {}):
            raise ValueError(
                f"metrics have no {self.headline!r} for split {self.headline_split!r}, "
                "which headline and headline_split name"
            )
        check_ladder(self.ladder)
        return self

    @property
    def score(self) -> float | None:
        """The headline score."""
        return self.metrics[self.headline_split][self.headline]


RECORD: TypeAdapter[RunRecord] = TypeAdapter(RunRecord)


@dataclasses.dataclass(frozen=True, eq=False)
class GateHistory:
    """Gate values over the training, 255 for a value of 1."""

    steps: NDArray[np.int64]
    """(frames,): optimiser step of each frame, rising."""

    values: Mapping[str, NDArray[np.uint8]]
    """Gate vector to (frames, size)."""

    def __post_init__(self) -> None:
        frames = len(self.steps)
        if not 1 <= frames <= MAX_FRAMES or (np.diff(self.steps) <= 0).any():
            raise ValueError(f"steps must rise and be 1 to {MAX_FRAMES}, got {list(self.steps)}")
        for name, value in self.values.items():
            if value.dtype != np.uint8 or value.ndim != 2 or len(value) != frames:
                raise ValueError(
                    f"gate history of {name!r} must be uint8 of shape ({frames}, size), got "
                    f"{value.dtype} of shape {value.shape}"
                )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class RunResult:
    """All that a run gives back. `RunStore.save` writes it.

    Scores that are not defined may come as NaN; they are kept as None. Raises ValueError where
    the parts do not fit each other.
    """

    run_id: str
    config: RunConfig
    metrics: Mapping[str, Mapping[str, float | None]]
    headline: str
    headline_split: str
    ladder: Ladder
    shape: EncoderShape | None
    costs: Costs
    environment: Environment
    identity: Identity
    history: pd.DataFrame
    """A row a logged step: step, epoch, loss, penalty, scores, gate statistics."""

    adapter: Mapping[str, NDArray[Any]]
    """All that was trained, and final gate values; names begin as in ADAPTER_PREFIXES. Empty for
    methods without gates."""

    predictions: pd.DataFrame
    """A row a validation row: row_id, text_hash, label, split, and prob_0.. or score."""

    gate_history: GateHistory | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "metrics", _without_nan(self.metrics))
        check_adapter(self.adapter)
        check_predictions(self.predictions)
        self.record({})

    def record(self, files: Mapping[str, StoredFile]) -> RunRecord:
        """The part for run.json, with the core files beside it."""
        return RunRecord(
            schema_version=SCHEMA_VERSION,
            run_id=self.run_id,
            config=self.config,
            metrics={split: dict(scores) for split, scores in self.metrics.items()},
            headline=self.headline,
            headline_split=self.headline_split,
            ladder=self.ladder,
            shape=self.shape,
            costs=self.costs,
            environment=self.environment,
            identity=self.identity,
            files=dict(files),
        )

    @property
    def score(self) -> float | None:
        """The headline score."""
        return self.metrics[self.headline_split][self.headline]


def gate_masks(adapter: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.bool_]]:
    """Gate vector to (size,) bool, True where the gate is kept: its final value is above 0."""
    return {
        name.removeprefix(VALUE): values > 0
        for name, values in adapter.items()
        if name.startswith(VALUE)
    }


def check_predictions(frame: pd.DataFrame) -> None:
    """Raises ValueError unless columns are those of a prediction table, without missing values."""
    if missing := [name for name in PREDICTION_COLUMNS if name not in frame.columns]:
        raise ValueError(f"predictions need the columns {missing}, got {list(frame.columns)}")
    if "score" not in frame.columns and not probability_columns(frame):
        raise ValueError(f"predictions need prob_0.. or score, got {list(frame.columns)}")
    if frame.isna().to_numpy().any():
        raise ValueError("predictions must have no missing values")
    if frame.duplicated(["split", "row_id"]).any():
        raise ValueError("predictions have a row_id twice in one split")


def probability_columns(frame: pd.DataFrame) -> list[str]:
    """prob_0, prob_1, ... in the order of the classes; empty for regression."""
    names = [str(name) for name in frame.columns if _PROBABILITY.fullmatch(str(name))]
    ordered = sorted(names, key=lambda name: int(name.removeprefix("prob_")))
    if ordered != [f"prob_{k}" for k in range(len(ordered))]:
        raise ValueError(f"probabilities must be prob_0, prob_1, ... without a gap, got {ordered}")
    return ordered


def check_history(frame: pd.DataFrame) -> None:
    """Raises ValueError unless it is a table of numbers by step, as a training logs them."""
    if "step" not in frame.columns or not pd.api.types.is_integer_dtype(frame["step"]):
        raise ValueError("the history needs whole numbers in a column step")
    for name in frame.columns:
        if not pd.api.types.is_numeric_dtype(frame[name]):
            raise ValueError(f"column {str(name)[:80]!r} of the history must hold numbers")


def check_adapter(adapter: Mapping[str, NDArray[Any]]) -> None:
    """Raises ValueError unless the arrays are what a training stores (see ADAPTER_PREFIXES)."""
    for name, values in adapter.items():
        shown = name[:80]
        if not name.startswith(ADAPTER_PREFIXES):
            raise ValueError(
                f"adapter array {shown!r} must begin with one of {', '.join(ADAPTER_PREFIXES)}"
            )
        if values.dtype.kind not in "biuf":
            raise ValueError(f"adapter array {shown!r} must hold numbers, got {values.dtype}")
        if name.startswith((VALUE, LOCATION)) and (values.ndim != 1 or values.dtype.kind != "f"):
            raise ValueError(
                f"adapter array {shown!r} must be a vector of decimals, got {values.dtype} of "
                f"shape {values.shape}"
            )
        if name.startswith(VALUE) and not ((values >= 0) & (values <= 1)).all():
            raise ValueError(f"adapter array {shown!r} must be in [0, 1]")
        if name.startswith(LOCATION):
            value = adapter.get(VALUE + name.removeprefix(LOCATION))
            if value is None or value.shape != values.shape:
                raise ValueError(f"adapter array {shown!r} has no final values of its shape")


def _without_nan(metrics: Mapping[str, Mapping[str, float | None]]) -> Metrics:
    def plain(value: float | None) -> float | None:
        return None if value is None or math.isnan(value) else float(value)

    return {
        split: {name: plain(value) for name, value in scores.items()}
        for split, scores in metrics.items()
    }

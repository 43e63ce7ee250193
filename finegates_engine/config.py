"""Everything that a run depends on, as frozen dataclasses. No torch.

The line under a field is its documentation, written once: command-line help and the tables
in the docs are made from it.
"""

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic.dataclasses import dataclass

from finegates_engine.errors import UserError
from finegates_engine.method_options import Options, read_options
from finegates_engine.validation import MOST_COUNT, PRINTABLE, brief, explain

_MOST_LEVELS = 1000

_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class TaskConfig:
    """What is learned, and from which rows."""

    name: str = Field(default="agreement", pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")
    """Task: one of the table (see `finegates tasks`), or a name of your own together with data."""

    data: str | None = Field(default=None, max_length=4096, pattern=PRINTABLE)
    """Folder of train.parquet and validation.parquet, or one CSV, JSONL or Parquet file."""

    text_fields: tuple[str, ...] = ()
    """Columns with the text, one or two. Empty: those of the task's table."""

    label_field: str = Field(default="label", max_length=1000, pattern=PRINTABLE)
    """Column with the label."""

    max_train_samples: int | None = Field(default=None, ge=1, le=MOST_COUNT)
    """Use only the first N training rows, as the papers do. None: all."""

    max_eval_samples: int | None = Field(default=None, ge=1, le=MOST_COUNT)
    """Use only the first N validation rows. None: all."""

    max_tokens: int = Field(default=128, ge=4, le=4096)
    """Tokens of one row, pairs together; longer rows are cut."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in self.text_fields:
            if len(name) > 1000 or not name.isprintable():
                raise ValueError(f"text_fields has a name that is no column's: {name[:80]!r}")
        if len(self.text_fields) > 100:
            raise ValueError(f"text_fields must be one or two, got {len(self.text_fields)}")
        return self


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class ModelConfig:
    """The frozen backbone, what is put around it, and what is trained beside the gates."""

    backbone: str = Field(
        default="sentence-transformers/all-MiniLM-L6-v2",
        max_length=4096,
        pattern=PRINTABLE.replace("[^", "[^<>"),
    )
    """Hub id or local folder of the frozen model."""

    pooling: Literal["mean", "model"] = "mean"
    """Sentence vector: mean over tokens, or the model's own pooler (which is then trained)."""

    train_biases: bool = True
    """Also train the biases of the gated layers, as the paper's code does."""

    low_rank: int = Field(default=8, ge=0, le=1024)
    """Rank of a low-rank update BA of each gated matrix, gated like the matrix. 0: none."""

    low_rank_alpha: float = Field(default=16.0, gt=0)
    """The update is scaled by alpha / rank."""

    low_rank_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout on the input of the low-rank update."""

    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic of the forward pass in training; trained values stay in fp32."""


@dataclasses.dataclass(frozen=True)
class Phases:
    """Shares of a training: all gates open, the target's rise, gates fixed at the end."""

    open_start: float
    ramp: float
    finish: float

    @property
    def learning(self) -> float:
        """Share in which gates are learned: neither open nor fixed."""
        return 1 - self.open_start - self.finish


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class GateConfig:
    """Which dimensions carry gates, how many are to be closed, and how that is reached."""

    target: float = Field(default=0.4, ge=0, lt=1)
    """Share to remove, in [0, 1), in the unit of target_unit."""

    target_unit: Literal["encoder_weights", "gates"] = "encoder_weights"
    """What the target counts: weights that leave the encoder by folding, or gates closed."""

    axes: Literal["inner", "attention", "all"] = "inner"
    """Gated dimensions: those that fold with no gather; all of attention; all six matrices."""

    tie: bool = True
    """One gate for the dimensions that fold together, instead of one for each matrix side."""

    head_gates: bool = False
    """Also one gate for each attention head, which takes its query, key, value and output."""

    allocation: Literal["budget", "vector"] = "budget"
    """The target holds for the model as one budget, or for each gate vector (the paper)."""

    learn: Literal["gradient", "fisher"] = "gradient"
    """How gates are chosen: each moved by its own gradient under noise (the paper), with the
    settings from relaxation to anneal; or closed for good along the target's rise, those first
    whose squared gradients (Fisher information) are smallest by then."""

    relaxation: Literal["clip", "hard"] = "hard"
    """A gate in training: clipped to [0, 1] (the paper), or 0 or 1 with a straight gradient."""

    noise_std: float = Field(default=0.1, ge=0, le=2)
    """Standard deviation of the training noise on a gate."""

    penalty_std: float = Field(default=0.1, gt=0, le=2)
    """Standard deviation in the probability of being kept, which the penalty sees."""

    penalty_weight: float = Field(default=50.0, ge=0)
    """Multiplier of the penalty (lambda); the start value where the controller changes it."""

    controller: Literal["fixed", "dual", "shift"] = "shift"
    """Multiplier: fixed (the paper); raised while the target is missed; or none, all gates
    shifted by one number after each step so that the expected share is met."""

    ramp: float = Field(default=0.15, ge=0, le=1)
    """Share of the training in which the target rises (cubically) from 0 to its value."""

    open_start: float = Field(default=0.65, ge=0, lt=1)
    """Share of the training before any gate is pressed to close."""

    start: Literal["equal", "fisher"] = "fisher"
    """Order of the gates when they begin to be pressed: all alike, or by the squared gradients
    of the open phase (Fisher information); the second needs open_start > 0 and hard gates."""

    anneal: bool = False
    """Lower the noise linearly to a tenth of its start value while gates are learned."""

    finish: float = Field(default=0.2, ge=0, lt=1)
    """Last share of the training, with gates set to 0 or 1 at the exact target and fixed."""

    path_ramp: float = Field(default=0.2, ge=0, le=1)
    """The ramp of each level of a path after its first, which goes on from a trained model."""

    path_open_start: float = Field(default=0.2, ge=0, lt=1)
    """The open start of each level of a path after its first."""

    path_finish: float = Field(default=0.6, ge=0, lt=1)
    """The finish of each level of a path after its first."""

    kurtosis: bool = False
    """Weight each gate in the penalty by the kurtosis of its dimension's activations."""

    distill: float = Field(default=0.0, ge=0)
    """Weight of the distance to the logits that the model gave with all gates open."""

    history_frames: int = Field(default=0, ge=0, le=32)
    """Snapshots of all gate values kept over the training."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.kurtosis and (self.learn == "fisher" or self.controller == "shift"):
            raise ValueError(f"kurtosis weights the penalty, and {self._way()} has none")
        self._check_phases("", self.phases(later_level=False))
        self._check_phases("path_", self.phases(later_level=True))
        return self

    def _check_phases(self, prefix: str, phases: Phases) -> None:
        """prefix: of the fields' names."""
        together = phases.open_start + phases.ramp + phases.finish
        if together > 1 + 1e-9:
            names = " + ".join(prefix + name for name in ("open_start", "ramp", "finish"))
            raise ValueError(f"{names} must be at most 1, got {together:g}")
        stepwise = self.learn == "fisher"
        if (stepwise or self.controller == "shift") and not phases.finish:
            raise ValueError(f"{self._way()} needs {prefix}finish > 0, got 0")
        if stepwise and not phases.open_start:
            raise ValueError(
                f"learn 'fisher' needs {prefix}open_start > 0, to score the gates, got 0"
            )
        ranked = self.start == "fisher" and not stepwise
        if ranked and (self.relaxation != "hard" or not phases.open_start):
            raise ValueError(
                f"start 'fisher' needs relaxation 'hard' and {prefix}open_start > 0, got "
                f"{self.relaxation!r} and {phases.open_start:g}"
            )

    def _way(self) -> str:
        return "learn 'fisher'" if self.learn == "fisher" else f"controller {self.controller!r}"

    def phases(self, *, later_level: bool) -> Phases:
        """The phases of a training. later_level: one of a path, after its first."""
        if later_level:
            return Phases(self.path_open_start, self.path_ramp, self.path_finish)
        return Phases(self.open_start, self.ramp, self.finish)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class TrainConfig:
    """Optimisation: AdamW with a learning rate for each kind of trained value."""

    epochs: float = Field(default=3.0, gt=0, le=1000)
    """Passes over the training rows."""

    path_epochs: float = Field(default=0.3, gt=0, le=1000)
    """Passes for each level of a path after its first, which has `epochs`."""

    path_rate: float = Field(default=0.5, gt=0, le=1)
    """Factor on all learning rates for each level of a path after its first."""

    batch_size: int = Field(default=32, ge=1, le=4096)
    """Rows a step, on each process."""

    accumulate: int = Field(default=1, ge=1, le=1024)
    """Batches whose gradients are added up before a step."""

    gate_lr: float = Field(default=3e-3, ge=0, le=10)
    """Learning rate of the gates."""

    bias_lr: float = Field(default=3e-3, ge=0, le=10)
    """Learning rate of the biases of gated layers."""

    low_rank_lr: float = Field(default=1e-3, ge=0, le=10)
    """Learning rate of the low-rank updates."""

    head_lr: float = Field(default=3e-3, ge=0, le=10)
    """Learning rate of the classifier, and of the pooler where it is used."""

    backbone_lr: float = Field(default=1e-4, ge=0, le=1)
    """Learning rate of the backbone's own weights, where a method trains them."""

    lr_schedule: Literal["linear", "constant", "cosine"] = "linear"
    """How the rates fall. Those of the gates are constant while gates are learned."""

    warmup: float = Field(default=0.06, ge=0, lt=1)
    """Share of the steps in which the rates rise from 0."""

    weight_decay: float = Field(default=0.0, ge=0)
    """AdamW's decay of the low-rank updates and the classifier. Gates and biases have none."""

    max_grad_norm: float = Field(default=1.0, ge=0)
    """Gradients are clipped to this norm. 0: not clipped."""

    dropout: bool = True
    """Keep the backbone's own dropout in training."""

    gradient_checkpointing: bool = False
    """Trade time for memory: recompute activations in the backward pass."""

    early_stop: int = Field(default=0, ge=0, le=MOST_COUNT)
    """End after this many epochs without a better score once the gates are final. 0: never."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class RunConfig:
    """One cell of a sweep: all that decides its result."""

    task: TaskConfig = dataclasses.field(default_factory=TaskConfig)
    """The task and its rows."""

    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    """The backbone and its additions."""

    gates: GateConfig = dataclasses.field(default_factory=GateConfig)
    """The gates and their target."""

    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    """The optimisation."""

    method: str = Field(default="finegates", pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")
    """Name of the method, from the method table."""

    method_options: Annotated[Options, BeforeValidator(read_options)] = ()
    """Options of the method, as name=number with commas (see `finegates methods`)."""

    seed: int = Field(default=0, ge=0, lt=2**31)
    """Seed of initial values, order of rows, dropout and gate noise."""

    path: tuple[float, ...] = ()
    """Targets trained before this one on the same path, in order. Empty: an independent run."""

    threads: int = Field(default=1, ge=1, le=1024)
    """CPU threads; sums of floats depend on them, so they are part of the identity."""

    processes: int = Field(default=1, ge=1, le=4096)
    """Processes that share each step, as `accelerate launch` starts them."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.path) > _MOST_LEVELS or any(not 0 <= level < 1 for level in self.path):
            raise ValueError(f"path must be targets in [0, 1), got {brief(self.path)}")
        levels = [*self.path, self.gates.target]
        if any(b <= a for a, b in itertools.pairwise(levels)):
            raise ValueError(f"targets of a path must rise, got {levels}")
        return self

    @property
    def phases(self) -> Phases:
        """Those of this cell: a path's first level has the phases of a single run."""
        return self.gates.phases(later_level=bool(self.path))


_ADAPTER: TypeAdapter[RunConfig] = TypeAdapter(RunConfig)


def to_json(config: RunConfig) -> dict[str, Any]:
    """The config as plain JSON values; `from_json` gives it back."""
    plain: dict[str, Any] = _ADAPTER.dump_python(config, mode="json")
    return plain


def from_json(values: Mapping[str, Any]) -> RunConfig:
    """A config from plain JSON values. Raises UserError that names the bad field."""
    try:
        return _ADAPTER.validate_python(dict(values))
    except ValidationError as error:
        raise UserError(explain(error)) from error

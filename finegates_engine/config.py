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
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic.dataclasses import dataclass

from finegates_engine.errors import UserError
from finegates_engine.gate_config import GateConfig, Phases
from finegates_engine.method_options import Options, read_options
from finegates_engine.validation import MOST_COUNT, PRINTABLE, STRICT, brief, explain

__all__ = [
    "GateConfig",
    "ModelConfig",
    "Phases",
    "RunConfig",
    "TaskConfig",
    "TrainConfig",
    "from_json",
    "to_json",
]

_MOST_LEVELS = 1000


@dataclass(frozen=True, kw_only=True, config=STRICT)
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


@dataclass(frozen=True, kw_only=True, config=STRICT)
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


@dataclass(frozen=True, kw_only=True, config=STRICT)
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


@dataclass(frozen=True, kw_only=True, config=STRICT)
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

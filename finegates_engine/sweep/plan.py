"""Which cells a sweep has, and everything that is checked before the first of them trains."""

import dataclasses
import importlib.util
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from finegates_engine.architectures import architecture_of
from finegates_engine.backbone import local_folder, weights_hash
from finegates_engine.config import RunConfig
from finegates_engine.data.load import TaskData, load_task
from finegates_engine.data.tokens import TaskTokens, task_tokens
from finegates_engine.errors import UserError, unknown
from finegates_engine.identity import run_id
from finegates_engine.method_table import spec_of, without_defaults
from finegates_engine.runs.store import RunStore
from finegates_engine.sweep import ranks
from finegates_engine.sweep.command import REMADE

Strategy = Literal["independent", "path"]
STRATEGIES = ("independent", "path")


@dataclass(frozen=True)
class Cell:
    """One run of a sweep."""

    config: RunConfig
    """All that decides its result."""

    after: RunConfig | None = None
    """The run from whose stored adapter it starts: the level before on its path, or for a method
    that begins with a trained model, the run that trains it."""


@dataclass(frozen=True)
class Job:
    """A cell with all that a process needs to train it; plain values, so that it can travel."""

    run_id: str
    config: RunConfig

    after: str | None
    """Run id of the cell that it starts from."""

    store: Path
    """Root of the run store."""

    folder: Path
    """The backbone's local files."""

    weights_hash: str
    """Hash of the backbone's weights."""

    report_to: tuple[str, ...] = ()
    """Trackers of the Trainer."""

    @property
    def epochs(self) -> float:
        """Planned passes over the training rows."""
        train = self.config.train
        return train.path_epochs if self.config.path else train.epochs


@dataclass(frozen=True)
class PreparedSweep:
    """A checked sweep."""

    jobs: tuple[Job, ...]
    """All cells, in the order in which they are trained; on a path, a seed's levels in a row."""

    data: TaskData

    tokens: TaskTokens | None
    """All rows as token ids. None: every cell is in the store."""


def plan_sweep(
    base: RunConfig,
    targets: Iterable[float],
    seeds: Iterable[int],
    *,
    strategy: Strategy = "independent",
) -> list[Cell]:
    """The cells of a sweep: all targets of the first seed, then those of the next.

    Targets are taken in rising order, without doubles. On a path each level knows the targets
    below it, and its first level is an independent run. A method that begins with a trained model
    has the run that trains it first. Raises UserError for targets or seeds that are none, or a
    method that cannot be swept so.
    """
    levels, numbers = _checked_targets(targets), _checked_seeds(seeds)
    base = _checked_method(base, levels, strategy)
    cells = []
    for seed in numbers:
        before: RunConfig | None = None
        if spec_of(base.method).starts_trained:
            before = _nothing_removed(base, seed)
            cells.append(Cell(before))
        for index, target in enumerate(levels):
            config = dataclasses.replace(
                base,
                gates=dataclasses.replace(base.gates, target=target),
                seed=seed,
                path=levels[:index] if strategy == "path" else (),
                processes=ranks.count(),
            )
            cells.append(Cell(config, before))
            before = config if strategy == "path" else before
    return cells


def _nothing_removed(base: RunConfig, seed: int) -> RunConfig:
    """The run of FineGates with the same settings and every gate open."""
    gates = dataclasses.replace(base.gates, target=0.0)
    return dataclasses.replace(
        base, method="finegates", method_options=(), gates=gates, seed=seed, processes=ranks.count()
    )


def prepare_sweep(
    base: RunConfig,
    targets: Iterable[float],
    seeds: Iterable[int],
    *,
    store: RunStore,
    strategy: Strategy = "independent",
    report_to: Sequence[str] = (),
) -> PreparedSweep:
    """Load the task, find the backbone and check everything that could stop a training.

    Raises UserError: for what `plan_sweep` raises it, a task that cannot be loaded or learned, a
    backbone that is missing or not supported, a target out of reach, a store that cannot be
    written. Nothing is written but the store's own folders.
    """
    cells = plan_sweep(base, targets, seeds, strategy=strategy)
    data = load_task(base.task)
    folder = local_folder(base.model.backbone)
    architecture_of(_model_type(folder))
    weights = weights_hash(folder)

    def name(config: RunConfig) -> str:
        return run_id(config, data_hash=data.data_hash, weights_hash=weights)

    jobs = tuple(
        Job(
            run_id=name(cell.config),
            config=cell.config,
            after=None if cell.after is None else name(cell.after),
            store=store.root,
            folder=folder,
            weights_hash=weights,
            report_to=tuple(report_to),
        )
        for cell in cells
    )
    store.check_writable()
    missing = [job for job in jobs if not store.exists(job.run_id)]
    _check_starts(missing, store)
    if missing:
        _check_model(max((job.config for job in missing), key=_target), data, folder)
    elif ranks.count() == 1:  # else another process may see it differently, and train
        return PreparedSweep(jobs, data, None)
    return PreparedSweep(jobs, data, task_tokens(data, folder, base.task.max_tokens))


def _check_starts(missing: Iterable[Job], store: RunStore) -> None:
    """Raises UserError where a cell begins with a run that is there without its weights."""
    for job in missing:
        if job.after is not None and store.exists(job.after):
            before = store.load(job.after)
            if before.is_light:
                raise UserError(
                    f"Run {job.run_id!r} starts from run {before.run_id!r}, which the store "
                    f"{str(store.root)!r} has without its weights. Sweep into another store, such "
                    f"as --store {REMADE}, where both are trained."
                )


def _checked_targets(targets: Iterable[float]) -> tuple[float, ...]:
    listed = [float(target) for target in targets]
    if not listed:
        raise UserError("A sweep needs at least one target. Pass for instance --targets 0,0.2,0.4.")
    for target in listed:
        if not 0 <= target < 1:
            raise UserError(f"target must be in [0, 1), got {target:g}.")
    return tuple(sorted(set(listed)))


def _checked_seeds(seeds: Iterable[int]) -> tuple[int, ...]:
    listed = tuple(dict.fromkeys(seeds))
    if not listed:
        raise UserError("A sweep needs at least one seed. Pass for instance --seeds 0,1,2.")
    for seed in listed:
        if not 0 <= seed < 2**31:
            raise UserError(f"seed must be in [0, 2147483648), got {seed}.")
    return listed


def _checked_method(base: RunConfig, levels: tuple[float, ...], strategy: Strategy) -> RunConfig:
    """The config without options that are the defaults; UserError where the method cannot run."""
    method, spec = base.method, spec_of(base.method)
    if strategy not in STRATEGIES:
        raise unknown("strategy", strategy, STRATEGIES)
    if spec.removes == "nothing" and levels != (0.0,):
        raise UserError(
            f"Method {method!r} removes nothing, so that 0 is its only target, got "
            f"{', '.join(f'{level:g}' for level in levels)}. Pass --targets 0."
        )
    if strategy == "path" and (not spec.has_gates or spec.starts_trained):
        raise UserError(
            f"Method {method!r} cannot go along a path: it has no gates to learn on from one level "
            "to the next. Leave --strategy out."
        )
    if spec.removes == "rank" and base.gates.target_unit != "encoder_weights":
        raise UserError(
            f"Method {method!r} closes no gates, so that its target_unit must be encoder_weights, "
            f"got {base.gates.target_unit!r}."
        )
    if base.gates.distill and spec.has_gates and not spec.learns_gates:
        raise UserError(
            f"Method {method!r} cannot be distilled from the model with all gates open, got "
            f"distill {base.gates.distill:g}. Leave --distill out."
        )
    if spec.peft and importlib.util.find_spec("peft") is None:
        raise UserError(f"Method {method!r} needs the package peft. Run: pip install peft")
    return dataclasses.replace(base, method_options=without_defaults(method, base.method_options))


def _model_type(folder: Path) -> str:
    try:
        return str(json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"Backbone folder {str(folder)!r} has no config.json that names its model_type "
            f"({type(error).__name__}). Save the model with save_pretrained()."
        ) from error


def _target(config: RunConfig) -> float:
    return config.gates.target


def _check_model(config: RunConfig, data: TaskData, folder: Path) -> None:
    """Raises UserError unless tokenizer and weights load and the target can be reached."""
    from transformers import AutoTokenizer
    from transformers.utils import logging

    from finegates_engine.data.batches import tokenize_rows
    from finegates_engine.gates.model import build_model
    from finegates_engine.methods import method_of

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        padding = cast(int | None, tokenizer.pad_token_id)
        model = build_model(folder, config.model, outputs=len(data.labels or "1"), seed=0)
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, UserError):
            raise
        reason = (str(error).strip() or type(error).__name__).split("\n")[0][:200]
        raise UserError(
            f"Backbone folder {str(folder)!r} could not be loaded: {reason}. It needs a model "
            "and its tokenizer, both saved with save_pretrained()."
        ) from error
    if len(tokenizer) <= len(tokenizer.all_special_ids):  # what is made where no file is found
        raise UserError(
            f"Backbone folder {str(folder)!r} has no tokenizer. Save the model's own there with "
            "save_pretrained()."
        )
    if padding is None:
        raise UserError(
            f"The tokenizer in {str(folder)!r} has no padding token. Set one and save it again."
        )
    tokenize_rows(data.train.texts[:1], data.train.labels[:1], tokenizer, config.task.max_tokens)
    method_of(config).prepare(model)

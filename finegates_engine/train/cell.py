"""One cell of a sweep: a config and its data to a run result, and a stored run to its model."""

import contextlib
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from finegates_engine.backbone import weights_hash as hash_of_weights
from finegates_engine.config import RunConfig
from finegates_engine.data.load import TaskData, text_hashes
from finegates_engine.data.tokens import TaskTokens
from finegates_engine.environment import Environment, collect_environment
from finegates_engine.errors import UserError
from finegates_engine.files import write_atomic
from finegates_engine.gates.model import (
    TextClassifier,
    add_gates,
    build_model,
    load_adapter_state,
    trained_parameters,
)
from finegates_engine.gates.sparsity import ladder_of
from finegates_engine.identity import run_id
from finegates_engine.ladder import Ladder, count_ladder
from finegates_engine.methods.svd import count_factored
from finegates_engine.results import (
    Costs,
    GateHistory,
    Identity,
    RunResult,
    TrainedKind,
    probability_columns,
)
from finegates_engine.runs.store import StoredRun
from finegates_engine.train.adapters import model_state, stored_adapter
from finegates_engine.train.opening import CLOCK_FILE, Opening
from finegates_engine.train.progress import Progress
from finegates_engine.train.training import Trained, fit

_CLOCK_PERIOD = 2.0  # seconds between notes of the time spent
_TRAINER_SUMMARY = "train_runtime"  # only the Trainer's last row has it


def train(
    config: RunConfig,
    data: TaskData,
    *,
    folder: Path,
    weights_hash: str,
    scratch: Path,
    tokens: TaskTokens | None = None,
    warm_start: dict[str, Tensor] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    report_to: Sequence[str] = (),
    opening: Opening | None = None,
) -> RunResult:
    """Train one cell, going on from the newest whole checkpoint under `scratch`.

    folder: the backbone's local files, whose hash is weights_hash. tokens: the rows, where they
    are tokenised already. warm_start: state of the level before, on a path
    (`adapters.model_state`). report_to: trackers of the Trainer, such as "tensorboard". opening:
    where cells that begin alike share their first steps. Writes only there and under `scratch`.

    Raises UserError where a score is not defined, as when training diverges.
    """
    _begin(scratch, opening)
    clock = _Clock(scratch, on_progress)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    trained = fit(
        config,
        data,
        folder,
        scratch,
        tokens=tokens,
        warm_start=warm_start,
        on_progress=clock.tick,
        report_to=tuple(report_to),
        opening=opening,
    )
    return RunResult(
        run_id=run_id(config, data_hash=data.data_hash, weights_hash=weights_hash),
        config=config,
        metrics=trained.metrics,
        headline=data.spec.headline,
        headline_split=next(iter(data.validation)),
        ladder=_ladder(trained),
        shape=trained.shape,
        costs=_costs(trained, clock),
        environment=_environment(),
        identity=_identity(config, data.data_hash, weights_hash),
        history=_history(trained.log),
        adapter=stored_adapter(trained.model),
        predictions=_predictions(data, trained.logits),
        gate_history=_gate_history(trained),
    )


def _begin(scratch: Path, opening: Opening | None) -> None:
    """Goes on from the opening, if there is one, where the cell has no checkpoint of its own."""
    from finegates_engine.train.trainer import newest_checkpoint

    if opening is not None and newest_checkpoint(scratch) is None:
        opening.take(scratch)


def rebuild(run: StoredRun, folder: Path) -> TextClassifier:
    """The gated model of a stored run, in evaluation.

    folder: the backbone's local files. Raises UserError for a run without gates, or a folder
    with other weights than the run was trained on.
    """
    identity, config = run.record.identity, run.config
    if not run.adapter:
        raise UserError(
            f"Run {run.run_id!r} keeps no weights: its method, {config.method!r}, has no gates. "
            f"Choose a run of a method that has, such as 'finegates'."
        )
    found = hash_of_weights(folder)
    if found != identity.weights_hash:
        raise UserError(
            f"Run {run.run_id!r} was trained on weights with hash {identity.weights_hash[:12]} "
            f"({identity.base_weights}), {str(folder)!r} has {found[:12]}. "
            f"Pass the folder of {identity.base_weights}."
        )
    outputs = len(probability_columns(run.predictions)) or 1
    model = build_model(folder, config.model, outputs=outputs, seed=config.seed)
    add_gates(model, config.gates, config.model, seed=config.seed)
    load_adapter_state(model, model_state(run.adapter, config.gates))
    return model.eval()


def probabilities(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Softmax over the classes, (rows, classes), in fp64 before it is rounded."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    powers = np.exp(shifted)
    result: NDArray[np.float32] = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    return result


def _identity(config: RunConfig, data_hash: str, weights_hash: str) -> Identity:
    backbone = config.model.backbone
    name = Path(backbone).resolve().name if Path(backbone).is_dir() else backbone
    return Identity(data_hash=data_hash, weights_hash=weights_hash, base_weights=name)


def _ladder(trained: Trained) -> Ladder:
    if trained.plan is not None and trained.model.gates is not None:
        return ladder_of(trained.model.gates, trained.plan)
    shape, left, gates = trained.shape, trained.method.weights_left, trained.method.config.gates
    if left is not None:
        return count_factored(shape, left, target=gates.target, target_unit=gates.target_unit)
    return count_ladder(
        shape, [{}] * shape.layers, target=None, target_unit=None, gates_closed=0, gates_total=0
    )


def _costs(trained: Trained, clock: "_Clock") -> Costs:
    counts = {
        part: sum(parameter.numel() for parameter in parameters.values())
        for part, parameters in trained_parameters(trained.model).items()
    }
    kinds: tuple[TrainedKind, ...] = ("gates", "biases", "low_rank", "head")
    by_kind: dict[TrainedKind, int] = {kind: counts[kind] for kind in kinds}
    by_kind[trained.method.spec.trains] += counts["backbone"]
    if not trained.method.spec.learns_gates:
        by_kind["gates"] = 0
    return Costs(
        seconds_total=clock.total(),
        seconds_per_step=clock.a_step(),
        steps=trained.steps,
        peak_memory_bytes=_peak_memory(),
        trained_parameters=by_kind,
    )


def _peak_memory() -> int:
    """Bytes: of the accelerator where there is one, else the process's largest resident set."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2): kilobytes on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _environment() -> Environment:
    name = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    return collect_environment(accelerator=name)


def _history(log: Sequence[dict[str, float]]) -> pd.DataFrame:
    """The Trainer's log, one row a step; what a step did not log is missing."""
    rows: dict[int, dict[str, float]] = {}
    for entry in log:
        if _TRAINER_SUMMARY not in entry:
            rows.setdefault(int(entry["step"]), {}).update(entry)
    frame = pd.DataFrame([rows[step] for step in sorted(rows)])
    leading = ["step", "epoch", *(name for name in frame.columns if name not in ("step", "epoch"))]
    return frame.reindex(columns=leading).astype({"step": "int64"})


def _predictions(data: TaskData, logits: dict[str, NDArray[np.float32]]) -> pd.DataFrame:
    frames = []
    for name, split in data.validation.items():
        columns: dict[str, Any] = {
            "row_id": split.row_ids,
            "text_hash": text_hashes(split),
            "label": split.labels,
            "split": name,
        }
        if data.labels is None:
            columns["score"] = logits[name][:, 0]
        else:
            shares = probabilities(logits[name])
            columns |= {f"prob_{k}": shares[:, k] for k in range(shares.shape[1])}
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True)


def _gate_history(trained: Trained) -> GateHistory | None:
    gates = trained.model.gates
    if gates is None or not trained.frames:
        return None
    values = gates.split(torch.stack(list(trained.frames.values())).T)
    arrays = {name: part.T.numpy().copy() for name, part in values.items()}
    return GateHistory(np.array(list(trained.frames), dtype=np.int64), arrays)


class _Clock:
    """Seconds of a training over all the processes that worked on it, and of its steps."""

    def __init__(self, scratch: Path, listener: Callable[[Progress], None] | None) -> None:
        self.file = scratch / CLOCK_FILE
        self.listener = listener
        self.before = 0.0
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            self.before = float(json.loads(self.file.read_text())["seconds"])
        self.begun = self.noted = time.monotonic()
        self._last: tuple[int, float] | None = None
        self._rates: list[float] = []

    def tick(self, progress: Progress) -> None:
        """Some steps were made; also tells the listener."""
        now = time.monotonic()
        if self._last is not None and progress.step > self._last[0]:
            self._rates.append((now - self._last[1]) / (progress.step - self._last[0]))
        self._last = (progress.step, now)
        if now - self.noted >= _CLOCK_PERIOD:
            self.noted = now
            with contextlib.suppress(OSError):
                write_atomic(self.file, json.dumps({"seconds": self.total()}).encode())
        if self.listener is not None:
            self.listener(progress)

    def total(self) -> float:
        """Wall seconds until now."""
        return self.before + time.monotonic() - self.begun

    def a_step(self) -> float | None:
        """Median wall seconds of a step. None: too few were made to say."""
        return statistics.median(self._rates) if self._rates else None

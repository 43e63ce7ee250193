"""A user's text through the models of a run: predictions, a race, levels, parts closed.

Each function takes models and rows and gives a result of `live_results`; nothing is kept between
calls, and nothing is written.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from finegates_engine.environment import collect_environment, load_average
from finegates_engine.errors import UserError
from finegates_engine.explain.certified import CertifiedRun
from finegates_engine.explain.part_counts import mac_ratio
from finegates_engine.gates.model import TextClassifier, load_adapter_state
from finegates_engine.live.ablation import AblationBench, part_names
from finegates_engine.live.inputs import Inputs, read_text
from finegates_engine.live.results import (
    Ablation,
    Effects,
    Level,
    Levels,
    PartEffect,
    Predictions,
    Row,
    Shape,
    TextRace,
    Values,
)
from finegates_engine.prune.compiled import CompiledRun
from finegates_engine.runs.stored_run import StoredRun
from finegates_engine.timing.backends import accelerator_name, check_device, placed
from finegates_engine.timing.benchmark import RaceLimits, RaceProgress, race
from finegates_engine.timing.latency import LEAST_ROUNDS, Latency, efficiency, latency, speedup
from finegates_engine.timing.stored import DENSE, PRUNED, TRANSFORMERS
from finegates_engine.train.adapters import model_state
from finegates_engine.train.cell import probabilities, rebuild

RACE_LIMITS = RaceLimits(min_rounds=10, max_rounds=300, budget_seconds=8.0)
"""A race that someone waits for."""

_TOKENISE_ROUNDS = 15

Tell = Callable[[str, float | None], None]
"""Hears what is being done, and the share that is done where it is known."""


@torch.inference_mode()
def logits_of(model: nn.Module, inputs: Inputs) -> NDArray[np.float32]:
    """(rows, outputs)"""
    result: NDArray[np.float32] = model(**inputs.tensors).float().cpu().numpy()
    return result


def predict_text(
    compiled: CompiledRun,
    reference: CompiledRun | None,
    inputs: Inputs,
    labels: tuple[str, ...] | None,
) -> Predictions:
    """The text through the pruned model and the dense one beside it.

    reference: the run with nothing removed. None: the same run with all its gates open.
    """
    dense = compiled.dense if reference is None else reference.folded
    return Predictions(
        run_id=compiled.run.run_id,
        dense_run_id=None if reference is None else reference.run.run_id,
        labels=labels,
        dense=_outputs(logits_of(dense, inputs)),
        pruned=_outputs(logits_of(compiled.folded, inputs)),
        reading=inputs.reading,
    )


def race_text(
    certified: CertifiedRun,
    rows: Sequence[Row],
    tokenizer: Any,
    shape: Shape,
    *,
    limits: RaceLimits = RACE_LIMITS,
    on_progress: Callable[[RaceProgress], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> TextRace:
    """Dense, pruned and Hugging Face's own module timed against each other on the text.

    Raises UserError for a device that is not there, or where it was stopped before it could say
    anything.
    """
    check_device(shape.device)
    compiled, load = certified.laid_out_for(shape.device).compiled, load_average()
    most = compiled.run.config.task.max_tokens
    inputs = read_text(rows, tokenizer, most=most, tokens=shape.tokens)
    inputs = inputs.repeated(shape.batch or inputs.rows)
    models = {DENSE: compiled.dense, PRUNED: compiled.folded, TRANSFORMERS: compiled.plain}
    run = race(
        {name: _call(model, inputs, shape.device) for name, model in models.items()},
        baseline=DENSE,
        device=shape.device,
        threads=shape.threads,
        limits=limits,
        on_progress=on_progress,
        stop=stop,
    )
    _check_rounds(run.rounds)
    gains = {n: speedup(run.seconds[DENSE], v) for n, v in run.seconds.items() if n != DENSE}
    ratio = mac_ratio(compiled, inputs.reading.width)
    return TextRace(
        run_id=compiled.run.run_id,
        shape=shape,
        batch=inputs.rows,
        reading=inputs.reading,
        filled=float(inputs.tensors["attention_mask"].float().mean()),
        seconds={n: tuple(float(f"{v:.6g}") for v in values) for n, values in run.seconds.items()},
        latency={name: latency(values) for name, values in run.seconds.items()},
        speedup=gains,
        mac_ratio=ratio,
        efficiency=efficiency(gains[PRUNED].value, ratio),
        tokenise=_time_tokenising(rows, tokenizer, most, shape),
        ended=run.ended,
        machine=_machine(shape.device),
        load=load,
    )


def _check_rounds(rounds: int) -> None:
    if rounds < LEAST_ROUNDS:
        raise UserError(f"The race was stopped after {rounds} of at least {LEAST_ROUNDS} rounds.")


def levels_of_text(
    runs: Sequence[StoredRun],
    folder: Path,
    inputs: Inputs,
    labels: tuple[str, ...] | None,
    *,
    tell: Tell = lambda _, __: None,
) -> Levels:
    """The text through every run of a curve, by the gated models, which folding does not change.

    folder: the backbone's local files. Runs whose settings differ in target and seed alone share
    one model, whose trained values are exchanged.
    """
    found: list[Level] = []
    model: TextClassifier | None = None
    for number, run in enumerate(runs):
        tell("Reading the levels", number / len(runs))
        model = _exchanged(model, runs[number - 1], run) or rebuild(run, folder)
        removed = run.record.ladder.folded_encoder_fraction
        outputs = _outputs(logits_of(model, inputs))
        found.append(Level(run_id=run.run_id, removed=removed, outputs=outputs))
    found.sort(key=lambda level: level.removed)
    return Levels(labels=labels, levels=tuple(found))


def ablate_text(
    compiled: CompiledRun, inputs: Inputs, labels: tuple[str, ...] | None, parts: Sequence[str]
) -> Ablation:
    """The pruned model with these parts closed too, beside random groups of the same size."""
    bench = AblationBench(compiled.gated, lambda: logits_of(compiled.gated, inputs))
    group = bench.group(parts)
    return Ablation(
        run_id=compiled.run.run_id,
        labels=labels,
        parts=tuple(parts),
        size=group.size,
        of=bench.kept.size,
        before=_values(bench.run()),
        after=_values(bench.without(group)),
        random=tuple(_values(found) for found in bench.random(group)),
    )


def effects_on_text(
    compiled: CompiledRun,
    inputs: Inputs,
    labels: tuple[str, ...] | None,
    *,
    tell: Tell = lambda _, __: None,
) -> Effects:
    """Every head, FFN quarter and layer of the pruned model closed alone, on the first row."""
    first = inputs.repeated(1)
    bench = AblationBench(compiled.gated, lambda: logits_of(compiled.gated, first))
    names, effects = part_names(bench.shape), []
    for number, part in enumerate(names):
        if number % 10 == 0:
            tell("Closing one part after the other", number / len(names))
        group = bench.group([part])
        logits = tuple(_values(bench.without(group))[0]) if group.size else None
        layer = int(part.split(".")[0])
        effects.append(PartEffect(part=part, layer=layer, size=group.size, logits=logits))
    before = _values(bench.run())[0]
    return Effects(run_id=compiled.run.run_id, labels=labels, before=before, effects=tuple(effects))


def _outputs(logits: NDArray[np.float32]) -> Values:
    """Probabilities, or the scores of a regression. Raises UserError where some are not finite."""
    if not np.isfinite(logits).all():
        raise UserError("The model gives no finite numbers for this text. Choose another run.")
    return _values(logits if logits.shape[1] == 1 else probabilities(logits))


def _values(array: NDArray[np.float32]) -> Values:
    return tuple(tuple(float(value) for value in row) for row in array)


def _call(model: nn.Module, inputs: Inputs, device: str) -> Callable[[], object]:
    tensors = {name: values.to(device) for name, values in inputs.tensors.items()}
    if device != "cpu":
        model = placed(model, device, "fp32")
    return lambda: model(**tensors)


def _time_tokenising(rows: Sequence[Row], tokenizer: Any, most: int, shape: Shape) -> Latency:
    seconds = []
    for _ in range(_TOKENISE_ROUNDS):
        begun = time.perf_counter()
        read_text(rows, tokenizer, most=most, tokens=shape.tokens)
        seconds.append(max(time.perf_counter() - begun, 1e-9))
    return latency(seconds)


def _exchanged(
    model: TextClassifier | None, before: StoredRun, run: StoredRun
) -> TextClassifier | None:
    """The model with another run's trained values. None: it must be built anew."""
    if model is None or not run.adapter or not _alike(before, run):
        return None
    load_adapter_state(model, model_state(run.adapter, run.config.gates))
    return model.eval()


def _alike(one: StoredRun, other: StoredRun) -> bool:
    """Whether two runs have the same model, but for trained values."""
    same = dataclasses.replace(one.config.gates, target=other.config.gates.target)
    identity = one.record.identity.weights_hash == other.record.identity.weights_hash
    return identity and same == other.config.gates and one.config.model == other.config.model


def _machine(device: str) -> str:
    environment = collect_environment(accelerator=accelerator_name())
    name = environment.accelerator if device == "cuda" else environment.cpu
    return name or environment.platform

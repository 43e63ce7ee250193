"""The cells of a grid: dense, pruned and Hugging Face's own module timed against each other."""

import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import nn

from finegates_engine.environment import load_average
from finegates_engine.timing.backends import (
    Call,
    Unavailable,
    check_backend,
    compiled_call,
    eager_call,
    inputs_for,
    onnx_call,
    placed,
)
from finegates_engine.timing.benchmark import Race, RaceLimits, RaceProgress, measuring, race
from finegates_engine.timing.inputs import TokenStream
from finegates_engine.timing.latency import LEAST_ROUNDS, efficiency, latency, speedup
from finegates_engine.timing.stored import (
    DENSE,
    MAX_ROUNDS,
    PRUNED,
    TRANSFORMERS,
    Setting,
    TimingCell,
    VariantTimes,
)


@dataclass(frozen=True, kw_only=True)
class Contenders:
    """The models of one run that are timed, on the CPU in fp32."""

    dense: nn.Module
    pruned: nn.Module
    transformers: nn.Module
    mac_ratio: Callable[[int], float]
    """Tokens of a row to multiply-accumulates of dense / of pruned."""

    onnx_file: Callable[[str], Path] | None = None
    """Variant ("dense" or "pruned") to its ONNX file, made when first asked for."""


@dataclass(frozen=True)
class Outcome:
    """What became of one cell."""

    setting: Setting
    cell: TimingCell | None
    reason: str = ""
    """Why there is no cell."""


def settings_of(
    *,
    device: str,
    backends: Iterable[str],
    precisions: Iterable[str],
    threads: Iterable[int],
    batches: Iterable[int],
    tokens: Iterable[int],
) -> list[Setting]:
    """Every combination once; short ones first, so that the time they leave goes to long ones.

    Those that are compiled come last: compiling takes its time from the cells after it.
    """
    choices = itertools.product(backends, precisions, threads, batches, tokens)
    names = ("backend", "precision", "threads", "batch", "tokens")
    found = {Setting(device=device, **dict(zip(names, choice, strict=True))) for choice in choices}  # type: ignore[arg-type]
    return sorted(found, key=lambda s: (s.backend == "compile", s.batch * s.tokens, s))


class CellTimer:
    """Times cells of one run, one after the other."""

    def __init__(
        self, contenders: Contenders, stream: TokenStream, *, commit: str | None = None
    ) -> None:
        self._contenders, self._stream, self._commit = contenders, stream, commit
        self._place: tuple[str, str] | None = None
        self._models: dict[str, nn.Module] = {}

    def measure(
        self,
        setting: Setting,
        limits: RaceLimits | None = None,
        *,
        on_progress: Callable[[RaceProgress], None] | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> Outcome:
        """Time one cell. A backend that cannot run it is an outcome with the reason, no error."""
        limits = limits or RaceLimits()
        limits = replace(limits, max_rounds=min(limits.max_rounds, MAX_ROUNDS))
        begun, load = datetime.now(UTC).replace(microsecond=0), load_average()
        try:
            check_backend(setting)
            calls = self._calls(setting)
        except Unavailable as error:
            return Outcome(setting, None, str(error))
        run = race(
            calls,
            baseline=DENSE,
            device=setting.device,
            threads=setting.threads,
            limits=limits,
            on_progress=on_progress,
            stop=stop,
        )
        if run.rounds < LEAST_ROUNDS:
            return Outcome(setting, None, f"stopped after {run.rounds} rounds")
        variants = _variant_times(run)
        pruned = variants[PRUNED].speedup
        assert pruned is not None
        ratio = self._contenders.mac_ratio(setting.tokens)
        cell = TimingCell(
            setting=setting,
            variants=variants,
            mac_ratio=ratio,
            efficiency=efficiency(pruned.value, ratio),
            inputs=self._stream.source,
            measured=begun,
            commit=self._commit,
            load=load,
        )
        return Outcome(setting, cell)

    def _calls(self, setting: Setting) -> dict[str, Call]:
        models = self._placed(setting.device, setting.precision)
        inputs = inputs_for(self._stream.rows(setting.batch, setting.tokens), setting.device)
        if setting.backend == "torch":
            return {name: eager_call(model, inputs) for name, model in models.items()}
        ours = {name: models[name] for name in (DENSE, PRUNED)}
        with measuring(setting.threads):
            if setting.backend == "compile":
                torch.compiler.reset()  # else one shape too many silently runs without compiling
                return {n: compiled_call(m, inputs, setting.precision) for n, m in ours.items()}
            files = self._contenders.onnx_file
            if files is None:
                raise Unavailable("there are no ONNX files of this run")
            return {n: onnx_call(files(n), m, inputs, setting.threads) for n, m in ours.items()}

    def _placed(self, device: str, precision: str) -> dict[str, nn.Module]:
        """Copies on a device; those of one place are held at a time."""
        if self._place != (device, precision):
            self._models = {}
            models = {
                DENSE: self._contenders.dense,
                PRUNED: self._contenders.pruned,
                TRANSFORMERS: self._contenders.transformers,
            }
            self._models = {n: placed(model, device, precision) for n, model in models.items()}
            self._place = (device, precision)
        return self._models


def time_cells(
    timer: CellTimer,
    settings: Sequence[Setting],
    *,
    budget_seconds: float,
    limits: RaceLimits | None = None,
    on_outcome: Callable[[Outcome], None],
    on_progress: Callable[[Setting, RaceProgress], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> list[Outcome]:
    """Time cells one after the other within a budget, as far as their least rounds allow.

    What is left of the budget is shared alike by the cells that are left. on_outcome hears of
    each as soon as it is done. Ends early when `stop` says so.
    """
    limits = limits or RaceLimits()
    end = time.monotonic() + budget_seconds
    outcomes: list[Outcome] = []
    for number, setting in enumerate(settings):
        if stop is not None and stop():
            break
        share = max(0.0, end - time.monotonic()) / (len(settings) - number)

        def tell(progress: RaceProgress, setting: Setting = setting) -> None:
            if on_progress is not None:
                on_progress(setting, progress)

        limited = replace(limits, budget_seconds=share)
        outcome = timer.measure(setting, limited, on_progress=tell, stop=stop)
        outcomes.append(outcome)
        on_outcome(outcome)
    return outcomes


def _variant_times(run: Race) -> dict[str, VariantTimes]:
    times = {}
    for name, values in run.seconds.items():
        seconds = tuple(float(f"{value:.6g}") for value in values)
        dense = tuple(float(f"{value:.6g}") for value in run.seconds[DENSE])
        gain = None if name == DENSE else speedup(dense, seconds)
        times[name] = VariantTimes(
            seconds=seconds,
            calls_per_value=run.calls[name],
            latency=latency(seconds),
            speedup=gain,
            verdict=None if gain is None else gain.verdict,
        )
    return times

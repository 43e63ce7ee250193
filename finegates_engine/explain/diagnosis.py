"""Why a pruned run is not faster: its time part by part beside the dense one's, and changes."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from finegates_engine.environment import collect_environment, load_average
from finegates_engine.errors import UserError
from finegates_engine.explain.certified import CertifiedRun
from finegates_engine.explain.explanation import Explanation, Trial, combine
from finegates_engine.explain.part_counts import layer_forms, mac_ratio, part_work
from finegates_engine.explain.part_times import (
    Recorder,
    clock_for,
    skeleton_inputs,
    skeleton_of,
    split_up,
)
from finegates_engine.explain.what_if import Change, Situation, changes, onnx_change
from finegates_engine.folded import FoldedClassifier
from finegates_engine.prune.compiled import CompiledRun
from finegates_engine.timing.backends import (
    Unavailable,
    accelerator_name,
    check_device,
    inputs_for,
    placed,
)
from finegates_engine.timing.benchmark import Race, RaceLimits, RaceProgress, measuring, race
from finegates_engine.timing.inputs import TokenStream
from finegates_engine.timing.latency import LEAST_ROUNDS, efficiency, speedup
from finegates_engine.timing.stored import DENSE, PRUNED, Setting, this_machine

DEFAULT_BUDGET = 40.0
"""Seconds for all measurements, as far as their least rounds allow."""

HOPELESS = 4.0
"""A change that takes so many times as long at once is not timed any further."""

_PARTS_SHARE = 0.5  # of the budget, for the parts; the rest is for changes
_NOW = "now"

Told = Callable[[str, RaceProgress], None]


def explain_run(
    certified: CertifiedRun,
    stream: TokenStream,
    setting: Setting,
    *,
    budget_seconds: float = DEFAULT_BUDGET,
    onnx: bool = False,
    on_progress: Told | None = None,
) -> Explanation:
    """Where the time of a pruned run goes in one setting, and what would change it.

    setting: eager PyTorch in fp32. Budgets are shared by the parts and the changes. onnx: also
    export the pruned model and time it in ONNX Runtime, some 15 s more. Raises UserError for a
    device that is not there, or another backend or precision.
    """
    _check(setting)
    load = load_average()

    def inputs(batch: int, tokens: int) -> tuple[Tensor, Tensor]:
        return inputs_for(stream.rows(batch, tokens), setting.device)

    certified = certified.laid_out_for(setting.device)
    compiled = certified.compiled
    limits = RaceLimits(min_rounds=LEAST_ROUNDS, budget_seconds=budget_seconds * _PARTS_SHARE)
    measured = _time_parts(compiled, setting, inputs, limits, on_progress)
    now = Situation(compiled, certified.options, setting, inputs)
    tried, left_out = _worth_a_race(now, onnx=onnx)
    trials = _time_changes(now, tried, limits, on_progress)
    ratio, parts = mac_ratio(compiled, setting.tokens), measured.parts
    gain = speedup(measured.run.seconds[DENSE], measured.run.seconds[PRUNED])
    return Explanation(
        run_id=compiled.run.run_id,
        setting=setting,
        machine=this_machine(collect_environment(accelerator=accelerator_name())),
        parts=combine(parts[DENSE], parts[PRUNED], part_work(compiled, setting.tokens)),
        layers=layer_forms(compiled),
        dense_ms=measured.whole_ms[DENSE],
        pruned_ms=measured.whole_ms[PRUNED],
        speedup=gain,
        mac_ratio=ratio,
        efficiency=efficiency(gain.value, ratio),
        fixed_ms=(measured.fixed_ms[DENSE], measured.fixed_ms[PRUNED]),
        slowed=(measured.slowed[DENSE], measured.slowed[PRUNED]),
        clock="thread" if measured.own_time else "wall",
        trials=trials,
        not_tried=left_out,
        inputs=stream.source,
        rounds=measured.run.rounds,
        load=load,
    )


@dataclass(frozen=True)
class _Measured:
    run: Race
    whole_ms: Mapping[str, float]
    parts: Mapping[str, dict[str, tuple[float, float]]]
    fixed_ms: Mapping[str, float]
    slowed: Mapping[str, float]
    own_time: bool


def _time_parts(
    compiled: CompiledRun,
    setting: Setting,
    inputs: Callable[[int, int], tuple[Tensor, Tensor]],
    limits: RaceLimits,
    on_progress: Told | None,
) -> _Measured:
    """Both models and their skeletons, plain and with their parts timed, in one race."""
    clock, own_time = clock_for(setting.device, setting.threads)
    arguments = inputs(setting.batch, setting.tokens)
    models: dict[str, FoldedClassifier] = {
        DENSE: _placed(compiled.dense, setting),
        PRUNED: _placed(compiled.folded, setting),
    }
    real = {name: Recorder.of(model, arguments, clock) for name, model in models.items()}
    empty = {
        name: Recorder.of(skeleton_of(model), skeleton_inputs(arguments[0]), clock)
        for name, model in models.items()
    }
    calls: dict[str, Callable[[], object]] = {}
    for name in models:
        calls[name] = real[name].plain
        calls[f"{name}, timed"] = real[name].timed()
        calls[f"{name}, empty"] = empty[name].plain
        calls[f"{name}, empty and timed"] = empty[name].timed()
    run = race(
        calls,
        baseline=DENSE,
        device=setting.device,
        threads=setting.threads,
        limits=limits,
        on_progress=_telling(on_progress, "Parts"),
    )
    gain = speedup(run.seconds[DENSE], run.seconds[PRUNED]).value
    dense_ms = 1000 * _median(run.seconds[DENSE])
    whole_ms = {DENSE: dense_ms, PRUNED: dense_ms / gain}
    return _Measured(
        run=run,
        whole_ms=whole_ms,
        parts={name: split_up(real[name], empty[name], whole_ms[name]) for name in models},
        fixed_ms={n: whole_ms[n] * empty[n].plain_mean() / real[n].plain_mean() for n in models},
        slowed={name: real[name].slowed() for name in models},
        own_time=own_time,
    )


def _worth_a_race(now: Situation, *, onnx: bool) -> tuple[list[Change], dict[str, str]]:
    """The changes to time, and for all others the reason why not."""
    tried, left_out = changes(now)
    if onnx:
        try:
            tried.append(onnx_change(now))
        except Unavailable as reason:
            left_out["onnx"] = str(reason)
    else:
        left_out["onnx"] = "pass --onnx to export and time it"
    return [change for change in tried if _promising(now, change, left_out)], left_out


def _promising(now: Situation, change: Change, left_out: dict[str, str]) -> bool:
    """Whether a change is worth a race; where not, `left_out` says why."""
    with measuring(now.setting.threads):
        before = _second_call(now.calling(now.compiled.folded))
        slower = _second_call(change.call) / change.factor / before
    if slower > HOPELESS:
        left_out[change.name] = f"{change.what}: {slower:.0f} times as slow at once"
    return slower <= HOPELESS


def _second_call(call: Callable[[], object]) -> float:
    call()
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def _time_changes(
    now: Situation, tried: Sequence[Change], limits: RaceLimits, on_progress: Told | None
) -> tuple[Trial, ...]:
    """Each change against the pruned model as it is, all in one race."""
    calls: dict[str, Callable[[], object]] = {_NOW: now.calling(now.compiled.folded)}
    calls |= {change.name: change.call for change in tried}
    run = race(
        calls,
        baseline=_NOW,
        device=now.setting.device,
        threads=now.setting.threads,
        limits=limits,
        on_progress=_telling(on_progress, "Changes"),
    )
    return tuple(
        Trial(
            name=change.name,
            what=change.what,
            how=change.how,
            gain=speedup(
                run.seconds[_NOW], [value / change.factor for value in run.seconds[change.name]]
            ),
            per=change.per,
            same_outputs=change.same_outputs,
        )
        for change in tried
    )


def _placed(model: FoldedClassifier, setting: Setting) -> FoldedClassifier:
    found = placed(model, setting.device, setting.precision)
    assert isinstance(found, FoldedClassifier)
    return found


def _telling(on_progress: Told | None, what: str) -> Callable[[RaceProgress], None] | None:
    if on_progress is None:
        return None
    return lambda progress: on_progress(what, progress)


def _median(seconds: Sequence[float]) -> float:
    return float(torch.tensor(seconds, dtype=torch.float64).quantile(0.5))


def _check(setting: Setting) -> None:
    check_device(setting.device)
    if (setting.backend, setting.precision) != ("torch", "fp32"):
        raise UserError(
            f"explain times eager PyTorch in fp32, not {setting.backend} in {setting.precision}. "
            "`finegates bench` times those."
        )

"""`finegates explain`: why a pruned run is no faster here. No torch until it measures."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text

from finegates_engine.backbone import local_folder
from finegates_engine.cli.bench_options import parse_choices
from finegates_engine.cli.bench_tables import (
    BUSY_SHARE,
    machine_lines,
    setting_text,
    speedup_text,
)
from finegates_engine.cli.tables import make_table, output, print_titled
from finegates_engine.errors import UserError
from finegates_engine.explain.advice import gap_text, remarks, worthwhile
from finegates_engine.explain.explanation import (
    EXPLANATION,
    PARTS,
    SCALED,
    Explanation,
    PartTime,
    Trial,
)
from finegates_engine.runs.store import RunStore
from finegates_engine.runs.stored_run import StoredRun
from finegates_engine.text.format import MISSING, ms_text, seconds_text
from finegates_engine.timing.inputs import most_tokens, token_stream
from finegates_engine.timing.stored import Setting, passing_certificate

if TYPE_CHECKING:
    from finegates_engine.timing.benchmark import RaceProgress


def run_explain(
    *,
    run: str,
    device: str,
    batch: int,
    tokens: int,
    threads: int,
    budget: float,
    onnx: bool,
    store: Path,
    as_json: bool,
) -> None:
    """Where the time of a pruned run goes here, how fast it could be, and what to change."""
    choices = parse_choices(
        device=device,
        batch=str(batch),
        tokens=str(tokens),
        threads=str(threads),
        backend="torch",
        precision="fp32",
        budget=budget,
    )
    setting = Setting(
        device=choices.device,  # type: ignore[arg-type]
        threads=choices.threads[0],
        batch=choices.batches[0],
        tokens=choices.tokens[0],
    )
    stored = RunStore(store).find(run)
    passing_certificate(stored)  # raises without a passing one, before anything is built
    found = _measure(stored, setting, choices.budget_seconds, onnx=onnx)
    if as_json:
        typer.echo(json.dumps(explanation_json(found), indent=1, allow_nan=False))
    else:
        print_explanation(found)


def _measure(run: StoredRun, setting: Setting, budget: float, *, onnx: bool) -> Explanation:
    from finegates_engine.explain.certified import as_certified
    from finegates_engine.explain.diagnosis import explain_run
    from finegates_engine.timing.backends import check_device

    check_device(setting.device)
    folder = local_folder(run.config.model.backbone)
    most = most_tokens(folder)
    if most is not None and setting.tokens > most:
        raise UserError(
            f"--tokens is {setting.tokens}, but the backbone reads at most {most} tokens. Lower it."
        )
    console = Console(stderr=True)
    # Drawn seldom: the spinner's thread would otherwise take its share of the time measured.
    with Status("Building the models", console=console, refresh_per_second=1) as status:

        def tell(what: str, progress: "RaceProgress") -> None:
            left = seconds_text(progress.seconds_left)
            status.update(f"{what}: round {progress.rounds}, at most {left} left")

        return explain_run(
            as_certified(run, folder),
            token_stream(run, folder),
            setting,
            budget_seconds=budget,
            onnx=onnx,
            on_progress=tell if console.is_terminal else None,
        )


def print_explanation(found: Explanation) -> None:
    """The parts side by side, the ceiling and the prediction, and what to change."""
    console = output()
    console.print(Text(found.run_id, style="bold"), soft_wrap=True)
    console.print(Text(f"{setting_text(found.setting)}. {_headline(found)}"), soft_wrap=True)
    print_titled(console, "\nWhere one call spends its time", _parts_table(found))
    for line in (*_limits(found), f"Largest loss. {gap_text(found)}", *remarks(found)):
        console.print(Text(line), soft_wrap=True)
    good = worthwhile(found)
    if good:
        print_titled(console, "\nWhat would be faster, timed here", _trials_table(good))
    others = [trial for trial in found.trials if trial not in good]
    if others:
        names = ", ".join(f"{trial.name} {trial.gain.value:.2f}x" for trial in others)
        console.print(Text(f"Tried without a clear gain: {names}."), soft_wrap=True)
    for name, reason in found.not_tried.items():
        console.print(Text(f"Not tried, {name}: {reason}."), soft_wrap=True)
    for line in (*_notes(found), *machine_lines(found.machine)):
        console.print(Text(line, style="dim"), soft_wrap=True)


def explanation_json(found: Explanation) -> dict[str, Any]:
    """All that `print_explanation` shows."""
    plain: dict[str, Any] = EXPLANATION.dump_python(found, mode="json")
    for values, part in zip(plain["parts"], found.parts, strict=True):
        values |= {
            "label": PARTS[part.part],
            "gap_ms": part.gap_ms,
            "dense_share": part.dense_ms / found.dense_ms,
            "pruned_share": part.pruned_ms / found.pruned_ms,
        }
    return plain | {
        "removable_share": found.removable_share,
        "ceiling": found.ceiling,
        "predicted": found.predicted,
        "verdict": found.speedup.verdict,
        "largest_gap": gap_text(found),
        "remarks": remarks(found),
        "worthwhile": [trial.name for trial in worthwhile(found)],
    }


def _headline(found: Explanation) -> str:
    return (
        f"The pruned model is {speedup_text(found.speedup)} as fast as dense; its arithmetic is "
        f"{found.mac_ratio:.2f} times less (efficiency {found.efficiency:.2f})."
    )


def _parts_table(found: Explanation) -> Table:
    table = make_table(
        "Part", "Dense\nms ", "\nshare ", "Pruned\nms ", "\nshare ", "Expected\nms ", "Loss\nms "
    )
    table.columns[0].justify = "left"
    for part in found.parts:
        if part.dense_ms or part.pruned_ms:
            table.add_row(*_part_texts(found, part), style="" if part.part in SCALED else "dim")
    table.add_section()
    whole = (found.dense_ms, found.pruned_ms, found.dense_ms / found.predicted)
    table.add_row(
        "Whole call",
        ms_text(whole[0] / 1000),
        "100.0%",
        ms_text(whole[1] / 1000),
        "100.0%",
        ms_text(whole[2] / 1000),
        f"{whole[1] - whole[2]:+.2f}",
    )
    return table


def _part_texts(found: Explanation, part: PartTime) -> tuple[str, ...]:
    sure = abs(part.gap_ms) > part.error_ms
    return (
        PARTS[part.part],
        f"{part.dense_ms:.2f}",
        f"{100 * part.dense_ms / found.dense_ms:.1f}%",
        f"{part.pruned_ms:.2f}",
        f"{100 * part.pruned_ms / found.pruned_ms:.1f}%",
        f"{part.expected_ms:.2f}",
        f"{part.gap_ms:+.2f}" if sure else MISSING,
    )


def _limits(found: Explanation) -> list[str]:
    ceiling = "without limit" if found.ceiling is None else f"{found.ceiling:.1f}x at most"
    return [
        f"Ceiling. {100 * found.removable_share:.0f}% of the dense time falls as weights leave: "
        f"{ceiling}, were all of it gone.",
        f"Expected. {found.predicted:.2f}x, if each part took what is left of its arithmetic "
        f"(dim parts: none leaves). Measured: {speedup_text(found.speedup)}.",
    ]


def _trials_table(trials: list[Trial]) -> Table:
    table = make_table("Change", "As fast as now,\n95% interval ", "How")
    table.columns[0].justify = table.columns[2].justify = "left"
    table.columns[0].max_width, table.columns[2].max_width = 38, 26
    for trial in trials:
        per = " a row" if trial.per == "row" else ""
        table.add_row(f"{trial.what} ", f"{speedup_text(trial.gain)}{per} ", trial.how)
    return table


def _notes(found: Explanation) -> list[str]:
    busy = (found.load or 0.0) - found.setting.threads > BUSY_SHARE * found.machine.cores
    clock = "the thread's own time" if found.clock == "thread" else "the wall's time"
    slowed = max(found.slowed)
    return [
        f"Shares by {clock}, of calls {100 * (slowed - 1):.0f}% slower than plain ones, which give "
        f"the whole; {found.rounds} rounds. A dash: no loss beyond its error. Python and dispatch "
        "is what is left: the empty model of the same operations takes "
        f"{found.fixed_ms[0]:.2f} ms (dense), {found.fixed_ms[1]:.2f} ms (pruned).",
        f"Inputs: {found.inputs}. Full rows, no padding.",
        *(["Other work ran on this machine: milliseconds are too high, shares stand."] * busy),
    ]

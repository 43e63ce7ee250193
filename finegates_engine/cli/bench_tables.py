"""Timings as tables and as JSON. No torch."""

import statistics
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter
from rich.table import Table
from rich.text import Text

from finegates_engine.cli.tables import make_table, output, print_titled
from finegates_engine.text.format import MISSING, ms_text, share_text
from finegates_engine.timing.latency import Latency, Speedup
from finegates_engine.timing.stored import (
    DENSE,
    PRUNED,
    TRANSFORMERS,
    Machine,
    Setting,
    TimingCell,
    fingerprint,
)

if TYPE_CHECKING:
    from finegates_engine.timing.cells import Outcome
    from finegates_engine.timing.matmul import MatmulPoint

BUSY_SHARE = 0.5
"""Load, as a share of the cores, from which a table says that the machine was busy."""

_CELL: TypeAdapter[TimingCell] = TypeAdapter(TimingCell)
_MACHINE: TypeAdapter[Machine] = TypeAdapter(Machine)
_SETTING: TypeAdapter[Setting] = TypeAdapter(Setting)
_LATENCY: TypeAdapter[dict[str, Latency]] = TypeAdapter(dict[str, Latency])
_SPEEDUP: TypeAdapter[dict[str, Speedup]] = TypeAdapter(dict[str, Speedup])


def print_bench(run_id: str, machine: Machine, outcomes: Sequence["Outcome"], saved: str) -> None:
    """The cells of one run, a table for each device, backend, precision and number of threads.

    saved: the file in the run's folder; empty: not kept.
    """
    console = output()
    console.print(Text(run_id, style="bold"), soft_wrap=True)
    done = sorted((o.cell for o in outcomes if o.cell is not None), key=lambda c: c.setting)
    for title, cells in groupby(done, key=lambda cell: _where(cell.setting)):
        print_titled(console, title, _table(list(cells)))
    for outcome in outcomes:
        if outcome.cell is None:
            note = f"Not timed, {setting_text(outcome.setting)}: {outcome.reason}"
            console.print(Text(note, style="yellow"), soft_wrap=True)
    for line in (*_notes(machine, done), *machine_lines(machine)):
        console.print(Text(line), soft_wrap=True)
    if done:
        console.print(Text(f"Kept as {saved}." if saved else "Not kept."), soft_wrap=True)


def bench_json(
    run_id: str, machine: Machine, outcomes: Sequence["Outcome"], saved: str
) -> dict[str, Any]:
    """All that `print_bench` shows, and the raw values."""
    cells = []
    for outcome in outcomes:
        if (cell := outcome.cell) is not None:
            rows = {name: cell.rows_per_second(name) for name in cell.variants}
            cells.append(_CELL.dump_python(cell, mode="json") | {"rows_per_second": rows})
    return {
        "run_id": run_id,
        "fingerprint": fingerprint(machine),
        "machine": _MACHINE.dump_python(machine, mode="json"),
        "saved": saved or None,
        "cells": cells,
        "not_timed": [
            {"setting": _SETTING.dump_python(o.setting, mode="json"), "reason": o.reason}
            for o in outcomes
            if o.cell is None
        ],
    }


def print_matmul(points: Sequence["MatmulPoint"], setting: Setting, machine: Machine) -> None:
    """Single matrices against sparsity, a table for each size."""
    console = output()
    for size, group in groupby(points, key=lambda point: (point.rows, point.columns)):
        points_here = list(group)
        table = make_table(
            "Rows and\ncolumns\nremoved ",
            "Weights\nremoved ",
            "Ideal ",
            "Removed ",
            "Rounded to 16 ",
            "Zeros\nin place",
        )
        for point in points_here:
            table.add_row(
                share_text(point.rate),
                share_text(1 - 1 / point.ideal),
                f"{point.ideal:.2f}x",
                *(speedup_text(point.speedup[form]) for form in ("removed", "rounded")),
                f"{point.speedup['zeros'].value:.2f}x",
            )
        dense = statistics.median(point.latency[DENSE].median for point in points_here)
        title = (
            f"{size[0]} x {size[1]}, {setting.tokens} vectors: times as fast as dense "
            f"({ms_text(dense)} ms; {setting.device}, {setting.precision}, "
            f"{threads_text(setting.threads)})"
        )
        print_titled(console, title, table)
    note = "Ideal: time falls as the weights do. Inputs are already picked: no gather is in it."
    for line in (note, *machine_lines(machine)):
        console.print(Text(line), soft_wrap=True)


def matmul_json(
    points: Sequence["MatmulPoint"], setting: Setting, machine: Machine
) -> dict[str, Any]:
    """All that `print_matmul` shows."""
    return {
        "fingerprint": fingerprint(machine),
        "machine": _MACHINE.dump_python(machine, mode="json"),
        "device": setting.device,
        "precision": setting.precision,
        "threads": setting.threads,
        "tokens": setting.tokens,
        "points": [
            {
                "rows": point.rows,
                "columns": point.columns,
                "rate": point.rate,
                "ideal": point.ideal,
                "widths": point.widths,
                "latency": _LATENCY.dump_python(point.latency),
                "speedup": _SPEEDUP.dump_python(point.speedup),
            }
            for point in points
        ],
    }


def machine_lines(machine: Machine) -> list[str]:
    """Where timings hold: for this machine and these versions alone."""
    versions = ", ".join(f"{name} {value}" for name, value in machine.versions.items() if value)
    cores = "1 core" if machine.cores == 1 else f"{machine.cores} cores"
    parts = [machine.cpu or machine.platform, cores, machine.accelerator, versions]
    return [f"Fingerprint {fingerprint(machine)}: {', '.join(part for part in parts if part)}."]


def setting_text(setting: Setting) -> str:
    """A cell in words."""
    return f"{setting.batch} x {setting.tokens} tokens, {_where(setting)}"


def speedup_text(speedup: Speedup) -> str:
    """`1.42x (1.38 to 1.45)`."""
    return f"{speedup.value:.2f}x ({speedup.low:.2f} to {speedup.high:.2f})"


def verdict_text(speedup: Speedup) -> str:
    """`1.42x faster` above its interval; of no measurable difference that alone."""
    interval = f"({speedup.low:.2f} to {speedup.high:.2f})"
    if speedup.verdict == "no measurable difference":
        return f"no measurable\ndifference\n{interval}"
    return f"{speedup.value:.2f}x {speedup.verdict}\n{interval}"


def threads_text(threads: int) -> str:
    """`1 thread`, `2 threads`."""
    return "1 thread" if threads == 1 else f"{threads} threads"


def _where(setting: Setting) -> str:
    parts = (setting.device, setting.backend, setting.precision, threads_text(setting.threads))
    return ", ".join(parts)


def _table(cells: Sequence[TimingCell]) -> Table:
    table = make_table(
        "Batch x\ntokens ",
        "Dense\nms ",
        "Pruned\nms ",
        "p95\nms ",
        "HF's\nms ",
        "Pruned\nrows/s ",
        "Against dense,\n95% interval ",
        "MACs\nratio ",
        "Effi-\nciency",
    )
    for cell in cells:
        table.add_row(
            f"{cell.setting.batch} x {cell.setting.tokens}",
            *(_median(cell, name) for name in (DENSE, PRUNED)),
            ms_text(cell.variants[PRUNED].latency.p95),
            _median(cell, TRANSFORMERS),
            f"{cell.rows_per_second(PRUNED):,.0f}",
            verdict_text(cell.speedup),
            f"{cell.mac_ratio:.2f}",
            f"{cell.efficiency:.2f}",
        )
    return table


def _median(cell: TimingCell, name: str) -> str:
    times = cell.variants.get(name)
    return MISSING if times is None else ms_text(times.latency.median)


def _notes(machine: Machine, cells: Sequence[TimingCell]) -> list[str]:
    notes = []
    if sources := dict.fromkeys(cell.inputs for cell in cells):
        notes.append(f"Inputs: {'; '.join(sources)}. Full rows, no padding.")
    loads = [cell.load for cell in cells if cell.load is not None]
    # The threads of a race are themselves among those that want to run.
    own = max((cell.setting.threads for cell in cells), default=1)
    others = max(loads, default=0.0) - own
    if others > BUSY_SHARE * machine.cores:
        notes.append(
            f"Other work ran on this machine (load up to {max(loads):.1f} of {machine.cores} "
            "cores): milliseconds are too high; ratios are of pairs timed one after the other."
        )
    return notes

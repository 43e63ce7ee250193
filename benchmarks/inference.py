"""How much faster folded models are than the dense one, cell by cell, against their arithmetic.

    python benchmarks/inference.py --store cached_runs --task agreement

For learned gates at each level, and random gates of the same size: dense and folded in the same
fused form, interleaved, with a naive form (every matrix alone: gather, product, scatter) beside
them, and both in ONNX Runtime. Efficiency is speed-up over the ratio of multiply-accumulates.
The last line is one JSON object: `speedup_b1_t64_r40`, `efficiency_b1_t64_r40`,
`efficiency_b8_t64_r40`, `cells_slower_than_dense` (95% interval wholly below 1), and the same with
`_onnx`.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from forms.naive import naive_form
from forms.random_gates import with_random_gates
from rich.console import Console
from rich.table import Table
from torch import Tensor

from finegates_engine.backbone import local_folder
from finegates_engine.errors import UserError
from finegates_engine.fold.block import FoldOptions
from finegates_engine.fold.dimensions import folded_widths, macs_per_token
from finegates_engine.fold.targets import device_options, onnx_options
from finegates_engine.gates.model import TextClassifier
from finegates_engine.gates.sparsity import encoder_shape
from finegates_engine.prune.compiled import CompiledRun, compile_run, fold_model, gated_blocks
from finegates_engine.prune.onnx_export import export_onnx
from finegates_engine.runs.store import RunStore
from finegates_engine.runs.stored_run import StoredRun
from finegates_engine.timing.backends import check_device, onnx_session, placed
from finegates_engine.timing.benchmark import RaceLimits, race
from finegates_engine.timing.latency import Speedup, efficiency, speedup

FURTHEST = 0.15
"""A run further than this from a level does not stand for it."""

CLOCKS = {"wall": time.perf_counter, "cpu": time.thread_time}
"""The second is for one thread on a machine that others use: waiting does not count."""

Call = Callable[[Tensor], object]
"""Runs a model on token ids, (batch, tokens)."""


@dataclass(frozen=True)
class RaceSettings:
    """How every cell is timed."""

    device: str
    threads: int
    budget: float
    """Seconds for each cell."""

    clock: Callable[[], float]


@dataclass(frozen=True)
class Forms:
    """One level: its forms as calls, and the ratio of multiply-accumulates to the dense one."""

    name: str
    removed: float
    calls: Mapping[str, Call]
    ratio: Callable[[int], float]
    """Tokens of a row -> dense over folded multiply-accumulates."""


def main(
    store: Annotated[Path, typer.Option(help="Run store with learned gates.")] = Path(
        "cached_runs"
    ),
    task: Annotated[str, typer.Option(help="Task of the runs.")] = "agreement",
    levels: Annotated[str, typer.Option(help="Shares removed; the nearest runs.")] = "0.2,0.4,0.6",
    batches: Annotated[str, typer.Option(help="Rows of a call.")] = "1,8,32",
    tokens: Annotated[str, typer.Option(help="Tokens of a row.")] = "16,64,128",
    threads: Annotated[int, typer.Option(help="Threads of an operation.")] = 1,
    device: Annotated[str, typer.Option(help="cpu, or cuda without ONNX.")] = "cpu",
    heads: Annotated[str, typer.Option(help="Layout: auto, padded or spread.")] = "auto",
    head_step: Annotated[int, typer.Option(help="Of the runs; 0: heads of any widths.")] = 0,
    budget: Annotated[float, typer.Option(help="Seconds for each cell.")] = 10.0,
    gates: Annotated[str, typer.Option(help="learned, random, with commas.")] = "learned,random",
    clock: Annotated[str, typer.Option(help="wall, or cpu: the thread's own time.")] = "wall",
    onnx: Annotated[bool, typer.Option(help="ONNX Runtime too.")] = True,
    quick: Annotated[bool, typer.Option(help="One level, two small cells, 2 s each.")] = False,
) -> None:
    """Time every cell and print a table."""
    if quick:
        levels, batches, tokens, budget, gates = "0.4", "1", "16,64", 2.0, "learned"
    if clock not in CLOCKS or (clock == "cpu" and (threads, device) != (1, "cpu")):
        raise UserError(f"clock must be wall, or cpu with one thread of the CPU, got {clock!r}.")
    check_device(device)
    options = device_options(FoldOptions(heads=heads), device)  # type: ignore[arg-type]
    settings = RaceSettings(device, threads, budget, CLOCKS[clock])
    shapes = [(int(b), int(t)) for b in batches.split(",") for t in tokens.split(",")]
    found = {
        float(level): nearest(RunStore(store), task, float(level), head_step)
        for level in levels.split(",")
    }
    cells: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for level, run in found.items():
            compiled = compile_run(run, local_folder(run.config.model.backbone), options)
            for kind in gates.split(","):
                model = compiled.gated if kind == "learned" else with_random_gates(compiled)
                place = Path(folder) if onnx and device == "cpu" else None
                forms = forms_of(kind, compiled, model, options, place, settings)
                cells += measure(forms, level, shapes, settings)
    _print(cells)
    print(json.dumps(summary(cells)))


def nearest(store: RunStore, task: str, level: float, head_step: int = 0) -> StoredRun:
    """The FineGates run of a task whose removed share is nearest. Raises UserError for none."""
    frame = store.frame()
    frame = frame[(frame["task"] == task) & (frame["method"] == "finegates")]
    gaps = (frame["folded_encoder_fraction"] - level).abs().sort_values(kind="stable")
    for name in frame.loc[gaps.index[gaps <= FURTHEST], "run_id"]:
        run = store.load(str(name))
        if run.config.gates.head_step == head_step and not run.is_light:
            return run
    raise UserError(
        f"Store {str(store.root)!r} has no FineGates run of {task!r} near {level:g} removed with "
        f"its weights and head_step {head_step}. Train one: finegates sweep --task {task} "
        f"--targets {level:g} --head-step {head_step} --store {store.root}"
    )


def forms_of(
    kind: str,
    compiled: CompiledRun,
    model: TextClassifier,
    options: FoldOptions,
    folder: Path | None,
    settings: RaceSettings,
) -> Forms:
    """All forms of one level."""
    networks = {
        "dense": compiled.dense,
        "folded": fold_model(model, options),
        "naive": naive_form(compiled.plain, model),
    }
    calls: dict[str, Call] = {
        name: placed(network, settings.device, "fp32") for name, network in networks.items()
    }
    if folder is not None:
        exported = {"dense": compiled.dense, "folded": fold_model(model, onnx_options(options))}
        for name, network in exported.items():
            path = folder / f"{name}.onnx"
            export_onnx(network, path)
            calls[f"{name}_onnx"] = _onnx_call(path, settings.threads)
    shape, masks = (
        encoder_shape(model),
        [{role: matrix.masks() for role, matrix in block.items()} for block in gated_blocks(model)],
    )
    widths, full = folded_widths(shape, masks), folded_widths(shape, [{}] * shape.layers)

    def ratio(tokens: int) -> float:
        dense_macs = macs_per_token(shape, full, tokens=tokens)
        return dense_macs / macs_per_token(shape, widths, tokens=tokens)

    return Forms(kind, compiled.run.ladder.folded_encoder_fraction, calls, ratio)


def _onnx_call(path: Path, threads: int) -> Call:
    run = onnx_session(path, threads)

    def call(ids: Tensor) -> object:
        zeros = torch.zeros_like(ids).numpy()
        seen = torch.ones_like(ids).numpy()
        return run({"input_ids": ids.numpy(), "attention_mask": seen, "token_type_ids": zeros})

    return call


def measure(
    forms: Forms,
    level: float,
    shapes: list[tuple[int, int]],
    settings: RaceSettings,
) -> list[dict[str, Any]]:
    """Race the forms of one level in every cell."""
    cells = []
    for batch, tokens in shapes:
        generator = torch.Generator().manual_seed(0)
        ids = torch.randint(1000, 20000, (batch, tokens), generator=generator)
        plain = {n: _bound(call, ids.to(settings.device)) for n, call in forms.calls.items()}
        timed = race(
            plain,
            baseline="dense",
            device=settings.device,
            threads=settings.threads,
            clock=settings.clock,
            limits=RaceLimits(budget_seconds=settings.budget),
        )
        cell: dict[str, Any] = {"level": level, "gates": forms.name, "removed": forms.removed}
        cell |= {"batch": batch, "tokens": tokens, "macs": forms.ratio(tokens)}
        cell["dense_ms"] = 1e3 * sorted(timed.seconds["dense"])[timed.rounds // 2]
        for name, baseline in (
            ("folded", "dense"),
            ("naive", "dense"),
            ("folded_onnx", "dense_onnx"),
        ):
            if name in timed.seconds:
                cell[name] = speedup(timed.seconds[baseline], timed.seconds[name])
        if "dense_onnx" in timed.seconds:
            cell["onnx_over_torch"] = speedup(timed.seconds["dense"], timed.seconds["dense_onnx"])
        cells.append(cell)
        _tell(cell)
    return cells


def _bound(call: Call, ids: Tensor) -> Callable[[], object]:
    if isinstance(call, TextClassifier):
        mask = torch.ones_like(ids)
        return lambda: call(ids, mask)
    return lambda: call(ids)


def summary(cells: list[dict[str, Any]]) -> dict[str, Any]:
    """The figures of the last line; None where a cell was not measured."""
    figures: dict[str, Any] = {}
    for form, mark in (("folded", ""), ("folded_onnx", "_onnx")):
        for name, batch in (("b1_t64_r40", 1), ("b8_t64_r40", 8)):
            cell = next((c for c in cells if _is(c, batch) and form in c), None)
            value = None if cell is None else cell[form].value
            if batch == 1:
                figures[f"speedup_{name}{mark}"] = value and round(value, 3)
            figures[f"efficiency_{name}{mark}"] = (
                None if cell is None or value is None else round(efficiency(value, cell["macs"]), 3)
            )
        slower = [c for c in cells if form in c and c[form].verdict == "slower"]
        figures[f"cells_slower_than_dense{mark}"] = len(slower)
    return figures | {"cells": len(cells)}


def _is(cell: dict[str, Any], batch: int) -> bool:
    chosen = (cell["gates"], cell["level"], cell["batch"], cell["tokens"])
    return chosen == ("learned", 0.4, batch, 64)


def _tell(cell: dict[str, Any]) -> None:
    shape = f"{cell['gates']} {cell['removed']:.0%}, {cell['batch']} x {cell['tokens']}"
    print(
        f"{shape}: {_shown(cell['folded'])}, MACs {cell['macs']:.2f}", file=sys.stderr, flush=True
    )


def _print(cells: list[dict[str, Any]]) -> None:
    table = Table(title="Speed-up over dense (95% interval)")
    names = ("gates", "removed", "rows x tokens", "dense ms", "MACs", "folded", "efficiency")
    for column in (*names, "naive", "ONNX folded", "efficiency", "ONNX dense / torch dense"):
        table.add_column(column)
    for cell in cells:
        onnx = cell.get("folded_onnx")
        table.add_row(
            cell["gates"],
            f"{cell['removed']:.0%}",
            f"{cell['batch']} x {cell['tokens']}",
            f"{cell['dense_ms']:.1f}",
            f"{cell['macs']:.2f}",
            _shown(cell["folded"]),
            f"{efficiency(cell['folded'].value, cell['macs']):.2f}",
            _shown(cell["naive"]),
            "" if onnx is None else _shown(onnx),
            "" if onnx is None else f"{efficiency(onnx.value, cell['macs']):.2f}",
            "" if onnx is None else _shown(cell["onnx_over_torch"]),
        )
    Console(file=sys.stdout, width=150).print(table)


def _shown(ratio: Speedup) -> str:
    return f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"


if __name__ == "__main__":
    try:
        typer.run(main)
    except UserError as error:
        sys.exit(f"error: {error}")

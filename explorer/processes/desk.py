"""The jobs of the live page, as the worker's process does them.

torch is loaded by the first job, never by the import. A few compiled runs are kept, the least used
are dropped.
"""

import contextlib
import os
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

MOST_RUNS = 3
"""Compiled runs that are kept; one of MiniLM takes about 300 MB."""

EXPLAIN_SECONDS = 20.0


class Desk:
    """Does jobs. Each method named `do_<kind>` takes a job's arguments and gives plain values."""

    def __init__(self, tell: Callable[[str, float | None], None], stop: Callable[[], bool]) -> None:
        self._tell, self._stop = tell, stop
        self._compiled: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
        self._labels: dict[tuple[str, str], Any] = {}
        self._tokenizers: dict[str, Any] = {}

    def do(self, kind: str, arguments: dict[str, Any]) -> Any:
        """The result of one job. Raises UserError for what a user can mend."""
        return getattr(self, f"do_{kind}")(**arguments)

    def do_predict(
        self, *, store: str, run: str, dense: str | None, rows: Any, shape: Any
    ) -> dict[str, Any]:
        """live_results.Predictions"""
        from finegates_engine.live import results as live_results
        from finegates_engine.live import text as live

        stored = self._run(store, run)
        compiled = self._compiled_run(store, stored)
        reference = None
        if dense is not None:
            reference = self._compiled_run(store, self._run(store, dense))
        self._tell("Reading the text", None)
        inputs = self._inputs(stored, rows, shape)
        found = live.predict_text(compiled, reference, inputs, self._class_names(store, stored))
        return _plain(live_results.PREDICTIONS, found)

    def do_race(self, *, store: str, run: str, rows: Any, shape: Any) -> dict[str, Any]:
        """live_results.TextRace"""
        from finegates_engine.live import results as live_results
        from finegates_engine.live import text as live

        stored = self._run(store, run)
        certified = self._certified(store, stored)

        def progress(now: Any) -> None:
            share = _share(now.seconds_left, live.RACE_LIMITS.budget_seconds)
            left = f", at most {now.seconds_left:.0f} s left" if now.seconds_left >= 1 else ""
            self._tell(f"Racing: round {now.rounds}{left}", share)

        self._tell("Warming up", 0.0)
        found = live.race_text(
            certified,
            _rows(rows),
            self._tokenizer(stored),
            live_results.SHAPE.validate_python(shape),
            on_progress=progress,
            stop=self._stop,
        )
        return _plain(live_results.TEXT_RACE, found)

    def do_levels(
        self, *, store: str, run: str, runs: list[str], rows: Any, shape: Any
    ) -> dict[str, Any]:
        """live_results.Levels"""
        from finegates_engine.live import results as live_results
        from finegates_engine.live import text as live

        own = self._run(store, run)
        stored = [self._run(store, name) for name in runs]
        folder = _folder(own)
        inputs = self._inputs(own, rows, shape)
        labels = self._class_names(store, own)
        found = live.levels_of_text(stored, folder, inputs, labels, tell=self._tell)
        return _plain(live_results.LEVELS, found)

    def do_effects(self, *, store: str, run: str, rows: Any, shape: Any) -> dict[str, Any]:
        """live_results.Effects"""
        from finegates_engine.live import results as live_results
        from finegates_engine.live import text as live

        stored = self._run(store, run)
        compiled = self._compiled_run(store, stored)
        inputs, labels = self._inputs(stored, rows, shape), self._class_names(store, stored)
        found = live.effects_on_text(compiled, inputs, labels, tell=self._tell)
        return _plain(live_results.EFFECTS, found)

    def do_ablate(
        self, *, store: str, run: str, rows: Any, shape: Any, parts: list[str]
    ) -> dict[str, Any]:
        """live_results.Ablation"""
        from finegates_engine.live import results as live_results
        from finegates_engine.live import text as live

        stored = self._run(store, run)
        compiled = self._compiled_run(store, stored)
        self._tell("Closing it, and random groups of the same size", None)
        inputs, labels = self._inputs(stored, rows, shape), self._class_names(store, stored)
        return _plain(live_results.ABLATION, live.ablate_text(compiled, inputs, labels, parts))

    def do_explain(self, *, store: str, run: str, rows: Any, shape: Any) -> dict[str, Any]:
        """explanation.Explanation"""
        from finegates_engine.explain.diagnosis import explain_run
        from finegates_engine.explain.explanation import EXPLANATION
        from finegates_engine.timing.stored import Setting

        stored = self._run(store, run)
        certified = self._certified(store, stored)
        inputs = self._inputs(stored, rows, shape)
        setting = Setting(
            device=shape["device"],
            threads=shape["threads"],
            batch=shape["batch"] or inputs.rows,
            tokens=inputs.reading.width,
        )

        def progress(what: str, now: Any) -> None:
            half = 0.5 * _share(now.seconds_left, EXPLAIN_SECONDS / 2)
            share = half if what == "Parts" else 0.5 + half
            self._tell(f"Timing, {what.lower()}: round {now.rounds}", share)

        self._tell("Taking the call apart", 0.0)
        found = explain_run(
            certified,
            inputs.stream(),
            setting,
            budget_seconds=EXPLAIN_SECONDS,
            on_progress=progress,
        )
        return _plain(EXPLANATION, found)

    def _run(self, store: str, run: str) -> Any:
        from finegates_engine.runs.store import RunStore

        return RunStore(Path(store)).load(run)

    def _compiled_run(self, store: str, run: Any) -> Any:
        """The compiled run, folded as its certificate says where it has one."""
        from finegates_engine.fold.block import DEFAULT, FoldOptions
        from finegates_engine.parity import read_certificate
        from finegates_engine.prune.compiled import compile_run

        certificate = read_certificate(run)
        options = DEFAULT if certificate is None else FoldOptions(**certificate.options)  # type: ignore[arg-type]
        changed = os.stat(run.folder / "run.json").st_mtime_ns
        key = (store, run.run_id, changed, options)
        if key not in self._compiled:
            self._tell(f"Building the model of {run.run_id}", None)
            while len(self._compiled) >= MOST_RUNS:
                self._compiled.popitem(last=False)
            self._compiled[key] = compile_run(run, _folder(run), options)
        self._compiled.move_to_end(key)
        return self._compiled[key]

    def _certified(self, store: str, run: Any) -> Any:
        """The compiled run with a passing certificate, which is made where there is none.

        Raises UserError with the command that makes one where the run's rows cannot be loaded.
        """
        from finegates_engine.errors import UserError
        from finegates_engine.explain.certified import CertifiedRun
        from finegates_engine.fold.block import FoldOptions
        from finegates_engine.parity import problems, read_certificate, to_bytes
        from finegates_engine.prune.certify import certify, task_of
        from finegates_engine.runs.store import RunStore
        from finegates_engine.timing.stored import passing_certificate

        certificate = read_certificate(run)
        compiled = self._compiled_run(store, run)
        if certificate is None or certificate.kept_hash != compiled.kept_hash:
            self._tell("No certificate yet: reading the run's rows", None)
            try:
                data = task_of(run)
            except UserError as error:
                raise UserError(
                    f"No timing without a certificate that the pruned model gives the gated "
                    f"model's outputs, and none can be made here: {error} "
                    f"Make one: finegates prune {run.run_id} --store {store} --data FOLDER"
                ) from error
            self._tell("Making its certificate: all evaluation rows through both models", None)
            options = FoldOptions()
            if certificate is not None:
                options = FoldOptions(**certificate.options)  # type: ignore[arg-type]
            certificate, _ = certify(compiled, data, options, self._tokenizer(run))
            # A store that cannot be written: the certificate holds for this race.
            with contextlib.suppress(UserError):
                plain = to_bytes(certificate)
                RunStore(Path(store)).add_file(run.run_id, "certificate.json", plain)
        if not certificate.passed:
            if problems(certificate):
                raise UserError(
                    f"The certificate of {run.run_id!r} did not pass, so it is not timed: "
                    f"{'; '.join(problems(certificate))}."
                )
            passing_certificate(run)
        return CertifiedRun(compiled, FoldOptions(**certificate.options))  # type: ignore[arg-type]

    def _inputs(self, run: Any, rows: Any, shape: Any) -> Any:
        from finegates_engine.live.inputs import check_width, read_text

        check_width(_folder(run), shape["tokens"])
        most = run.config.task.max_tokens
        return read_text(_rows(rows), self._tokenizer(run), most=most, tokens=shape["tokens"])

    def _tokenizer(self, run: Any) -> Any:
        from finegates_engine.live.inputs import tokenizer_of

        folder = str(_folder(run))
        if folder not in self._tokenizers:
            self._tokenizers = {folder: tokenizer_of(Path(folder))}
        return self._tokenizers[folder]

    def _class_names(self, store: str, run: Any) -> tuple[str, ...] | None:
        """Class names of a run's task; "class 0", ... where they are not known here."""
        key = (store, run.run_id)
        if key not in self._labels:
            if len(self._labels) > 100:
                self._labels.clear()
            self._labels[key] = _find_class_names(run)
        found: tuple[str, ...] | None = self._labels[key]
        return found


def _find_class_names(run: Any) -> tuple[str, ...] | None:
    from finegates_engine.errors import UserError
    from finegates_engine.prune.certify import task_of
    from finegates_engine.results import probability_columns
    from finegates_engine.tasks import resolve_task

    outputs = len(probability_columns(run.predictions))
    if not outputs:
        return None
    try:
        names = resolve_task(run.config.task).labels or task_of(run).labels
    except UserError:
        names = None
    if names is not None and len(names) == outputs:
        return tuple(names)
    return tuple(f"class {number}" for number in range(outputs))


def _folder(run: Any) -> Path:
    from finegates_engine.backbone import local_folder

    return local_folder(run.config.model.backbone)


def _rows(rows: Any) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(str(text) for text in row) for row in rows)


def _share(seconds_left: float, budget: float) -> float:
    return min(1.0, max(0.0, 1 - seconds_left / budget))


def _plain(adapter: Any, found: Any) -> dict[str, Any]:
    plain: dict[str, Any] = adapter.dump_python(found, mode="json")
    return plain

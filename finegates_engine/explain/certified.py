"""A stored run folded as its certificate says: the models that are timed, never others."""

from dataclasses import dataclass
from pathlib import Path

from finegates_engine.errors import UserError
from finegates_engine.explain.part_counts import mac_ratio
from finegates_engine.fold.block import FoldOptions
from finegates_engine.prune.compiled import CompiledRun, compile_run, fold_model
from finegates_engine.prune.onnx_export import export_onnx, onnx_options
from finegates_engine.runs.stored_run import StoredRun
from finegates_engine.text.format import run_words
from finegates_engine.timing.cells import Contenders
from finegates_engine.timing.stored import DENSE, passing_certificate


@dataclass(frozen=True)
class CertifiedRun:
    """A compiled run that is folded as its certificate says."""

    compiled: CompiledRun
    options: FoldOptions


def as_certified(run: StoredRun, folder: Path) -> CertifiedRun:
    """A run of the store, folded as it was certified. folder: the backbone's local files.

    Raises UserError without a passing certificate, where it is that of other kept indices, and as
    `prune.compile_run` does.
    """
    certificate = passing_certificate(run)
    try:
        options = FoldOptions(**certificate.options)  # type: ignore[arg-type]
    except (TypeError, UserError) as error:
        raise UserError(
            f"The certificate of run {run.run_id!r} has a layout that is none ({error}). "
            f"Make it again: finegates prune {run_words(run.run_id, run.root)}"
        ) from error
    compiled = compile_run(run, folder, options)
    if compiled.kept_hash != certificate.kept_hash:
        raise UserError(
            f"Run {run.run_id!r} has a certificate of other kept indices than it folds to now. "
            f"Make it again: finegates prune {run_words(run.run_id, run.root)}"
        )
    return CertifiedRun(compiled, options)


def contenders(run: StoredRun, folder: Path, scratch: Path) -> Contenders:
    """The models of a run that are timed, rebuilt from the store.

    folder: the backbone's local files. scratch: where ONNX files are written when they are asked
    for. Raises UserError as `as_certified` does.
    """
    certified = as_certified(run, folder)
    compiled = certified.compiled

    def onnx_file(variant: str) -> Path:
        path = scratch / f"{variant}.onnx"
        if not path.exists():
            pruned = fold_model(compiled.gated, onnx_options(certified.options))
            export_onnx(compiled.dense if variant == DENSE else pruned, path)
        return path

    return Contenders(
        dense=compiled.dense,
        pruned=compiled.folded,
        transformers=compiled.plain,
        mac_ratio=lambda tokens: mac_ratio(compiled, tokens),
        onnx_file=onnx_file,
    )

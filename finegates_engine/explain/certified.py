"""A stored run folded as its certificate says: the models that are timed, never others."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import torch

from finegates_engine.errors import UserError
from finegates_engine.explain.part_counts import mac_ratio
from finegates_engine.fold.block import FoldOptions
from finegates_engine.fold.targets import device_options, onnx_options
from finegates_engine.folded import FoldedClassifier
from finegates_engine.parity import RELATIVE_BOUND
from finegates_engine.prune.compiled import CompiledRun, compile_run, fold_model
from finegates_engine.prune.onnx_export import export_onnx
from finegates_engine.runs.stored_run import StoredRun
from finegates_engine.text.format import run_words
from finegates_engine.timing.cells import Contenders
from finegates_engine.timing.stored import DENSE, passing_certificate

_ROWS, _TOKENS = 4, 16
"""Of the tokens on which another layout is held against the certified one."""


@dataclass(frozen=True)
class CertifiedRun:
    """A compiled run that is folded as its certificate says."""

    compiled: CompiledRun
    options: FoldOptions

    def laid_out_for(self, device: str) -> "CertifiedRun":
        """The same model as is fast on a device, where the options leave that open.

        Raises UserError where that gives other outputs than the certified form.
        """
        options = device_options(self.options, device)
        if options == self.options:
            return self
        folded = fold_model(self.compiled.gated, options)
        if folded.spec == self.compiled.folded.spec:
            return self
        _check_same(folded, self.compiled.folded)
        return CertifiedRun(dataclasses.replace(self.compiled, folded=folded), options)


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


def contenders(run: StoredRun, folder: Path, scratch: Path, *, device: str = "cpu") -> Contenders:
    """The models of a run that are timed, rebuilt from the store.

    folder: the backbone's local files. device: where the pruned one is to be fast. scratch: where
    ONNX files are written when they are asked for. Raises UserError as `as_certified` does.
    """
    certified = as_certified(run, folder).laid_out_for(device)
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


@torch.inference_mode()
def _check_same(folded: FoldedClassifier, certified: FoldedClassifier) -> None:
    ids = torch.arange(_ROWS * _TOKENS).view(_ROWS, _TOKENS) % certified.spec.vocabulary
    expected = certified(ids)
    difference = float((folded(ids) - expected).abs().max())
    bound = RELATIVE_BOUND["torch"] * max(1.0, float(expected.abs().max()))
    if not difference <= bound:
        raise UserError(
            f"Laid out for this device, the model's logits differ from the certified form's by "
            f"{difference:.2g}, at most {bound:.2g} is allowed. Please report this."
        )

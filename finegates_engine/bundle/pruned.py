"""A stored run to its certificate and a bundle: a folder that holds all its smaller model needs."""

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from finegates_engine.bundle.compatible import (
    check_compatible,
    compatible_network,
    encoder_weights_in,
    load_compatible,
    save_compatible,
)
from finegates_engine.bundle.files import (
    write_expected,
    write_folded,
    write_kept,
    write_manifest,
    write_tokenizer,
)
from finegates_engine.bundle.folder import check_target, new_folder, said_plainly
from finegates_engine.bundle.model_card import CardFacts, base_licence, model_card
from finegates_engine.data.load import TaskData
from finegates_engine.errors import UserError
from finegates_engine.files import Damaged
from finegates_engine.fold.block import DEFAULT, FoldOptions
from finegates_engine.fold.targets import onnx_options
from finegates_engine.folded import load_model
from finegates_engine.folded.classifier import WEIGHTS_FILE
from finegates_engine.gates.model import TextClassifier
from finegates_engine.gates.sparsity import encoder_shape
from finegates_engine.parity import (
    Certificate,
    problems,
    to_bytes,
    with_onnx,
    with_transformers,
)
from finegates_engine.prune.certify import Logits, certify, parity_of
from finegates_engine.prune.compiled import CompiledRun, compile_run, fold_model
from finegates_engine.prune.onnx_export import (
    ONNX_FILE,
    check_onnx,
    export_onnx,
    predict_onnx,
)
from finegates_engine.runs.stored_run import StoredRun
from finegates_engine.timing.stored import TimingFile, fold_hash, read_timings
from finegates_engine.train.evaluation import predict

CARD_FILE, CERTIFICATE_FILE = "README.md", "certificate.json"


@dataclass(frozen=True, kw_only=True)
class BundleOptions:
    """What is made of a run."""

    fold: FoldOptions = DEFAULT
    onnx: bool = False
    """Also the folded model as ONNX, certified in ONNX Runtime."""

    compatible: bool = False
    """In the form that transformers loads by itself, instead of the folded one."""

    @property
    def form(self) -> Literal["folded", "transformers"]:
        """Of model.safetensors."""
        return "transformers" if self.compatible else "folded"


@dataclass(frozen=True)
class Pruned:
    """What `prune_run` has made."""

    certificate: Certificate
    stored_weight_fraction: float
    """Weights in the blocks of the form that was asked for, zeros included, over the dense."""
    timings: Mapping[str, TimingFile]
    """What is known of the folded model's latency: fingerprint of a machine to timings."""
    files: Mapping[str, int]
    """Files of the bundle's folder itself, to their bytes; empty where none was asked for."""


def prune_run(
    run: StoredRun,
    backbone: Path,
    data: TaskData,
    *,
    options: BundleOptions,
    target: Path | None,
    force: bool = False,
    keep: Callable[[Certificate], None] = lambda _: None,
    tell: Callable[[str], None] = lambda _: None,
) -> Pruned:
    """Fold a run, certify it over all its evaluation rows, and write a bundle.

    backbone: its local files. data: the rows it was scored on (`certify.task_of`). target: the
    bundle's folder, which appears whole or not at all; None: no bundle. force: an older bundle
    there is replaced. keep: is given the certificate before the bundle appears. tell: hears what
    is being done. Raises UserError where the run cannot be folded, where a form is not within its
    bounds of the gated model, and where the bundle cannot be written.
    """
    from transformers import AutoTokenizer

    _check(run, options, target, force=force)
    tell("Folding the model")
    compiled = _compiled(run, backbone, options.fold)
    tokenizer = AutoTokenizer.from_pretrained(backbone, trust_remote_code=False)
    tell("Comparing it with the gated model on all evaluation rows")
    certificate, gated = certify(compiled, data, options.fold, tokenizer)
    if not certificate.passed:
        keep(certificate)
        raise _failed(certificate)
    with _workplace(target, force=force) as folder, said_plainly(target or folder):
        forms = _Forms(compiled, data, gated, backbone, folder, lasting=target is not None)
        full, stored = forms.certified(certificate, options, keep, tell)
        timings = _timings(run, full, tell)
        if target is not None:
            tell("Writing the bundle")
            facts = _facts(forms, full, options, stored, timings)
            forms.finish(facts)
        files = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    return Pruned(full, stored, timings, files if target is not None else {})


@dataclass(frozen=True)
class _Forms:
    """The model's forms in the folder where they are made."""

    compiled: CompiledRun
    data: TaskData
    gated: Logits
    backbone: Path
    folder: Path
    lasting: bool
    """The folder becomes a bundle, and is not thrown away."""

    def certified(
        self,
        certificate: Certificate,
        options: BundleOptions,
        keep: Callable[[Certificate], None],
        tell: Callable[[str], None],
    ) -> tuple[Certificate, float]:
        """Write what was asked for; the certificate with it, and the share of weights stored."""
        full, stored = certificate, certificate.stored_weight_fraction
        try:
            if options.compatible:
                tell("Writing the form that transformers loads, and comparing it")
                full, stored = self._compatible(full, options.fold.round_to)
            elif self.lasting:
                write_folded(self.folder, self.compiled, self.data.labels)
            if options.onnx and full.passed:
                tell("Exporting to ONNX, and comparing it in ONNX Runtime")
                full = self._onnx(full, options.fold)
            if not full.passed:
                raise _failed(full)
        except Exception:
            keep(certificate)  # that of the folded model holds all the same
            raise
        keep(full)
        return full, stored

    def finish(self, facts: CardFacts) -> None:
        """All files beside the weights."""
        run, tokenizer = self.compiled.run, self._tokenizer()
        write_tokenizer(self.folder, tokenizer, self.compiled.folded.most_tokens)
        write_kept(self.folder, self.compiled)
        (self.folder / CERTIFICATE_FILE).write_bytes(to_bytes(facts.certificate))
        pair = len(self.data.spec.text_fields) == 2
        write_expected(self.folder, self._reloaded(facts.form), tokenizer, pair=pair)
        (self.folder / CARD_FILE).write_text(model_card(facts), encoding="utf-8")
        write_manifest(self.folder, run.run_id, facts.form)

    def _compatible(self, certificate: Certificate, round_to: int) -> tuple[Certificate, float]:
        gated = self.compiled.gated
        network = compatible_network(gated, labels=self.data.labels, round_to=round_to)
        save_compatible(network, self.folder)
        loaded = load_compatible(self.folder, outputs=gated.outputs)
        parity = parity_of(
            "transformers",
            lambda rows, pad_id: predict(loaded, rows, pad_id),
            self.compiled.run,
            self.data,
            self._tokenizer(),
            self.gated,
        )
        stored = encoder_weights_in(loaded) / encoder_shape(gated).encoder_weights
        return with_transformers(certificate, parity), stored

    def _onnx(self, certificate: Certificate, fold: FoldOptions) -> Certificate:
        path = self.folder / ONNX_FILE
        export_onnx(fold_model(self.compiled.gated, onnx_options(fold)), path)
        parity = parity_of(
            "onnx",
            lambda rows, pad_id: predict_onnx(path, rows, pad_id),
            self.compiled.run,
            self.data,
            self._tokenizer(),
            self.gated,
        )
        return with_onnx(certificate, parity)

    def _reloaded(self, form: str) -> Callable[[Tensor, Tensor, Tensor | None], Tensor]:
        if form == "folded":
            return load_model(self.folder)
        loaded: TextClassifier = load_compatible(self.folder, outputs=self.compiled.gated.outputs)
        return loaded

    def _tokenizer(self) -> Any:
        """As the backbone has it; calling one with options changes what it saves."""
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(self.backbone, trust_remote_code=False)


def _check(run: StoredRun, options: BundleOptions, target: Path | None, *, force: bool) -> None:
    """All that can be said before anything is computed."""
    if target is not None:
        check_target(target, force=force)
    if options.compatible:
        check_compatible(run.config.model.pooling, run.run_id)
    if options.onnx:
        check_onnx()


def _compiled(run: StoredRun, backbone: Path, options: FoldOptions) -> CompiledRun:
    try:
        return compile_run(run, backbone, options)
    except UserError:
        raise
    except (ValueError, KeyError) as error:
        raise UserError(
            f"Run {run.run_id!r} cannot be folded: {error}. Choose another run, or train it again."
        ) from error


def _failed(certificate: Certificate) -> UserError:
    return UserError(
        f"Run {certificate.run_id!r} is not written: {'; '.join(problems(certificate))}. "
        "A folded model must give the outputs of the gated one; please report this."
    )


def _timings(
    run: StoredRun, certificate: Certificate, tell: Callable[[str], None]
) -> dict[str, TimingFile]:
    try:
        found = read_timings(run)
    except Damaged as error:
        tell(f"Timings are left out: {error}")
        return {}
    except UserError:  # no certificate could be kept in the store
        return {}
    return {name: file for name, file in found.items() if file.fold == fold_hash(certificate)}


def _facts(
    forms: _Forms,
    certificate: Certificate,
    options: BundleOptions,
    stored: float,
    timings: Mapping[str, TimingFile],
) -> CardFacts:
    onnx = forms.folder / ONNX_FILE
    return CardFacts(
        run=forms.compiled.run,
        task=forms.data.spec,
        train_rows=len(forms.data.train),
        certificate=certificate,
        form=options.form,
        licence=base_licence(forms.backbone),
        model_bytes=(forms.folder / WEIGHTS_FILE).stat().st_size,
        onnx_bytes=onnx.stat().st_size if options.onnx else None,
        stored_weight_fraction=stored,
        timings=timings,
    )


@contextlib.contextmanager
def _workplace(target: Path | None, *, force: bool) -> Iterator[Path]:
    """The bundle's folder before it has its name, or one that is thrown away."""
    if target is not None:
        with new_folder(target, force=force) as folder:
            yield folder
        return
    folder = Path(tempfile.mkdtemp(prefix="finegates-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)

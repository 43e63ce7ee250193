"""Changes that may make a pruned model faster, each as a call that is timed against it as it is."""

import dataclasses
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from finegates_engine.errors import UserError
from finegates_engine.explain.other_sizes import (
    filled,
    narrowed,
    respecified,
    rows,
    uniform,
    whole_heads,
)
from finegates_engine.fold.block import ROUND_TO, FoldOptions
from finegates_engine.folded import FoldedClassifier
from finegates_engine.prune.compiled import CompiledRun, fold_model
from finegates_engine.timing.backends import Call, Unavailable, onnx_session, placed
from finegates_engine.timing.stored import Setting

BATCH_FACTOR = 8
MOST_TOKENS = 4096
"""Of a call with a larger batch: longer ones gain nothing more, and take seconds."""

_FOLDS: tuple[tuple[str, Any, str], ...] = (
    *(("round_to", size, f"Inner widths in multiples of {size}") for size in ROUND_TO),
    ("heads", "padded", "Zeros in place of spreading heads"),
    ("heads", "spread", "Heads' rows spread after the product"),
    ("residual", "zeros", "Zeros in closed residual dimensions"),
    ("residual", "gather", "Closed residual dimensions left out"),
)
"""Field of FoldOptions, its value, and what that does."""


@dataclass(frozen=True)
class Change:
    """One change of the pruned model, or of how it is called."""

    name: str
    what: str
    how: str
    call: Call
    same_outputs: bool
    """Whether the run itself can be changed so; otherwise it must be trained again."""

    factor: float = 1.0
    """Rows of its call, as a multiple of those of the call as it is."""

    per: Literal["call", "row"] = "call"


@dataclass(frozen=True)
class Situation:
    """A pruned model in one setting, and what is needed to change it."""

    compiled: CompiledRun
    options: FoldOptions
    """Those it was folded with."""

    setting: Setting
    inputs: Callable[[int, int], tuple[Tensor, Tensor]]
    """(batch, tokens) -> token ids and their mask on the device."""

    def on_device(self, model: FoldedClassifier) -> FoldedClassifier:
        """The model where this setting runs, with the pruned model's table of words."""
        model.words = self.compiled.folded.words
        if self.setting.device == "cpu":
            return model
        found = placed(model, self.setting.device, self.setting.precision)
        assert isinstance(found, FoldedClassifier)
        return found

    def calling(self, model: FoldedClassifier) -> Call:
        """A call of a model at this setting's shape."""
        ids, mask = self.inputs(self.setting.batch, self.setting.tokens)
        moved = self.on_device(model)
        return lambda: moved(ids, mask)


def changes(now: Situation) -> tuple[list[Change], dict[str, str]]:
    """The changes that apply, and for others their name with the reason."""
    found = [*_other_folds(now), *_other_gates(now)]
    left_out: dict[str, str] = {}
    for make in (_larger_batch, _shorter_rows, _other_threads):
        try:
            found.append(make(now))
        except Unavailable as reason:
            left_out[make.__name__.strip("_").replace("_", " ")] = str(reason)
    return found, left_out


def _other_folds(now: Situation) -> Iterator[Change]:
    """The same run, laid out in another way: same outputs."""
    seen = {now.compiled.folded.spec}
    for field, value, words in _FOLDS:
        options = dataclasses.replace(now.options, **{field: value})
        model = fold_model(now.compiled.gated, options)
        if model.spec in seen:
            continue
        seen.add(model.spec)
        yield Change(
            name=f"{field} {value}",
            what=words,
            how=f"prune again with --{field.replace('_', '-')} {value}",
            call=now.calling(model),
            same_outputs=True,
        )


def _other_gates(now: Situation) -> Iterator[Change]:
    """As many weights left, in another form: what another training could reach."""
    spec = now.compiled.folded.spec
    dense = now.compiled.dense.spec
    config = now.compiled.run.config.gates
    if config.axes == "all":
        share = now.compiled.run.record.ladder.removed_weight_fraction or 0.0
        inner = respecified(dense, lambda block, _: narrowed(block, dense, 1 - share))
        yield Change(
            name="inner gates",
            what="As many weights gone, by inner dimensions",
            how="train with --axes inner",
            call=now.calling(filled(inner)),
            same_outputs=False,
        )
    if any(block.heads * block.width * 3 > rows(block) for block in spec.blocks):
        alike = respecified(spec, lambda block, _: uniform(block, spec))
        whole = respecified(spec, lambda block, full: whole_heads(block, full, spec), dense)
        yield Change(
            name="uniform heads",
            what="As many rows in every head of a layer",
            how="train with --head-step 8",
            call=now.calling(filled(alike)),
            same_outputs=False,
        )
        yield Change(
            name="whole heads",
            what="The same rows in heads kept or gone whole",
            how="train with --head-gates",
            call=now.calling(filled(whole)),
            same_outputs=False,
        )


def _larger_batch(now: Situation) -> Change:
    setting = now.setting
    batch = setting.batch * BATCH_FACTOR
    if batch * setting.tokens > MOST_TOKENS:
        raise Unavailable(f"{setting.batch} rows already fill the machine")
    ids, mask = now.inputs(batch, setting.tokens)
    model = now.on_device(now.compiled.folded)
    return Change(
        name="larger batch",
        what=f"{batch} rows a call",
        how=f"--batch {batch}",
        call=lambda: model(ids, mask),
        same_outputs=True,
        factor=BATCH_FACTOR,
        per="row",
    )


def _shorter_rows(now: Situation) -> Change:
    setting = now.setting
    tokens = setting.tokens // 2
    if tokens < 2:
        raise Unavailable("rows are as short as they can be")
    ids, mask = now.inputs(setting.batch, tokens)
    model = now.on_device(now.compiled.folded)
    return Change(
        name="shorter rows",
        what=f"{tokens} tokens a row, for shorter texts",
        how="pad to the longest text",
        call=lambda: model(ids, mask),
        same_outputs=True,
    )


def _other_threads(now: Situation) -> Change:
    setting = now.setting
    if setting.device != "cpu":
        raise Unavailable("threads do not matter on a GPU")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = 1 if setting.threads > 1 else min(cores or 1, 2)
    if threads == setting.threads:
        raise Unavailable("there is one core")
    ids, mask = now.inputs(setting.batch, setting.tokens)
    model = now.on_device(now.compiled.folded)

    def call() -> None:
        torch.set_num_threads(threads)
        try:
            model(ids, mask)
        finally:
            torch.set_num_threads(setting.threads)

    return Change(
        name="threads",
        what="1 thread" if threads == 1 else f"{threads} threads",
        how=f"--threads {threads}",
        call=call,
        same_outputs=True,
    )


def onnx_change(now: Situation) -> Change:
    """The pruned model in ONNX Runtime. Raises Unavailable where it cannot be made or run."""
    import tempfile
    from pathlib import Path

    from finegates_engine.prune.onnx_export import ONNX_FILE, export_onnx

    if now.setting.device != "cpu":
        raise Unavailable("ONNX Runtime is timed on the CPU only")
    ids, mask = now.inputs(now.setting.batch, now.setting.tokens)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ONNX_FILE
        try:
            export_onnx(now.compiled.folded, path)
        except UserError as error:
            raise Unavailable(str(error)) from error
        session = onnx_session(path, now.setting.threads)
    feeds = {"input_ids": ids.numpy(), "attention_mask": mask.numpy()}
    feeds["token_type_ids"] = torch.zeros_like(ids).numpy()
    return Change(
        name="onnx",
        what="ONNX Runtime in place of PyTorch",
        how="--onnx",
        call=lambda: session(feeds),
        same_outputs=True,
    )

"""Changes that may make a pruned model faster, each as a call that is timed against it as it is."""

import dataclasses
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from finegates_engine.errors import UserError
from finegates_engine.fold.block import ROUND_TO, FoldOptions
from finegates_engine.fold.stored_matrix import rounded_up
from finegates_engine.folded import FoldedClassifier, ModelSpec
from finegates_engine.folded.layers import BlockSpec, MatrixSpec
from finegates_engine.prune.compiled import CompiledRun, fold_model
from finegates_engine.timing.backends import Call, Unavailable, onnx_session, placed
from finegates_engine.timing.stored import Setting

BATCH_FACTOR = 8
MOST_TOKENS = 4096
"""Of a call with a larger batch: longer ones gain nothing more, and take seconds."""

_MULTIPLE = 8  # of widths that a run could be trained to

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
        inner = _respecified(dense, lambda block, _: _narrowed(block, dense, 1 - share))
        yield Change(
            name="inner gates",
            what="As many weights gone, by inner dimensions",
            how="train with --axes inner",
            call=now.calling(_filled(inner)),
            same_outputs=False,
        )
    if any(block.heads * block.width * 3 > _rows(block) for block in spec.blocks):
        uniform = _respecified(spec, lambda block, _: _uniform(block, spec))
        whole = _respecified(spec, lambda block, full: _whole_heads(block, full, spec), dense)
        yield Change(
            name="uniform heads",
            what="As many rows in every head of a layer",
            how="train other gates",
            call=now.calling(_filled(uniform)),
            same_outputs=False,
        )
        yield Change(
            name="whole heads",
            what="The same rows in heads kept or gone whole",
            how="train with --head-gates",
            call=now.calling(_filled(whole)),
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


def _respecified(
    spec: ModelSpec,
    change: Callable[[BlockSpec, BlockSpec], BlockSpec],
    dense: ModelSpec | None = None,
) -> ModelSpec:
    full = (dense or spec).blocks
    blocks = tuple(change(block, other) for block, other in zip(spec.blocks, full, strict=True))
    return dataclasses.replace(spec, blocks=blocks)


def _rows(block: BlockSpec) -> int:
    return block.qkv.rows


def _uniform(block: BlockSpec, spec: ModelSpec) -> BlockSpec:
    """As many heads, each with the mean of their rows, rounded up."""
    if not block.heads:
        return block
    width = rounded_up(-(-_rows(block) // (3 * block.heads)), _MULTIPLE)
    return _with_heads(block, spec, block.heads, min(width, block.width))


def _whole_heads(block: BlockSpec, full: BlockSpec, spec: ModelSpec) -> BlockSpec:
    """As many heads of full width as hold its rows, at least one."""
    heads = max(1, round(_rows(block) / (3 * full.width)))
    return _with_heads(block, spec, min(heads, full.heads), full.width) if block.heads else block


def _narrowed(block: BlockSpec, spec: ModelSpec, share: float) -> BlockSpec:
    """Heads and FFN of a dense block cut to a share of their widths, rounded."""
    ffn = max(_MULTIPLE, rounded_up(int(block.ffn * share), 2 * _MULTIPLE))
    width = min(block.width, max(_MULTIPLE, rounded_up(int(block.width * share), _MULTIPLE)))
    narrow = _with_heads(block, spec, block.heads, width)
    return dataclasses.replace(
        narrow,
        ffn=ffn,
        ffn_in=_plain(ffn * (2 if spec.kind.gated else 1), spec.kind.hidden),
        ffn_out=_plain(spec.kind.hidden, ffn),
    )


def _with_heads(block: BlockSpec, spec: ModelSpec, heads: int, width: int) -> BlockSpec:
    """The block with so many heads of one width, each with a key and value of its own."""
    return dataclasses.replace(
        block,
        heads=heads,
        key_value_heads=heads,
        width=width,
        qkv=_plain(3 * heads * width, spec.kind.hidden),
        attention_output=_plain(spec.kind.hidden, heads * width),
    )


def _plain(rows: int, columns: int) -> MatrixSpec:
    return MatrixSpec(rows=rows, columns=columns, bias=True)


def _filled(spec: ModelSpec) -> FoldedClassifier:
    """A model of these sizes with random weights: time depends on sizes alone."""
    model = FoldedClassifier(spec)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for value in model.parameters():
            value.copy_(0.05 * torch.randn(value.shape, generator=generator))
    return model

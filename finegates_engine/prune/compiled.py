"""A gated model, or a run of the store, to a smaller model that gives the same outputs."""

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from finegates_engine.fold.block import DEFAULT, FoldOptions, fold_block
from finegates_engine.fold.dimensions import kept_dimensions
from finegates_engine.fold.stored_matrix import GatedBlock, GatedMatrix
from finegates_engine.folded import FoldedClassifier, ModelSpec
from finegates_engine.folded.layers import BlockKind, Matrix
from finegates_engine.gates.layers import GatedLinear
from finegates_engine.gates.model import TextClassifier, build_model
from finegates_engine.gates.sparsity import encoder_shape
from finegates_engine.runs.stored_run import StoredRun
from finegates_engine.train.cell import rebuild


@dataclass(frozen=True)
class CompiledRun:
    """A run's model in the forms that are compared with each other, all in evaluation, on CPU."""

    run: StoredRun
    gated: TextClassifier
    """The model as it was trained, with its gates: what `folded` must agree with."""
    folded: FoldedClassifier
    """The smaller model."""
    dense: FoldedClassifier
    """Same head and pooling, biases and updates, nothing removed, in the same fused form."""
    plain: TextClassifier
    """Hugging Face's own module with a head and pooling of the same sizes."""
    kept_hash: str
    """SHA-256 of the kept indices."""

    @property
    def stored_weight_fraction(self) -> float:
        """Weights in the blocks of `folded`, over those of the dense encoder."""
        return stored_weights(self.folded) / encoder_shape(self.gated).encoder_weights


def compile_run(run: StoredRun, folder: Path, options: FoldOptions = DEFAULT) -> CompiledRun:
    """Fold the model of a stored run. folder: the backbone's local files.

    Raises UserError for a run without gates, or other base weights than it was trained on.
    """
    gated = rebuild(run, folder)
    plain = build_model(folder, run.config.model, outputs=gated.outputs, seed=run.config.seed)
    return CompiledRun(
        run=run,
        gated=gated,
        folded=fold_model(gated, options),
        dense=fold_model(gated, options, all_open=True),
        plain=plain.eval(),
        kept_hash=hash_of_kept(gated),
    )


@torch.no_grad()
def fold_model(
    model: TextClassifier,
    options: FoldOptions = DEFAULT,
    *,
    all_open: bool = False,
    dtype: torch.dtype = torch.float32,
) -> FoldedClassifier:
    """The smaller model with the outputs of a gated one in evaluation.

    all_open: as if every gate were 1: the dense model in the same form. The result is on the CPU.
    """
    blocks = gated_blocks(model)
    if all_open:
        blocks = [{role: _opened(matrix) for role, matrix in block.items()} for block in blocks]
    return assemble(model, blocks, options, dtype)


def assemble(
    model: TextClassifier, blocks: Sequence[GatedBlock], options: FoldOptions, dtype: torch.dtype
) -> FoldedClassifier:
    """A folded model from gated blocks and the rest of `model`: embeddings, norms, head."""
    shape, kind = encoder_shape(model), block_kind(model)
    folded = [fold_block(shape, kind, block, options, dtype=dtype) for block in blocks]
    base, architecture = model.base_model, model.architecture
    tables = {
        name: cast(nn.Embedding, base.get_submodule(path))
        for name, path in architecture.embeddings.items()
        if name != "norm"
    }
    words = tables["words"]
    spec = ModelSpec(
        kind=kind,
        blocks=tuple(block.spec for block in folded),
        vocabulary=words.num_embeddings,
        positions=tables["positions"].num_embeddings,
        types=tables["types"].num_embeddings if "types" in tables else 0,
        padding_id=words.padding_idx if architecture.padded_positions else None,
        pooling="mean" if model.head is not None else architecture.pooler[1],
        outputs=model.outputs,
    )
    result = FoldedClassifier(spec).to(dtype)
    result.blocks = nn.ModuleList(folded)
    for name, table in tables.items():
        cast(nn.Embedding, getattr(result, name)).weight.copy_(table.weight)
    _copy(result.embedding_norm, base.get_submodule(architecture.embeddings["norm"]))
    for block, source in zip(folded, model.blocks(), strict=True):
        for name, path in architecture.norms.items():
            _copy(cast(nn.Module, getattr(block, name)), source.get_submodule(path))
    if model.head is not None:
        _copy(result.classifier, model.head)
    else:
        _copy(cast(nn.Linear, result.pooler), model.network.get_submodule(architecture.pooler[0]))
        _copy(result.classifier, model.network.get_submodule(architecture.classifier))
    return result.requires_grad_(False).eval()


def gated_blocks(model: TextClassifier) -> list[GatedBlock]:
    """Every matrix of every block with the values of its gates in evaluation, fp64 on the CPU."""
    was_training = model.training
    model.eval()
    model._set_gates()
    model.train(was_training)
    paths = model.architecture.modules
    return [
        {role: _gated_matrix(block.get_submodule(path)) for role, path in paths.items()}
        for block in model.blocks()
    ]


def block_kind(model: TextClassifier) -> BlockKind:
    """What the blocks of a supported encoder share."""
    config = cast(Any, model.network.config)
    block, architecture = model.blocks()[0], model.architecture
    norm = cast(nn.LayerNorm, block.get_submodule(architecture.norms["ffn_norm"]))
    hidden = model.dimension("hidden")
    return BlockKind(
        hidden=hidden,
        activation=str(getattr(config, architecture.fields["activation"])),
        head_size=hidden // model.dimension("heads"),
        norm_eps=norm.eps,
    )


def hash_of_kept(model: TextClassifier) -> str:
    """SHA-256 over the inner dimensions that stay in each block, heads first."""
    digest, shape = hashlib.sha256(), encoder_shape(model)
    for block in gated_blocks(model):
        kept = kept_dimensions(shape, {role: matrix.masks() for role, matrix in block.items()})
        for field in dataclasses.fields(kept):
            digest.update(getattr(kept, field.name).tobytes())
    return digest.hexdigest()


def stored_weights(model: FoldedClassifier) -> int:
    """Weights in the matrices of the blocks, zeros that fill them up included."""
    return sum(
        module.weight.numel()
        for block in model.blocks
        for module in block.modules()
        if isinstance(module, Matrix)
    )


def _gated_matrix(module: nn.Module) -> GatedMatrix:
    if not isinstance(module, GatedLinear):
        linear = cast(nn.Linear, module)
        return GatedMatrix(_exact(linear.weight), _maybe(linear.bias), None, None)
    weight = _exact(module.base_layer.weight)
    down, up = module.low_rank_down, module.low_rank_up
    if down is not None and up is not None:
        weight = weight + module.scale * (_exact(up) @ _exact(down))
    bias = _maybe(module.base_layer.bias)
    return GatedMatrix(weight, bias, _maybe(module.row_gate), _maybe(module.column_gate))


def _opened(matrix: GatedMatrix) -> GatedMatrix:
    return dataclasses.replace(matrix, rows=None, columns=None)


def _exact(values: Tensor) -> Tensor:
    return values.detach().cpu().double()


def _maybe(values: Tensor | None) -> Tensor | None:
    return None if values is None else _exact(values)


def _copy(target: nn.Module, source: nn.Module) -> None:
    """Weight and bias of a norm or linear layer."""
    target.load_state_dict(source.state_dict())

"""A gated model as one that transformers loads by itself: only its FFN is smaller."""

import contextlib
import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from finegates_engine.architectures import architecture_of
from finegates_engine.errors import UserError
from finegates_engine.fold.block import FoldOptions
from finegates_engine.fold.stored_matrix import GatedMatrix, rounded_up
from finegates_engine.gates.layers import GatedLinear
from finegates_engine.gates.model import TextClassifier
from finegates_engine.prune.compiled import fold_model, gated_blocks

ATTENTION = ("query", "key", "value", "attention_output")


def check_compatible(pooling: str, run_id: str) -> None:
    """Raises UserError for a model that no class of transformers can hold."""
    if pooling != "model":
        raise UserError(
            f"Run {run_id!r} averages over tokens before its classifier (pooling {pooling!r}). "
            "AutoModelForSequenceClassification has no such model, only that with the backbone's "
            "own pooler, so --compatible cannot write it. Leave --compatible out and load the "
            "bundle with the finegates_model folder in it, or train with --pooling model."
        )


@torch.no_grad()
def compatible_network(
    model: TextClassifier, *, labels: Sequence[str] | None, round_to: int = 16
) -> nn.Module:
    """A Hugging Face sequence classifier with the outputs of a gated model in evaluation.

    Attention keeps all heads and dimensions, with zeros for closed ones; all layers have the FFN
    width of the widest, rounded up to a multiple of `round_to` and filled with zeros. labels:
    names of the classes; None: a score, or not known. fp32, on the CPU. Raises UserError for a
    model with mean pooling.
    """
    check_compatible(model.pooling, "this one")
    folded = fold_model(model, FoldOptions(round_to=1, residual="zeros"))
    widest = max(block.ffn for block in folded.spec.blocks)
    width = min(rounded_up(max(widest, 1), round_to), model.dimension("ffn"))
    config = _config(model, width, labels)
    with torch.random.fork_rng(devices=[]):
        network = type(model.network)(config)
    result = TextClassifier(
        network, model.architecture, pooling=model.pooling, outputs=model.outputs
    )
    _copy_rest(model, network)
    paths = model.architecture.modules
    for target, source, block in zip(
        result.blocks(), gated_blocks(model), folded.blocks, strict=True
    ):
        for role in ATTENTION:
            matrix = source[role]
            _set(target.get_submodule(paths[role]), matrix.folded(), _bias(matrix))
        ffn = cast(Any, block).ffn
        into = target.get_submodule(paths["ffn_in"])
        if cast(Any, block).spec.ffn:
            _set(into, ffn.input.weight, ffn.input.bias)
        else:
            _set(into, None, None)
        weight = ffn.output.weight if cast(Any, block).spec.ffn else None
        _set(target.get_submodule(paths["ffn_out"]), weight, ffn.output.bias)
    return network.eval()


def save_compatible(network: nn.Module, folder: Path) -> None:
    """Write config.json and model.safetensors as transformers does. Raises OSError."""
    with _quiet():
        cast(Any, network).save_pretrained(folder)


def load_compatible(folder: Path, *, outputs: int) -> TextClassifier:
    """What transformers makes of a folder by itself, in evaluation on the CPU, fp32."""
    from transformers import AutoModelForSequenceClassification

    with _quiet():
        network = AutoModelForSequenceClassification.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
        )
    architecture = architecture_of(network.config.model_type)
    return TextClassifier(network, architecture, pooling="model", outputs=outputs).eval()


def encoder_weights_in(model: TextClassifier) -> int:
    """Weights in the Linear layers of the blocks."""
    return sum(
        cast(Tensor, block.get_submodule(path).weight).numel()
        for block in model.blocks()
        for path in model.architecture.modules.values()
    )


def _config(model: TextClassifier, width: int, labels: Sequence[str] | None) -> Any:
    config = copy.deepcopy(cast(Any, model.network.config))
    setattr(config, model.architecture.fields["ffn"], width)
    config.name_or_path = ""  # it may be a folder of this machine
    config.dtype = torch.float32
    if model.outputs == 1:
        config.num_labels, config.problem_type = 1, "regression"
    else:
        names = list(labels or (f"LABEL_{index}" for index in range(model.outputs)))
        config.id2label = dict(enumerate(names))
        config.label2id = {name: index for index, name in enumerate(names)}
        config.problem_type = "single_label_classification"
    return config


def _copy_rest(model: TextClassifier, network: nn.Module) -> None:
    """All but the matrices of the blocks: embeddings, norms, pooler and classifier."""
    inside = {
        id(parameter)
        for block in model.blocks()
        for path in model.architecture.modules.values()
        for parameter in block.get_submodule(path).parameters()
    }
    rest = {
        name: value
        for name, value in model.network.state_dict(keep_vars=True).items()
        if id(value) not in inside
    }
    unknown = network.load_state_dict(rest, strict=False).unexpected_keys
    assert not unknown, unknown


def _bias(matrix: GatedMatrix) -> Tensor | None:
    return None if matrix.bias is None else matrix.folded_bias()


def _set(layer: nn.Module, weight: Tensor | None, bias: Tensor | None) -> None:
    """Set a layer's values, the rest of it filled up with zeros. None: zeros alone."""
    assert not isinstance(layer, GatedLinear)
    for name, values in (("weight", weight), ("bias", bias)):
        target = cast(Tensor, getattr(layer, name))
        if target is None:
            assert values is None or not values.any()
            continue
        target.zero_()
        if values is not None:
            target[tuple(slice(size) for size in values.shape)] = values.to(target.dtype)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the progress bars of transformers, which are for files of other sizes."""
    from transformers import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()

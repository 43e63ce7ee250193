"""The files of a bundle, beside its card: weights, sizes, tokenizer, kept indices, expected logits.

Nothing of the rows that a run was trained or scored on is in them.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from finegates_engine import folded as folded_package
from finegates_engine.bundle.folder import BUNDLE_FORMAT, MANIFEST_FILE
from finegates_engine.fold.dimensions import kept_dimensions
from finegates_engine.folded import FoldedClassifier, load_model, spec_to_json
from finegates_engine.folded.check import CONFIG_FILE, EXPECTED_FILE
from finegates_engine.folded.classifier import SPEC_FILE, WEIGHTS_FILE
from finegates_engine.gates.sparsity import encoder_shape
from finegates_engine.prune.compiled import CompiledRun, gated_blocks

LOADER_FOLDER = "finegates_model"
KEPT_FILE = "kept.json"

SENTENCES = (
    "The keys to the old cabinet are on the table.",
    "I would not go there again, even for a free lunch!",
    "A quiet morning, warm bread, and nothing to do.",
    "Nobody in the room were able to say why the lights went out, which were odd.",
)
"""Made up for `expected.json`; of no data set."""


def write_folded(folder: Path, compiled: CompiledRun, labels: Sequence[str] | None) -> None:
    """Weights, sizes and loader of the folded model, as it was certified, to the bit."""
    from safetensors.torch import save_file

    model = compiled.folded
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(state, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    write_json(folder / SPEC_FILE, spec_to_json(model.spec))
    write_json(folder / CONFIG_FILE, _config(compiled, labels))
    source = Path(folded_package.__file__).parent
    (folder / LOADER_FOLDER).mkdir()
    for file in sorted(source.glob("*.py")):
        shutil.copyfile(file, folder / LOADER_FOLDER / file.name)
    written = load_model(folder).state_dict()
    assert all(torch.equal(value, written[name]) for name, value in state.items())


def write_tokenizer(folder: Path, tokenizer: Any, most_tokens: int) -> None:
    """The backbone's tokenizer, which cuts rows to what the model reads when asked to."""
    tokenizer.model_max_length = min(tokenizer.model_max_length, most_tokens)
    tokenizer.save_pretrained(folder)


def write_kept(folder: Path, compiled: CompiledRun) -> None:
    """Which inner dimensions of each block stay, and the SHA-256 of their masks."""
    shape = encoder_shape(compiled.gated)
    layers = []
    for block in gated_blocks(compiled.gated):
        kept = kept_dimensions(shape, {role: matrix.masks() for role, matrix in block.items()})
        layers.append(
            {
                "heads": np.flatnonzero(kept.heads).tolist(),
                "query_key": [np.flatnonzero(head).tolist() for head in kept.query_key],
                "value": [np.flatnonzero(head).tolist() for head in kept.value],
                "ffn": np.flatnonzero(kept.ffn).tolist(),
            }
        )
    sizes = ("heads", "key_value_heads", "head_size", "ffn")
    values = {
        "run_id": compiled.run.run_id,
        "dense": {name: getattr(shape, name) for name in sizes},
        "layers": layers,
        "sha256": compiled.kept_hash,
        "sha256_of": "for each layer, the masks of heads, query_key, value and ffn, a byte (0 or "
        "1) a dimension",
    }
    write_json(folder / KEPT_FILE, values)


@torch.inference_mode()
def write_expected(
    folder: Path,
    model: Callable[[Tensor, Tensor, Tensor | None], Tensor],
    tokenizer: Any,
    *,
    pair: bool,
) -> None:
    """Logits on made-up sentences, by which a user sees that the model works on their machine.

    model: input_ids, attention_mask, token_type_ids, (1, tokens) each -> (1, outputs).
    """
    rows = []
    for index, text in enumerate(SENTENCES):
        texts = [text, SENTENCES[index - 1]] if pair else [text]
        inputs = tokenizer(*texts)
        types = inputs.get("token_type_ids")
        ids = torch.tensor([inputs["input_ids"]])
        logits = model(ids, torch.ones_like(ids), None if types is None else torch.tensor([types]))
        rows.append(
            {
                "texts": texts,
                "input_ids": inputs["input_ids"],
                "token_type_ids": types,
                "logits": logits[0].tolist(),
            }
        )
    write_json(folder / EXPECTED_FILE, {"rows": rows})


def write_manifest(folder: Path, run_id: str, form: str) -> None:
    """Every file with its size and SHA-256; written last."""
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            name = path.relative_to(folder).as_posix()
            files[name] = {"bytes": path.stat().st_size, "sha256": digest}
    values = {"format": BUNDLE_FORMAT, "version": 1, "run_id": run_id, "form": form}
    write_json(folder / MANIFEST_FILE, values | {"files": files})


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """A JSON object as a file."""
    path.write_text(json.dumps(values, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _config(compiled: CompiledRun, labels: Sequence[str] | None) -> dict[str, Any]:
    """What the model is, for readers and the loader; without `model_type`, so that the classes
    of transformers refuse it instead of filling a dense model with random weights."""
    run = compiled.run
    return {
        "architectures": [FoldedClassifier.__name__],
        "base_model": run.record.identity.base_weights,
        "base_weights_sha256": run.record.identity.weights_hash,
        "run_id": run.run_id,
        "task": run.config.task.name,
        "pooling": run.config.model.pooling,
        "max_position_embeddings": compiled.folded.spec.positions,
        "max_training_tokens": run.config.task.max_tokens,
        "num_labels": compiled.folded.outputs,
        "problem_type": "regression" if labels is None else "single_label_classification",
        "id2label": {str(index): name for index, name in enumerate(labels or ())},
    }

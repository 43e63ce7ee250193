"""Whether a bundle works here: its files, and its logits on sentences that came with it."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .classifier import FoldedClassifier, load

MANIFEST_FILE, EXPECTED_FILE, CONFIG_FILE = "manifest.json", "expected.json", "config.json"

TOLERANCE = 1e-4
"""Largest difference of a logit, as a share of the largest one or of 1: machines round in their
own ways."""


def check(folder: Path | str, *, device: str = "cpu") -> float:
    """Largest logit difference, as a share, on the sentences that came with the bundle.

    Raises ValueError that says what is wrong: a file that is not the one that was written, other
    token ids, or other logits.
    """
    check_files(folder)
    model, tokenizer = load(folder, device=device)
    worst = 0.0
    for row in _part(folder, EXPECTED_FILE, "rows", list):
        inputs = tokenizer(*row["texts"])
        if inputs["input_ids"] != row["input_ids"]:
            raise ValueError(f"the tokenizer gives other token ids for {row['texts']}")
        logits = _logits(model, row, device)
        expected = torch.tensor(row["logits"])
        scale = max(1.0, float(expected.abs().max()))
        worst = max(worst, float((logits - expected).abs().nan_to_num(torch.inf).max()) / scale)
    if not worst <= TOLERANCE:
        raise ValueError(
            f"logits differ by {worst:.2g} from the expected ones (at most {TOLERANCE})"
        )
    return worst


def check_files(folder: Path | str) -> None:
    """Raises ValueError for a file that is missing, or not the one that was written."""
    for name, described in _part(folder, MANIFEST_FILE, "files", dict).items():
        path = Path(folder) / name
        if ".." in path.parts[len(Path(folder).parts) :] or not path.is_file():
            raise ValueError(f"{name} is missing")
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != described["sha256"]:
            raise ValueError(f"{name} is not the file that was written (its checksum)")


def class_names(folder: Path | str) -> list[str]:
    """Names of the classes in the order of the logits; empty for a score."""
    names = _part(folder, CONFIG_FILE, "id2label", dict)
    return [str(names[key]) for key in sorted(names, key=int)]


@torch.inference_mode()
def answer(folder: Path | str, texts: list[str]) -> dict[str, float]:
    """What the model says of one text or a pair: class to probability, or {"score": value}."""
    model, tokenizer = load(folder)
    inputs = tokenizer(*texts, truncation=True, return_tensors="pt")
    logits = model(**inputs)[0]
    if logits.numel() == 1:
        return {"score": logits.item()}
    names = class_names(folder) or [str(index) for index in range(logits.numel())]
    return dict(zip(names, logits.softmax(-1).tolist(), strict=True))


@torch.inference_mode()
def _logits(model: FoldedClassifier, row: Mapping[str, Any], device: str) -> Tensor:
    def tensor(values: list[int] | None) -> Tensor | None:
        return None if values is None else torch.tensor([values], device=device)

    ids = torch.tensor([row["input_ids"]], device=device)
    logits: Tensor = model(ids, torch.ones_like(ids), tensor(row["token_type_ids"]))
    return logits[0].cpu()


def _part(folder: Path | str, name: str, key: str, kind: type) -> Any:
    """A list or object of a JSON file."""
    path = Path(folder) / name
    try:
        value = json.loads(path.read_text(encoding="utf-8"))[key]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{name} is missing or damaged ({error!r})") from error
    if not isinstance(value, kind):
        raise ValueError(f"{name} is damaged: {key} is no {kind.__name__}")
    return value

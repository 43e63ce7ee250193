"""A folded model as one ONNX file, and its logits in ONNX Runtime."""

import contextlib
import importlib.util
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from finegates_engine.data.batches import TokenizedSplit, collate
from finegates_engine.errors import UserError
from finegates_engine.folded import FoldedClassifier
from finegates_engine.timing.backends import onnx_session
from finegates_engine.train.evaluation import EVAL_BATCH

ONNX_FILE = "model.onnx"

_NEEDED = ("onnx", "onnxscript", "onnxruntime")
_TRACED = (2, 8)
"""Rows and tokens that the export is traced with; with one row, that would be fixed."""

_LARGEST_BYTES = 2**31 - 2**20
"""One ONNX file is a protocol buffer, which ends at 2 GiB."""


def check_onnx() -> None:
    """Raises UserError unless models can be exported and run here."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"ONNX needs {', '.join(missing)}, not installed here. "
            'Install what is missing: pip install "finegates-explorer[onnx]"'
        )


def export_onnx(model: FoldedClassifier, path: Path) -> None:
    """Write a model in fp32 as one ONNX file, for any batch and length.

    Inputs, int64 (batch, tokens): input_ids, attention_mask (1 is seen, always given), and
    token_type_ids where the model has token types. Output: logits, fp32 (batch, outputs). The
    graph is that of the model as it is laid out. Raises UserError where packages are missing or
    the export fails.
    """
    check_onnx()
    if sum(value.nbytes for value in model.state_dict().values()) > _LARGEST_BYTES:
        raise UserError("The model is larger than 2 GiB, the most that one ONNX file can hold.")
    names = ["input_ids", "attention_mask"] + ["token_type_ids"] * (model.types is not None)
    ids = torch.arange(_TRACED[0] * _TRACED[1]).reshape(_TRACED) % model.spec.vocabulary
    inputs = (ids, torch.ones_like(ids), torch.zeros_like(ids))[: len(names)]
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("tokens")}
    try:
        with _quiet():
            program = torch.onnx.export(
                model,
                inputs,
                dynamo=True,
                input_names=names,
                output_names=["logits"],
                dynamic_shapes=(axes,) * len(names),
                verbose=False,
            )
            assert program is not None
            program.save(path, external_data=False)
    except (OSError, UserError):
        raise
    except Exception as error:  # each part of the exporter has errors of its own
        first = str(error).strip().splitlines()[:1]
        raise UserError(
            f"The model could not be exported to ONNX ({type(error).__name__}: {first}). "
            "Leave --onnx out, or try other versions of torch and onnxscript."
        ) from error


def predict_onnx(
    path: Path, rows: TokenizedSplit, pad_id: int, *, threads: int = 1
) -> NDArray[np.float32]:
    """Logits of all rows in ONNX Runtime, (rows, outputs), in the order of the rows."""
    session = onnx_session(path, threads)
    order = np.argsort(rows.lengths, kind="stable")
    parts = []
    for start in range(0, len(order), EVAL_BATCH):
        batch = collate(rows.rows(order[start : start + EVAL_BATCH].tolist()), pad_id)
        feeds = {name: value.numpy() for name, value in batch.items()}
        feeds.setdefault("token_type_ids", np.zeros_like(feeds["input_ids"]))
        parts.append(session(feeds))
    sorted_logits = np.concatenate(parts)
    logits: NDArray[np.float32] = np.empty_like(sorted_logits)
    logits[order] = sorted_logits
    return logits


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks on packages and axis names that do not matter here."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)

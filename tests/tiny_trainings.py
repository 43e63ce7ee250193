"""Configs of trainings on the tiny BERT, seconds long, and whether two came to the same."""

from typing import Any

import numpy as np
import torch

from finegates_engine.config import RunConfig, from_json
from finegates_engine.gates.model import adapter_state
from finegates_engine.train.training import Trained

SCHEDULE = {"open_start": 0.1, "ramp": 0.3, "finish": 0.3}


def config(**parts: Any) -> RunConfig:
    """A half of the encoder's weights to remove, some parts of the config changed."""
    values: dict[str, Any] = {
        "task": {"name": "agreement", "max_train_samples": 160, "max_eval_samples": 40},
        "gates": {"target": 0.5, **SCHEDULE},
        "train": {"epochs": 4, "batch_size": 16},
    }
    for part, changes in parts.items():
        values[part] = {**values.get(part, {}), **changes} if isinstance(changes, dict) else changes
    return from_json(values)


def same(a: Trained, b: Trained) -> bool:
    """Whether weights and logits are equal to the bit."""
    left, right = adapter_state(a.model), adapter_state(b.model)
    equal = all(torch.equal(left[name], right[name]) for name in left)
    return equal and np.array_equal(a.logits["validation"], b.logits["validation"])

"""Numbers of one gated layer of the paper's released code, and the same gates as ours."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from finegates_engine.gates.gate import StochasticGates

CASES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent / "fixtures" / "parity.json").read_text()
)["cases"]
EACH_CASE = pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])


def gates_of(case: dict[str, Any]) -> StochasticGates:
    gates = StochasticGates({"row": 8, "column": 12}, noise_std=0.1, penalty_std=0.5)
    with torch.no_grad():
        gates.logit.copy_(torch.tensor(case["row_logits"] + case["column_logits"]))
    return gates

"""States of a sweep with made-up cells, and those of any sweep's cells."""

import os
from typing import Any

from finegates_engine.sweep.state import CellState, SweepState


def cell(name: str, **values: Any) -> CellState:
    return CellState(**{"run_id": name, "target": 0.3, "seed": 0, "epochs": 2.0, **values})


def state(*cells: CellState, **values: Any) -> SweepState:
    plain: dict[str, Any] = {
        "sweep_id": "20260101-000000-mrpc-abcdef",
        "task": "mrpc",
        "method": "finegates",
        "strategy": "path",
        "target_unit": "encoder_weights",
        "metric": "accuracy",
        "process_id": os.getpid(),
        "started": 1.0,
        "heartbeat": 1.0,
        "cells": cells or (cell("a"), cell("b")),
    }
    return SweepState(**{**plain, **values})


def states(state: SweepState) -> list[str]:
    """Those of its cells, in their order."""
    return [cell.state for cell in state.cells]

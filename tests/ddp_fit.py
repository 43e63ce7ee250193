"""One small training, to be started by torchrun: prints rank, steps, gates closed and logits."""

import os
import sys
from pathlib import Path

from finegates_engine.config import from_json
from finegates_engine.data import load_task
from finegates_engine.train import fit

config = from_json(
    {
        "task": {"name": "agreement", "max_train_samples": 160, "max_eval_samples": 40},
        "gates": {"target": 0.5},
        "train": {"epochs": 3, "batch_size": 8},
    }
)
trained = fit(config, load_task(config.task), Path(sys.argv[1]), Path(sys.argv[2]))
assert trained.model.gates is not None
closed = "".join(str(int(bit)) for bit in trained.model.gates.closed)
checked = float(trained.logits["validation"].sum())
sys.stdout.write(f"rank={os.environ['RANK']} {trained.steps} {closed} {checked:.6f}\n")

"""A trained run in the form that transformers loads, read by a process without this package."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from finegates_engine.config import TaskConfig
from finegates_engine.data.load import load_task
from finegates_engine.runs.store import RunStore

ROWS = 64
RUN_ARGUMENTS = (
    "--task agreement --max-train-samples 64 --max-eval-samples 64 --epochs 1 --pooling model "
    "--allocation vector --targets 0.5 --seeds 0"
)
READER = """
import json, sys, torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
folder, texts = sys.argv[1], json.load(sys.stdin)
model = AutoModelForSequenceClassification.from_pretrained(folder)
tokenizer = AutoTokenizer.from_pretrained(folder)
with torch.inference_mode():
    logits = model(**tokenizer(texts, padding=True, return_tensors="pt")).logits
assert not any(name.startswith("finegates") for name in sys.modules)
print(json.dumps([model.config.intermediate_size, logits.softmax(-1).tolist()]))
"""


@pytest.mark.slow
def test_trained_run_is_loaded_by_transformers_alone(tmp_path: Path) -> None:
    store, bundle = tmp_path / "store", tmp_path / "bundle"
    finegates("sweep", *RUN_ARGUMENTS.split(), "--store", str(store))
    (run_id,) = (path.name for path in (store / "agreement").iterdir())
    finegates("prune", run_id, "--store", str(store), "--out", str(bundle), "--compatible")
    data = load_task(TaskConfig(name="agreement", max_train_samples=ROWS, max_eval_samples=ROWS))
    (validation,) = data.validation.values()
    texts = [text for (text,) in validation.texts]
    read = subprocess.run(
        [sys.executable, "-I", "-c", READER, str(bundle)],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert read.returncode == 0, read.stderr
    width, found = json.loads(read.stdout.splitlines()[-1])
    assert width == 768  # half of 1536 in every layer, as each gate vector has its own target
    stored = RunStore(store).load(run_id).predictions[["prob_0", "prob_1"]].to_numpy()
    assert np.abs(np.array(found) - stored).max() < 1e-5


def finegates(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "finegates_engine", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr

"""What rounding the trained values of a store's runs to fp16 would change.

    python benchmarks/half.py --store cached_runs

Each run that has its weights computes its evaluation rows twice. The last line is one JSON object:
`largest_logit`, `logit_change`, `probability_change` (largest over all rows), `labels_changed`,
`rows`. Runs that were rounded before they were scored change by nothing.
"""

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from transformers import AutoTokenizer

from finegates_engine.backbone import local_folder
from finegates_engine.data.batches import TokenizedSplit
from finegates_engine.data.load import tokenize
from finegates_engine.prune.certify import task_of
from finegates_engine.runs.store import RunStore
from finegates_engine.runs.stored_run import StoredRun
from finegates_engine.train.adapters import round_trained
from finegates_engine.train.cell import probabilities, rebuild
from finegates_engine.train.evaluation import predict

CACHED = Path(__file__).parents[1] / "cached_runs"


def main(
    store: Annotated[Path, typer.Option(help="Folder of the run store.")] = CACHED,
    only: Annotated[str, typer.Option(help="Runs whose id has this text.")] = "",
    data: Annotated[Path | None, typer.Option(help="Where the runs' rows are now.")] = None,
    quick: Annotated[bool, typer.Option(help="One run, 64 rows.")] = False,
) -> None:
    """Round, compute again, compare."""
    torch.set_num_threads(1)
    runs = [run for run in map(RunStore(store).load, RunStore(store).ids()) if run.has_adapter]
    runs = [run for run in runs if only in run.run_id][: 1 if quick else None]
    found = [compared(run, data, 64 if quick else None) for run in runs]
    totals = ("labels_changed", "rows")
    merged = {k: (sum if k in totals else max)(f[k] for f in found) for k in found[0]}
    print(json.dumps(merged))


def compared(run: StoredRun, place: Path | None, most: int | None) -> dict[str, Any]:
    """Largest changes over one run's evaluation rows."""
    folder = local_folder(run.config.model.backbone)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    task = task_of(run, place)
    splits = tokenize(task, tokenizer, run.config.task.max_tokens)
    rows = splits[run.record.headline_split]
    types = rows.token_type_ids
    rows = TokenizedSplit(
        rows.input_ids[:most], rows.labels[:most], None if types is None else types[:most]
    )
    model, pad_id = rebuild(run, folder), int(tokenizer.pad_token_id)
    before = predict(model, rows, pad_id)
    round_trained(model)
    after = predict(model, rows, pad_id)
    moved = np.abs(probabilities(before) - probabilities(after)).max()
    print(run.run_id, float(np.abs(before - after).max()), flush=True)
    return {
        "largest_logit": float(np.abs(before).max()),
        "logit_change": float(np.abs(before - after).max()),
        "probability_change": float(moved),
        "labels_changed": int((before.argmax(axis=1) != after.argmax(axis=1)).sum()),
        "rows": len(before),
    }


if __name__ == "__main__":
    typer.run(main)

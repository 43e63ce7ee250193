"""Every run that ships with the project, its manifest, and the results made of it."""

import dataclasses
import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

from finegates_engine.config import RunConfig
from finegates_engine.data.load import load_task
from finegates_engine.errors import UserError
from finegates_engine.identity import NUMERICS_VERSION, run_id
from finegates_engine.metrics import compute_metrics
from finegates_engine.parity import STORED_BOUND
from finegates_engine.report.folder import report_files
from finegates_engine.results import probability_columns
from finegates_engine.runs.store import RunStore
from finegates_engine.runs.stored_run import StoredRun
from finegates_engine.shipping.copy import LIMIT_MB, MEGABYTE
from finegates_engine.shipping.manifest import MANIFEST, manifest_bytes, shipped_bytes

ROOT = Path(__file__).parents[1]
STORE = RunStore(ROOT / "cached_runs")
RUNS = STORE.ids()
DATA = ROOT.parent / "shared" / "glue"
ABSOLUTE = re.compile(r'"(/|~|[A-Za-z]:[\\/]|\.\.)[^"]*"')

each_run = pytest.mark.parametrize("name", RUNS)


def test_no_shipped_run_is_damaged():
    assert RUNS
    assert STORE.damaged(verify=True) == []


def test_all_of_it_is_small():
    assert shipped_bytes(STORE) <= LIMIT_MB * MEGABYTE


def test_manifest_is_that_of_the_runs():
    """`finegates ship` writes it."""
    assert (STORE.root / MANIFEST).read_bytes() == manifest_bytes(STORE)


def test_results_are_what_the_command_makes_of_the_runs():
    """`finegates report` writes them."""
    folder = ROOT / "docs" / "results"
    made = report_files(STORE, name="cached_runs")
    others = {"controls.md"}  # made by benchmarks/controls.py
    assert {path.name for path in folder.iterdir()} - others == set(made)
    for name, text in made.items():
        assert (folder / name).read_text() == text, f"{name}: run `finegates report`"


@each_run
def test_score_recomputed_from_stored_predictions_is_the_stored_score(name: str):
    record, table = STORE.load(name).record, STORE.load(name).predictions
    columns = probability_columns(table)
    assert set(record.metrics) == set(table["split"])
    for split, scores in record.metrics.items():
        rows = table[table["split"] == split]
        given = rows[columns or "score"].to_numpy()
        found = compute_metrics(list(scores), given, rows["label"].to_numpy())
        assert found == pytest.approx(scores, abs=1e-6)


@each_run
def test_run_has_its_weights_or_says_how_to_remake_it(name: str):
    run = STORE.load(name)
    if run.is_light:
        assert run.record.left_out is not None
        assert "finegates sweep" in run.record.left_out.remake


@each_run
def test_run_with_gates_has_a_passed_certificate(name: str):
    run = STORE.load(name)
    certificate = run.certificate
    assert (certificate is not None) == bool(run.masks)
    if certificate is not None:
        assert certificate["passed"] is True
        assert certificate["run_id"] == name
        assert certificate["torch"]["largest_difference"] <= certificate["torch"]["bound"]
        regression = "score" in run.predictions.columns
        agreement = certificate["torch"]["label_agreement"]
        assert agreement is None if regression else agreement >= 0.999
        assert certificate["stored_difference"] <= STORED_BOUND


@each_run
def test_gates_are_those_that_the_ladder_counts(name: str):
    run = STORE.load(name)
    closed = sum(int((~mask).sum()) for mask in run.masks.values())
    assert (closed, sum(m.size for m in run.masks.values())) == (
        (run.ladder.gates_closed, run.ladder.gates_total) if run.masks else (0, 0)
    )


@each_run
def test_no_path_of_a_machine_is_in_a_run(name: str):
    for path in STORE.load(name).folder.rglob("*.json"):
        assert not ABSOLUTE.search(path.read_text()), path


def cells(name: str) -> list[RunConfig]:
    """The configs that the manifest's command plans."""
    from typer.testing import CliRunner

    from finegates_engine.cli import entry
    from finegates_engine.sweep.plan import plan_sweep

    command = json.loads((STORE.root / MANIFEST).read_text())["runs"][name]["command"]
    plans = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(entry, "carry_out", lambda plan, **_: plans.append(plan))
        done = CliRunner().invoke(entry.app, shlex.split(command)[1:])
    assert done.exit_code == 0, done.output
    (plan,) = plans
    planned = plan_sweep(plan.base, plan.targets, plan.seeds, strategy=plan.strategy)
    return [cell.config for cell in planned]


def planned_id(config: RunConfig, run: StoredRun) -> str:
    identity = run.record.identity
    return run_id(config, data_hash=identity.data_hash, weights_hash=identity.weights_hash)


def up_to_date(run: StoredRun) -> bool:
    return run.record.identity.numerics_version == NUMERICS_VERSION


@each_run
def test_command_of_the_manifest_has_nothing_left_to_do(name: str):
    run = STORE.load(name)
    if not up_to_date(run):
        pytest.skip("trained by an earlier version of the numerics")
    assert {planned_id(config, run) for config in cells(name)} <= set(RUNS)


@pytest.mark.parametrize("task", sorted({STORE.load(name).config.task.name for name in RUNS}))
def test_rows_of_a_task_are_those_of_its_runs(task: str):
    runs = [run for run in map(STORE.load, RUNS) if run.config.task.name == task]
    for config in {run.config.task for run in runs}:
        if config.data is not None:
            if not (DATA / config.data).exists():
                pytest.skip(f"needs the rows of {task} in {DATA}")
            config = dataclasses.replace(config, data=str(DATA / config.data))
        hashes = {r.record.identity.data_hash for r in runs if same_rows(r, config)}
        assert hashes == {load_task(config).data_hash}


def same_rows(run: StoredRun, config: object) -> bool:
    return dataclasses.replace(run.config.task, data=config.data) == config  # type: ignore[attr-defined]


@pytest.mark.slow
def test_a_deleted_run_alone_is_trained_again_to_the_same_gates(tmp_path: Path):
    from finegates_engine.sweep.runner import run_sweep

    path = [run for run in map(STORE.load, RUNS) if run.config.path and run.has_adapter]
    path = [run for run in path if run.config.task.name == "agreement" and up_to_date(run)]
    if not path:
        pytest.skip("no path of agreement is shipped by this version of the numerics")
    gone = max(path, key=lambda run: run.config.gates.target)
    store = RunStore(tmp_path / "store")
    shutil.copytree(STORE.root, store.root)
    store.delete(gone.run_id)
    config = gone.config
    targets = (*config.path, config.gates.target)
    state = run_sweep(config_of(config), targets, [config.seed], store=store, strategy="path")
    assert [cell.run_id for cell in state.cells if not cell.cached] == [gone.run_id]
    again = store.load(gone.run_id)
    for name, mask in gone.masks.items():
        np.testing.assert_array_equal(mask, again.masks[name])


def config_of(config: RunConfig) -> RunConfig:
    return dataclasses.replace(config, path=())


def test_a_run_without_weights_cannot_be_pruned():
    light = [run for run in map(STORE.load, RUNS) if run.is_light]
    if not light:
        pytest.skip("all shipped runs have their weights")
    with pytest.raises(UserError, match="shipped without its trained weights"):
        _ = light[0].adapter

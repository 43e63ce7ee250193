"""`finegates runs`, `show` and `tasks`: what is listed, as tables and as JSON."""

import json
from pathlib import Path

import pandas as pd
import pytest
from entry_calls import call, refused
from run_examples import make_config, make_result

from finegates_engine.runs.store import RunStore

pytestmark = pytest.mark.usefixtures("plain_terminal")


def test_half_written_run_is_named_and_the_others_are_listed(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    good, half = make_result(), make_result(make_config(seed=1))
    store.save(good)
    store.save(half)
    record = tmp_path / "agreement" / half.run_id / "run.json"
    record.write_text(record.read_text()[:200])
    listed = call("runs", "--store", tmp_path)
    assert listed.exit_code == 0
    assert f"Skipped agreement/{half.run_id}: run.json is not valid JSON" in listed.stdout
    assert "1 run." in listed.stdout
    text = refused("show", half.run_id, "--store", tmp_path)
    assert text.startswith(f"Run '{half.run_id}' is damaged: run.json is not valid JSON")


@pytest.fixture
def full(tmp_path: Path) -> Path:
    store = RunStore(tmp_path)
    for seed in (0, 1):
        store.save(make_result(make_config(seed=seed)))
    store.save(make_result(make_config(task="mrpc")))
    return tmp_path


def test_runs_of_an_empty_store_say_how_to_make_one(tmp_path: Path) -> None:
    result = call("runs", "--store", tmp_path)
    assert result.exit_code == 0
    assert f"Make some: finegates demo --store {tmp_path}" in result.stdout
    assert call("runs", "--store", tmp_path / "nowhere").exit_code == 0
    assert json.loads(call("runs", "--json", "--store", tmp_path).stdout) == []


def test_runs_are_a_table_or_json(full: Path) -> None:
    text = call("runs", "--store", full).stdout
    assert "3 runs." in text
    assert "agreement, finegates on" in text
    assert "mrpc, finegates on" in text
    rows = json.loads(call("runs", "--json", "--task", "mrpc", "--store", full).stdout)
    (row,) = rows
    assert row["task"] == "mrpc"
    assert row["latency_ms"] is None
    assert pd.notna(row["folded_encoder_fraction"])


def test_a_table_of_runs_fits_80_columns(full: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from finegates_engine.cli import tables as cli_tables

    monkeypatch.setattr(cli_tables, "PIPE_WIDTH", 80)
    text = call("runs", "--store", full).stdout
    assert "…" not in text
    hashes = [name.rsplit("-", 1)[1][:7] for name in RunStore(full).ids()]
    assert all(digest in text for digest in hashes)


def test_show_takes_the_hash_and_prints_the_ladder(full: Path) -> None:
    name = RunStore(full).ids()[0]
    text = call("show", name.rsplit("-", 1)[1][:7], "--store", full).stdout
    assert text.startswith(name)
    for part in ("Target", "Gates closed", "Weights removed", "Encoder weights removed", "MACs"):
        assert part in text
    assert "one run cannot say how much seeds differ" in text


def test_show_as_json_holds_record_and_intervals(full: Path) -> None:
    name = RunStore(full).ids()[0]
    plain = json.loads(call("show", name, "--json", "--store", full).stdout)
    assert plain["run_id"] == name
    interval = plain["intervals"]["validation"]["accuracy"]
    assert interval["low"] <= interval["mean"] <= interval["high"]
    assert interval["kind"] == "rows"


def test_show_refuses_what_is_not_there_or_not_one(full: Path) -> None:
    assert "No run id begins or ends with 'cola'" in refused("show", "cola", "--store", full)
    assert "fits 2 runs" in refused("show", "agreement", "--store", full)


def test_tasks_lists_every_task_with_its_columns() -> None:
    from finegates_engine.tasks import TASKS

    printed = call("tasks").stdout
    for spec in TASKS.values():
        line = next(line for line in printed.splitlines() if line.split()[:1] == [spec.name])
        assert all(field in line for field in spec.text_fields)

"""Timings are kept by machine, merged by cell, checked when read, and never shown uncertified."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from run_examples import ENVIRONMENT, make_config, make_result
from timing_examples import MACHINE, certified_run, make_cell, make_certificate

from finegates_engine.errors import UserError
from finegates_engine.files import Damaged
from finegates_engine.parity import to_bytes
from finegates_engine.runs.store import RunStore
from finegates_engine.runs.stored_run import StoredRun
from finegates_engine.timing.stored import (
    MAX_ROUNDS,
    Setting,
    fingerprint,
    fold_hash,
    passing_certificate,
    read_timings,
    save_cells,
    this_machine,
)


def reloaded(store: RunStore, run: StoredRun) -> StoredRun:
    return store.load(run.run_id)


def test_cells_come_back_as_they_were_saved(tmp_path: Path) -> None:
    store, run = certified_run(tmp_path)
    cell = make_cell()
    name = save_cells(store, run, MACHINE, [cell])
    (file,) = read_timings(reloaded(store, run)).values()
    assert file.cells == (cell,)
    assert file.machine == MACHINE
    assert (run.folder / "timings" / f"{name}.json").is_file()


def test_cells_are_merged_by_setting_and_the_newer_one_stays(tmp_path: Path) -> None:
    store, run = certified_run(tmp_path)
    save_cells(store, run, MACHINE, [make_cell(), make_cell(batch=8)])
    newer = make_cell(seed=1)
    save_cells(store, run, MACHINE, [newer, make_cell(threads=2)])
    (file,) = read_timings(run).values()
    assert len(file.cells) == 3
    assert [c for c in file.cells if c.setting == Setting(batch=1, tokens=16)] == [newer]


def test_another_machine_or_version_has_a_file_of_its_own(tmp_path: Path) -> None:
    store, run = certified_run(tmp_path)
    versions = MACHINE.versions | {"torch": "9.9"}
    for machine in (MACHINE, dataclasses.replace(MACHINE, versions=versions)):
        save_cells(store, run, machine, [make_cell()])
    assert len(read_timings(run)) == 2


@pytest.mark.parametrize(
    "changes",
    [{"cpu": "Other"}, {"cores": 3}, {"accelerator": "H200"}, {"wait_policy": "ACTIVE-ISH"}],
)
def test_fingerprint_changes_with_the_machine_alone(changes: dict[str, Any]) -> None:
    assert fingerprint(dataclasses.replace(MACHINE, **changes)) != fingerprint(MACHINE)
    other_commit = dataclasses.replace(ENVIRONMENT, commit="e" * 40, dirty=True)
    assert fingerprint(this_machine(other_commit)) == fingerprint(MACHINE)


def test_without_a_certificate_nothing_is_saved_or_read(tmp_path: Path) -> None:
    store, result = RunStore(tmp_path), make_result(make_config(target=0.4))
    store.save(result)
    run = store.load(result.run_id)
    with pytest.raises(UserError, match=f"no certificate.*finegates prune {run.run_id}"):
        save_cells(store, run, MACHINE, [make_cell()])
    with pytest.raises(UserError, match=f"finegates prune {run.run_id}"):
        read_timings(run)
    assert not (run.folder / "timings").exists()


def test_a_certificate_that_did_not_pass_hides_timings_that_are_there(tmp_path: Path) -> None:
    store, run = certified_run(tmp_path)
    save_cells(store, run, MACHINE, [make_cell()])
    failed = make_certificate(run.run_id, passed=False)
    store.add_file(run.run_id, "certificate.json", to_bytes(failed))
    for action in (read_timings, passing_certificate):
        with pytest.raises(UserError, match="did not pass"):
            action(reloaded(store, run))


def test_a_certificate_of_other_shape_is_none(tmp_path: Path) -> None:
    store, run = certified_run(tmp_path)
    store.add_file(run.run_id, "certificate.json", b'{"passed": true}')
    with pytest.raises(Damaged, match=r"certificate\.json"):
        passing_certificate(reloaded(store, run))


def test_timings_of_another_fold_are_left_out_and_dropped_when_saving(tmp_path: Path) -> None:
    store, run = certified_run(tmp_path)
    save_cells(store, run, MACHINE, [make_cell()])
    other = make_certificate(run.run_id, options={"round_to": 1, "heads": "auto"})
    store.add_file(run.run_id, "certificate.json", to_bytes(other))
    run = reloaded(store, run)
    assert read_timings(run) == {}
    save_cells(store, run, MACHINE, [make_cell(batch=8)])
    (file,) = read_timings(run).values()
    assert [cell.setting.batch for cell in file.cells] == [8]


def test_certifying_again_with_the_same_fold_keeps_timings(tmp_path: Path) -> None:
    store, run = certified_run(tmp_path)
    save_cells(store, run, MACHINE, [make_cell()])
    again = make_certificate(run.run_id, stored_difference=1e-6)
    assert fold_hash(again) == fold_hash(make_certificate(run.run_id))
    store.add_file(run.run_id, "certificate.json", to_bytes(again))
    assert len(read_timings(reloaded(store, run))) == 1


HOSTILE: dict[str, Any] = {
    "version": (lambda f: f.update(schema_version=2), "schema version 2"),
    "no version": (lambda f: f.pop("schema_version"), "schema version None"),
    "unknown field": (lambda f: f.update(note="x"), "note"),
    "text for a number": (lambda f: f["cells"][0].update(mac_ratio="1.6"), "mac_ratio"),
    "median": (
        lambda f: f["cells"][0]["variants"]["pruned"]["latency"].update(median=1e-6),
        "latency.median",
    ),
    "negative": (
        lambda f: f["cells"][0]["variants"]["pruned"]["seconds"].__setitem__(0, -1.0),
        "above 0",
    ),
    "verdict": (
        lambda f: f["cells"][0]["variants"]["pruned"].update(verdict="slower"),
        "not that of its interval",
    ),
    "no verdict": (
        lambda f: f["cells"][0]["variants"]["pruned"].update(verdict=None),
        "not that of its interval",
    ),
    "efficiency": (lambda f: f["cells"][0].update(efficiency=3.0), "efficiency"),
    "rounds": (
        lambda f: f["cells"][0]["variants"]["dense"].update(
            seconds=[0.01] * 9, latency={"median": 0.01, "p95": 0.01}
        ),
        "same number of rounds",
    ),
    "too many": (
        lambda f: f["cells"][0]["variants"]["dense"].update(seconds=[0.01] * (MAX_ROUNDS + 1)),
        "at most 300",
    ),
    "no dense": (lambda f: f["cells"][0]["variants"].pop("dense"), "dense and pruned"),
    "twice": (lambda f: f["cells"].append(f["cells"][0]), "twice"),
    "backend": (lambda f: f["cells"][0]["setting"].update(backend="tf"), "backend"),
    "other run": (lambda f: f.update(run_id="sst2-x"), "that of 'sst2-x'"),
    "other machine": (lambda f: f["machine"].update(cores=64), "another machine"),
    "no time zone": (lambda f: f["cells"][0].update(measured="2026-11-23T07:00:00"), "measured"),
}


@pytest.mark.parametrize("kind", sorted(HOSTILE))
def test_a_hostile_file_is_named_and_refused(kind: str, tmp_path: Path) -> None:
    store, run = certified_run(tmp_path)
    name = save_cells(store, run, MACHINE, [make_cell()])
    path = run.folder / "timings" / f"{name}.json"
    plain = json.loads(path.read_bytes())
    spoil, words = HOSTILE[kind]
    spoil(plain)
    path.write_text(json.dumps(plain))
    with pytest.raises(Damaged, match=words) as caught:
        read_timings(reloaded(store, run))
    assert f"timings/{name}.json of run {run.run_id!r}" in str(caught.value)
    with pytest.raises(Damaged):
        save_cells(store, run, MACHINE, [make_cell(batch=8)])


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"schema_version": NaN}'])
def test_a_file_that_is_no_json_object_is_named_and_refused(content: bytes, tmp_path: Path) -> None:
    store, run = certified_run(tmp_path)
    (run.folder / "timings").mkdir()
    (run.folder / "timings" / "abc.json").write_bytes(content)
    with pytest.raises(Damaged, match=r"abc\.json"):
        read_timings(reloaded(store, run))


def test_rows_per_second_are_those_of_the_median() -> None:
    cell = make_cell(batch=8, gain=1.0)
    assert cell.rows_per_second("dense") == pytest.approx(800, rel=0.02)


def test_a_thousand_rounds_do_not_fit_but_a_full_grid_does() -> None:
    cell = make_cell()
    with pytest.raises(ValueError, match="300"):
        dataclasses.replace(cell.variants["dense"], seconds=(0.01,) * 1000)
    digits = len("0.0123456,")
    grid = 9 * 3 * 2 * 2  # shapes, backends, threads, precisions
    assert grid * 3 * MAX_ROUNDS * digits < 4 * 2**20

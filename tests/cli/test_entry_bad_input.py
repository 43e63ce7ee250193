"""Bad input of each kind: said in a line of its own, before anything begins."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from entry_calls import options, refused
from tiny import tiny_config, write_task

from finegates_engine.errors import UserError
from finegates_engine.runs.store import RunStore

pytestmark = pytest.mark.usefixtures("plain_terminal")


@pytest.fixture
def sweep(tiny_backbone: Path, tiny_task: Path, tmp_path: Path) -> Any:
    """stderr of a sweep that must be refused, with some options put at its end."""

    def go(*changes: str | Path) -> str:
        return refused(*options(tiny_backbone, tiny_task, tmp_path / "store"), *changes)

    return go


def rewritten(tiny: Path, tmp_path: Path, split: str, text: str) -> Path:
    folder = tmp_path / "task"
    shutil.copytree(tiny, folder)
    (folder / f"{split}.jsonl").write_text(text)
    return folder


def test_unknown_task(tmp_path: Path) -> None:
    text = refused("sweep", "--task", "mrcp", "--store", tmp_path / "store")
    assert text.startswith("Unknown task 'mrcp'. Choose from: agreement, cola, mnli, mrpc, ")
    assert text.endswith("or pass --data FOLDER with --text-fields.\n")
    assert not (tmp_path / "store").exists()


def test_unknown_backbone(sweep: Any) -> None:
    assert sweep("--backbone", "./nowhere") == (
        "Backbone folder './nowhere' does not exist. Choose a folder or a hub id.\n"
    )
    text = sweep("--backbone", "nobody/nothing-of-this-name")
    assert text.startswith("Backbone 'nobody/nothing-of-this-name' is not a local folder and could")


def test_unknown_column(sweep: Any) -> None:
    text = sweep("--text-fields", "body")
    assert "train.jsonl has no column 'body'. Its columns: text, label. Choose with" in text


@pytest.mark.parametrize("target", ["1", "-0.1", "1.2"])
def test_target_out_of_range(sweep: Any, target: str) -> None:
    assert sweep(f"--targets={target}") == f"target must be in [0, 1), got {target}.\n"


def test_targets_that_are_no_numbers(sweep: Any) -> None:
    assert sweep("--targets", "half") == (
        "--targets must be numbers with commas between them, such as 0,0.2,0.4, got 'half'.\n"
    )
    assert sweep("--seeds", "0.5") == (
        "--seeds must be whole numbers with commas between them, such as 0,1,2, got '0.5'.\n"
    )


def test_empty_file(sweep: Any, tiny_task: Path, tmp_path: Path) -> None:
    folder = rewritten(tiny_task, tmp_path, "train", "")
    assert sweep("--data", folder) == (f"{folder}/train.jsonl is empty. Pass a file with rows.\n")


def test_single_class_file(sweep: Any, tiny_task: Path, tmp_path: Path) -> None:
    rows = [f'{{"text": "film {number} was fine", "label": "good"}}\n' for number in range(9)]
    (tmp_path / "all.jsonl").write_text("".join(rows))
    text = sweep("--data", tmp_path / "all.jsonl")
    assert text.startswith("All training rows have the label 'good': nothing can be learned")


def test_labels_missing_in_a_split(sweep: Any, tiny_task: Path, tmp_path: Path) -> None:
    rows = '{"text": "a", "label": "good"}\n{"text": "b", "label": null}\n'
    text = sweep("--data", rewritten(tiny_task, tmp_path, "validation", rows))
    assert (
        "validation.jsonl: 1 of 2 rows have no label in column 'label', the first is row 1" in text
    )


def test_store_that_cannot_be_written(sweep: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    text = sweep("--store", tmp_path / "file" / "store")
    assert text.startswith(f"Store '{tmp_path}/file/store' cannot be written (Not a directory). ")


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_read_only_store(sweep: Any, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    assert "cannot be written (Permission denied)" in sweep("--store", closed)


def test_run_id_with_a_path_in_it(tmp_path: Path) -> None:
    text = refused("show", "../../etc/passwd", "--store", tmp_path)
    assert text.startswith("Run id '../../etc/passwd' is not one: they look like mrpc-finegates-")


def test_values_out_of_range_are_explained(sweep: Any) -> None:
    assert sweep("--noise-std", "5") == (
        "gates.noise_std: input should be less than or equal to 2, got 5.0\n"
    )
    text = sweep("--axes", "outer")
    assert "Invalid value for '--axes'" in text
    assert "'inner'" in text


def test_unknown_method_and_strategy(sweep: Any) -> None:
    assert sweep("--method", "lottery").startswith("Unknown method 'lottery'. Choose from: ")
    assert sweep("--strategy", "both") == (
        "Unknown strategy 'both'. Choose from: independent, path.\n"
    )


def test_markup_in_names_is_printed_as_it_is(tmp_path: Path, tiny_backbone: Path) -> None:
    folder = write_task(tmp_path / "[red]task[/]")
    text = refused(
        "sweep", "--task", "own", "--data", folder / "missing[/b].csv", "--text-fields", "[bold]x"
    )
    assert "missing[/b].csv does not exist" in text
    config = tiny_config(tiny_backbone, folder)
    with pytest.raises(UserError):
        RunStore(tmp_path).load(config.task.name)

"""What the form asks for: every mistake is said in the user's words, nothing becomes an option."""

import pytest

from explorer.loading import uploads
from explorer.loading.uploads import read_upload, save_upload, upload_path
from explorer.processes import sweep_request
from explorer.processes.sweep_request import check_rows, numbers, request
from finegates_engine.errors import UserError

GOOD = "text,label\n" + "".join(f"row {i} {'ab'[i % 2]},{'ab'[i % 2]}\n" for i in range(20))


def own(tmp_path, text=GOOD, name="rows.csv", **changes):
    data = text if isinstance(text, bytes) else text.encode()
    upload = save_upload(tmp_path, name, data)
    values = {"task": "mine", "targets": (0.0,), "seeds": (0,), "text_fields": ("text",)}
    return request(**(values | {"upload": upload} | changes))


def read(tmp_path, text, name="rows.csv"):
    data = text if isinstance(text, bytes) else text.encode()
    return read_upload(tmp_path, save_upload(tmp_path, name, data), name)


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        ("", "rows.csv", "The file is empty"),
        (" \n \n", "rows.csv", "The file is empty"),
        ("text,label\n", "rows.csv", "a header and no rows"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "rows.csv", "cannot be read as CSV"),
        ('{"text": "a", "label": 1}\n', "rows.csv", "cannot be read as CSV"),
        ("<html><body>not found</body></html>\n<p>x</p>\n", "rows.csv", "has one column"),
        ("text,label\na,b\nc,d,e,f\n", "rows.csv", "cannot be read as CSV"),
        ("not json", "rows.jsonl", "cannot be read as JSON lines"),
        ("[1, 2, 3]", "rows.jsonl", "cannot be read as JSON lines"),
        ("a,b\n1,2\n", "rows.exe", "Only CSV and JSONL files"),
        ("a,b\n1,2\n", "csv", None),
    ],
)
def test_file_that_is_none_is_said(tmp_path, text, name, said):
    if said is None:
        assert read(tmp_path, text, name).num_rows == 1
        return
    with pytest.raises(UserError, match=said) as raised:
        read(tmp_path, text, name)
    assert str(tmp_path) not in str(raised.value)


def test_too_large_a_file_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(uploads, "UPLOAD_MB", 0)
    with pytest.raises(UserError, match="at most 0 MB"):
        save_upload(tmp_path, "rows.csv", GOOD.encode())


def test_upload_has_a_name_of_its_content_alone(tmp_path):
    name = save_upload(tmp_path, "../../etc/passwd\n; rm -rf x.CSV", GOOD.encode())
    assert name == save_upload(tmp_path, "b.csv", GOOD.encode())
    assert upload_path(tmp_path, name).parent == tmp_path / ".sweeps" / "uploads"
    assert [path.name for path in tmp_path.rglob("*.csv")] == [name]


def test_uploads_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(uploads, "KEPT", 2)
    names = [save_upload(tmp_path, "a.csv", f"a,b\n{i},2\n".encode()) for i in range(5)]
    kept = {path.name for path in (tmp_path / ".sweeps" / "uploads").iterdir()}
    assert len(kept) == 2
    assert names[-1] in kept


@pytest.mark.parametrize(
    ("text", "changes", "said"),
    [
        ("text,label\na,x\nb,x\nc,x\n", {}, "have the label 'x'"),
        ("text,label\na,x\nb,\n", {}, "1 of 2 rows have no label"),
        ("text,label\n1,x\n2,y\n", {}, "not text.*Text columns"),
        (GOOD, {"label_field": "nope"}, "no column 'nope'.*Label column"),
        (GOOD, {"text_fields": ("nope",)}, "no column 'nope'.*Text columns"),
        (GOOD, {"max_rows": 1}, "Training rows"),
    ],
)
def test_rows_that_cannot_be_learned_from_are_said(tmp_path, text, changes, said):
    asked = own(tmp_path, text, **changes)
    with pytest.raises(UserError, match=said) as raised:
        check_rows(tmp_path, asked, "rows.csv")
    assert "--" not in str(raised.value)
    assert str(tmp_path) not in str(raised.value)


def test_odd_but_good_rows_are_taken(tmp_path):
    lines = [
        ("<script>alert(1)</script>", "<b>bad</b>"),
        ("x" * 100_000, "good"),
        ("\u0634\u0643\u0631\u0627 \U0001f600", "<b>bad</b>"),
        ("**bold** $x$", "good"),
    ]
    text = "text,label\n" + "".join(f'"{text}","{label}"\n' for text, label in lines * 3)
    data = check_rows(tmp_path, own(tmp_path, text), "rows.csv")
    assert data.labels == ("<b>bad</b>", "good")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"task": "sst2"}, "name of a task of the table"),
        ({"task": "Mine!"}, "task"),
        ({"text_fields": ()}, "Choose the column"),
        ({"text_fields": ("a,b",)}, "has a comma in it"),
        ({"text_fields": ("text", "label")}, None),
        ({"method": "nope"}, "Unknown method 'nope'"),
        ({"targets": (1.0,)}, "targets"),
        ({"targets": ()}, "targets"),
        ({"seeds": (-1,)}, "seeds"),
        ({"epochs": 0.0}, "epochs"),
        ({"upload": None}, "not in the table"),
        ({"targets": tuple(i / 100 for i in range(99)), "seeds": tuple(range(9))}, "too many"),
    ],
)
def test_request_is_checked(tmp_path, changes, said):
    if said is None:
        assert own(tmp_path, **changes)
        return
    with pytest.raises(UserError, match=said):
        own(tmp_path, **changes)


def test_no_value_can_be_an_option_or_reach_a_shell(tmp_path):
    odd = own(
        tmp_path,
        text_fields=("--store", "; rm -rf /"),
        label_field="$(id)",
        backbone="--retry-failed",
    )
    words = odd.words(tmp_path)
    assert words[0] == "sweep"
    assert "--text-fields=--store,; rm -rf /" in words
    assert "--label-field=$(id)" in words
    assert "--backbone=--retry-failed" in words
    assert all(word.startswith("--") for word in words[1:])
    allowed = {"--store", "--task", "--method", "--strategy", "--epochs", "--targets", "--seeds"}
    allowed |= {"--backbone", "--data", "--text-fields", "--label-field"}
    assert {word.partition("=")[0] for word in words[1:]} == allowed


def test_command_line_understands_the_words(tmp_path, monkeypatch):
    from typer.testing import CliRunner

    from finegates_engine.cli import entry as cli

    plans = []
    monkeypatch.setattr(cli, "carry_out", lambda plan, **_: plans.append(plan))
    made = request(
        task="agreement",
        targets=(0.0, 0.3),
        seeds=(0, 2),
        max_rows=100,
        epochs=1.5,
        method="random",
    )
    done = CliRunner().invoke(cli.app, made.words(tmp_path))
    assert done.exit_code == 0, done.output
    (plan,) = plans
    assert (plan.targets, plan.seeds, plan.strategy) == ((0.0, 0.3), (0, 2), "path")
    assert (plan.base.task.max_train_samples, plan.base.train.epochs) == (100, 1.5)
    assert plan.base.train.batch_size == cli.DEMO.train.batch_size
    assert plan.base.train.dropout is cli.DEMO.train.dropout
    assert plan.base.method == "random"


@pytest.mark.parametrize(
    ("text", "percent", "values"),
    [
        ("0, 30, 50", True, (0.0, 0.3, 0.5)),
        ("50%;30 % 30", True, (0.3, 0.5)),
        ("2 0,1", False, (0, 1, 2)),
        ("100", True, None),
        ("-1", True, None),
        ("nan", True, None),
        ("1e400", True, None),
        ("1.5", False, None),
        ("ten", True, None),
        ("", False, None),
        (",", True, None),
    ],
)
def test_numbers_are_read_or_said(text, percent, values):
    if values is not None:
        assert numbers(text, "Targets", percent=percent) == values
        return
    with pytest.raises(UserError, match="Targets"):
        numbers(text, "Targets", percent=percent)


@pytest.mark.parametrize(
    ("file", "name"),
    [("My Reviews 2.csv", "my-reviews-2"), ("sst2.csv", "my-sst2"), ("\u4e2d.csv", "my-task")],
)
def test_name_of_the_task_comes_from_the_file(file, name):
    assert sweep_request.task_name(file) == name


def write_splits(folder, *names):
    import pandas as pd

    folder.mkdir()
    rows = pd.DataFrame({"sentence": ["good", "bad"] * 20, "label": [1, 0] * 20})
    for name in names:
        rows.to_parquet(folder / f"{name}.parquet")
    return str(folder)


def of_folder(folder, task="sst2"):
    return request(task=task, targets=(0.0,), seeds=(0,), folder=folder)


def test_task_of_the_table_is_read_from_a_folder_of_this_machine(tmp_path):
    asked = of_folder(write_splits(tmp_path / "sst2", "train", "validation"))
    assert f"--data={tmp_path / 'sst2'}" in asked.words(tmp_path)
    found = check_rows(tmp_path, asked, asked.folder)
    assert (len(found.train), len(found.validation["validation"])) == (40, 40)


@pytest.mark.parametrize(
    ("folder", "said"),
    [
        ("rows", "Give the whole path"),
        ("/no/such/place", "There is no folder '/no/such/place' on the machine"),
        ("/tmp/\0", "Give the whole path"),
        ("/" + "x" * 999, "There is no folder"),
    ],
)
def test_folder_that_is_none_is_said(folder, said):
    with pytest.raises(UserError, match=said):
        of_folder(folder)


def test_folder_without_a_split_or_a_column_is_said(tmp_path):
    alone = write_splits(tmp_path / "alone", "train")
    with pytest.raises(UserError, match=r"must hold train.parquet and validation.parquet"):
        of_folder(alone)
    other = of_folder(write_splits(tmp_path / "cola", "train", "validation"), task="mrpc")
    with pytest.raises(UserError, match="sentence1"):
        check_rows(tmp_path, other, other.folder)

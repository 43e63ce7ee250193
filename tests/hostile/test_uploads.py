"""Any file through the form's upload and the reader of rows: a table or a plain error."""

import contextlib
import io
import json
import time
import tomllib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hostile_texts import bounded, texts
from hypothesis import given
from hypothesis import strategies as st

from explorer.loading import uploads
from explorer.processes import sweep_request
from explorer.views import sweep_form
from finegates_engine.config import TaskConfig
from finegates_engine.data.load import load_task
from finegates_engine.data.row_texts import find_texts
from finegates_engine.data.table_files import read_file
from finegates_engine.errors import UserError

CELLS = st.one_of(texts, st.integers(), st.floats(), st.none(), st.booleans(), st.lists(texts))


def looked_at(root, name, data):
    """What the form makes of a file, or its error."""
    try:
        looked = sweep_form._look(root, name, data)
    except UserError as error:
        assert str(root) not in str(error)
        assert "Traceback" not in str(error)
        return None
    kept = [path for path in root.rglob("*") if path.is_file()]
    assert all(path.parent == root / ".sweeps" / "uploads" for path in kept)
    return looked


def request_of(root, looked, name):
    columns = list(looked.longest)
    try:
        asked = sweep_request.request(
            task=sweep_request.task_name(name),
            upload=looked.upload,
            text_fields=(columns[0],),
            label_field=columns[-1],
            targets=(0.0,),
            seeds=(0,),
        )
        sweep_request.check_rows(root, asked, name)
    except UserError as error:
        assert "Traceback" not in str(error)


@given(
    names=st.lists(texts, min_size=1, max_size=4),
    rows=st.lists(st.lists(CELLS, min_size=1, max_size=4), max_size=6),
    name=st.one_of(st.just("rows.jsonl"), texts.map(lambda text: f"{text}.jsonl")),
)
@bounded
def test_any_lines_of_json_become_a_table_or_a_plain_error(tmp_path_factory, names, rows, name):
    root = tmp_path_factory.mktemp("store")
    lines = [json.dumps(dict(zip(names, row, strict=False))) for row in rows]
    looked = looked_at(root, name, "\n".join(lines).encode("utf-8", "surrogatepass"))
    if looked is not None:
        request_of(root, looked, name)


@given(
    parts=st.lists(st.one_of(texts, st.just(","), st.just("\n"), st.just('"'))), binary=st.binary()
)
@bounded
def test_any_csv_becomes_a_table_or_a_plain_error(tmp_path_factory, parts, binary):
    root = tmp_path_factory.mktemp("store")
    data = "".join(parts).encode("utf-8", "surrogatepass") + binary
    looked = looked_at(root, "rows.csv", data)
    if looked is not None:
        request_of(root, looked, "rows.csv")


@given(data=st.binary(max_size=200), place=st.integers(0, 400))
@bounded
def test_any_parquet_becomes_rows_or_a_plain_error(tmp_path_factory, data, place):
    path = tmp_path_factory.mktemp("upload") / "rows.parquet"
    buffer = io.BytesIO()
    pq.write_table(pa.table({"text": ["a", "b"], "label": [0, 1]}), buffer)
    whole = bytearray(buffer.getvalue())
    whole[place : place + len(data)] = data
    path.write_bytes(whole)
    with contextlib.suppress(UserError):
        find_texts(TaskConfig(name="mine", text_fields=("text",)), {"0"}, data=path)


def deep(count, mark):
    close = "]" if mark == "[" else "}"
    return ('{"a": ' + mark * count + "1" + close * count + "}\n").encode()


BOMBS = {
    "lists in lists": ("rows.jsonl", deep(300_000, "["), "recursion"),
    "objects in objects": ("rows.jsonl", deep(100_000, '{"a":'), "recursion"),
    "many names": (
        "rows.jsonl",
        json.dumps({f"n{i}": 1 for i in range(200_000)}).encode(),
        "at most 1,000 are read",
    ),
    "a name a row": (
        "rows.jsonl",
        b"\n".join(b'{"n%d": 1}' % i for i in range(200_000)),
        "at most 1,000 are read",
    ),
    "many columns": (
        "rows.csv",
        b",".join(b"n%d" % i for i in range(200_000)) + b"\n" + b"," * 199_999,
        "header",
    ),
    "many commas": ("rows.csv", b"," * 5_000_000, "header"),
    "one long line": ("rows.csv", b"text,label\n" + b"x" * 20_000_000, "Expected 2 columns, got 1"),
    "many rows": ("rows.csv", b"a,b\n" + b",\n" * 2_000_001, "at most 2,000,000 are read"),
    "a label of digits": ("rows.csv", b"text,label\na," + b"9" * 5000 + b"\nb,1\nc,2\n", None),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_file_of_too_much_is_refused_in_seconds(tmp_path, name):
    file, data, reason = BOMBS[name]
    begun = time.process_time()
    try:
        looked = sweep_form._look(tmp_path, file, data)
        request_of(tmp_path, looked, file)
    except UserError as error:
        assert reason is None or reason in str(error)
    else:
        assert reason is None
    assert time.process_time() - begun < 20


def test_an_upload_of_packed_parquet_is_refused_by_its_pages(tmp_path):
    buffer = io.BytesIO()
    few = pa.table({"text": ["x" * 2**20] * 10})
    options = {"compression": "zstd", "use_dictionary": False}
    with pq.ParquetWriter(buffer, few.schema, **options) as writer:
        for _ in range(60):
            writer.write_table(few)
    (tmp_path / "rows.parquet").write_bytes(buffer.getvalue())
    assert len(buffer.getvalue()) < 2**20
    with pytest.raises(UserError, match="unpacks to more than 500,000,000 bytes"):
        read_file(tmp_path / "rows.parquet", ("text",), ("text",), limits=uploads.UPLOAD_LIMITS)


def test_rows_whose_labels_are_long_digits_are_classes(tmp_path):
    lines = [f"text {row},{'9' * 5000 if row % 2 else 'b'}" for row in range(40)]
    (tmp_path / "rows.csv").write_text("text,label\n" + "\n".join(lines) + "\n")
    config = TaskConfig(name="mine", data=str(tmp_path / "rows.csv"), text_fields=("text",))
    assert load_task(config).labels == ("9" * 5000, "b")


def test_uploads_are_bounded_by_the_server_and_by_the_form(tmp_path):
    settings = tomllib.loads(
        (Path(__file__).parents[2] / "explorer/.streamlit/config.toml").read_text()
    )
    assert settings["server"]["maxUploadSize"] == uploads.UPLOAD_MB == 50
    assert settings["client"]["showErrorDetails"] == "none"
    with pytest.raises(UserError, match="at most 50 MB"):
        uploads.save_upload(tmp_path, "rows.csv", b"x" * (50 * 2**20 + 1))

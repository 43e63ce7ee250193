"""What is added to a run after its training: only such files, and nothing else changes."""

import os

import pytest
from store_checks import CORE

from finegates_engine.errors import UserError
from finegates_engine.files import Damaged


def test_certificate_and_timings_follow_later_and_leave_the_core_alone(saved):
    store, run_id, folder = saved
    before = {name: (folder / name).read_bytes() for name in CORE}
    assert store.load(run_id).certificate is None
    assert store.load(run_id).timings == {}
    store.add_file(run_id, "certificate.json", b'{"largest": 1e-7}')
    store.add_file(run_id, "timings/ab12.json", b'{"latency_ms": [1.5]}')
    store.add_file(run_id, "certificate.json", b'{"largest": 2e-7}')
    run = store.load(run_id)
    assert run.certificate == {"largest": 2e-7}
    assert run.timings == {"ab12": {"latency_ms": [1.5]}}
    assert {name: (folder / name).read_bytes() for name in CORE} == before
    assert set(os.listdir(folder)) == CORE | {"certificate.json", "timings"}


@pytest.mark.parametrize(
    "name",
    ["run.json", "adapter.safetensors", "../x.json", "timings/../run.json", "timings/.json", "x"],
)
def test_other_names_cannot_be_added_to_a_run(saved, name):
    store, run_id, _ = saved
    with pytest.raises(UserError, match=r"cannot be added to a run. Choose certificate.json"):
        store.add_file(run_id, name, b"{}")


@pytest.mark.parametrize("data", [b"[]", b"{", b'{"a": NaN}', b""])
def test_added_file_must_be_a_json_object(saved, data):
    store, run_id, _ = saved
    with pytest.raises(UserError, match=r"certificate.json (must be a JSON object|is not valid)"):
        store.add_file(run_id, "certificate.json", data)


def test_added_file_does_not_leave_the_store_through_a_link(saved, tmp_path):
    store, run_id, folder = saved
    (tmp_path / "elsewhere").mkdir()
    (folder / "timings").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="leads out of the store"):
        store.add_file(run_id, "timings/a.json", b"{}")
    (tmp_path / "elsewhere" / "a.json").write_text("{}")
    with pytest.raises(Damaged, match=f"Run '{run_id}': timings is a link that leads out of the"):
        _ = store.load(run_id).timings

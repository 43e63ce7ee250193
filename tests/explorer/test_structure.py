"""Where things are: thin pages, pure figures, caches in one place; which store is opened."""

import ast
from pathlib import Path

import pytest

from explorer import loaders

ROOT = Path(__file__).parents[2] / "explorer"
FILES = sorted(ROOT.rglob("*.py"))
PURE = [*ROOT.glob("figures/*.py")]
PURE += [
    ROOT / f"{name}.py"
    for name in (
        "theme",
        "levels",
        "findings",
        "gate_words",
        "numbers",
        "glossary",
        "gate_maths",
        "tiny_ffn",
        "lesson",
        "training_words",
        "sweep_process",
        "sweep_request",
        "live_words",
    )
]


def imported(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    names = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module}
    names |= {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("path", PURE, ids=lambda path: path.stem)
def test_figures_and_words_know_no_streamlit(path):
    assert "streamlit" not in imported(path)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_files_are_short_and_pages_shorter(path):
    limit = 80 if path.parent.name == "app_pages" else 300
    assert len(path.read_text().splitlines()) <= limit


def test_only_loaders_cache():
    cached = [path.stem for path in FILES if "st.cache_" in path.read_text()]
    assert cached == ["loaders"]


def test_every_cache_is_bounded():
    tree = ast.parse((ROOT / "loaders.py").read_text())
    caches = [
        decorator
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        for decorator in node.decorator_list
        if "cache_" in ast.unparse(decorator)
    ]
    assert len(caches) > 5
    assert all("max_entries=" in ast.unparse(decorator) for decorator in caches)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_file_imports_torch(path):
    assert not {"torch", "transformers"} & imported(path)


def test_store_is_that_of_the_command_line_then_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv(loaders.VARIABLE, str(tmp_path / "b"))
    assert loaders.store_root(["--store", str(tmp_path / "a"), "--other"]) == str(tmp_path / "a")
    assert loaders.store_root([]) == str(tmp_path / "b")
    assert loaders.store_root(["--store"]) == str(tmp_path / "b")
    monkeypatch.delenv(loaders.VARIABLE)
    assert loaders.store_root([]).endswith("cached_runs")


def test_memo_drops_the_oldest():
    memo = loaders.Memo(2)
    for number in range(3):
        memo.put(number, str(number))
    assert [memo.get(number) for number in range(3)] == [None, "1", "2"]


def test_version_changes_with_every_change_of_a_run(tmp_path):
    folder = tmp_path / "sst2" / "run"
    folder.mkdir(parents=True)
    versions = [loaders.run_versions(str(tmp_path))]
    (folder / "run.json").write_text("{}")
    versions.append(loaders.run_versions(str(tmp_path)))
    (folder / "run.json").write_text("{ }")
    versions.append(loaders.run_versions(str(tmp_path)))
    (folder / "certificate.json").write_text("{}")
    versions.append(loaders.run_versions(str(tmp_path)))
    assert len({str(version) for version in versions}) == 4
    assert loaders.run_versions(str(tmp_path / "nowhere")) == {}


def test_command_names_the_store_as_one_types_it_where_the_app_was_started(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert loaders.Store(str(tmp_path / "my runs"), "1").word == "'my runs'"
    assert loaders.Store(str(tmp_path.parent), "1").word == str(tmp_path.parent)
    assert loaders.Store(str(tmp_path), "1").word == str(tmp_path)

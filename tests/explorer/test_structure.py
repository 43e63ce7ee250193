"""Where things are: thin pages, pure figures, caches in one place; which store is opened."""

import ast
import re
from pathlib import Path

import pytest

from explorer.loading import loaders

REPOSITORY = Path(__file__).parents[2]
ROOT = REPOSITORY / "explorer"
FILES = sorted(ROOT.rglob("*.py"))
PURE = [
    path for room in ("look", "teaching", "words", "figures") for path in ROOT.glob(f"{room}/*.py")
]
LINE = re.compile(r"^      ([a-z_]+)(/|\.py) +\S")


def readme_rooms() -> list[str]:
    """Rooms and single files of the app, in the order of the README's tree."""
    text = (REPOSITORY / "README.md").read_text()
    block = text.split("\n    explorer/", 1)[1].split("\n    tests/", 1)[0]
    found = [LINE.match(line) for line in block.splitlines()[1:]]
    assert all(found)
    return [match[1] for match in found if match]


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").parts[0]


def imported_names(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    names = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module}
    return names | {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}


def imported(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imported_names(path)}


def test_readme_names_every_room():
    assert set(readme_rooms()) == {room_of(path) for path in FILES} - {"__init__"}


def test_rooms_import_only_rooms_above_them():
    order = readme_rooms()
    wrong = []
    for path in FILES:
        for name in imported_names(path):
            if name.startswith("explorer."):
                other, own = name.split(".")[1], room_of(path)
                if order.index(other) > order.index(own):
                    wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert wrong == []


def test_no_file_imports_from_the_top_of_the_app():
    assert [path.name for path in FILES if "explorer" in imported_names(path)] == []


@pytest.mark.parametrize("path", PURE, ids=lambda path: path.stem)
def test_figures_and_words_know_no_streamlit(path):
    assert "streamlit" not in imported(path)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_files_are_short_and_pages_shorter(path):
    limit = 80 if path.parent.name == "app_pages" else 300
    assert len(path.read_text().splitlines()) <= limit


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_functions_are_at_most_fifty_lines(path):
    functions = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.FunctionDef)]
    lines = {one.name: (one.end_lineno or 0) - one.lineno + 1 for one in functions}
    assert {name: count for name, count in lines.items() if count > 50} == {}


def test_only_loaders_cache():
    cached = [path.stem for path in FILES if "st.cache_" in path.read_text()]
    assert cached == ["loaders"]


def test_every_cache_is_bounded():
    tree = ast.parse((ROOT / "loading" / "loaders.py").read_text())
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

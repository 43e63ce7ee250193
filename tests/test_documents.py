"""What the documents name exists: files, headings, commands, options; the citation is whole."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml
from documents import ROOT, anchors, commands, documents, links, prose

import finegates_engine
from finegates_engine.cli.entry import app

GROUP: Any = typer.main.get_command(app)
OF_OTHERS = {"--quick", "--help"}
"""Options in prose that are not of one command: of the benchmarks, and of all."""

each_document = pytest.mark.parametrize(
    "path", documents(), ids=lambda path: str(path.relative_to(ROOT))
)


@each_document
def test_links_lead_to_files_and_headings(path: Path) -> None:
    for link in links(path.read_text()):
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text()), link


@each_document
def test_finegates_commands_are_accepted(path: Path) -> None:
    for name, *words in commands(path.read_text(), "finegates"):
        assert name in GROUP.commands, name
        GROUP.commands[name].make_context(name, words)  # raises for an unknown option or value


@each_document
def test_scripts_that_are_called_exist(path: Path) -> None:
    for name, *_ in commands(path.read_text(), "python"):
        assert name.startswith("-") or (ROOT / name).is_file() or "/" not in name, name


def test_every_option_named_in_prose_exists() -> None:
    known = {o for c in GROUP.commands.values() for p in c.params for o in p.opts}
    known |= {o for c in GROUP.commands.values() for p in c.params for o in p.secondary_opts}
    for path in (ROOT / "README.md", ROOT / "docs" / "usage.md", ROOT / "docs" / "architecture.md"):
        named = set(re.findall(r"`(--[a-z-]+)", prose(path.read_text())))
        assert named <= known | OF_OTHERS, path.name


def test_every_document_is_reached_from_the_readme() -> None:
    reached, ahead = set(), [ROOT / "README.md"]
    while ahead:
        path = ahead.pop().resolve()
        if path not in reached and path.suffix == ".md" and path.exists():
            reached.add(path)
            ahead += [path.parent / link.partition("#")[0] for link in links(path.read_text())]
    assert {path.resolve() for path in (ROOT / "docs").glob("*.md")} <= reached


def test_citation_is_whole_and_says_what_the_package_says() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert str(citation["version"]) == project["version"] == finegates_engine.__version__
    assert citation["license"] == project["license"]
    for reference in citation["references"]:
        assert {"type", "title", "authors"} <= set(reference)
        assert reference["url"].rpartition("/")[2] in (ROOT / "README.md").read_text()


def test_changelog_begins_with_the_version_of_the_package() -> None:
    first = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert first is not None
    assert first[1].rstrip(",") == finegates_engine.__version__

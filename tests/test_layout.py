"""The README's tree is the tree, and modules import one way, in its order."""

import ast
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
ENGINE = ROOT / "finegates_engine"
LINE = re.compile(r"^(      |        )([a-z_]+)(\.py|/)\s+(\S.*)$")
MARK = "(torch)"
HEAVY = {"torch", "transformers", "datasets", "evaluate"}


def readme_modules() -> dict[str, str]:
    """Purpose of each module ("errors", "data.load") and room ("data"), in the README's order."""
    text = (ROOT / "README.md").read_text()
    block = text.split("    finegates_engine/\n", 1)[1].split("\n    explorer/", 1)[0]
    found: dict[str, str] = {}
    room = ""
    for line in block.splitlines():
        match = LINE.match(line)
        assert match, f"not a line of the tree: {line!r}"
        indent, name, ending, purpose = match.groups()
        if len(indent) == 6:
            room = name if ending == "/" else ""
        else:
            name = f"{room}.{name}"
        assert name not in found, f"{name} is named twice"
        found[name] = purpose
    return found


def modules() -> dict[str, Path]:
    """Every module by its name in the package; a room stands for its __init__.py."""
    found = {}
    for path in ENGINE.rglob("*.py"):
        parts = path.relative_to(ENGINE).with_suffix("").parts
        if parts in (("__init__",), ("__main__",)) or parts[-1] == "__main__":
            continue
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path, *, top_only: bool) -> set[str]:
    """Full names of what a file imports; with `from a import b` both a and a.b."""
    tree = ast.parse(path.read_text())
    package = ".".join(path.relative_to(ROOT).parent.parts)
    found: set[str] = set()
    for node in tree.body if top_only else ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            above = package if node.level == 1 else ""
            module = ".".join(filter(None, [above, node.module]))
            found |= {module} | {f"{module}.{name.name}" for name in node.names}
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
    return found


def engine_imports(path: Path) -> set[str]:
    names = {m.removeprefix("finegates_engine.") for m in imports(path, top_only=True)}
    return names & set(modules())


def test_readme_names_every_module_with_a_purpose() -> None:
    assert set(readme_modules()) == set(modules())


def test_modules_import_only_what_stands_above_them() -> None:
    seen: set[str] = set()
    wrong = []
    found = modules()
    for name in readme_modules():
        room = name.partition(".")[0]
        for other in engine_imports(found[name]) - seen - {room}:
            inside = name == room and other.startswith(f"{room}.")  # a room's __init__.py
            if not inside:
                wrong.append(f"{name} imports {other}")
        seen.add(name)
    assert not wrong


def test_only_marked_modules_import_torch_at_the_top() -> None:
    found = modules()
    tainted = {
        name
        for name, path in found.items()
        if any(
            m.split(".")[0] in HEAVY or m == "safetensors.torch"
            for m in imports(path, top_only=True)
        )
    }
    while (
        more := {
            name
            for name, path in found.items()
            if tainted & (engine_imports(path) | {name.partition(".")[0]})
        }
        - tainted
    ):
        tainted |= more
    files = {name for name, path in found.items() if path.name != "__init__.py"}
    marked = {name for name, purpose in readme_modules().items() if purpose.endswith(MARK)}
    assert tainted & files == marked


def test_modules_without_the_mark_load_no_torch() -> None:
    heavy_rooms = {"folded", "methods"}  # each of their files is marked
    light = [
        name
        for name, purpose in readme_modules().items()
        if not purpose.endswith(MARK) and name not in heavy_rooms
    ]
    code = "import sys\n" + "".join(f"import finegates_engine.{name}\n" for name in light)
    code += f"print(sorted({HEAVY} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "[]", done.stderr


def test_engine_files_are_under_300_lines() -> None:
    long = {p.name: len(p.read_text().splitlines()) for p in ENGINE.rglob("*.py")}
    assert {name: lines for name, lines in long.items() if lines > 300} == {}


def test_engine_never_imports_the_explorer() -> None:
    for path in ENGINE.rglob("*.py"):
        assert not any(m.split(".")[0] == "explorer" for m in imports(path, top_only=False))

"""The README's tree is the tree, and modules import one way, in its order."""

import ast
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
ENGINE = ROOT / "finegates_engine"
LINE = re.compile(r"^      ([a-z_]+)(\.py|/)\s{2,}(\S.*)$")
MARK = "(torch)"


def readme_modules() -> list[tuple[str, str]]:
    """Name and purpose of each module, or of each folder of modules, in the README's order."""
    text = (ROOT / "README.md").read_text()
    block = text.split("    finegates_engine/\n", 1)[1].split("\n    explorer/", 1)[0]
    return [(m[1], m[3]) for line in block.splitlines() if (m := LINE.match(line))]


def files(name: str) -> list[Path]:
    single = ENGINE / f"{name}.py"
    return [single] if single.exists() else sorted((ENGINE / name).glob("*.py"))


def imports(path: Path, *, top_only: bool) -> set[str]:
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_only else list(ast.walk(tree))
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
            if node.module == "finegates_engine":
                found |= {f"finegates_engine.{name.name}" for name in node.names}
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
    return found


def imports_of(name: str) -> set[str]:
    return set().union(*(imports(path, top_only=True) for path in files(name)))


def test_readme_names_every_module_with_a_purpose() -> None:
    names = [name for name, _ in readme_modules()]
    assert len(names) == len(set(names))
    modules = {p.stem for p in ENGINE.glob("*.py")} - {"__init__", "__main__"}
    folders = {p.parent.name for p in ENGINE.glob("*/__init__.py")}
    assert set(names) == modules | folders


def test_modules_import_only_what_stands_above_them() -> None:
    seen: set[str] = set()
    wrong = []
    for name, _ in readme_modules():
        for module in imports_of(name):
            package, _, rest = module.partition(".")
            leaf = rest.partition(".")[0]
            known = leaf in seen or leaf == name or not files(leaf)
            if package == "finegates_engine" and leaf and not known:
                wrong.append(f"{name} imports {leaf}")
        seen.add(name)
    assert not wrong


def test_only_marked_modules_import_torch_at_the_top() -> None:
    heavy = {name for name, purpose in readme_modules() if purpose.endswith(MARK)}
    tainted: set[str] = set()
    for name, _ in readme_modules():
        modules = imports_of(name)
        direct = any(m.split(".")[0] in ("torch", "transformers") for m in modules)
        direct |= "safetensors.torch" in modules
        if direct or any(
            re.match(rf"finegates_engine\.{other}(\.|$)", module)
            for other in tainted
            for module in modules
        ):
            tainted.add(name)
    assert tainted == heavy


def test_modules_without_the_mark_load_no_torch() -> None:
    light = [name for name, purpose in readme_modules() if not purpose.endswith(MARK)]
    code = "import sys\n" + "".join(f"import finegates_engine.{name}\n" for name in light)
    code += "print(sorted({'torch', 'transformers', 'datasets', 'evaluate'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "[]", done.stderr


def test_engine_files_are_under_300_lines() -> None:
    long = {p.name: len(p.read_text().splitlines()) for p in ENGINE.rglob("*.py")}
    assert {name: lines for name, lines in long.items() if lines > 300} == {}


def test_engine_never_imports_the_explorer() -> None:
    for path in ENGINE.rglob("*.py"):
        assert not any(m.split(".")[0] == "explorer" for m in imports(path, top_only=False))

"""The architecture: imports go left only, the light packages stay light, and no file has a name that says nothing."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ("tools", "envs", "critics", "distill", "eval")
FILES = sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))
EMPTY_NAMES = {"utils", "util", "helpers", "helper", "common", "types", "manager", "misc"}


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Line and absolute name of every import of a file, also those inside functions and under TYPE_CHECKING."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            yield node.lineno, ".".join([*above, *filter(None, [node.module])])


def wrong_imports(path: Path) -> list[str]:
    own = LAYERS.index(path.relative_to(ROOT).parts[0])
    return [
        f"{path.relative_to(ROOT)}:{line} imports {name}, which is right of {LAYERS[own]}"
        for line, name in imported(path)
        if name.partition(".")[0] in LAYERS[own + 1 :]
    ]


def test_imports_go_left_only() -> None:
    assert FILES
    assert [wrong for path in FILES for wrong in wrong_imports(path)] == []


def test_nothing_imports_the_tests() -> None:
    assert [path for path in FILES for _, name in imported(path) if name.partition(".")[0] == "tests"] == []


def test_the_check_sees_an_import_inside_a_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    (tmp_path / "envs").mkdir()
    path = tmp_path / "envs" / "world.py"
    path.write_text("import tools.call\n\ndef act():\n    from critics.rules import find\n    from . import store\n")
    assert list(imported(path)) == [(1, "tools.call"), (4, "critics.rules"), (5, "envs")]
    assert wrong_imports(path) == ["envs/world.py:4 imports critics.rules, which is right of envs"]


def test_the_light_packages_load_no_model_library() -> None:
    code = (
        "import sys, tools, envs, critics\n"
        "print(*sorted({'torch', 'transformers', 'renderers', 'tokenizers', 'accelerate', 'peft'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")


def test_no_file_hides_a_standard_module() -> None:
    dunder = {"__init__", "__main__"}
    assert [path for path in FILES if path.stem in sys.stdlib_module_names - dunder] == []


def test_no_module_has_a_name_that_says_nothing() -> None:
    names = {part for path in FILES for part in path.relative_to(ROOT).with_suffix("").parts}
    assert names & EMPTY_NAMES == set()

"""What the tree looks like: folders, lengths of modules and functions, who may write, README's commands."""

from __future__ import annotations

import ast
import re
import shlex
import statistics
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("gpu_kernels", "reports", "sim", "workloads")
FOLDERS = {*PACKAGES, "arch_configs", "docs", "tests"}
BUILT = {"build", "dist", "out"}  # ignored by git
LONGEST_MODULE, LONGEST_TEST = 320, 400
LONGER_MODULES = {
    "sim/exec/compute.py": "one function per kind of operation, all called from the executor's hot loop",
    "sim/exec/interpreter.py": "the executor's hot loop",
    "sim/sm/engine.py": "the timing engine's hot loop",
    "sim/sm/reference.py": "the timing engine's readable twin, in one piece to be read beside it",
}
WRITERS = {"sim/cli.py", "sim/commands/terminal.py"}  # the command line; besides it, scripts for python -m
MACHINE_PATHS = re.compile(r"/(work|tmp|home|root|mnt)/[a-z]|shared/(design|reference|prototype)")
LOOKING_FOR_THEM = {"tests/contract/test_kernels.py", "tests/contract/test_layout.py"}
TEXTS = {".py", ".md", ".yaml", ".json", ".toml", ".cu", ".cuh"}


def modules(*folders: str) -> list[Path]:
    found = (path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return sorted(path for path in found if "__pycache__" not in path.parts)


def longer_than(most: int, *folders: str) -> set[str]:
    found = modules(*folders)
    return {name_of(path) for path in found if len(path.read_text(encoding="utf-8").splitlines()) > most}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


LENGTHS = [length(node) for path in modules(*PACKAGES) for node in functions(path)]


def test_folders_at_the_top_are_the_agreed_ones() -> None:
    found = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith((".", "_"))}
    assert {name for name in found - BUILT if not name.endswith(".egg-info")} == FOLDERS


def test_a_module_is_short_or_a_named_exception() -> None:
    assert longer_than(LONGEST_MODULE, *PACKAGES, ".ci") == set(LONGER_MODULES)
    assert longer_than(LONGEST_TEST, "tests") == set()


def test_functions_are_short() -> None:
    assert statistics.median(LENGTHS) < 10
    assert sum(lines < 50 for lines in LENGTHS) / len(LENGTHS) > 0.95


def test_only_the_command_line_writes_to_the_terminal() -> None:
    writes = re.compile(r"\bprint\(|\bsys\.(stdout|stderr)\b")
    texts = {name_of(path): path.read_text(encoding="utf-8") for path in modules(*PACKAGES)}
    scripts = {name for name, text in texts.items() if 'if __name__ == "__main__":' in text}
    measuring = {
        name for name in texts if name.startswith("gpu_kernels/measuring/")
    }  # of gpu_kernels.measure
    assert {name for name, text in texts.items() if writes.search(text)} - scripts - measuring <= WRITERS


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_module_class_and_function_says_what_it_is(package: str) -> None:
    for path in modules(package):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        public = [
            node
            for node in tree.body
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
        ]
        empty = path.name == "__init__.py" and not tree.body
        assert empty or ast.get_docstring(tree), name_of(path)
        assert [node.name for node in public if not ast.get_docstring(node)] == [], name_of(path)


def test_no_file_names_a_place_on_one_machine() -> None:
    folders = [*modules(*FOLDERS, ".ci"), *ROOT.glob("*.*"), *(ROOT / ".ci").iterdir()]
    folders += [path for folder in (*PACKAGES, "arch_configs") for path in (ROOT / folder).rglob("*.*")]
    texts = {path for path in folders if path.is_file() and path.suffix in TEXTS}
    found = [
        f"{name_of(path)}: {match[0]}"
        for path in sorted(texts)
        if name_of(path) not in LOOKING_FOR_THEM
        for match in MACHINE_PATHS.finditer(path.read_text(encoding="utf-8"))
    ]
    assert found == []


@pytest.mark.parametrize("marker", ["TO" + "DO", "FIX" + "ME", "place" + "holder"])
def test_nothing_is_unfinished_by_its_own_words(marker: str) -> None:
    texts = [*modules(*FOLDERS), *ROOT.glob("*.md")]
    assert [name_of(path) for path in texts if marker in path.read_text(encoding="utf-8")] == []


# ------------------------------------------------------------------------------------- README.md


def readme() -> str:
    return (ROOT / "README.md").read_text(encoding="utf-8")


def shell_lines() -> list[str]:
    blocks = re.findall(r"^```sh\n(.*?)^```$", readme(), re.MULTILINE | re.DOTALL)
    joined = (block.replace("\\\n", " ") for block in blocks)
    return [
        part.strip() for block in joined for line in block.splitlines() for part in line.split("&&") if part
    ]


def test_readme_has_one_command_to_sweep_and_one_to_test() -> None:
    for name, last in (("sweep", "tcsim"), ("test", "pytest")):
        blocks = re.findall(rf"^<!-- ci: {name} -->\n```sh\n(.*?)^```$", readme(), re.MULTILINE | re.DOTALL)
        assert len(blocks) == 1
        assert blocks[0].startswith("python -m venv .venv && .venv/bin/pip install ")
        assert f".venv/bin/{last}" in blocks[0]
        subprocess.run(["bash", "-n"], input=blocks[0], text=True, check=True)


def test_files_that_readme_names_exist() -> None:
    linked = re.findall(r"\]\(([^)#:]+?)\)", readme())
    words = [word for line in shell_lines() for word in shlex.split(line)]
    typed = [word for word in words if word.endswith((".yaml", ".py")) and not word.startswith("out/")]
    assert linked and typed
    assert [name for name in (*linked, *typed) if not (ROOT / name).exists()] == []


def test_options_that_readme_shows_exist() -> None:
    from typer.main import get_command

    from sim.cli import app

    commands = dict(get_command(app).commands)  # type: ignore[attr-defined]
    groups = {name: each.commands for name, each in commands.items() if hasattr(each, "commands")}
    commands |= {f"{name} {part}": each for name, parts in groups.items() for part, each in parts.items()}
    shown = [shlex.split(line) for line in shell_lines() if re.match(r"(\.venv/bin/)?tcsim ", line)]
    assert shown
    for _, name, *words in shown:
        name = f"{name} {words[0]}" if name in groups else name
        known = {option for parameter in commands[name].params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, f"tcsim {name}"


def test_the_kernel_that_readme_shows_is_the_example() -> None:
    (shown,) = re.findall(r"^```python\n(.*?)^```$", readme(), re.MULTILINE | re.DOTALL)
    example = ROOT / "gpu_kernels" / "examples" / "transpose.py"
    assert shown == example.read_text(encoding="utf-8")


def test_pictures_that_readme_shows_are_small() -> None:
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", readme())
    assert pictures
    assert all(0 < (ROOT / name).stat().st_size < 400_000 for name in pictures)


def test_version_is_the_newest_of_the_changelog() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    version = re.search(r'^version = "([^"]+)"$', project, re.MULTILINE)
    newest = re.search(
        r"^## \[(\d[^\]]*)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert version and newest and version[1] == newest[1]

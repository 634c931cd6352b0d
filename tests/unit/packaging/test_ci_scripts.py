"""The scripts of .ci: what they take out of README.md, what they find wrong with a wheel and with a sweep."""

from __future__ import annotations

import importlib.util
import sqlite3
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[3]


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / ".ci" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


README = script("readme_commands")
WHEEL = script("check_wheel")
SWEEP = script("check_sweep")
OUTPUTS = script("readme_outputs")

TEXT = "# Title\n\n<!-- ci: one -->\n```sh\nfirst &&\n  second\n```\n\n```sh\nother\n```\n"


# ------------------------------------------------------------------------------------- README.md


def test_the_block_under_the_comment_is_the_command() -> None:
    assert README.command(TEXT, "one") == "first &&\n  second"


@pytest.mark.parametrize(
    "text",
    [
        TEXT.replace("ci: one", "ci: two"),
        TEXT + TEXT,
        TEXT.replace("first &&\n  second\n", ""),
        TEXT.replace("<!-- ci: one -->\n", "<!-- ci: one -->\nwords between\n"),
    ],
)
def test_no_block_or_several_are_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="ci: one"):
        README.command(text, "one")


# ------------------------------------------------------------------------------------- the wheel


def test_a_wheel_is_compared_with_the_tracked_files() -> None:
    wanted = {f"sim/a{suffix}" for suffix in WHEEL.SUFFIXES}
    info = {"tensorcore_sim-0.1.0.dist-info/METADATA"}
    assert WHEEL.mistakes(wanted | info, wanted) == []
    assert WHEEL.mistakes(wanted | {"tests/test_a.py"}, wanted) == ["unwanted: tests/test_a.py"]
    assert WHEEL.mistakes(wanted - {"sim/a.cu"}, wanted) == ["missing: sim/a.cu", "no .cu at all"]


def test_the_wheel_holds_the_five_packages_and_no_tests() -> None:
    assert WHEEL.packages(ROOT) == ("sim", "workloads", "gpu_kernels", "reports", "arch_configs")


@pytest.mark.parametrize("suffix", WHEEL.SUFFIXES)
def test_every_kind_of_file_exists_in_the_packages(suffix: str) -> None:
    assert any(next((ROOT / name).rglob(f"*{suffix}"), None) for name in WHEEL.packages(ROOT))


def test_a_damaged_wheel_is_named_on_standard_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = tmp_path / "x.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("sim/a.py", "")
    monkeypatch.setattr(WHEEL, "tracked", lambda checkout, folders: {"sim/a.py", "sim/b.py"})
    assert WHEEL.main(wheel, ROOT) == 1
    assert "missing: sim/b.py" in capsys.readouterr().out


# ------------------------------------------------------------------------------------- a sweep's directory


def sweep_directory(path: Path) -> Path:
    sqlite3.connect(path / "results.sqlite").close()
    (path / "results.csv").write_text("m,time_us,error\n1,2.5,\n")
    for name in SWEEP.FIGURES:
        (path / f"{name}.png").write_bytes(SWEEP.PNG + bytes(20_000))
        (path / f"{name}.svg").write_text("<svg></svg>\n")
    return path


def test_a_complete_sweep_has_no_mistakes(tmp_path: Path) -> None:
    assert SWEEP.mistakes(sweep_directory(tmp_path)) == []


def test_each_damage_to_a_sweep_is_found(tmp_path: Path) -> None:
    directory = sweep_directory(tmp_path)
    (directory / "roofline.png").unlink()
    (directory / "bank_conflicts.svg").write_text("<svg>")
    (directory / "results.csv").write_text("m,time_us,error\n1,2.5,\n2,,no such tile\n")
    assert SWEEP.mistakes(directory) == [
        "results.csv: no such tile",
        "results.csv: a row without a time",
        "roofline: no PNG",
        "bank_conflicts.svg: damaged",
    ]
    (directory / "results.sqlite").unlink()
    assert SWEEP.mistakes(directory) == ["results.sqlite: missing"]


# ------------------------------------------------------------------------------------- README.md's outputs

SHOWN = (
    "```sh\nsetup\n```\n\n```sh\necho a\necho b\n```\n\n```text\na\n...\n```\n\nwords\n\n```sh\nlast\n```\n"
)


def test_an_output_is_refreshed_to_the_length_it_had() -> None:
    commands: list[str] = []

    def output_of(command: str) -> str:
        commands.append(command)
        return "1\n2\n3\n"

    assert OUTPUTS.refreshed(SHOWN, output_of) == SHOWN.replace("a\n...", "1\n...")
    assert OUTPUTS.refreshed(SHOWN.replace("...\n", ""), output_of).count("1\n2\n3\n") == 1
    assert commands == ["echo a\necho b\n"] * 2


def test_commands_run_in_the_shell() -> None:
    assert OUTPUTS.output_of("echo a\necho b | tr b c\n") == "a\nc\n"

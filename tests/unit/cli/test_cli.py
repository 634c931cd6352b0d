"""The command line: what it prints, and one line with exit status 2 for every mistake."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from sim.arch.spec import GpuSpec
from sim.cli import run
from sim.commands import evaluator, selection
from sim.commands.terminal import FIRST_USE
from sim.errors import DeadlockError
from sim.isa.launch import KernelLaunch
from sim.results import BOUNDS, COUNTERS, STALLS, RunResult, Workload

JSON_KEYS = {
    "schema_version",
    "version",
    "config_hash",
    "arch",
    "extensions",
    "scheme",
    "options",
    "m",
    "n",
    "k",
    "time_us",
    "cycles",
    "clock_mhz",
    "bound_by",
    "breakdown_us",
    "stalls",
    "counters",
    "energy_uj",
    "flops",
    "compulsory_bytes",
}
SIMULATE = ["simulate", "--scheme", "w4a16", "--m", "16", "--n", "4096", "--k", "4096"]
LAYER = ["simulate", "--m", "1", "--model", "llama3-8b"]

Invoke = Callable[..., tuple[int, str, str]]


def fake_simulate(
    workload: Workload, launches: Sequence[KernelLaunch], gpu: GpuSpec, extensions: Sequence[str] = ()
) -> RunResult:
    """Answer with bytes over bandwidth; M = 64 never ends."""
    if workload.m == 64:
        raise DeadlockError("warp 0 waits for barrier 1")
    time_us = workload.compulsory_bytes / gpu.dram.bandwidth_gb_per_s / 1e3
    return RunResult(
        arch=gpu.name,
        scheme=workload.scheme,
        m=workload.m,
        n=workload.n,
        k=workload.k,
        options=workload.options,
        extensions=tuple(extensions),
        time_us=time_us,
        cycles=time_us * 1755,
        clock_mhz=1755.0,
        bound_by="dram" if workload.m < 64 else "tensor",
        bound_text="DRAM bandwidth is in use 93 % of the time",
        breakdown_us={name: time_us if name == "dram" else 0.0 for name in BOUNDS},
        stalls=dict.fromkeys(STALLS, 1.5),
        counters=dict.fromkeys(COUNTERS, 1000.0),
        energy_uj=12.0,
        flops=workload.flops,
        compulsory_bytes=workload.compulsory_bytes,
        config_hash="cafe",
        version="1",
        roofs={"tensor_tflops": 989.0, "mma_tflops": 620.0, "dram_gb_per_s": 4000.0},
    )


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Invoke:
    """Run the command in this process with a stand-in for the simulator."""
    module = types.ModuleType("sim.simulate")
    module.simulate = fake_simulate  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sim.simulate", module)
    for user in (selection, evaluator):
        monkeypatch.setattr(user, "described_launches", lambda *arguments: ())

    def call(*arguments: str) -> tuple[int, str, str]:
        status = run(arguments)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


def sweep_file(tmp_path: Path, text: str) -> str:
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    return str(path)


def test_json_is_one_object_with_the_keys_promised(invoke: Invoke) -> None:
    status, out, err = invoke(*SIMULATE, "--json")
    record = json.loads(out)
    assert (status, err, out.count("\n")) == (0, "", 1)
    assert set(record) >= JSON_KEYS
    assert (record["arch"], record["m"], record["options"]) == ("h200", 16, {"group_size": 128})
    assert sum(record["breakdown_us"].values()) == pytest.approx(record["time_us"])


def test_text_says_time_clock_bound_and_energy(invoke: Invoke) -> None:
    status, out, err = invoke(*SIMULATE)
    assert (status, err) == (0, "")
    assert out.startswith("w4a16 (group_size=128) M=16 N=4096 K=4096 on h200\n")
    for part in ("at 1755 MHz", "DRAM bandwidth is in use 93 %", "µJ", "long scoreboard", "100.0"):
        assert part in out
    assert "\x1b" not in out


def test_what_was_set_is_part_of_the_machines_name(invoke: Invoke) -> None:
    _, out, _ = invoke(*SIMULATE, "--set", "sm.shared_memory.banks=64", "--json")
    assert json.loads(out)["arch"] == "h200 [sm.shared_memory.banks=64]"


def test_a_models_layer_gives_n_and_k(invoke: Invoke) -> None:
    _, out, _ = invoke("simulate", "--m", "1", "--model", "llama3-8b", "--layer", "down_proj", "--json")
    record = json.loads(out)
    assert (record["scheme"], record["n"], record["k"]) == ("fp16", 4096, 14336)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["simulte"], "No such command 'simulte'. Did you mean 'simulate'?"),
        (["simulate", "--arhc", "h200"], "--arch"),
        (["simulate", "--m", "one"], "--m"),
        (["sweep"], "Missing argument"),
        (["simulate"], "--m: missing; allowed: --m with --n and --k"),
        (["simulate", "--m", "1"], "--n: missing"),
        ([*SIMULATE, "--arch", "h20"], "unknown arch 'h20'. Did you mean 'h200'?"),
        ([*SIMULATE, "--arch", "nowhere.yaml"], "nowhere.yaml: no such file"),
        ([*SIMULATE, "--scheme", "w4a61"], "unknown scheme 'w4a61'. Did you mean 'w4a16'?"),
        ([*SIMULATE, "--option", "group_size=100"], "option group_size: got '100', allowed: 64, 128"),
        ([*SIMULATE, "--option", "group=64"], "Did you mean 'group_size'?"),
        ([*SIMULATE, "--option", "group_size"], "--option: got 'group_size', allowed: name=value"),
        ([*SIMULATE, "--tile", "17x3"], "unknown tile of w4a16 '17x3'"),
        ([*SIMULATE, "--extension", "warp_drive"], "unknown extension 'warp_drive'"),
        ([*SIMULATE, "--set", "sm.shared_memory.bank=64"], "Did you mean 'sm.shared_memory.banks'?"),
        ([*SIMULATE, "--set", "sm.shared_memory.banks=many"], "got 'many'"),
        ([*SIMULATE, "--m", "0"], "M must be from 1 to 1048576; got 0"),
        ([*SIMULATE, "--m", str(10**30)], "beyond 2^62"),
        ([*SIMULATE, "--k", "4095"], "K must be a multiple of 64; got 4095"),
        ([*SIMULATE, "--m", "64"], "warp 0 waits for barrier 1"),
        ([*SIMULATE, "--model", "llama3-8b"], "--model: stands beside --n or --k"),
        (
            ["simulate", "--m", "1", "--model", "llama3-8b", "--layer", "mlp"],
            "unknown layer of llama3-8b 'mlp'",
        ),
        (["simulate", "--m", "1", "--model", "llama3-8b"], "unknown layer of llama3-8b ''"),
        ([*SIMULATE, "--kernel", "x.py"], "--scheme: stands beside --kernel"),
        (["list", "arch"], "unknown list 'arch'. Did you mean 'archs'?"),
        (["schema", "gpus"], "unknown schema 'gpus'. Did you mean 'gpu'?"),
        (["report", "nowhere"], "nowhere/results.sqlite: no such file"),
        (["sweep", "nowhere.yaml", "--out", "x"], "nowhere.yaml: no such file"),
        (["sweep", "x.yaml", "--out", "x", "--workers", "0"], "--workers"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(invoke: Invoke, arguments: list[str], message: str) -> None:
    status, out, err = invoke(*arguments)
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("what", ["archs", "schemes", "models", "suites", "extensions", "reports", "tiles"])
def test_everything_can_be_listed(invoke: Invoke, what: str) -> None:
    status, out, err = invoke("list", what)
    assert (status, err) == (0, "")
    assert "tender_accumulator" in out or what != "extensions"


def test_the_plain_list_names_every_kind(invoke: Invoke) -> None:
    _, out, _ = invoke("list")
    assert {"h200", "w4a16,", "llama3-8b,"} & set(out.split())


@pytest.mark.parametrize("what", ["gpu", "sweep", "study"])
def test_schemas_are_json(invoke: Invoke, what: str) -> None:
    _, out, _ = invoke("schema", what)
    assert json.loads(out)["type"] == "object"


SMALL = """
grid:
  arch: [h200, h200-2x-dram]
  scheme: [fp16, w4a16]
  model: llama3-8b
  m: [1, 2, 4]
"""


def test_a_sweep_writes_table_store_and_figures_and_says_what_bounds(invoke: Invoke, tmp_path: Path) -> None:
    out_dir = tmp_path / "out"
    status, out, err = invoke("sweep", sweep_file(tmp_path, SMALL), "--out", str(out_dir), "--workers", "1")
    assert (status, err) == (0, "")
    written = {path.name for path in out_dir.iterdir()}
    assert {"results.csv", "results.sqlite", "roofline.png", "roofline.svg", "bank_conflicts.png"} <= written
    assert not any(name.startswith(".") for name in written)
    assert "gate_up_proj" in out
    assert "M 1-4: DRAM" in out
    assert any(line.split()[:4] == ["h200-2x-dram", "all", "2.00x", "faster"] for line in out.splitlines())
    assert "\x1b" not in out and "\r" not in out
    assert out.splitlines()[:2] == [f"0/48 points, {FIRST_USE}", "48/48 points"]


def test_a_second_sweep_and_a_report_give_the_same_bytes(invoke: Invoke, tmp_path: Path) -> None:
    out_dir, file = tmp_path / "out", sweep_file(tmp_path, SMALL)
    invoke("sweep", file, "--out", str(out_dir), "--workers", "1")
    before = {path.name: path.read_bytes() for path in out_dir.iterdir() if path.suffix != ".sqlite"}
    _, out, _ = invoke("sweep", file, "--out", str(out_dir), "--workers", "1")
    assert "all in the store" in out
    assert {path.name: path.read_bytes() for path in out_dir.iterdir() if path.suffix != ".sqlite"} == before
    status, _, _ = invoke("report", str(out_dir))
    assert status == 0
    assert {path.name: path.read_bytes() for path in out_dir.iterdir() if path.suffix != ".sqlite"} == before


def test_failing_points_are_named_at_the_end_with_status_1(invoke: Invoke, tmp_path: Path) -> None:
    file = sweep_file(tmp_path, SMALL.replace("[1, 2, 4]", "[1, 64]"))
    status, out, err = invoke("sweep", file, "--out", str(tmp_path / "out"), "--workers", "1")
    assert status == 1
    assert "M 1: DRAM; M 64: failed" in out
    assert err.splitlines()[0] == ("failed: h200, fp16, M=64 N=6144 K=4096: warp 0 waits for barrier 1")
    assert len(err.splitlines()) == 16


def test_without_a_store_nothing_is_kept(invoke: Invoke, tmp_path: Path) -> None:
    file = sweep_file(tmp_path, SMALL)
    status, _, _ = invoke("sweep", file, "--out", str(tmp_path / "out"), "--workers", "1", "--no-store")
    assert status == 0
    assert not (tmp_path / "out" / "results.sqlite").exists()
    assert (tmp_path / "out" / "results.csv").exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("h200,", "h20,", "sweep.yaml:3: grid.arch.0: unknown arch 'h20'. Did you mean 'h200'?"),
        ("w4a16", "w4a61", "sweep.yaml:4: grid.scheme.1: unknown scheme 'w4a61'"),
        ("w4a16", "{name: w4a16, options: {group_size: 7}}", "grid.scheme.1: option group_size: got 7"),
        ("w4a16", "{name: w4a16, tile: 9x9}", "grid.scheme.1: unknown tile of w4a16 '9x9'"),
        ("model: llama3-8b", "model: llama3-8c", "sweep.yaml:5: grid.model.0: unknown model 'llama3-8c'"),
        ("model: llama3-8b", "shapes: [{n: 8, k: 128}]", "grid.shapes.0: N must be a multiple of 16"),
        ("m: [", "set: {sm.cuont: [1]}\n  m: [", "grid.set.sm.cuont.0: "),
        ("m: [", "extensions: warp_drive\n  m: [", "unknown extension 'warp_drive'"),
        ("m: [1", "m: [2000000", "M must be from 1 to 1048576"),
    ],
)
def test_a_sweeps_mistakes_are_found_before_anything_runs(
    invoke: Invoke, tmp_path: Path, old: str, new: str, message: str
) -> None:
    file = sweep_file(tmp_path, SMALL.replace(old, new, 1))
    status, out, err = invoke("sweep", file, "--out", str(tmp_path / "out"))
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_an_unwritable_directory_is_one_line(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    status, _, err = invoke("sweep", sweep_file(tmp_path, SMALL), "--out", str(tmp_path / "file" / "out"))
    assert status == 2
    assert err.endswith("cannot be written: Not a directory\n")


def test_ctrl_c_is_one_line(invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: Any) -> RunResult:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["sim.simulate"], "simulate", interrupted)
    file = sweep_file(tmp_path, SMALL)
    status, _, err = invoke("sweep", file, "--out", str(tmp_path / "out"), "--workers", "1")
    assert (status, err) == (130, "interrupted; finished points are kept, the same command goes on\n")
    assert invoke(*SIMULATE) == (130, "", "interrupted\n")

"""The accumulator study's page: gains over the best kernel without the hardware, and what it says of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from reports.accumulator import (
    EXPLICIT,
    HARDWARE,
    IDEAL,
    SOFTWARE,
    Accurate,
    Hardware,
    Overflow,
    Study,
    Timed,
    conclusion,
    gain_pct,
    render,
)


def study(hardware_us: float) -> Study:
    times = {IDEAL: 9.0, HARDWARE: hardware_us, SOFTWARE: 12.0, EXPLICIT: 15.0}
    timed = [
        Timed("tender_w8a8", variant, groups, m, "qkv_proj", 2, us, 5.0, "tensor")
        for variant, us in times.items()
        for groups in (1, 8)
        for m in (1, 16)
    ]
    return Study(
        "h200",
        "llama3-8b",
        (*timed, *(Timed("fp16", "", 0, m, "qkv_proj", 2, 20.0, 9.0, "dram") for m in (1, 16))),
        tuple(Overflow(8, 8, width, "wrap", 0.0, 30.0, min(width, 29)) for width in (16, 32)),
        (Accurate("tender_w8a8", 8, 30.0), Accurate("fp16", 0, 60.0)),
        (Hardware("shift", 1, "bits", "paper: one"),),
        {1: 20.0, 16: 0.0},
    )


def test_the_gain_is_over_the_best_kernel_without_the_hardware() -> None:
    assert gain_pct(study(10.0), "tender_w8a8", 8, 1, whole=False) == pytest.approx(20.0)
    assert gain_pct(study(10.0), "tender_w8a8", 8, 1, whole=True) == pytest.approx(100 * (44 / 40 - 1))


def test_the_conclusion_says_where_it_pays_and_where_it_does_not() -> None:
    assert "pays at M = 1, 16: up to +20.0 %" in conclusion(study(10.0))[0]
    assert "does not pay at any M of 1, 16: at most -4.0 %" in conclusion(study(12.5))[0]
    assert conclusion(study(10.0))[-1] == "INT8, 8 groups: the synthetic sums need up to 29 bits."


def test_the_page_its_tables_and_its_figure_are_written(tmp_path: Path) -> None:
    names = {path.name for path in render(study(10.0), tmp_path)}
    assert names == {
        "accumulator.md", "accumulator.png", "accumulator.svg",
        "times.csv", "overflow.csv", "accuracy.csv", "hardware.csv",
    }  # fmt: skip
    assert "| `tender_w8a8` | 8 | 16 |" in (tmp_path / "accumulator.md").read_text(encoding="utf-8")

"""What a sweep file expands to, and how its mistakes are reported."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.dse.expand import Point
from sim.errors import ConfigError
from tests.unit.dse.fake_evaluator import SWEEP, jobs_of


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    return path


def points(tmp_path: Path, text: str) -> list[Point]:
    return [job.point for job in jobs_of(write(tmp_path, text))]


def test_the_grid_is_the_product_of_its_axes_without_duplicates(tmp_path: Path) -> None:
    jobs = jobs_of(write(tmp_path, SWEEP))
    assert len(jobs) == 2 * 3 * 3 * 4  # machines, schemes with options, distinct shapes, M
    assert len({job.point for job in jobs}) == len(jobs)


def test_layers_of_equal_shape_are_one_point_with_both_names(tmp_path: Path) -> None:
    jobs = jobs_of(write(tmp_path, SWEEP))
    assert {job.layers for job in jobs if (job.point.n, job.point.k) == (64, 64)} == {
        (("tiny", "out"), ("tiny", "up"))
    }


def test_the_order_is_machine_scheme_layer_m(tmp_path: Path) -> None:
    found = points(tmp_path, "grid: {arch: [b, a], scheme: fp16, model: [tiny], m: [8, 1]}")
    assert [(p.arch, p.n, p.m) for p in found] == [
        (arch, n, m) for arch in ("b", "a") for n in (96, 64) for m in (8, 1)
    ]


def test_zip_axes_vary_together(tmp_path: Path) -> None:
    text = """
    grid: {scheme: [fp16], shapes: [{n: 64, k: 64}]}
    zip: {arch: [a, b], m: [1, 2], set: {sm.count: [3, 4]}}
    """
    found = points(tmp_path, text)
    assert [(p.arch, p.m, p.overrides) for p in found] == [
        ("a", 1, ("sm.count=3",)),
        ("b", 2, ("sm.count=4",)),
    ]


def test_zip_of_unequal_lengths_names_both(tmp_path: Path) -> None:
    text = "grid: {scheme: fp16, model: tiny}\nzip:\n  arch: [a, b]\n  m: [1, 2, 4]\n"
    with pytest.raises(ConfigError, match=r"sweep.yaml:4: zip.m: .*'arch' has 2 values, 'm' has 3"):
        points(tmp_path, text)


def test_overrides_extensions_and_tiles_are_axes(tmp_path: Path) -> None:
    text = """
    grid:
      arch: a
      set: {sm.shared_memory.banks: [32, 64], flag: [true]}
      extensions: [[], shift, [shift, lut]]
      scheme: {name: fp16, tile: [t1, t2]}
      shapes: [{n: 64, k: 64, m: 3}]
    """
    found = points(tmp_path, text)
    assert len(found) == 2 * 3 * 2
    assert found[0].overrides == ("flag=true", "sm.shared_memory.banks=32")
    assert {p.extensions for p in found} == {(), ("shift",), ("shift", "lut")}
    assert {p.tile for p in found} == {"t1", "t2"}


def test_a_layers_own_m_needs_no_axis(tmp_path: Path) -> None:
    found = points(tmp_path, "grid: {arch: a, scheme: fp16, suite: mixed}")
    assert [p.m for p in found] == [5, 6]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("grid: {arch: [a, bad], scheme: fp16, model: tiny, m: 1}", r":1: grid.arch.1: unknown arch 'bad'"),
        (
            "grid:\n  arch: a\n  scheme: fp16\n  tile: [bad]\n  model: tiny\n  m: 1",
            r":4: grid.tile.0: unknown tile",
        ),
        ("grid: {arch: a, scheme: fp16, shapes: [{n: 3, k: 4, m: 1}]}", r"grid.shapes.0: N must be even"),
        ("grid: {arch: a, scheme: fp16, model: tyni, m: 1}", r"grid.model.*: unknown model 'tyni'"),
        ("grid: {arch: a, scheme: fp16, model: tiny}", r"grid.model.*no M of its own"),
        ("grid: {arch: a, model: tiny, m: 1}", r"axis 'scheme' missing"),
        ("grid: {arch: a, scheme: fp16, m: 1}", r"nothing to compute"),
        ("grid: {arch: a, scheme: fp16, model: tiny, m: [1, 0]}", r"grid.m.1: got 0"),
        ("grid: {arch: a, scheme: fp16, model: tiny, m: [1.5]}", r"grid.m.0: got 1.5"),
        ("grid: {arch: a, scheme: fp16, model: tiny, m: [true]}", r"grid.m.0: got True"),
        ("grid: {arch: a, scheme: fp16, model: tiny, m: []}", r"grid.m: got \[\]"),
        ("grid: {arch: a, scheme: fp16, model: tiny, m: 1, set: {a: [[1]]}}", r"grid.set.a.0: got \[1\]"),
        ("grid: {arhc: a}", r"grid.arhc: unknown key 'arhc'. Did you mean 'arch'"),
        ("gird: {arch: a}", r"gird: unknown key 'gird'. Did you mean 'grid'"),
        (
            "grid: {arch: a, scheme: {name: fp16, option: {}}}",
            r"unknown key 'option'. Did you mean 'options'",
        ),
        (
            "grid: {arch: a, scheme: fp16, model: tiny, m: 1}\nzip: {m: [1]}",
            r"axis 'm' stands in grid and in zip",
        ),
        ("- 1", r"allowed: a mapping"),
    ],
)
def test_mistakes_are_one_line_with_their_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        points(tmp_path, text)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "sweep.yaml"))


def test_an_astronomic_grid_is_refused_before_it_is_built(tmp_path: Path) -> None:
    axes = ", ".join(f"f{i}: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]" for i in range(9))
    with pytest.raises(ConfigError, match="got 1000000000 combinations"):
        points(tmp_path, f"grid: {{arch: a, scheme: fp16, model: tiny, m: 1, set: {{{axes}}}}}")


def test_a_relative_path_is_found_beside_the_sweep_file(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").touch()
    found = points(tmp_path, "grid: {arch: mine.yaml, scheme: fp16, model: other, m: 1}")
    assert found[0].arch == str(tmp_path / "mine.yaml")

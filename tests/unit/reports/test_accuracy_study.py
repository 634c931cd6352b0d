"""The pages of the accuracy study: every number in the tables, the same bytes twice, infinite numbers drawn as none."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

from reports import accuracy_study, perplexity
from reports.accuracy_study import AccuracyStudy, Bits
from reports.accuracy_study_figure import draw
from reports.perplexity import PerplexityStudy
from workloads.accuracy.perplexity import Perplexity
from workloads.accuracy.study import EncoderAccuracy, GroupAccuracy, LayerError, OutlierAccuracy


def study() -> AccuracyStudy:
    names = ("fp16", "tender_int8_g8")
    return AccuracyStudy(
        "3 texts",
        30,
        {name: Bits(8, 8) for name in names},
        tuple(
            EncoderAccuracy(
                name,
                (LayerError(0, "qkv", 30.0), LayerError(0, "mlp_input", 20.0)),
                (25.0, float("inf") if name == "fp16" else 22.0),
                1.0,
                0.9,
                50.0,
            )
            for name in names
        ),
        tuple(OutlierAccuracy(name, "none", 9.0, 8.0) for name in names),
        tuple(GroupAccuracy(8, groups, "minilm", 30.0, 5.0 * (groups > 8)) for groups in (1, 8, 20)),
    )


def test_the_study_is_written_whole_and_the_same_twice(tmp_path: Path) -> None:
    first = {path.name: path.read_bytes() for path in accuracy_study.render(study(), tmp_path / "a")}
    second = {path.name: path.read_bytes() for path in accuracy_study.render(study(), tmp_path / "b")}
    assert first == second and len(first) == 5
    with (tmp_path / "a" / "accuracy.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert rows[1]["median_layer_db"] == "25.0" and rows[1]["worst_layer_db"] == "20.0"
    assert rows[1]["none_db"] == "8.0" and rows[0]["last_block_db"] == "inf"


def test_the_figure_says_from_where_on_sums_do_not_fit() -> None:
    *_, over_groups = draw(study()).axes
    (note,) = [text for text in over_groups.texts if "INT32 wraps" in text.get_text()]
    assert note.xy[0] == 20
    fits = dataclasses.replace(study(), groups=tuple(each for each in study().groups if not each.wrapped_pct))
    assert list(draw(fits).axes[-1].texts) == []


def test_a_format_that_destroys_a_model_still_has_a_figure(tmp_path: Path) -> None:
    found = (
        Perplexity("fp32", 10.0, (float("inf"),)),
        Perplexity("int8_per_row", 11.0, (30.0,)),
        Perplexity("int4_per_row", 1e5, (3.0,)),
        Perplexity("ant4", float("inf"), (float("nan"),)),
    )
    bits = {each.method: (8.0, 8.0) for each in found}
    written = PerplexityStudy("opt", "text.txt", 64, 32, bits, found)
    assert all(path.stat().st_size > 0 for path in perplexity.render(written, tmp_path))
    assert perplexity.rows(written)[1]["times_fp32"] == 1.1

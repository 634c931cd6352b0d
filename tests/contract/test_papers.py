"""What every paper's claims must be true to, found by discovery: known names, sources, numbers that fit each other."""

from __future__ import annotations

import itertools
import math

import pytest

from sim.arch.load import available
from sim.array.spec import available as accelerators
from sim.commands.claims import accelerator as load
from sim.commands.claims import changed, mean_ratio, points, sensitivities
from sim.dse.expand import Point
from workloads.llm import available_models, load_model
from workloads.papers import Claim, available_papers, load_paper

CLAIMS = [(name, claim) for name in available_papers() for claim in load_paper(name).claims]
IDS = [f"{name}-{index}" for index, (name, _) in enumerate(CLAIMS)]
NOT_THEIR_OWN = ("tokens", "attention")  # unknown inputs that are the workload's


@pytest.mark.parametrize(("name", "claim"), CLAIMS, ids=IDS)
def test_a_claim_says_its_source_and_names_what_exists(name: str, claim: Claim) -> None:
    assert len(claim.source) > 10
    if claim.prefill is None:
        assert claim.machine in available()
    else:
        methods = [claim.method, claim.against]
        assert {method.accelerator for method in methods if method} <= set(accelerators())
        assert set(claim.prefill.models) <= set(available_models())
    if claim.decode is not None:
        assert load_model(claim.decode.model).num_layers > 0


@pytest.mark.parametrize("name", available_papers())
def test_every_matmul_of_a_paper_can_be_simulated(name: str) -> None:
    paper = load_paper(name)
    found = points(paper)  # checked: schemes, options, tiles, sizes
    assert all(isinstance(point, Point) for point in found)
    assert len(found) == len(set(found))
    assert bool(found) == any(claim.prefill is None for claim in paper.claims)


@pytest.mark.parametrize("name", available_papers())
def test_a_paper_is_named_and_says_what_stands_for_what(name: str) -> None:
    paper = load_paper(name)
    assert "arXiv:" in paper.reference and len(paper.how) > 100
    rows = [(claim.name, claim.machine, claim.quantity) for claim in paper.claims]
    assert len(rows) == len(set(rows))


@pytest.mark.parametrize(("name", "claim"), [at for at in CLAIMS if at[1].bars])
def test_the_mean_of_the_bars_is_the_published_mean(name: str, claim: Claim) -> None:
    """Bars are read off a figure; the text's number says how well."""
    mean = math.exp(sum(map(math.log, claim.bars.values())) / len(claim.bars))
    assert mean == pytest.approx(claim.ends[0], rel=0.02)


@pytest.mark.parametrize("name", available_papers())
def test_unknown_inputs_are_fields_of_the_accelerators(name: str) -> None:
    for unknown in load_paper(name).unknowns:
        for field, value in itertools.product(unknown.fields, unknown.values):
            for chosen in map(load, unknown.only or accelerators()):
                level: object = changed(chosen, ((field, value),))
                if field in NOT_THEIR_OWN:
                    assert level == chosen
                    continue
                for part in field.split("."):
                    level = getattr(level, part)
                assert level == value


def test_each_unknown_moves_some_claim_and_ranges_hold_the_simulated_value() -> None:
    for name in available_papers():
        paper = load_paper(name)
        simulated = {claim.name: mean_ratio(claim) for claim in paper.claims if claim.prefill}
        found = sensitivities(paper)
        for each in found:
            assert each.simulated_low - 1e-9 <= simulated[each.claim] <= each.simulated_high + 1e-9, each
        moved = {each.unknown for each in found if each.simulated_high > 1.001 * each.simulated_low}
        assert moved == {unknown.name for unknown in paper.unknowns}

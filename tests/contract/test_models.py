"""What every bundled model and suite must be true to, found by discovery."""

from __future__ import annotations

import pytest

from sim.config import load_yaml
from sim.errors import ConfigError
from workloads.files import ROOT
from workloads.llm import available_models, load_model
from workloads.schemes.base import available_schemes, get_scheme
from workloads.suite import available_suites, describe_suite, load_suite


@pytest.mark.parametrize("name", available_models())
def test_layers_add_up_to_the_published_parameters(name: str) -> None:
    model = load_model(name)
    linear = sum(layer.n * layer.k * layer.count_per_model for layer in model.linear_layers(lm_head=True))
    embedding = 0 if model.tied_embeddings else model.vocab_size * model.hidden_size
    assert model.parameters is not None
    assert linear + embedding == pytest.approx(model.parameters, rel=0.01)


@pytest.mark.parametrize("name", available_models())
def test_model_is_named_by_its_file_and_has_a_source(name: str) -> None:
    assert load_model(name).name == name
    assert "name" not in load_yaml(ROOT / "models" / f"{name}.yaml").data
    assert load_model(name).source.startswith(("https://", "arXiv:"))


@pytest.mark.parametrize("name", available_models())
def test_layers_chain(name: str) -> None:
    """What one layer puts out, the next takes in."""
    model = load_model(name)
    qkv, output, first, last = model.linear_layers()
    heads = output.k
    assert qkv.n == heads + 2 * model.num_kv_heads * model.head_dim
    assert qkv.k == output.n == first.k == last.n == model.hidden_size
    assert first.n == last.k * (2 if model.gated_mlp else 1)
    assert {layer.count_per_model for layer in (qkv, output, first, last)} == {model.num_layers}


@pytest.mark.parametrize("name", available_suites())
def test_suite_loads_and_says_what_it_is_for(name: str) -> None:
    matmuls = load_suite(name)
    assert len(matmuls) > 0
    assert len({matmul.name for matmul in matmuls}) == len(matmuls)
    assert len(describe_suite(name)) > 20


@pytest.mark.parametrize("name", available_suites())
def test_every_matmul_is_legal_for_some_scheme(name: str) -> None:
    schemes = [get_scheme(scheme) for scheme in available_schemes()]
    for matmul in load_suite(name):
        refusals = []
        for scheme in schemes:
            try:
                scheme.check_shape(matmul.m, matmul.n, matmul.k)
            except ConfigError as error:
                refusals.append(str(error))
        assert len(refusals) < len(schemes), (matmul, refusals)

"""Suites: named lists of matmuls, either the layers of models at several M, or explicit shapes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from sim.config import Document, Strict, load_yaml, validate
from sim.errors import ConfigError
from workloads.files import bundled_names, find_file
from workloads.llm import Model, load_model
from workloads.shapes import MAX_SIZE, check_sizes

Size = Annotated[int, Field(strict=True, ge=1, le=MAX_SIZE)]


@dataclass(frozen=True)
class Matmul:
    """One matmul Y[m, n] = X[m, k] · W[n, k]^T; layer and model are empty for an explicit shape."""

    name: str
    m: int
    n: int
    k: int
    layer: str = ""
    model: str = ""


class _Shape(Strict):
    m: Size
    n: Size
    k: Size
    name: str = ""


class _SuiteFile(Strict):
    about: str
    models: tuple[str, ...] = ()
    m: tuple[Size, ...] = ()
    lm_head: bool = False
    shapes: tuple[_Shape, ...] = ()


def available_suites() -> tuple[str, ...]:
    """Name the bundled suites."""
    return bundled_names("suites")


def load_suite(name_or_path: str | Path, where: str = "") -> tuple[Matmul, ...]:
    """Load a bundled suite or a suite YAML; models named by path are relative to that file."""
    path = find_file("suite", "suites", str(name_or_path), where)
    document = load_yaml(path)
    suite = validate(_SuiteFile, document)
    _check_keys(suite, document)
    matmuls = (*_from_models(suite, document), *_from_shapes(suite, document))
    _check_unique(matmuls, document)
    return matmuls


def describe_suite(name_or_path: str | Path) -> str:
    """Return a suite's own sentence about itself."""
    return validate(_SuiteFile, load_yaml(find_file("suite", "suites", str(name_or_path)))).about


def model_matmuls(
    model: Model, ms: Sequence[int], lm_head: bool = False, where: str = ""
) -> tuple[Matmul, ...]:
    """Return every linear layer of a model at every M, layer by layer."""
    matmuls = []
    for layer in model.linear_layers(lm_head):
        for m in ms:
            check_sizes(m, layer.n, layer.k, where)
            name = f"{model.name}/{layer.name}/m{m}"
            matmuls.append(Matmul(name, m, layer.n, layer.k, layer.name, model.name))
    return tuple(matmuls)


def _check_keys(suite: _SuiteFile, document: Document) -> None:
    if bool(suite.models) != bool(suite.m):
        missing, other = ("m", "models") if suite.models else ("models", "m")
        raise ConfigError(document.where((other,)), f"needs the key {missing!r} beside it")
    if not suite.models and not suite.shapes:
        raise ConfigError(document.where(), "got an empty suite, allowed: models and m, or shapes")


def _from_models(suite: _SuiteFile, document: Document) -> Iterable[Matmul]:
    for index, name in enumerate(suite.models):
        where = document.where(("models", index))
        model = load_model(name, where, document.path.parent)
        yield from model_matmuls(model, suite.m, suite.lm_head, where)


def _from_shapes(suite: _SuiteFile, document: Document) -> Iterable[Matmul]:
    for index, shape in enumerate(suite.shapes):
        check_sizes(shape.m, shape.n, shape.k, document.where(("shapes", index)))
        name = shape.name or f"m{shape.m}_n{shape.n}_k{shape.k}"
        yield Matmul(name, shape.m, shape.n, shape.k)


def _check_unique(matmuls: Sequence[Matmul], document: Document) -> None:
    seen: set[str] = set()
    for matmul in matmuls:
        if matmul.name in seen:
            raise ConfigError(document.where(), f"the matmul {matmul.name!r} stands twice")
        seen.add(matmul.name)

"""``tcsim list`` and ``tcsim schema``: what can be named, and what a file may hold."""

from __future__ import annotations

import json
from collections.abc import Callable

from sim.commands.terminal import Table, say, show
from sim.errors import unknown

Rows = tuple[tuple[str, ...], ...]


def run(what: str | None) -> None:
    """List one kind of name with a word on each, or every kind's names."""
    if what is None:
        names = {kind: dict.fromkeys(row[0] for row in rows()) for kind, (_, rows) in KINDS.items()}
        show(Table(("kind", "names"), tuple((kind, ", ".join(found)) for kind, found in names.items())))
        return
    if what not in KINDS:
        raise unknown("list", what, KINDS)
    header, rows = KINDS[what]
    show(Table(header, rows()))


def schema(what: str) -> None:
    """Write the JSON Schema of a kind of file."""
    if what not in SCHEMAS:
        raise unknown("schema", what, SCHEMAS)
    say(json.dumps(SCHEMAS[what](), indent=2, ensure_ascii=False))


def _archs() -> Rows:
    from sim.arch.load import available, load_gpu

    gpus = (load_gpu(name) for name in available())
    return tuple((gpu.name, gpu.title, gpu.status) for gpu in gpus)


def _schemes() -> Rows:
    from workloads.schemes.base import available_schemes, get_scheme

    schemes = (get_scheme(name) for name in available_schemes())
    return tuple(
        (
            scheme.name,
            scheme.doc,
            "; ".join(f"{o.name}: {', '.join(str(value) for value in o.allowed)}" for o in scheme.options),
        )
        for scheme in schemes
    )


def _models() -> Rows:
    from workloads.llm import available_models, load_model

    models = (load_model(name) for name in available_models())
    return tuple(
        (model.name, "; ".join(f"{layer.name} {layer.n}×{layer.k}" for layer in model.linear_layers()))
        for model in models
    )


def _suites() -> Rows:
    from workloads.suite import available_suites, describe_suite

    return tuple((name, describe_suite(name)) for name in available_suites())


def _papers() -> Rows:
    from workloads.papers import available_papers, load_paper

    papers = ((name, load_paper(name)) for name in available_papers())
    return tuple(
        (name, f"{paper.title}: {paper.reference}", str(len(paper.claims))) for name, paper in papers
    )


def _extensions() -> Rows:
    from sim.commands.selection import describe_extension
    from sim.extensions import available_extensions

    return tuple((name, describe_extension(name)) for name in available_extensions())


def _reports() -> Rows:
    from reports.registry import available

    return tuple((report.NAME, report.TITLE) for report in available().values())


def _tiles() -> Rows:
    from gpu_kernels.catalog import tiles
    from workloads.schemes.base import available_schemes

    return tuple((tile, scheme) for scheme in available_schemes() for tile in tiles(scheme))


def _gpu_schema() -> object:
    from sim.arch.schema import gpu_schema

    return gpu_schema()


def _study_schema() -> object:
    from sim.commands.study_config import StudyFile

    return StudyFile.model_json_schema()


def _sweep_schema() -> object:
    from sim.dse.spec import SweepFile

    return SweepFile.model_json_schema()


KINDS: dict[str, tuple[tuple[str, ...], Callable[[], Rows]]] = {
    "archs": (("arch", "what it is", "status"), _archs),
    "schemes": (("scheme", "what it is", "options"), _schemes),
    "models": (("model", "layers, N×K"), _models),
    "suites": (("suite", "what it is"), _suites),
    "papers": (("paper", "what it is", "claims"), _papers),
    "extensions": (("extension", "what it is"), _extensions),
    "reports": (("report", "what it shows"), _reports),
    "tiles": (("tile", "scheme"), _tiles),
}
SCHEMAS: dict[str, Callable[[], object]] = {
    "gpu": _gpu_schema,
    "sweep": _sweep_schema,
    "study": _study_schema,
}

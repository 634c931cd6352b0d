"""The commands of ``tcsim`` about measured data and about studies, declared; see ``sim.cli``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from sim.commands.options import Arch, K, N, Suite, Weights, Workers


def validate(
    data: Annotated[
        Path | None,
        typer.Option("--data", help="A file or folder of rows. [default: those recorded for --arch]"),
    ] = None,
    arch: Arch = "h200",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    out: Annotated[Path | None, typer.Option("--out", help="Directory for the figure and the rows.")] = None,
    workers: Workers = None,
    write_docs: Annotated[
        bool, typer.Option("--write-docs", help="Renew the tables of docs/accuracy.md and README.md.")
    ] = False,
) -> None:
    """Simulate measured kernels; exit status 1 if a tolerance is missed, a value is missing or nothing was checked."""
    from sim.commands import validate as command

    raise typer.Exit(command.run(data, arch, as_json, out, workers, write_docs))


def predict(
    suite: Suite,
    out: Annotated[Path, typer.Option("--out", help="The file of predictions to write (JSON lines).")],
    arch: Arch = "h200",
    workers: Workers = None,
) -> None:
    """Write down what the simulator says of a measuring suite, to be committed before it is measured."""
    from sim.commands import predict as command

    command.run(suite, arch, out, workers)


def measure(
    suite: Suite,
    out: Annotated[Path, typer.Option("--out", help="Directory for rows, failures and raw outputs.")],
    arch: Arch = "h200",
    date: Annotated[str, typer.Option("--date", help="YYYY-MM-DD. [default: today]")] = "",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the operands.")] = 0,
    counters: Annotated[bool, typer.Option("--counters/--no-counters", help="With Nsight Compute.")] = True,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0, help="Begin no case after so long.")
    ] = math.inf,
) -> None:
    """Verify, time and profile the kernels on this machine's NVIDIA GPU; needs CuPy."""
    from sim.commands import measure as command

    raise typer.Exit(command.run(suite, arch, out, date, seed, counters, seconds))


def accelerator(
    m: Annotated[int, typer.Option("--m", min=1, help="Rows of X[m, k]: tokens.")],
    arch: Annotated[
        str | None, typer.Option("--arch", help="An accelerator's name or YAML file. [default: all]")
    ] = None,
    n: N = None,
    k: K = None,
    model: Annotated[
        str | None, typer.Option("--model", help="Every matmul of a model's prefill (tcsim list models).")
    ] = None,
    bits: Annotated[
        int | None, typer.Option("--bits", min=1, max=32, help="Of operands. [default: its own]")
    ] = None,
    groups: Annotated[
        int, typer.Option("--groups", min=1, help="Of channels with a scale of their own.")
    ] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array.")] = False,
) -> None:
    """Time a matmul, or a model's prefill, on the stand-alone systolic accelerators."""
    from sim.commands import accelerator as command

    command.run(arch, m, n, k, model, bits, groups, as_json)


def accumulator(
    arch: Arch = "h200",
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            help="What to vary: a YAML file like arch_configs/studies/accumulator.yaml, the default.",
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="In place of the file's models (tcsim list models).")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="Directory for the page, its figures and tables; keeps what was simulated."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    workers: Workers = None,
) -> None:
    """Accumulators that shift by powers of two (Tender): where they pay."""
    from sim.commands import study as command

    command.accumulator(arch, config, model, out, as_json, workers)


def banks(
    arch: Arch = "h200",
    out: Annotated[Path | None, typer.Option("--out", help="Directory for the page and its tables.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    weights: Weights = None,
    workers: Workers = None,
) -> None:
    """Look-ups in shared memory: what bank conflicts cost, and where hardware for look-ups pays."""
    from sim.commands import study_banks as command

    command.run(arch, out, workers, as_json, weights)


def accuracy(
    model_dir: Annotated[
        Path | None,
        typer.Option("--model-dir", help="A Hugging Face folder (OPT, Llama); perplexity on --text."),
    ] = None,
    text: Annotated[
        Path | None, typer.Option("--text", help="A text file; of MiniLM, a sentence per line.")
    ] = None,
    schemes: Annotated[
        str | None,
        typer.Option(
            "--schemes",
            metavar="NAME,...",
            help="Default: all; also any tender_intB_gG, tender_intB_gG_all.",
        ),
    ] = None,
    tokens: Annotated[
        int | None, typer.Option("--tokens", min=2, help="Of the text, for --model-dir (default: 2048).")
    ] = None,
    window: Annotated[
        int | None,
        typer.Option("--window", min=2, help="Tokens that see each other, for --model-dir (default: 2048)."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Directory for the figure and its tables.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """What number formats cost in accuracy: on a small encoder and published outliers, or on your own LLM."""
    from sim.commands import study_accuracy as command

    command.run(model_dir, text, schemes, tokens, window, out, as_json)


def reproduce(
    claims: Annotated[
        str | None,
        typer.Option(
            "--claims", metavar="NAMES", help="Papers (tcsim list papers), comma-separated. [default: all]"
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array.")] = False,
    out: Annotated[Path | None, typer.Option("--out", help="Directory for the page and its tables.")] = None,
    workers: Workers = None,
) -> None:
    """Simulate the papers' headline numbers on their machines: published, simulated, and why they differ."""
    from sim.commands import reproduce as command

    command.run(claims, as_json, out, workers)


def calibrate(
    folder: Annotated[Path, typer.Option("--from", help="Rows of python -m gpu_kernels.micro.")],
    out: Annotated[Path, typer.Option("--out", help="The YAML file to write.")],
    arch: Arch = "h200",
    comparing: Annotated[
        bool, typer.Option("--compare", help="Simulate every reading on the new file as well.")
    ] = False,
) -> None:
    """Write microbenchmark readings into a GPU's YAML file, with their source."""
    from sim.commands import calibrate as command

    command.run(folder, arch, out, comparing)


def add_to(app: typer.Typer) -> None:
    """Declare the commands of this module."""
    for command in (validate, predict, measure, accelerator, reproduce, calibrate):
        app.command()(command)
    studies = typer.Typer(help="Study hypothetical hardware, and number formats.")
    studies.command()(accumulator)
    studies.command()(banks)
    studies.command()(accuracy)
    app.add_typer(studies, name="study")

"""The command ``tcsim``: what can be typed. What it does is in ``sim.commands``, imported when it is called.

Every user's mistake is one line on standard error and exit status 2.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sim.cli_data import add_to
from sim.commands.options import (
    Arch,
    Extensions,
    K,
    Kernel,
    LayerName,
    M,
    Model,
    N,
    Options,
    Overrides,
    SchemeName,
    Tile,
    Weights,
    Workers,
)
from sim.errors import TcsimError

if TYPE_CHECKING:
    from sim.commands.selection import Request

USAGE = 2
INTERRUPTED = 130
BROKEN_PIPE = 141  # as a shell reports a process that SIGPIPE ended
UsageError: type[Exception] = typer.BadParameter.__mro__[1]  # the base of every mistake typer itself finds

app = typer.Typer(
    add_completion=False,
    no_args_is_help=False,
    pretty_exceptions_enable=False,
    help="Predicts how long quantized matrix multiplications take on a GPU, and why.",
)


def _request(
    arch: str,
    scheme: str | None,
    m: int | None,
    n: int | None,
    k: int | None,
    model: str | None,
    layer: str | None,
    option: list[str] | None,
    tile: str | None,
    overrides: list[str] | None,
    extension: list[str] | None,
    kernel: Path | None,
    weights: Path | None = None,
) -> Request:
    from sim.commands.selection import Request

    options, changes, extensions = (tuple(values or ()) for values in (option, overrides, extension))
    return Request(arch, scheme, m, n, k, model, layer, options, tile, changes, extensions, kernel, weights)


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Print the version if asked to."""
    if version:
        from importlib.metadata import PackageNotFoundError
        from importlib.metadata import version as installed

        try:
            typer.echo(installed("tensorcore-sim"))
        except PackageNotFoundError:
            typer.echo("not installed: run from its source")
        raise typer.Exit


@app.command("list")
def list_names(
    what: Annotated[
        str | None,
        typer.Argument(help="archs, schemes, models, suites, papers, extensions, reports or tiles."),
    ] = None,
) -> None:
    """List what can be named."""
    from sim.commands import listing

    listing.run(what)


@app.command()
def simulate(
    arch: Arch = "h200",
    scheme: SchemeName = None,
    m: M = None,
    n: N = None,
    k: K = None,
    model: Model = None,
    layer: LayerName = None,
    option: Options = None,
    tile: Tile = None,
    overrides: Overrides = None,
    extension: Extensions = None,
    kernel: Kernel = None,
    weights: Weights = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Simulate one matmul, or a kernel of your own."""
    asked = _request(arch, scheme, m, n, k, model, layer, option, tile, overrides, extension, kernel, weights)
    from sim.commands import simulate as command

    command.run(asked, as_json)


@app.command()
def sweep(
    file: Annotated[Path, typer.Argument(help="What to vary: a YAML file.")],
    out: Annotated[
        Path, typer.Option("--out", help="Directory for the results; a second run goes on there.")
    ],
    workers: Workers = None,
    no_store: Annotated[
        bool, typer.Option("--no-store", help="Keep no result store: nothing to go on from.")
    ] = False,
) -> None:
    """Simulate every point of a sweep; tables, figures and what bounds each layer."""
    from sim.commands import sweep as command

    raise typer.Exit(command.run(file, out, workers, stored=not no_store))


@app.command()
def report(
    directory: Annotated[Path, typer.Argument(help="The --out directory of a sweep.")],
    only: Annotated[list[str] | None, typer.Option("--only", help="A report's name; repeatable.")] = None,
) -> None:
    """Draw the reports of a sweep again."""
    from sim.commands import sweep as command

    raise typer.Exit(command.report(directory, only or ()))


@app.command()
def trace(
    out: Annotated[Path, typer.Option("--out", help="The JSON file to write, for ui.perfetto.dev.")],
    arch: Arch = "h200",
    scheme: SchemeName = None,
    m: M = None,
    n: N = None,
    k: K = None,
    model: Model = None,
    layer: LayerName = None,
    option: Options = None,
    tile: Tile = None,
    overrides: Overrides = None,
    extension: Extensions = None,
    kernel: Kernel = None,
) -> None:
    """Write the timeline of one SM: warps, pipes, copies, barriers."""
    request = _request(arch, scheme, m, n, k, model, layer, option, tile, overrides, extension, kernel)
    from sim.commands import trace as command

    command.run(request, out)


@app.command()
def schema(what: Annotated[str, typer.Argument(help="gpu, sweep or study.")] = "gpu") -> None:
    """Print the JSON Schema of a kind of YAML file, for editors."""
    from sim.commands import listing

    listing.schema(what)


add_to(app)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return the exit status."""
    try:
        status = app(list(arguments) or ["--help"], prog_name="tcsim", standalone_mode=False)
        sys.stdout.flush()
    except TcsimError as error:
        return _fail(str(error), getattr(error, "status", USAGE))
    except UsageError as error:
        return _fail(_usage(error), USAGE)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", INTERRUPTED)
    except BrokenPipeError:
        _drop_output()
        return BROKEN_PIPE
    except OSError as error:
        _drop_output()
        return _fail(f"{error.filename or 'output'}: {error.strerror or error}", USAGE)
    if status == INTERRUPTED:  # typer's own answer to Ctrl-C
        return _fail("interrupted", INTERRUPTED)
    return status if isinstance(status, int) else 0


def _usage(error: BaseException) -> str:
    """Return typer's message with the command it is about."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "tcsim"
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    return f"{command}: {message}"


def _fail(message: str, status: int) -> int:
    sys.stderr.write(" ".join(message.split()) + "\n")
    return status


def _drop_output() -> None:
    """Send what is still buffered nowhere, so that the interpreter's own flush cannot fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main() -> None:
    """Run the command line of this process."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()

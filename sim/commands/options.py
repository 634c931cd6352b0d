"""The options that several commands share, as typer wants them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Arch = Annotated[str, typer.Option("--arch", help="A GPU's name (tcsim list archs) or YAML file.")]
SchemeName = Annotated[str | None, typer.Option("--scheme", help="tcsim list schemes. [default: fp16]")]
M = Annotated[int | None, typer.Option("--m", help="Rows of X[m, k]: tokens or batch.")]
N = Annotated[int | None, typer.Option("--n", help="Rows of W[n, k].")]
K = Annotated[int | None, typer.Option("--k", help="Columns of W[n, k].")]
Model = Annotated[
    str | None, typer.Option("--model", help="Take N and K from a model (name, YAML, config.json).")
]
LayerName = Annotated[str | None, typer.Option("--layer", help="The layer of --model (tcsim list models).")]
Options = Annotated[
    list[str] | None, typer.Option("--option", metavar="NAME=VALUE", help="Of the scheme; repeatable.")
]
Tile = Annotated[str | None, typer.Option("--tile", help="tcsim list tiles. [default: the fastest]")]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="PATH=VALUE", help="Change the GPU: sm.shared_memory.banks=64; repeatable."
    ),
]
Extensions = Annotated[
    list[str] | None, typer.Option("--extension", help="Hypothetical hardware; repeatable.")
]
Workers = Annotated[int | None, typer.Option("--workers", min=1, max=1024, help="[default: one per core]")]
Suite = Annotated[
    str, typer.Option("--suite", help="smoke, counters, quick, all, drawn-SEED, or a suite of workloads.")
]
Kernel = Annotated[
    Path | None, typer.Option("--kernel", help="A launch description of your own kernel (Python).")
]
Weights = Annotated[
    Path | None,
    typer.Option(
        "--weights",
        metavar="FILE",
        help="W for look-ups: .npy, .safetensors[:TENSOR]. [default: random ones]",
    ),
]

"""Data only: GPUs, accelerators and sweeps as YAML files."""

from pathlib import Path

DIRECTORY = Path(__file__).parent

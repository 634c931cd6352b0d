"""Run the commands that README.md shows with their output: ``readme_outputs.py [--write]``, in the repository's root.

A command is a ``sh`` block followed by a ``text`` block; of an output that ends in ``...`` the lines before
are compared. Without ``--write`` the exit status says whether README.md is still true.
"""

from __future__ import annotations

import difflib
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

BLOCK = r"^```{kind}\n(?P<{name}>(?:(?!```).*\n)*)```\n"
PAIR = re.compile(
    BLOCK.format(kind="sh", name="command") + r"\n*" + BLOCK.format(kind="text", name="shown"), re.M
)
REST = "..."


def refreshed(readme: str, output_of: Callable[[str], str]) -> str:
    """Return README.md with the outputs that its commands have now, as long as before."""

    def pair(found: re.Match[str]) -> str:
        before = found["shown"]
        after = shortened(output_of(found["command"]), before)
        return found[0].replace(f"```text\n{before}```", f"```text\n{after}```")

    return PAIR.sub(pair, readme)


def shortened(output: str, shown: str) -> str:
    """Cut ``output`` to the lines that ``shown`` has before its ``...``; without one, keep all."""
    lines = shown.splitlines()
    if lines[-1:] != [REST]:
        return output
    return "\n".join([*output.splitlines()[: len(lines) - 1], REST]) + "\n"


def output_of(command: str) -> str:
    """Run a command with the scripts of this Python's environment first on the path."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    line = ["bash", "-euo", "pipefail", "-c", command]
    done = subprocess.run(
        line, env={**os.environ, "PATH": path}, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout


def main(write: bool) -> int:
    """Compare or rewrite README.md."""
    path = Path("README.md")
    before = path.read_text(encoding="utf-8")
    after = refreshed(before, output_of)
    if write:
        path.write_text(after, encoding="utf-8")
        return 0
    changes = difflib.unified_diff(before.splitlines(), after.splitlines(), "README.md", "now", lineterm="")
    text = "\n".join(changes)
    sys.stdout.write((text or f"{len(PAIR.findall(before))} outputs are as shown") + "\n")
    return 1 if text else 0


if __name__ == "__main__":
    sys.exit(main("--write" in sys.argv[1:]))

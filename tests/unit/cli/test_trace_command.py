"""``tcsim trace`` writes the timeline of a bundled kernel, from the simulator to the file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sim.commands import trace
from sim.commands.selection import Request

pytestmark = pytest.mark.jit


def test_the_timeline_of_a_matmul(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "trace.json"
    sizes = (8, 1024, 512)
    trace.run(Request("h200", "w4a16", *sizes, None, None, (), "8x64", (), (), None), out)
    record = json.loads(out.read_text(encoding="utf-8"))
    rows = record["traceEvents"]
    issued = [row["args"] for row in rows if "sass" in row.get("args", {})]
    assert f"{len(issued):,} instructions on one SM in " in capsys.readouterr().out
    assert record["otherData"] | {"scheme": "w4a16", "m": 8, "n": 1024, "k": 512} == record["otherData"]
    products = [args for args in issued if args["sass"].startswith("HMMA")]
    assert products
    assert all("mma(" in args["source"] for args in products)
    assert sum("LDGSTS" in row["name"] for row in rows if row["ph"] == "b") > 0
    tracks = {row["args"]["name"] for row in rows if row["name"] == "process_name"}
    assert tracks >= {"SM 0 / memory", "SM 0 / pipes", "SM 0 / barriers", "SM 0 / sub-core 1"}

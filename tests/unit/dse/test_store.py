"""The result store: nothing but whole results, and one line for every way a file can be wrong."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from sim.dse.expand import Job, Point
from sim.dse.files import write_whole
from sim.dse.store import Outcome, ResultStore, point_key
from sim.dse.workers import attempt
from sim.errors import ConfigError
from tests.unit.dse.fake_evaluator import evaluate

POINT = Point("a", ("sm.count=3",), ("shift",), "fp16", (("group_size", 64),), None, 1, 64, 64)


def test_a_stored_result_is_the_same_as_a_fresh_one(tmp_path: Path) -> None:
    outcome = attempt(evaluate, POINT)
    with ResultStore(tmp_path / "r.sqlite") as store:
        store.put("key", outcome)
    with ResultStore(tmp_path / "r.sqlite") as store:
        found = store.load(["key", "absent"])
    assert found == {"key": outcome}
    assert found["key"].result() == evaluate(POINT)


def test_jobs_come_back_as_they_were(tmp_path: Path) -> None:
    jobs = [Job(POINT, (("model", "layer"), ("model", "other")))]
    with ResultStore(tmp_path / "r.sqlite") as store:
        store.set_jobs(jobs, ["key"])
        store.set_jobs(jobs, ["key"])
        assert store.jobs() == (jobs, ["key"])


def test_a_later_success_replaces_a_failure(tmp_path: Path) -> None:
    with ResultStore(tmp_path / "r.sqlite") as store:
        store.put("key", Outcome(None, "no tile fits"))
        assert store.load(["key"]) == {}
        assert store.failures(["key"])["key"].error == "no tile fits"
        store.put("key", attempt(evaluate, POINT))
        assert store.failures(["key"]) == {}


def test_the_key_depends_on_everything_that_determines_the_result() -> None:
    keys = {
        point_key(POINT, "code", "arch"),
        point_key(POINT, "code", "arch2"),
        point_key(POINT, "code2", "arch"),
        *(
            point_key(Point(**{**vars(POINT), **change}), "code", "arch")
            for change in ({"m": 2}, {"tile": "t"}, {"extensions": ()}, {"overrides": ()}, {"options": ()})
        ),
    }
    assert len(keys) == 8
    assert point_key(POINT, "code", "arch") in keys


def test_no_temporary_files_remain_after_closing(tmp_path: Path) -> None:
    with ResultStore(tmp_path / "r.sqlite") as store:
        store.put("key", attempt(evaluate, POINT))
    assert [path.name for path in tmp_path.iterdir()] == ["r.sqlite"]


@pytest.mark.parametrize("content", [b"not a database, but long enough to look at" * 30, b"\0" * 5000])
def test_a_corrupted_file_is_named_with_what_to_do(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "r.sqlite"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"r.sqlite: corrupted .*; delete it and run the sweep again"):
        ResultStore(path)
    assert path.read_bytes() == content


def test_a_damaged_page_is_found(tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    with ResultStore(path) as store:
        for index in range(200):
            store.put(f"key{index}", attempt(evaluate, POINT))
    data = bytearray(path.read_bytes())
    data[4096 * 3 : 4096 * 6] = b"\xa5" * (4096 * 3)
    path.write_bytes(data)
    with pytest.raises(ConfigError, match="corrupted"), ResultStore(path) as store:
        store.load([f"key{index}" for index in range(200)])


@pytest.mark.parametrize("record", ["{", '{"arch": "a"}', "[]", json.dumps({"extensions": 3})])
def test_a_record_that_is_none_is_found_when_loaded(tmp_path: Path, record: str) -> None:
    with ResultStore(tmp_path / "r.sqlite") as store:
        store.put("key", Outcome(record))
        with pytest.raises(ConfigError, match="corrupted"):
            store.load(["key"])


def test_another_version_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    with ResultStore(path):
        pass
    connection = sqlite3.connect(path)
    connection.execute("UPDATE meta SET value = '0.9'")
    connection.commit()
    connection.close()
    with pytest.raises(ConfigError, match=r"version 0.9 of the result store, allowed: .*delete it or choose"):
        ResultStore(path)


def test_somebody_elses_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE mine (x)")
    connection.commit()
    connection.close()
    with pytest.raises(ConfigError, match="version none of the result store"):
        ResultStore(path)


def test_a_directory_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"cannot be written: (Not a directory|File exists)"):
        ResultStore(tmp_path / "file" / "r.sqlite")
    with pytest.raises(ConfigError, match="cannot be"):
        ResultStore(Path("/proc/r.sqlite"))


def test_a_report_on_nothing_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"r.sqlite: no such file; allowed: the --out directory of a sweep"):
        ResultStore(tmp_path / "r.sqlite", create=False)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_line_and_keeps_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    record = attempt(evaluate, POINT)
    with ResultStore(path) as store:
        store.put("first", record)
        pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
        store._connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(ConfigError, match=r"r.sqlite: cannot be used: database or disk is full"):
            for index in range(1000):
                store.put(f"key{index}", record)
    with ResultStore(path) as store:
        assert store.load(["first"]) == {"first": record}


def test_a_table_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "results.csv"
    write_whole(target, "old\n")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ConfigError, match=r"results.csv: cannot be written: No space left on device"):
        write_whole(target, "new\n")
    assert target.read_text() == "old\n"
    assert [path.name for path in tmp_path.iterdir()] == ["results.csv"]

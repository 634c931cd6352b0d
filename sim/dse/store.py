"""The result store: one SQLite file, one row per point, safe against being killed at any moment.

A row's key is the hash of everything that determines the result, so a row is either right or absent.
Write-ahead logging and one transaction per row: a killed sweep loses the points in flight and nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from sim.dse.expand import Job, Point
from sim.dse.files import make_directory
from sim.errors import ConfigError
from sim.results import SCHEMA_VERSION, RunResult

VERSION = f"1.{SCHEMA_VERSION}"  # of the tables below, of the records in them
SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS results (key TEXT PRIMARY KEY, record TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS failures (key TEXT PRIMARY KEY, message TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS jobs (position INTEGER PRIMARY KEY, key TEXT NOT NULL, job TEXT NOT NULL);
"""


@dataclass(frozen=True)
class Outcome:
    """What became of one point: its result as JSON text, or the message of its failure."""

    record: str | None
    error: str = ""

    def result(self) -> RunResult | None:
        """Return the result; always by way of the text, so that a stored one is the same as a fresh one."""
        return None if self.record is None else RunResult.from_json(json.loads(self.record))


def point_key(point: Point, *determinants: str) -> str:
    """Return the hash of a point and of what else determines its result: code, programs, machine."""
    text = json.dumps([SCHEMA_VERSION, asdict(point), *determinants], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


class ResultStore:
    """Results by key, in one SQLite file; use as a context manager."""

    def __init__(self, path: Path, create: bool = True) -> None:
        self.path = path
        if create:
            make_directory(path.parent)
        elif not path.is_file():
            raise ConfigError(str(path), "no such file; allowed: the --out directory of a sweep with a store")
        with self._explained():
            self._connection = sqlite3.connect(path, timeout=30, isolation_level=None)
            try:
                self._prepare()
            except BaseException:
                self._connection.close()
                raise

    def _prepare(self) -> None:
        run = self._connection.execute
        if run("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise sqlite3.DatabaseError("quick_check failed")
        run("PRAGMA journal_mode=WAL")
        run("PRAGMA synchronous=NORMAL")
        self._check_version()
        run("BEGIN IMMEDIATE")
        for statement in SCHEMA.strip().splitlines():
            run(statement)
        run("INSERT OR IGNORE INTO meta VALUES ('version', ?)", (VERSION,))
        run("COMMIT")

    def _check_version(self) -> None:
        run = self._connection.execute
        tables = {name for (name,) in run("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not tables:
            return
        row = run("SELECT value FROM meta WHERE key = 'version'").fetchone() if "meta" in tables else None
        found = row[0] if row else "none"
        if found != VERSION:
            message = (
                f"version {found} of the result store, allowed: {VERSION}; delete it or choose another --out"
            )
            raise ConfigError(str(self.path), message)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn SQLite's errors into one line that says what to do."""
        try:
            yield
        except sqlite3.OperationalError as error:
            raise ConfigError(str(self.path), f"cannot be used: {error}") from None
        except (sqlite3.DatabaseError, ValueError, KeyError, TypeError, AttributeError) as error:
            message = f"corrupted ({error}); delete it and run the sweep again"
            raise ConfigError(str(self.path), message) from None

    def load(self, keys: Sequence[str]) -> dict[str, Outcome]:
        """Return the results among ``keys`` that are there already."""
        found = {}
        with self._explained():
            for key in keys:
                row = self._connection.execute("SELECT record FROM results WHERE key = ?", (key,)).fetchone()
                if row is not None:
                    found[key] = Outcome(row[0])
                    found[key].result()  # a record that cannot be read is found out now, not at the end
        return found

    def failures(self, keys: Sequence[str]) -> dict[str, Outcome]:
        """Return the recorded failures among ``keys``; a sweep tries these points again."""
        query = "SELECT message FROM failures WHERE key = ?"
        with self._explained():
            rows = {key: self._connection.execute(query, (key,)).fetchone() for key in keys}
        return {key: Outcome(None, row[0]) for key, row in rows.items() if row is not None}

    def put(self, key: str, outcome: Outcome) -> None:
        """Write one point's outcome; it is safe once this returns."""
        run = self._connection.execute
        with self._explained():
            if outcome.record is None:
                run("INSERT OR REPLACE INTO failures VALUES (?, ?)", (key, outcome.error))
                return
            run("BEGIN IMMEDIATE")
            run("INSERT OR REPLACE INTO results VALUES (?, ?)", (key, outcome.record))
            run("DELETE FROM failures WHERE key = ?", (key,))
            run("COMMIT")

    def set_jobs(self, jobs: Sequence[Job], keys: Sequence[str]) -> None:
        """Remember which points the sweep consists of, in order, for reports that are drawn later."""
        rows = [
            (position, key, json.dumps(asdict(job)))
            for position, (job, key) in enumerate(zip(jobs, keys, strict=True))
        ]
        with self._explained():
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.execute("DELETE FROM jobs")
            self._connection.executemany("INSERT INTO jobs VALUES (?, ?, ?)", rows)
            self._connection.execute("COMMIT")

    def jobs(self) -> tuple[list[Job], list[str]]:
        """Return the last sweep's points and their keys, in order."""
        with self._explained():
            rows = self._connection.execute("SELECT key, job FROM jobs ORDER BY position").fetchall()
            return [_job(json.loads(text)) for _, text in rows], [key for key, _ in rows]

    def close(self) -> None:
        """Fold the write-ahead log into the file and close it."""
        with contextlib.suppress(sqlite3.Error):
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._connection.close()

    def __enter__(self) -> ResultStore:
        """Return the open store."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the store."""
        self.close()


def _job(record: dict[str, Any]) -> Job:
    point = record["point"]
    point["overrides"] = tuple(point["overrides"])
    point["extensions"] = tuple(point["extensions"])
    point["options"] = tuple((key, value) for key, value in point["options"])
    return Job(Point(**point), tuple((model, layer) for model, layer in record["layers"]))

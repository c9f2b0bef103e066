"""A database to be analysed: real SQLite in memory, which whoever asks can only read, and the answer they submit.

What an agent's SQL may do is bounded: reading the tables and a list of functions that give the same for the same
arguments; so many instructions, rows and characters. The same SQL is cut off at the same place every time. Wall clock
and SQLite's heap are bounded too, for what no count of instructions foresees. "Now" is the world's own day.

Left out: what the questions are (`tasks`), how names and rows are drawn (`schema`).
"""

import math
import re
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from envs.analyst.expansion import expansion
from envs.analyst.schema import TODAY, DrawnTable, Row, Schema
from tools import DomainError
from tools.command import did_you_mean

INSTRUCTIONS = 1_000_000
"""How many instructions of SQLite's machine a query may take: a scan of ten rows takes about fifty."""
SECONDS = 2.0
LARGEST_VALUE, LONGEST_CELL, LARGEST_RESULT = 4_000, 300, 12_000
"""Characters of a value inside a query, of one that is shown, and of all that is shown of a result."""
MAX_EXPANSION = 2_000
HEAP_BYTES = 512 * 2**20

_LIMITS = {
    sqlite3.SQLITE_LIMIT_LENGTH: LARGEST_VALUE,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 20_000,
    sqlite3.SQLITE_LIMIT_COLUMN: 100,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 100,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 20,
    sqlite3.SQLITE_LIMIT_VDBE_OP: 25_000,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 100,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
}
_CHECK_EVERY = 100

_AGGREGATES = "avg count group_concat max min sum total"
_WINDOWS = "row_number rank dense_rank percent_rank cume_dist ntile lag lead first_value last_value nth_value"
_SCALARS = (
    "abs char coalesce format glob hex ifnull iif instr length like likelihood likely lower ltrim nullif printf quote "
    "replace round rtrim sign soundex substr substring trim typeof unicode unlikely upper zeroblob"
)
_MATHS = (
    "acos asin atan atan2 ceil ceiling cos degrees exp floor ln log log10 "
    "log2 mod pi pow power radians sin sqrt tan trunc"
)
_TIMES = "current_date current_time current_timestamp date datetime julianday strftime time unixepoch"
_JSON = (
    "json json_array json_array_length json_each json_extract json_group_array "
    "json_group_object json_object json_tree json_type json_valid -> ->>"
)
FUNCTIONS = frozenset(" ".join((_AGGREGATES, _WINDOWS, _SCALARS, _MATHS, _TIMES, _JSON)).split())
"""The functions that a query may call. None of them depends on chance, on the machine, or on what time it is."""

_READABLE_BESIDES = frozenset(("sqlite_master", "sqlite_schema", "json_each", "json_tree"))
_INTERNAL = ("sqlite_", "pragma_", "dbstat", "fts")
_READ_ACTIONS = frozenset((sqlite3.SQLITE_SELECT, sqlite3.SQLITE_RECURSIVE))
_DENIED_WORDS: Mapping[int, str] = {
    sqlite3.SQLITE_PRAGMA: "PRAGMA is not allowed: describe_table shows columns and keys",
    sqlite3.SQLITE_ATTACH: "no other database can be attached",
    sqlite3.SQLITE_DETACH: "no other database can be attached",
}
READ_ONLY = "the database is read-only: write one SELECT on its own tables"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Rows of a query as JSON values. `note` says what was cut, if anything was."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    note: str


class Database:
    """The tables of one task. `query` is for the agent's SQL, `all` for the world's own."""

    def __init__(self, schema: Schema) -> None:
        self.tables: Mapping[str, DrawnTable] = {table.name: table for table in schema.values()}
        self.answer: Any = None
        self.db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self.db.execute(f"pragma hard_heap_limit = {HEAP_BYTES}")  # of the whole process; it can't be raised again
        self.db.execute("pragma temp_store = memory")
        self.db.execute("begin")
        for table in schema.values():
            _create(self.db, table)
        self.db.execute("commit")
        self.db.execute("pragma query_only = on")
        self.db.text_factory = _text
        self._readable = _READABLE_BESIDES | {name.casefold() for name in self.tables}
        self._guard: _Guard | None = None

    def all(self, sql: str, *values: Any) -> list[Row]:
        """All rows of a query of the world's own."""
        return self.db.execute(sql, values).fetchall()

    def query(self, sql: str, limit: int) -> Result:
        """The first `limit` rows of an agent's query. Raises DomainError, in SQLite's words, for what it can't do."""
        if expansion(sql) > MAX_EXPANSION:
            raise DomainError("the WITH parts refer to each other too often: write it with fewer of them")
        if self._guard is None:
            self._guard = _Guard(self.db, self._readable)
        guard = self._guard
        guard.begin()
        try:
            cursor = self.db.execute(sql)
            rows = cursor.fetchmany(limit + 1)
            columns = [column[0] for column in cursor.description or ()]
            cursor.close()
        except (sqlite3.Error, sqlite3.Warning, MemoryError, ValueError) as error:
            raise DomainError(self._explained(error, guard)) from None
        finally:
            guard.end()
        if not columns:
            raise DomainError("there is no query in this: write one SELECT")
        return _shown(columns, rows, limit)

    def _explained(self, error: Exception, guard: "_Guard") -> str:
        """What was wrong with a query, in SQLite's words and with what to do."""
        text = str(error)
        if guard.exceeded:
            return (
                "the query takes too long and was cut off: is a join without its condition, or a loop without an end?"
            )
        if guard.refused:
            return guard.refused
        if isinstance(error, MemoryError):
            return "the query needs too much memory: make it smaller"
        if isinstance(error, UnicodeEncodeError):
            return "the query is no text that can be written as UTF-8"
        if "one statement" in text:
            return "write one statement at a time"
        if "binding" in text:
            return "the query has a placeholder (?, :name): write the value itself"
        if "readonly" in text:
            return READ_ONLY
        for kind, known in (("table", list(self.tables)), ("column", self._columns())):
            words, colon, name = text.partition(f"no such {kind}: ")
            if colon and not words:
                return f"{text}; {did_you_mean(name.rpartition('.')[2], known)}"
        return text

    def _columns(self) -> list[str]:
        return list(dict.fromkeys(column.name for table in self.tables.values() for column in table.columns.values()))

    def snapshot(self) -> list[str]:
        """The whole database as SQL."""
        return list(self.db.iterdump())

    def close(self) -> None:
        self.db.close()


class _Guard:
    """What watches a connection while an agent's SQL is compiled and carried out."""

    def __init__(self, db: sqlite3.Connection, readable: Iterable[str]) -> None:
        self.db, self.readable = db, frozenset(readable)
        self.scratch = sqlite3.connect(":memory:", check_same_thread=False)
        self.refused, self.exceeded = "", False
        db.execute("select 1 from json_each('[]'), json_tree('[]')")  # SQLite makes these at their first use
        for kind, size in _LIMITS.items():
            db.setlimit(kind, size)
        for name in _TIMES.split():
            db.create_function(name, -1, self._time(name), deterministic=True)
        for name in ("printf", "format"):
            db.create_function(name, -1, self._printf, deterministic=True)

    def begin(self) -> None:
        self.refused, self.exceeded = "", False
        self.left, self.until = INSTRUCTIONS, time.monotonic() + SECONDS
        self.db.set_authorizer(self._allows)
        self.db.set_progress_handler(self._is_over, _CHECK_EVERY)

    def end(self) -> None:
        self.db.set_progress_handler(None, 0)
        self.db.set_authorizer(None)

    def _is_over(self) -> bool:
        self.left -= _CHECK_EVERY
        self.exceeded = self.left < 0 or time.monotonic() > self.until
        return self.exceeded

    def _allows(self, action: int, first: str | None, second: str | None, *_: str | None) -> int:
        if action in _READ_ACTIONS:
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_READ:
            name = (first or "").casefold()
            # A part of a WITH of which no column is read comes here by its name; so does a table of SQLite's own.
            if name in self.readable or (not second and not name.startswith(_INTERNAL)):
                return sqlite3.SQLITE_OK
            self.refused = self.refused or f"no such table: {first}"
        elif action == sqlite3.SQLITE_FUNCTION:
            if (second or "").casefold() in FUNCTIONS:
                return sqlite3.SQLITE_OK
            self.refused = self.refused or f"the function {second} is not allowed"
        else:
            self.refused = self.refused or _DENIED_WORDS.get(action, READ_ONLY)
        return sqlite3.SQLITE_DENY

    def _time(self, name: str) -> Callable[..., Any]:
        """SQLite's function of that name, for which it is always the morning of the world's day."""
        meant = {"current_date": "date", "current_time": "time", "current_timestamp": "datetime"}.get(name, name)
        place = 1 if name == "strftime" else 0

        def call(*arguments: Any) -> Any:
            parts = [TODAY.isoformat() if str(part).strip().casefold() == "now" else part for part in arguments]
            if len(parts) == place:
                parts.append(TODAY.isoformat())
            if any(str(part).strip().casefold() in ("localtime", "utc") for part in parts):
                raise self._refuse("localtime and utc are not allowed: there is one time zone")
            return self._plainly(meant, parts)

        return call

    def _printf(self, *arguments: Any) -> Any:
        form = str(arguments[0]) if arguments else ""
        widths = re.findall(r"%[^A-Za-z%]*", form)  # each directive up to its letter
        if any("*" in width or any(int(n[:9]) > 100 for n in re.findall(r"[0-9]+", width)) for width in widths):
            raise self._refuse("printf takes widths up to 100 only")
        return self._plainly("printf", arguments)

    def _plainly(self, function: str, arguments: Sequence[Any]) -> Any:
        marks = ", ".join("?" * len(arguments))
        return self.scratch.execute(f"select {function}({marks})", arguments).fetchone()[0]

    def _refuse(self, why: str) -> ValueError:
        self.refused = self.refused or why
        return ValueError(why)


def _create(db: sqlite3.Connection, table: DrawnTable) -> None:
    parts = []
    for column in table.columns.values():
        key = " PRIMARY KEY" if column.name == table.key else ""
        references = f" REFERENCES {column.references}" if column.references else ""
        parts.append(f"{column.name} {column.sql_type}{key}{references}")
    db.execute(f"create table {table.name} ({', '.join(parts)})")
    db.executemany(f"insert into {table.name} values ({', '.join('?' * len(parts))})", table.rows)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _shown(columns: Sequence[str], rows: Sequence[Row], limit: int) -> Result:
    """Rows as JSON values, as many as there is room for."""
    shown: list[list[Any]] = []
    notes = [f"only the first {limit} rows are shown"] if len(rows) > limit else []
    room, cut = LARGEST_RESULT, False
    for row in rows[:limit]:
        cells = [_cell(value) for value in row]
        cut = cut or any(isinstance(cell, str) and len(cell) > LONGEST_CELL for cell in cells)
        room -= sum(len(str(cell)) for cell in cells)
        if room < 0:
            notes = [f"only the first {len(shown)} rows are shown, since they are long"]
            break
        shown.append(cells)
    if cut:
        notes.append(f"values are cut after {LONGEST_CELL} characters")
    return Result(columns=columns, rows=shown, note="; ".join(notes))


def _cell(value: Any) -> Any:
    """A value of SQLite's as JSON has it: bytes as SQL writes them, and what is no finite number as null."""
    if isinstance(value, bytes):
        value = f"x'{value[:LONGEST_CELL].hex()}'"
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, str) and len(value) > LONGEST_CELL:
        return value[:LONGEST_CELL] + "..."
    return value

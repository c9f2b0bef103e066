"""What a database is drawn from: tables and columns as a domain declares them, with the names, units, codes and date
formats that one seed gives them, and their rows.

A domain names its tables and columns by *roles* (`loan.fine`). A seed draws a name for each, the way names are written,
and how amounts, codes and days are stored; whatever a reader can't guess is said in a table of notes. Left out: the
domains themselves (`domains`), the SQLite database that is made of a drawn schema (`world`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from random import Random
from typing import Any

Row = tuple[Any, ...]

FIRST_DAY, TODAY = date(2023, 1, 1), date(2024, 6, 30)
DAYS = (TODAY - FIRST_DAY).days


@dataclass(frozen=True, slots=True)
class Key:
    """The id of a row."""


@dataclass(frozen=True, slots=True)
class Ref:
    """The id of a row of another table; only `part` of its rows are ever referred to."""

    table: str
    part: float = 1.0


@dataclass(frozen=True, slots=True)
class Names:
    """A text that no two rows share, made of a word of each list."""

    words: tuple[Sequence[str], ...]


@dataclass(frozen=True, slots=True)
class Label:
    """Two letters and a number that no two rows share, as on a sticker."""

    letters: str


@dataclass(frozen=True, slots=True)
class Pick:
    """One of a few texts; NULL in `null` of the rows."""

    values: Sequence[str]
    null: float = 0.0


@dataclass(frozen=True, slots=True)
class Number:
    """A whole number that needs no note."""

    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Quantity:
    """What an amount is asked in, and each way that it is stored: how a note says it, and how many make one of that."""

    asked: str
    stored: Mapping[str, int]


MONEY = Quantity("euros", {"in cents": 100, "in euros": 1})
TIME = Quantity("hours", {"in minutes": 60, "in seconds": 3600, "in hours": 1})
WEIGHT = Quantity("kilograms", {"in grams": 1000, "in kilograms": 1})
POINTS = Quantity("points", {"in tenths of a point": 10, "in points": 1})


@dataclass(frozen=True, slots=True)
class Amount:
    """So many hundredths, from `low` to `high`, of what a quantity is asked in; NULL in `null` of the rows."""

    quantity: Quantity
    low: int
    high: int
    null: float = 0.0


@dataclass(frozen=True, slots=True)
class Day:
    """A day as text. With `after` it comes some days after the row's other day, and is NULL in `null` of the rows."""

    after: str = ""
    null: float = 0.0


@dataclass(frozen=True, slots=True)
class Code:
    """One of a few meanings, stored as a code that only a note explains."""

    meanings: tuple[str, ...]


Kind = Key | Ref | Names | Label | Pick | Number | Amount | Day | Code
Columns = Mapping[str, tuple[str, Kind]]
"""Columns by role: the names that one is drawn of, in a string, and what the column holds."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table as a domain declares it: the names that one is drawn of, how many rows it has, and its columns."""

    names: str
    rows: tuple[int, int]
    columns: Columns


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A way to write days: how a note says it, strftime's format, and SQL that turns a column into YYYY-MM-DD."""

    said: str
    written: str
    iso: str


FORMATS = (
    Format(said="YYYY-MM-DD", written="%Y-%m-%d", iso="{}"),
    Format(
        said="YYYYMMDD", written="%Y%m%d", iso="substr({0}, 1, 4) || '-' || substr({0}, 5, 2) || '-' || substr({0}, 7)"
    ),
    Format(
        said="DD.MM.YYYY",
        written="%d.%m.%Y",
        iso="substr({0}, 7) || '-' || substr({0}, 4, 2) || '-' || substr({0}, 1, 2)",
    ),
)


@cache
def days_written(written: str) -> Sequence[str]:
    """Every day of the databases, in order, as strftime's format has it."""
    return [(FIRST_DAY + timedelta(days=day)).strftime(written) for day in range(DAYS + 1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnColumn:
    """A column as one seed has it. `divisor` is of an amount, `codes` stored codes by meaning, `format` of a day."""

    name: str
    sql_type: str
    kind: Kind
    references: str = ""
    note: str = ""
    divisor: int = 1
    codes: Mapping[str, Any] | None = None
    format: Format = FORMATS[0]

    def asked(self, alias: str) -> str:
        """SQL for the value as a question asks for it: amounts in their unit, days as YYYY-MM-DD."""
        column = f"{alias}.{self.name}"
        if isinstance(self.kind, Day):
            return self.format.iso.format(column)
        return f"{column} / {self.divisor}.0" if self.divisor > 1 else column


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnTable:
    """A table as one seed has it: columns by role, and its rows."""

    name: str
    columns: Mapping[str, DrawnColumn]
    rows: Sequence[Row]

    @property
    def key(self) -> str:
        return next((column.name for column in self.columns.values() if isinstance(column.kind, Key)), "")


Schema = Mapping[str, DrawnTable]
"""Drawn tables by role."""

NOTES, ARCHIVE = "notes", "archive"
"""The roles of two tables that every domain may have: the one that explains, and one that is out of date."""

_STYLES: Sequence[Callable[[str], str]] = (
    str,
    str,
    str.upper,
    lambda name: name.replace("_", " ").title().replace(" ", ""),
    lambda name: name[0] + name.replace("_", " ").title().replace(" ", "")[1:],
)
_NOTE_TABLES = (("notes", "subject", "note"), ("data_dictionary", "field", "meaning"), ("read_me", "about", "remark"))


def draw_schema(rng: Random, tables: Mapping[str, Table], fact: str) -> Schema:
    """A domain's tables, in any order, as a seed draws them. `fact` is the role of the one that may have an archive."""
    style, prefix = rng.choice(_STYLES), rng.choice(("", "", "", "tbl_", "t_"))
    day_format = rng.choice(FORMATS)
    schema: dict[str, DrawnTable] = {}
    names = {role: style(prefix + rng.choice(table.names.split())) for role, table in tables.items()}
    for role, table in tables.items():
        columns = {
            part: _column(rng, style(rng.choice(words.split())), kind, names, day_format)
            for part, (words, kind) in table.columns.items()
        }
        rows = _rows(rng, table, columns, schema)
        schema[role] = DrawnTable(name=names[role], columns=columns, rows=rows)
    if rng.random() < 0.5:
        old = schema[fact]
        name = old.name + style(rng.choice(("_old", "_backup", "_2022")))
        schema[ARCHIVE] = DrawnTable(name=name, columns=old.columns, rows=old.rows[: len(old.rows) // 3])
    schema[NOTES] = _notes(rng, schema, style)
    roles = rng.sample(sorted(schema), len(schema))
    return {role: schema[role] for role in roles}


def _column(rng: Random, name: str, kind: Kind, names: Mapping[str, str], day_format: Format) -> DrawnColumn:
    match kind:
        case Key():
            return DrawnColumn(name=name, sql_type="INTEGER", kind=kind)
        case Ref(table=table):
            return DrawnColumn(name=name, sql_type="INTEGER", kind=kind, references=names[table])
        case Amount(quantity=quantity):
            note, divisor = rng.choice(list(quantity.stored.items()))
            sql_type = "INTEGER" if divisor > 1 else "REAL"
            empty = "; NULL where there is none" if kind.null else ""
            return DrawnColumn(name=name, sql_type=sql_type, kind=kind, note=note + empty, divisor=divisor)
        case Day():
            note = f"text, {day_format.said}" + ("; NULL as long as it hasn't happened" if kind.after else "")
            return DrawnColumn(name=name, sql_type="TEXT", kind=kind, note=note, format=day_format)
        case Code(meanings=meanings):
            stored: Sequence[Any] = rng.choice((range(1, 10), "ABCDEFGH", "KLMNPQRS", (10, 20, 30, 40, 50)))
            codes = dict(zip(meanings, rng.sample(stored[: len(meanings) + 1], len(meanings)), strict=True))
            said = ", ".join(
                f"{code} = {meaning}" for meaning, code in sorted(codes.items(), key=lambda pair: str(pair[1]))
            )
            sql_type = "TEXT" if isinstance(stored, str) else "INTEGER"
            return DrawnColumn(name=name, sql_type=sql_type, kind=kind, note=said, codes=codes)
        case Number():
            return DrawnColumn(name=name, sql_type="INTEGER", kind=kind)
        case _:
            return DrawnColumn(name=name, sql_type="TEXT", kind=kind)


def _rows(rng: Random, table: Table, columns: Mapping[str, DrawnColumn], schema: Schema) -> list[Row]:
    count = rng.randint(*table.rows)
    days: dict[str, list[int]] = {}
    values = [_values(rng, role, column, count, schema, days) for role, column in columns.items()]
    return list(zip(*values, strict=True))


def _values(
    rng: Random, role: str, column: DrawnColumn, count: int, schema: Schema, days: dict[str, list[int]]
) -> Sequence[Any]:
    kind = column.kind
    match kind:
        case Key():
            return sorted(rng.sample(range(100, 100 + 4 * count), count))
        case Ref(table=table, part=part):
            keys = [row[0] for row in schema[table].rows]
            return rng.choices(rng.sample(keys, max(1, round(part * len(keys)))), k=count)
        case Names(words=(firsts, seconds)):
            places = rng.sample(range(len(firsts) * len(seconds)), count)
            return [f"{firsts[place % len(firsts)]} {seconds[place // len(firsts)]}" for place in places]
        case Label(letters=letters):
            return [f"{letters}-{number}" for number in rng.sample(range(1000, 9999), count)]
        case Pick(values=values, null=null):
            return _with_nulls(rng, rng.choices(values, k=count), null)
        case Number(low=low, high=high):
            return rng.choices(range(low, high + 1), k=count)
        case Amount(low=low, high=high, null=null):
            return _with_nulls(rng, _amounts(rng, column, low, high, count), null)
        case Code():
            return rng.choices(list((column.codes or {}).values()), k=count)
        case Day(after=after, null=null):
            written = days_written(column.format.written)
            if not after:
                days[role] = rng.choices(range(DAYS - 60), k=count)
                return [written[day] for day in days[role]]
            later = [
                min(day + gap, DAYS) for day, gap in zip(days[after], rng.choices(range(1, 60), k=count), strict=True)
            ]
            return _with_nulls(rng, [written[day] for day in later], null)
        case _:
            raise TypeError(f"{role}: expected a kind of column, came {kind!r}")


def _amounts(rng: Random, column: DrawnColumn, low: int, high: int, count: int) -> Sequence[Any]:
    hundredths = rng.choices(range(low, high + 1), k=count)
    if column.divisor == 1:
        return [value / 100 for value in hundredths]
    return [value * column.divisor // 100 for value in hundredths]


def _with_nulls(rng: Random, values: Sequence[Any], part: float) -> list[Any]:
    empty = set(rng.sample(range(len(values)), round(part * len(values))))
    return [None if place in empty else value for place, value in enumerate(values)] if empty else list(values)


def _notes(rng: Random, schema: Schema, style: Callable[[str], str]) -> DrawnTable:
    name, subject, note = rng.choice(_NOTE_TABLES)
    rows = [
        (f"{table.name}.{column.name}", column.note)
        for role, table in schema.items()
        if role != ARCHIVE
        for column in table.columns.values()
        if column.note
    ]
    if ARCHIVE in schema:
        rows.append((schema[ARCHIVE].name, "an old copy, kept by mistake; never to be counted"))
    columns = {
        "subject": DrawnColumn(name=style(subject), sql_type="TEXT", kind=Names(())),
        "note": DrawnColumn(name=style(note), sql_type="TEXT", kind=Names(())),
    }
    return DrawnTable(name=style(name), columns=columns, rows=rng.sample(rows, len(rows)))

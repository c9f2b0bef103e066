"""What is asked of a database: a family a kind of question, over whatever domain it is.

A family takes a `Draft` and gives a `Question`, or None where this draw can't ask it. Names in SQL come from the drawn
schema, words in the request from the domain. `HELD_OUT_FAMILIES` name a value without saying what it is, so that it has
to be found first.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from envs.analyst.answers import Expected
from envs.analyst.domains import Domain
from envs.analyst.schema import Amount, DrawnColumn, Ref, Schema, days_written
from envs.analyst.world import Database

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked, the SQL that finds it, and the answer. `looked_at` is a table and a column whose values an expert
    looks at first, `found` a value that has to be found first."""

    request: str
    sql: str
    expected: Expected
    looked_at: tuple[str, str] | None = None
    found: str = ""


class Draft:
    """One question in the making: a query over the events, which joins whatever is asked for."""

    def __init__(self, rng: Random, domain: Domain, schema: Schema, database: Database) -> None:
        self.rng, self.domain, self.schema, self.database = rng, domain, schema, database
        self.aliases: dict[Path, str] = {(): "e"}
        self.tables = [domain.fact]
        self.joins = f"FROM {schema[domain.fact].name} e"
        self.conditions: list[str] = []

    def table_of(self, path: Path) -> str:
        """The role of the table at the end of a path."""
        role = self.domain.fact
        for step in path:
            kind = self.schema[role].columns[step].kind
            assert isinstance(kind, Ref)
            role = kind.table
        return role

    def alias(self, path: Path) -> str:
        """The alias of the table at the end of a path, which is joined if it isn't yet."""
        if path not in self.aliases:
            parent, role = self.alias(path[:-1]), self.table_of(path)
            alias = self.aliases[path] = f"t{len(self.aliases)}"
            reference = self.schema[self.table_of(path[:-1])].columns[path[-1]].name
            table = self.schema[role]
            self.joins += f" JOIN {table.name} {alias} ON {alias}.{table.key} = {parent}.{reference}"
            self.tables.append(role)
        return self.aliases[path]

    def column(self, path: Path, role: str) -> DrawnColumn:
        return self.schema[self.table_of(path)].columns[role]

    def value(self, path: Path, role: str) -> str:
        """SQL for a value as a question asks for it."""
        return self.column(path, role).asked(self.alias(path))

    def stored(self, path: Path, role: str) -> str:
        """SQL for a value as it is stored."""
        return f"{self.alias(path)}.{self.column(path, role).name}"

    def values(self, path: Path, role: str) -> list[Any]:
        """The different values that a column has."""
        table = self.schema[self.table_of(path)]
        place = list(table.columns).index(role)
        return sorted({row[place] for row in table.rows} - {None})

    def filtered(self) -> str:
        """Draw a condition; gives how the request says it."""
        drawn = self.rng.choice(self.domain.filters)
        value = self.rng.choice(self.values(drawn.path, drawn.column))
        self.conditions.append(f"{self.stored(drawn.path, drawn.column)} = {quoted(value)}")
        return drawn.said.format(value)

    def coded(self) -> tuple[str, str]:
        """Draw a code; gives how the request says it, and the condition."""
        said, role = self.domain.code
        codes = self.column((), role).codes or {}
        meaning = self.rng.choice(list(codes))
        return f"{said} {meaning}", f"{self.stored((), role)} = {quoted(codes[meaning])}"

    def measure(self) -> tuple[str, str, str]:
        """Draw an amount; gives its name, what it is asked in, and SQL for it."""
        name = self.rng.choice(list(self.domain.measures))
        role = self.domain.measures[name]
        kind = self.column((), role).kind
        assert isinstance(kind, Amount)
        return name, kind.quantity.asked, self.value((), role)

    def sql(self, select: str, tail: str = "") -> str:
        where = f" WHERE {' AND '.join(self.conditions)}" if self.conditions else ""
        return f"SELECT {select} {self.joins}{where}{f' {tail}' if tail else ''}"

    def number(self, request: str, sql: str, decimals: int | None = None, **more: Any) -> Question:
        [(value,)] = self.database.all(sql)
        return Question(request=request, sql=sql, expected=Expected(value=value, decimals=decimals), **more)

    def rows(self, request: str, sql: str, form: str, **more: Any) -> Question:
        value = [list(row) for row in self.database.all(sql)]
        return Question(request=request, sql=sql, expected=Expected(value=value, form=form, **more))

    def first(self, request: str, sql: str) -> Question | None:
        """A question for the one that comes first; none where it is not alone there. The second cell is what counts."""
        rows = self.database.all(f"{sql} LIMIT 2")
        if len(rows) < 2 or rows[0][1] == rows[1][1]:
            return None
        return Question(request=request, sql=f"{sql} LIMIT 1", expected=Expected(value=rows[0][0]))

    def looked_at(self, role: str) -> tuple[str, str]:
        table = self.schema[self.domain.fact]
        return table.name, table.columns[role].name


def quoted(value: Any) -> str:
    return str(value) if isinstance(value, (int, float)) else "'" + str(value).replace("'", "''") + "'"


def count(draft: Draft) -> Question:
    said = draft.filtered()
    return draft.number(f"How many {draft.domain.events} {said} are there?", draft.sql("count(*)"))


def total(draft: Draft) -> Question:
    said, (name, unit, value) = draft.filtered(), draft.measure()
    request = f"What is the total {name} of the {draft.domain.events} {said}, in {unit}?"
    return draft.number(request, draft.sql(f"sum({value})"), 2)


def mean(draft: Draft) -> Question:
    said, (name, unit, value) = draft.filtered(), draft.measure()
    request = f"What is the average {name}, in {unit}, of those {draft.domain.events} {said} that have one?"
    return draft.number(request, draft.sql(f"avg({value})"), 2)


def coded(draft: Draft) -> Question:
    said, (meant, condition) = draft.filtered(), draft.coded()
    draft.conditions.append(condition)
    request = f"How many {draft.domain.events} {said} {meant}?"
    return draft.number(request, draft.sql("count(*)"), looked_at=draft.looked_at(draft.domain.code[1]))


def share(draft: Draft) -> Question:
    said, (meant, condition) = draft.filtered(), draft.coded()
    request = f"What percentage of the {draft.domain.events} {said} {meant}?"
    return draft.number(request, draft.sql(f"100.0 * sum({condition}) / count(*)"), 1)


def still_open(draft: Draft) -> Question:
    said, (meant, role) = draft.filtered(), draft.domain.open
    draft.conditions.append(f"{draft.stored((), role)} IS NULL")
    return draft.number(f"How many {draft.domain.events} {said} {meant}?", draft.sql("count(*)"))


def between(draft: Draft) -> Question:
    said, role = draft.domain.day
    days = days_written("%Y-%m-%d")
    first = draft.rng.randrange(len(days) - 200)
    last = first + draft.rng.randint(30, 150)
    draft.conditions.append(f"{draft.value((), role)} BETWEEN '{days[first]}' AND '{days[last]}'")
    request = f"How many {draft.domain.events} {said} between {days[first]} and {days[last]}, both days included?"
    return draft.number(request, draft.sql("count(*)"))


def month(draft: Draft) -> Question | None:
    said, role = draft.domain.day
    sql = draft.sql(f"substr({draft.value((), role)}, 1, 7), count(*)", "GROUP BY 1 ORDER BY 2 DESC")
    return draft.first(f"In which month, as YYYY-MM, did the most {draft.domain.events} fall ({said})?", sql)


def busiest(draft: Draft) -> Question | None:
    entity = draft.rng.choice(draft.domain.entities)
    name = draft.value(entity.path, entity.column)
    sql = draft.sql(f"{name}, count(*)", "GROUP BY 1 ORDER BY 2 DESC")
    return draft.first(f"Which {entity.one} has the most {draft.domain.events}?", sql)


def top(draft: Draft) -> Question | None:
    entity, (name, unit, value) = draft.rng.choice(draft.domain.entities), draft.measure()
    select = f"{draft.value(entity.path, entity.column)}, sum({value})"
    sql = draft.sql(select, f"GROUP BY 1 HAVING sum({value}) > 0 ORDER BY 2 DESC")
    sums = [round(row[1], 2) for row in draft.database.all(f"{sql} LIMIT 4")]
    if len(set(sums)) < 4:
        return None
    request = (
        f"Which three {entity.many} have the highest total {name} over all their {draft.domain.events}, in {unit}? "
        "Give the highest first."
    )
    return draft.rows(request, f"{sql} LIMIT 3", f"{entity.one}, total", ordered=True, decimals=2)


def having(draft: Draft) -> Question | None:
    group, (meant, condition) = draft.rng.choice(draft.domain.groups), draft.coded()
    draft.conditions += [condition, f"{draft.stored(group.path, group.column)} IS NOT NULL"]
    select = f"{draft.value(group.path, group.column)}, count(*)"
    counts = sorted(number for _, number in draft.database.all(draft.sql(select, "GROUP BY 1")))
    if len(counts) < 3:
        return None
    least = counts[len(counts) // 2]
    sql = draft.sql(select, f"GROUP BY 1 HAVING count(*) >= {least}")
    request = f"In which {group.many} are there at least {least} {draft.domain.events} that {meant}, and how many?"
    return draft.rows(request, sql, f"{group.one}, number")


def never(draft: Draft) -> Question:
    entity = draft.rng.choice(draft.domain.entities)
    role, [step] = draft.table_of(entity.path), entity.path
    table, fact = draft.schema[role], draft.schema[draft.domain.fact]
    draft.tables.append(role)
    sql = (
        f"SELECT t.{table.columns[entity.column].name} FROM {table.name} t WHERE NOT EXISTS "
        f"(SELECT 1 FROM {fact.name} e WHERE e.{fact.columns[step].name} = t.{table.key})"
    )
    return draft.rows(f"Which {entity.many} have no {draft.domain.events} at all?", sql, entity.one)


def latest(draft: Draft) -> Question:
    group, (said, role) = draft.rng.choice(draft.domain.groups), draft.domain.day
    draft.conditions.append(f"{draft.stored(group.path, group.column)} IS NOT NULL")
    sql = draft.sql(f"{draft.value(group.path, group.column)}, max({draft.value((), role)})", "GROUP BY 1")
    events = f"any of its {draft.domain.events} {said}"
    request = f"For each {group.one}, what is the latest day, as YYYY-MM-DD, on which {events}?"
    return draft.rows(request, sql, f"{group.one}, day")


def _found(draft: Draft) -> tuple[str, str]:
    """Draw a value that stands in one column only; gives it and how the request says it."""
    path, role = draft.rng.choice(draft.domain.found)
    value = draft.rng.choice(draft.values(path, role))
    draft.conditions.append(f"{draft.stored(path, role)} = {quoted(value)}")
    return value, f'On a slip of paper there is only "{value}".'


def found_count(draft: Draft) -> Question:
    value, said = _found(draft)
    return draft.number(
        f"{said} How many {draft.domain.events} does it have to do with?", draft.sql("count(*)"), found=value
    )


def found_total(draft: Draft) -> Question:
    value, said = _found(draft)
    name, unit, amount = draft.measure()
    request = f"{said} What is the total {name}, in {unit}, of the {draft.domain.events} that it has to do with?"
    return draft.number(request, draft.sql(f"sum({amount})"), 2, found=value)


def found_latest(draft: Draft) -> Question:
    value, said = _found(draft)
    day = draft.value((), draft.domain.day[1])
    request = (
        f"{said} Of the {draft.domain.events} that it has to do with, what is the latest day, as YYYY-MM-DD, on which "
        f"any {draft.domain.day[0]}?"
    )
    return draft.number(request, draft.sql(f"max({day})"), found=value)


Family = Callable[[Draft], Question | None]

FAMILIES: Mapping[str, Family] = {
    family.__name__: family
    for family in (count, total, mean, coded, share, still_open, between, month, busiest, top, having, never, latest)
}
HELD_OUT_FAMILIES: Mapping[str, Family] = {
    family.__name__: family for family in (found_count, found_total, found_latest)
}
ALL_FAMILIES: Mapping[str, Family] = {**FAMILIES, **HELD_OUT_FAMILIES}

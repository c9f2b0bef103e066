"""What an analyst can do: look at the schema, read rows, query, and submit an answer.

`AnalystTools` reads one `Database`; only `submit_answer` changes anything, and that is the answer, not the data.
"""

import json
from typing import Annotated, Any

from pydantic import Field

from envs.analyst.schema import DrawnTable
from envs.analyst.world import Database
from tools import READ, WRITE, DomainError, tool
from tools.command import did_you_mean

Record = dict[str, Any]
Text = Annotated[str, Field(max_length=1000)]
Answer = (
    float | Text | Annotated[list[Annotated[list[float | Text | None], Field(max_length=20)]], Field(max_length=200)]
)
Name = Annotated[str, Field(min_length=1, max_length=100)]

HELD_OUT_TOOLS = frozenset(("find_value",))
"""Offered in the `held_out` split only."""

MOST_FOUND = 20


class AnalystTools:
    """The desk of an analyst."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @tool(READ)
    def list_tables(self) -> Record:
        """List the tables of the database, with how many rows each has."""
        return {"tables": [{"table": name, "rows": len(table.rows)} for name, table in self.database.tables.items()]}

    @tool(READ)
    def describe_table(self, table: Name) -> Record:
        """Show a table's columns, types, keys and number of rows.

        table: its name, as list_tables gives it
        """
        found = self._table(table)
        columns = []
        for column in found.columns.values():
            part: Record = {"column": column.name, "type": column.sql_type}
            if column.name == found.key:
                part["primary_key"] = True
            if column.references:
                part["references"] = f"{column.references}.{self.database.tables[column.references].key}"
            columns.append(part)
        return {"table": found.name, "rows": len(found.rows), "columns": columns}

    @tool(READ)
    def sample_rows(self, table: Name, limit: Annotated[int, Field(ge=1, le=20)] = 5) -> Record:
        """Show the first rows of a table."""
        return self._result(f"select * from {self._table(table).name}", limit)

    @tool(READ)
    def column_values(self, table: Name, column: Name, limit: Annotated[int, Field(ge=1, le=50)] = 20) -> Record:
        """Count the different values of a column, the most frequent first."""
        found = self._table(table)
        names = {part.name.casefold(): part.name for part in found.columns.values()}
        if column.casefold() not in names:
            raise DomainError(f"{found.name} has no column {column!r}; {did_you_mean(column, list(names.values()))}")
        name = names[column.casefold()]
        [(distinct, empty)] = self.database.all(
            f"select count(distinct {name}), count(*) - count({name}) from {found.name}"
        )
        counts = self.database.all(
            f"select {name}, count(*) from {found.name} where {name} is not null group by 1 order by 2 desc, 1 limit ?",
            limit,
        )
        values = [{"value": value, "rows": count} for value, count in counts]
        return {"distinct": distinct, "nulls": empty, "values": values}

    @tool(READ)
    def run_query(
        self,
        sql: Annotated[str, Field(min_length=1, max_length=5000)],
        limit: Annotated[int, Field(ge=1, le=200)] = 50,
    ) -> Record:
        """Run one SELECT, in SQLite's SQL, on the database, which is read-only.

        sql: one statement
        limit: how many rows are shown at most
        """
        return self._result(sql, limit)

    @tool(READ)
    def find_value(self, text: Annotated[str, Field(min_length=2, max_length=100)]) -> Record:
        """Find the tables and columns in which a text stands as a value, in capital or small letters."""
        places = []
        for name, table in self.database.tables.items():
            for column in table.columns.values():
                if column.sql_type != "TEXT":
                    continue
                sql = f"select count(*) from {name} where lower({column.name}) = ?"
                [(count,)] = self.database.all(sql, _storable(text).lower())
                if count:
                    places.append({"table": name, "column": column.name, "rows": count})
        if not places:
            raise DomainError(f"{text!r} is not the whole of any value")
        return {"places": places[:MOST_FOUND]}

    @tool(WRITE)
    def submit_answer(self, answer: Answer) -> Record:
        """Submit the answer to the question; another one replaces it.

        answer: a number, a text, or a list of rows, each of them a list of values
        """
        _must_be_text(answer)
        self.database.answer = answer
        return {"submitted": True}

    def _table(self, name: str) -> DrawnTable:
        tables = self.database.tables
        found = {known.casefold(): table for known, table in tables.items()}.get(name.casefold())
        if found is None:
            raise DomainError(f"no table is named {name!r}; {did_you_mean(name, list(tables))}")
        return found

    def _result(self, sql: str, limit: int) -> Record:
        result = self.database.query(sql, limit)
        record: Record = {"columns": list(result.columns), "rows": result.rows}
        return record | ({"note": result.note} if result.note else {})


def _must_be_text(answer: Answer) -> None:
    try:
        json.dumps(answer, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise DomainError("the answer has a character that can't be written as UTF-8") from error


def _storable(text: str) -> str:
    """Text that SQLite can hold: a lone surrogate, which no value has, becomes a question mark."""
    return text.encode("utf-8", "replace").decode()

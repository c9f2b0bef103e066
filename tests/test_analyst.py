"""analyst-v0: databases that differ by seed, questions with a right answer, and SQL that can do no harm."""

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from gymnasium.utils.env_checker import check_env

from envs.analyst import AnalystEnv
from envs.analyst.answers import Expected
from envs.analyst.expansion import expansion
from envs.analyst.questions import FAMILIES, HELD_OUT_FAMILIES
from envs.analyst.tasks import SPLITS
from envs.analyst.world import LARGEST_RESULT, SECONDS
from envs.policies import RandomPolicy
from envs.rollout import rollout
from tools import ToolCall

ALL_SPLITS = sorted(SPLITS)
ROOT = Path(__file__).parent.parent


@pytest.fixture
def env() -> Iterator[AnalystEnv]:
    env = AnalystEnv(split="held_out", max_turns=10**6, max_errors=10**6)
    env.reset(seed=1)
    yield env
    env.close()


def call(env: AnalystEnv, name: str, **arguments: Any) -> Any:
    """What a tool answers: its record, or the text of the one error."""
    request = ToolCall(id="c", name=name, arguments=json.dumps(arguments))
    [message], *_, info = env.step({"role": "assistant", "content": "", "tool_calls": [request.to_openai()]})
    json.dumps(message, allow_nan=False, ensure_ascii=False).encode()
    assert len(message["content"]) < 2 * LARGEST_RESULT
    [violations] = info["violations"]
    if violations:
        assert [violation["code"] for violation in violations] == ["domain_rejection"]
        return violations[0]["expected"]
    return json.loads(message["content"])


def query(env: AnalystEnv, sql: str, limit: int = 50) -> Any:
    return call(env, "run_query", sql=sql, limit=limit)


def snapshot(env: AnalystEnv) -> list[str]:
    assert env.task is not None
    return env.task.database.snapshot()


def fact(env: AnalystEnv) -> str:
    """The largest table."""
    tables = call(env, "list_tables")["tables"]
    return str(max(tables, key=lambda table: int(table["rows"]))["table"])


# Tasks


@pytest.mark.parametrize("split", ALL_SPLITS)
def test_gymnasiums_own_check_passes(split: str) -> None:
    env = gymnasium.make("hintsight/analyst-v0", split=split)
    check_env(env.unwrapped)
    env.close()


@pytest.mark.parametrize("split", ALL_SPLITS)
def test_the_expert_solves_every_task_and_who_only_answers_solves_none(split: str) -> None:
    env = AnalystEnv(split=split)
    families: Counter[str] = Counter()
    for seed in range(150):
        _, info = env.reset(seed=seed)
        families[info["task"]["family"]] += 1
        reward, ended = 0.0, False
        while not ended:
            _, reward, ended, truncated, _ = env.step(env.expert_action())
            assert not truncated
        assert (reward, env.errors) == (1.0, 0), seed
        env.reset(seed=seed)
        assert env.step("The answer is submitted.")[1] == 0.0
    env.close()
    assert set(families) == set(SPLITS[split])


def test_there_are_at_least_eight_families_and_others_are_held_out() -> None:
    assert len(FAMILIES) >= 8
    assert set(FAMILIES).isdisjoint(HELD_OUT_FAMILIES)


def test_the_expected_answer_is_what_the_database_says_and_says_something() -> None:
    env = AnalystEnv(split="test")
    for seed in range(60):
        env.reset(seed=seed)
        assert env.task is not None
        question = env.task.question
        rows = query(env, question.sql)["rows"]
        found = rows if isinstance(question.expected.value, list) else rows[0][0]
        assert question.expected.matches(found), seed
        assert found not in (None, "", 0, 1, [])
    env.close()


@pytest.mark.parametrize("split", ALL_SPLITS)
def test_a_policy_that_guesses_gets_nothing(split: str) -> None:
    assert sum(trajectory.reward for trajectory in rollout(RandomPolicy(), "analyst-v0", range(60), split=split)) == 0


def test_names_units_and_formats_differ_by_seed() -> None:
    env = AnalystEnv()
    layouts, notes, abouts = set(), set(), set()
    for seed in range(60):
        opening, _ = env.reset(seed=seed)
        assert env.task is not None
        tables = env.task.database.tables.values()
        abouts.add(opening[0]["content"].split(".")[0])
        layouts.add(tuple((table.name, *(column.name for column in table.columns.values())) for table in tables))
        notes |= {column.note.split(";")[0] for table in tables for column in table.columns.values()}
    env.close()
    assert len(layouts) == 60
    assert len(abouts) == 5
    assert {"in cents", "in euros", "text, YYYY-MM-DD", "text, DD.MM.YYYY", "text, YYYYMMDD"} <= notes


@pytest.mark.parametrize("seed", range(12))
def test_what_the_tools_say_of_the_schema_is_what_sqlite_says(seed: int) -> None:
    env = AnalystEnv()
    env.reset(seed=seed)
    assert env.task is not None
    db = env.task.database.db
    for table in call(env, "list_tables")["tables"]:
        name = table["table"]
        described = call(env, "describe_table", table=name)
        assert db.execute(f"select count(*) from {name}").fetchall() == [(table["rows"],)] == [(described["rows"],)]
        columns = [(part["column"], part["type"], part.get("primary_key", False)) for part in described["columns"]]
        assert columns == [(row[1], row[2], bool(row[5])) for row in db.execute(f"pragma table_info({name})")]
        references = {part["column"]: part["references"] for part in described["columns"] if "references" in part}
        for _, _, target, column, *_ in db.execute(f"pragma foreign_key_list({name})"):
            assert references[column].split(".")[0] == target
        sample = call(env, "sample_rows", table=name.swapcase(), limit=2)
        assert sample["columns"] == [part["column"] for part in described["columns"]]
        assert len(sample["rows"]) == 2
        for part in described["columns"]:
            values = call(env, "column_values", table=name, column=part["column"], limit=50)
            counted = sum(entry["rows"] for entry in values["values"])
            assert counted + values["nulls"] == table["rows"] or values["distinct"] > 50
    assert db.execute("pragma foreign_key_check").fetchall() == []
    env.close()


def test_a_found_value_stands_in_one_place() -> None:
    env = AnalystEnv(split="held_out")
    for seed in range(60):
        env.reset(seed=seed)
        assert env.task is not None
        places = call(env, "find_value", text=env.task.question.found.upper())["places"]
        assert len(places) == 1, seed
    env.close()


def test_a_table_or_column_that_is_not_there_gets_a_hint(env: AnalystEnv) -> None:
    name = fact(env)
    assert f"did you mean {name!r}" in call(env, "describe_table", table=name + "x")
    column = call(env, "describe_table", table=name)["columns"][1]["column"]
    assert f"did you mean {column!r}" in call(env, "column_values", table=name, column=column + "x")
    assert f"no such table: {name}x; did you mean {name!r}?" == query(env, f"select * from {name}x")
    assert "did you mean" in query(env, f"select e.{column}x from {name} e")
    assert "not the whole of any value" in call(env, "find_value", text="nowhere \x00 \U0001f600")


# Answers


def test_an_answer_counts_by_its_value() -> None:
    euros = Expected(value=12.345678, decimals=2)
    assert euros.submitted == 12.35
    assert all(map(euros.matches, (12.35, 12.345678, 12.349)))
    assert not any(map(euros.matches, (12.34, 12.36, "12.35", True, None, [[12.35]])))
    whole = Expected(value=7)
    assert whole.matches(7.0)
    assert not any(map(whole.matches, (7.01, 8, "7", [7])))
    text = Expected(value="Ana Abel")
    assert text.matches(" Ana Abel\n")
    assert not any(map(text.matches, ("ana", "", 3, None)))


def test_the_order_of_rows_counts_only_where_it_is_asked_for() -> None:
    rows = [["a", 1.254], ["a", 2.0], ["b", 2.0]]
    assert Expected(value=rows, decimals=2).matches([["b", 2], ["a", 2], ["a", 1.25]])
    assert not Expected(value=rows, decimals=2, ordered=True).matches([["b", 2], ["a", 2], ["a", 1.25]])
    assert Expected(value=rows, decimals=2, ordered=True).matches([["a", 1.25], ["a", 2], ["b", 2]])
    for wrong in (rows[:2], [*rows, ["b", 2.0]], [["b", 2], ["b", 2], ["a", 1.25]], [["a"], ["a"], ["b"]], "a", 3):
        assert not Expected(value=rows, decimals=2).matches(wrong)


def test_the_last_answer_counts_and_the_state_shows_it(env: AnalystEnv) -> None:
    assert env.task is not None
    assert env.state()["answer"] == []
    right = env.task.question.expected.submitted
    for answer in (right, [["x", None, 1.5]], "x", 4):
        assert call(env, "submit_answer", answer=answer) == {"submitted": True}
        assert env.state()["answer"] == [{"submitted": answer}]
    assert not env.is_solved()
    call(env, "submit_answer", answer=right)
    assert env.is_solved()


def test_an_answer_of_the_wrong_type_is_no_answer(env: AnalystEnv) -> None:
    for answer in (True, None, {"a": 1}, [1, 2], [[{"a": 1}]], "x" * 1001, [["x"]] * 201):
        request = ToolCall(id="c", name="submit_answer", arguments=json.dumps({"answer": answer}))
        *_, info = env.step({"role": "assistant", "tool_calls": [request.to_openai()]})
        assert info["violations"][0], answer
    assert env.state()["answer"] == []
    assert "UTF-8" in call(env, "submit_answer", answer="\ud800")


# SQL


WRITES = (
    "insert into {t} select * from {t}",
    "update {t} set rowid = 1",
    "delete from {t}",
    "delete from {t} returning *",
    "replace into {t} select * from {t}",
    "with x as (select 1) delete from {t}",
    "drop table {t}",
    "create table y (a)",
    "create temp table y as select 1",
    "create view y as select 1",
    "create index y on {t} (rowid)",
    "create trigger y after insert on {t} begin select 1; end",
    "create virtual table y using fts5(a)",
    "alter table {t} rename to y",
    "begin",
    "commit",
    "rollback",
    "savepoint y",
    "analyze",
    "vacuum",
    "vacuum into '{file}'",
    "explain delete from {t}",
)
REFUSED = {
    "attach '{file}' as y": "no other database",
    "detach main": "no other database",
    "pragma query_only = off": "describe_table",
    "pragma writable_schema = on": "describe_table",
    "select * from pragma_table_info('{t}')": "its own tables",
    "select load_extension('x')": "load_extension is not allowed",
    "select writefile('{file}', 'x')": "no such function",
    "select readfile('/etc/passwd')": "no such function",
    "select random()": "random is not allowed",
    "select hex(randomblob(4))": "randomblob is not allowed",
    "select fts3_tokenizer('simple')": "fts3_tokenizer is not allowed",
    "select sqlite_version()": "sqlite_version is not allowed",
    "select * from sqlite_stmt": "its own tables",
    "select * from dbstat": "its own tables",
    "select count(*) from dbstat": "its own tables",
    "select count(*) from sqlite_stmt": "table",
    "select datetime('now', 'localtime')": "one time zone",
    "select 1; select 2": "one statement",
    "select 1; drop table {t}": "one statement",
    "select": "incomplete input",
    "selct 1": "syntax error",
    "-- nothing": "no query",
    "   ": "no query",
    "select ?": "placeholder",
    "select :a": "placeholder",
    "select 'a\0b'": "null character",
    "select '\ud800'": "UTF-8",
    "select nosuch(1)": "no such function",
    "select * from main.missing": "no such table",
}


@pytest.mark.parametrize("sql", WRITES)
def test_sql_that_writes_is_refused_and_writes_nothing(env: AnalystEnv, sql: str, tmp_path: Path) -> None:
    before, file = snapshot(env), tmp_path / "out.db"
    said = query(env, sql.format(t=fact(env), file=file))
    assert "read-only" in said or "no other database" in said
    assert snapshot(env) == before
    assert not file.exists()


@pytest.mark.parametrize("sql", REFUSED)
def test_other_sql_is_refused_in_words(env: AnalystEnv, sql: str, tmp_path: Path) -> None:
    before, file = snapshot(env), tmp_path / "out.db"
    assert REFUSED[sql] in query(env, sql.format(t=fact(env), file=file))
    assert snapshot(env) == before
    assert not file.exists()
    assert query(env, "select 1")["rows"] == [[1]]


ENDLESS = "with recursive c(x) as (select 1 union all select x + 1 from c) "
COSTLY = {
    "recursion": ENDLESS + "select count(*) from c",
    "cross join": "select count(*) from {t} a, {t} b, {t} c, {t} d, {t} e",
    "sort of large values": ENDLESS + "select zeroblob(3900) z, x from c order by z, x",
    "group of large values": ENDLESS + "select x from c group by hex(zeroblob(1900)), x",
    "like": "with s(p) as materialized (select hex(zeroblob(1900))) select count(*) from {t} x, {t} y, {t} z, s "
    "where p || x.rowid || y.rowid || z.rowid like '%' || substr(p, 1, 90) || '1'",
    "trim": "with s(p, q) as materialized (select replace(hex(zeroblob(1900)), '0', 'b'), replace(hex(zeroblob(1900)), "
    "'0', 'a') || 'b') select count(*) from {t} x, {t} y, {t} z, s where trim(p, q) = x.rowid || y.rowid",
    "window": "select sum(a.rowid) over (order by a.rowid, b.rowid rows between 5000 preceding and 5000 following "
    "exclude current row), group_concat(a.rowid) over (order by b.rowid) from {t} a, {t} b",
    "concatenation": "select group_concat(hex(zeroblob(100))) from {t} a, {t} b",
    "blob": "select zeroblob(1000000000)",
    "printf": "select printf('%.*c', 1000000000, 'x')",
    "printf width": "select printf('%1000000000d', 1)",
    "replace": "select replace(hex(zeroblob(1900)), '0', hex(zeroblob(1900)))",
    "deep": "select " + "(" * 2000 + "1" + ")" * 2000,
    "not": "select " + "not " * 1200 + "1",
    "long list": "select 1 in (" + ",".join("1" * 1 for _ in range(2400)) + ") from {t}",
    "many joins": "select count(*) from " + ", ".join(f"{{t}} t{number}" for number in range(70)),
    "many selects": " union all ".join(["select 1"] * 300),
    "many columns": "select " + ",".join("1" * 2000),
    "between": "select 1 from {t} where " + "(" * 90 + "rowid" + " between 0 and 1)" * 90,
}


def doubling(parts: int, body: str = "select x.a from {0} x, {0} y") -> str:
    steps = [f"c{number} as ({body.format(f'c{number - 1}')})" for number in range(1, parts)]
    return f"with c0(a) as (select 1), {', '.join(steps)} select count(*) from c{parts - 1}"


COSTLY["parts that double"] = doubling(28)
COSTLY["unions that double"] = doubling(28, "select a from {0} union all select a from {0}")
COSTLY["subqueries that double"] = doubling(28, "select (select a from {0}) + (select a from {0}) a")


@pytest.mark.parametrize("name", COSTLY)
def test_sql_that_never_ends_or_wants_everything_is_cut_off(env: AnalystEnv, name: str) -> None:
    table, before = fact(env), snapshot(env)
    began = time.monotonic()
    said = query(env, COSTLY[name].replace("{t}", table)[:5000])
    assert time.monotonic() - began < SECONDS + 3
    assert isinstance(said, str) or name in ("long list",), said
    assert snapshot(env) == before
    assert query(env, "select 1")["rows"] == [[1]]


def test_costly_sql_needs_little_memory() -> None:
    """In a process of its own, since what a process has once needed can't be told from what it needs now."""
    code = (
        "import resource\nfrom tests.test_analyst import *\n"
        "env = AnalystEnv(max_turns=10**6, max_errors=10**6); env.reset(seed=1); table = fact(env)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for name in COSTLY: query(env, COSTLY[name].replace('{t}', table)[:5000])\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 600


def test_what_is_cut_off_is_cut_off_at_the_same_place_every_time(env: AnalystEnv) -> None:
    assert env.task is not None
    said = {query(env, COSTLY["recursion"]) for _ in range(3)}
    guard = env.task.database._guard
    assert guard is not None
    assert said == {
        "the query takes too long and was cut off: is a join without its condition, or a loop without an end?"
    }
    assert -200 < guard.left < 0
    [[most]] = query(env, ENDLESS + ", d as (select x from c limit 20000) select max(x) from d")["rows"]
    assert most == 20000


def test_parts_that_refer_to_each_other_are_counted() -> None:
    assert expansion("select 1") == 1
    assert expansion("with a as (select 1) select * from a") == 1
    assert expansion(doubling(11)) == 2**10
    assert expansion(doubling(30)) > 10**8
    assert expansion(doubling(30).replace(" as (", " as not materialized (")) > 10**8
    assert expansion(doubling(30).replace(" as (", "/* ( */ (a) AS --\n MATERIALIZED (")) > 10**8
    for quotes in ('""', "``", "[]", "''"):
        quoted = doubling(30).replace("c1", f"{quotes[0]}c1{quotes[1]}")
        assert expansion(quoted) > 10**8
    nested = "select 1"
    for _ in range(30):
        nested = f"with c as ({nested}) select * from c, c x"
    assert expansion(nested) > 10**6
    assert (
        expansion("with a as (select 'a'), b as (select * from a), c as (select * from a, b) select * from c, a") < 20
    )


def test_large_results_are_cut_with_a_note(env: AnalystEnv) -> None:
    rows = query(env, ENDLESS + "select x from c", limit=7)
    assert rows == {"columns": ["x"], "rows": [[x] for x in range(1, 8)], "note": "only the first 7 rows are shown"}
    assert "note" not in query(env, "select 1 union select 2", limit=2)
    wide = query(env, "select " + ", ".join(["hex(zeroblob(1000))"] * 20) + f" from {fact(env)}", limit=200)
    assert "since they are long" in wide["note"]
    assert "cut after 300 characters" in wide["note"]


def test_values_come_as_json(env: AnalystEnv) -> None:
    sql = "select null, 9223372036854775807, 1.5, 9e999, -9e999, x'00ff', cast(x'ff41' as text), 'é\U0001f600', char(0)"
    [row] = query(env, sql)["rows"]
    assert row == [None, 2**63 - 1, 1.5, None, None, "x'00ff'", "\ufffdA", "é\U0001f600", "\0"]


def test_now_is_the_day_of_the_world(env: AnalystEnv) -> None:
    sql = (
        "select date('now'), date(), current_date, datetime('now', '+1 day'), strftime('%Y', 'now'), strftime('%m'), "
        "julianday('2024-06-30') - julianday('NOW'), current_timestamp, current_time, date('2023-02-30x'), "
        "printf('%.1f|%5s', 1.5, 'a'), unixepoch('now') = unixepoch('2024-06-30')"
    )
    today = "2024-06-30"
    [row] = query(env, sql)["rows"]
    assert row[:6] == [today, today, today, "2024-07-01 00:00:00", "2024", "06"]
    assert row[6:] == [0.0, f"{today} 00:00:00", "00:00:00", None, "1.5|    a", 1]


def test_honest_sql_of_many_kinds_works(env: AnalystEnv) -> None:
    table = fact(env)
    column = call(env, "describe_table", table=table)["columns"][1]["column"]
    for sql in (
        "select name, sql from sqlite_master where type = 'table'",
        f"select {column}, count(*), rank() over (order by count(*) desc) from {table} group by 1 having count(*) > 1",
        f"with a as (select * from {table}), b as (select {column}, count(*) n from a group by 1) select max(n) from b",
        f"select count(*) from {table} a where not exists (select 1 from {table} b where b.{column} > a.{column})",
        f"explain query plan select * from {table}",
        "values (1, 2), (3, 4)",
        "select value from json_each('[1, 2]') where value like '%'",
        f"select group_concat(distinct {column}) from {table}",
        f"SELECT * FROM {table.swapcase()} LIMIT 1;",
        "select printf('in 2024: %5.2f%% of %d', 1.5, 1000)",
    ):
        assert query(env, sql)["rows"], sql


def test_instances_and_episodes_share_nothing(env: AnalystEnv) -> None:
    other = AnalystEnv(split="held_out", max_turns=10**6, max_errors=10**6)
    other.reset(seed=1)
    call(other, "submit_answer", answer=1)
    assert env.state()["answer"] == []
    assert snapshot(env) == snapshot(other)
    query(other, COSTLY["recursion"])
    other.reset(seed=1)
    assert other.state() == env.state()
    other.close()
    other.close()
    assert other.state() == {}

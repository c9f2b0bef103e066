"""Seeded tasks of the analyst: a database, a question about it, the answer by value, and the calls that find it.

A task is a pure function of its split and seed. The expected answer is what SQL gives on the very database; a question
whose answer says nothing (none, nought, no row, a tie where one is asked for) is drawn again. What a question asks is
in `questions`; here it becomes a script.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from random import Random

from envs.analyst.domains import DOMAINS, HELD_OUT_DOMAINS, Domain
from envs.analyst.questions import ALL_FAMILIES, FAMILIES, HELD_OUT_FAMILIES, Draft, Question
from envs.analyst.schema import NOTES, TODAY, draw_schema
from envs.analyst.world import Database
from envs.tasks import Exchange, Script, Step

SPLITS: Mapping[str, Collection[str]] = {"train": FAMILIES, "test": FAMILIES, "held_out": HELD_OUT_FAMILIES}
"""The families of each split."""

TRIES = 12

SYSTEM = (
    f"You are the data analyst of {{about}}. Today is {TODAY}. Find out how the database is laid out: names differ "
    "from what people say, and a table explains codes, units and date formats. Submit the answer with submit_answer; "
    "then say in a sentence that it is done, which ends your work."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One seeded problem with its database, which whoever asked for the task must close."""

    database: Database
    question: Question
    script: Script


def make_task(split: str, seed: int) -> Task:
    """The task of a seed."""
    rng = Random(f"analyst-v0/{split}/{seed}")
    while True:
        domain = _domain(rng, split)
        schema = draw_schema(rng, domain.tables, domain.fact)
        database = Database(schema)
        families = sorted(SPLITS[split])
        for family in rng.sample(families, len(families)):
            for _ in range(TRIES):
                draft = Draft(rng, domain, schema, database)
                question = ALL_FAMILIES[family](draft)
                if question is not None and question.expected.says_something:
                    return Task(database=database, question=question, script=_script(domain, draft, family, question))
        database.close()


def _domain(rng: Random, split: str) -> Domain:
    held_out = split == "held_out" and rng.random() < 0.5
    return rng.choice(list((HELD_OUT_DOMAINS if held_out else DOMAINS).values()))


def _script(domain: Domain, draft: Draft, family: str, question: Question) -> Script:
    exchange = Exchange(
        request=f"{question.request} {question.expected.asked}",
        plan=tuple(_plan(draft, question)),
        answer="The answer is submitted.",
    )
    return Script(kind=family, system=SYSTEM.format(about=domain.about), exchanges=(exchange,))


def _plan(draft: Draft, question: Question) -> Iterator[Step]:
    """What an expert does: find out about the tables that matter and what is noted of them, query, submit."""
    yield Step(tool="list_tables", arguments={})
    if question.found:
        yield Step(tool="find_value", arguments={"text": question.found})
    for role in draft.tables:
        yield Step(tool="describe_table", arguments={"table": draft.schema[role].name})
    yield Step(tool="run_query", arguments={"sql": f"SELECT * FROM {draft.schema[NOTES].name}"})
    if question.looked_at:
        table, column = question.looked_at
        yield Step(tool="column_values", arguments={"table": table, "column": column})
    yield Step(tool="run_query", arguments={"sql": question.sql})
    yield Step(tool="submit_answer", arguments={"answer": question.expected.submitted})

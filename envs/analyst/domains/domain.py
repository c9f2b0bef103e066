"""What a domain says of itself: its tables by role, and how people speak of what is in them.

Each has one table of *events* (loans, visits, bookings), from which `path`s of references lead to what the events are
about. Left out: the domains, one a file.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from envs.analyst.schema import Names, Table

FIRST = (
    "Ana Ben Carla David Elena Felix Greta Hugo Ines Jonas Klara Leo Marta Nils Olga Pedro Rosa Sven Tara Ulrich Vera "
    "Walter Xenia Yusuf Zoe"
).split()
LAST = (
    "Abel Brandt Costa Duarte Engel Ferrari Garcia Holm Ivanov Jansen Keller Lund Moreau Novak Oliveira Petit Quist "
    "Rossi Silva Thorsen Urban Vidal Weber Ziegler"
).split()
CITIES = "Porto Lyon Turin Ghent Basel Graz Bergen Malaga Leeds Cork Dresden Krakow".split()
PEOPLE = Names((FIRST, LAST))
COLOURS = "Red Blue Green Silver Golden White Black Amber Violet Crimson".split()


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition on events: what is said, and the column, at the end of a path, that has the value."""

    said: str
    path: tuple[str, ...]
    column: str


@dataclass(frozen=True, slots=True)
class Entity:
    """What events are about and what has a name of its own: `one`, `many`, and the column with the name."""

    one: str
    many: str
    path: tuple[str, ...]
    column: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """A business. `measures` are amounts of an event, as a question names them; `day` says when an event is, `open` the
    day of it that may not have come yet, `code` a choice that is stored as a code; `found` the columns whose values
    occur nowhere else."""

    about: str
    tables: Mapping[str, Table]
    fact: str
    events: str
    entities: tuple[Entity, ...]
    groups: tuple[Entity, ...]
    filters: tuple[Filter, ...]
    measures: Mapping[str, str]
    day: tuple[str, str]
    open: tuple[str, str]
    code: tuple[str, str]
    found: tuple[tuple[tuple[str, ...], str], ...]

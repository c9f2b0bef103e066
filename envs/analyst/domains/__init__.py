"""The businesses whose databases are analysed: five in every split, and the garage, which is in `held_out` only."""

from collections.abc import Mapping

from envs.analyst.domains.airline import AIRLINE
from envs.analyst.domains.clinic import CLINIC
from envs.analyst.domains.domain import Domain, Entity, Filter
from envs.analyst.domains.garage import GARAGE
from envs.analyst.domains.library import LIBRARY
from envs.analyst.domains.school import SCHOOL
from envs.analyst.domains.shop import SHOP

DOMAINS: Mapping[str, Domain] = {
    "library": LIBRARY,
    "clinic": CLINIC,
    "airline": AIRLINE,
    "shop": SHOP,
    "school": SCHOOL,
}
HELD_OUT_DOMAINS: Mapping[str, Domain] = {"garage": GARAGE}

__all__ = ["DOMAINS", "HELD_OUT_DOMAINS", "Domain", "Entity", "Filter"]

"""Short names for addresses, made of titles."""

import re
import unicodedata
from collections.abc import Collection

MAX_LENGTH = 40


def slugify(title: str) -> str:
    """Lower case letters and digits joined by single dashes, without accents, MAX_LENGTH characters at most."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")
    return slug[:MAX_LENGTH].rstrip("-")


def unique_slug(title: str, taken: Collection[str]) -> str:
    """The slug of a title; with a number from 2 on behind it where it is taken."""
    slug = slugify(title)
    if slug not in taken:
        return slug
    number = 2
    while f"{slug}-{number}" in taken:
        number += 1
    return f"{slug}-{number}"


def title_of(slug: str) -> str:
    """A slug as words that begin with a capital."""
    return " ".join(word.capitalize() for word in slug.split("-") if word)

"""Version numbers like 1.10.2."""

from collections.abc import Iterable

Version = tuple[int, int, int]


def parse_version(text: str) -> Version:
    """The three numbers of a version; those that are missing are 0, and a `v` before it is left out."""
    parts = text.strip().removeprefix("v").split(".")
    if len(parts) > 3 or not all(part.isdigit() for part in parts):
        raise ValueError(f"{text!r} is no version")
    numbers = [int(part) for part in parts] + [0, 0]
    return numbers[0], numbers[1], numbers[2]


def newest(versions: Iterable[str]) -> str:
    """The highest version, as it was written."""
    return max(versions, key=parse_version)


def bump(version: str, part: str) -> str:
    """The next version: `major`, `minor` or `patch` goes up by one, and what is behind it starts at 0."""
    major, minor, patch = parse_version(version)
    if part == "major":
        return f"{major + 1}.0.0"
    if part == "minor":
        return f"{major}.{minor + 1}.0"
    if part == "patch":
        return f"{major}.{minor}.{patch + 1}"
    raise ValueError(f"a version has no part {part!r}")


def is_compatible(wanted: str, found: str) -> bool:
    """Whether a version can stand in for another: the same major number, and not older."""
    want, have = parse_version(wanted), parse_version(found)
    return want[0] == have[0] and have >= want

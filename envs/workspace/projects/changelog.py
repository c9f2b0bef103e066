"""A list of changes by version."""

from envs.workspace.projects.versions import bump, parse_version

Changes = dict[str, list[str]]


def latest_first(changes: Changes) -> list[str]:
    """The versions, the highest first."""
    return sorted(changes, key=parse_version, reverse=True)


def next_version(changes: Changes, breaking: bool) -> str:
    """The version that comes next: a major one for a change that breaks something, else a minor one.

    The first of all is 0.1.0.
    """
    if not changes:
        return "0.1.0"
    return bump(latest_first(changes)[0], "major" if breaking else "minor")


def changes_since(changes: Changes, version: str) -> list[str]:
    """What is new after a version, the latest first."""
    known = parse_version(version)
    later = [number for number in latest_first(changes) if parse_version(number) > known]
    return [change for number in later for change in changes[number]]


def render(changes: Changes) -> str:
    """The whole list as text: a heading for each version, and its changes below it."""
    blocks = []
    for version in latest_first(changes):
        lines = [f"## {version}", *(f"- {change}" for change in changes[version])]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)

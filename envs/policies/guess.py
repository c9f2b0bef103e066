"""Values that a JSON Schema allows, drawn at random: what a policy without a clue would write.

Left out: text that fits a pattern; a guess at it is refused, as a clueless one should be.
"""

from collections.abc import Mapping
from random import Random
from typing import Any

DEEPEST = 6


def guess(schema: Any, rng: Random, *, root: Mapping[str, Any] | None = None, depth: int = 0) -> Any:
    """A value of the type that a schema asks for. `root` is the schema that `$ref`s are looked up in."""
    if not isinstance(schema, Mapping) or depth > DEEPEST:
        return str(rng.randint(1, 999))
    root = root if root is not None else schema
    if "$ref" in schema:
        return guess(_referred(str(schema["$ref"]), root), rng, root=root, depth=depth + 1)
    if "enum" in schema or "const" in schema:
        return rng.choice(schema.get("enum") or [schema.get("const")])
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return guess(rng.choice(choices), rng, root=root, depth=depth + 1)
    match schema.get("type"):
        case "integer":
            return rng.randint(schema.get("minimum", 1), schema.get("maximum", 999))
        case "number":
            return rng.random() * 100
        case "boolean":
            return True
        case "null":
            return None
        case "array":
            return [guess(schema.get("items"), rng, root=root, depth=depth + 1)]
        case "object":
            parts = schema.get("properties", {})
            return {name: guess(part, rng, root=root, depth=depth + 1) for name, part in parts.items()}
        case _:
            return str(rng.randint(1, 999))


def _referred(ref: str, root: Mapping[str, Any]) -> Any:
    part: Any = root
    for key in ref.removeprefix("#/").split("/"):
        part = part.get(key) if isinstance(part, Mapping) else None
    return part

"""A JSON Schema, compiled once: `accepts` says *valid* in a fraction of a microsecond, `validator` says what is wrong.

`accepts` is jsonschema-rs; what it does not accept goes to jsonschema (Draft 2020-12), whose word is the last. So it
may refuse too much, but never accept what jsonschema would not. A schema for which that can't be promised goes to
jsonschema alone: keywords that are not listed here, a `$ref` in a circle (followed down without a limit, deep data
would overflow the stack), a pattern that Rust's regular expressions may read otherwise than Python's.

Left out: which of our codes a violation gets (`tools.check`). A `$ref` is never followed over the network.
"""

import json
import pickle
import re
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from functools import lru_cache
from itertools import islice
from typing import Any

import jsonschema_rs
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.validators import extend
from referencing import Registry

MAX_VIOLATIONS = 20
"""So many are named at most: an array of a million wrong items is refused quickly, and in a short text."""


class Compiled:
    """The two readings of one schema, each made when it is first asked for. The schema must not change after that."""

    __slots__ = ("accepts", "parameters", "pickled", "validator")

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self.parameters = parameters
        self.accepts: Callable[[Any], bool] | None = None
        self.validator: Any = None
        self.pickled = b""

    def __reduce__(self) -> tuple[type["Compiled"], tuple[Mapping[str, Any]]]:
        return Compiled, (self.parameters,)  # a copy in another process compiles its own

    def copy(self) -> dict[str, Any]:
        """The schema for somebody who may change it: it is made once and shared. (deepcopy takes six times as long.)"""
        if not self.pickled:
            self.pickled = pickle.dumps(dict(self.parameters))
        copy: dict[str, Any] = pickle.loads(self.pickled)
        return copy

    def is_valid(self, value: Any) -> bool:
        """Whether JSON is certainly valid; False may also mean that jsonschema has to be asked."""
        accepts = self.accepts
        if accepts is None:
            accepts = self.accepts = _acceptor(self.parameters)
        try:
            return accepts(value)
        except ValueError:  # a lone surrogate has no place in Rust's strings
            return False

    def errors(self, value: Any) -> Iterator[ValidationError]:
        """jsonschema's errors. Raises ValueError if the schema is none."""
        if self.validator is None:
            self.validator = _validator(json.dumps(self.parameters, default=dict))
        errors: Iterator[ValidationError] = self.validator.iter_errors(value)
        return errors


def _acceptor(parameters: Mapping[str, Any]) -> Callable[[Any], bool]:
    survey = _Survey(parameters)
    try:
        # Under `oneOf` a branch that is refused too readily would make another one the only one that fits.
        if survey.trusts(parameters) and not {"oneOf", "pattern"} <= survey.keywords:
            schema = dict(parameters)
            return jsonschema_rs.Draft202012Validator(schema, validate_formats=False, offline=True).is_valid
    except (ValueError, TypeError, AttributeError, RecursionError):
        pass  # jsonschema says what is wrong with the schema
    return _accept_nothing


def _accept_nothing(_: Any) -> bool:
    return False


_SUBSCHEMA = frozenset({"items", "additionalProperties"})
_SUBSCHEMA_LISTS = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_SUBSCHEMA_MAPS = frozenset({"properties", "$defs", "definitions"})
_PLAIN = frozenset(
    "type required enum const minItems maxItems minProperties maxProperties minLength maxLength minimum maximum "
    "exclusiveMinimum exclusiveMaximum title description default examples deprecated format discriminator "
    "readOnly writeOnly $comment".split()
)


class _Survey:
    """A walk over a schema that tells whether jsonschema-rs can be trusted with it, and which keywords it has."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self.root = root
        self.keywords: set[str] = set()
        self.followed: dict[str, bool] = {}  # by $ref: whether its walk has ended

    def trusts(self, schema: Any) -> bool:
        if isinstance(schema, bool):
            return True
        self.keywords.update(schema)
        return all(self._trusts_keyword(keyword, value) for keyword, value in schema.items())

    def _trusts_keyword(self, keyword: str, value: Any) -> bool:
        if keyword in _PLAIN:
            return True
        if keyword in _SUBSCHEMA:
            return self.trusts(value)
        if keyword in _SUBSCHEMA_LISTS:
            return all(map(self.trusts, value))
        if keyword in _SUBSCHEMA_MAPS:
            return all(map(self.trusts, value.values()))
        if keyword == "$ref":
            return self._trusts_reference(value)
        return keyword == "pattern" and _reads_alike(value)

    def _trusts_reference(self, reference: str) -> bool:
        if reference not in self.followed:
            self.followed[reference] = False
            self.followed[reference] = self.trusts(_local(reference, self.root))
        return self.followed[reference]  # still False inside its own walk: a circle


def _local(reference: str, root: Mapping[str, Any]) -> Any:
    """The part of a schema that `#/$defs/NAME` names; ValueError for what is not of that form or not there."""
    match = re.fullmatch(r"#/(\$defs|definitions)/([\w.-]+)", reference)
    if match is None or match[2] not in root.get(match[1], {}):
        raise ValueError(f"{reference!r} is not among the schema's $defs")
    return root[match[1]][match[2]]


# What Python and Rust read alike, or Rust more narrowly (\d and \w are ASCII there; $ is the very end).
_ALIKE = re.compile(
    r"""(?: (?: [A-Za-z0-9\ _@\#%,:;=!"'<>/~&`-] | \\[dw.\-/+*?()\[\]{}^$|\\] | [.^$|)] | \((?:\?:)?
          | \[ (?!\^|-|[^\]]*--) (?:[A-Za-z0-9\ _.,:;@\#%=!/+*?()$-]|\\[dw.\-])+ \]
          | \[\^ (?!-|[^\]]*--) [A-Za-z0-9\ _.,:;@\#%=!/+*?()$-]+ \] )
          (?: (?: [*+?] | \{\d{1,3}(?:,\d{0,3})?\} ) \?? (?![*+?{]) )? )*""",
    re.VERBOSE | re.ASCII,
)


def _reads_alike(pattern: str) -> bool:
    if _ALIKE.fullmatch(pattern) is None:
        return False
    try:
        re.compile(pattern)
    except (re.error, OverflowError):
        return False
    return True


@lru_cache(maxsize=4096)
def _validator(schema: str) -> Any:
    parameters = json.loads(schema)
    try:
        Draft202012Validator.check_schema(parameters)
    except SchemaError as error:
        raise ValueError(f"a tool's parameters are no JSON Schema at {error.json_path}: {error.message}") from error
    # jsonschema's own registry fetches what a $ref names from the network; a schema from a file must not make it do so.
    return _Validator(parameters, registry=Registry())


def _bounded(keyword: str) -> Any:
    """jsonschema's rule for a union, which gathers the errors of all branches, told to stop at a few of each."""
    rule = Draft202012Validator.VALIDATORS[keyword]

    def check(validator: Any, branches: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        yield from rule(_FewErrors(validator), branches, instance, schema)

    return check


def _multiple_of(validator: Any, step: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    """jsonschema's rule, which divides in floats first, and crashes where an integer has no place in one."""
    try:
        yield from Draft202012Validator.VALIDATORS["multipleOf"](validator, step, instance, schema)
    except OverflowError:
        if Fraction(instance) % Fraction(step):
            yield ValidationError(f"{instance!r} is not a multiple of {step}")


class _FewErrors:
    """A validator whose `descend` gives a few errors only."""

    def __init__(self, validator: Any) -> None:
        self.evolve = validator.evolve
        self._descend = validator.descend

    def descend(self, *arguments: Any, **names: Any) -> Iterator[ValidationError]:
        return islice(self._descend(*arguments, **names), MAX_VIOLATIONS)


_RULES = {"anyOf": _bounded("anyOf"), "oneOf": _bounded("oneOf"), "multipleOf": _multiple_of}
_Validator: Any = extend(Draft202012Validator, _RULES)  # type: ignore[no-untyped-call]

"""A JSON Schema, compiled once: `accepts` says *valid* in a fraction of a microsecond, `validator` says what is wrong.

`accepts` is jsonschema-rs; what it does not accept goes to jsonschema (Draft 2020-12), whose word is the last. So it
may refuse too much, but never accept what jsonschema would not. A schema for which that can't be promised goes to
jsonschema alone: keywords that are not listed here, a `$ref` in a circle (followed down without a limit, deep data
would overflow the stack), a pattern that Rust's regular expressions may read otherwise than Python's.

Left out: which of our codes a violation gets (`tools.check`). A `$ref` is never followed over the network.
"""

import json
import pickle
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache, partial
from typing import Any

import jsonschema_rs
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from referencing import Registry

from tools.keywords import FORMATS, MAX_REFERENCES, Validator, bounded_errors, format_checker
from tools.misfits import Misfit, is_plain, local, misfits
from tools.patterns import reads_alike
from tools.plain import acceptor


class Compiled:
    """The two readings of one schema, each made when it is first asked for. The schema must not change after that.

    With `formats` also those of `tools.keywords.FORMATS` are asserted; JSON Schema itself takes them as a remark.
    """

    __slots__ = ("accepts", "formats", "parameters", "pickled", "plain", "trusted", "validator")

    def __init__(self, parameters: Mapping[str, Any], *, formats: bool = False) -> None:
        self.parameters = parameters
        self.formats = formats
        self.accepts: Callable[[Any], bool] = self._first_accepts
        self.plain: bool | None = None
        self.trusted = False
        self.validator: Any = None
        self.pickled = b""

    def __reduce__(self) -> tuple[Callable[..., "Compiled"], tuple[Mapping[str, Any]]]:
        return partial(Compiled, formats=self.formats), (self.parameters,)  # a copy elsewhere compiles its own

    def copy(self) -> dict[str, Any]:
        """The schema for somebody who may change it: it is made once and shared. (deepcopy takes six times as long.)"""
        if not self.pickled:
            self.pickled = pickle.dumps(dict(self.parameters))
        copy: dict[str, Any] = pickle.loads(self.pickled)
        return copy

    def is_valid(self, value: Any) -> bool:
        """Whether JSON is certainly valid; False may also mean that jsonschema has to be asked."""
        try:
            return self.accepts(value)
        except ValueError:  # a lone surrogate has no place in Rust's strings
            return False

    def _first_accepts(self, value: Any) -> bool:
        self._compile()
        return self.accepts(value)

    def _compile(self) -> None:
        if self.plain is None:
            accepts = acceptor(self.parameters, self.formats)
            self.accepts = accepts or _acceptor(self.parameters, self.formats)
            self.trusted = self.accepts is not _accept_nothing
            self.plain = accepts is not None or (self.trusted and is_plain(self.parameters))

    def misfits(self, value: Any) -> Iterator[Misfit]:
        """What jsonschema says is wrong. Raises ValueError if the schema is none."""
        self._compile()
        if self.validator is None and self.plain:
            self.validator = _LEAF[self.formats].evolve(schema=self.parameters)
        elif self.validator is None:
            # What jsonschema-rs is trusted with, it has found to be a schema: that takes jsonschema milliseconds.
            self.validator = _validator(json.dumps(self.parameters, default=dict), self.formats, self.trusted)
        if self.plain:
            return misfits(self.parameters, value, self.validator)
        return map(Misfit.of, bounded_errors(self.validator, value))


def _acceptor(parameters: Mapping[str, Any], formats: bool) -> Callable[[Any], bool]:
    survey = _Survey(parameters)
    try:
        # Under `oneOf` a branch that is refused too readily would make another one the only one that fits.
        refuses_more = {"pattern", "format"} if formats else {"pattern"}
        if (
            survey.trusts(parameters)
            and survey.weight <= MAX_REFERENCES
            and not ("oneOf" in survey.keywords and refuses_more & survey.keywords)
        ):
            compiled = jsonschema_rs.Draft202012Validator(
                dict(parameters), validate_formats=formats, formats=FORMATS if formats else None, offline=True
            )
            return compiled.is_valid
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
        self.weights: dict[str, int] = {}
        self.weight = 0  # how many a $ref there are when each is written out: few may stand for a billion

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
        return keyword == "pattern" and reads_alike(value)

    def _trusts_reference(self, reference: str) -> bool:
        before = self.weight
        self.weight += self.weights.get(reference, 1)
        if reference not in self.followed:
            self.followed[reference] = False
            self.followed[reference] = self.trusts(local(reference, self.root))
            self.weights[reference] = self.weight - before
        return self.followed[reference]  # still False inside its own walk: a circle


_LEAF = {True: Validator({}, format_checker=format_checker()), False: Validator({})}


@lru_cache(maxsize=4096)
def _validator(schema: str, formats: bool, checked: bool) -> Any:
    parameters = json.loads(schema)
    try:
        if not checked:
            Draft202012Validator.check_schema(parameters)
    except SchemaError as error:
        raise ValueError(f"a tool's parameters are no JSON Schema at {error.json_path}: {error.message}") from error
    # jsonschema's own registry fetches what a $ref names from the network; a schema from a file must not make it do so.
    return Validator(parameters, registry=Registry(), format_checker=format_checker() if formats else None)

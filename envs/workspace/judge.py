"""Whether a project passes tests, whatever its code does to deceive.

The tests run here, in our process, from the texts that the task came with; the project's code runs in the sandbox. The
two exchange plain values over a pipe, so that the code can't reach the tests, the runner or the verdict: patching
`unittest`, leaving with status 0, printing a report, objects that are equal to everything, modules that hide others and
`sitecustomize.py` all stay inside. What is left to code that wants to pass is to give the right answers.

What has no plain value (an instance of the project's classes, an iterator) stays in the sandbox and has a `Remote`
here. It is never equal to a plain value. Left out: functions of the tests that the code calls back.
"""

import builtins
import datetime
import sys
import unittest
from collections.abc import Iterator, Mapping, Sequence
from types import CodeType
from typing import Any

from envs.workspace.sandbox import CutOff, Sandbox, Session


def passes(sandbox: Sandbox, files: Mapping[str, str], tests: Mapping[str, str]) -> bool:
    """Whether all tests pass; there must be one. Raises InfrastructureFault where the sandbox doesn't start."""
    try:
        session = sandbox.session("calls", {"files": files})
    except CutOff:
        return False
    with session:
        importer = _Importer(Caller(session), _packages(files))
        result = unittest.TestResult()
        result.failfast = True
        for path, text in tests.items():
            for case in _cases(importer, path, text):
                for name in unittest.defaultTestLoader.getTestCaseNames(case):
                    case(name).run(result)
    return result.testsRun > 0 and result.wasSuccessful() and not result.skipped


def _packages(files: Mapping[str, str]) -> set[str]:
    """The first names of the project's modules. A module that is called like one of Python's does not hide it."""
    return {path.partition("/")[0].removesuffix(".py") for path in files} - sys.stdlib_module_names


def _cases(importer: "_Importer", path: str, text: str) -> list[type[unittest.TestCase]]:
    """The test cases of a file; one that fails where importing the project does."""
    names: dict[str, Any] = {
        "__builtins__": {**vars(builtins), "__import__": importer},
        "__name__": path.removesuffix(".py").replace("/", "."),
    }
    code: CodeType = compile(text, path, "exec", dont_inherit=True)
    try:
        exec(code, names)
    except Exception as error:
        failure = error

        def fail(_: unittest.TestCase) -> None:
            raise failure

        return [type("Import", (unittest.TestCase,), {"test_import": fail})]
    cases = [case for case in names.values() if isinstance(case, type) and issubclass(case, unittest.TestCase)]
    return [type(case.__name__, (_Plain, case), {}) for case in cases]


class _Plain(unittest.TestCase):
    """Compares without showing a difference line by line: nobody reads it, and it can be made to take hours."""

    def assertEqual(self, first: Any, second: Any, msg: Any = None) -> None:
        if not first == second:
            raise self.failureException(msg or "not equal")


class _Importer:
    """`__import__` of the tests: the project's names come from the sandbox, all others from here."""

    def __init__(self, caller: "Caller", packages: set[str]) -> None:
        self.caller, self.packages = caller, packages

    def __call__(
        self,
        name: str,
        names: Mapping[str, Any] | None = None,
        local: Mapping[str, Any] | None = None,
        wanted: Sequence[str] | None = (),
        level: int = 0,
    ) -> Any:
        if name.partition(".")[0] not in self.packages:
            return __import__(name, names, local, wanted or (), level)
        return _Module(self.caller, name)


class _Module:
    """A project's module, of which names can be imported."""

    def __init__(self, caller: "Caller", name: str) -> None:
        self.caller, self.name = caller, name

    def __getattr__(self, name: str) -> Any:
        return self.caller.ask("import", self.name, name)


class Caller:
    """Asks the sandbox, and reads its answers. Whatever they hold becomes plain values or an Exception."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.errors: dict[str, type[Exception]] = {}

    def ask(self, verb: str, target: Any, *parts: Any) -> Any:
        self.session.send([verb, target, *(coded(part) if verb != "import" else part for part in parts)])
        answer = self.session.receive()
        if isinstance(answer, dict) and "raised" in answer:
            values = self.decoded(answer.get("values"))
            raise self.error(answer["raised"])(*(values if isinstance(values, tuple) else ()))
        if not isinstance(answer, dict) or "value" not in answer:
            raise CutOff("it said something else than an answer")
        return self.decoded(answer["value"])

    def error(self, names: Any) -> type[Exception]:
        """The class here that stands for one there: a builtin exception itself, else a child of the nearest one."""
        if not (isinstance(names, list) and all(isinstance(name, str) for name in names) and len(names) < 50):
            raise CutOff("it said something else than an error")
        known = [_builtin_errors().get(name) for name in names]
        nearest = next((error for error in known if error is not None), Exception)
        if not names or known[0] is not None:
            return nearest
        if names[0] not in self.errors:
            # A child of the project's own classes is one here too.
            base = self.error(names[1:])
            self.errors[names[0]] = type(names[0].rpartition(".")[2], (base,), {})
        return self.errors[names[0]]

    def decoded(self, value: Any) -> Any:
        """A plain value or what stands for something else. Raises CutOff for what is neither."""
        if value is None or isinstance(value, (bool, str)):
            return value
        try:
            if "raised" in value:
                return self.error(value["raised"])
            [(kind, part)] = value.items()
            return self._decoded(kind, part)
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
            raise CutOff("it said something else than a value") from error

    def _decoded(self, kind: str, part: Any) -> Any:
        match kind:
            case "object":
                return Remote(self, int(part))
            case "int":
                return int(part)
            case "float":
                return float.fromhex(part)
            case "date":
                return datetime.date.fromisoformat(part)
            case "datetime":
                return datetime.datetime.fromisoformat(part)
            case "dict":
                return {self.decoded(key): self.decoded(inner) for key, inner in part}
        collection = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}[kind]
        return collection(map(self.decoded, part))


def _builtin_errors() -> dict[str, type[Exception]]:
    # What isn't an Exception (SystemExit) becomes one: it must not end us.
    found = {name: error for name, error in vars(builtins).items() if isinstance(error, type)}
    return {f"builtins.{name}": error for name, error in found.items() if issubclass(error, Exception)}


def coded(value: Any) -> Any:
    """A value as the sandbox reads it."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, Remote):
        return {"object": object.__getattribute__(value, "_number")}
    if isinstance(value, int):
        return {"int": str(value)}
    if isinstance(value, float):
        return {"float": value.hex()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return {type(value).__name__: [coded(part) for part in value]}
    if isinstance(value, dict):
        return {"dict": [[coded(key), coded(part)] for key, part in value.items()]}
    if isinstance(value, datetime.date):
        return {type(value).__name__: value.isoformat()}
    raise TypeError(f"the tests can't hand a {type(value).__name__} to the code")


class Remote:
    """Something that stays in the sandbox: a function, a class, an instance, an iterator."""

    def __init__(self, caller: Caller, number: int) -> None:
        self._caller, self._number = caller, number

    def _ask(self, verb: str, *parts: Any) -> Any:
        return self._caller.ask(verb, self._number, *parts)

    def _ask_of_two(self, verb: str, other: object) -> Any:
        # Against a plain value the code's own comparison would be its verdict on itself.
        return self._ask(verb, other) if isinstance(other, Remote) else NotImplemented

    def __getattr__(self, name: str) -> Any:
        return self._ask("attribute", name)

    def __call__(self, *parts: Any, **named: Any) -> Any:
        return self._ask("call", list(parts), named)

    def __len__(self) -> int:
        return int(self._ask("length"))

    def __bool__(self) -> bool:
        return self._ask("truth") is True

    def __str__(self) -> str:
        return str(self._ask("text"))

    def __repr__(self) -> str:
        return str(self._ask("shown"))

    def __contains__(self, part: Any) -> bool:
        return self._ask("contains", part) is True

    def __getitem__(self, key: Any) -> Any:
        return self._ask("item", key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._ask("set", key, value)

    def __delitem__(self, key: Any) -> None:
        self._ask("delete", key)

    def __iter__(self) -> Iterator[Any]:
        iterator = self._ask("iterate")
        while True:
            try:
                yield iterator._ask("next")
            except StopIteration:
                return

    def __next__(self) -> Any:
        return self._ask("next")

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> Any:
        return self._ask_of_two("equal", other) if isinstance(other, Remote) else False

    def __lt__(self, other: object) -> Any:
        return self._ask_of_two("less", other)

    def __le__(self, other: object) -> Any:
        return self._ask_of_two("less_or_equal", other)

    def __add__(self, other: object) -> Any:
        return self._ask_of_two("sum", other)

    def __sub__(self, other: object) -> Any:
        return self._ask_of_two("difference", other)

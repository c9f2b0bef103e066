"""What runs in the sandbox, on files that come over standard input: a project's tests, calls of its functions for
the judge outside, or a search.

It is loaded by `confine.py` as a script, with the standard library only. The files are imported from memory, so that
the sandbox needs none of theirs on its disk; their names in tracebacks are relative. Nothing that is said here is
believed outside: it runs in the same process as the code that is tried.
"""

import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType
from typing import Any, TextIO

Json = dict[str, Any]
SHOWN = 6_000
"""How many characters of what the tests say are handed out."""
PRINTED = 200_000
"""How many characters the code may print before it is cut off."""
OUR_FRAMES = r'(?m)^  File "(?:<frozen importlib[^"]*|[^"]*/inside\.py)", line \d+, in .*\n(?:    .*\n)*'
"""The lines of a traceback that are about importing, and say nothing about the project."""


class Project(MetaPathFinder, InspectLoader):
    """A project's modules, imported from a mapping of paths to texts. The standard library's come before them."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self.files = files

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        place = fullname.replace(".", "/")
        is_package = f"{place}/__init__.py" in self.files or any(name.startswith(f"{place}/") for name in self.files)
        if not is_package and f"{place}.py" not in self.files:
            return None
        origin = f"{place}/__init__.py" if is_package else f"{place}.py"
        spec = ModuleSpec(fullname, self, origin=origin, is_package=is_package)
        spec.has_location = True
        return spec

    def get_source(self, fullname: str) -> str:
        origin = fullname.replace(".", "/")
        return self.files.get(f"{origin}/__init__.py", self.files.get(f"{origin}.py", ""))

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        origin, source = str(module.__spec__.origin), self.get_source(module.__name__)
        code: CodeType = compile(source, origin, "exec", dont_inherit=True)
        exec(code, vars(module))

    def install(self) -> None:
        import linecache

        sys.meta_path.append(self)
        for name, text in self.files.items():
            linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)


class Printed:
    """Standard output and error of the code: the beginning is kept, and too much of it ends the program."""

    def __init__(self, cut: Callable[[str], None]) -> None:
        self.parts: list[str] = []
        self.room, self.left, self.cut = SHOWN, PRINTED, cut

    def write(self, text: str) -> int:
        self.parts.append(text[: self.room])
        self.room, self.left = max(0, self.room - len(text)), self.left - len(text)
        if self.left < 0:
            self.cut(f"it printed more than {PRINTED} characters")
        return len(text)

    def flush(self) -> None:
        pass


def report_to(pipe: int) -> Callable[[Json], None]:
    """A function that hands out a report and ends the process, whatever threads are still running."""

    def report(answer: Json) -> None:
        data = json.dumps(answer).encode() + b"\n"
        while data:
            data = data[os.write(pipe, data) :]
        os._exit(0)

    return report


# Tests


def run_tests(request: Json, report: Callable[[Json], None]) -> None:
    """Run the tests of the files named in `tests`, those whose name has `name` in it, and report on them."""
    import io
    import unittest

    printed: Any = Printed(lambda why: report({"cut": why}))
    sys.stdout = sys.stderr = printed
    Project(request["files"]).install()
    loader, suite = unittest.TestLoader(), unittest.TestSuite()
    if request["name"]:
        loader.testNamePatterns = [f"*{request['name']}*"]
    for path in request["tests"]:
        suite.addTest(_tests_of(path.removesuffix(".py").replace("/", "."), loader))
    said = io.StringIO()
    result: Any = unittest.TextTestRunner(stream=said, descriptions=False, resultclass=_result_class()).run(suite)
    report(
        {
            "ran": result.testsRun,
            "failed": len({test.id() for test, _ in result.failures + result.errors}),
            "passed": result.wasSuccessful(),
            "output": _plain(said.getvalue() + "".join(printed.parts)),
            "limit": result.limit,
        }
    )


def _tests_of(module: str, loader: Any) -> Any:
    """A module's tests; one test that fails where it can't be imported, whatever the reason."""
    import importlib
    import unittest

    try:
        return loader.loadTestsFromModule(importlib.import_module(module))
    except BaseException as error:
        failure = error

    def fail(_: object) -> None:
        raise failure

    case = type("Import", (unittest.TestCase,), {module.rpartition(".")[2]: fail, "__module__": "import"})
    return case(module.rpartition(".")[2])


def _result_class() -> Any:
    import errno
    from unittest import TextTestResult

    limits = {errno.EFBIG: "files", errno.EAGAIN: "processes", errno.EMFILE: "open files", errno.EPERM: "rights"}

    class Result(TextTestResult):
        """Notes whether a test met a limit of the sandbox, rather than its own expectation."""

        limit: str | None = None

        def addError(self, test: Any, error: Any) -> None:
            super().addError(test, error)
            raised = error[1]
            if isinstance(raised, MemoryError):
                self.limit = "it used up its memory"
            elif isinstance(raised, OSError) and raised.errno in limits:
                self.limit = f"it asked for what a test run can't have ({raised.strerror})"

    return Result


def _plain(text: str) -> str:
    """What the tests said, without what is different each time: durations, addresses, where Python is installed."""
    text = re.sub(r"(?m)^(Ran \d+ tests?) in [\d.]+s$", r"\1", text)
    text = re.sub(OUR_FRAMES, "", text)
    text = re.sub(r" at 0x[0-9a-fA-F]+", " at 0x...", text)
    text = text.replace(os.path.dirname(os.__file__), "<python>")
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}\n... ({len(text)} characters)"


# Calls for the judge


class Service:
    """Carries out what the judge asks for, and answers in plain values; what has none is named by a number."""

    def __init__(self) -> None:
        self.objects: list[Any] = []

    def answer(self, request: Sequence[Any]) -> Json:
        try:
            return {"value": self.coded(self._done(*request))}
        except BaseException as error:
            names = [f"{cls.__module__}.{cls.__qualname__}" for cls in type(error).__mro__]
            return {"raised": names, "values": self.coded(tuple(map(_simple, error.args)))}

    def _done(self, verb: str, target: Any, *parts: Any) -> Any:
        import importlib
        import operator

        if verb == "import":
            module = importlib.import_module(target)
            if hasattr(module, parts[0]):
                return getattr(module, parts[0])
            return importlib.import_module(f"{target}.{parts[0]}")
        value, arguments = self.objects[target], [self.decoded(part) for part in parts]
        if verb == "attribute":
            return getattr(value, arguments[0])
        if verb == "call":
            return value(*arguments[0], **arguments[1])
        functions: Mapping[str, Callable[..., Any]] = {
            "length": len,
            "iterate": iter,
            "next": next,
            "truth": bool,
            "text": str,
            "shown": repr,
            "contains": operator.contains,
            "item": operator.getitem,
            "set": operator.setitem,
            "delete": operator.delitem,
            "equal": operator.eq,
            "less": operator.lt,
            "less_or_equal": operator.le,
            "sum": operator.add,
            "difference": operator.sub,
            "product": operator.mul,
        }
        return functions[verb](value, *arguments)

    def coded(self, value: Any) -> Any:
        """A value as JSON; `values.py` of the judge reads it. Only the plain types themselves are values."""
        if value is None or isinstance(value, (bool, str)):
            return value
        if isinstance(value, int):
            return {"int": str(int(value))}
        if isinstance(value, float):
            return {"float": float(value).hex()}
        if isinstance(value, (list, tuple, set, frozenset)):
            kind = next(kind for kind in (list, tuple, set, frozenset) if isinstance(value, kind))
            return {kind.__name__: [self.coded(part) for part in value]}
        if isinstance(value, dict):
            return {"dict": [[self.coded(key), self.coded(part)] for key, part in value.items()]}
        if type(value).__module__ == "datetime" and type(value).__name__ in ("date", "datetime"):
            return {type(value).__name__: value.isoformat()}
        self.objects.append(value)
        coded: Json = {"object": len(self.objects) - 1}
        if isinstance(value, type) and issubclass(value, BaseException):
            coded["raised"] = [f"{cls.__module__}.{cls.__qualname__}" for cls in value.__mro__]
        return coded

    def decoded(self, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        [(kind, part)] = value.items()
        if kind == "object":
            return self.objects[part]
        if kind == "int":
            return int(part)
        if kind == "float":
            return float.fromhex(part)
        if kind == "dict":
            return {self.decoded(key): self.decoded(inner) for key, inner in part}
        if kind in ("date", "datetime"):
            import datetime

            return getattr(datetime, kind).fromisoformat(part)
        return {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}[kind](map(self.decoded, part))


def _simple(value: Any) -> Any:
    return value if value is None or type(value) in (bool, int, float, str) else str(value)


def serve_calls(request: Json, answers: int) -> None:
    """Answer the judge's requests, one a line, until it has no more."""
    sys.stdout = sys.stderr = Printed(lambda _: None)
    Project(request["files"]).install()
    service = Service()
    for line in sys.stdin:
        data = json.dumps(service.answer(json.loads(line))).encode() + b"\n"
        while data:
            data = data[os.write(answers, data) :]


# A search


def search(request: Json, report: Callable[[Json], None]) -> None:
    """Find the lines that a regular expression matches."""
    try:
        pattern = re.compile(request["pattern"])
    except (re.error, OverflowError, RecursionError) as error:
        report({"refused": str(error)})
    report({"found": list(_found(pattern, request["files"]))})


def _found(pattern: re.Pattern[str], files: Mapping[str, str]) -> Iterator[list[Any]]:
    for path, text in files.items():
        for number, line in enumerate(text.splitlines(), 1):
            if pattern.search(line):
                yield [path, number, line]


# What the sandbox is


def look_around(_: Json, report: Callable[[Json], None]) -> None:
    """What can be seen and done from in here; a sandbox is believed to work after this look only."""
    report(
        {
            "files": os.path.exists("/etc/passwd"),
            "fork": _works(_fork),
            "network": _works(_connect),
            "root": os.getuid() == 0,
            "libraries": _works(lambda: __import__("unittest")),
        }
    )


def _works(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except Exception:
        return False
    return True


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def _connect() -> None:
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing; fails where there is no way out


def start(program: str) -> None:
    stdin: TextIO = sys.stdin
    out = os.dup(1)
    os.close(1)
    os.close(2)
    request = json.loads(stdin.readline())
    if program == "calls":
        serve_calls(request, out)
    else:
        {"tests": run_tests, "search": search, "look": look_around}[program](request, report_to(out))

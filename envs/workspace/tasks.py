"""Seeded tasks of workspace-v0: a project with something wrong in it, what a colleague says, and the calls that mend
it.

A task is a pure function of its split and seed, and nothing is run to make it: that the tests fail before and pass
after is a property of `projects/` and `bugs.py`, which a test of ours holds them to. `train` and `test` share their
families and have different bugs; the families of `held_out` ask for files to be moved, with a tool that only it offers.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

from envs.tasks import Exchange, Step
from envs.workspace.bugs import BUGS, Bug
from envs.workspace.library import (
    MODULE_NAMES,
    NEEDS,
    Face,
    functions_of,
    module_text,
    summary_of,
    test_text,
)

SYSTEM = (
    "You are at the desk of a colleague, in the folder of a small Python project. Paths are relative to that folder. "
    "The project needs nothing but Python's standard library. Mend what you are asked to; the files in tests/ say how "
    "things should be and stay as they are. Run all the tests before you say that you are done."
)
TOOLS = ("list_files", "read_file", "search", "edit_file", "create_file", "run_tests")
HELD_OUT_TOOLS = ("move_file",)
TEST_BUGS = 4
"""Every so manieth bug of a module is kept for the test split."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One seeded problem. `tests` are the files of `start` that must stay, `gone` the paths that must not."""

    seed: int
    split: str
    kind: str
    start: Mapping[str, str]
    tests: Mapping[str, str]
    gone: Collection[str]
    offered: tuple[str, ...]
    exchanges: tuple[Exchange, ...]


class Project:
    """A drawn project: its modules and their names. It is whole until a family changes `files`."""

    def __init__(self, rng: Random, split: str) -> None:
        self.rng, self.split, self.face = rng, split, Face.draw(rng)
        self.modules: list[str] = []
        self.files: dict[str, str] = {}
        self.gone: list[str] = []

    def draw(self, *wanted: str) -> None:
        """Take the wanted modules, others, and what they need; three to six in all."""
        drawn = [*wanted, *self.rng.sample(sorted(MODULE_NAMES), 6)]
        self.modules = []
        for name in drawn:
            if len(self.modules) < 3 or name in wanted:
                self.modules += [part for part in (*NEEDS.get(name, ()), name) if part not in self.modules]
        package = self.face.package
        summaries = "".join(f"- {summary_of(name)}\n" for name in self.modules)
        self.files = {
            "README.md": f"# {package}\n\nSmall things that we need in many places:\n\n{summaries}\n"
            "The tests are in `tests/`, for unittest.\n",
            f"{package}/__init__.py": f'"""The modules of {package}."""\n',
            "tests/__init__.py": "",
        }
        for name in self.modules:
            self.files[self.face.path(name)] = self.whole(name)
            self.files[self.face.test_path(name)] = self.face.code(test_text(name))

    def whole(self, module: str) -> str:
        return self.face.code(module_text(module))

    def bugs(self, module: str) -> list[Bug]:
        """The bugs of a module that this split knows."""
        found = [bug for bug in BUGS if bug.module == module]
        if self.split == "test":
            return found[::TEST_BUGS]
        return found if self.split == "held_out" else [bug for place, bug in enumerate(found) if place % TEST_BUGS]

    # What can be wrong. Each puts it in the files, and gives what is said of it and the calls that mend it.

    def broken(self, module: str) -> tuple[str, list[Step]]:
        bug = self.rng.choice(self.bugs(module))
        text = module_text(module)
        path = self.face.path(module)
        self.files[path] = self.face.code(text.replace(bug.right, bug.wrong))
        return self.face.said(bug.seen), [read(path), repair(path, self.files[path], self.whole(module))]

    def emptied(self, module: str) -> tuple[str, list[Step]]:
        function = self.rng.choice(functions_of(module))
        path = self.face.path(module)
        self.files[path] = self.face.code(module_text(module).replace(function.body, "    raise NotImplementedError\n"))
        seen = f"{self.face.said(function.name)} in {path} was thrown out by mistake, only its docstring is left"
        steps = [read(path), read(self.face.test_path(module)), repair(path, self.files[path], self.whole(module))]
        return seen, steps

    def lost(self, module: str) -> tuple[str, list[Step]]:
        path, test = self.face.path(module), self.face.test_path(module)
        del self.files[path]
        seen = f"{path} was lost in a merge, only its tests in {test} are left"
        return seen, [read(test), Step(tool="create_file", arguments={"path": path, "text": self.whole(module)})]

    def misnamed(self, module: str) -> tuple[str, list[Step]]:
        """The module still has an old name, which others import; its tests use the new one."""
        package, new = self.face.package, self.face.modules[module]
        old = self.rng.choice([name for name in MODULE_NAMES[module] if name != new])
        path, old_path = self.face.path(module), f"{package}/{old}.py"
        steps = [
            Step(tool="search", arguments={"text": f"{package}.{old}"}),
            Step(tool="move_file", arguments={"path": old_path, "to": path}),
        ]
        self.files[old_path] = self.files.pop(path)
        self.gone.append(old_path)
        for other in self.modules:
            if module in NEEDS.get(other, ()):
                place = self.face.path(other)
                right = self.files[place]
                self.files[place] = right.replace(f"{package}.{new} import", f"{package}.{old} import")
                steps.append(repair(place, self.files[place], right))
        seen = (
            f"{old_path} is to be called {path}, nothing may be left at the old place, and its tests know that already"
        )
        return seen, steps


def read(path: str) -> Step:
    return Step(tool="read_file", arguments={"path": path})


RUN_ALL = Step(tool="run_tests", arguments={})


def repair(path: str, broken: str, whole: str) -> Step:
    """The edit of whole lines that makes one text the other, with lines around it until it is clear where."""
    before, after = broken.splitlines(keepends=True), whole.splitlines(keepends=True)
    shorter = min(len(before), len(after))
    head = next((n for n in range(shorter) if before[n] != after[n]), shorter)
    tail = next((n for n in range(shorter - head) if before[-1 - n] != after[-1 - n]), shorter - head)
    while True:
        old = "".join(before[head : len(before) - tail])
        if old.strip() and broken.count(old) == 1:
            return Step(
                tool="edit_file",
                arguments={"path": path, "old": old, "new": "".join(after[head : len(after) - tail])},
            )
        head, tail = (head - 1, tail) if head else (head, tail - 1)


# Families

ASKED = (
    "{seen}. Can you find out why and mend it? The tests are right, leave them as they are.",
    "I see that {seen}. Please repair it in {package}; tests/ says how it should be.",
    "Since the last merge {seen}. Please put it right, and run the tests before you tell me.",
)
RESTORED = (
    "{seen}. Please write it again, so that its tests pass.",
    "Bad news: {seen}. Can you bring it back? The tests say what it must do.",
)
MOVED = (
    "{seen}. Please see to it, and to whatever imports it.",
    "We agreed on a name: {seen}. Can you do that, with all that imports it?",
)
ANSWER = "It is mended, and all the tests pass."
HALFWAY = "That is mended. The tests that still fail are about something else."


def exchange(project: Project, said: Sequence[str], seen: str, steps: list[Step], *, first: bool = True) -> Exchange:
    """A request and what an expert does for it: look around, do the steps, run the tests."""
    look: list[Step] = [Step(tool="list_files", arguments={})] if first else []
    if first and project.rng.random() < 0.5:
        look.append(RUN_ALL)
    request = project.rng.choice(said).format(seen=seen, package=project.face.package)
    return Exchange(request=request, plan=(*look, *steps, RUN_ALL), answer=ANSWER)


def fix_bug(project: Project) -> list[Exchange]:
    module = project.rng.choice(sorted(MODULE_NAMES))
    project.draw(module)
    return [exchange(project, ASKED, *project.broken(module))]


def fix_two(project: Project) -> list[Exchange]:
    first, second = project.rng.sample(sorted(MODULE_NAMES), 2)
    project.draw(first, second)
    seen, steps = project.broken(first)
    seen_too, steps_too = project.broken(second)
    return [exchange(project, ASKED, f"{seen}, and {seen_too}", steps + steps_too)]


def restore_function(project: Project) -> list[Exchange]:
    module = project.rng.choice([name for name in sorted(MODULE_NAMES) if functions_of(name)])
    project.draw(module)
    return [exchange(project, RESTORED, *project.emptied(module))]


def restore_module(project: Project) -> list[Exchange]:
    module = project.rng.choice(sorted(MODULE_NAMES))
    project.draw(module)
    return [exchange(project, RESTORED, *project.lost(module))]


def one_after_the_other(project: Project) -> list[Exchange]:
    """The colleague comes back with the second thing when the first is done."""
    first, second = project.rng.sample([name for name in sorted(MODULE_NAMES) if functions_of(name)], 2)
    project.draw(first, second)
    seen, steps = project.broken(first)
    seen_too, steps_too = project.emptied(second)
    return [
        replace(exchange(project, ASKED, seen, steps), answer=HALFWAY),
        exchange(project, RESTORED, f"Thank you! One more thing: {seen_too}", steps_too, first=False),
    ]


def move_module(project: Project) -> list[Exchange]:
    module, other = project.rng.choice([(part, name) for name, parts in NEEDS.items() for part in parts])
    project.draw(other)
    return [exchange(project, MOVED, *project.misnamed(module))]


def move_and_fix(project: Project) -> list[Exchange]:
    module = project.rng.choice(sorted(MODULE_NAMES.keys() - NEEDS.keys()))
    broken = project.rng.choice(sorted(MODULE_NAMES.keys() - NEEDS.keys() - {module}))
    project.draw(module, broken)
    seen, steps = project.broken(broken)
    seen_too, steps_too = project.misnamed(module)
    return [exchange(project, ASKED, f"{seen}. And {seen_too}", steps + steps_too)]


FAMILIES: Mapping[str, Callable[[Project], list[Exchange]]] = {
    "fix_bug": fix_bug,
    "fix_two": fix_two,
    "restore_function": restore_function,
    "restore_module": restore_module,
    "one_after_the_other": one_after_the_other,
    "move_module": move_module,
    "move_and_fix": move_and_fix,
}
HELD_OUT_FAMILIES = ("move_module", "move_and_fix")
SPLITS: Mapping[str, tuple[str, ...]] = {
    "train": tuple(name for name in FAMILIES if name not in HELD_OUT_FAMILIES),
    "test": tuple(name for name in FAMILIES if name not in HELD_OUT_FAMILIES),
    "held_out": HELD_OUT_FAMILIES,
}


def make_task(split: str, seed: int) -> Task:
    rng = Random(f"workspace-v0 {split} {seed}")
    kind = rng.choice(SPLITS[split])
    project = Project(rng, split)
    exchanges = FAMILIES[kind](project)
    offered = [*TOOLS, *(HELD_OUT_TOOLS if split == "held_out" else ())]
    files = dict(sorted(project.files.items()))
    return Task(
        seed=seed,
        split=split,
        kind=kind,
        start=files,
        tests={path: text for path, text in files.items() if path.startswith("tests/test_")},
        gone=tuple(project.gone),
        offered=tuple(rng.sample(offered, len(offered))),
        exchanges=tuple(exchanges),
    )

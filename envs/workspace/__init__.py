"""A coding agent's desk: `hintsight/workspace-v0`.

`world.py` is a real directory with a small Python project in it, `tools.py` what can be done there, `tasks.py` what a
colleague asks for (with `library.py`, `bugs.py` and the modules in `projects/`); here they become an environment.
`sandbox.py`, `confine.py` and `inside.py` run the project's code where it can do no harm, `judge.py` says whether its
tests pass.
"""

from typing import Any, ClassVar

from envs.env import State
from envs.planned import PlannedEnv
from envs.tasks import Script
from envs.workspace.judge import passes
from envs.workspace.sandbox import Kind, Limits, Sandbox
from envs.workspace.tasks import HELD_OUT_TOOLS, SPLITS, SYSTEM, TOOLS, Task, make_task
from envs.workspace.tools import WorkspaceTools, is_test
from envs.workspace.world import Workspace
from tools import Toolset, tools_of
from tools.command import InputError, did_you_mean


class WorkspaceEnv(PlannedEnv):
    """A small project in which something is broken, missing, or not where it should be.

    It is solved when all tests pass that the project came with, none of them was touched, and nothing is left at a
    place that a file was to be moved from. `sandbox` asks for one kind of sandbox (`envs.workspace.sandbox.Kind`); the
    best that works here is taken otherwise. `seconds` is the limit of a test run and of the judgement.
    """

    splits: ClassVar[tuple[str, ...]] = tuple(SPLITS)

    task: Task
    workspace: Workspace | None = None

    def __init__(
        self,
        *,
        max_turns: int = 30,
        max_errors: int = 5,
        sandbox: str | None = None,
        seconds: int = 10,
        **options: Any,
    ) -> None:
        super().__init__(max_turns=max_turns, max_errors=max_errors, **options)
        if sandbox is not None and sandbox not in list(Kind):
            raise InputError(f"no sandbox {sandbox!r}: {did_you_mean(sandbox, [kind.value for kind in Kind])}")
        if seconds < 1:
            raise InputError(f"a test run takes at least a second, came {seconds}")
        self._kind, self._limits = Kind(sandbox) if sandbox else None, Limits(seconds=seconds)
        self._sandbox: Sandbox | None = None

    @property
    def sandbox(self) -> Sandbox:
        """Where the project's code runs. Raises InfrastructureFault where none works."""
        if self._sandbox is None:
            self._sandbox = Sandbox(self._kind, self._limits)
        return self._sandbox

    def set_up(self, seed: int) -> Script:
        self.close()
        self.task = make_task(self.split, seed)
        self.workspace = Workspace(self.task.start)
        tools = {tool.name: tool for tool in tools_of(WorkspaceTools(self.workspace, self.sandbox))}
        absent = [name for name in (*TOOLS, *HELD_OUT_TOOLS) if name not in self.task.offered]
        self.toolset = Toolset([tools[name] for name in self.task.offered], catalogue=absent)
        return Script(kind=self.task.kind, system=SYSTEM, exchanges=self.task.exchanges)

    def is_solved(self) -> bool:
        """Raises InfrastructureFault where the sandbox does not start."""
        if self.workspace is None:
            return False
        files = self.workspace.files()
        if any(files.get(path) != text for path, text in self.task.tests.items()):
            return False
        if any(path in files for path in self.task.gone):
            return False
        code = {path: text for path, text in files.items() if path.endswith(".py") and not is_test(path)}
        return passes(self.sandbox, code, self.task.tests)

    def state(self) -> State:
        return self.workspace.state() if self.workspace is not None else {}

    def task_record(self) -> dict[str, Any]:
        return {**super().task_record(), "sandbox": self.sandbox.kind.value}

    def close(self) -> None:
        if self.workspace is not None:
            self.workspace.close()
            self.workspace = None

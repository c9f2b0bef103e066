"""workspace-v0: tasks that can be solved by repairing only, a sandbox that holds, and a judge that isn't deceived."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import gymnasium
import pytest
from gymnasium.utils.env_checker import check_env

import envs
from envs import Message
from envs.policies import RandomPolicy
from envs.rollout import rollout
from envs.workspace import WorkspaceEnv, sandbox
from envs.workspace.bugs import BUGS
from envs.workspace.judge import passes
from envs.workspace.library import (
    FUNCTION_NAMES,
    MODULE_NAMES,
    NEEDS,
    Face,
    functions_of,
    module_text,
)
from envs.workspace.library import test_text as their_tests
from envs.workspace.sandbox import CutOff, Kind, Limits, Sandbox
from envs.workspace.tasks import FAMILIES, HELD_OUT_FAMILIES, SPLITS, Project, make_task
from envs.workspace.world import PREFIX, Workspace
from tools import InfrastructureFault, ToolCall
from tools.command import InputError

ALL_SPLITS = sorted(SPLITS)
ROOT = Path(__file__).parents[1]
CHILDREN = Path(f"/proc/self/task/{os.getpid()}/children")


def working(kind: Kind) -> str | None:
    """Why a kind of sandbox does not work on this machine; None where it does."""
    try:
        sandbox.look(kind, True)
    except InfrastructureFault as fault:
        return str(fault)
    return None


def kinds() -> list[Any]:
    return [
        pytest.param(kind, id=kind, marks=pytest.mark.skipif(why is not None, reason=str(why)))
        for kind in Kind
        for why in [working(kind)]
    ]


each_kind = pytest.mark.parametrize("kind", kinds())
each_split = pytest.mark.parametrize("split", ALL_SPLITS)


@pytest.fixture
def env() -> Iterator[WorkspaceEnv]:
    env = WorkspaceEnv(split="test", max_turns=1000, max_errors=1000)
    env.reset(seed=0)
    yield env
    env.close()


def call(name: str, **arguments: Any) -> Message:
    text = json.dumps(arguments)
    return {"role": "assistant", "content": "", "tool_calls": [ToolCall(id="c", name=name, arguments=text).to_openai()]}


def codes(info: dict[str, Any]) -> list[str]:
    return [violation["code"] for violations in info["violations"] for violation in violations]


def answer(env: WorkspaceEnv, name: str, **arguments: Any) -> tuple[list[str], Any]:
    """The codes and the content of what a call is answered with."""
    [message], *_, info = env.step(call(name, **arguments))
    return codes(info), json.loads(message["content"])


def root(env: WorkspaceEnv) -> Path:
    assert env.workspace is not None
    return env.workspace.root


def play_expert(env: WorkspaceEnv, seed: int) -> float:
    env.reset(seed=seed)
    while True:
        _, reward, terminated, truncated, info = env.step(env.expert_action())
        assert codes(info) == []
        if terminated or truncated:
            return reward


def solve(env: WorkspaceEnv) -> None:
    """All calls of the expert, without its answers."""
    for exchange in env.script.exchanges:
        for step in exchange.plan:
            env.step(call(step.tool, **step.arguments))


def child_processes() -> set[str]:
    return set(CHILDREN.read_text().split()) if CHILDREN.exists() else set()


# Gymnasium's contract


@each_split
def test_gymnasiums_own_check_passes(split: str) -> None:
    env = gymnasium.make("hintsight/workspace-v0", split=split)
    check_env(env.unwrapped)
    env.close()


def test_what_is_asked_of_a_world_is_checked() -> None:
    with pytest.raises(InputError, match="did you mean 'namespaces'"):
        envs.make("workspace-v0", sandbox="namespace")
    with pytest.raises(InputError, match="at least a second"):
        WorkspaceEnv(seconds=0)


# Tasks


def test_a_whole_module_passes_its_tests_and_a_broken_one_does_not() -> None:
    """Every module, every bug and every function that can be taken out, in words of different tasks."""
    place = Sandbox()
    face = Face.draw(Random(5))

    def judged(module: str, text: str) -> bool:
        parts = {face.path(part): face.code(module_text(part)) for part in NEEDS.get(module, ())}
        tests = {face.test_path(module): face.code(their_tests(module))}
        return passes(place, {**parts, face.path(module): face.code(text)}, tests)

    for module in MODULE_NAMES:
        text = module_text(module)
        assert judged(module, text), module
        for bug in BUGS:
            if bug.module == module:
                assert text.count(bug.right) == 1, bug
                assert not judged(module, text.replace(bug.right, bug.wrong)), bug
        for function in functions_of(module):
            assert text.count(function.body) == 1, function.name
            assert not judged(module, text.replace(function.body, "    raise NotImplementedError\n")), function.name


def test_there_is_enough_to_break() -> None:
    counts = Counter(bug.module for bug in BUGS)
    assert set(counts) == set(MODULE_NAMES)
    assert len(counts) >= 15
    assert min(counts.values()) >= 4
    assert all(bug.seen and bug.right not in bug.seen for bug in BUGS)


def test_no_name_stands_for_two_things() -> None:
    modules = [name for names in MODULE_NAMES.values() for name in names]
    functions = [name for names in FUNCTION_NAMES.values() for name in names]
    assert len(modules) == len(set(modules))
    assert len(functions) == len(set(functions))
    words = " ".join(module_text(name) + their_tests(name) for name in MODULE_NAMES)
    found = set(words.replace("(", " ").replace(".", " ").replace(",", " ").split())
    assert not found & (set(functions) - set(FUNCTION_NAMES))


@each_split
def test_the_plan_makes_the_project_whole(split: str) -> None:
    """Without running anything: what the plan leaves is every module as it was before it was broken."""
    for seed in range(300):
        task = make_task(split, seed)
        rng = Random(f"workspace-v0 {split} {seed}")
        rng.choice(SPLITS[split])
        face = Project(rng, split).face
        whole = {face.path(name): face.code(module_text(name)) for name in MODULE_NAMES}
        files = dict(task.start)
        for step in (step for exchange in task.exchanges for step in exchange.plan):
            arguments = dict(step.arguments)
            if step.tool == "edit_file":
                assert files[arguments["path"]].count(arguments["old"]) == 1
                files[arguments["path"]] = files[arguments["path"]].replace(arguments["old"], arguments["new"])
            elif step.tool == "create_file":
                files[arguments["path"]] = arguments["text"]
            elif step.tool == "move_file":
                files[arguments["to"]] = files.pop(arguments["path"])
        assert files != task.start
        assert not set(task.gone) & set(files)
        assert all(files[path] == whole[path] for path in files if path in whole)
        assert {path: files[path] for path in task.tests} == task.tests
        assert 7 <= len(files) <= 20


@each_split
def test_the_expert_solves_and_doing_nothing_does_not(split: str) -> None:
    env = WorkspaceEnv(split=split)
    for seed in range(14):
        env.reset(seed=seed)
        assert not env.is_solved(), seed
        assert play_expert(env, seed) == 1.0, seed
    env.close()


def test_the_splits_differ() -> None:
    assert set(FAMILIES) == {*SPLITS["train"], *HELD_OUT_FAMILIES}
    for split in ALL_SPLITS:
        tasks = [make_task(split, seed) for seed in range(60)]
        assert tasks == [make_task(split, seed) for seed in range(60)]
        assert {task.kind for task in tasks} == set(SPLITS[split])
        assert len({(task.exchanges[0].request, repr(task.start)) for task in tasks}) == 60
        assert {"move_file" in task.offered for task in tasks} == {split == "held_out"}
    train, test = Project(Random(1), "train"), Project(Random(1), "test")
    for module in MODULE_NAMES:
        assert test.bugs(module)
        assert not {bug.seen for bug in train.bugs(module)} & {bug.seen for bug in test.bugs(module)}


def test_a_tool_of_the_held_out_split_is_unavailable_elsewhere(env: WorkspaceEnv) -> None:
    assert answer(env, "move_file", path="README.md", to="x.md")[0] == ["unavailable_tool"]


def test_who_guesses_gets_nothing() -> None:
    rewards = [trajectory.reward for trajectory in rollout(RandomPolicy(), "workspace-v0", range(10), split="test")]
    assert sum(rewards) == 0


# The directory


@pytest.mark.parametrize(
    "path",
    [
        "../outside.txt", "/etc/passwd", "a/../../b", "a/./b", "..", ".", "", "a//b", "a/", "a\0b", "a\ud800", "ä.py",
        "x" * 5000, "a/b/c/d/e/f/g/h", "a b", "a\\b", "~root", "a\nb", "link/secret.txt", "link", "file_link",
    ],
)  # fmt: skip
def test_no_path_leads_out(env: WorkspaceEnv, tmp_path: Path, path: str) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    (root(env) / "link").symlink_to(tmp_path)
    (root(env) / "file_link").symlink_to(tmp_path / "secret.txt")
    before, outside = env.state(), sorted(tmp_path.rglob("*"))
    for name, arguments in (
        ("read_file", {"path": path}),
        ("edit_file", {"path": path, "old": "secret", "new": "x"}),
        ("create_file", {"path": path, "text": "x"}),
        ("run_tests", {"path": path}),
        *([("list_files", {"folder": path}), ("search", {"text": "s", "folder": path})] if path.strip("./") else []),
    ):
        found, content = answer(env, name, **arguments)
        assert found == ["domain_rejection"], name
        assert "secret" not in json.dumps(content["violations"][0]["expected"] if "violations" in content else "")
    assert env.state() == before
    assert sorted(tmp_path.rglob("*")) == outside
    assert (tmp_path / "secret.txt").read_text() == "secret"


def test_a_link_is_not_listed_or_searched(env: WorkspaceEnv, tmp_path: Path) -> None:
    (tmp_path / "secret.py").write_text("secret = 1\n")
    (root(env) / "link").symlink_to(tmp_path)
    (root(env) / "file_link.py").symlink_to(tmp_path / "secret.py")
    assert "link" not in json.dumps(answer(env, "list_files")[1])
    assert answer(env, "search", text="secret = 1")[1]["found"] == 0


def test_a_file_is_moved_within_the_project_only(tmp_path: Path) -> None:
    env = WorkspaceEnv(split="held_out", max_errors=100)
    env.reset(seed=1)
    before = env.state()
    for path, to in (
        ("README.md", "../x.md"),
        ("../x", "y"),
        ("README.md", "tests/__init__.py"),
        ("nothing.py", "y.py"),
        ("README.md", "README.md/x"),
        ("tests", "checks"),
        ("README.md", str(tmp_path / "x")),
    ):
        assert answer(env, "move_file", path=path, to=to)[0] == ["domain_rejection"]
    assert env.state() == before
    assert answer(env, "move_file", path="README.md", to="notes/about.md")[0] == []
    assert (root(env) / "notes" / "about.md").is_file()
    env.close()


def test_what_an_edit_asks_for(env: WorkspaceEnv) -> None:
    answer(env, "create_file", path="notes.txt", text="one\ntwo\ntwo\n")
    before = env.state()
    for old, new, said in (
        ("two", "x", "2 times"),
        ("six", "x", "0 times"),
        ("", "x", "empty"),
        ("one", "one", "same"),
        ("one", "\0", "NUL"),
        ("one", "\ud800", "surrogates"),
        ("one", "x" * 60_000, "50000"),
    ):
        found, content = answer(env, "edit_file", path="notes.txt", old=old, new=new)
        assert found == ["domain_rejection"]
        assert said in json.dumps(content)
    assert env.state() == before
    assert answer(env, "edit_file", path="notes.txt", old="one\n", new="")[0] == []
    assert answer(env, "read_file", path="notes.txt")[1]["text"] == "two\ntwo\n"
    assert answer(env, "create_file", path="notes.txt", text="")[0] == ["domain_rejection"]


def test_reading_is_bounded(env: WorkspaceEnv) -> None:
    answer(env, "create_file", path="long.txt", text="".join(f"line {number}\n" for number in range(1, 1001)))
    record = answer(env, "read_file", path="long.txt")[1]
    assert (record["lines"], record["cut_after_line"]) == (1000, 400)
    record = answer(env, "read_file", path="long.txt", first_line=998, last_line=2000)[1]
    assert record["text"] == "line 998\nline 999\nline 1000\n"
    assert answer(env, "read_file", path="long.txt", first_line=1001)[0] == ["domain_rejection"]
    assert answer(env, "read_file", path="long.txt", first_line=5, last_line=4)[0] == ["domain_rejection"]
    found = answer(env, "search", text="line")[1]
    assert found["found"] >= 1000
    assert len(found["lines"]) == 50


def test_the_number_of_files_is_bounded(env: WorkspaceEnv) -> None:
    found = [answer(env, "create_file", path=f"n{number}.txt", text="")[0] for number in range(70)]
    assert found[0] == []
    assert found[-1] == ["domain_rejection"]


def test_a_directory_goes_with_its_world() -> None:
    env, other = WorkspaceEnv(split="test"), WorkspaceEnv(split="test")
    env.reset(seed=1)
    other.reset(seed=1)
    first = root(env)
    assert first.name.startswith(PREFIX)
    assert first != root(other)
    other.step(call("create_file", path="mine.txt", text="x"))
    assert not (first / "mine.txt").exists()
    env.reset(seed=2)
    assert not first.exists()
    second = root(env)
    env.close()
    env.close()
    assert not second.exists()
    assert env.state() == {}
    assert not env.is_solved()
    last = Workspace({"a.txt": ""})
    place = last.root
    del last
    assert not place.exists()
    other.close()


def test_the_state_shows_what_changed(env: WorkspaceEnv) -> None:
    assert env.state()["change"] == []
    answer(env, "create_file", path="notes.txt", text="one\ntwo\n")
    assert env.state()["change"] == [{"line": "notes.txt +1", "text": "one"}, {"line": "notes.txt +2", "text": "two"}]


# The sandbox

HOSTILE = {
    "forks without end": "import os\nwhile True:\n    os.fork()\n",
    "forks whatever comes": (
        "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass\n"
    ),
    "starts a program": "import subprocess\nsubprocess.run(['/bin/sh', '-c', 'sleep 100'])\n",
    "leaves its group": "import os, time\nif not os.fork():\n    os.setsid()\n    time.sleep(100)\n",
    "sleeps": "import time\ntime.sleep(100)\n",
    "loops": "while True:\n    pass\n",
    "loops in a thread": (
        "import threading, time\ndef loop():\n    while True: pass\nthreading.Thread(target=loop).start()\n"
        "time.sleep(100)\n"
    ),
    "eats memory": "kept = [bytearray(10**7) for _ in range(10**6)]\n",
    "writes a file": "with open('/tmp/hostile', 'w') as file:\n    while True:\n        file.write('x' * 10**6)\n",
    "prints without end": "while True:\n    print('x' * 1000)\n",
    "leaves at once": "import os\nos._exit(0)\n",
    "crashes": "import ctypes\nctypes.string_at(0)\n",
    "connects": "import socket\nsocket.socket().connect(('127.0.0.1', 80))\n",
    "kills its parent": "import os\nos.kill(os.getppid(), 9)\n",
    "floods the answer": "import os\nfor fd in range(64):\n    try:\n        while True: os.write(fd, b'x' * 10**5)\n"
    "    except OSError: pass\n",
}


@each_kind
@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_code_is_cut_off_and_harms_nothing(kind: Kind, hostile: str) -> None:
    env = WorkspaceEnv(split="test", sandbox=kind, seconds=1)
    env.reset(seed=0)
    path = next(path for path in env.task.tests)
    target = next(name for name in env.task.start if name.endswith("__init__.py") and not name.startswith("tests"))
    (root(env) / target).write_text(HOSTILE[hostile])
    before, children = env.state(), child_processes()
    [message], *_, info = env.step(call("run_tests", path=path))
    assert codes(info) == ["domain_rejection"], message
    assert len(message["content"]) < 10_000
    assert env.state() == before
    assert child_processes() == children
    assert not Path("/tmp/hostile").exists()
    assert kind is not Sandbox().kind or not env.is_solved()
    env.close()


@each_kind
def test_what_goes_wrong_in_the_code_itself_is_an_answer(kind: Kind) -> None:
    env = WorkspaceEnv(split="test", sandbox=kind, seconds=5)
    env.reset(seed=0)
    target = next(name for name in env.task.start if name.endswith("__init__.py") and not name.startswith("tests"))
    for text, said in (("import sys\nsys.exit(0)\n", "SystemExit"), ("def f(: pass\n", "SyntaxError"),
                       ("raise KeyError('x')\n", "KeyError"), ("def f(): f()\nf()\n", "RecursionError")):  # fmt: skip
        (root(env) / target).write_text(text)
        found, record = answer(env, "run_tests")
        assert found == []
        assert said in record["output"]
        assert record["failed"] > 0
    env.close()


def test_the_best_kind_is_taken_and_said() -> None:
    place = Sandbox()
    assert working(place.kind) is None
    assert place.describe().startswith(sandbox.WALLS[place.kind])
    assert all(working(kind) for kind in list(Kind)[: list(Kind).index(place.kind)])
    env = WorkspaceEnv()
    assert env.reset(seed=0)[1]["task"]["sandbox"] == place.kind
    env.close()


@each_kind
def test_a_result_is_the_same_each_time_and_in_each_sandbox(kind: Kind) -> None:
    code = {
        "pkg/a.py": "import json\nclass A: pass\ndef f(): return {'b', 'a', 'c'}\ndef g(): json.loads('{')\n",
        "tests/test_a.py": "import unittest\nfrom pkg.a import A, f, g\nclass T(unittest.TestCase):\n"
        "    def test_a(self):\n        self.assertEqual(f(), A())\n    def test_b(self):\n        g()\n",
    }
    request = {"files": code, "tests": ["tests/test_a.py"], "name": ""}
    reports = [Sandbox(which, Limits(seconds=5)).run("tests", request) for which in (kind, kind, Kind.LIMITS)]
    assert reports[0] == reports[1] == reports[2]
    assert (reports[0]["ran"], reports[0]["failed"]) == (2, 2)
    assert "0x..." in reports[0]["output"]
    assert '"pkg/a.py", line 4' in reports[0]["output"]
    assert str(Path(os.__file__).parent) not in reports[0]["output"]
    assert "inside.py" not in reports[0]["output"]


@each_kind
def test_only_pythons_library_is_in_sight(kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "12345")
    (tmp_path / "secret").write_text("x")
    code = {
        "tests/test_a.py": "import os, unittest\nclass T(unittest.TestCase):\n"
        f"    def test_file(self): self.assertFalse(os.path.exists({str(tmp_path / 'secret')!r}))\n"
        "    def test_variable(self): self.assertNotIn('SECRET_KEY', os.environ)\n"
    }
    report = Sandbox(kind).run("tests", {"files": code, "tests": ["tests/test_a.py"], "name": ""})
    assert report["failed"] == (kind is Kind.LIMITS), report["output"]
    request = {"files": code, "tests": ["tests/test_a.py"], "name": "variable"}
    assert Sandbox(kind).run("tests", request)["passed"]


def test_a_sandbox_that_does_not_start_is_nobodys_mistake(env: WorkspaceEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    for broken in (["/nonexistent/python"], ["/bin/false"], ["/bin/echo", "fault OSError: no"]):
        monkeypatch.setattr(sandbox, "command", lambda *_, broken=broken: broken)
        with pytest.raises(InfrastructureFault, match="could not start"):
            env.is_solved()
        env.turns = 0
        *_, truncated, info = env.step(call("run_tests"))
        assert truncated
        assert codes(info) == ["infrastructure_fault"]


def test_where_no_sandbox_works_each_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox.look.cache_clear()
    sandbox.best_kind.cache_clear()
    monkeypatch.setattr(sandbox, "command", lambda *_: ["/bin/false"])
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(InfrastructureFault, match="no sandbox works here: bwrap is not installed; the sandbox"):
        Sandbox()
    sandbox.look.cache_clear()
    sandbox.best_kind.cache_clear()


@each_kind
@pytest.mark.skipif(not CHILDREN.exists(), reason="processes are looked for in /proc")
def test_nothing_outlives_a_process_that_is_killed(kind: Kind) -> None:
    script = (
        "from envs.workspace.sandbox import *\n"
        f"Sandbox(Kind({kind.value!r})).run('tests', {{'files': {{'tests/test_a.py': 'import time; time.sleep(60)'}},"
        f" 'tests': ['tests/test_a.py'], 'name': ''}})"
    )
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT) as process:
        started = waited_for(lambda: [pid for pid in descendants(process.pid) if "confine.py" in command_of(pid)])
        inside = descendants(process.pid)
        process.kill()
    assert started
    assert waited_for(lambda: not any("confine.py" in command_of(pid) for pid in inside))


def waited_for(condition: Callable[[], object]) -> bool:
    end = time.monotonic() + 20
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return bool(condition())


def descendants(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [found for child in map(int, children) for found in (child, *descendants(child))]


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode()
    except OSError:
        return ""


def test_a_pattern_without_end_is_cut_off() -> None:
    env = WorkspaceEnv(split="test", seconds=1)
    env.reset(seed=0)
    answer(env, "create_file", path="a.txt", text="a" * 40 + "!")
    found, content = answer(env, "search", text="(a+)+$", regex=True)
    assert found == ["domain_rejection"]
    assert "cut off" in json.dumps(content)
    assert answer(env, "search", text="(", regex=True)[0] == ["domain_rejection"]
    assert answer(env, "search", text="^a+!", regex=True)[1]["found"] == 1
    env.close()


# The judge

PATCH_UNITTEST = """
import unittest
for name in dir(unittest.TestCase):
    if name.startswith("assert"):
        setattr(unittest.TestCase, name, lambda *parts, **named: None)
unittest.TestResult.wasSuccessful = lambda self: True
"""
EQUAL_TO_ALL = """
class Equal:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __call__(self, *parts, **named): return self
    def __getattr__(self, name): return self
    def __bool__(self): return True
    def __len__(self): return 1
    def __iter__(self): return iter([self])
    def __sub__(self, other): return 0
    def __contains__(self, other): return True
    def __getitem__(self, key): return self
    def __hash__(self): return 0
def __getattr__(name): return Equal()
"""
FORGED_ANSWERS = """
import os
for fd in range(3, 64):
    try: os.write(fd, b'{"value": null}\\n{"ran": 7, "failed": 0, "passed": true}\\n' * 50)
    except OSError: pass
"""
RAISES_ALL = "import unittest\ndef __getattr__(name):\n    raise unittest.SkipTest\n"
AT_EXIT = "import os\nos._exit(0)\n"
CHEATS = {
    "patches unittest": PATCH_UNITTEST,
    "is equal to everything": EQUAL_TO_ALL,
    "forges answers": FORGED_ANSWERS,
    "skips": RAISES_ALL,
    "leaves with 0": AT_EXIT,
    "exits with 0": "raise SystemExit(0)\n",
    "looks up the stack": "import sys\nf = sys._getframe()\nwhile f:\n    f.f_globals['ok'] = 1\n    f = f.f_back\n",
}


@pytest.mark.parametrize("cheat", CHEATS)
@pytest.mark.parametrize("whole", [True, False], ids=["instead", "beside"])
def test_code_that_cheats_gets_nothing(env: WorkspaceEnv, cheat: str, whole: bool) -> None:
    """Instead of all modules, or in front of each of them as it is, broken."""
    env.reset(seed=1)
    for path, text in env.task.start.items():
        if path.endswith(".py") and not path.startswith("tests/"):
            (root(env) / path).write_text(CHEATS[cheat] + ("" if whole else text.replace("from __future__", "#")))
    for _ in env.script.exchanges:
        _, reward, *_ = env.step("Done.")
    assert reward == 0.0
    assert not env.is_solved()


@pytest.mark.parametrize(
    "name",
    ["conftest.py", "sitecustomize.py", "usercustomize.py", "unittest.py", "unittest/__init__.py", "json.py",
     "tests/conftest.py", "tests/sitecustomize.py", "importlib.py", "inside.py"],
)  # fmt: skip
def test_files_beside_the_project_change_no_verdict(env: WorkspaceEnv, name: str) -> None:
    assert answer(env, "create_file", path=name, text=PATCH_UNITTEST + EQUAL_TO_ALL + AT_EXIT)[0] == []
    assert not env.is_solved()
    solve(env)
    assert env.is_solved()


def test_tests_of_ones_own_change_no_verdict(env: WorkspaceEnv) -> None:
    solve(env)
    answer(env, "create_file", path="tests/test_more.py", text=AT_EXIT)
    assert answer(env, "run_tests")[0] == ["domain_rejection"]
    assert env.is_solved()


def test_a_path_file_changes_no_verdict(env: WorkspaceEnv) -> None:
    answer(env, "create_file", path="evil.pth", text="import os; os._exit(0)\n")
    assert not env.is_solved()


@pytest.mark.parametrize("touch", ["edited", "deleted", "emptied", "linked"])
def test_tests_that_were_touched_count_for_nothing(env: WorkspaceEnv, tmp_path: Path, touch: str) -> None:
    solve(env)
    assert env.is_solved()
    place = root(env) / next(iter(env.task.tests))
    text = place.read_text()
    if touch == "edited":
        place.write_text(text + "\n")
    elif touch == "emptied":
        place.write_text("")
    else:
        place.unlink()
    if touch == "linked":
        (tmp_path / "test.py").write_text(text)
        place.symlink_to(tmp_path / "test.py")
    assert not env.is_solved()


def test_what_was_to_be_moved_must_be_gone() -> None:
    env = WorkspaceEnv(split="held_out")
    env.reset(seed=0)
    [gone] = env.task.gone
    text = env.task.start[gone]
    solve(env)
    assert env.is_solved()
    (root(env) / gone).write_text(text)
    assert not env.is_solved()
    env.close()


def test_the_judge_knows_values_errors_and_objects() -> None:
    code = """
        import datetime
        class Wrong(ValueError): pass
        class Box:
            def __init__(self, *parts): self.parts = list(parts)
            def __len__(self): return len(self.parts)
            def __iter__(self): return iter(self.parts)
            def __contains__(self, part): return part in self.parts
            def __getitem__(self, place): return self.parts[place]
            def __eq__(self, other): return self.parts == other.parts
        def echo(value): return value
        def fail(): raise Wrong("so it is")
        def count():
            yield 1
            yield 2
        def day(): return datetime.date(2024, 2, 29)
        """
    test = """
        import datetime, unittest
        from pkg.a import Box, Wrong, count, day, echo, fail
        from pkg import a
        class T(unittest.TestCase):
            def test_values(self):
                for value in (None, True, 7, -2**70, 0.1, float("inf"), "x\\ud800", [1, (2, {3: {4}})], b"".hex()):
                    self.assertEqual(echo(value), value)
                    self.assertIs(type(echo(value)), type(value))
                self.assertEqual(day(), datetime.date(2024, 2, 29))
                self.assertEqual(echo(datetime.date(2024, 1, 1)), datetime.date(2024, 1, 1))
            def test_errors(self):
                with self.assertRaisesRegex(Wrong, "so it is"): fail()
                with self.assertRaises(ValueError): a.fail()
                with self.assertRaises(IndexError): Box()[0]
            def test_objects(self):
                box = Box(1, 2)
                self.assertEqual((len(box), list(box), 2 in box, box[0], box.parts), (2, [1, 2], True, 1, [1, 2]))
                self.assertEqual(box, Box(1, 2))
                self.assertNotEqual(box, Box(1))
                self.assertNotEqual(box, [1, 2])
                self.assertEqual(list(count()), [1, 2])
                self.assertIn(1, box)
        """
    from textwrap import dedent

    place = Sandbox()
    files, tests = {"pkg/a.py": dedent(code)}, {"tests/test_a.py": dedent(test)}
    assert passes(place, files, tests)
    for part in ("values", "errors", "objects"):
        broken = dedent(test).replace(f"def test_{part}(self):\n", f"def test_{part}(self):\n        self.fail()\n")
        assert not passes(place, files, {"tests/test_a.py": broken})
    assert not passes(place, files, {"tests/test_a.py": ""})
    assert not passes(place, files, {"tests/test_a.py": "from pkg.b import x\n"})


@pytest.mark.parametrize(
    "line",
    ["x", "[]", "7", '{"value": {"int": "x"}}', '{"value": {"list": 7}}', '{"value": {"a": 1, "b": 2}}', "[" * 50_000,
     '{"raised": 7}', '{"raised": ["a"], "values": {"int": []}}', '{"value": {"float": "nope"}}', '{"value": []}',
     '{"value": {"object": "x"}}', '{"raised": ["builtins.SystemExit"], "values": {"tuple": []}}', "\\xff"],
)  # fmt: skip
def test_an_answer_that_is_none_fails_the_tests(line: str) -> None:
    code = f"""
import os
def f():
    for fd in range(3, 10):
        try: os.write(fd, {line.encode()!r} + b"\\n")
        except OSError: pass
    return 1
"""
    test = "import unittest\nfrom pkg.a import f\nclass T(unittest.TestCase):\n    def test(self):\n"
    test += "        self.assertEqual(f(), 1)\n        self.assertEqual(f(), 1)\n"
    assert not passes(Sandbox(limits=Limits(seconds=2)), {"pkg/a.py": code}, {"tests/test_a.py": test})


def test_a_report_that_is_none_is_a_cut_off_run() -> None:
    text = "import os\nfor fd in range(3, 10):\n    try: os.write(fd, b'[1]\\n')\n    except OSError: pass\n"
    code = {"tests/test_a.py": text}
    with pytest.raises(CutOff, match="something else"):
        Sandbox().run("tests", {"files": code, "tests": ["tests/test_a.py"], "name": ""})

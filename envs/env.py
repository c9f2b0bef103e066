"""Multi-turn tool-calling environments with Gymnasium's interface.

An observation is a tuple of chat messages that are new (first the system text and the request, then tool results, or
what the user says to an answer); an action is one assistant message in OpenAI's form, or its plain text, in which tool
calls stand as `<tool_call>{"name": ..., "arguments": ...}</tool_call>`. Rewards come from the final state only.

`info` has these keys. After `reset`: `task` (a JSON record of the task) and `tools` (OpenAI schemas).
After `step`: `violations` (a list per call), `success`, `stop_reason` (None while the episode goes on).

A world subclasses `ToolEnv` and says what its tasks, tools and goal are, or, where a task comes with the calls that
solve it, `envs.planned.PlannedEnv`; `envs.store` is one.
"""

import json
from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from importlib import import_module
from typing import Any, ClassVar

import gymnasium

from envs.stress import STRESSES
from envs.trajectory import Message, StopReason, assistant_message, calls_of, is_assistant_message
from tools import ErrorCode, InfrastructureFault, Tool, ToolCall, ToolResult, Toolset, Violation
from tools.command import InputError, did_you_mean

Observation = tuple[Message, ...]
State = Mapping[str, Sequence[Mapping[str, Any]]]
"""A world's state as people look at it: rows by table, each of JSON values by column; the first column is the key."""

MAX_SEED = 2**31 - 1


class MessageSpace(gymnasium.Space[Message]):
    """Assistant messages: text, tool calls, or both. Samples are calls of made-up tools and short texts."""

    def contains(self, x: Any) -> bool:
        return is_assistant_message(x)

    def sample(self, mask: Any = None, probability: Any = None) -> Message:
        word = "".join(self.np_random.choice(list("abcdefgh"), 5))
        if self.np_random.random() < 0.5:
            return {"role": "assistant", "content": word}
        call = ToolCall(id="call_0", name=word, arguments="{}")
        return {"role": "assistant", "content": "", "tool_calls": [call.to_openai()]}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MessageSpace)


class ObservationSpace(gymnasium.Space[Observation]):
    """Tuples of system, user and tool messages."""

    def contains(self, x: Any) -> bool:
        return isinstance(x, tuple) and all(
            isinstance(message, dict)
            and message.get("role") in ("system", "user", "tool")
            and isinstance(message.get("content"), str)
            for message in x
        )

    def sample(self, mask: Any = None, probability: Any = None) -> Observation:
        return ({"role": "user", "content": "".join(self.np_random.choice(list("abcdefgh "), 12))},)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObservationSpace)


class ToolEnv(gymnasium.Env[Observation, Message | str]):
    """A world in which an agent acts by calling tools.

    An episode ends when the agent answers without a call and the user has no more to say (terminated), or after
    `max_turns` turns, `max_errors` calls that were answered with an error, or an infrastructure fault (truncated).
    `reset(seed=n)` starts the task of that seed. `stress` names changes of `envs.stress` to what is offered.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012  Gymnasium declares it so
    splits: ClassVar[Collection[str]] = ("train", "test")
    habits: ClassVar[Collection[str]] = ()
    """The kinds of mistake that `expert_action` can be asked to make."""
    toolset: Toolset

    def __init__(
        self, *, split: str = "train", max_turns: int = 12, max_errors: int = 3, stress: Sequence[str] = ()
    ) -> None:
        if split not in self.splits:
            raise InputError(f"no split {split!r}: {did_you_mean(split, list(self.splits))}")
        if max_turns < 1 or max_errors < 1:
            raise InputError(f"max_turns and max_errors must be at least 1, came {max_turns} and {max_errors}")
        for name in stress:
            if name not in STRESSES:
                raise InputError(f"no stress {name!r}: {did_you_mean(name, list(STRESSES))}")
        self.split, self.max_turns, self.max_errors, self.stress = split, max_turns, max_errors, tuple(stress)
        self.observation_space, self.action_space = ObservationSpace(), MessageSpace()
        self.turns = self.errors = 0

    @abstractmethod
    def begin(self, seed: int) -> Observation:
        """Set up the world and `self.toolset` for a task; give the messages that open the conversation."""

    @abstractmethod
    def is_solved(self) -> bool:
        """Whether the world is now as the task wants it."""

    @abstractmethod
    def task_record(self) -> dict[str, Any]:
        """What a trajectory keeps of the task: JSON with at least `seed` and `split`."""

    @abstractmethod
    def expert_action(self, habits: Collection[str] = ()) -> Message:
        """What solves the task from here, with mistakes of the given habits where they apply."""

    @property
    def applicable_habits(self) -> Collection[str]:
        """The habits that would make the expert's next action a mistake. A world that has none says none."""
        return ()

    def reply(self, text: str) -> str | None:
        """What the user says to an answer; None where that was the last word, which ends the episode."""
        return None

    def state(self) -> State:
        """The state of the world as it is now, for people to look at; empty for a world that doesn't show it."""
        return {}

    def after_call(self, name: str, arguments: Mapping[str, Any], result: ToolResult) -> None:
        """A world's chance to note what was done, for its expert. `arguments` are empty where they don't parse."""

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        if seed is not None and not (isinstance(seed, int) and 0 <= seed <= MAX_SEED):
            raise InputError(f"a seed is a whole number from 0 to {MAX_SEED}, came {seed!r}")
        super().reset(seed=seed)
        if seed is None:
            seed = int(self.np_random.integers(MAX_SEED))
        self.turns = self.errors = 0
        messages = self.begin(seed)
        for name in self.stress:
            self.toolset = STRESSES[name](self.toolset, seed)
        self.toolset.advance(0)
        task = self.task_record() | ({"stress": list(self.stress)} if self.stress else {})
        return messages, {"task": task, "tools": self.toolset.to_openai()}

    def step(self, action: Message | str) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Carry out a turn's calls in order, or take its text as an answer.

        Raises InputError for what is no assistant message, and for a turn before `reset`.
        """
        message = assistant_message(action, f"call_{self.turns}") if isinstance(action, str) else action
        if not is_assistant_message(message):
            raise InputError(f"expected an assistant message in OpenAI's form or its text, came {action!r:.300}")
        if not hasattr(self, "toolset"):
            raise InputError("there is no task yet: call reset first")
        self.turns += 1
        calls = calls_of(message)
        try:
            results = [self._answer(call) for call in calls]
        except InfrastructureFault as fault:
            return self._faulted(calls, fault)
        observation = tuple(result.to_message(call_id) for call_id, result in results)
        said = None if calls else self.reply(message.get("content") or "")
        if said is not None:
            observation = ({"role": "user", "content": said},)
        stop_reason = self._stop_reason(bool(calls) or said is not None)
        if stop_reason is None and self.toolset.withheld and (new := self.toolset.advance(self.turns)):
            observation += (announcement(new),)
        answered = stop_reason is StopReason.ANSWERED
        try:
            success = answered and self.is_solved()
        except InfrastructureFault as fault:
            return self._faulted(calls, fault)
        info = {
            "violations": [[violation.to_json() for violation in result.violations] for _, result in results],
            "success": success,
            "stop_reason": stop_reason,
        }
        return observation, float(success), answered, bool(stop_reason) and not answered, info

    def _answer(self, call: Mapping[str, Any]) -> tuple[str, ToolResult]:
        parsed = ToolCall.from_openai(call)
        arguments, result = self.toolset.answer(parsed)
        self.errors += bool(result.violations)
        self.after_call(parsed.name, arguments, result)
        return parsed.id, result

    def _faulted(
        self, calls: Sequence[Mapping[str, Any]], fault: InfrastructureFault
    ) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """A step that could not be carried out: the episode is cut, and nothing in it counts against the model."""
        violation = Violation(code=ErrorCode.INFRASTRUCTURE_FAULT, path="$", expected=str(fault), came=None)
        result = ToolResult.error(violation)
        info = {
            "violations": [[violation.to_json()] for _ in calls],
            "success": False,
            "stop_reason": StopReason.INFRASTRUCTURE_FAULT,
        }
        return tuple(result.to_message(str(call.get("id") or "")) for call in calls), 0.0, False, True, info

    def _stop_reason(self, goes_on: bool) -> StopReason | None:
        if not goes_on:
            return StopReason.ANSWERED
        if self.errors >= self.max_errors:
            return StopReason.ERROR_LIMIT
        return StopReason.TURN_LIMIT if self.turns >= self.max_turns else None


def announcement(tools: Sequence[Tool]) -> Message:
    """What an agent is told of tools that are offered from now on."""
    schemas = json.dumps([tool.to_openai() for tool in tools], ensure_ascii=False)
    return {"role": "system", "content": f"From now on these tools are available too: {schemas}"}


def world_ids() -> list[str]:
    """The short ids of the worlds of this package."""
    return [name.removeprefix("hintsight/") for name in gymnasium.registry if name.startswith("hintsight/")]


def make(env_id: str, **options: Any) -> ToolEnv:
    """A world by its short id (`store-v0`) or by any id that Gymnasium knows.

    `store-v0+shuffle` is one under a stress, `module:id` one that importing the module registers.
    Raises InputError for an unknown id, stress or module, with the nearest known one.
    """
    env_id, *stress = env_id.split("+")
    if stress:
        options["stress"] = stress
    module, colon, name = env_id.partition(":")
    if colon:
        env_id = name
        try:
            import_module(module)
        except ImportError as error:
            raise InputError(
                f"can't import {module!r} ({error}): write MODULE:ID, or the id of a known world"
            ) from error
    known = world_ids()
    full = f"hintsight/{env_id}" if env_id in known else env_id
    if full not in gymnasium.registry:
        raise InputError(f"no environment {env_id!r}: {did_you_mean(env_id.removeprefix('hintsight/'), known)}")
    # By its spec: by its name, Gymnasium would call a world out of date that has a later version beside it.
    try:
        env = gymnasium.make(gymnasium.registry[full], **options).unwrapped
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        raise InputError(f"{env_id} has not all of the options {', '.join(options)}: {error}") from error
    if not isinstance(env, ToolEnv):
        raise InputError(f"{env_id!r} is no tool-calling environment: it must subclass envs.ToolEnv")
    return env

"""What a policy said once, said again: `replay:FILE`. The tokens of its turns come back too, where the file has them.

For a look at a changed world or a changed critic without a model, and for tests. It holds the whole file in memory.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from envs.archive import read_trajectories
from envs.policies.base import Context, Reply
from envs.trajectory import Message, StopReason, Trajectory
from tools.command import InputError


class RecordedPolicy:
    """Says in each task what the file's trajectory of it says: that of the same sampling seed, else the last one.

    Trajectories that an infrastructure fault ended are no record. Raises InputError for a file that can't be read, for
    a task that it hasn't, and where the world says something else than it did then.
    """

    def __init__(self, path: Path) -> None:
        self.name, self.path = f"replay:{path}", path
        self.by_id: dict[str, Trajectory] = {}
        self.by_task: dict[tuple[str, str, int], Trajectory] = {}
        for trajectory in read_trajectories(path):
            if trajectory.stop_reason != StopReason.INFRASTRUCTURE_FAULT:
                self.by_id[trajectory.id] = trajectory
                self.by_task[_task(trajectory.env, trajectory.task)] = trajectory

    def act(self, contexts: Sequence[Context]) -> list[Reply]:
        return [self._reply(context) for context in contexts]

    def _reply(self, context: Context) -> Reply:
        recorded, place = self._recorded(context), len(context.messages)
        for index, (now, then) in enumerate(zip(context.messages, recorded.messages, strict=False)):
            if now != then:
                raise InputError(
                    f"{self.path}, {recorded.id}: the world answers otherwise than it did: message {index} was "
                    f"{_brief(then)}, is {_brief(now)}"
                )
        if place >= len(recorded.messages) or recorded.messages[place].get("role") != "assistant":
            raise InputError(f"{self.path}, {recorded.id}: the record ends at message {place}, and the task goes on")
        number = recorded.turn_at(place)
        cut = place + 1 == len(recorded.messages) and recorded.stop_reason == StopReason.TOKEN_LIMIT
        turn = None if number is None else recorded.turns[number]
        return Reply(message=dict(recorded.messages[place]), turn=turn, cut=cut)

    def _recorded(self, context: Context) -> Trajectory:
        found = self.by_id.get(context.id)
        if found is None:
            env_id = context.id.rsplit("/", 3)[0]
            found = self.by_task.get(_task(env_id, context.env.task_record()))
        if found is None:
            raise InputError(f"{self.path} has no trajectory of {context.id.rpartition('/')[0] or 'this task'}")
        return found


def _task(env_id: str, task: Mapping[str, Any]) -> tuple[str, str, int]:
    seed = task.get("seed")
    return env_id, str(task.get("split", "")), seed if isinstance(seed, int) else -1


def _brief(message: Message) -> str:
    return f"{message.get('role')} {str(message.get('content'))[:200]!r}"

"""One task in a person's hands: an episode that can be looked at, taken back move by move, and kept as a trajectory.

Left out: reading what the person types (`envs.line`) and showing what comes of it (`envs.screen`).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from envs.env import State, make
from envs.policies import Context, Policy
from envs.trajectory import Message, StopReason, Trajectory
from tools.command import InputError

Row = Mapping[str, Any]

PERSON = "person"
"""Who makes the moves that no policy made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One row of the world's state that is not as it was; `before` is None for a new row, `after` for a lost one."""

    table: str
    before: Row | None
    after: Row | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One turn, who made it (`person` or a policy's name), and what came of it.

    `violations` has a list per call; `results` begin with the message that answers each, and may end with what the user
    says next, or with the announcement of tools.
    """

    message: Message
    by: str
    results: Sequence[Message]
    violations: Sequence[Sequence[Mapping[str, Any]]]
    changes: Sequence[Change]
    reward: float
    success: bool
    stop_reason: StopReason | None


class Game:
    """A running episode. The same seed and the same moves give the same world, which is what makes `undo` possible."""

    def __init__(self, env_id: str, *, seed: int, split: str) -> None:
        self.env_id, self.seed = env_id, seed
        self.env = make(env_id, split=split)
        self._begin()

    def _begin(self) -> None:
        opening, info = self.env.reset(seed=self.seed)
        self.opening, self.task, self.tools = opening, info["task"], info["tools"]
        self.moves: list[Move] = []

    @property
    def ended(self) -> bool:
        return bool(self.moves) and self.moves[-1].stop_reason is not None

    @property
    def call_id(self) -> str:
        """The id of the next call."""
        return f"call_{len(self.moves)}"

    def act(self, message: Message, *, by: str = PERSON) -> Move:
        """Take a turn. Raises InputError once the episode has ended."""
        self._require_running()
        before = self.env.state()
        results, reward, _, _, info = self.env.step(message)
        move = Move(
            message=message,
            by=by,
            results=results,
            violations=info["violations"],
            changes=changes(before, self.env.state()),
            reward=reward,
            success=info["success"],
            stop_reason=info["stop_reason"],
        )
        self.moves.append(move)
        return move

    def let(self, policy: Policy) -> Move:
        """Let a policy take a turn. It reads the conversation anew, whoever made the turns in it."""
        self._require_running()
        rng = Random(f"{self.env_id}/{self.env.split}/{self.seed}/{len(self.moves)}")
        context = Context(env=self.env, messages=self.messages, tools=self.tools, rng=rng)
        [reply] = policy.act([context])
        return self.act(reply.message, by=policy.name)

    def _require_running(self) -> None:
        if self.ended:
            raise InputError("the episode has ended: write :undo, :save FILE or :quit")

    @property
    def messages(self) -> list[Message]:
        """The conversation so far."""
        return [*self.opening, *(message for move in self.moves for message in (move.message, *move.results))]

    def undo(self) -> Move:
        """Take the last turn back, by playing the earlier ones again. Raises InputError where there is none."""
        if not self.moves:
            raise InputError("there is nothing to undo")
        *earlier, last = self.moves
        self._begin()
        for move in earlier:
            self.act(move.message, by=move.by)
        return last

    def trajectory(self, number: int = 0) -> Trajectory:
        """The episode as a trajectory, the person's `number`-th of this task. Raises InputError before it has ended."""
        if not self.ended:
            raise InputError("the episode is still going on, so there is no trajectory yet: end it with  answer TEXT")
        last = self.moves[-1]
        assert last.stop_reason is not None
        others = sorted({move.by for move in self.moves} - {PERSON})
        return Trajectory(
            id=f"{self.env_id}/{self.env.split}/{self.seed}/person{number}",
            env=self.env_id,
            task=self.task,
            policy=f"{PERSON} with {' and '.join(others)}" if others else PERSON,
            tools=self.tools,
            messages=self.messages,
            reward=last.reward,
            success=last.success,
            stop_reason=last.stop_reason,
        )

    def close(self) -> None:
        self.env.close()


def changes(before: State, after: State) -> list[Change]:
    """What differs between two states. A row that kept its first column, alone in that, counts as changed."""
    return [
        change
        for table in {**before, **after}
        for change in _table_changes(table, before.get(table, ()), after.get(table, ()))
    ]


def _table_changes(table: str, before: Sequence[Row], after: Sequence[Row]) -> list[Change]:
    gone, new = _not_in(before, after), _not_in(after, before)
    found: list[Change] = []
    for row in new:
        was = _same_row(row, gone, new)
        if was is not None:
            gone.remove(was)
        found.append(Change(table=table, before=was, after=row))
    return [*(Change(table=table, before=row, after=None) for row in gone), *found]


def _same_row(row: Row, gone: Sequence[Row], new: Sequence[Row]) -> Row | None:
    """What a row was before: of those that are gone and share its first column the one that is most alike.

    Where several share that column, as the lines of an order do, it has to agree in more than half of the others.
    """
    alike = [was for was in gone if _key(was) == _key(row)]
    if len(alike) == 1 and sum(_key(other) == _key(row) for other in new) == 1:
        return alike[0]
    best = max(alike, key=lambda was: _agreement(was, row), default=None)
    return best if best is not None and 2 * (_agreement(best, row) - 1) > len(row) - 1 else None


def _agreement(row: Row, other: Row) -> int:
    return sum(name in other and other[name] == value for name, value in row.items())


def _not_in(rows: Sequence[Row], others: Sequence[Row]) -> list[Row]:
    """The rows that are not among the others, where two alike count as two."""
    spare = Counter(map(repr, others))
    left = []
    for row in rows:
        if spare[repr(row)]:
            spare[repr(row)] -= 1
        else:
            left.append(row)
    return left


def _key(row: Row) -> str:
    return repr(next(iter(row.values()), None))

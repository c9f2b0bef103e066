"""The record of one rollout: messages, turns with their token ids and log-probs, results, reward, stop reason.

A trajectory is data. `read_trajectories` and `Archive` in `envs.archive` bring it from and to files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

SCHEMA_VERSION = 1

Message = dict[str, Any]
"""A chat message in OpenAI's form."""


class StopReason(StrEnum):
    """Why a rollout ended."""

    ANSWERED = "answered"
    TURN_LIMIT = "turn_limit"
    ERROR_LIMIT = "error_limit"
    TOKEN_LIMIT = "token_limit"
    INFRASTRUCTURE_FAULT = "infrastructure_fault"


BUDGET_STOPS = frozenset({StopReason.TURN_LIMIT, StopReason.ERROR_LIMIT, StopReason.TOKEN_LIMIT})


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """The tokens of one assistant message, as they were sampled; they are never rendered again.

    `prompt_ids` is the part of the context that is new since the turn before: the first turn's whole prompt, later the
    tool results and the generation prompt. `token_ids` and `logprobs` (nats, under the sampling distribution at
    temperature 1) are of one length. `raw` is the decoded text with its special tokens.
    """

    message_index: int
    prompt_ids: Sequence[int]
    token_ids: Sequence[int]
    logprobs: Sequence[float]
    raw: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trajectory:
    """One finished rollout; its fields are those of the file format."""

    id: str
    env: str
    task: Mapping[str, Any]
    policy: str
    tools: Sequence[Mapping[str, Any]]
    messages: Sequence[Message]
    turns: Sequence[Turn] = ()
    reward: float = 0.0
    success: bool = False
    stop_reason: str = StopReason.ANSWERED
    token_exact: bool = False
    schema_version: int = field(default=SCHEMA_VERSION)

    def prompt_ids(self, turn: int) -> list[int]:
        """All token ids before the `turn`-th turn's own: what the policy saw when it wrote that turn."""
        ids: list[int] = []
        for earlier in self.turns[:turn]:
            ids += [*earlier.prompt_ids, *earlier.token_ids]
        return [*ids, *self.turns[turn].prompt_ids]

    def turn_at(self, message_index: int) -> int | None:
        """The number of the turn that is message `message_index`; None if its tokens are not known."""
        return next((number for number, turn in enumerate(self.turns) if turn.message_index == message_index), None)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Trajectory":
        """Read a record of the file format; a trajectory from elsewhere needs `id`, `tools` and `messages` only.

        Raises ValueError for a record that lacks them, or of another schema version.
        """
        version = record.get("schema_version", SCHEMA_VERSION)
        if version != SCHEMA_VERSION:
            raise ValueError(f"schema_version is {version!r}, this hintsight reads {SCHEMA_VERSION}")
        messages = record.get("messages")
        if "id" not in record or not isinstance(messages, list) or not all(isinstance(part, dict) for part in messages):
            raise ValueError(f"no trajectory: expected 'id' and a list of 'messages', came {', '.join(record) or '{}'}")
        task, tools, turns = record.get("task") or {}, record.get("tools") or (), record.get("turns") or ()
        if not isinstance(task, Mapping):
            raise ValueError(f"expected task to be an object, came {type(task).__name__}")
        for name, parts in (("tools", tools), ("turns", turns)):
            if not all(isinstance(part, Mapping) for part in parts):
                raise ValueError(f"expected {name} to be a list of objects, came {parts!r:.80}")
        return cls(
            id=str(record["id"]),
            env=str(record.get("env", "")),
            task=task,
            policy=str(record.get("policy", "")),
            tools=tools,
            messages=messages,
            turns=tuple(Turn(**turn) for turn in turns),
            reward=float(record.get("reward") or 0.0),
            success=bool(record.get("success")),
            stop_reason=str(record.get("stop_reason", StopReason.ANSWERED)),
            token_exact=bool(record.get("token_exact")),
        )


def calls_of(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The tool calls of a message, as OpenAI's form has them; none for a message without."""
    return message.get("tool_calls") or [] if message.get("role") == "assistant" else []

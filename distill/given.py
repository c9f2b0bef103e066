"""Trajectories that are trained on in place of rollouts: read, matched with their findings, checked for staleness."""

from pathlib import Path

import torch

from critics.finding import Criticized, Finding, read_findings
from critics.rules import criticize
from distill.prefill import Trunk, plain_prefill
from envs import Trajectory, read_trajectories
from envs.policies.hf import LocalPolicy
from tools.command import InputError

LOOKED_AT = 32
"""Trajectories whose log-probs are compared with the student's."""


class Given:
    """The trajectories of a file with their findings: those of another file, or what the critics say.

    Raises InputError for files that can't be read or don't belong together, and where no trajectory has token ids.
    """

    def __init__(self, trajectories: Path, findings: Path | None) -> None:
        read = list(read_trajectories(trajectories))
        if not any(trajectory.turns for trajectory in read):
            raise InputError(f"{trajectories} has no trajectory with token ids: give rollouts of a local model")
        known = dict(read_findings(findings)) if findings else None
        ids = {trajectory.id for trajectory in read}
        if len(ids) < len(read):
            raise InputError(f"{trajectories} has {len(read) - len(ids)} trajectories twice, by their ids: remove them")
        if strangers := sorted(known.keys() - ids) if known else []:
            raise InputError(f"{findings} is about other trajectories: {strangers[0]} is not in {trajectories}")
        self.path = trajectories
        self.criticized: list[Criticized] = [(trajectory, _findings(trajectory, known)) for trajectory in read]

    def __len__(self) -> int:
        return len(self.criticized)

    def warning(self, policy: LocalPolicy) -> str:
        """How stale they are for a student: how much it differs from the model that sampled them.

        Raises InputError for token ids that the student has no embedding for.
        """
        vocabulary = policy.model.get_input_embeddings().num_embeddings
        for trajectory, _ in self.criticized:
            if any(id_ >= vocabulary for turn in trajectory.turns for id_ in (*turn.prompt_ids, *turn.token_ids)):
                raise InputError(f"{trajectory.id} has token ids of another tokenizer: the model knows {vocabulary}")
        read = [trajectory for trajectory, _ in self.criticized[:LOOKED_AT] if trajectory.turns]
        trunks = [trunk for trunk in map(_all_turns, read) if len(trunk.ids) <= policy.longest]
        gaps: list[float] = []
        for place, logprobs_NV in plain_prefill(policy.model, trunks):
            trunk = trunks[place]
            tokens = torch.tensor([trunk.ids[position] for position in trunk.asked], device=logprobs_NV.device)
            now = logprobs_NV.gather(-1, tokens[:, None])[:, 0].tolist()
            then = [logprob for turn in read[place].turns for logprob in turn.logprobs]
            gaps += [abs(a - b) for a, b in zip(now, then, strict=False)]
        return (
            f"{self.path} is stale: its trajectories were not sampled by the student as it learns. Their tokens' "
            f"log-probs differ from the start model's by {sum(gaps) / max(1, len(gaps)):.2g} nats on average; where "
            "that is far above 0, the errors in them may not be the student's own"
        )


def _findings(trajectory: Trajectory, known: dict[str, list[Finding]] | None) -> list[Finding]:
    return criticize(trajectory) if known is None else known.get(trajectory.id, [])


def _all_turns(trajectory: Trajectory) -> Trunk:
    """The whole trajectory, asked for at every sampled token."""
    ids: list[int] = []
    asked: list[int] = []
    for turn in trajectory.turns:
        ids += turn.prompt_ids
        asked += range(len(ids), len(ids) + len(turn.token_ids))
        ids += turn.token_ids
    return Trunk(ids, asked)

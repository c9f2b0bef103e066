"""What hints are measured against: other ways to learn from the same rollouts and findings, in the same loop.

`rejection` imitates the rollouts that ended well. `unlikelihood` makes the error tokens unlikely, and says nothing of
what should stand there. `expert` imitates what the world's own expert says in place of an erroneous turn: what a label
would buy. `hints-at-top` is self-distillation of whole trajectories: the teacher has all of a trajectory's hints above
its first turn, and the student is moved to it at every sampled token. Left out: the final reward, which is
`distill.reward`'s, and hints at inference time, which train nothing (`critics.told`).
"""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from critics.finding import Criticized, Finding
from critics.hints import HintStyle, joined
from distill.config import Update
from distill.correction import Unbindable, alike, bind, by_turn, checked, hinted_prompt, sampled_trunk, trunk_of
from distill.guard import played_again
from distill.lesson import Lesson, Sampled
from distill.prefill import Branch, Trunk
from distill.rendered import said
from distill.teacher import Teacher
from envs import Trajectory
from envs.context import ContextWriter
from envs.trajectory import Message
from tools import ErrorCode
from tools.command import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """Makes a baseline's lessons, those of `update.method`. What can't be learnt from is counted with its reason."""

    writer: ContextWriter
    teacher: Teacher
    update: Update
    style: HintStyle
    codes: Collection[ErrorCode]

    def __call__(self, criticized: Sequence[Criticized], dropped: Counter[str], *, longest: int) -> list[Lesson]:
        """`longest` is the model's longest context, in tokens; what doesn't fit is dropped."""
        of = {
            "rejection": self._solved,
            "unlikelihood": self._unlikely,
            "expert": self._of_expert,
            "hints-at-top": self._hinted_at_top,
        }[self.update.method]
        lessons: list[Lesson] = []
        for trajectory, findings in criticized:
            try:
                for turn in trajectory.turns:
                    checked(turn, self.writer)
                made = list(of(trajectory, list(by_turn(findings, self.codes))))
                if any(tokens(lesson.trunk) > longest for lesson in made):
                    raise Unbindable("the trajectory is longer than the model's context")
            except Unbindable as reason:
                dropped[str(reason)] += 1
            else:
                lessons += made
        return self._taught(lessons) if self.update.method == "hints-at-top" else lessons

    def _solved(self, trajectory: Trajectory, turns: Sequence[Sequence[Finding]]) -> Iterator[Lesson]:
        if trajectory.success and trajectory.turns:
            trunk = sampled_trunk(trajectory)
            yield Lesson(trunk, 0, sampled=Sampled([trunk.ids[position] for position in trunk.asked]))

    def _unlikely(self, trajectory: Trajectory, turns: Sequence[Sequence[Finding]]) -> Iterator[Lesson]:
        if turns:
            bound = [bind(trajectory, group, None, self.writer, longest=2**31) for group in turns]
            trunk = trunk_of(bound, "error")._replace(branches=())
            yield Lesson(trunk.cut(), 0, sampled=Sampled([trunk.ids[position] for position in trunk.asked]))

    def _of_expert(self, trajectory: Trajectory, turns: Sequence[Sequence[Finding]]) -> Iterator[Lesson]:
        """What the expert says is a branch in place of each erroneous turn."""
        branches: list[Branch] = []
        trunk: list[int] = []
        for index, action in expert_actions(trajectory, {group[0].message_index for group in turns}):
            number = trajectory.turn_at(index)
            assert number is not None
            trunk = trajectory.prompt_ids(number)
            try:
                ids = self._as_the_student_would(action, trajectory, number)
            except InputError as error:
                raise Unbindable("the chat form refuses what the expert says") from error
            # The first of them is decided by the token before, which has to be the branch's own.
            start = len(trunk) - 1
            branches.append(Branch(start, [*trunk[start:], *ids], range(len(trunk), len(trunk) + len(ids))))
        if branches:
            labels = [token for branch in branches for token in branch.ids[1:]]
            yield Lesson(Trunk(trunk, (), branches), 0, sampled=Sampled(labels, labels=True))

    def _as_the_student_would(self, action: Message, trajectory: Trajectory, number: int) -> list[int]:
        """The tokens of `action` in place of a turn, without what the chat form writes in front of a turn, such as an
        empty thought, and the student did not say in this one. Raises InputError where the chat form refuses it."""
        turn = trajectory.turns[number]
        before = trajectory.messages[: turn.message_index]
        whole, written = (
            said([*before, message], trajectory.tools, self.writer)
            for message in (action, trajectory.messages[turn.message_index])
        )
        first = turn.token_ids[0]
        unsaid = written[: written.index(first)] if first in written else []
        return whole[len(unsaid) :] if whole[: len(unsaid)] == unsaid else whole

    def _hinted_at_top(self, trajectory: Trajectory, turns: Sequence[Sequence[Finding]]) -> Iterator[Lesson]:
        if hint := joined(finding.hint for group in turns for finding in group if finding.hint):
            plain = sampled_trunk(trajectory)
            first = trajectory.prompt_ids(0)
            above = hinted_prompt(trajectory, 0, hint, self.writer, self.style)
            start = alike(first, above)
            asked = [position + len(above) - len(first) for position in plain.asked]
            branch = Branch(start, [*above[start:], *plain.ids[len(first) :]], asked)
            # A correction counts as a mean over its tokens, so that a trajectory weighs what a lesson of others does.
            yield Lesson(plain._replace(branches=[branch]), 1, weights=[1 / len(asked)] * len(asked))

    def _taught(self, lessons: Sequence[Lesson]) -> list[Lesson]:
        """The lessons with what the teacher says, where that is the same at every step."""
        if self.teacher.moves:
            return list(lessons)
        trunks = [lesson.trunk for lesson in lessons]
        said_by = dict(self.teacher.read(trunks, tokens=self.update.pass_tokens))
        return [lesson._replace(teacher_ND=said_by[place]) for place, lesson in enumerate(lessons)]


def tokens(trunk: Trunk) -> int:
    """The tokens of the longest context in a trunk."""
    return max([len(trunk.ids), *(branch.start + len(branch.ids) for branch in trunk.branches)])


def expert_actions(trajectory: Trajectory, wrong: Collection[int]) -> Iterator[tuple[int, Message]]:
    """What the world's expert says in place of each of the messages in `wrong`, by their index.

    The world is played again up to there. Raises Unbindable where it can't be.
    """
    try:
        for index, env in played_again(trajectory) if wrong else ():
            if index in wrong:
                yield index, env.expert_action()
    except (InputError, KeyError) as error:
        raise Unbindable("the trajectory's world can't be played again") from error

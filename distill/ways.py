"""The ways to make an update of one trajectory's corrections that `distill.bench` measures, from naive to shared.

All of them give the same divergences at the same targets, but for the plain update, which has none. Student and
teacher are one model here, also where the teacher is called frozen: what it costs is the same. The gradient of a way's
loss stays in the model until the next one's.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, NamedTuple

import torch

from distill.branches import Keys, branch_attention
from distill.divergence import reverse_kl
from distill.head import Head, divergences
from distill.one_stage import Kernel, by_flex, by_sdpa, one_stage
from distill.prefill import Branch, Trunk, hinted_hidden, on_branches, on_detached, on_trunks
from distill.sharing import why_not_shared

PLAIN = "plain forward and backward"
NAIVE = "naive: a full hinted forward per error"
TRUNCATED = "truncated: hinted and student pass per error"
OURS = "ours: distillation only"
DETACHED = "ours: detached"
TEACHER_NAIVE = "teacher alone: naive"
TEACHER_REUSED = "teacher alone: trunk reused"


class Said(NamedTuple):
    """What a way says of N targets: the divergences, and the teacher's log-probs of the tokens."""

    divergence_N: torch.Tensor | None = None
    teacher_N: torch.Tensor | None = None

    def apart(self, naive: "Said") -> float | None:
        """The largest difference to the naive way, of what both say."""
        pairs = [(one, other) for one, other in zip(self, naive, strict=True) if one is not None and other is not None]
        return max((float((one - other).abs().max()) for one, other in pairs), default=None)


Way = Callable[[], Said]


def ways(model: Any, trunk: Trunk) -> Mapping[str, Way]:
    """Each way by its name, in the order in which they are shown."""
    with torch.no_grad():
        _, keys = on_trunks(model, [trunk.cut()], keep=True)
    return {
        PLAIN: partial(_plain, model, trunk),
        NAIVE: partial(_naive, model, trunk),
        TRUNCATED: partial(_truncated, model, trunk),
        "ours: RL and branches": partial(_ours, model, trunk, rewarded=True),
        OURS: partial(_ours, model, trunk),
        "ours: frozen teacher": partial(_ours, model, trunk, frozen=True),
        DETACHED: partial(_detached, model, trunk),
        TEACHER_NAIVE: lambda: Said(None, torch.cat([_said(model, *pair) for pair in _naive_teacher(model, trunk)])),
        "teacher alone: own trunk": lambda: Said(
            None, _said(model, next(hinted_hidden(model, [trunk]))[1], trunk.branches)
        ),
        TEACHER_REUSED: partial(_reused, model, trunk, keys, branch_attention),
        **{
            f"{TEACHER_REUSED}, {kernel}": partial(_reused, model, trunk, keys, partial(one_stage, kernel=of))
            for kernel, of in _kernels(model).items()
        },
        "loss alone: logits whole": partial(_loss, model, len(trunk.asked), chunks=False),
        "loss alone: logits in chunks": partial(_loss, model, len(trunk.asked), chunks=True),
    }


def gradient_cosine(model: Any, trunk: Trunk) -> float:
    """Of the gradient with a detached prefix and the exact one."""
    found: list[list[torch.Tensor]] = []
    for way in (_ours, _detached):
        way(model, trunk)
        found.append([parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None])
    dots = [
        sum(float((a.double() * b.double()).sum()) for a, b in zip(one, other, strict=True))
        for one, other in ((found[0], found[1]), (found[0], found[0]), (found[1], found[1]))
    ]
    return dots[0] / math.sqrt(dots[1] * dots[2])


def _plain(model: Any, trunk: Trunk) -> Said:
    """An update on every token of the trajectory, as a reward makes it."""
    model.zero_grad()
    everywhere = range(1, len(trunk.ids))
    hidden_ND, _ = on_trunks(model, [trunk._replace(asked=everywhere)])
    _rewarded(model, hidden_ND, trunk).backward()
    return Said()


def _naive(model: Any, trunk: Trunk) -> Said:
    """The student's logits everywhere and whole; each hint is read within the whole trajectory."""
    model.zero_grad()
    head, targets = Head(model), [position - 1 for position in trunk.asked]
    with torch.no_grad():
        teacher_ND = torch.cat([hidden_ND for hidden_ND, _ in _naive_teacher(model, trunk)])
    hidden_ND, _ = on_trunks(model, [trunk._replace(asked=range(1, len(trunk.ids) + 1))])
    divergence_N = reverse_kl(head.logprobs(teacher_ND).detach(), head.logprobs(hidden_ND)[targets])
    divergence_N.sum().backward()
    return Said(divergence_N.detach(), _said(model, teacher_ND, trunk.branches))


@torch.no_grad()
def _naive_teacher(model: Any, trunk: Trunk) -> list[tuple[torch.Tensor, Sequence[Branch]]]:
    """For each branch its hidden states, from a pass over the whole trajectory with that hint in it."""
    found: list[tuple[torch.Tensor, Sequence[Branch]]] = []
    for branch in trunk.branches:
        after = trunk.ids[branch.start + len(branch.asked) :]
        context = Trunk([*trunk.ids[: branch.start], *branch.ids, *after], branch.asked)
        found.append((on_trunks(model, [context])[0], [branch]))
    return found


def _truncated(model: Any, trunk: Trunk) -> Said:
    """Each error by itself: the contexts end with its turn, and the student reads the plain one for it alone."""
    model.zero_grad()
    head = Head(model)
    said: list[tuple[torch.Tensor, torch.Tensor]] = []
    for branch in trunk.branches:
        end = branch.start + len(branch.asked)
        with torch.no_grad():
            hinted = Trunk([*trunk.ids[: branch.start], *branch.ids], branch.asked)
            teacher_ND, _ = on_trunks(model, [hinted])
        hidden_ND, _ = on_trunks(model, [Trunk(trunk.ids[:end], range(branch.start, end))])
        divergence_N = divergences(reverse_kl, head, teacher_ND, head, hidden_ND)
        divergence_N.sum().backward()
        said.append((divergence_N.detach(), _said(model, teacher_ND, [branch])))
    return Said(*(torch.cat(parts) for parts in zip(*said, strict=True)))


def _ours(model: Any, trunk: Trunk, *, rewarded: bool = False, frozen: bool = False) -> Said:
    """One pass of the student, and one over all branches: off its own trunk, or off a `frozen` teacher's."""
    model.zero_grad()
    head = Head(model)
    everywhere = range(1, len(trunk.ids)) if rewarded else ()
    asking = trunk._replace(asked=[*trunk.asked, *everywhere]).cut()
    hidden_ND, keys = on_trunks(model, [asking], keep=not frozen)
    teacher_ND = next(hinted_hidden(model, [trunk]))[1] if frozen else on_branches(model, [asking], keys)
    targets_ND, sampled_ND = hidden_ND.tensor_split([len(trunk.asked)])
    divergence_N = divergences(reverse_kl, head, teacher_ND, head, targets_ND)
    loss = divergence_N.sum()
    (loss + _rewarded(model, sampled_ND, trunk) if rewarded else loss).backward()
    return Said(divergence_N.detach(), _said(model, teacher_ND, trunk.branches))


def _detached(model: Any, trunk: Trunk) -> Said:
    """As ours, without the gradient through what comes before the first target."""
    model.zero_grad()
    head = Head(model)
    cut = trunk.cut()
    hidden_ND, keys = on_detached(model, cut, keep=True)
    teacher_ND = on_branches(model, [cut], keys)
    divergence_N = divergences(reverse_kl, head, teacher_ND, head, hidden_ND)
    divergence_N.sum().backward()
    return Said(divergence_N.detach(), _said(model, teacher_ND, trunk.branches))


def _kernels(model: Any) -> Mapping[str, Kernel]:
    """What branches' attention could be instead, in one stage; flex_attention is one only where it is compiled."""
    config = model.config.get_text_config()
    if why_not_shared(model) or any(
        getattr(config, name, None) for name in ("sliding_window", "attn_logit_softcapping")
    ):
        return {}
    return {"sdpa": by_sdpa, "flex": by_flex} if model.device.type == "cuda" else {"sdpa": by_sdpa}


def _reused(
    model: Any, trunk: Trunk, keys: Keys | None, attending: Callable[[Any], AbstractContextManager[None]]
) -> Said:
    """The branches alone, off a trunk that was read already."""
    return Said(None, _said(model, on_branches(model, [trunk.cut()], keys, attending=attending), trunk.branches))


def _rewarded(model: Any, hidden_ND: torch.Tensor, trunk: Trunk) -> torch.Tensor:
    tokens_N = torch.tensor(trunk.ids[1:], device=model.device)
    return -Head(model).token_logprobs(hidden_ND, tokens_N).mean()


@torch.no_grad()
def _said(model: Any, teacher_ND: torch.Tensor, branches: Sequence[Branch]) -> torch.Tensor:
    """The teacher's log-probs of the target tokens."""
    tokens = [branch.ids[position - branch.start] for branch in branches for position in branch.asked]
    return Head(model).token_logprobs(teacher_ND, torch.tensor(tokens, device=model.device))


def _loss(model: Any, targets: int, *, chunks: bool) -> Said:
    """The loss of so many targets and its gradient, without the passes before it."""
    model.zero_grad()
    head, weight = Head(model), model.get_output_embeddings().weight
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(2, targets, weight.shape[1], generator=generator).to(weight)
    teacher_ND, student_ND = states[0], states[1].requires_grad_()
    if chunks:
        divergence_N = divergences(reverse_kl, head, teacher_ND, head, student_ND)
    else:
        with torch.no_grad():
            taught_NV = head.logprobs(teacher_ND)
        divergence_N = reverse_kl(taught_NV, head.logprobs(student_ND))
    divergence_N.sum().backward()
    return Said()

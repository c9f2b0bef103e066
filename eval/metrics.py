"""Figures over tasks: pass@k and pass^k, and rates whose intervals know that calls of one task belong together.

Everything here is arithmetic over counts by task. Left out: what is an error (`critics`), and what is counted
(`eval.standing`).
"""

from collections.abc import Iterable
from dataclasses import replace
from math import comb

from critics.rates import Part, Rate, wilson


def pass_at_k(n: int, c: int, k: int) -> float:
    """The chance that at least one of `k` attempts succeeds, where `c` of `n` did: 1 - C(n-c, k) / C(n, k).

    Unbiased for independent attempts. Raises ValueError unless 0 <= c <= n and 1 <= k <= n.
    Source: M. Chen et al., "Evaluating large language models trained on code" (2021), equation 1.
    """
    _check(n, c, k)
    return 1.0 - comb(n - c, k) / comb(n, k)


def pass_hat_k(n: int, c: int, k: int) -> float:
    """The chance that all of `k` attempts succeed, where `c` of `n` did: C(c, k) / C(n, k). Written pass^k.

    Unbiased for independent attempts. Raises ValueError unless 0 <= c <= n and 1 <= k <= n.
    Source: S. Yao et al., "tau-bench: a benchmark for tool-agent-user interaction in real-world domains" (2024).
    """
    _check(n, c, k)
    return comb(c, k) / comb(n, k)


def _check(n: int, c: int, k: int) -> None:
    if not (0 <= c <= n and 1 <= k <= n):
        raise ValueError(f"expected 0 <= c <= n and 1 <= k <= n, came n={n}, c={c}, k={k}")


def clustered(parts: Iterable[Part], *, per: float = 1.0) -> Rate:
    """The share that counts are of totals, both summed over tasks, per `per`, with its 95% interval.

    Calls of one task are alike, so that n of them say as much as n / deff independent ones, where deff is the variance
    of the share over tasks, over what it would be for independent calls, and at least 1. The interval is Wilson's for
    that many. Of fewer than two tasks, and of shares of none and all, nothing is known of deff, which is 1 then.
    Sources: E. L. Korn and B. I. Graubard, "Confidence intervals for proportions with small expected number of positive
    counts estimated from survey data", Survey Methodology 24 (1998); the variance: W. G. Cochran, "Sampling techniques"
    (1977), 2.11.
    """
    known = [part for part in parts if part[1]]
    count, total = sum(part[0] for part in known), sum(part[1] for part in known)
    plain = Rate.share(count, total, per=per)
    if len(known) < 2 or count in (0, total):
        return plain
    share, tasks = count / total, len(known)
    squares = sum((hits - share * of) ** 2 for hits, of in known)
    variance = squares * tasks / (tasks - 1) / total**2
    deff = max(1.0, variance * total / (share * (1 - share)))
    low, high = wilson(share, total / deff)
    return replace(plain, low=low * per, high=high * per)

"""Figures over tasks: passes against closed forms and simulation, intervals against closed forms and their coverage."""

from itertools import combinations
from math import sqrt
from random import Random

import pytest

from critics.rates import Z95, Rate
from eval.metrics import clustered, pass_at_k, pass_hat_k
from eval.standing import passes


def test_passes_are_the_shares_of_all_ways_to_draw_k_attempts() -> None:
    for n in range(1, 7):
        for c in range(n + 1):
            attempts = [place < c for place in range(n)]
            for k in range(1, n + 1):
                draws = list(combinations(attempts, k))
                assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, draws)) / len(draws))
                assert pass_hat_k(n, c, k) == pytest.approx(sum(map(all, draws)) / len(draws))
            assert pass_at_k(n, c, 1) == pytest.approx(c / n) == pass_hat_k(n, c, 1)


def test_passes_are_unbiased_for_attempts_that_succeed_by_chance() -> None:
    """With a chance p an attempt, the expectations are 1 - (1 - p)^k and p^k, whatever n is."""
    random, n, trials = Random(0), 6, 4_000
    for chance in (0.2, 0.7):
        solved = [sum(random.random() < chance for _ in range(n)) for _ in range(trials)]
        for k in (1, 2, 4):
            at = sum(pass_at_k(n, c, k) for c in solved) / trials
            hat = sum(pass_hat_k(n, c, k) for c in solved) / trials
            assert at == pytest.approx(1 - (1 - chance) ** k, abs=0.02)
            assert hat == pytest.approx(chance**k, abs=0.02)


@pytest.mark.parametrize(("n", "c", "k"), [(0, 0, 1), (3, 4, 1), (3, 1, 4), (3, 1, 0), (3, -1, 1)])
def test_what_no_attempts_can_be_is_refused(n: int, c: int, k: int) -> None:
    for chance in (pass_at_k, pass_hat_k):
        with pytest.raises(ValueError, match=f"came n={n}, c={c}, k={k}"):
            chance(n, c, k)


def test_passes_are_means_over_tasks_for_every_k_that_each_task_has() -> None:
    known = list(passes([(3, 3), (2, 1), (0, 0)]))
    assert [each.k for each in known] == [1, 2]
    assert (known[0].at, known[0].hat) == pytest.approx((0.75, 0.75))
    assert (known[1].at, known[1].hat) == pytest.approx((1.0, 0.5))
    assert list(passes([])) == []


def test_tasks_that_are_all_or_nothing_are_worth_one_call_each() -> None:
    """Of T tasks with m calls each, all alike within a task, Wilson's interval is that of about T calls."""
    tasks, calls, hits = 40, 25, 10
    rate = clustered([(calls if task < hits else 0, calls) for task in range(tasks)])
    share, m = hits / tasks, tasks - 1  # T - 1, since the variance over tasks is the unbiased one
    center = (share + Z95**2 / (2 * m)) / (1 + Z95**2 / m)
    half = Z95 / (1 + Z95**2 / m) * sqrt(share * (1 - share) / m + Z95**2 / (4 * m * m))
    assert (rate.rate, rate.low, rate.high) == pytest.approx((share, center - half, center + half))


def test_tasks_that_are_alike_are_no_narrower_than_independent_calls() -> None:
    assert clustered([(1, 4)] * 20, per=100) == Rate.share(20, 80, per=100)
    assert clustered([(3, 9), (0, 0)], per=100) == Rate.share(3, 9, per=100)
    assert clustered([(0, 5), (0, 5)]) == Rate.share(0, 10)
    assert clustered([(5, 5), (2, 2)]) == Rate.share(7, 7)
    assert clustered([]).total == 0


def test_intervals_over_tasks_hold_the_truth_as_often_as_they_say() -> None:
    """Calls of a task share its own error rate, drawn from a beta distribution; Wilson's over calls are too narrow."""
    random, trials = Random(1), 600
    over_tasks = over_calls = 0
    for _ in range(trials):
        parts = []
        for _ in range(60):
            chance, calls = random.betavariate(0.6, 2.4), random.randint(2, 12)
            parts.append((sum(random.random() < chance for _ in range(calls)), calls))
        plain, rate = Rate.share(sum(x for x, _ in parts), sum(n for _, n in parts)), clustered(parts)
        over_tasks += rate.low <= 0.2 <= rate.high
        over_calls += plain.low <= 0.2 <= plain.high
    assert 0.92 <= over_tasks / trials <= 0.98
    assert over_calls / trials < 0.85

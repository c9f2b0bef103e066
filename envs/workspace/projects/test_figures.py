import unittest

from envs.workspace.projects.figures import mean_of, median_of, most_common, running_mean, variance_of


class FiguresTest(unittest.TestCase):
    def test_mean(self) -> None:
        self.assertEqual(mean_of([1, 2, 6]), 3.0)
        with self.assertRaises(ValueError):
            mean_of([])

    def test_median_of_an_odd_number(self) -> None:
        self.assertEqual(median_of([9, 1, 4]), 4)
        self.assertEqual(median_of([7]), 7)

    def test_median_of_an_even_number(self) -> None:
        self.assertEqual(median_of([10, 1, 4, 3]), 3.5)

    def test_median_of_nothing(self) -> None:
        with self.assertRaises(ValueError):
            median_of([])

    def test_most_common(self) -> None:
        self.assertEqual(most_common([3, 1, 3, 2]), [3])
        self.assertEqual(most_common([2, 1, 2, 1, 5]), [1, 2])
        self.assertEqual(most_common([]), [])

    def test_variance(self) -> None:
        self.assertEqual(variance_of([2, 4, 4, 4, 5, 5, 7, 9]), 4.0)
        self.assertEqual(variance_of([3, 3]), 0.0)

    def test_running_mean(self) -> None:
        self.assertEqual(running_mean([1, 3, 5, 7], 2), [2.0, 4.0, 6.0])
        self.assertEqual(running_mean([1, 2, 3], 3), [2.0])
        self.assertEqual(running_mean([1], 2), [])

import unittest

from envs.workspace.projects.intervals import find_gaps, merge_intervals, overlaps, total_length


class IntervalsTest(unittest.TestCase):
    def test_overlapping_ones_are_merged(self) -> None:
        self.assertEqual(merge_intervals([(1, 4), (3, 6), (8, 9)]), [(1, 6), (8, 9)])

    def test_touching_ones_are_merged(self) -> None:
        self.assertEqual(merge_intervals([(1, 3), (3, 5)]), [(1, 5)])

    def test_one_inside_another(self) -> None:
        self.assertEqual(merge_intervals([(1, 10), (2, 3)]), [(1, 10)])

    def test_order_does_not_matter_and_empty_ones_go(self) -> None:
        self.assertEqual(merge_intervals([(8, 9), (5, 5), (1, 2)]), [(1, 2), (8, 9)])

    def test_total_length(self) -> None:
        self.assertEqual(total_length([(0, 5), (3, 8), (10, 11)]), 9)
        self.assertEqual(total_length([]), 0)

    def test_gaps(self) -> None:
        self.assertEqual(find_gaps([(2, 4), (6, 7)], (0, 10)), [(0, 2), (4, 6), (7, 10)])

    def test_gaps_at_the_edges(self) -> None:
        self.assertEqual(find_gaps([(0, 3)], (0, 5)), [(3, 5)])
        self.assertEqual(find_gaps([(0, 5)], (0, 5)), [])
        self.assertEqual(find_gaps([(7, 9)], (0, 5)), [(0, 5)])

    def test_overlaps(self) -> None:
        self.assertTrue(overlaps((1, 4), (3, 6)))
        self.assertFalse(overlaps((1, 3), (3, 6)))
        self.assertFalse(overlaps((5, 6), (1, 5)))

import unittest

from envs.workspace.projects.batches import in_batches, interleave, rotate, sliding, without_repeats


class BatchesTest(unittest.TestCase):
    def test_batches(self) -> None:
        self.assertEqual(list(in_batches([1, 2, 3, 4, 5], 2)), [[1, 2], [3, 4], [5]])
        self.assertEqual(list(in_batches([1, 2, 3, 4], 2)), [[1, 2], [3, 4]])
        self.assertEqual(list(in_batches([], 3)), [])

    def test_batches_of_nothing(self) -> None:
        with self.assertRaises(ValueError):
            list(in_batches([1], 0))

    def test_sliding(self) -> None:
        self.assertEqual(sliding([1, 2, 3, 4], 3), [(1, 2, 3), (2, 3, 4)])
        self.assertEqual(sliding([1], 2), [])

    def test_repeats(self) -> None:
        self.assertEqual(without_repeats([3, 1, 3, 2, 1]), [3, 1, 2])

    def test_interleave(self) -> None:
        self.assertEqual(interleave([1, 2], [8, 9]), [1, 8, 2, 9])
        self.assertEqual(interleave([1, 2, 3], [9]), [1, 9, 2, 3])
        self.assertEqual(interleave([], [8, 9]), [8, 9])

    def test_rotate(self) -> None:
        self.assertEqual(rotate([1, 2, 3, 4], 1), [2, 3, 4, 1])
        self.assertEqual(rotate([1, 2, 3], -1), [3, 1, 2])
        self.assertEqual(rotate([1, 2, 3], 7), [2, 3, 1])
        self.assertEqual(rotate([], 2), [])

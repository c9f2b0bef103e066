import unittest

from envs.workspace.projects.matrix import determinant, identity, minor, multiply, power, transpose


class MatrixTest(unittest.TestCase):
    def test_transpose(self) -> None:
        self.assertEqual(transpose([[1, 2, 3], [4, 5, 6]]), [[1, 4], [2, 5], [3, 6]])

    def test_multiply(self) -> None:
        self.assertEqual(multiply([[1, 2], [3, 4]], [[5, 6], [7, 8]]), [[19, 22], [43, 50]])
        self.assertEqual(multiply([[1, 2, 3]], [[4], [5], [6]]), [[32]])

    def test_shapes_that_do_not_fit(self) -> None:
        with self.assertRaises(ValueError):
            multiply([[1, 2]], [[1, 2]])

    def test_identity(self) -> None:
        self.assertEqual(identity(3), [[1, 0, 0], [0, 1, 0], [0, 0, 1]])

    def test_minor(self) -> None:
        self.assertEqual(minor([[1, 2, 3], [4, 5, 6], [7, 8, 9]], 0, 1), [[4, 6], [7, 9]])
        self.assertEqual(minor([[1, 2, 3], [4, 5, 6], [7, 8, 9]], 2, 0), [[2, 3], [5, 6]])

    def test_determinant(self) -> None:
        self.assertEqual(determinant([[7]]), 7)
        self.assertEqual(determinant([[1, 2], [3, 4]]), -2)
        self.assertEqual(determinant([[2, 0, 1], [1, 3, 2], [1, 1, 4]]), 18)

    def test_a_determinant_of_what_is_not_square(self) -> None:
        with self.assertRaises(ValueError):
            determinant([[1, 2]])

    def test_power(self) -> None:
        self.assertEqual(power([[1, 1], [1, 0]], 5), [[8, 5], [5, 3]])
        self.assertEqual(power([[4, 2], [3, 1]], 0), [[1, 0], [0, 1]])

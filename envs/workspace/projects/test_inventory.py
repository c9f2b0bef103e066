import unittest

from envs.workspace.projects.inventory import Inventory, OutOfStockError


class InventoryTest(unittest.TestCase):
    def setUp(self) -> None:
        self.shelf = Inventory()
        self.shelf.put("nut", 5)
        self.shelf.put("bolt", 2)

    def test_put_adds(self) -> None:
        self.assertEqual(self.shelf.put("nut", 3), 8)
        self.assertEqual(self.shelf.put("pin"), 1)

    def test_put_nothing(self) -> None:
        with self.assertRaises(ValueError):
            self.shelf.put("nut", 0)

    def test_take(self) -> None:
        self.assertEqual(self.shelf.take("nut", 2), 3)
        self.assertEqual(self.shelf.count_of("nut"), 3)

    def test_the_last_one_can_be_taken(self) -> None:
        self.assertEqual(self.shelf.take("bolt", 2), 0)
        self.assertNotIn("bolt", self.shelf)

    def test_take_too_many(self) -> None:
        with self.assertRaises(OutOfStockError):
            self.shelf.take("bolt", 3)
        with self.assertRaises(OutOfStockError):
            self.shelf.take("screw")
        self.assertEqual(self.shelf.count_of("bolt"), 2)

    def test_running_low(self) -> None:
        self.shelf.put("axle", 1)
        self.assertEqual(self.shelf.running_low(3), ["axle", "bolt"])
        self.assertEqual(self.shelf.running_low(2), ["axle"])

    def test_total(self) -> None:
        self.assertEqual(self.shelf.total(), 7)
        self.assertEqual(Inventory().total(), 0)

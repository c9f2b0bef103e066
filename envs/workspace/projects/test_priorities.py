import unittest

from envs.workspace.projects.priorities import PriorityQueue


class PriorityQueueTest(unittest.TestCase):
    def setUp(self) -> None:
        self.queue = PriorityQueue()
        for name, priority in (("mail", 5), ("fire", 1), ("lunch", 3), ("call", 3)):
            self.queue.push(name, priority)

    def test_the_most_urgent_goes_first(self) -> None:
        self.assertEqual(self.queue.pop(), "fire")

    def test_equals_go_by_age(self) -> None:
        self.assertEqual([self.queue.pop() for _ in range(4)], ["fire", "lunch", "call", "mail"])

    def test_a_look_takes_nothing_out(self) -> None:
        self.assertEqual(self.queue.peek(), "fire")
        self.assertEqual(len(self.queue), 4)
        self.assertIsNone(PriorityQueue().peek())

    def test_an_empty_queue(self) -> None:
        with self.assertRaises(IndexError):
            PriorityQueue().pop()

    def test_a_name_is_in_it_once(self) -> None:
        with self.assertRaises(ValueError):
            self.queue.push("mail", 1)

    def test_cancel(self) -> None:
        self.assertTrue(self.queue.cancel("fire"))
        self.assertFalse(self.queue.cancel("fire"))
        self.assertEqual(self.queue.pop(), "lunch")
        self.assertEqual(self.queue.names(), ["call", "mail"])

import unittest

from envs.workspace.projects.graphs import in_order, reachable, reverse, shortest_path

ROADS = {"a": ["b", "c"], "b": ["d"], "c": ["e"], "d": ["f"], "e": ["d"], "f": ["g"]}


class GraphsTest(unittest.TestCase):
    def test_the_shortest_path(self) -> None:
        self.assertEqual(shortest_path(ROADS, "a", "d"), ["a", "b", "d"])
        self.assertEqual(shortest_path(ROADS, "a", "g"), ["a", "b", "d", "f", "g"])

    def test_a_path_to_where_one_is(self) -> None:
        self.assertEqual(shortest_path(ROADS, "b", "b"), ["b"])

    def test_no_way(self) -> None:
        self.assertEqual(shortest_path(ROADS, "g", "a"), [])

    def test_circles_do_no_harm(self) -> None:
        self.assertEqual(shortest_path({"a": ["b"], "b": ["a", "c"]}, "a", "c"), ["a", "b", "c"])

    def test_order(self) -> None:
        self.assertEqual(in_order({"shirt": ["tie"], "tie": ["coat"], "socks": []}), ["shirt", "socks", "tie", "coat"])
        self.assertEqual(in_order({"b": ["c"], "a": ["c"], "c": []}), ["a", "b", "c"])

    def test_order_in_circles(self) -> None:
        with self.assertRaises(ValueError):
            in_order({"a": ["b"], "b": ["a"]})

    def test_reachable(self) -> None:
        self.assertEqual(sorted(reachable(ROADS, "c")), ["c", "d", "e", "f", "g"])
        self.assertEqual(reachable(ROADS, "g"), {"g"})

    def test_reverse(self) -> None:
        self.assertEqual(reverse({"a": ["b", "c"], "b": ["c"]}), {"a": [], "b": ["a"], "c": ["a", "b"]})

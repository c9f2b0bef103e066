import unittest

from envs.workspace.projects.lru import LruCache


class LruCacheTest(unittest.TestCase):
    def setUp(self) -> None:
        self.cache = LruCache(2)
        self.cache.store("a", 1)
        self.cache.store("b", 2)

    def test_what_was_stored_is_found(self) -> None:
        self.assertEqual(self.cache.fetch("a"), 1)
        self.assertEqual(self.cache.fetch("b"), 2)

    def test_the_oldest_goes(self) -> None:
        self.cache.store("c", 3)
        self.assertEqual(self.cache.keys(), ["b", "c"])
        self.assertEqual(len(self.cache), 2)

    def test_reading_counts_as_use(self) -> None:
        self.cache.fetch("a")
        self.cache.store("c", 3)
        self.assertIn("a", self.cache)
        self.assertNotIn("b", self.cache)

    def test_writing_counts_as_use(self) -> None:
        self.cache.store("a", 10)
        self.cache.store("c", 3)
        self.assertEqual(self.cache.keys(), ["a", "c"])
        self.assertEqual(self.cache.fetch("a"), 10)

    def test_the_default(self) -> None:
        self.assertIsNone(self.cache.fetch("x"))
        self.assertEqual(self.cache.fetch("x", 7), 7)

    def test_the_hit_rate(self) -> None:
        self.assertEqual(LruCache(1).hit_rate(), 0.0)
        for key in ("a", "b", "x", "a"):
            self.cache.fetch(key)
        self.assertEqual(self.cache.hit_rate(), 0.75)

    def test_a_cache_without_room(self) -> None:
        with self.assertRaises(ValueError):
            LruCache(0)

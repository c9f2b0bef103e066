"""The modules of `projects/` as texts, and what they may be called: what a task makes a project of.

A `Face` is how one task calls things: the package, the modules, the functions in them. It is drawn by a seed, and
applied to modules, tests and what people say alike.
"""

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import NamedTuple

FOLDER = Path(__file__).parent / "projects"
HOME = "envs.workspace.projects"

PACKAGES = (
    "toolbox ledger atlas harbor quill lantern orchard beacon cobalt meadow tinder willow granite ember juniper "
    "compass thimble saffron walnut pebble"
).split()

NEEDS: Mapping[str, Sequence[str]] = {
    "invoices": ("money",),
    "meetings": ("durations", "intervals"),
    "changelog": ("versions",),
}
"""The modules that a module imports."""

MODULE_NAMES: Mapping[str, Sequence[str]] = {
    "roman": ("roman", "numerals", "roman_numerals"),
    "intervals": ("intervals", "spans", "ranges"),
    "lru": ("lru", "caching", "memory"),
    "rows": ("rows", "csv_rows", "cells"),
    "dates": ("dates", "days", "almanac"),
    "matrix": ("matrix", "matrices", "grids"),
    "wrapping": ("wrapping", "layout", "paragraphs"),
    "slugs": ("slugs", "addresses", "permalinks"),
    "money": ("money", "amounts", "cents"),
    "calculator": ("calculator", "arithmetic", "expressions"),
    "versions": ("versions", "version_numbers", "semver"),
    "run_lengths": ("run_lengths", "compression", "runs"),
    "graphs": ("graphs", "networks", "routes"),
    "figures": ("figures", "averages", "summary"),
    "durations": ("durations", "timespans", "clock"),
    "inventory": ("inventory", "shelves", "stockroom"),
    "priorities": ("priorities", "urgency", "waiting"),
    "batches": ("batches", "pieces", "chunking"),
    "invoices": ("invoices", "billing", "receipts"),
    "meetings": ("meetings", "scheduling", "appointments"),
    "changelog": ("changelog", "release_notes", "changes"),
}
"""What a module may be called. The names of one are none of another's, nor of the standard library."""

FUNCTION_NAMES: Mapping[str, Sequence[str]] = {
    "to_roman": ("to_roman", "roman_from_int", "as_roman"),
    "from_roman": ("from_roman", "roman_to_int", "read_roman"),
    "merge_intervals": ("merge_intervals", "merge_spans", "join_overlapping"),
    "find_gaps": ("find_gaps", "free_between", "uncovered"),
    "total_length": ("total_length", "covered_length", "measure"),
    "LruCache": ("LruCache", "RecentCache", "BoundedCache"),
    "hit_rate": ("hit_rate", "hit_share"),
    "parse_row": ("parse_row", "split_row", "read_row"),
    "format_row": ("format_row", "join_row", "write_row"),
    "read_table": ("read_table", "parse_table", "load_rows"),
    "date_range": ("date_range", "days_between", "each_day"),
    "add_months": ("add_months", "shift_months", "months_later"),
    "count_workdays": ("count_workdays", "workdays", "business_days"),
    "quarter_of": ("quarter_of", "quarter_number"),
    "transpose": ("transpose", "flip", "transposed"),
    "multiply": ("multiply", "matrix_product", "product_of"),
    "determinant": ("determinant", "det"),
    "wrap_words": ("wrap_words", "break_lines", "fill_lines"),
    "shorten": ("shorten", "truncate", "ellipsize"),
    "in_columns": ("in_columns", "align_columns", "tabulated"),
    "slugify": ("slugify", "make_slug", "slug_for"),
    "unique_slug": ("unique_slug", "free_slug", "untaken_slug"),
    "parse_amount": ("parse_amount", "read_amount", "to_cents"),
    "format_amount": ("format_amount", "show_amount", "amount_text"),
    "split_evenly": ("split_evenly", "fair_shares", "divide_among"),
    "add_tax": ("add_tax", "with_tax"),
    "evaluate": ("evaluate", "calculate", "compute"),
    "tokenize": ("tokenize", "tokens_of", "lex"),
    "parse_version": ("parse_version", "read_version", "version_key"),
    "newest": ("newest", "highest_version", "latest_of"),
    "is_compatible": ("is_compatible", "can_replace", "satisfies"),
    "encode_runs": ("encode_runs", "compress", "pack_runs"),
    "decode_runs": ("decode_runs", "decompress", "unpack_runs"),
    "longest_run": ("longest_run", "longest_streak"),
    "shortest_path": ("shortest_path", "find_path", "route_between"),
    "in_order": ("in_order", "topological_order", "sorted_nodes"),
    "reachable": ("reachable", "can_reach", "reached_from"),
    "mean_of": ("mean_of", "average_of", "arithmetic_mean"),
    "median_of": ("median_of", "middle_value", "central_value"),
    "most_common": ("most_common", "modes", "most_frequent"),
    "running_mean": ("running_mean", "moving_average", "rolling_mean"),
    "parse_duration": ("parse_duration", "duration_seconds", "read_duration"),
    "format_duration": ("format_duration", "show_duration", "duration_text"),
    "clock_time": ("clock_time", "as_clock", "time_text"),
    "Inventory": ("Inventory", "Shelf", "Stockroom"),
    "running_low": ("running_low", "low_items", "nearly_gone"),
    "PriorityQueue": ("PriorityQueue", "UrgencyQueue", "TodoQueue"),
    "in_batches": ("in_batches", "chunks_of", "batched_by"),
    "without_repeats": ("without_repeats", "deduplicated", "unique_items"),
    "interleave": ("interleave", "alternate", "zip_together"),
    "shipping_cost": ("shipping_cost", "postage", "delivery_fee"),
    "amount_due": ("amount_due", "total_due", "sum_due"),
    "free_slots": ("free_slots", "open_slots", "available_times"),
    "first_slot": ("first_slot", "earliest_start", "next_opening"),
    "latest_first": ("latest_first", "versions_descending", "sorted_versions"),
    "changes_since": ("changes_since", "news_since", "newer_changes"),
}
"""What functions and classes may be called. No other word of a module or a test is one of these."""


class Function(NamedTuple):
    """A function that can be taken out: what it is called, and what stands in its body below the docstring."""

    name: str
    body: str


@lru_cache(maxsize=64)
def module_text(name: str) -> str:
    return (FOLDER / f"{name}.py").read_text(encoding="utf-8")


@lru_cache(maxsize=64)
def test_text(name: str) -> str:
    return (FOLDER / f"test_{name}.py").read_text(encoding="utf-8")


@lru_cache(maxsize=64)
def summary_of(name: str) -> str:
    """The first line of a module's docstring."""
    return (ast.get_docstring(ast.parse(module_text(name))) or "").split("\n")[0]


@lru_cache(maxsize=64)
def functions_of(name: str) -> tuple[Function, ...]:
    """The functions of a module that say what they do."""
    text = module_text(name)
    lines = text.splitlines(keepends=True)
    found = []
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node) and len(node.body) > 1:
            first, last = node.body[1].lineno, node.body[-1].end_lineno
            found.append(Function(node.name, "".join(lines[first - 1 : last])))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Face:
    """What a task calls its package, its modules and their functions."""

    package: str
    modules: Mapping[str, str]
    functions: Mapping[str, str]

    @classmethod
    def draw(cls, rng: Random) -> "Face":
        return cls(
            package=rng.choice(PACKAGES),
            modules={name: rng.choice(names) for name, names in MODULE_NAMES.items()},
            functions={name: rng.choice(names) for name, names in FUNCTION_NAMES.items()},
        )

    def path(self, module: str) -> str:
        return f"{self.package}/{self.modules[module]}.py"

    def test_path(self, module: str) -> str:
        return f"tests/test_{self.modules[module]}.py"

    def said(self, text: str) -> str:
        """A text in this task's words: names of functions and classes."""
        return _FUNCTIONS.sub(lambda match: self.functions[match[0]], text)

    def code(self, text: str) -> str:
        """A module or a test in this task's words: imports too."""
        return _IMPORTS.sub(lambda match: f"{self.package}.{self.modules[match[1]]}", self.said(text))


_FUNCTIONS = re.compile(rf"\b(?:{'|'.join(FUNCTION_NAMES)})\b")
_IMPORTS = re.compile(rf"\b{re.escape(HOME)}\.(\w+)")

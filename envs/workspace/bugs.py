"""How the modules of `projects/` can be broken: a piece of a module, what it becomes, and what a colleague sees of it.

Each piece is in its module once, and the tests of the module notice each of these
(`tests/test_workspace.py` tries them all). What is seen never says how it is repaired. Functions that are taken out
whole are in no list: that can be done to any.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Bug:
    """A piece of a module as it should be and as it is, and what is seen of it."""

    module: str
    right: str
    wrong: str
    seen: str


def _bugs(module: str, *changes: tuple[str, str, str]) -> tuple[Bug, ...]:
    return tuple(Bug(module=module, right=right, wrong=wrong, seen=seen) for right, wrong, seen in changes)


BUGS: tuple[Bug, ...] = (
    *_bugs(
        "roman",
        ("if not 1 <= number <= LARGEST", "if not 1 <= number < LARGEST", "to_roman(3999) raises a ValueError"),
        ('(5, "V"), (4, "IV"), ', '(5, "V"), ', "to_roman(4) gives IIII"),
        ("rest = 0, text.upper()", "rest = 0, text", 'from_roman("mmxxiv") is refused, it should be read'),
        ("number += value", "number = value", 'from_roman("XLIX") does not give 49'),
    ),
    *_bugs(
        "intervals",
        ("start <= merged[-1][1]", "start < merged[-1][1]", "merge_intervals([(1, 3), (3, 5)]) gives two intervals"),
        ("max(merged[-1][1], end)", "end", "merge_intervals([(1, 10), (2, 3)]) loses most of the long interval"),
        ("in sorted(intervals):", "in intervals:", "merge_intervals is wrong when its intervals are not in order"),
        ("position = max(position, end)", "position = max(position, start)", "find_gaps says that taken time is free"),
        ("min(start, stop)", "start", "find_gaps([(7, 9)], (0, 5)) gives a gap that goes beyond 5"),
        ("first[0] < second[1] and", "first[0] <= second[1] and", "overlaps((5, 6), (1, 5)) is True"),
    ),
    *_bugs(
        "lru",
        ("popitem(last=False)", "popitem()", "a full LruCache throws out the value that has just been stored"),
        ("if len(self._values) > self.size", "if len(self._values) >= self.size", "LruCache(2) holds one value only"),
        (
            "        self.hits += 1\n        self._values.move_to_end(key)\n",
            "        self.hits += 1\n",
            "an LruCache drops a value that has just been read",
        ),
        ("self.hits + self.misses", "self.hits", "hit_rate of an LruCache is 1.0 however many reads miss"),
        ("            return default\n", "            return None\n", "fetch ignores the default that it is given"),
    ),
    *_bugs(
        "rows",
        ("cell.replace(QUOTE, QUOTE * 2)", "cell", "format_row does not double the quotes within a cell"),
        (
            "character == SEPARATOR and not quoted",
            "character == SEPARATOR",
            "parse_row splits a quoted cell at its comma",
        ),
        ("return [*cells, cell]", "return cells", "parse_row loses the last cell of every line"),
        (
            "len(names) - len(cells)",
            "len(cells) - len(names)",
            "read_table leaves out the cells that a short line lacks",
        ),
    ),
    *_bugs(
        "dates",
        ("while day <= last", "while day < last", "date_range leaves out its last day"),
        ("timedelta(days=step)", "timedelta(days=1)", "date_range takes no notice of its step"),
        ("day.month - 1 + months", "day.month + months", "add_months goes a month too far"),
        ("min(day.day, monthrange(year, month + 1)[1])", "day.day", "add_months fails for January 31 and one month"),
        ("(day.month - 1) // 3 + 1", "day.month // 3 + 1", "quarter_of says that March is in the second quarter"),
        ("SATURDAY = 5", "SATURDAY = 6", "count_workdays counts Saturdays"),
        ("from datetime import date, timedelta", "from datetime import date", "date_range fails with a NameError"),
    ),
    *_bugs(
        "matrix",
        ("len(left[0]) != len(right)", "len(left) != len(right)", "multiply refuses a row times a column"),
        ("sign = -1 if column % 2 else 1", "sign = 1 if column % 2 else -1", "determinant has the wrong sign"),
        ("1 if row == column else 0", "1 if row >= column else 0", "identity(3) has ones below its diagonal"),
        ("matrix[row + 1 :]", "matrix[row:]", "minor does not take the row out"),
        ("    columns = transpose(right)\n", "    columns = right\n", "multiply gives wrong products"),
        ("total += sign", "total = sign", "determinant is wrong for everything that is larger than 1 x 1"),
    ),
    *_bugs(
        "wrapping",
        (
            "len(line) + 1 + len(word) > width",
            "len(line) + 1 + len(word) >= width",
            "wrap_words leaves a line short that would be exactly full",
        ),
        ("if len(text) <= width", "if len(text) < width", "shorten cuts a text that fits exactly"),
        ("width - len(mark)", "width", "what shorten gives is longer than the width"),
        (" if line.strip() else line", "", "indent_lines puts spaces in empty lines"),
        ("max(len(cell) for cell", "min(len(cell) for cell", "in_columns does not line up its columns"),
    ),
    *_bugs(
        "slugs",
        ('"[^a-z0-9]+", "-"', '"[^a-z0-9]", "-"', "slugify leaves several dashes in a row"),
        ("plain.lower()", "plain", "slugify loses the capital letters of a title"),
        (
            'return slug[:MAX_LENGTH].rstrip("-")',
            "return slug[:MAX_LENGTH]",
            "slugify leaves a dash at the end of a long title",
        ),
        ("number = 2", "number = 1", "unique_slug begins to count at 1, it should be 2"),
        ("number += 1", "return slug", "unique_slug gives a name that is taken when the second one is taken too"),
        ('"NFKD"', '"NFC"', "slugify drops letters with accents, Café becomes caf"),
        ("import re\n", "", "slugify fails with a NameError"),
    ),
    *_bugs(
        "money",
        ('.ljust(2, "0")', "", 'parse_amount("7.5") takes the 5 for five cents'),
        ("return -cents if minus else cents", "return cents", "parse_amount loses the minus of what is owed"),
        ("{part:02}", "{part}", "format_amount(5) shows $0.5"),
        ("divmod(abs(cents), 100)", "divmod(cents, 100)", "format_amount is wrong for what is owed, like -250"),
        ("[share + 1] * rest + [share]", "[share] * rest + [share]", "the shares of split_evenly do not add up"),
        ("cents * percent + 50", "cents * percent", "add_tax always rounds down"),
        ("if people < 1", "if people < 0", "split_evenly fails with a ZeroDivisionError where there is nobody"),
    ),
    *_bugs(
        "calculator",
        ("value * right if sign", "value + right if sign", "evaluate adds where it should multiply"),
        ("value + right if sign", "right + right if sign", "evaluate is wrong for plain sums"),
        (
            "        return -_atom(tokens)",
            "        return _atom(tokens)",
            "evaluate takes no notice of a minus before a number",
        ),
        (
            "        value = _sum(tokens)\n        if not",
            "        value = _product(tokens)\n        if not",
            "evaluate does not read a sum in brackets",
        ),
        ("    if tokens:\n", "    if len(tokens) > 1:\n", 'evaluate("1 2") gives a value, it is no expression'),
        ("value // right", "right // value", "evaluate divides the wrong way round"),
    ),
    *_bugs(
        "versions",
        ('.removeprefix("v")', "", "parse_version refuses v2.0.1"),
        ("+ [0, 0]", "+ [0]", "parse_version fails with an IndexError for a version of one number"),
        ("max(versions, key=parse_version)", "max(versions)", "newest takes 1.9.0 for newer than 1.10.0"),
        ('{minor + 1}.0"', '{minor + 1}.{patch}"', "bump keeps the patch number when the minor one goes up"),
        ("have >= want", "have > want", "is_compatible says that 1.2.0 can't stand in for 1.2"),
        ("want[0] == have[0] and", "want[0] <= have[0] and", "is_compatible lets another major version pass"),
        ("len(parts) > 3", "len(parts) > 4", "parse_version takes a version with four numbers"),
    ),
    *_bugs(
        "run_lengths",
        ("digits += character", "digits = character", "decode_runs is wrong for runs of ten and more"),
        ('            digits = ""\n', "", "decode_runs makes the later runs far too long"),
        ("length > best[1]", "length >= best[1]", "longest_run gives the last one of several that are as long"),
        (
            "{len(list(run))}{character}",
            "{character}{len(list(run))}",
            "encode_runs writes the length behind the character",
        ),
        ("if any(character.isdigit()", "if all(character.isdigit()", "encode_runs takes texts with digits in them"),
        ("from itertools import groupby\n", "", "encode_runs and longest_run fail with a NameError"),
    ),
    *_bugs(
        "graphs",
        ("queue.popleft()", "queue.pop()", "shortest_path gives a way that is longer than it has to be"),
        ("return path[::-1]", "return path", "shortest_path gives the way back to front"),
        (
            "incoming[neighbour] -= 1",
            "incoming[neighbour] -= 0",
            "in_order says that every graph with an edge goes in circles",
        ),
        (
            "ready = sorted([*ready, neighbour])",
            "ready = [neighbour, *ready]",
            "in_order does not go by the alphabet where it has a choice",
        ),
        ("{start}, [start]", "set(), [start]", "reachable leaves out the start"),
        (
            "turned: Graph = {node: [] for node in graph}",
            "turned: Graph = {}",
            "reverse loses the nodes that nothing points to",
        ),
        (
            "if len(order) < len(incoming)",
            "if len(order) > len(incoming)",
            "in_order takes a graph that goes in circles",
        ),
    ),
    *_bugs(
        "figures",
        (
            "ordered[middle - 1] + ordered[middle]",
            "ordered[middle] + ordered[middle]",
            "median_of is wrong for four numbers",
        ),
        ("ordered = sorted(numbers)", "ordered = list(numbers)", "median_of depends on the order of its numbers"),
        ("if count == highest", "if count >= highest - 1", "most_common gives numbers that come less often too"),
        ("(number - center) ** 2", "abs(number - center)", "variance_of is too small"),
        ("len(numbers) - width + 1", "len(numbers) - width", "running_mean leaves out the last average"),
    ),
    *_bugs(
        "durations",
        ('"h": 3600', '"h": 360', "an hour of parse_duration has 360 seconds"),
        ("if number:\n", "if number > 1:\n", "format_duration leaves out units of which there is one"),
        (' or "0s"', "", "format_duration(0) is empty"),
        ("minutes % (24 * 60)", "minutes", "clock_time(1500) gives 25:00"),
        ("{rest:02}", "{rest}", "clock_time(545) gives 09:5"),
        ("int(hours) < 24", "int(hours) <= 24", 'minutes_of("24:00") is taken for a time'),
        ("int(number) * SECONDS[unit]", "SECONDS[unit]", "parse_duration takes 45s for one second"),
    ),
    *_bugs(
        "inventory",
        (
            "if count > self.count_of(item)",
            "if count >= self.count_of(item)",
            "the last bolt can't be taken from an Inventory",
        ),
        (
            "            del self._counts[item]\n            return 0\n",
            "            return 0\n",
            "an Inventory says that it has an item of which nothing is left",
        ),
        ("self._counts.get(item, 0) + count", "count", "put throws away what an Inventory had of an item"),
        ("if count < limit", "if count <= limit", "running_low names items of which there are just enough"),
        (
            "return sum(self._counts.values())",
            "return len(self._counts)",
            "total of an Inventory counts the kinds of items",
        ),
        ("self._counts.get(item, 0)\n", "self._counts[item]\n", "count_of fails for an item that was never there"),
    ),
    *_bugs(
        "priorities",
        (
            "(priority, next(self._order), name)",
            "(-priority, next(self._order), name)",
            "a PriorityQueue gives out what is least urgent first",
        ),
        (
            "(priority, next(self._order), name)",
            "(priority, -next(self._order), name)",
            "a PriorityQueue gives the newer of two equals first",
        ),
        ("entry[2] != name", "entry[2] == name", "cancel of a PriorityQueue throws out all the others"),
        ("if name in self.names():", "if not name:", "the same name can be in a PriorityQueue twice"),
        ("self._heap[0][2] if", "self._heap[-1][2] if", "peek of a PriorityQueue does not show what goes first"),
        ("        self._heap = kept\n", "", "cancel of a PriorityQueue changes nothing"),
        ("import heapq\n", "", "push of a PriorityQueue fails with a NameError"),
    ),
    *_bugs(
        "batches",
        (
            "range(0, len(items), size)",
            "range(0, len(items) - size + 1, size)",
            "in_batches loses what is left at the end",
        ),
        ("            seen.add(item)\n", "", "without_repeats keeps the repeats"),
        (
            "*first[shorter:], *second[shorter:]",
            "*second[shorter:]",
            "interleave drops the rest of a longer first list",
        ),
        ("[*items[cut:], *items[:cut]]", "[*items[:cut], *items[cut:]]", "rotate changes nothing"),
        ("cut = steps % len(items)", "cut = steps", "rotate is wrong for more steps than there are items"),
        ("items[start : start + width]", "items[start : start + width - 1]", "what sliding gives is one item short"),
    ),
    *_bugs(
        "invoices",
        ("sum(number * price", "sum(price", "subtotal takes no notice of how many were sold"),
        (
            "subtotal(sales) >= FREE_FROM",
            "subtotal(sales) > FREE_FROM",
            "shipping_cost is not free for exactly the limit",
        ),
        ("if not sales or subtotal", "if subtotal", "shipping_cost asks for money where nothing was sold"),
        (
            "add_tax(subtotal(sales), tax_percent) + shipping_cost(sales)",
            "add_tax(subtotal(sales) + shipping_cost(sales), tax_percent)",
            "amount_due taxes the shipping",
        ),
        (", reverse=True)", ")", "invoice_lines has the cheapest sale first"),
        ("add_tax, format_amount\n", "add_tax\n", "invoice_lines fails with a NameError"),
    ),
    *_bugs(
        "meetings",
        ("end - start >= minutes", "end - start > minutes", "free_slots leaves out a time that fits exactly"),
        ("OPENING, CLOSING = 540, 1020", "OPENING, CLOSING = 540, 1080", "free_slots goes on after 17:00"),
        (
            "(-_booked_minutes(calendars[name]), name)",
            "(_booked_minutes(calendars[name]), name)",
            "busiest gives who has the least to do",
        ),
        ("in merge_intervals(booked))", "in booked)", "busiest counts what is booked twice two times"),
        ("clock_time(slots[0][0])", "clock_time(slots[0][1])", "first_slot gives when the time ends"),
    ),
    *_bugs(
        "changelog",
        ("key=parse_version, reverse=True", "reverse=True", "latest_first puts 0.9.0 before 0.10.0"),
        (
            "parse_version(number) > known",
            "parse_version(number) >= known",
            "changes_since gives the changes of the version itself too",
        ),
        (
            '"major" if breaking else "minor"',
            '"minor" if breaking else "major"',
            "next_version has major and minor the wrong way round",
        ),
        ('"\\n\\n".join(blocks)', '"\\n".join(blocks)', "render leaves no empty line between the versions"),
        ("latest_first(changes)[0]", "latest_first(changes)[-1]", "next_version goes on from the oldest version"),
        ('return "0.1.0"', 'return "1.0.0"', "next_version begins with 1.0.0 where there is nothing yet"),
    ),
)

"""A workspace: a small Python project in a real temporary directory, and what can be done to its files.

Nothing outside the directory is ever touched: a path is a few plain words joined by `/`, and a symbolic link is not
followed, wherever it leads. Sizes and numbers of files are bounded. Left out: running the code (`sandbox.py`).
"""

import difflib
import hashlib
import os
import re
import shutil
import stat
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path

from envs.env import State
from tools import DomainError

PREFIX = "hintsight-workspace-"
"""What the name of each directory begins with: one that a killed process left behind is found by it."""
MAX_FILES, MAX_CHARACTERS, MAX_DEPTH, MAX_PATH = 64, 50_000, 6, 120

_WORD = re.compile(r"[A-Za-z0-9_.-]+")


class Workspace:
    """A directory with a project's files. `start` is what it began with."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self.start = dict(files)
        self.root = Path(tempfile.mkdtemp(prefix=PREFIX))
        self._finalizer = weakref.finalize(self, _remove, self.root, os.getpid())
        for path, text in files.items():
            self._write(path, text)

    def close(self) -> None:
        self._finalizer()

    def files(self) -> dict[str, str]:
        """All files with their texts, by path in order of the alphabet. Links and what isn't UTF-8 are left out."""
        found = {}
        for folder, folders, names in os.walk(self.root):
            folders.sort()
            for name in names:
                place = Path(folder, name)
                text = _text(place)
                if text is not None:
                    found[place.relative_to(self.root).as_posix()] = text
        return dict(sorted(found.items()))

    def read(self, path: str) -> str:
        place = self._place(path)
        if place.is_dir():
            raise DomainError(f"{path!r} is a folder: list_files shows what is in it")
        text = _text(place)
        if text is None:
            raise DomainError(f"there is no file {path!r}: list_files shows what there is")
        return text

    def is_folder(self, path: str) -> bool:
        return self._place(path).is_dir()

    def replace(self, path: str, text: str) -> None:
        """Give a file that exists another text."""
        self.read(path)
        self._write(path, checked_text(text))

    def create(self, path: str, text: str) -> None:
        """Make a file, with the folders above it."""
        checked_text(text)
        self._must_be_free(path)
        if len(self.files()) >= MAX_FILES:
            raise DomainError(f"the project has {MAX_FILES} files: no more can be made")
        self._write(path, text)

    def move(self, path: str, to: str) -> None:
        self.read(path)
        self._must_be_free(to)
        place = self._place(to)
        place.parent.mkdir(parents=True, exist_ok=True)
        self._place(path).rename(place)

    def _must_be_free(self, path: str) -> None:
        place = self._place(path)
        if place.exists():
            raise DomainError(f"{path!r} exists already")
        for above in place.relative_to(self.root).parents:
            if (self.root / above).exists() and not (self.root / above).is_dir():
                raise DomainError(f"{above.as_posix()!r} is a file: nothing can be put in it")

    def _write(self, path: str, text: str) -> None:
        place = self._place(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(text.encode())

    def _place(self, path: str) -> Path:
        """Where a path leads. Raises DomainError for one that is none of this project's."""
        words = path.split("/")
        if len(path) > MAX_PATH or len(words) > MAX_DEPTH:
            raise DomainError(f"a path has up to {MAX_PATH} characters and {MAX_DEPTH} parts")
        if not all(_WORD.fullmatch(word) and word.strip(".") for word in words):
            raise DomainError("a path is relative, of letters, digits, '_', '-' and '.', like 'tests/test_money.py'")
        place = self.root
        for word in words:
            place = place / word
            if place.is_symlink():
                raise DomainError(f"{path!r} goes over a symbolic link, which is not followed")
        return place

    def changes(self) -> list[tuple[str, str]]:
        """What is different from the start: the place of each line that went (-) or came (+), and the line."""
        now = self.files()
        found = []
        for path in sorted(self.start.keys() | now.keys()):
            before, after = self.start.get(path, "").splitlines(), now.get(path, "").splitlines()
            if before != after:
                for tag, b1, b2, a1, a2 in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
                    if tag != "equal":
                        found += [(f"{path} -{number + 1}", before[number]) for number in range(b1, b2)]
                        found += [(f"{path} +{number + 1}", after[number]) for number in range(a1, a2)]
        return found

    def state(self) -> State:
        """The files with their sizes and the beginnings of their hashes, and the lines that are new or gone."""
        files = [
            {"path": path, "lines": len(text.splitlines()), "sha": hashlib.sha256(text.encode()).hexdigest()[:12]}
            for path, text in self.files().items()
        ]
        return {"file": files, "change": [{"line": place, "text": text} for place, text in self.changes()]}


def checked_text(text: str) -> str:
    """A text that a file can hold; DomainError for another."""
    if len(text) > MAX_CHARACTERS:
        raise DomainError(f"a file has up to {MAX_CHARACTERS} characters, these are {len(text)}")
    if "\0" in text or not _is_unicode(text):
        raise DomainError("a file holds text: no NUL characters and no lone surrogates")
    return text


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _text(place: Path) -> str | None:
    """The text of a regular file; None for anything else."""
    try:
        if not stat.S_ISREG(place.lstat().st_mode):
            return None
        return place.read_bytes().decode()
    except (OSError, UnicodeDecodeError):
        return None


def _remove(root: Path, process: int) -> None:
    # A forked process has a copy of the finalizer, and must not remove what belongs to its parent.
    if os.getpid() == process:
        shutil.rmtree(root, ignore_errors=True)

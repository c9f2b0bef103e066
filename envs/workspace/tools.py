"""What can be done at the desk of workspace-v0: look at files, change them, run the tests.

What the workspace refuses is a DomainError. So is a test run or a search that has to be cut off: the code and the
pattern are the model's own. A sandbox that does not start is an InfrastructureFault.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from envs.workspace.sandbox import CutOff, Sandbox
from envs.workspace.world import Workspace
from tools import READ, WRITE, DomainError, tool

Record = dict[str, Any]
Line = Annotated[int, Field(ge=1, le=100_000)]

MAX_LINES, MAX_SHOWN, MAX_FOUND = 400, 12_000, 50
TESTS = "tests/"


class WorkspaceTools:
    """The tools, bound to one workspace. Results hold nothing that changes from run to run."""

    def __init__(self, workspace: Workspace, sandbox: Sandbox) -> None:
        self.workspace, self.sandbox = workspace, sandbox

    @tool(READ)
    def list_files(self, folder: str = "") -> Record:
        """List the files of the project, with their numbers of lines.

        folder: only what is in this folder
        """
        files = self.workspace.files()
        if folder.rstrip("/") not in ("", "."):
            inside = folder.rstrip("/") + "/"
            if not self.workspace.is_folder(folder.rstrip("/")):
                raise DomainError(f"there is no folder {folder!r}")
            files = {path: text for path, text in files.items() if path.startswith(inside)}
        return {"files": [{"path": path, "lines": len(text.splitlines())} for path, text in files.items()]}

    @tool(READ)
    def read_file(self, path: str, first_line: Line = 1, last_line: Line | None = None) -> Record:
        """Read a file or some of its lines.

        first_line: the number of the first line, 1 at the top
        last_line: the number of the last line; the end of the file if left out
        """
        lines = self.workspace.read(path).splitlines(keepends=True)
        if lines and first_line > len(lines):
            raise DomainError(f"{path} has {len(lines)} lines")
        if last_line is not None and last_line < first_line:
            raise DomainError(f"line {last_line} comes before line {first_line}")
        wanted = lines[first_line - 1 : last_line][:MAX_LINES]
        text = "".join(wanted)
        record: Record = {"path": path, "lines": len(lines), "text": text[:MAX_SHOWN]}
        shown = len(text[:MAX_SHOWN].splitlines())
        if len(text) > MAX_SHOWN or (last_line is None and first_line - 1 + len(wanted) < len(lines)):
            record["cut_after_line"] = first_line - 1 + shown
        return record

    @tool(READ)
    def search(self, text: str, regex: bool = False, folder: str = "") -> Record:
        """Find the lines that hold a text.

        regex: take the text as a regular expression of Python
        folder: search in this folder only
        """
        if not text:
            raise DomainError("there is nothing to search for: the text is empty")
        paths = [entry["path"] for entry in self.list_files(folder)["files"]]
        files = {path: self.workspace.read(path) for path in paths}
        found = self._matched(text, files) if regex else _holding(text, files)
        shown = [{"path": path, "line": number, "text": line[:200]} for path, number, line in found[:MAX_FOUND]]
        return {"found": len(found), "lines": shown}

    def _matched(self, pattern: str, files: Mapping[str, str]) -> list[tuple[str, int, str]]:
        # A pattern can take for ever, so it is tried where that can be ended.
        try:
            answer = self.sandbox.run("search", {"pattern": pattern, "files": files})
        except CutOff as error:
            raise DomainError(f"the search was cut off: {error}; use a simpler pattern") from None
        if "refused" in answer:
            raise DomainError(f"this is no regular expression: {answer['refused']}")
        return [(path, number, line) for path, number, line in answer["found"]]

    @tool(WRITE)
    def edit_file(self, path: str, old: str, new: str) -> Record:
        """Replace a piece of a file by another.

        old: what is in the file now, exactly, with its indentation; it must be there once only
        new: what takes its place
        """
        text = self.workspace.read(path)
        times = text.count(old) if old else 0
        if not old:
            raise DomainError("old is empty: give the piece of text that is to be replaced")
        if times != 1:
            more = "read the file and copy the piece exactly" if not times else "give more of the lines around it"
            raise DomainError(f"old is {times} times in {path}, it must be there once: {more}")
        if old == new:
            raise DomainError("old and new are the same: nothing would change")
        self.workspace.replace(path, text.replace(old, new))
        return {"path": path, "lines": len(self.workspace.read(path).splitlines())}

    @tool(WRITE)
    def create_file(self, path: str, text: str) -> Record:
        """Make a new file; folders that are missing are made too."""
        self.workspace.create(path, text)
        return {"path": path, "lines": len(text.splitlines())}

    @tool(WRITE)
    def move_file(self, path: str, to: str) -> Record:
        """Move a file or give it another name; what is in it, and what imports it, stays as it is."""
        self.workspace.move(path, to)
        return {"path": to, "moved_from": path}

    @tool(READ)
    def run_tests(self, path: str | None = None, name: str | None = None) -> Record:
        """Run the project's tests (unittest) in a sandbox, without network and without writing files.

        path: only the tests of this file
        name: only the tests whose name holds this
        """
        files = self.workspace.files()
        tests = [other for other in files if is_test(other)] if path is None else [self._test_file(path)]
        if not tests:
            raise DomainError(f"there are no tests: no file is called {TESTS}test_*.py")
        code = {path: text for path, text in files.items() if path.endswith(".py")}
        try:
            report = self.sandbox.run("tests", {"files": code, "tests": tests, "name": name or ""})
        except CutOff as error:
            raise DomainError(f"the test run was cut off: {error}") from None
        if report.get("limit"):
            raise DomainError(f"the test run met a limit: {report['limit']}\n{str(report.get('output'))[:1_500]}")
        output = str(report.get("output"))[:MAX_SHOWN]
        return {**{key: int(report.get(key) or 0) for key in ("ran", "failed")}, "output": output}

    def _test_file(self, path: str) -> str:
        self.workspace.read(path)
        if not is_test(path):
            raise DomainError(f"{path} has no tests: they are in files called {TESTS}test_*.py")
        return path


def is_test(path: str) -> bool:
    return path.startswith(f"{TESTS}test_") and path.endswith(".py") and path.count("/") == 1


def _holding(text: str, files: Mapping[str, str]) -> list[tuple[str, int, str]]:
    return [
        (path, number, line)
        for path, content in files.items()
        for number, line in enumerate(content.splitlines(), 1)
        if text in line
    ]

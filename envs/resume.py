"""Going on with a file of trajectories: what it holds already, and whether it may take more.

Left out: the parameters of a policy. A model that was trained on under the same path is taken for the same policy.
"""

from itertools import islice
from pathlib import Path

from envs.archive import Archive, read_trajectories
from envs.trajectory import Trajectory
from tools.command import InputError


def resume(path: Path, *, env: str = "", policy: str = "") -> tuple[Archive, set[str]]:
    """Open a file to append to; also the ids of the trajectories that it holds.

    With `env` and `policy`, all of these must be of that environment and policy.
    Raises InputError for a file that can't be written or holds something else.
    """
    try:
        if path.exists():
            # A look at the first line before the archive, which may cut off the last one, touches the file.
            for trajectory in islice(read_trajectories(path), 1):
                _check(path, trajectory, env, policy)
        archive = Archive(path)
    except OSError as error:
        raise InputError(f"{path} can't be written to ({error.strerror}): choose another file") from error
    ids = set()
    try:
        for trajectory in read_trajectories(path):
            _check(path, trajectory, env, policy)
            ids.add(trajectory.id)
    except InputError:
        archive.close()
        raise
    return archive, ids


def _check(path: Path, trajectory: Trajectory, env: str, policy: str) -> None:
    for what, came, wanted in (("environment", trajectory.env, env), ("policy", trajectory.policy, policy)):
        if wanted and came != wanted:
            raise InputError(f"{path} has trajectories of {what} {came!r}, not {wanted!r}: choose another file")

"""What a world is, how a policy acts in it, what a trajectory is."""

import gymnasium

from envs.archive import Archive, read_records, read_trajectories
from envs.env import State, ToolEnv, make
from envs.planned import PlannedEnv
from envs.tasks import Exchange, Script, Step
from envs.trajectory import Message, StopReason, Trajectory, Turn, calls_of

gymnasium.register(id="hintsight/store-v0", entry_point="envs.store:StoreEnv", order_enforce=False)
gymnasium.register(id="hintsight/shift-v1", entry_point="envs.store.shift:ShiftEnv", order_enforce=False)
gymnasium.register(id="hintsight/store-v1", entry_point="envs.desk:DeskEnv", order_enforce=False)
gymnasium.register(id="hintsight/analyst-v0", entry_point="envs.analyst:AnalystEnv", order_enforce=False)
gymnasium.register(id="hintsight/workspace-v0", entry_point="envs.workspace:WorkspaceEnv", order_enforce=False)

__all__ = [
    "Archive",
    "Exchange",
    "Message",
    "PlannedEnv",
    "Script",
    "State",
    "Step",
    "StopReason",
    "ToolEnv",
    "Trajectory",
    "Turn",
    "calls_of",
    "make",
    "read_records",
    "read_trajectories",
]

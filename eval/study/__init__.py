"""Whether the drop is real: every way to learn from the same rollouts, side by side, with controls and seeds."""

"""Tests compute on one thread each, and so do the programs that they start."""

import os

# Before torch is imported. Threads that wait for each other take longer than such small models, and make test runs two
# of these processes side by side.
os.environ.setdefault("OMP_NUM_THREADS", "1")

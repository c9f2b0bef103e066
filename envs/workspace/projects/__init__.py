"""The little modules that the projects of workspace-v0 are made of, each with its tests beside it.

They are texts: a task takes some of them, under other names, breaks one, and writes them into a directory. Nothing in
hintsight imports them.
"""

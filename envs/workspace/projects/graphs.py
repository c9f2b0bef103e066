"""Directed graphs: a dict with the neighbours of each node."""

from collections import deque

Graph = dict[str, list[str]]


def shortest_path(graph: Graph, start: str, goal: str) -> list[str]:
    """The nodes from start to goal over as few edges as possible; an empty list where there is no way."""
    before: dict[str, str] = {start: start}
    queue = deque([start])
    while queue:
        node = queue.popleft()
        if node == goal:
            path = [node]
            while node != start:
                node = before[node]
                path.append(node)
            return path[::-1]
        for neighbour in graph.get(node, []):
            if neighbour not in before:
                before[neighbour] = node
                queue.append(neighbour)
    return []


def in_order(graph: Graph) -> list[str]:
    """All nodes, each before those that it points to, by the alphabet where there is a choice.

    Raises ValueError for a graph that goes in circles.
    """
    incoming = dict.fromkeys(graph, 0)
    for neighbours in graph.values():
        for neighbour in neighbours:
            incoming[neighbour] = incoming.get(neighbour, 0) + 1
    ready = sorted(node for node, count in incoming.items() if count == 0)
    order = []
    while ready:
        node = ready.pop(0)
        order.append(node)
        for neighbour in graph.get(node, []):
            incoming[neighbour] -= 1
            if incoming[neighbour] == 0:
                ready = sorted([*ready, neighbour])
    if len(order) < len(incoming):
        raise ValueError("the graph goes in circles")
    return order


def reachable(graph: Graph, start: str) -> set[str]:
    """The nodes that can be reached, the start among them."""
    seen, todo = {start}, [start]
    while todo:
        for neighbour in graph.get(todo.pop(), []):
            if neighbour not in seen:
                seen.add(neighbour)
                todo.append(neighbour)
    return seen


def reverse(graph: Graph) -> Graph:
    """The same nodes with every edge turned round."""
    turned: Graph = {node: [] for node in graph}
    for node, neighbours in graph.items():
        for neighbour in neighbours:
            turned.setdefault(neighbour, []).append(node)
    return turned

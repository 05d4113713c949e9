"""A record of array arithmetic, for the kernel to run forwards and backwards.

`density` adds up the parameters of the law with the `Node`s of a `Tape`, which leaves a program: a
list of operations on slots of one workspace, and constants. The kernel interprets it, so that one
compiled function serves every hierarchy and every data set.

A node is a vector, or a single value that stands for all places of one. Only the operations that
`density` needs exist; anything else is an error while the program is recorded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any

import numpy as np

from bayes_ctxlaw.geometry import Averages, Block
from bayes_ctxlaw.law import SATURATIONS


class Op(IntEnum):
    """Operations; `kernel` holds what each does forwards and backwards."""

    ADD = 0
    SUBTRACT = 1
    MULTIPLY = 2
    EXP = 3
    GATHER = 4
    AVERAGE = 5
    LOG_SATURATION = 6
    LOG_RISE = 7
    UNSATURATE = 8
    LOG1P = 9
    DIVIDE = 10
    HALF_NORMAL = 11
    ZERO_AVOIDING = 12
    BLOCK = 13
    SCORES = 14


_ADDRESSED = (Op.GATHER, Op.AVERAGE, Op.LOG_SATURATION, Op.LOG_RISE, Op.UNSATURATE)
"""Operations on one operand that have a number of their own: a form, or where a table begins."""

_WITH_SLOPES = (Op.LOG_SATURATION, Op.LOG_RISE, Op.UNSATURATE)

HEAD = 10  # sizes of a program, and where its parts begin
COLUMNS = 9  # operation, result, its length, then place and stride of three operands


class Node:
    """A vector of the program: its place in the workspace (constants: from the end), its length."""

    __array_ufunc__ = None  # a NumPy array to the left leaves the arithmetic to the node

    def __init__(self, tape: Tape, place: int, size: int) -> None:
        self.array_module, self.place, self.size = tape, place, size

    @property
    def shape(self) -> tuple[int]:
        """Length, as of an array."""
        return (self.size,)

    def __add__(self, other: Any) -> Node:
        return self.array_module.record(Op.ADD, self, other)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Node:
        return self.array_module.record(Op.SUBTRACT, self, other)

    def __rsub__(self, other: Any) -> Node:
        return self.array_module.record(Op.SUBTRACT, other, self)

    def __neg__(self) -> Node:
        return self.array_module.record(Op.SUBTRACT, 0.0, self)

    def __mul__(self, other: Any) -> Node:
        return self.array_module.record(Op.MULTIPLY, self, other)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Node:
        return self.array_module.record(Op.DIVIDE, self, other)

    def __rtruediv__(self, other: Any) -> Node:
        return self.array_module.record(Op.DIVIDE, other, self)

    def __getitem__(self, key: tuple[Any, ...]) -> Node:
        _, codes = key
        if self.size == 1:
            return self  # the same value, wherever it is looked up
        return self.array_module.gather(self, codes)

    def part(self, places: slice) -> Node:
        """Some of its values, next to one another."""
        return Node(self.array_module, self.place + places.start, places.stop - places.start)


class Tape:
    """Program under construction.

    Parameters
    ----------
    n_dim : int
        Number of unconstrained values the program starts from: the first places of its workspace.
    """

    def __init__(self, n_dim: int) -> None:
        self.n_dim = self.used = n_dim
        self.steps: list[list[int]] = []
        self.integers: list[int] = []
        self.columns: list[float] = []
        # Constants lie at the end of the workspace, however long it gets: counted from there.
        self.constants: list[np.ndarray] = []
        self._known: dict[Any, Any] = {}

    def node(self, value: Any) -> Node:
        """A node as it is, numbers as constants."""
        if isinstance(value, Node):
            return value
        values = np.atleast_1d(np.asarray(value, dtype=float))
        key = "constants", values.tobytes()
        if key not in self._known:
            self.constants.insert(0, values)
            place = -sum(len(known) for known in self.constants)
            self._known[key] = Node(self, place, len(values))
        return self._known[key]

    def _place(self, pool: str, values: np.ndarray) -> int:
        """Where in a pool these values begin; the same values are kept once."""
        key = pool, values.tobytes()
        if key not in self._known:
            numbers = getattr(self, pool)
            self._known[key] = len(numbers)
            numbers.extend(values.tolist())
        return self._known[key]

    def record(self, op: Op, *operands: Any, size: int = 0, extra: int = 0) -> Node:
        """Add an operation, unless the same was done before, and return its result."""
        nodes = [self.node(operand) for operand in operands]
        size = size or max(node.size for node in nodes)
        step: list[int] = []
        for node in nodes:
            if node.size not in (1, size) and op not in _ADDRESSED:
                raise AssertionError(f"{op.name}: lengths {[n.size for n in nodes]}")
            step += [node.place, int(node.size > 1)]
        step += [0, 0] * (3 - len(nodes))
        if op in _ADDRESSED:
            step[2], step[3] = extra, nodes[0].size
        key = op, size, *step
        if op < Op.HALF_NORMAL and key in self._known:
            return self._known[key]
        place = self.used
        if op < Op.HALF_NORMAL:
            # The slopes are found with the values, and kept behind them.
            self.used += 2 * size if op in _WITH_SLOPES else size
        self.steps.append([op, place, size, *step])
        self._known[key] = Node(self, place, size)
        return self._known[key]

    def gather(self, node: Node, codes: np.ndarray) -> Node:
        """Values of a vector at these positions."""
        at = self._place("integers", np.asarray(codes, dtype=np.int64))
        return self.record(Op.GATHER, node, size=len(codes), extra=at)

    def exp(self, node: Node) -> Node:
        """Exponential."""
        return self.record(Op.EXP, node)

    def log1p(self, node: Node) -> Node:
        """Logarithm of one and what is given."""
        return self.record(Op.LOG1P, node)

    def group_average(self, node: Node, weights: Averages) -> Node:
        """Weighted averages of the groups of `weights`; sums, if the weights do not add up to 1."""
        groups = int(weights.group.max()) + 1
        share = self._place("columns", np.asarray(weights.share, dtype=float))
        group = self._place("integers", np.asarray(weights.group, dtype=np.int64))
        both = self._place("integers", np.array([group, share], dtype=np.int64))
        return self.record(Op.AVERAGE, node, size=groups, extra=both)

    def log_saturation(self, node: Node, kind: str) -> Node:
        """`law.log_saturation`."""
        return self.record(Op.LOG_SATURATION, node, extra=SATURATIONS.index(kind))

    def log_rise(self, node: Node, kind: str) -> Node:
        """Logarithm of the slope of `law.log_saturation`."""
        return self.record(Op.LOG_RISE, node, extra=SATURATIONS.index(kind))

    def unsaturate(self, node: Node, kind: str) -> Node:
        """Inverse of `law.log_saturation`."""
        return self.record(Op.UNSATURATE, node, extra=SATURATIONS.index(kind))

    def block(
        self,
        block: Block,
        at: int,
        scales: Sequence[Any],
        traded: Sequence[Any] = (),
        by_stratum: tuple[Any, Any] | None = None,
    ) -> list[Node]:
        """Unknowns of a block from standard normal ones; adds their prior and the Jacobian.

        Parameters
        ----------
        block : Block
        at : int
            Where the block's part of the unconstrained values begins.
        scales : sequence of Node or float
            Prior standard deviation of the unknowns, part by part.
        traded : sequence of Node
            Averages of what the parameter trades off against, part by part; empty for nothing.
            The block's pull is that where they are 0.
        by_stratum : tuple of Node, optional
            Precision and value of the measurement of every stratum's sum of unknowns, instead of
            the block's own measurement.

        Returns
        -------
        list of Node
            Deviations of the unknowns from their prior means, part by part.
        """
        m, place = block.size, self.used
        weight, value = map(self.node, by_stratum or (0.0, 0.0))
        strata = len(block.members) if by_stratum else 0
        head = [m, len(block.spans), block.apart, at, strata, int(bool(traded))]
        if by_stratum:
            links, pairs = block.links
            beginnings = np.searchsorted(links[:, 0], np.arange(block.apart + 1))
            tables = [("integers", part) for part in (pairs, beginnings, links[:, 1])]
        else:
            tables = [("columns", v) for v in (block.pull, block.precision, block.response)]
            links = np.zeros((0, 2))
        for pool, values in [*tables, ("integers", block.members)]:
            head.append(self._place(pool, np.ascontiguousarray(values).ravel()))
        for node in (weight, value):
            head += [node.place, int(node.size > 1)]
        for i, span in enumerate(block.spans):
            mean = self.node(traded[i] if traded else 0.0)
            head += [span.stop - span.start, self.node(scales[i]).place]
            head += [mean.place, int(mean.size > 1)]
        # The results, and what the kernel keeps on the way to them: five vectors, a matrix of what
        # does not stand apart, or two where K has to be found first, and of what stands apart the
        # diagonals and links of C and of K.
        matrices, rest = 2 if by_stratum else 1, m - block.apart
        self.used += 6 * m + matrices * rest * rest + 2 * (block.apart + len(links))
        table = self._place("integers", np.array(head, dtype=np.int64))
        self.steps.append([Op.BLOCK, place, m, table, 0, 0, 0, 0, 0])
        return [Node(self, place, m).part(span) for span in block.spans]

    def scores(
        self, parameters: Sequence[Any], options: Sequence[int], columns: Mapping[str, Any]
    ) -> None:
        """Log-likelihood of all scores: one step, from the parameters of every stratum.

        Parameters
        ----------
        parameters : sequence of Node
            Vectors along strata, or single values.
        options : sequence of int
            Which forms of the law and of the likelihood; as `kernel` reads them.
        columns : mapping of str to ndarray
            Numbers of every observation; integer ones are positions.
        """
        head = [len(next(iter(columns.values()))), *options]
        nodes = [self.node(value) for value in parameters]
        for node in nodes:
            head += [node.place, int(node.size > 1)]
        for values in columns.values():
            if np.issubdtype(values.dtype, np.integer):
                head.append(self._place("integers", values.astype(np.int64)))
            else:
                head.append(self._place("columns", values.astype(float)))
        at = self._place("integers", np.array(head, dtype=np.int64))
        self.steps.append([Op.SCORES, 0, head[0], at, 0, 0, 0, 0, 0])

    def program(self, results: Sequence[Node]) -> np.ndarray:
        """All of the program in one block of 8-byte words, half integers, half floating point.

        Parameters
        ----------
        results : sequence of Node
            What a draw is kept as.
        """
        steps = np.array(self.steps, dtype=np.int64).ravel()
        kept = [at for node in results for at in range(node.place, node.place + node.size)]
        kept = np.array([len(kept), *kept], dtype=np.int64)
        integers = np.array(self.integers, dtype=np.int64)
        columns = np.array(self.columns, dtype=float)
        constants = np.concatenate([np.zeros(0), *self.constants])
        parts = [steps, kept, integers, columns.view(np.int64), constants.view(np.int64)]
        starts = np.cumsum([HEAD, *map(len, parts)])
        head = [starts[-1], self.n_dim, len(self.steps), self.used, len(constants), *starts[:-1]]
        return np.concatenate([np.array(head, dtype=np.int64), *parts])

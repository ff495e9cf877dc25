"""What each thread of a team touches while it executes a program: read off its instructions and buffers alone.

Nothing here is the Builder's: the shares of a thread, the elements that an operation reads and writes, and the rule
that nobody may touch what another one writes are written down again. Operations on images are in ``image_oracle.py``.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from fastmlp.kernels import codes
from fastmlp.kernels.activations import gradient_code, value_code
from fastmlp.kernels.loops import nonzeros
from fastmlp.kernels.plan import Layout, Plan

MEMORIES = ("parameters", "right", "workspace", "operands")
BATCH, PAIRS_OF_BATCH = 0, -1
IN_REGISTERS = (value_code("relu"), gradient_code("relu"))


class Touch(NamedTuple):
    """Some elements of an array, as a part of a shaped stretch of it."""

    array: str
    offset: int
    shape: tuple[int, ...]
    part: tuple[slice, ...]
    writes: bool


class Interpreter:
    """Goes through a program for batches of given sizes, and finds where two threads meet in one element.

    Parameters
    ----------
    layout : Layout
    plan : Plan
    threads : int
    whole : bool
        Whether an update reads all of both its operands, as the Builder has it, and not just what its part of the
        weights needs. That costs a meeting or two of a step that is long.
    """

    def __init__(self, layout: Layout, plan: Plan, threads: int, whole: bool = False) -> None:
        self.kind, self.program, self.threads = layout.kind, plan.program, threads
        self.lanes = layout.kind.lanes
        self.most, self.whole = plan.batch, whole
        self.sizes = {
            "parameters": layout.parameters,
            "velocity and squares": layout.states,
            "right": layout.right,
            "workspace": plan.workspace,
            "bytes": plan.workspace * layout.kind.item_bytes,  # of the workspace
            "operands": plan.operands,
            "losses": plan.batch * 3,
            "record.squares": plan.squares,
            "penalties": 3,
        }

    def conflicts(self, batches: tuple[int, ...], without: int | None = None) -> list[str]:
        """Return what two threads touch between two meetings, one of them to write it.

        Parameters
        ----------
        batches : tuple of int
            Rows of each batch; the program is executed for one after the other.
        without : int, optional
            Number of an instruction that is left out.
        """
        found: list[str] = []
        touched, written = (
            {name: np.zeros(size, np.uint8) for name, size in self.sizes.items()} for _ in range(2)
        )
        for step, batch in enumerate(batches):
            for number, one in enumerate(self.program.code):
                if number == without:
                    continue
                if one["operation"] == codes.MEET:
                    for marks in (*touched.values(), *written.values()):
                        marks[...] = 0
                    continue
                seen = set()
                for rank in range(self.threads):
                    for touch in self.touches(one, batch, step, rank):
                        seen.add(touch.array)
                        self._mark(touched, touch, rank)
                        if touch.writes:
                            self._mark(written, touch, rank)
                for array in seen:
                    several = touched[array] & (touched[array] - 1) != 0
                    if ((written[array] != 0) & several).any():
                        found.append(f"instruction {number}, batch {step}: {array}")
        return found

    def written(self, one: np.void, batch: int, rank: int) -> dict[str, np.ndarray]:
        """Return which elements of each array a thread may write in one instruction of the first batch."""
        marks = {name: np.zeros(size, np.uint8) for name, size in self.sizes.items()}
        for touch in self.touches(one, batch, 0, rank):
            if touch.writes:
                self._mark(marks, touch, 0)
        return marks

    def _mark(self, marks: dict[str, np.ndarray], touch: Touch, rank: int) -> None:
        size = int(np.prod(touch.shape))
        assert 0 <= touch.offset <= touch.offset + size <= self.sizes[touch.array], touch
        stretch = marks[touch.array][touch.offset : touch.offset + size]
        stretch.reshape(touch.shape)[touch.part] |= np.uint8(1 << rank)

    # -- one operation -------------------------------------------------------------------------------

    def touches(self, one: np.void, batch: int, step: int, rank: int) -> Iterator[Touch]:
        """Yield what a thread touches in one instruction."""
        panels, rows = self.part(one, batch, rank)
        every = slice(None)
        if one["operation"] == codes.TOTAL:
            yield from self.total(step, rank)
            return
        if panels.start == panels.stop or rows.start == rows.stop:  # nothing to do
            return

        def view(name: str, memory: int | None, part: tuple[slice, ...], writes: bool) -> Touch:
            return self.view(one[name], batch, rank, memory, part, writes)

        parameters, right, workspace, operands = range(4)
        pairs, lanes = self.kind.pairs, self.lanes
        seen = slice(step * self.most + rows.start, step * self.most + rows.stop)
        operation, code = one["operation"], one["code"]
        here = (panels, rows)
        # A group of rows of weights, as rows; and as rows of pairs.
        deep = slice(rows.start * lanes, rows.stop * lanes)
        half_deep = slice(rows.start * lanes // 2, rows.stop * lanes // 2)
        if operation == codes.GATHER:
            yield view("out", workspace, (every, rows), True)
            if one["inputs"]:
                yield view("out", workspace, (self.own(int(one["inputs"]), rank), every), True)
            if pairs:
                yield view("left", operands, (every, rows), True)
                yield view("right", operands, (every, self.in_pairs(rows)), True)
        elif operation == codes.GATHER_MULTIPLY:
            yield view("left", workspace, (every, rows), True)
            yield view("right", parameters, (every, every), False)
            yield view("start", parameters, (every, every), False)
            yield view("out", workspace, here, True)
            yield view("result", workspace, here, True)
        elif operation == codes.MULTIPLY:
            yield view("left", operands, (every, rows), False)
            yield view("right", right, (panels, every), False)
            yield self.start_of(one, batch, rank, here)
            yield view("out", workspace, here, True)
            if code not in (codes.IDENTITY, value_code("relu")):
                yield view("other", workspace, here, False)
            if code not in (codes.IDENTITY, *IN_REGISTERS):
                yield view("result", workspace, here, True)
        elif operation == codes.ELEMENTWISE:
            yield view("left", workspace, here, False)
            yield view("other", workspace, here, False)
            yield view("out", workspace, here, True)
        elif operation == codes.MASK:
            yield view("out", workspace, here, True)
        elif operation == codes.OPERANDS:
            yield view("left", workspace, here, False)
            yield from self.columns_of_pairs(one, batch, rank, here)
            yield view("other", operands, (panels, self.in_pairs(rows)), True)
        elif operation == codes.LOSS:
            yield view("left", workspace, here, False)
            yield view("out", workspace, here, True)
            yield Touch("losses", 0, (self.sizes["losses"],), (seen,), True)
        elif operation == codes.SQUARES:
            yield view("left", parameters, (panels, every), False)
            place = slice(one["units"] + panels.start * lanes, one["units"] + panels.stop * lanes)
            size = (self.sizes["record.squares"],)
            yield Touch("record.squares", 0, size, (place,), True)
        elif operation == codes.UPDATE:
            used = slice(deep.start, min(deep.stop, one["inputs"]))
            yield view("left", operands, (every if self.whole else rows, every), False)
            yield view("right", operands, (every if self.whole else panels, every), False)
            yield view("out", parameters, (panels, used), True)
            weights = self.view(one["out"], batch, rank, parameters, (panels, used), True)
            yield weights._replace(array="velocity and squares")
            if pairs and self.program.buffers[one["result"]]["panels"] > 0:
                yield view("out", parameters, (panels, deep), False)
                yield view("result", right, (panels, half_deep), True)
            if not pairs:
                yield from self.marks_and_sums(one, batch, rank)
        else:
            assert operation == codes.TRANSPOSE, operation
            yield view("left", parameters, (panels, deep), False)
            depth = lanes // 2 if pairs else lanes
            turned = slice(panels.start * depth, panels.stop * depth)
            yield view("out", right, (rows, turned), True)

    def total(self, step: int, rank: int) -> Iterator[Touch]:
        """Yield what the first thread reads to write a penalty down."""
        if rank == 0:
            sizes = (self.sizes["record.squares"],), (self.sizes["penalties"],)
            yield Touch("record.squares", 0, sizes[0], (slice(None),), False)
            yield Touch("penalties", 0, sizes[1], (slice(step, step + 1),), True)

    def start_of(self, one: np.void, batch: int, rank: int, here: tuple[slice, slice]) -> Touch:
        """Return what sums begin with: a bias, a gradient, or zeros that repeat."""
        buffer = self.program.buffers[one["start"]]
        repeats = buffer["panels"] == 1, self.rows_of(buffer, batch) == 1
        part = tuple(
            slice(None) if all_of else own for all_of, own in zip(repeats, here, strict=True)
        )
        return self.view(one["start"], batch, rank, None, part, False)

    def columns_of_pairs(
        self, one: np.void, batch: int, rank: int, here: tuple[slice, slice]
    ) -> Iterator[Touch]:
        """Yield the halves of rows of pairs that panels become; an only panel's other half is cleared."""
        panels, rows = here
        for p in range(panels.start, panels.stop):
            first = (p % 2) * self.lanes // 2
            last = self.lanes if p == one["panels"] - 1 else first + self.lanes // 2
            part = (slice(p // 2, p // 2 + 1), rows, slice(first, last))
            yield self.view(one["out"], batch, rank, 3, part, True)

    def marks_and_sums(self, one: np.void, batch: int, rank: int) -> Iterator[Touch]:
        """Yield a thread's own memory, as much as leaving zeros out takes of it."""
        sizes = nonzeros.room(int(one["panels"]), self.lanes, batch, self.kind.item_bytes)
        for name, size in zip(("start", "other"), sizes, strict=True):
            buffer = self.program.buffers[one[name]]
            place = int(buffer["offset"] + rank * buffer["copy"])
            yield Touch("workspace", place, (size,), (slice(None),), True)

    # -- buffers and shares --------------------------------------------------------------------------

    def view(
        self,
        number: int,
        batch: int,
        rank: int,
        memory: int | None,
        part: tuple[slice, ...],
        writes: bool,
    ) -> Touch:
        """Return a part of a buffer, in the array that the operation finds it in."""
        buffer = self.program.buffers[number]
        name = MEMORIES[int(buffer["memory"]) if memory is None else memory]
        if not self.kind.pairs:  # products read numbers where they are
            name = {"right": "parameters", "operands": "workspace"}.get(name, name)
        place = int(buffer["offset"] + rank * buffer["copy"])
        shape = (int(buffer["panels"]), self.rows_of(buffer, batch), self.lanes)
        return Touch(name, place, shape, part, writes)

    def own(self, count: int, rank: int) -> slice:
        """Return a thread's share of so many."""
        return slice(count * rank // self.threads, count * (rank + 1) // self.threads)

    @staticmethod
    def rows_of(buffer: np.void, batch: int) -> int:
        """Return how many rows a buffer has in this batch."""
        rows = int(buffer["rows"])
        return {BATCH: batch, PAIRS_OF_BATCH: -(-batch // 2)}.get(rows, rows)

    @staticmethod
    def in_pairs(rows: slice) -> slice:
        """Return the pairs that hold rows."""
        return slice(rows.start // 2, -(-rows.stop // 2))

    def part(self, one: np.void, batch: int, rank: int) -> tuple[slice, slice]:
        """Return a thread's panels, and its rows of the batch or groups of rows of the weights."""
        panels = int(one["panels"])
        rows = int(one["slabs"]) or batch

        def own(count: int) -> slice:
            return self.own(count, rank)

        share = one["share"]
        if share == codes.PANELS:
            return own(panels), slice(0, rows)
        if share == codes.SLABS:
            return slice(0, panels), own(rows)
        if share == codes.ROWS:  # two at a time
            pairs = own((rows + 1) // 2)
            return slice(0, panels), slice(min(rows, 2 * pairs.start), min(rows, 2 * pairs.stop))
        if share == codes.GROUPS:  # sixteen at a time
            groups = own(-(-rows // 16))
            return slice(0, panels), slice(
                min(rows, 16 * groups.start), min(rows, 16 * groups.stop)
            )
        if share == codes.FIRST and rank > 0:
            return slice(0, 0), slice(0, 0)
        assert share in (codes.COPIES, codes.FIRST)
        return slice(0, panels), slice(0, rows)

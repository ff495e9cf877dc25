"""What each thread touches in the operations on images: ``program_oracle.py`` for networks with convolutions.

A thread takes whole groups of sixteen images, or rows of each image. Images [N, C, H, W] lie as
[blocks, C, H, W, lanes] with a border around H and W; what a pool or convolution chose lies as bytes
[blocks, C, H, W, lanes] in a buffer of numbers.
"""

from collections.abc import Iterator

import numpy as np
from program_oracle import Interpreter, Touch

from fastmlp.kernels import codes

GROUP, TAPS = 16, 5
EVERY = slice(None)


class ImageInterpreter(Interpreter):
    """Goes through any program."""

    def touches(self, one: np.void, batch: int, step: int, rank: int) -> Iterator[Touch]:
        """Yield what a thread touches in one instruction."""
        if one["operation"] < codes.GATHER_IMAGES:
            yield from super().touches(one, batch, step, rank)
        elif one["operation"] == codes.STEP_OF_SUMS:
            yield from self.step(one, batch, rank)
        else:
            yield from _ImageOperation(self, one, batch, rank).touches()

    def step(self, one: np.void, batch: int, rank: int) -> Iterator[Touch]:
        """Yield what a step of weights, whose gradients are there in parts, reads and writes."""
        panels, rows = self.part(one, batch, rank)
        if rows.start == rows.stop:
            return
        count = int(one["panels"])
        read = slice(int(one["inputs"]) + rows.start, int(one["inputs"]) + rows.stop)
        for part in range(-(-batch // GROUP) if one["code"] else 1):
            of_part = slice(part * count + panels.start, part * count + panels.stop)
            yield self.view(one["left"], batch, rank, None, (of_part, read), False)
        weights = self.view(one["right"], batch, rank, None, (panels, rows), True)
        yield weights
        yield weights._replace(array="velocity and squares")


class _ImageOperation:
    """One instruction in one thread."""

    def __init__(self, oracle: Interpreter, one: np.void, batch: int, rank: int) -> None:
        assert oracle.program.images is not None
        self.oracle, self.one, self.batch, self.rank = oracle, one, batch, rank
        self.lanes = oracle.lanes
        self.g = oracle.program.images.shapes[one["shape"]]
        groups, self.blocks = -(-batch // GROUP), -(-batch // self.lanes)
        self.each = GROUP // self.lanes
        inside = one["share"] == codes.INSIDE
        self.part, self.parts = (rank, oracle.threads) if inside else (0, 1)
        self.groups = range(groups) if inside else range(groups)[self.share_of(groups, True)]
        self.own = range(
            min(self.blocks, self.groups.start * self.each),
            min(self.blocks, self.groups.stop * self.each),
        )

    def share_of(self, count: int, of_team: bool = False) -> slice:
        """Return this thread's part of so many rows of each image, or of what a team shares."""
        part, parts = (self.rank, self.oracle.threads) if of_team else (self.part, self.parts)
        return slice(count * part // parts, count * (part + 1) // parts)

    # -- buffers -----------------------------------------------------------------------------------

    def buffer(self, name: str) -> np.void:
        """Return a buffer that an instruction names."""
        return self.oracle.program.buffers[self.one[name]]

    def panels(self, name: str, part: tuple[slice, ...], writes: bool) -> Touch:
        """Return a part of a buffer [panels, rows, lanes]."""
        return self.oracle.view(self.one[name], self.batch, self.rank, None, part, writes)

    def images(
        self,
        name: str,
        shape: tuple[int, int, int, int],
        part: tuple[slice, ...],
        writes: bool,
        blocks: range | None = None,
    ) -> Iterator[Touch]:
        """Yield (channels, rows, columns) of blocks of images (C, H, W, halo); own blocks unless told."""
        channels, height, width, halo = map(int, shape)
        buffer = self.buffer(name)
        rows, columns = (
            slice(halo + start, halo + stop)
            for (start, stop, _), size in zip(
                (part[1].indices(height), part[2].indices(width)), (height, width), strict=True
            )
        )
        padded = (channels, height + 2 * halo, width + 2 * halo, self.lanes)
        for block in self.own if blocks is None else blocks:
            assert np.prod(padded[:3]) <= buffer["rows"], name
            assert block < buffer["panels"], name
            place = int(buffer["offset"] + block * buffer["rows"] * self.lanes)
            place += int(self.rank * buffer["copy"])
            yield Touch("workspace", place, padded, (part[0], rows, columns), writes)

    def whole(self, name: str) -> Touch:
        """Return own blocks of images, with all that is around them, to be read."""
        return self.panels(name, (slice(self.own.start, self.own.stop),), False)

    def bytes(
        self, name: str, shape: tuple[int, int, int], rows: slice, writes: bool
    ) -> Iterator[Touch]:
        """Yield rows of the bytes that say which number of a window was the largest."""
        channels, height, width = map(int, shape)
        buffer, item = self.buffer(name), self.oracle.kind.item_bytes
        size = channels * height * width * self.lanes
        assert size * buffer["panels"] <= buffer["panels"] * buffer["rows"] * self.lanes * item
        for block in self.own:
            place = int(buffer["offset"] * item + block * size)
            yield Touch(
                "bytes", place, (channels, height, width * self.lanes), (EVERY, rows), writes
            )

    # -- operations --------------------------------------------------------------------------------

    def touches(self) -> Iterator[Touch]:
        """Yield what the instruction touches."""
        g, operation = self.g, self.one["operation"]
        given = g["channels"], g["height"], g["width"], g["halo"]
        made = g["outputs"], g["out_height"], g["out_width"], g["out_halo"]
        rows, out_rows = self.share_of(int(g["height"])), self.share_of(int(g["out_height"]))
        here, there = (EVERY, rows, EVERY), (EVERY, out_rows, EVERY)
        if operation in (codes.GATHER_IMAGES, codes.UNFLATTEN):
            yield from self.from_rows(made, operation == codes.GATHER_IMAGES)
        elif operation == codes.FLATTEN:
            yield from self.flatten()
        elif operation == codes.CONVOLVE:
            yield self.whole("left")
            yield self.panels("right", (EVERY, slice(0, self.taps)), False)
            yield self.panels("start", (EVERY,), False)
            yield from self.images("out", made, there, True)
            if g["pool"] == 2:
                yield from self.bytes("other", made[:3], out_rows, True)
        elif operation == codes.CONVOLUTION_GRADIENTS:
            yield from self.gradients()
        elif operation == codes.MAP_IMAGES:
            yield from self.images("left", given, here, False)
            yield from self.images("other", (*given[:3], g["other_halo"]), here, False)
            yield from self.images("out", made, here, True)
        elif operation == codes.MASK_IMAGES:
            yield from self.images("out", made, here, True)
        elif operation == codes.POOL:
            yield self.whole("left")
            yield from self.images("out", made, there, True)
            if not self.one["code"]:
                yield from self.bytes("other", made[:3], out_rows, True)
        elif operation == codes.UNPOOL:
            yield from self.unpool(given, made, out_rows)
        elif operation == codes.NORMALIZE:
            yield from self.images("left", given, here, False)
            for name in ("right", "result", "start"):
                yield self.panels(name, (EVERY,), False)
            yield from self.images("out", made, here, True)
        elif operation == codes.NORMALIZATION_GRADIENT:
            yield from self.images("left", given, here, False)
            yield from self.images("other", made, here, False)
            for name in ("right", "start"):
                yield self.panels(name, (EVERY,), False)
            yield from self.images("out", made, here, True)
        else:
            yield from self.measure()

    @property
    def taps(self) -> int:
        """How many weights an output of a convolution has."""
        return int(self.g["channels"] * self.g["kernel"] ** 2)

    def from_rows(self, made: tuple[int, int, int, int], gathers: bool) -> Iterator[Touch]:
        """Yield what it takes to write images from rows; one thread does it where images are shared."""
        if self.part > 0:
            return
        if gathers and self.own:
            yield self.panels("left", (EVERY, slice(0, min(GROUP, self.batch))), True)
        if not gathers:
            yield self.panels("left", (EVERY, self.images_of(self.own)), False)
        yield from self.images("out", made, (EVERY, EVERY, EVERY), True)

    def images_of(self, blocks: range) -> slice:
        """Return the images that lie in some blocks."""
        first, last = (min(self.batch, end * self.lanes) for end in (blocks.start, blocks.stop))
        return slice(first, last)

    def flatten(self) -> Iterator[Touch]:
        """Yield images, as many panels of rows that they fill."""
        panels = self.share_of(int(self.buffer("out")["panels"]))
        pixels = slice(panels.start * self.lanes, panels.stop * self.lanes)
        yield self.panels("left", (slice(self.own.start, self.own.stop), pixels), False)
        yield self.panels("out", (panels, self.images_of(self.own)), True)

    def unpool(
        self, given: tuple[int, ...], made: tuple[int, int, int, int], out_rows: slice
    ) -> Iterator[Touch]:
        """Yield windows, and what none covers, which the first thread clears."""
        channels, height, width, _ = map(int, given)
        size = int(self.g["pool"])
        covered = slice(0, int(made[2]) * size)
        there = slice(out_rows.start * size, out_rows.stop * size)
        yield from self.images("left", made, (EVERY, out_rows, EVERY), False)
        if not self.one["code"]:
            yield from self.bytes("other", made[:3], out_rows, False)
        shape = channels, height, width, 0
        yield from self.images("out", shape, (EVERY, there, covered), True)
        if self.part == 0:
            beside, below = slice(covered.stop, width), slice(int(made[1]) * size, height)
            yield from self.images("out", shape, (EVERY, EVERY, beside), True)
            yield from self.images("out", shape, (EVERY, below, EVERY), True)

    def gradients(self) -> Iterator[Touch]:
        """Yield the gradient of a convolution on its way to its input and to its weights."""
        g, what = self.g, int(self.one["code"])
        if not self.groups:
            return
        made = g["outputs"], g["out_height"], g["out_width"], 0
        if what & codes.SPREAD:
            out_rows = self.share_of(int(g["out_height"]))
            yield from self.images("left", made, (EVERY, out_rows, EVERY), False)
            if g["pool"] == 2:
                yield from self.bytes("start", made[:3], out_rows, False)
            yield from self.spread()
        if what & codes.INPUT_GRADIENT:
            yield self.panels("right", (EVERY, slice(0, self.taps)), False)
            rows = self.share_of(int(g["height"]))
            shape = g["channels"], g["height"], g["width"], 0
            yield from self.images("out", shape, (EVERY, rows, EVERY), True)
            yield self.spread_blocks()
            if g["relu_below"]:
                yield self.whole("other")
        if what & codes.WEIGHT_GRADIENT:
            yield self.spread_blocks()
            yield self.whole("other")
            yield self.whole("left")
            yield from self.sums()
            yield self.panels("units", (EVERY,), True)

    def spread_blocks(self) -> Touch:
        """Return the gradients of own images, side by side: a copy of one group, or all."""
        if self.buffer("result")["copy"]:
            return self.panels("result", (EVERY,), False)
        blocks = slice(self.groups.start * self.each, self.groups.stop * self.each)
        return self.panels("result", (blocks,), False)

    def spread(self) -> Iterator[Touch]:
        """Yield own rows of gradients, side by side with a border; blocks that are not there are cleared by one."""
        g, buffer = self.g, self.buffer("result")
        height, outputs = int(g["rows"]), int(g["outputs"])
        is_group = bool(buffer["copy"])
        if is_group and not self.one["code"] & codes.INPUT_GRADIENT:
            height = int(g["strip"])
        shape = (height + 2, int(g["columns"]) + 2, outputs | 1, self.lanes)
        assert np.prod(shape[:3]) == buffer["rows"]
        rows = self.share_of(height // int(g["pool"]))
        inner = slice(1 + rows.start * int(g["pool"]), 1 + rows.stop * int(g["pool"]))
        part = (inner, slice(1, shape[1] - 1), slice(0, outputs))
        for group in self.groups:
            for block in range(group * self.each, (group + 1) * self.each):
                place = block - group * self.each if is_group else block
                assert place < buffer["panels"]
                offset = int(buffer["offset"] + self.rank * buffer["copy"])
                offset += int(place * buffer["rows"] * self.lanes)
                is_there = block < self.blocks
                if is_there or self.part == 0:
                    touched = part if is_there else (EVERY,)
                    yield Touch("workspace", offset, shape, touched, True)

    def sums(self) -> Iterator[Touch]:
        """Yield the rows of sums of own tiles of taps, five each, and of biases those of own outputs."""
        outputs = int(self.g["outputs"])
        panels = -(-outputs // self.lanes)
        own = self.share_of(-(-self.taps // TAPS))
        of_biases = self.share_of(outputs)
        rows = slice(own.start * TAPS, min(own.stop * TAPS, self.taps))
        for group in self.groups:
            for p in range(panels):
                place = slice(group * panels + p, group * panels + p + 1)
                first, count = p * self.lanes, min(self.lanes, outputs - p * self.lanes)
                biases = (min(max(o - first, 0), count) for o in (of_biases.start, of_biases.stop))
                last = slice(self.taps, self.taps + 1)
                for part in ((rows, slice(0, count)), (last, slice(*biases))):
                    yield self.oracle.view(
                        self.one["inputs"], self.batch, self.rank, None, (place, *part), True
                    )

    def measure(self) -> Iterator[Touch]:
        """Yield the numbers of own channels, for a batch's mean and deviation or for their gradients."""
        g, operation = self.g, self.one["operation"]
        given = g["channels"], g["height"], g["width"], 0
        panels = -(-int(g["channels"]) // self.lanes)
        if operation == codes.MEASURE and not self.one["code"]:
            for name in ("right", "result"):
                yield self.panels(name, (EVERY,), False)
            yield self.panels("start", (slice(0, 2 * panels),), True)
            return
        own = self.share_of(int(g["channels"]), of_team=True)
        everywhere = range(self.blocks)
        if own.start == own.stop:
            return
        yield from self.images("left", given, (own, EVERY, EVERY), False, everywhere)
        room = "other"
        if operation == codes.MEASURE_GRADIENTS:
            room = "inputs"
            yield from self.images("other", given, (own, EVERY, EVERY), False, everywhere)
        yield self.panels(room, (EVERY,), True)
        for c in range(own.start, own.stop):
            p, lane = c // self.lanes, slice(c % self.lanes, c % self.lanes + 1)
            for kept in range(4):  # mean, deviation; mean gradients of bias and weight
                writes = (kept >= 2) == (operation == codes.MEASURE_GRADIENTS)
                if writes or kept < 2:
                    place = slice(kept * panels + p, kept * panels + p + 1)
                    yield self.panels("start", (place, EVERY, lane), writes)
            place = slice(p, p + 1)
            if operation == codes.MEASURE_GRADIENTS:
                yield self.panels("out", (place, EVERY, lane), True)
            else:
                for name in ("right", "result"):
                    yield self.panels(name, (place, slice(0, 1), lane), True)

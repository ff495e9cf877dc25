"""Rows of a file into memory, without the interpreter between two of them.

A call from Python for each row costs several times what the system needs for it, and no two threads of Python make such
calls at once.
"""

import numpy as np
from numba import types

from fastmlp.kernels.jit import helper, kernel
from fastmlp.kernels.team import first_of, meet

# Of the C library; the address as a number.
pread = types.ExternalFunction(
    "pread", types.intp(types.int32, types.uintp, types.uintp, types.int64)
)


# Calls without a byte that are made once more: a signal may have ended one before it began.
TRIES = 100


@helper
def read_whole(descriptor, place, width, address):
    """Read `width` bytes of a file from `place` on, and return whether there were as many."""
    done, failures = np.int64(0), np.int64(0)
    while done < width:
        to, length = np.uintp(address + done), np.uintp(width - done)
        count = pread(np.int32(descriptor), to, length, np.int64(place + done))
        if count > 0:
            done += count
        else:
            failures += 1
            if count == 0 or failures > TRIES:
                return False
    return True


@kernel
def read_rows(descriptor, start, width, numbers, address, failed, team):
    """Read rows with a team, and return to each of its threads whether all of them were read.

    Parameters
    ----------
    descriptor : int
        Of a file in which rows of `width` bytes lie one behind the other from byte `start` on.
    numbers : array [n] of int64
        Of the rows, from 0.
    address : int
        Of memory for n rows.
    failed : array [threads] of int64
        Zeros at first; that of a thread becomes 1 if it could not read a row.
    team : Team
    """
    first = first_of(numbers.shape[0], team.rank, team.size)
    for i in range(first, first_of(numbers.shape[0], team.rank + 1, team.size)):
        if not read_whole(descriptor, start + numbers[i] * width, width, address + i * width):
            failed[team.rank] = 1
            break
    meet(team.barrier, team.size)
    return not failed[: team.size].any()

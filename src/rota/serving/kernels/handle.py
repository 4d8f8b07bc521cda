"""A state as one small array of addresses: what makes a call from Python cheap.

Handing twenty arrays to a compiled function costs more than most of the functions take: each is looked at, and counted
in and out again wherever it is passed on. A handle is one array; what is opened from it is borrowed, and not counted.
Whoever makes a handle keeps the state for as long as the handle is used.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from rota.serving.kernels.state import INSTANCE, REQUEST, ROW, SEGMENT, State


def handle(state: State) -> NDArray[np.int64]:
    """(fields, 4) address and shape of every array of a state; all must be contiguous."""
    found = np.zeros((len(state), 4), np.int64)
    for row, array in zip(found, state, strict=True):
        if not array.flags.c_contiguous:
            raise ValueError("a handle needs contiguous arrays")
        row[0], row[1 : 1 + array.ndim] = array.ctypes.data, array.shape
    return found


def _typed(typing: Any, address: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())

    return types.voidptr(address), generate


_pointer: Any = intrinsic(_typed)
"""An address as an untyped pointer, in compiled code."""


@njit(cache=True)
def _vector(place, dtype):
    return carray(_pointer(place[0]), (place[1],), dtype)


@njit(cache=True)
def _matrix(place, dtype):
    return carray(_pointer(place[0]), (place[1], place[2]), dtype)


@njit(cache=True)
def opened(h):
    """The state behind a handle, borrowed; fields in the order of `State`."""
    whole = np.int64
    return State(
        _vector(h[0], INSTANCE), _vector(h[1], REQUEST), _matrix(h[2], whole), _matrix(h[3], whole), _matrix(h[4], np.float64),
        _matrix(h[5], whole), _matrix(h[6], np.float64), _matrix(h[7], np.float64), _vector(h[8], whole), _vector(h[9], ROW),
        _vector(h[10], SEGMENT), _vector(h[11], whole), carray(_pointer(h[12, 0]), (h[12, 1], h[12, 2], h[12, 3]), whole),
        _vector(h[13], whole), _vector(h[14], whole), _matrix(h[15], whole), _matrix(h[16], whole), _matrix(h[17], whole),
        _matrix(h[18], whole), _matrix(h[19], whole),
    )  # fmt: skip

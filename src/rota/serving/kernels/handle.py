"""A state as one small array of addresses: what makes a call from Python cheap.

Handing twenty arrays to a compiled function costs more than most of the functions take: each is looked at, and counted
in and out again wherever it is passed on. A handle is one array; what is opened from it is borrowed, and not counted.
Whoever makes a handle keeps the state for as long as the handle is used.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from llvmlite import ir
from numba import from_dtype, njit, types
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array
from numpy.typing import NDArray

from rota.serving.kernels.state import ARRAYS, State


def _digest() -> str:
    """Of the sources of this folder."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]


FIELD = f"kernels_{_digest()}"
PLACES = np.dtype([(FIELD, np.int64, (4,))])
"""One array's address and shape. The name of the field is part of the key that compiled code is cached under."""


def handle(state: State) -> NDArray[np.void]:
    """(fields,) PLACES: address and shape of every array of a state.

    Raises:
        ValueError: an array that is not contiguous, or not what `ARRAYS` says.
    """
    found = np.zeros(len(state), PLACES)
    for row, array, name, expected in zip(found[FIELD], state, state._fields, ARRAYS, strict=True):
        if not array.flags.c_contiguous or (array.dtype, array.ndim) != expected:
            raise ValueError(f"{name}: a handle needs a contiguous array of {expected[1]} dimensions of {expected[0]}")
        row[0], row[1 : 1 + array.ndim] = array.ctypes.data, array.shape
    return found


def _opened(_typing: Any, handle: Any) -> Any:
    kinds = [types.Array(from_dtype(dtype), ndim, "C") for dtype, ndim in ARRAYS]

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        """LLVM code that reads the places and makes a `State` of arrays that own nothing."""
        word = context.get_value_type(types.intp)
        places = context.make_array(handle)(context, builder, arguments[0]).data
        places = builder.bitcast(places, word.as_pointer())

        def read(field: int, column: int) -> Any:
            return builder.load(builder.gep(places, [ir.Constant(word, 4 * field + column)]))

        arrays = []
        for field, kind in enumerate(kinds):
            array = context.make_array(kind)(context, builder)
            shape = [read(field, 1 + axis) for axis in range(kind.ndim)]
            size = context.get_abi_sizeof(context.get_data_type(kind.dtype))
            strides = [ir.Constant(word, size)]
            for length in shape[:0:-1]:
                strides.insert(0, builder.mul(strides[0], length))
            data = builder.inttoptr(read(field, 0), array.data.type)
            populate_array(array, data, shape, strides, ir.Constant(word, size), meminfo=None)
            arrays.append(array._getvalue())
        return context.make_tuple(builder, signature.return_type, arrays)

    return types.NamedTuple(kinds, State)(handle), generate


opened: Any = intrinsic(_opened)
"""In compiled code: the state behind a handle, borrowed."""

borrowing: Any = njit(cache=True, _nrt=False)  # type: ignore[call-overload]  # an option that Numba does not declare
"""Compiles a function that opens a handle; without reference counting, since what is opened is borrowed."""

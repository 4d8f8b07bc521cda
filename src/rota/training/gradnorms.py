"""Recording of gradient norms while a Torch model trains.

recorder = GradNormRecorder(model.parameters(), total=10_000, path="norms.rota")
for batch in batches:
    loss(batch).backward()
    recorder.record()
    optimizer.step()
recorder.close()
refined = refine(recorder.result())
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rota.core.errors import InputError, optional
from rota.training.norm_file import NormRecord, Row, Stored, append_rows, read_rows, write_rows

if TYPE_CHECKING:
    import torch

BLOCK = 64
"""Steps whose norms stay on the device before they are fetched, and written, together."""
SMALL = 1 << 18
"""Elements up to which all gradients are joined first: one call for all of them, not one for each."""


class GradNormRecorder:
    """L1 and L2 norms of the whole gradient, step by step, in bounded memory.

    Every `every`-th step is recorded; once `most` rows are held, every second one is dropped, and the stride doubles. Norms are
    fetched from the device in blocks, so that recording does not wait for it. With `path`, each block is appended to a file (see
    `norm_file`). A record that is there already is replaced at the first write, unless the recorder is resumed: by
    `load_state_dict`, which goes back to a checkpoint, or by `resume`, which goes on after the last step that the file knows.
    Under a gradient scaler, record after `unscale_`.

    Args:
        parameters: of the model; those without a gradient do not count.
        total: steps of the run.
        path: where to write; None keeps the record in memory.
        every: steps between records, >= 1.
        most: rows held at most, >= 2.
        resume: go on with the record in `path`, if there is one.

    Raises:
        InputError: a count out of range, a file that is no record, or, to be resumed, of a run of another length.
    """

    def __init__(
        self,
        parameters: Iterable[torch.Tensor],
        total: int,
        path: str | os.PathLike[str] | None = None,
        every: int = 1,
        most: int = 16_384,
        resume: bool = False,
    ) -> None:
        for name, given, least in (("total", total, 1), ("every", every, 1), ("most", most, 2)):
            if given < least:
                raise InputError(name, str(given), f"a whole number >= {least}")
        self.parameters = list(parameters)
        self.total, self.most, self.stride = total, most, every
        self.path = Path(path) if path is not None else None
        self._rows: list[Row] = []
        self._pending: list[tuple[int, torch.Tensor, float]] = []
        self._next = self._known = 0  # `_known`: the next step, as the file has it
        self._begun = False  # the file holds this record, not an older one
        self._torch = optional("torch")
        if self.path is not None:
            self._open(self.path, resume)

    def record(self, step: int | None = None, lr: float | None = None) -> None:
        """Note the norms of the gradients as they are now; call it after `backward`.

        Args:
            step: of the run; left out, the one after the last.
            lr: the learning rate of this step, if it is to be kept.

        Raises:
            InputError: a step that is past, or outside the run; the run is over; no parameter has a gradient; the file is gone.
        """
        step = self._next if step is None else step
        if self._next >= self.total:
            raise InputError("step", str(step), f"none, as the run of {self.total} steps is over")
        if not self._next <= step < self.total:
            raise InputError("step", str(step), f"one from {self._next} to {self.total - 1} (of {self.total} steps)")
        if step % self.stride == 0:
            self._pending.append((step, self._norms(), math.nan if lr is None else float(lr)))
        self._next = step + 1
        if len(self._pending) >= BLOCK:
            self.flush()

    def flush(self) -> None:
        """Fetch what is still on the device, and write it."""
        rows = self._fetched()
        self._rows += rows
        thinned = self._thin()
        if self.path is None or self._known == self._next:
            return
        if thinned or not self._begun:
            self._write(self.path)
        else:
            append_rows(self.path, rows, self._next)
            self._known = self._next

    def result(self) -> NormRecord:
        """What has been recorded so far."""
        self.flush()
        steps, l1, l2, rates = (np.array([row[k] for row in self._rows]) for k in range(4))
        known = None if not len(rates) or np.isnan(rates).all() else rates
        return NormRecord(steps.astype(np.int64), l1, l2, self.total, known)

    def close(self) -> None:
        """Write the rest; the same as `flush`, and may be called again."""
        self.flush()

    def __enter__(self) -> GradNormRecorder:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def state_dict(self) -> dict[str, Any]:
        """The next step, for a checkpoint; with a path the norms are in the file and their steps in here, without one the norms."""
        self.flush()
        return {
            "next": self._next,
            "total": self.total,
            "stride": self.stride,
            "path": str(self.path.resolve()) if self.path else None,
            "steps": [row[0] for row in self._rows],
            "rows": [] if self.path else [*self._rows],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to a checkpoint: rows recorded after it are forgotten.

        Rows that the state left in a file are read from `path`, or, without one, from the file they were written to.

        Raises:
            InputError: something else than a state, one of a run of another length, or a file without rows that it should have.
        """
        if lacking := [key for key in ("next", "total", "stride", "path", "steps", "rows") if key not in state]:
            raise InputError("state", f"one without {', '.join(lacking)}", "what state_dict() gave")
        if state["total"] != self.total:
            raise InputError("state: total", f"a run of {state['total']} steps", f"one of {self.total} steps")
        held, stride = [tuple(row) for row in state["rows"]], state["stride"]
        if state["steps"] and state["path"] is not None:
            _, stride, _, held = self._left(self.path or Path(state["path"]), state["steps"])
        self._pending.clear()
        self._next, self.stride = state["next"], max(self.stride, state["stride"], stride)
        self._rows = [row for row in held if row[0] < self._next]
        self._thin()
        if self.path is not None:
            self._write(self.path)

    def _norms(self) -> torch.Tensor:
        """(2,) L1 and L2 norm of the whole gradient, on the device."""
        torch = self._torch
        grads = [p.grad for p in self.parameters if p.grad is not None]
        if not grads:
            raise InputError("gradients", "none", "record() after backward(), before they are set to None")
        grads = [g.coalesce().values() if g.is_sparse else g for g in grads]
        home = grads[0].device
        with torch.no_grad():
            if sum(g.numel() for g in grads) <= SMALL and all(g.device == home for g in grads):
                grads = [torch.cat([g.reshape(-1) for g in grads])]
            l1, l2 = (torch.stack([n.to(home) for n in each]) for each in (self._sums(grads), self._foreach(grads, 2)))
            return torch.stack([l1.sum(), torch.linalg.vector_norm(l2)])

    def _sums(self, grads: list[torch.Tensor]) -> list[torch.Tensor]:
        """L1 norms; on a CPU as sums of magnitudes, which is several times as fast there as Torch's norm of order 1."""
        if any(g.device.type != "cpu" for g in grads):
            return self._foreach(grads, 1)
        return [g.abs().sum(dtype=self._torch.promote_types(g.dtype, self._torch.float32)) for g in grads]

    def _foreach(self, grads: list[torch.Tensor], power: int) -> list[torch.Tensor]:
        """Norms in as few kernels as the device allows; half precision is summed in single."""
        widest = reduce(self._torch.promote_types, (g.dtype for g in grads), self._torch.float32)
        alike = all(g.dtype == widest for g in grads)
        found: list[torch.Tensor] = self._torch._foreach_norm(grads, power, None if alike else widest)
        return found

    def _fetched(self) -> list[Row]:
        if not self._pending:
            return []
        found = self._torch.stack([norms for _, norms, _ in self._pending]).tolist()
        rows = [(step, l1, l2, lr) for (step, _, lr), (l1, l2) in zip(self._pending, found, strict=True)]
        self._pending.clear()
        return rows

    def _thin(self) -> bool:
        """Drop rows until no more than `most` are held; whether that was needed."""
        before = self.stride
        while len(self._rows) > self.most:
            self.stride *= 2
            self._rows = [row for row in self._rows if row[0] % self.stride == 0]
        return self.stride > before

    def _open(self, path: Path, resume: bool) -> None:
        there = path.exists() and path.stat().st_size > 0
        stored = read_rows(path) if there else None
        if stored and resume:
            self._same_run(path, stored)
            self.stride, self._next, self._rows = max(self.stride, stored.stride), stored.next, stored.rows
        if resume or not there:
            self._write(path)

    def _write(self, path: Path) -> None:
        write_rows(path, self.total, self.stride, self._rows, self._next)
        self._begun, self._known = True, self._next

    def _left(self, path: Path, steps: list[int]) -> Stored:
        """What the file holds, if that is all that was recorded at these steps (or what thinning leaves of it)."""
        stored = read_rows(path)
        self._same_run(path, stored)
        held = {row[0] for row in stored.rows}
        lost = [step for step in steps if step % stored.stride == 0 and step not in held]
        if lost:
            expected = f"the {len(steps)} rows that the state says were written"
            raise InputError(str(path), f"no row of step {lost[0]}", expected)
        return stored

    def _same_run(self, path: Path, stored: Stored) -> None:
        if stored.total != self.total:
            raise InputError(str(path), f"the record of a run of {stored.total} steps", f"one of {self.total} steps")

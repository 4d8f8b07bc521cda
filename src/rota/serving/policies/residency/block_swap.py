"""Block swap: as many sequences run as the GPU's KV blocks hold; the others wait, or are swapped out whole."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import numpy as np

from rota.core.errors import Infeasible
from rota.core.registry import policy
from rota.serving.model import BLOCK, blocks_for
from rota.serving.residency.model import COLUMNS, OfflineBatch, Placement


@policy("serving.residency", "block-swap")
class BlockSwap:
    """vLLM's residency: first come, first served over 16-token blocks; out of blocks, the last sequence is swapped out.

    After Kwon et al., "Efficient Memory Management for LLM Serving with PagedAttention" (SOSP 2023). Attention is dense
    and only over resident tokens. Swapped sequences return before new ones are admitted, in a step without preemption.

    Args:
        watermark: share of the blocks kept free at admission.
        kv_bits: 16 (FP16) or 8 (INT8).
    """

    def __init__(self, watermark: float = 0.01, kv_bits: int = 16) -> None:
        self.watermark, self.kv_bits = watermark, kv_bits

    def plan(self, problem: OfflineBatch) -> Placement:
        """Runs the scheduler to the end.

        Raises:
            Infeasible: the GPU does not hold one whole sequence, or the host not what is swapped out.
        """
        room = problem.kv_room
        if self.kv_bits < 16:
            room -= problem.model.kv_bytes(16) / problem.model.layers * problem.batch * int(problem.context[-1])
        blocks = int(room // (BLOCK * problem.model.kv_bytes(self.kv_bits)))
        engine = _Engine(problem, blocks, int(self.watermark * blocks))
        if blocks - engine.watermark < blocks_for(int(problem.context[-1])):
            raise Infeasible(
                f"{problem.device.name} has room for {max(blocks, 0)} KV blocks, too few for one whole sequence"
            )
        rows = engine.run()
        columns = {name: np.array([row.get(name, 0) for row in rows], dtype=np.int64) for name in COLUMNS}
        host = problem.model.kv_bytes(self.kv_bits) * columns["cpu"].max()
        if host > problem.device.host_memory:
            raise Infeasible(
                f"swapping needs {host / 1e9:.1f} GB on the host, which has {problem.device.host_memory / 1e9:.1f} GB"
            )
        return Placement(**columns, kv_bits=self.kv_bits)  # type: ignore[arg-type]


class _Engine:
    """The scheduler's state: tokens of each sequence, and who runs, waits or is swapped out."""

    def __init__(self, problem: OfflineBatch, blocks: int, watermark: int) -> None:
        self.prompt, self.final = problem.prompt, int(problem.context[-1])
        self.free, self.watermark = blocks, watermark
        self.tokens = [0] * problem.batch
        self.running: list[int] = []
        self.swapped: deque[int] = deque()
        self.waiting = deque(range(problem.batch))

    def run(self) -> list[dict[str, int]]:
        rows = []
        while self.running or self.swapped or self.waiting:
            rows.append(self.step())
        return rows

    def step(self) -> dict[str, int]:
        """One iteration: preempt for want of room, else bring back the swapped, else admit the waiting; then decode."""
        stored = self._preempt()
        kept = self._bring_back() if not stored else 0
        decoding = list(self.running)
        for i in decoding:
            self._grow(i, 1)
        admitted = self._admit() if not stored and not self.swapped else 0
        gpu, attended = self._held(self.running), self._held(decoding)
        row = {
            "decoding": len(decoding), "prefill": admitted * self.prompt, "gpu": gpu,
            "cpu": self._held(self.swapped), "attended_gpu": attended - kept,
            "attended_cpu": kept, "loaded": kept, "kept": kept, "stored": stored,
        }  # fmt: skip
        row["freed"] = self._finish()
        return row

    def _preempt(self) -> int:
        """Swaps out from the back until every running sequence can grow by a token; tokens stored."""
        stored = 0
        while sum(self._needs(i, 1) for i in self.running) > self.free:
            last = self.running.pop()
            self.free += blocks_for(self.tokens[last])
            self.swapped.appendleft(last)
            stored += self.tokens[last]
        return stored

    def _bring_back(self) -> int:
        """Swaps in from the front while there is room for the sequence and a token for everyone; tokens loaded."""
        loaded = 0
        while self.swapped:
            first = self.swapped[0]
            growth = sum(self._needs(i, 1) for i in self.running) + blocks_for(self.tokens[first] + 1)
            if growth + self.watermark > self.free:
                break
            self.free -= blocks_for(self.tokens[first])
            self.running.append(self.swapped.popleft())
            loaded += self.tokens[first]
        return loaded

    def _admit(self) -> int:
        admitted = 0
        while self.waiting and blocks_for(self.prompt) + self.watermark <= self.free:
            self.running.append(self.waiting.popleft())
            self._grow(self.running[-1], self.prompt)
            admitted += 1
        return admitted

    def _finish(self) -> int:
        done = [i for i in self.running if self.tokens[i] == self.final]
        self.running = [i for i in self.running if self.tokens[i] < self.final]
        self.free += sum(blocks_for(self.tokens[i]) for i in done)
        return self._held(done)

    def _held(self, sequences: Iterable[int]) -> int:
        return sum(self.tokens[i] for i in sequences)

    def _needs(self, i: int, more: int) -> int:
        return blocks_for(self.tokens[i] + more) - blocks_for(self.tokens[i])

    def _grow(self, i: int, more: int) -> None:
        self.free -= self._needs(i, more)
        self.tokens[i] += more

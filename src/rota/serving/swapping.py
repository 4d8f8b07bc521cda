"""Moving KV between GPU and CPU memory: what a swap mechanism is made of, and the memories and copies it acts on.

Cost of one copy operation (FastSwitch, arXiv 2411.18424; each preset gives the constants): every contiguous run of
blocks takes 2 x layers calls (K and V), each of which takes `swap_call` seconds to issue, so

    T = max(calls * swap_call / threads, latency + bytes / bandwidth)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from rota.core.errors import InputError
from rota.serving.kvspace import KVSpace, runs
from rota.serving.model import BLOCK, Instance, blocks_for
from rota.serving.swap_audit import Event, Give, Moved, Take


@dataclass(frozen=True)
class Mechanism:
    """The choices that tell one swap mechanism from another.

    Attributes:
        allocator: how addresses are chosen in both memories (`paged`, `sorted`, `groups`).
        coalesce: neighbouring blocks go in one copy call; otherwise every block has its own.
        asynchronous: copies run beside the engine's steps, one stream each way, and only what they touch waits for
            them.
        reuse: the CPU copy survives the swap-in, so that the next swap-out copies only what is newer.
        swaps: False drops KV instead of copying it (it is computed again).
        group: blocks of a new group.
        threads: threads that issue the calls of an asynchronous copy.
        streams: 1, copies of both directions follow one another; 2, each direction has its own stream.
        ready_share: an asynchronous swap-in is waited for if fewer than this share of the batch is ready to run.
    """

    allocator: str = "paged"
    coalesce: bool = False
    asynchronous: bool = False
    reuse: bool = False
    swaps: bool = True
    group: int = 60
    threads: int = 1
    ready_share: float = 0.25
    streams: int = 1

    def __post_init__(self) -> None:
        for name in ("group", "threads"):
            if getattr(self, name) < 1:
                raise InputError(f"swap mechanism: {name}", str(getattr(self, name)), "at least 1")
        if self.streams not in (1, 2):
            raise InputError("swap mechanism: streams", str(self.streams), "1 or 2")
        if not 0 <= self.ready_share <= 1:
            raise InputError("swap mechanism: ready_share", str(self.ready_share), "a share in [0, 1]")

    def space(self, blocks: int) -> KVSpace:
        """An empty memory of `blocks` blocks."""
        return KVSpace(blocks, self.allocator, self.group)

    def seconds(self, instance: Instance, blocks: int, pieces: int) -> float:
        """Seconds to copy `blocks` blocks in `pieces` pieces, each of which takes a call a layer for K and for V."""
        if not blocks:
            return 0.0
        issue = 2 * instance.layers * pieces * instance.swap_call / (self.threads if self.asynchronous else 1)
        return max(issue, instance.swap.seconds(blocks * BLOCK * instance.kv_bytes))


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy under way: KV of `owner`, `outward` (GPU to CPU) or inward, done at `end`."""

    owner: int
    outward: bool
    start: float
    end: float


@dataclass
class Traffic:
    """What was moved.

    Attributes:
        bytes_out, bytes_in: copied to the CPU and to the GPU.
        calls: copy calls issued.
        swaps_out, swaps_in: copy operations.
        conflicts: copies waited for because their blocks were needed.
        contaminated: blocks of CPU copies that were given up for others.
    """

    bytes_out: float = 0.0
    bytes_in: float = 0.0
    calls: int = 0
    swaps_out: int = 0
    swaps_in: int = 0
    conflicts: int = 0
    contaminated: int = 0


class Swapper:
    """GPU and CPU memory of one instance, and the copies between them. Owners are conversations.

    Attributes:
        gpu, cpu: the memories.
        valid: owner -> its first tokens whose KV the CPU copy holds.
        flying: owner -> its copy under way; neither its source nor its target may be freed or used before the copy
            ends.
        traffic: counts of what was moved.
    """

    def __init__(self, instance: Instance, mechanism: Mechanism, audit: list[Event] | None = None) -> None:
        self.instance, self.mechanism, self.audit = instance, mechanism, audit
        self.gpu = mechanism.space(instance.blocks)
        self.cpu = mechanism.space(instance.cpu_blocks if mechanism.swaps else 0)
        self.valid: dict[int, int] = {}
        self.flying: dict[int, Copy] = {}
        self.traffic = Traffic()
        self._stream_free = [0.0] * mechanism.streams

    def grow(self, owner: int, count: int, now: float) -> None:
        """Give an owner `count` more GPU blocks."""
        self._note(Take(now, "gpu", owner, self.gpu.grow(owner, count)))

    def swap_in(self, owner: int, now: float) -> Copy:
        """Copy the owner's valid KV to the GPU blocks it has been given."""
        tokens = self.valid[owner]
        n = blocks_for(tokens)
        self.traffic.swaps_in += 1
        return self._copy(owner, False, self.gpu.tables[owner][:n], self.cpu.tables[owner][:n], tokens, now)

    def swap_out(self, owner: int, tokens: int, now: float, spare: Callable[[], Iterable[int]]) -> Copy | None:
        """Copy to the CPU what it lacks of the owner's first `tokens` tokens; then the GPU blocks are freed.

        Returns None, with the GPU blocks free already, if there was nothing to copy or no room on the CPU.

        Args:
            owner: whose KV; no copy of it is under way.
            tokens: tokens of KV it has on the GPU.
            now: the time.
            spare: owners whose CPU copies may be cut, the first first; asked only if the CPU memory is full.
        """
        missing = blocks_for(tokens) - self.cpu.held(owner)
        valid = self.valid.get(owner, 0)
        if valid >= tokens or not self._room_on_cpu(owner, missing, now, spare):
            self.leave_gpu(owner, now)
            return None
        if missing > 0:
            self._note(Take(now, "cpu", owner, self.cpu.grow(owner, missing)))
        first, last = valid // BLOCK, blocks_for(tokens)
        self.valid[owner] = tokens
        self.traffic.swaps_out += 1
        return self._copy(
            owner, True, self.gpu.tables[owner][first:last], self.cpu.tables[owner][first:last], tokens, now
        )

    def landed(self, now: float) -> list[Copy]:
        """Copies that have ended by `now`, the earliest first; frees what they leave behind."""
        done = sorted((c for c in self.flying.values() if c.end <= now), key=lambda c: (c.end, c.owner))
        for copy in done:
            del self.flying[copy.owner]
            if copy.outward:
                self.leave_gpu(copy.owner, now)
            elif not self.mechanism.reuse:
                self.forget(copy.owner, now)
        return done

    def leave_gpu(self, owner: int, now: float) -> None:
        """Free the owner's GPU blocks."""
        self._note(Give(now, "gpu", owner, self.gpu.release(owner)))

    def forget(self, owner: int, now: float) -> None:
        """Free the owner's CPU copy."""
        self.valid.pop(owner, None)
        self._note(Give(now, "cpu", owner, self.cpu.release(owner)))

    def _room_on_cpu(self, owner: int, missing: int, now: float, spare: Callable[[], Iterable[int]]) -> bool:
        """Contaminate the least worthy copies, their last blocks first, until `missing` blocks are free."""
        if missing <= self.cpu.free:
            return True
        for other in spare():
            if other != owner and other not in self.flying and (held := self.cpu.held(other)):
                cut = min(held, max(missing - self.cpu.free, self.mechanism.group))
                self._note(Give(now, "cpu", other, self.cpu.shrink(other, cut)))
                self.valid[other] = min(self.valid[other], (held - cut) * BLOCK)
                self.traffic.contaminated += cut
            if missing <= self.cpu.free:
                return True
        return False

    def _copy(self, owner: int, outward: bool, gpu: list[int], cpu: list[int], tokens: int, now: float) -> Copy:
        pieces = runs(gpu, cpu) if self.mechanism.coalesce else len(gpu)
        stream = int(outward) % self.mechanism.streams
        begin = max(now, self._stream_free[stream])
        end = begin + self.mechanism.seconds(self.instance, len(gpu), pieces)
        self._stream_free[stream] = end
        self._count(outward, len(gpu), pieces)
        self._note(Moved(now, begin, end, owner, outward, gpu, cpu, tokens))
        copy = self.flying[owner] = Copy(owner, outward, begin, end)
        return copy

    def _count(self, outward: bool, blocks: int, pieces: int) -> None:
        size = blocks * BLOCK * self.instance.kv_bytes
        self.traffic.bytes_out += size * outward
        self.traffic.bytes_in += size * (not outward)
        self.traffic.calls += 2 * self.instance.layers * pieces

    def _note(self, event: Event) -> None:
        if self.audit is None or (isinstance(event, Take | Give) and not event.blocks):
            return
        self.audit.append(event)

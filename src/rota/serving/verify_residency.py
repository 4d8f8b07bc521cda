"""Judges a finished offline generation from the rules alone; shares no code with the clockwork or the policies."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from rota.serving.residency.model import OfflineBatch, Placement
from rota.serving.residency.simulate import ResidencyRun

Steps = NDArray[np.bool_]


def verify(run: ResidencyRun) -> list[str]:
    """One sentence for each broken rule, with the first step that breaks it; empty if all hold.

    Rules: GPU and host never over capacity. Every output token is made, over the KV of every token before it that
    attention does not leave out on purpose. No attention to a token that is neither on the GPU, nor loaded, nor
    recomputed in that step. Tokens only move by loads, stores and drops that are accounted for. The timeline does the
    placement's work: one thing at a time on each resource, steps in order, the link no faster than it is.
    """
    p, problem = run.placement, run.problem
    rules = [*_conservation(p), *_attention(problem, p), *_memory(problem, p), *_output(problem, p), *_timeline(run)]
    return [f"{rule}, first in step {int(np.argmax(bad))}" for rule, bad in rules if np.any(bad)]


def _start(p: Placement) -> tuple[NDArray[np.int64], ...]:
    """Tokens on the GPU, on the host and dropped when each step begins; what is dropped ends with its sequence."""
    ended = (p.gpu == p.freed) & (p.cpu == p.freed_cpu)
    left = (p.gpu - p.freed, p.cpu - p.freed_cpu, np.where(ended, 0, p.dropped))
    return tuple(np.r_[0, each[:-1]] for each in left)


def _conservation(p: Placement) -> Iterator[tuple[str, Steps]]:
    gpu, cpu, dropped = _start(p)
    new, lost = p.decoding + p.prefill, p.dropped - dropped
    everything = np.stack(
        [p.gpu, p.cpu, p.dropped, p.loaded, p.kept, p.stored, p.recomputed, p.freed, p.freed_cpu, p.decoding, p.prefill]
    )
    yield "a count of tokens is negative", np.any(everything < 0, axis=0)
    yield "dropped tokens came back without being stored", lost < 0
    yield "tokens appear or vanish", p.gpu + p.cpu + p.dropped != gpu + cpu + dropped + new
    from_gpu = gpu + new + p.kept - p.stored - p.gpu
    from_cpu = cpu + p.stored - p.kept - p.cpu
    yield "tokens leave the GPU unaccounted for", (from_gpu < 0) | (from_gpu > lost)
    yield "tokens leave the host unaccounted for", (from_cpu < 0) | (from_cpu > lost)
    yield "more tokens stay on the GPU than were loaded", p.kept > p.loaded
    yield "more tokens are freed than there are", (p.freed > p.gpu) | (p.freed_cpu > p.cpu)
    yield (
        "tokens remain at the end",
        np.r_[np.zeros(len(p.gpu) - 1, dtype=bool), p.freed[-1] < p.gpu[-1] or p.freed_cpu[-1] < p.cpu[-1]],
    )


def _attention(problem: OfflineBatch, p: Placement) -> Iterator[tuple[str, Steps]]:
    gpu, cpu, dropped = _start(p)
    yield "attention to tokens of the GPU that are not there", p.attended_gpu > gpu + p.decoding
    yield "attention to tokens of the host that were not loaded", p.attended_cpu > np.minimum(p.loaded, cpu)
    yield "attention to dropped tokens that were not recomputed", p.attended_dropped > np.minimum(p.recomputed, dropped)
    yield "recomputation of tokens that were not dropped", p.recomputed > dropped
    attended = p.attended_gpu + p.attended_cpu + p.attended_dropped
    sparse = p.window > 0
    length = np.where(p.decoding > 0, (gpu + cpu + dropped + p.decoding) // np.maximum(p.decoding, 1), 0)
    yield (
        "sparse attention to other than twice its window",
        sparse & (attended != p.decoding * np.minimum(2 * p.window, length)),
    )
    yield "the local window is not on the GPU", sparse & (p.decoding * p.window > p.gpu)
    whole = sum(range(problem.prompt + 1, problem.prompt + problem.output)) * problem.batch
    yield "dense attention leaves tokens out", np.array([not sparse.any() and int(attended.sum()) != whole])


def _memory(problem: OfflineBatch, p: Placement) -> Iterator[tuple[str, Steps]]:
    model, device = problem.model, problem.device
    layer = 4 * model.hidden
    token = layer * model.layers * p.kv_bits // 16
    gpu, _, _ = _start(p)
    resident = np.maximum(gpu, p.gpu) * float(token)
    passing = (p.loaded - p.kept + p.recomputed + np.maximum(0, p.stored - gpu)) * token * min(1, 2 / model.layers)
    copied = (p.attended_gpu + p.attended_cpu + p.attended_dropped) * ((p.window > 0) | (p.kv_bits == 8)) * layer
    scores = 2 * model.layers * p.decoding * p.window * 2 * p.window
    yield (
        "GPU memory over capacity",
        2 * model.parameters + resident + passing + copied + scores > device.memory * (1 + 1e-12),
    )
    yield "host memory over capacity", p.cpu * float(token) > device.host_memory * (1 + 1e-12)


def _output(problem: OfflineBatch, p: Placement) -> Iterator[tuple[str, Steps]]:
    decoded, prompts = problem.batch * (problem.output - 1), problem.batch * problem.prompt
    yield f"{decoded} tokens were to be decoded, {p.decoding.sum()} were", np.array([p.decoding.sum() != decoded])
    yield (
        f"{prompts} prompt tokens were to be prefilled, {p.prefill.sum()} were",
        np.array([p.prefill.sum() != prompts]),
    )
    yield "more sequences decode than there are", p.decoding > problem.batch


def _timeline(run: ResidencyRun) -> Iterator[tuple[str, Steps]]:
    line, p = run.timeline, run.placement
    for code, name in enumerate(line.resource_names):
        of = np.flatnonzero(line.resource == code)
        of = of[np.argsort(line.start[of], kind="stable")]
        late = line.start[of][1:] < line.end[of][:-1] * (1 - 1e-12) - 1e-12
        yield f"{name} does two things at once", _at(line.task[of][1:], late, len(p.gpu))
    token = 4.0 * run.problem.model.hidden * run.problem.model.layers * p.kv_bits / 16
    for kind, moved in (("load", p.loaded), ("store", p.stored)):
        rows = np.flatnonzero(line.kind == list(line.kind_names).index(kind))
        seconds = np.bincount(line.task[rows], line.end[rows] - line.start[rows], len(moved))
        yield (
            f"{kind}s take less time than the link allows",
            seconds < moved * token / run.problem.device.link * (1 - 1e-6) - 1e-9,
        )
    yield "a step begins before the one before it ends", _steps_overlap(run)
    made = np.bincount(line.task[line.kind == list(line.kind_names).index("compute")], minlength=len(p.gpu))
    yield "a step is not computed exactly once", made != 1


def _steps_overlap(run: ResidencyRun) -> Steps:
    line, n = run.timeline, len(run.placement.gpu)
    begin, end = np.full(n, np.inf), np.zeros(n)
    np.minimum.at(begin, line.task, line.start)
    np.maximum.at(end, line.task, line.end)
    return np.r_[False, begin[1:] < end[:-1] * (1 - 1e-12) - 1e-12]


def _at(step: NDArray[np.int64], bad: Steps, steps: int) -> Steps:
    marks = np.zeros(steps, dtype=bool)
    marks[step[bad]] = True
    return marks

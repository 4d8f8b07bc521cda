"""One driver, two clocks."""

import asyncio
import threading
import time

import pytest

from rota.core.clock import Clock, VirtualClock, WallClock
from rota.core.errors import InputError
from rota.core.events import EventQueue


async def drive(clock: Clock, queue: EventQueue, arrivals: list):
    """The loop of any driver: what is planned happens at its time, what arrives happens at once."""
    log = []
    while queue or arrivals:
        event = queue.peek()
        if await clock.wait(event.time if event else float("inf")):
            log.append(("arrival", arrivals.pop(0), clock.now()))
        else:
            log.append(("event", queue.pop().item, clock.now()))
    return log


def planned(*times):
    queue = EventQueue()
    for t in times:
        queue.push(t, t)
    return queue


def test_the_virtual_clock_skips_ahead_at_once():
    began = time.monotonic()
    log = asyncio.run(drive(VirtualClock(), planned(1e6, 5.0, 5.0), []))
    assert log == [("event", 5.0, 5.0), ("event", 5.0, 5.0), ("event", 1e6, 1e6)]
    assert time.monotonic() - began < 1


def test_the_virtual_clock_is_interrupted_before_it_moves():
    clock = VirtualClock(2.0)
    clock.interrupt()
    assert asyncio.run(drive(clock, planned(5.0), ["x"])) == [("arrival", "x", 2.0), ("event", 5.0, 5.0)]


def test_the_virtual_clock_never_goes_back_and_never_waits_for_nothing():
    clock = VirtualClock(2.0)
    assert not asyncio.run(clock.wait(1.0))
    assert clock.now() == 2.0
    for to in (1.0, float("inf"), float("nan")):
        with pytest.raises(InputError, match="virtual clock"):
            clock.advance(to)
    with pytest.raises(InputError):
        asyncio.run(clock.wait())


def test_the_wall_clock_waits():
    clock = WallClock()
    log = asyncio.run(drive(clock, planned(0.05, 0.1, -1.0), []))
    assert [item for _, item, _ in log] == [-1.0, 0.05, 0.1]
    assert all(0 <= at - max(item, 0) < 0.5 for _, item, at in log)
    assert log[0][2] < 0.05


def test_an_arrival_interrupts_the_wait_from_another_thread():
    clock = WallClock()
    threading.Timer(0.05, clock.interrupt).start()
    log = asyncio.run(drive(clock, EventQueue(), ["x"]))
    assert log[0][:2] == ("arrival", "x")
    assert 0.04 < log[0][2] < 1

    clock = WallClock()
    threading.Timer(0.05, clock.interrupt).start()
    assert asyncio.run(clock.wait(30.0)) is True
    assert clock.now() < 5


def test_an_arrival_between_waits_is_not_lost():
    async def twice(clock):
        assert not await clock.wait(0.01)
        clock.interrupt()
        first = await clock.wait(10.0)
        return first, await clock.wait(clock.now() + 0.01)

    assert asyncio.run(twice(WallClock())) == (True, False)
    early = WallClock()
    early.interrupt()
    assert asyncio.run(early.wait(10.0))


def test_past_events_do_not_starve_other_tasks():
    async def turns(clock):
        other = asyncio.create_task(asyncio.sleep(0))
        for turn in range(20):
            if other.done():
                return turn
            assert not await clock.wait(0.0)
        return 20

    assert asyncio.run(turns(WallClock())) < 20

import copy
import pickle
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from torch.optim.lr_scheduler import (  # noqa: E402
    ChainedScheduler,
    ConstantLR,
    CosineAnnealingLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    SequentialLR,
)

from rota.core.errors import InputError  # noqa: E402
from rota.training import rex, schedule, warmup  # noqa: E402
from rota.training.adapters.torch import BLOCK, ScheduledLR, lambda_lr  # noqa: E402

SPECS = st.sampled_from([
    "rex()", "linear()", "cosine(restarts=2)", "exponential()", "one_cycle()", "steps()", "hyperbolic()", "inverse_sqrt(5)",
    "warmup(0.05) >> rex()", "warmup(3) >> constant() >> linear().lasting(0.2)", "(warmup(0.1) >> cosine()).floor(0.1)",
    "k_decay(3.0) * rex().sample(0.1)",
])  # fmt: skip
TWO_LEVELS = "constant(0.2).lasting(2) >> constant(0.5)"


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    torch.set_num_threads(1)


def sgd(*lrs, **more):
    groups = [{"params": [torch.nn.Parameter(torch.zeros(2))], "lr": lr} for lr in lrs or (0.1,)]
    return torch.optim.SGD(groups, lr=0.1, **more)


def rates(scheduler, steps):
    """Learning rates of the present step and of the `steps` after it, one row a step."""
    rows = []
    for k in range(steps + 1):
        rows.append([float(group["lr"]) for group in scheduler.optimizer.param_groups])
        if k < steps:
            scheduler.optimizer.step()
            scheduler.step()
    return rows


def first(rows):
    return [row[0] for row in rows]


def quietly(make):
    """What `make()` gives, without the warning of nested SequentialLRs that step before the optimiser does."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step", UserWarning)
        return make()


# -- one scheduler


@settings(deadline=None, max_examples=60)
@given(SPECS, st.integers(20, 3 * BLOCK), st.floats(1e-6, 10))
def test_every_rate_is_the_closed_form(spec, total, base):
    plan = schedule(spec).over(total)
    assert first(rates(ScheduledLR(sgd(base), spec, total), total)) == [base * plan(t) for t in range(total + 1)]


def test_a_schedule_for_each_group():
    scheduler = ScheduledLR(sgd(0.1, 2.0), [warmup(0.5) >> rex(), "linear()"], 10)
    assert scheduler.get_last_lr() == [0.0, 2.0]
    found = rates(scheduler, 10)
    plan = (warmup(0.5) >> rex()).over(10)
    assert found == [[0.1 * plan(t), 2.0 * (1 - t / 10)] for t in range(11)]
    assert scheduler.get_last_lr() == found[-1]


@settings(deadline=None, max_examples=60)
@given(SPECS, st.integers(30, 600), st.data())
def test_a_resumed_run_has_bit_equal_rates(spec, total, data):
    stop = data.draw(st.integers(0, total))
    whole = rates(ScheduledLR(sgd(0.1, 0.3), spec, total), total)
    stopped = ScheduledLR(sgd(0.1, 0.3), spec, total)
    rates(stopped, stop)
    saved = copy.deepcopy((stopped.state_dict(), stopped.optimizer.state_dict()))
    scheduler_first = data.draw(st.booleans())
    optimizer = sgd(9.0, 9.0)
    resumed = ScheduledLR(optimizer, "constant", 7)
    for part in (0, 1) if scheduler_first else (1, 0):
        (resumed, optimizer)[part].load_state_dict(saved[part])
    assert rates(resumed, total - stop) == whole[stop:]


@pytest.mark.parametrize("base", [0.1, torch.tensor(0.1), torch.tensor(0.1, dtype=torch.float64)])
def test_last_epoch_resumes_as_in_pytorch(base):
    whole = first(rates(ScheduledLR(sgd(copy.deepcopy(base), foreach=False), "cosine", 50), 50))
    for step in range(51):
        optimizer = sgd(copy.deepcopy(base), foreach=False)
        optimizer.param_groups[0]["initial_lr"] = 0.1 if isinstance(base, float) else torch.full_like(base, 0.1)
        again = ScheduledLR(optimizer, "cosine", 50, last_epoch=step - 1)
        assert again.last_epoch == step
        assert float(optimizer.param_groups[0]["lr"]) == whole[step]


def test_the_state_is_plain_data_that_torch_loads_safely(tmp_path):
    scheduler = ScheduledLR(sgd(torch.tensor(0.1)), "warmup(2) >> rex()", 10)
    rates(scheduler, 4)
    torch.save(scheduler.state_dict(), tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert state == scheduler.state_dict()
    assert {type(v) for value in state.values() for v in (value if isinstance(value, list) else [value])} == {
        str,
        int,
        float,
    }
    assert (state["schedules"], state["total"], state["last_epoch"]) == (["warmup(2) >> rex()"], 10, 4)


@settings(deadline=None, max_examples=40)
@given(SPECS, st.integers(50, 300), st.data())
def test_a_stretched_budget_follows_the_stretched_schedule(spec, total, data):
    at = data.draw(st.integers(0, total - 1))
    longer = data.draw(st.integers(at + 1, 2 * total))
    scheduler = ScheduledLR(sgd(1.0), spec, total)
    rates(scheduler, at)
    before = scheduler.get_last_lr()
    scheduler.stretch(longer)
    assert scheduler.get_last_lr() == before
    resumed = ScheduledLR(sgd(1.0), "rex", 3)
    resumed.load_state_dict(scheduler.state_dict())
    plan = schedule(spec).over(total).stretched(at, longer)
    expected = [plan(t) for t in range(at, longer + 1)]
    assert first(rates(scheduler, longer - at)) == expected == first(rates(resumed, longer - at))


def test_tensor_rates_are_filled_in_place_and_shared_by_nobody():
    shared = torch.tensor(0.1, dtype=torch.float64)
    optimizer = sgd(shared, shared, foreach=False)
    scheduler = ScheduledLR(optimizer, ["linear", "constant"], 10)
    kept = [group["lr"] for group in optimizer.param_groups]
    assert kept[0] is shared
    rates(scheduler, 5)
    assert optimizer.param_groups[0]["lr"] is kept[0]
    assert [float(lr) for lr in kept] == [0.1 * 0.5, 0.1]
    scheduler.get_last_lr()[0].zero_()
    scheduler.load_state_dict(scheduler.state_dict())
    assert [float(lr) for lr in kept] == [0.1 * 0.5, 0.1]
    assert float(optimizer.param_groups[0]["initial_lr"]) == 0.1
    assert len({id(t) for g in optimizer.param_groups for t in (g["lr"], g["initial_lr"])}) == 4


def test_a_group_added_later_starts_from_its_own_rate():
    scheduler = ScheduledLR(sgd(0.1), "linear", 10)
    rates(scheduler, 4)
    scheduler.optimizer.add_param_group({"params": [torch.nn.Parameter(torch.zeros(1))], "lr": 3.0})
    assert rates(scheduler, 6)[1:] == [[0.1 * (1 - t / 10), 3.0 * (1 - t / 10)] for t in range(5, 11)]
    state = scheduler.state_dict()
    assert state["base_lrs"] == [0.1, 3.0]
    other = ScheduledLR(sgd(1.0, 1.0), "linear", 10)
    other.load_state_dict(state)
    assert other.get_last_lr() == [0.0, 0.0]


def test_lambda_lr_can_be_pickled_and_agrees():
    function = pickle.loads(pickle.dumps(lambda_lr("warmup(0.2) >> rex()", 40)))
    theirs = LambdaLR(sgd(0.3), function)
    assert first(rates(theirs, 40)) == first(rates(ScheduledLR(sgd(0.3), "warmup(0.2) >> rex()", 40), 40))
    assert pickle.loads(pickle.dumps(theirs.state_dict()))["lr_lambdas"] == [{}]


# -- nested in PyTorch's own composites, beside what PyTorch's own schedulers do there


WRAPS = {"sequential": lambda o, s: SequentialLR(o, [s], []), "chained": lambda o, s: ChainedScheduler([s], o)}


def wrapped(make, wraps):
    """A scheduler, inside composites that should change nothing."""
    optimizer = sgd()
    scheduler = make(optimizer)
    for name in wraps:
        scheduler = WRAPS[name](optimizer, scheduler)
    return scheduler


@settings(deadline=None, max_examples=60)
@given(SPECS, st.integers(30, 120), st.lists(st.sampled_from(sorted(WRAPS)), min_size=1, max_size=4))
def test_composites_around_it_change_nothing(spec, total, wraps):
    found = quietly(lambda: first(rates(wrapped(lambda o: ScheduledLR(o, spec, total), wraps), total)))
    assert found == first(rates(ScheduledLR(sgd(), spec, total), total))


def test_where_a_composite_changes_pytorchs_own_schedules():
    """PyTorch #196243 (open in 2.13): a SequentialLR around a composite advances it by one step; the algebra's sequences it leaves alone."""

    def theirs(optimizer):
        parts = [ConstantLR(optimizer, factor=0.2, total_iters=10), ConstantLR(optimizer, factor=0.5, total_iters=10)]
        return SequentialLR(optimizer, parts, [2])

    def chained(optimizer):
        return ChainedScheduler([ConstantLR(optimizer, 0.5, 10), ExponentialLR(optimizer, 0.9)])

    bare, nested = (quietly(lambda w=w: first(rates(wrapped(theirs, w), 4))) for w in ([], ["sequential"]))
    assert bare == [0.1 * 0.2] * 2 + [0.1 * 0.5] * 3
    assert nested == [0.1 * 0.2] + [0.1 * 0.5] * 4
    bare, nested = (quietly(lambda w=w: first(rates(wrapped(chained, w), 4))) for w in ([], ["sequential"]))
    assert nested[:4] == pytest.approx(bare[1:])
    ours = quietly(lambda: first(rates(wrapped(lambda o: ScheduledLR(o, TWO_LEVELS, 4), ["sequential"]), 4)))
    assert ours == [0.1 * 0.2] * 2 + [0.1 * 0.5] * 3


def test_last_epoch_of_a_sequence():
    """PyTorch #162591 (open in 2.13): a SequentialLR made for a later epoch begins with its first part; the algebra's goes on."""

    def theirs(optimizer, last_epoch=-1):
        parts = [ConstantLR(optimizer, factor=0.1, total_iters=20), ExponentialLR(optimizer, gamma=0.9)]
        return SequentialLR(optimizer, parts, [3], last_epoch=last_epoch)

    def ours(optimizer, last_epoch=-1):
        return ScheduledLR(optimizer, "constant(0.1).lasting(3) >> exponential(0.5)", 20, last_epoch)

    found = {}
    for name, make in (("theirs", theirs), ("ours", ours)):
        whole, resumed = first(rates(make(sgd(1.0)), 8)), sgd(1.0)
        resumed.param_groups[0]["initial_lr"] = 1.0
        found[name] = whole[5], make(resumed, last_epoch=4).get_last_lr()[0]
    assert found["theirs"] == (pytest.approx(0.81), 0.1)
    assert found["ours"][0] == found["ours"][1] > 0.8


def test_a_scheduler_resumed_on_a_fresh_optimiser():
    """PyTorch's recursive forms multiply whatever learning rate they find; the closed form brings the right one along."""
    found = {}
    for name, make in (
        ("theirs", lambda o: CosineAnnealingLR(o, 10)),
        ("ours", lambda o: ScheduledLR(o, "cosine", 10)),
    ):
        stopped, resumed = make(sgd(1.0)), make(sgd(1.0))
        before = first(rates(stopped, 5))
        resumed.load_state_dict(stopped.state_dict())
        found[name] = before[5:] + first(rates(stopped, 4))[1:], first(rates(resumed, 4))
    whole, after = found["theirs"]
    assert after == pytest.approx([2 * rate for rate in whole])
    assert found["ours"][0] == found["ours"][1]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 30), st.integers(1, 20), st.booleans())
def test_a_sequence_of_ours_resumes_wherever_it_was_stopped(stop, milestone, alone):
    def make():
        optimizer = sgd(1.0)
        last = ScheduledLR(optimizer, "rex", 30) if alone else ExponentialLR(optimizer, 0.9)
        return SequentialLR(optimizer, [ScheduledLR(optimizer, "cosine", 30), last], [milestone])

    whole, stopped, resumed = first(rates(make(), 30)), make(), make()
    rates(stopped, stop)
    resumed.load_state_dict(stopped.state_dict())
    assert first(rates(resumed, 30 - stop)) == whole[stop:]
    plan = [schedule("cosine").over(30)(t) for t in range(milestone)]
    assert whole[:milestone] == plan[:31]


def test_tensor_rates_survive_a_sequence():
    """PyTorch #162359 (closed): the first part of a SequentialLR wrote its rate into the base of the next."""
    optimizer = sgd(torch.tensor(0.5, dtype=torch.float64), foreach=False)
    parts = [LinearLR(optimizer, 0.1, 1.0, 3), ScheduledLR(optimizer, "linear", 10)]
    found = first(rates(SequentialLR(optimizer, parts, [3]), 13))
    assert found[3:] == [0.5 * (1 - t / 10) for t in range(11)]


# -- mistakes


def test_a_step_past_the_end_is_told_and_changes_nothing():
    scheduler = ScheduledLR(sgd(), "rex", 3)
    rates(scheduler, 3)
    before = scheduler.state_dict()
    with pytest.raises(InputError, match=r"^step: found 4, expected at most 3, the length of the run$"):
        scheduler.step()
    assert scheduler.state_dict() == before


@pytest.mark.filterwarnings("ignore:The epoch parameter:UserWarning")
@pytest.mark.parametrize("epoch", [-1, 2.5, 99])
def test_only_steps_of_the_run_can_be_asked_for(epoch):
    scheduler = ScheduledLR(sgd(), "linear", 10)
    scheduler.optimizer.step()
    with pytest.raises(InputError, match=r"^step: found "):
        scheduler.step(epoch)
    scheduler.step(7)
    assert scheduler.get_last_lr() == [0.1 * (1 - 7 / 10)]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: ScheduledLR(sgd(), "rexx", 10), "did you mean rex"),
        (lambda: ScheduledLR(sgd(), "rex", 0), "total: found 0, expected a number of steps > 0"),
        (lambda: ScheduledLR(sgd(), "rex", 2.5), "total: found 2.5, expected a whole number"),
        (lambda: ScheduledLR(sgd(1, 2, 3), ["rex", "linear"], 10), "schedule: found 2 of them, expected one, or 3"),
        (lambda: ScheduledLR(sgd(), [3], 10), "schedule: found 1 of them"),
        (lambda: ScheduledLR(sgd(), "rex", 10, last_epoch=3), "last_epoch: found 3, expected -1"),
        (lambda: ScheduledLR(sgd(), "warmup(20) >> rex()", 10), "sequence: found parts of 20 steps"),
        (lambda: lambda_lr("warmup(20) >> rex()", 10), "sequence: found parts of 20 steps"),
        (lambda: ScheduledLR(sgd(), "rex", 10).load_state_dict({"last_epoch": 3}), "state_dict: found"),
        (lambda: ScheduledLR(sgd(1, 2), "rex", 9).load_state_dict(ScheduledLR(sgd(), "rex", 9).state_dict()), "found 1 groups"),
        (lambda: _over().stretch(20), "stretch: found at step 10"),
        (lambda: _over().stretch(5), "total: found 5, expected more than 10, the present step"),
    ],
)  # fmt: skip
def test_mistakes_are_one_sentence(make, sentence):
    with pytest.raises(InputError) as error:
        make()
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def _over():
    scheduler = ScheduledLR(sgd(), "rex", 10)
    rates(scheduler, 10)
    return scheduler

import copy
import pickle
import sys
from dataclasses import replace

import numpy as np
import pytest

from rota.core.errors import InputError, MissingExtra, UnknownName
from rota.core.registry import make, names
from rota.serving.lengths import Features, LengthDistribution, LengthPredictor, predicted, prepare
from rota.serving.lengths.scores import score
from rota.serving.lengths.synthetic import SyntheticLengths
from rota.serving.model import RequestView, Workload
from rota.serving.policies.lengths.histogram import Histogram
from rota.serving.policies.lengths.nearest_neighbours import NearestNeighbours
from rota.serving.policies.lengths.oracle_distribution import OracleDistribution
from rota.serving.policies.lengths.oracle_sample import OracleSample

FITTED = ["constant", "histogram", "nearest-neighbours", "quantile-boosting(iterations=10)"]


@pytest.fixture(scope="module")
def judged():
    return SyntheticLengths().workload(1500, 1.0, seed=2)


@pytest.fixture(scope="module")
def history():
    return SyntheticLengths().workload(1500, 1.0, seed=1)[0]


def answers(predictor, workload):
    return [view.predicted for view in predictor.annotate(list(workload.requests()))]


def test_the_oracles_are_labelled_and_nothing_else_is():
    oracles = {name for name in names("serving.lengths") if make("serving.lengths", name).oracle}
    assert oracles == {"oracle-sample", "oracle-distribution"}


@pytest.mark.parametrize("spec", FITTED)
def test_a_request_s_own_length_never_reaches_its_prediction(spec, judged):
    workload, _ = judged
    row, output = 17, workload.output.copy()
    output[row] = 14_999
    told = replace(workload, output=output)
    first, second = make("serving.lengths", spec), make("serving.lengths", spec)
    prepare(first, workload, 0)
    prepare(second, told, 0)
    asked = RequestView.of(workload, row)
    assert first.predict(asked) == second.predict(asked)
    assert any(a != b for a, b in zip(answers(first, workload), answers(second, told), strict=True))


def test_the_turns_of_a_conversation_never_teach_one_another():
    session = np.repeat(np.arange(12), 5)
    output = 10 + session
    workload = Workload.of(np.arange(60.0), np.full(60, 50), output, session=session)
    constant = make("serving.lengths", "constant")
    constant.prepare(workload, 0)
    for i, answer in enumerate(answers(constant, workload)):
        assert output[i] not in answer.support


@pytest.mark.parametrize("spec", FITTED)
def test_the_same_seed_gives_the_same_predictions_also_after_pickling(spec, judged):
    workload = judged[0].take(range(300))
    first, second = make("serving.lengths", spec), pickle.loads(pickle.dumps(make("serving.lengths", spec)))
    first.prepare(workload, 7)
    second.prepare(workload, 7)
    assert answers(first, workload) == answers(pickle.loads(pickle.dumps(second)), workload)


@pytest.mark.parametrize("spec", FITTED)
def test_a_history_of_its_own_is_used_as_it_is(spec, history, judged):
    workload, _ = judged
    predictor = make("serving.lengths", spec).fit(Features.of(history), history.output)
    alone = [copy.deepcopy(predictor).predict(RequestView.of(workload, i)) for i in range(5)]
    predictor.prepare(workload, 0)
    assert [predictor.predict(RequestView.of(workload, i)) for i in range(5)] == alone


def test_better_knowledge_scores_better(history, judged):
    workload, law = judged
    crps = []
    for spec in ("constant", "histogram"):
        predictor = make("serving.lengths", spec).fit(Features.of(history), history.output)
        crps.append(score(answers(predictor, workload), workload.output).crps)
    knowing = OracleDistribution()
    knowing.reveal(workload, law)
    knowing.prepare(workload, 0)
    crps.append(score(answers(knowing, workload), workload.output).crps)
    seeing = OracleSample()
    seeing.prepare(workload, 0)
    crps.append(score(answers(seeing, workload), workload.output).crps)
    assert crps[0] > 1.2 * crps[1] > 1.2 * 1.2 * crps[2] > 0
    assert crps[3] == 0


@pytest.mark.parametrize("spec", ["nearest-neighbours", "quantile-boosting"])
def test_the_learners_come_near_the_histogram_or_beat_it(spec, history, judged):
    workload, _ = judged
    crps = {}
    for name in ("histogram", spec):
        predictor = make("serving.lengths", name).fit(Features.of(history), history.output)
        crps[name] = score(answers(predictor, workload), workload.output).crps
    assert crps[spec] < 1.05 * crps["histogram"]


def features(prompt, tenant, model=None):
    n = len(prompt)
    return Features(
        np.array(prompt), np.array(tenant), np.zeros(n, int) if model is None else np.array(model), np.zeros(n, int)
    )


def test_a_thin_cell_of_the_histogram_gives_way_to_wider_ones():
    past = features([100] * 4 + [5000] * 2 + [100], [0] * 6 + [1])
    lengths = np.array([10, 10, 10, 10, 70, 70, 900])
    learnt = Histogram(least=3).fit(past, lengths)
    full, thin, new = learnt.predict_many(features([100, 5000, 100], [0, 0, 1]))
    assert full == LengthDistribution.point(10)
    assert thin == LengthDistribution.of([10, 10, 10, 10, 70, 70])
    assert new == LengthDistribution.of(lengths)


def test_neighbours_agree_with_sorting_all_of_them():
    rng = np.random.default_rng(4)
    prompt, length = rng.integers(1, 3000, 400), np.arange(1, 401)
    learnt = NearestNeighbours(k=7).fit(features(prompt, [0] * 400), length)
    for asked in (1, 40, 700, 2999, 100_000):
        (answer,) = learnt.predict_many(features([asked], [0]))
        distance = np.abs(np.log2(prompt / asked))
        within = np.sort(distance)[6]
        assert np.isin(answer.support, length[distance <= within + 1e-12]).all()
        assert answer.weight.sum() == pytest.approx(1)
        assert len(answer) == 7


def test_boosting_learns_the_quantiles_of_each_tenant(history):
    rng = np.random.default_rng(0)
    tenant = rng.integers(0, 2, 3000)
    lengths = np.rint(np.exp(np.where(tenant == 0, 4, 6) + 0.5 * rng.standard_normal(3000))).astype(int)
    learnt = make("serving.lengths", "quantile-boosting").fit(features(np.full(3000, 64), tenant), lengths)
    short, long = learnt.predict_many(features([64, 64], [0, 1]))
    assert short.median() == pytest.approx(np.exp(4), rel=0.1)
    assert long.quantile(0.9) == pytest.approx(np.exp(6 + 0.5 * 1.2816), rel=0.1)


class WithoutScikitLearn:
    def find_spec(self, name, path=None, target=None):
        if name == "sklearn":
            raise ModuleNotFoundError("No module named 'sklearn'", name="sklearn")


def test_boosting_without_scikit_learn_names_the_extra(monkeypatch, history):
    for loaded in [name for name in sys.modules if name.partition(".")[0] == "sklearn"]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setattr(sys, "meta_path", [WithoutScikitLearn(), *sys.meta_path])
    with pytest.raises(MissingExtra, match=r'pip install "rota\[fit\]"'):
        make("serving.lengths", "quantile-boosting").fit(Features.of(history), history.output)


def test_annotating_puts_the_prediction_into_the_view(judged):
    workload, _ = judged
    oracle = OracleSample()
    oracle.prepare(workload, 0)
    views = oracle.annotate([RequestView.of(workload, 3)])
    assert predicted(views[0], "gittins") == LengthDistribution.point(int(workload.output[3]))


def test_asking_too_early_or_with_the_wrong_law_is_an_error(judged):
    workload, law = judged
    view = RequestView.of(workload, 0)
    with pytest.raises(InputError, match=r"Constant: found no history, expected fit\(\) or prepare\(\)"):
        make("serving.lengths", "constant").predict(view)
    with pytest.raises(InputError, match="oracle-sample: found nothing revealed"):
        OracleSample().predict(view)
    with pytest.raises(InputError, match="oracle-distribution: found no law, expected reveal"):
        OracleDistribution().predict(view)
    with pytest.raises(InputError, match="no law of the 1500 requests of synthetic lengths"):
        OracleDistribution().prepare(workload, 0)
    with pytest.raises(InputError, match=r"found 3 distributions, expected one for each of 1500"):
        OracleDistribution().reveal(workload, law[:3])
    with pytest.raises(InputError, match="found 1 conversation"):
        make("serving.lengths", "constant").prepare(workload.take([0]), 0)
    with pytest.raises(InputError, match="found 2 lengths for 1500 requests"):
        make("serving.lengths", "constant").fit(Features.of(workload), np.array([1, 2]))


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("histogram(least=0)", "least=0, expected values of at least 1"),
        ("nearest-neighbours(k=0)", "found 0, expected at least 1"),
        ("quantile-boosting(learning_rate=0)", "learning_rate=0, expected iterations"),
        ("histogram(least='few')", "expected a value of type int"),
    ],
)
def test_hyper_parameters_out_of_range_are_refused(spec, sentence):
    with pytest.raises(InputError, match=sentence):
        make("serving.lengths", spec)


def test_misspelt_names_and_parameters_get_help():
    with pytest.raises(UnknownName, match="did you mean histogram"):
        make("serving.lengths", "histogramm")
    with pytest.raises(UnknownName, match=r"parameter of serving.lengths policy constant"):
        make("serving.lengths", "constant(k=3)")


def test_what_is_no_predictor_is_refused(judged):
    with pytest.raises(InputError, match="found a int, expected a subclass of LengthPredictor"):
        prepare(5, judged[0], 0)


def test_a_predictor_of_one_s_own_needs_two_methods(judged):
    class Fixed(LengthPredictor):
        def prepare(self, workload, seed):
            self.length = 12

        def predict(self, request):
            return LengthDistribution.point(self.length)

    fixed = Fixed()
    prepare(fixed, judged[0], 0)
    assert fixed.annotate([RequestView.of(judged[0], 0)])[0].predicted == LengthDistribution.point(12)

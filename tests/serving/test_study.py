"""Studies: their cells, what a cell yields, and mistakes told in one sentence."""

import copy
import re

import numpy as np
import pytest

from rota.core.errors import InputError, UnknownName
from rota.serving.study import cells, compare, default_study, execute, timeline

STUDY = {
    "name": "small", "seeds": [3, 5],
    "workload": [{"name": "short", "use": 'llumnix(trace="S-S", rate=8.0, n=60)'}],
    "fleet": [{"name": "two", "instances": "2 x llama-7b/a10"}, {"name": "three", "instances": "3 x llama-7b/a10", "prefix_cache": True}],
    "policies": [{"name": "turns"}, {"dispatch": "freeness", "reschedule": "llumnix"}],
}  # fmt: skip


def test_cells_are_every_combination():
    name, made = cells(STUDY)
    assert name == "small"
    assert len(made) == 1 * 2 * 2 * 2
    assert made[0].labels == {"workload": "short", "fleet": "two", "policies": "turns", "seed": 3}
    assert {cell.labels["policies"] for cell in made} == {"turns", "freeness, llumnix"}
    assert len({cell.key for cell in made}) == 8


def test_a_cell_yields_finite_metrics_and_curves():
    found = execute(cells(STUDY)[1][0].spec)
    assert found["metrics"]["requests"] == 60
    assert all(np.isfinite(list(found["metrics"].values())))
    curve = found["curves"]["ttft"]
    assert np.all(np.diff(curve["x"]) >= 0)
    assert curve["y"][0] == 0
    assert curve["y"][-1] == 1
    assert len(found["curves"]["load"]["x"]) == len(found["curves"]["load"]["y"]) > 10


def test_the_timeline_of_a_cell_is_that_of_its_run():
    made = timeline(cells(STUDY)[1][-1].spec)
    assert set(made.resource_names) == {f"{i}:llama-7b/a10" for i in range(3)}
    assert len(set(made.task.tolist())) == 60


def test_compare_runs_them_all(tmp_path):
    results = compare(STUDY, out=tmp_path, jobs=1, progress=False)
    assert len(results.rows) == 8
    assert {row.labels["seed"] for row in results.rows} == {3, 5}


def test_the_study_that_comes_with_rota_is_sound():
    assert cells(default_study())[1]


def test_a_file_in_a_study_is_beside_it(tmp_path):
    (tmp_path / "mine.csv").write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50.9951690,396,109\n"
    )
    text = '[[workload]]\nuse = "mine.csv"\n[[fleet]]\ninstances = "llama-7b/a10"\n[[policies]]\nname = "a"\n'
    (tmp_path / "study.toml").write_text(text)
    cell = cells(tmp_path / "study.toml")[1][0]
    assert cell.spec["workload"] == str(tmp_path / "mine.csv")
    assert execute(cell.spec)["metrics"]["requests"] == 2


def changed(path, value):
    study = copy.deepcopy(STUDY)
    *way, last = path
    place = study
    for step in way:
        place = place[step]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return study


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        (("seed",), 3, "did you mean seeds"),
        (("workload",), None, "at least one table [[workload]]"),
        (("policies",), "fcfs", "at least one table [[policies]]"),
        (("workload", 0, "rate"), 3, "[[workload]]: found rate, expected one of name, use"),
        (("workload", 0, "use"), None, "[[workload]]: found use = None, expected a text"),
        (("fleet", 0, "instances"), "2 x llama-7b/a11", "did you mean llama-7b/a10"),
        (("fleet", 0, "prefix_cash"), True, "did you mean prefix_cache"),
        (("policies", 0, "dispach"), "freeness", "did you mean dispatch"),
        (("policies", 0, "dispatch"), "freenes", "did you mean freeness"),
        (("policies", 0, "dispatch"), "freeness(target=3)", "did you mean target_load"),
        (("seeds",), 0, "seeds: found 0, expected a count of at least 1"),
        (("seeds",), ["a"], "seeds: found ['a']"),
    ],
)
def test_mistakes_are_told_in_one_sentence(path, value, sentence):
    with pytest.raises((InputError, UnknownName), match=re.escape(sentence)) as told:
        cells(changed(path, value))
    assert "\n" not in str(told.value)


def test_an_unknown_workload_is_told_before_anything_runs():
    with pytest.raises(UnknownName, match="did you mean"):
        cells(changed(("workload", 0, "use"), "lumnix"))


def test_files_that_are_no_study(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        cells(tmp_path / "missing.toml")
    (tmp_path / "bad.toml").write_text("name = ")
    with pytest.raises(InputError, match="not TOML"):
        cells(tmp_path / "bad.toml")

"""The timeline: recorded by names or by codes, frozen, selected, exported."""

import gzip
import json
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rota.core.errors import InputError, UnknownName
from rota.core.perfetto import lanes
from rota.core.timeline import Numbered, Recorder, Timeline

ROWS = [
    ("r0", "gpu-0", "prefill", 0.0, 1.0, 3.0),
    ("r1", "gpu-1", "prefill", 0.5, 1.25, 4.0),
    ("r0", "gpu-0", "decode", 1.0, 2.5, 5.0),
    ("r1", "gpu-0", "decode", 1.25, 3.0, float("nan")),
]


@pytest.fixture
def timeline():
    recorder = Recorder(["kv"])
    for *row, kv in ROWS:
        recorder.add(*row, kv=kv)
    return recorder.freeze()


def test_rows_come_back_by_name(timeline):
    assert list(timeline.rows()) == [row[:5] for row in ROWS]
    assert len(timeline) == 4
    assert timeline.span == (0.0, 3.0)
    assert timeline.resource_names == ("gpu-0", "gpu-1")
    assert timeline.columns["kv"].tolist()[:3] == [3.0, 4.0, 5.0]


def test_adding_by_name_and_by_code_give_the_same(timeline):
    recorder = Recorder({"kv": np.float64})
    recorder.names(task=["r0", "r1"], resource=["gpu-0", "gpu-1"], kind=["prefill", "decode"])
    recorder.extend([0, 1], [0, 1], 0, [0.0, 0.5], [1.0, 1.25], kv=[3.0, 4.0])
    recorder.extend([], [], 0, [], [], kv=0.0)
    recorder.extend(np.array([0, 1]), 0, 1, np.array([1.0, 1.25]), np.array([2.5, 3.0]), kv=[5.0, np.nan])
    assert recorder.freeze() == timeline
    recorder.add("r2", "gpu-1", "decode", 4.0, 5.0, kv=0.0)
    assert recorder.freeze() != timeline
    assert list(recorder.freeze().rows())[-1] == ("r2", "gpu-1", "decode", 4.0, 5.0)


def test_timelines_differ_by_names_and_by_columns(timeline):
    same = {name: getattr(timeline, name) for name in ("task", "resource", "kind", "start", "end")}
    tables = {"task_names": ("r0", "rX"), "resource_names": timeline.resource_names, "kind_names": timeline.kind_names}
    assert Timeline(**same, **tables, columns=timeline.columns) != timeline
    assert Timeline(**same, **{**tables, "task_names": ["r0", "r1"]}) != timeline
    assert Timeline(**same, **{**tables, "task_names": ["r0", "r1"]}, columns=timeline.columns) == timeline
    assert timeline != "a timeline"


def test_the_recorder_grows_beyond_its_first_room():
    recorder, start = Recorder(), np.arange(5000.0)
    recorder.names(task=Numbered("t", 5000), resource=["m"], kind=["run"])
    for first in range(0, 5000, 77):
        part = slice(first, first + 77)
        recorder.extend(np.arange(5000)[part], 0, 0, start[part], start[part] + 1)
    timeline = recorder.freeze()
    assert np.array_equal(timeline.start, start)
    assert list(timeline.rows())[4999] == ("t4999", "m", "run", 4999.0, 5000.0)


def test_a_frozen_timeline_cannot_be_written(timeline):
    with pytest.raises(ValueError, match="read-only"):
        timeline.start[0] = 1.0
    with pytest.raises(ValueError, match="read-only"):
        timeline.columns["kv"][0] = 1.0
    with pytest.raises(AttributeError):
        timeline.start = timeline.end


def test_going_on_after_freezing_leaves_the_frozen_one_alone():
    recorder = Recorder()
    recorder.add("a", "m", "run", 0.0, 1.0)
    frozen = recorder.freeze()
    recorder.add("b", "m", "run", 1.0, 2.0)
    assert [row[0] for row in frozen.rows()] == ["a"]
    assert frozen.task_names == ("a",)


def test_where_selects_by_name(timeline):
    assert [row[0] for row in timeline.where(kind="decode").rows()] == ["r0", "r1"]
    assert list(timeline.where(kind="decode", task=["r1"]).rows()) == [ROWS[3][:5]]
    assert len(timeline.where(resource=["gpu-0", "gpu-1"])) == 4
    assert len(timeline.where(task=[])) == 0
    assert timeline.where(resource="gpu-1").columns["kv"].tolist() == [4.0]


def test_where_offers_the_nearest_name(timeline):
    with pytest.raises(UnknownName, match=r"timeline kind.*did you mean decode"):
        timeline.where(kind="decod")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"end": [1.0]}, "timeline column end"),
        ({"end": [1.0, 0.5]}, r"timeline end, row 1: found 0\.5"),
        ({"start": [0.0, np.nan]}, "timeline end, row 1"),
        ({"task": [0, 2]}, "timeline task, row 1: found 2"),
        ({"kind": [-1, 0]}, "timeline kind, row 0: found -1"),
        ({"columns": {"kv": [1.0]}}, "timeline column kv"),
    ],
)
def test_columns_that_do_not_fit(change, sentence):
    good = {"task": [0, 1], "resource": [0, 0], "kind": [0, 0], "start": [0.0, 1.0], "end": [1.0, 2.0]}
    tables = {"task_names": ["a", "b"], "resource_names": ["m"], "kind_names": ["run"]}
    with pytest.raises(InputError, match=sentence):
        Timeline(**{**good, **tables, **change})


def test_the_recorder_refuses_other_columns():
    recorder = Recorder(["kv"])
    for columns in ({}, {"kv": 1.0, "more": 2.0}, {"other": 1.0}):
        with pytest.raises(InputError, match="timeline row"):
            recorder.add("a", "m", "run", 0.0, 1.0, **columns)
    recorder.names(task=["a"])
    with pytest.raises(InputError, match="names of task"):
        recorder.names(task=["b"])
    with pytest.raises(UnknownName):
        recorder.names(machine=["b"])


def test_pickle_round_trip(timeline):
    assert pickle.loads(pickle.dumps(timeline)) == timeline


def test_numbered_names():
    names = Numbered("task ", 3)
    assert list(names) == ["task 0", "task 1", "task 2"]
    assert (len(names), names[-1], names[1:], names.index("task 2")) == (3, "task 2", ("task 1", "task 2"), 2)
    with pytest.raises(IndexError):
        names[3]


def test_data_frame_and_parquet(timeline, tmp_path):
    pl = pytest.importorskip("polars")
    frame = timeline.to_polars()
    assert frame.columns == ["task", "resource", "kind", "start", "end", "kv"]
    assert [tuple(row[:5]) for row in frame.rows()] == [row[:5] for row in ROWS]
    timeline.to_parquet(tmp_path / "t.parquet")
    assert pl.read_parquet(tmp_path / "t.parquet").equals(frame, null_equal=True)


def perfetto(timeline, path):
    timeline.to_perfetto(path)
    raw = path.read_bytes()
    return json.loads(gzip.decompress(raw) if path.suffix == ".gz" else raw)["traceEvents"]


def test_perfetto_says_what_the_timeline_says(timeline, tmp_path):
    events = perfetto(timeline, tmp_path / "t.json")
    names = {e["pid"]: e["args"]["name"] for e in events if e["name"] == "process_name"}
    assert sorted(names.values()) == ["gpu-0", "gpu-1"]
    slices = [e for e in events if e["ph"] == "X"]
    said = {(e["args"]["task"], names[e["pid"]], e["cat"], e["ts"] / 1e6, (e["ts"] + e["dur"]) / 1e6) for e in slices}
    assert said == {row[:5] for row in ROWS}
    assert {e["name"]: e["args"]["kv"] for e in slices} == {
        "prefill r0": 3.0,
        "prefill r1": 4.0,
        "decode r0": 5.0,
        "decode r1": "nan",
    }


def test_perfetto_compressed_is_the_same_and_repeats(timeline, tmp_path):
    assert perfetto(timeline, tmp_path / "t.json.gz") == perfetto(timeline, tmp_path / "t.json")
    first = (tmp_path / "t.json.gz").read_bytes()
    timeline.to_perfetto(tmp_path / "t.json.gz")
    assert (tmp_path / "t.json.gz").read_bytes() == first


def test_a_moment_without_duration_is_an_instant(tmp_path):
    recorder = Recorder()
    recorder.add("a", "m", "arrive", 1.0, 1.0)
    (event,) = (e for e in perfetto(recorder.freeze(), tmp_path / "t.json") if e["ph"] != "M")
    assert (event["ph"], event["ts"]) == ("i", 1e6)


def test_perfetto_of_nothing(tmp_path):
    assert perfetto(Recorder().freeze(), tmp_path / "t.json") == []


intervals = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 15)), max_size=25)


@settings(deadline=None, max_examples=50)
@given(intervals)
def test_slices_in_one_lane_never_overlap_and_no_lane_is_wasted(pairs):
    start = np.array([s for s, _ in pairs], dtype=np.int64)
    end = start + np.array([d for _, d in pairs], dtype=np.int64)
    lane = lanes(start, end)
    occupied = np.maximum(end, start + 1)
    for i in range(len(pairs)):
        for j in range(i):
            if lane[i] == lane[j]:
                assert occupied[i] <= start[j] or occupied[j] <= start[i]
    most = max((int(((start <= t) & (t < occupied)).sum()) for t in range(60)), default=0)
    assert len(set(lane.tolist())) == most


def test_html_names_the_kinds_and_is_safe():
    recorder = Recorder()
    recorder.add("a", "m", "<run>", 0.0, 2.0)
    recorder.add("b", "m", "<run>", 2.0, 2.5)
    html = recorder.freeze()._repr_html_()
    assert "<td>&lt;run&gt;</td><td>2</td><td>2.5</td>" in html
    assert "2 rows, 2 tasks, 1 resources, 0 to 2.5" in html

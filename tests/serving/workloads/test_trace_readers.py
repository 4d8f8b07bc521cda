"""Every format that Rota reads, from a few lines written by hand; and the real traces, where they are."""

import json

import numpy as np
import pytest

from rota.core.data import data_folder
from rota.serving.workloads import read
from rota.serving.workloads.read import READERS, open_trace

BURST6 = """Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,ChatGPT,472,18,490,Conversation log
45,ChatGPT,1087,230,1317,API log
60,GPT-4,417,0,417,Conversation log
118,GPT-4,417,276,693,Conversation log
"""
BURST8 = """Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type
5,7,2,ChatGPT,40,20,60,Conversation log
9,,,ChatGPT,10,5,15,API log
30,7,3,ChatGPT,90,30,120,Conversation log
"""


def written(tmp_path, text, name="trace.csv"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_burstgpt_failures_are_left_out_and_counted(tmp_path):
    found = open_trace(written(tmp_path, BURST6))
    assert found.format == "burstgpt"
    assert found.left_out == {"failed": 1}
    assert found.fail_share == 0.25
    assert found.workload.output.tolist() == [18, 230, 276]
    assert found.workload.tenants == ("ChatGPT, Conversation log", "ChatGPT, API log", "GPT-4, Conversation log")
    assert found.workload.models == ("default",)


def test_burstgpt_picks_a_model_and_a_log_type(tmp_path):
    path = written(tmp_path, BURST6)
    assert read(path, model="GPT-4").arrival.tolist() == [118.0]
    assert read(path, log="API log").prompt.tolist() == [1087]


def test_burstgpt_sessions_open_and_closed(tmp_path):
    path = written(tmp_path, BURST8)
    open_loop, closed = read(path), read(path, closed=True)
    assert open_loop.session.tolist() == [0, -1, 0]
    assert open_loop.turn.tolist() == [0, 0, 1]
    assert open_loop.parent.tolist() == [-1, -1, -1]
    assert closed.parent.tolist() == [-1, -1, 0]
    assert closed.think.tolist() == [0.0, 0.0, 30 - (5 + 2)]


def test_azure_times_start_at_zero_whatever_the_zone(tmp_path):
    rows = "TIMESTAMP,ContextTokens,GeneratedTokens\n{0},10,2\n{1},20,3\n"
    old = written(tmp_path, rows.format("2023-11-16 18:17:03.9799600", "2023-11-16 18:17:04.0319600"))
    assert read(old).arrival.tolist() == pytest.approx([0.0, 0.052])
    new = written(tmp_path, rows.format("2024-05-10 00:00:00.009930+00:00", "2024-05-10 01:00:01.009930+01:00"))
    assert read(new).arrival.tolist() == pytest.approx([0.0, 1.0])


def test_vidur_and_splitwise(tmp_path):
    vidur = written(tmp_path, "arrived_at,num_prefill_tokens,num_decode_tokens\n0.5,7,2\n\n1.5,8,3\n")
    assert read(vidur).prompt.tolist() == [7, 8]
    head = "request_id,request_type,application_id,arrival_timestamp,batch_size,prompt_size,token_size\n"
    splitwise = open_trace(written(tmp_path, f"{head}0,2,0,0.25,1,100,5\n1,2,0,0.5,1,0,5\n"))
    assert splitwise.format == "splitwise"
    assert splitwise.left_out == {"empty prompt": 1}


def test_mooncake_times_are_milliseconds_and_chunks_512(tmp_path):
    lines = '{"timestamp": 500, "input_length": 1100, "output_length": 5, "hash_ids": [0, 1, 2]}\n'
    lines += '{"timestamp": 900, "input_length": 0, "output_length": 5, "hash_ids": []}\n'
    lines += '{"timestamp": 1000, "input_length": 600, "output_length": 9, "hash_ids": [0, 3]}\n'
    found = open_trace(written(tmp_path, lines, "m.jsonl"))
    w = found.workload
    assert w.arrival.tolist() == [0.5, 1.0]
    assert (w.prefix_chunk, w.prefix_start.tolist(), w.prefix_hash.tolist()) == (512, [0, 3, 5], [0, 1, 2, 0, 3])
    assert found.left_out == {"empty prompt": 1}


def conversation(*texts):
    return {"id": "a", "conversations": [{"from": ("human", "gpt")[i % 2], "value": t} for i, t in enumerate(texts)]}


def test_sharegpt_turns_send_the_history_again(tmp_path):
    path = written(tmp_path, json.dumps([conversation("x" * 400, "y" * 200, "z" * 40, "w" * 80)]), "s.json")
    found = open_trace(path)
    assert found.workload.prompt.tolist() == [100, 100 + 50 + 10]
    assert found.workload.output.tolist() == [50, 20]
    assert found.workload.parent.tolist() == [-1, 0]
    assert any("estimates" in note for note in found.notes)
    assert read(path, count=len).prompt.tolist() == [400, 640]


def test_sharegpt_that_is_cut_short_gives_its_whole_conversations(tmp_path):
    text = json.dumps([conversation("hello", "world"), conversation("one", "two")])
    found = open_trace(written(tmp_path, text[:-12], "s.json"))
    assert len(found.workload) == 1
    assert any("cut short after 1 whole" in note for note in found.notes)


def test_load_generators(tmp_path):
    vllm = {"request_rate": 2.0, "input_lens": [5, 6, 7], "output_lens": [1, 0, 3], "start_times": [12.0, 11.0, 10.0]}
    found = open_trace(written(tmp_path, json.dumps(vllm), "v.json"))
    assert (found.format, found.left_out) == ("vllm", {"failed": 1})
    assert found.workload.arrival.tolist() == [0.0, 2.0]
    assert found.workload.prompt.tolist() == [7, 5]

    line = {
        "metadata": {"request_start_ns": 10**9},
        "metrics": {"input_sequence_length": {"value": 8, "unit": "tokens"}},
    }
    line["metrics"]["output_sequence_length"] = {"value": 4.0, "unit": "tokens"}
    aiperf = open_trace(written(tmp_path, json.dumps(line) + "\n", "profile_export.jsonl"))
    assert (aiperf.format, aiperf.workload.output.tolist()) == ("aiperf", [4])

    served = [{"prompt_tokens": 9, "output_tokens": 2, "start_time": 100.5}]
    guide = {"benchmarks": [{"requests": {"successful": served, "errored": [{}]}}]}
    found = open_trace(written(tmp_path, json.dumps(guide), "g.json"))
    assert (found.format, found.left_out, found.workload.prompt.tolist()) == ("guidellm", {"failed": 1}, [9])


def test_vllm_without_start_times_needs_a_rate(tmp_path):
    path = written(tmp_path, json.dumps({"input_lens": [5, 6], "output_lens": [1, 2]}), "v.json")
    assert len(read(path, rate=2.0)) == 2
    with pytest.raises(Exception, match="start_times: found none"):
        read(path)


def test_every_format_has_a_reader():
    from rota.serving.workloads import read as module  # noqa: F401
    from rota.serving.workloads.read import _reader

    assert all(callable(_reader(name)) for name in READERS)


REAL = {
    "azure_2023_conv.csv": (19366, 1155, 211),
    "azure_2023_code.csv": (8819, 2048, 28),
    "mooncake_conversation.jsonl": (12031, 12035, 343),
    "mooncake_synthetic.jsonl": (3993, 15325, 149),
}


@pytest.mark.parametrize("name", REAL)
def test_published_statistics_of_the_real_traces(name):
    folder = data_folder()
    if folder is None or not (folder / "traces" / name).is_file():
        pytest.skip(f"{name} is not on this machine (set ROTA_DATA)")
    w = read(folder / "traces" / name)
    assert (len(w), round(w.prompt.mean()), round(w.output.mean())) == REAL[name]
    assert (np.diff(w.arrival) >= 0).all()

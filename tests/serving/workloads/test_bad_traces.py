"""A user's mistakes in a trace: one sentence that names file, line, field, what was found and what was expected."""

import pytest

from rota.core.errors import InputError
from rota.serving.workloads import by_name, read

VIDUR = "arrived_at,num_prefill_tokens,num_decode_tokens\n"
LINE = '{"timestamp": 1, "input_length": 5, "output_length": 2, "hash_ids": []}\n'

CASES = {
    "empty": ("t.csv", "", "an empty file"),
    "header only": ("t.csv", VIDUR, "a header and no rows"),
    "cut short": ("t.csv", VIDUR + "0,1,2\n1,3", r"t.csv:3: found 2 fields \(is the file cut short\?\), expected 3"),
    "short row": ("t.csv", VIDUR + "0,1,2\n1,3\n2,1,1\n", "t.csv:3: found 2 fields, expected 3"),
    "misspelt column": (
        "t.csv",
        "arived_at,num_prefill_tokens,num_decode_tokens\n0,1,2\n",
        "t.csv:1: found column 'arived_at', expected column 'arrived_at'",
    ),
    "no known header": ("t.csv", "a,b,c\n1,2,3\n", "t.csv:1: found fields a, b, c, expected the fields of a"),
    "NaN": ("t.csv", VIDUR + "0,1,2\n1,nan,2\n", "t.csv:3: num_prefill_tokens: found 'nan', expected a number >= 0"),
    "negative": ("t.csv", VIDUR + "0,1,-2\n", "t.csv:2: num_decode_tokens: found '-2', expected a number >= 0"),
    "text": ("t.csv", VIDUR + "0,1,2\n1,x,2\n", "t.csv:3: num_prefill_tokens: found 'x', expected a number"),
    "fraction": ("t.csv", VIDUR + "0,1.5,2\n", "t.csv:2: num_prefill_tokens: found '1.5', expected a whole number"),
    "disorder": ("t.csv", VIDUR + "0,1,2\n5,1,2\n4,1,2\n", "t.csv:4: arrived_at: found '4', expected arrivals"),
    "bad time": ("t.csv", "TIMESTAMP,ContextTokens,GeneratedTokens\n16/11,1,2\n", "t.csv:2: TIMESTAMP: found '16/11'"),
    "all failed": ("t.csv", VIDUR + "0,1,0\n", r"no request to serve \(1 x no output\)"),
    "binary": ("t.csv", "arrived_at,\x00\x80", "t.csv"),
    "broken line": ("t.jsonl", LINE + LINE[:30] + "\n" + LINE, r"t.jsonl:2: found broken JSON"),
    "cut line": ("t.jsonl", LINE + LINE[:30], r"t.jsonl:2: found broken JSON .* \(is the file cut short\?\)"),
    "wrong type": ("t.jsonl", LINE + LINE.replace("5", '"5"'), "t.jsonl:2: input_length: found str, expected int"),
    "negative length": (
        "t.jsonl",
        LINE + LINE.replace("5", "-5"),
        "t.jsonl:2: input_length: found a value out of range, expected int >= 0",
    ),
    "missing field": (
        "t.jsonl",
        LINE + '{"timestamp": 1, "input_len": 5, "output_length": 2}\n',
        "t.jsonl:2: .* expected field 'input_length'",
    ),
    "late line": ("t.jsonl", LINE + LINE.replace("1", "0"), "t.jsonl:2: timestamp: found 0, expected arrivals in asc"),
    "unknown field": (
        "t.jsonl",
        '{"id": 0, "t": 0, "in": 1, "out": 1, "tennant": "x"}\n',
        "t.jsonl:1: found field 'tennant'",
    ),
    "orphan": ("t.jsonl", '{"id": 0, "t": 0, "in": 1, "out": 1, "parent": 9}\n', "id 0: parent: found 9"),
    "no array": ("t.json", "[{]", "t.json:1: found broken JSON"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_one_sentence_that_names_the_place(case, tmp_path):
    name, text, sentence = CASES[case]
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(InputError, match=sentence):
        read(path)


def test_names_that_do_not_exist(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(VIDUR + "0,1,2\n")
    for spec, sentence in {
        "lumnix": "did you mean llumnix",
        "llumnix(rat=3)": "did you mean rate",
        'llumnix(trace="LL")': "did you mean L-L",
        "azure-2023-con": "did you mean azure-2023-conv",
        f"{path}(rat=5)": "did you mean rate",
        f"{tmp_path}/none.csv": "no such file",
        "poisson(n='x')": "workload poisson",
        "gamma(prompt='lognorml(mean=3)')": "did you mean lognormal",
        "sessions(turns=0.5)": "mean of at least 1",
    }.items():
        with pytest.raises(InputError, match=sentence):
            by_name(spec)
    with pytest.raises(InputError, match="did you mean vidur"):
        read(path, "vidurr")
    with pytest.raises(InputError, match="no option"):
        read(path, model="x")

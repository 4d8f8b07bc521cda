"""A script that runs a slow study, as a user would write it: without a `__main__` guard. Tests kill it."""

import sys

from study_cells import HERE, slow_cells

from rota.core.study import run_study

out, marks, seconds, jobs = sys.argv[1:]
run_study("slow", slow_cells(marks, float(seconds)), f"{HERE}:slow", out=out, jobs=int(jobs))
print("finished")

"""Random algebraic expressions over the family, for hypothesis."""

from hypothesis import strategies as st

from rota.training import (
    constant,
    cosine,
    exponential,
    inverse_sqrt,
    k_decay,
    linear,
    one_cycle,
    polynomial,
    rex,
    steps,
    table,
    warmup,
)

UNIT = st.floats(0, 1)
FACTOR = st.floats(-2, 2)
SHAPES = st.one_of(
    st.just(linear()),
    st.builds(constant, FACTOR),
    st.builds(polynomial, st.floats(0.1, 4)),
    st.builds(rex, st.floats(0, 0.99)),
    st.builds(cosine, st.integers(0, 3), st.floats(0.5, 2)),
    st.builds(inverse_sqrt, st.one_of(st.integers(1, 50), st.floats(0.01, 1))),
    st.builds(steps, st.lists(UNIT, max_size=3).map(sorted), st.floats(0.1, 1)),
    st.builds(exponential, st.floats(0.01, 0.9)),
    st.builds(one_cycle, st.floats(0.1, 0.9)),
    st.builds(k_decay, st.floats(0.5, 4)),
    st.builds(table, st.lists(UNIT, min_size=1, max_size=4)),
    st.builds(warmup, st.one_of(st.integers(0, 9), st.floats(0, 0.3)), UNIT),
)
LISTS = st.lists(st.floats(0.01, 0.99), min_size=1, max_size=3, unique=True).map(sorted)
EVERY = st.one_of(st.integers(1, 9), st.floats(0.01, 1), LISTS)


def larger(inner):
    return st.one_of(
        st.builds(lambda s, x: x * s, inner, FACTOR),
        st.builds(lambda a, b: a * b, inner, inner),
        st.builds(lambda s, x: s.floor(x), inner, FACTOR),
        st.builds(lambda s, x, y: s.clip(min(x, y), max(x, y)), inner, FACTOR, FACTOR),
        st.builds(lambda s, x, y: s.between(x, y), inner, FACTOR, st.one_of(st.just(1.0), FACTOR)),
        st.builds(lambda s, every: s.sample(every), inner, EVERY),
        st.builds(lambda s, at, more: s.stretch(at, at + more), inner, st.integers(0, 30), st.integers(1, 30)),
        st.builds(lambda a, b, n: a.lasting(n) >> b.lasting(0.2) >> rex(), inner, inner, st.floats(0, 0.8)),
        st.builds(lambda a, b: (a.lasting(3) >> b.lasting(0.1)).lasting(0.9) >> linear(), inner, inner),
    )


EXPRESSIONS = st.recursive(SHAPES, larger, max_leaves=5)

"""Training compute: the rule and the registry."""

import doctest

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bayes_ctxlaw.compute as compute
from bayes_ctxlaw.compute import list_models, model_compute, training_flops
from bayes_ctxlaw.errors import SpecificationError, UnknownLabelError


def test_beyond_64_bit_integers():
    assert training_flops(7_000_000_000, 2_000_000_000_000) == 8.4e22
    n, d = np.array([7_000_000_000]), np.array([2_000_000_000_000])
    assert training_flops(n, d)[0] == 8.4e22


@pytest.mark.parametrize(
    ("n_params", "window", "flops"),
    [(6_476_271_616, 8192, 7.7723e22), (12_688_184_320, 131072, 1.5251e23)],
)
def test_figures_of_the_paper(n_params, window, flops):
    """Extension moves the compute by less than 0.2 %: the table of arXiv:2510.14919."""
    assert training_flops(n_params, 2e12) == pytest.approx(flops, rel=2e-3)


def test_scalars_give_a_float_and_arrays_broadcast():
    assert type(training_flops(1, 2, 3)) is float
    assert training_flops(1, 2, 3) == 30
    assert training_flops([[1.0], [2.0]], [1.0, 2.0, 3.0]).shape == (2, 3)
    assert training_flops(pd.Series([1, 2]), 2).tolist() == [12, 24]


@given(st.floats(1, 1e13), st.floats(1, 1e15), st.floats(0, 1e13))
def test_the_rule(n, d, extension):
    assert training_flops(n, d, extension) == 6.0 * n * (d + extension)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((0, 1), "`n_params` holds 0"),
        ((1, -2e12), "`train_tokens` holds -2e+12"),
        ((1, 1, -1), "`extension_tokens` holds -1"),
        ((np.nan, 1), "`n_params` holds nan"),
        ((1, np.inf), "`train_tokens` holds inf"),
        (("7B", 1), "`n_params` is '7B'"),
        ((True, 1), "`n_params` is True"),
        ((None, 1), "`n_params`"),
        (([1, 2], [1, 2, 3]), "the shapes do not go together: `n_params` (2,)"),
    ],
)
def test_refusals(arguments, words):
    with pytest.raises(SpecificationError) as caught:
        training_flops(*arguments)
    assert words in str(caught.value)


def test_all_faults_in_one_message():
    with pytest.raises(SpecificationError) as caught:
        training_flops([1, 0, -1], "many", np.nan)
    message = str(caught.value)
    assert "`n_params` holds 0, -1;" in message
    assert "`train_tokens` is 'many'" in message
    assert "`extension_tokens` holds nan" in message


def test_registry():
    models = list_models()
    assert len(models) == 51
    assert models.index.is_unique
    assert list(models) == [
        "family",
        "n_params",
        "train_tokens",
        "compute",
        "context_window",
        "source",
    ]
    assert models["source"].str.len().min() > 10
    known = models["train_tokens"].notna()
    expected = training_flops(models["n_params"][known], models["train_tokens"][known])
    np.testing.assert_array_equal(models["compute"][known], expected)
    assert models["compute"][~known].isna().all()
    assert (~known).sum() == 5


def test_registry_is_a_copy():
    models = list_models()
    models.loc["llama-2-7b", "compute"] = 0
    assert model_compute("llama-2-7b") == 8.4e22


def test_any_case():
    assert model_compute("Llama-2-7B ") == 8.4e22


def test_unknown_model_lists_the_nearest():
    with pytest.raises(UnknownLabelError) as caught:
        model_compute("meta-llama/Llama-2-7b-hf")
    assert "llama-2-7b" in str(caught.value)
    assert "list_models() shows all 51" in str(caught.value)
    with pytest.raises(UnknownLabelError) as caught:
        model_compute("zzzz")
    assert "nearest" not in str(caught.value)


def test_undisclosed_tokens():
    with pytest.raises(SpecificationError) as caught:
        model_compute("mistral-7b")
    assert "training tokens are not" in str(caught.value)
    assert "undisclosed" in str(caught.value)


def test_examples_in_docstrings():
    assert doctest.testmod(compute).failed == 0

"""Training compute: the rule and the registry."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayes_ctxlaw.compute import find_model, list_models, model_compute, training_flops
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
    with pytest.raises(SpecificationError) as caught:
        training_flops([1, 2], [1, 2, -3])
    assert "`train_tokens` holds -3" in str(caught.value)
    assert "the shapes do not go together" in str(caught.value)


def test_registry():
    models = list_models()
    assert len(models) == 51
    assert models.index.is_unique
    assert list(models) == [
        "family",
        "n_params",
        "n_params_total",
        "n_params_non_embedding",
        "train_tokens",
        "compute",
        "context_window",
        "source",
        "params_source",
    ]
    assert models["source"].str.len().min() > 10
    known = models["train_tokens"].notna()
    expected = training_flops(models["n_params"][known], models["train_tokens"][known])
    np.testing.assert_array_equal(models["compute"][known], expected)
    assert models["compute"][~known].isna().all()
    assert (~known).sum() == 5


def test_counts_of_parameters():
    """Both counts where a source states them, the source with them, and never an order apart."""
    models = list_models()
    stated = models["n_params_non_embedding"].notna()
    assert stated.sum() == 20
    assert models["params_source"].notna().equals(stated)
    both = models[models["n_params_total"].notna()]
    assert (both["n_params_non_embedding"] < both["n_params_total"]).all()
    dense = models[stated & ~models.index.str.contains("-a")]
    ratio = dense["n_params_non_embedding"] / dense["n_params"]
    assert ratio.between(0.75, 1.15).all()
    # The figure of arXiv:2510.14919: 2e12 tokens at the window of 4k.
    row = models.loc["llama-2-7b"]
    flops = training_flops(row["n_params_non_embedding"], row["train_tokens"])
    assert flops == pytest.approx(7.7719e22, rel=1e-4)


def test_registry_is_a_copy():
    models = list_models()
    models.loc["llama-2-7b", "compute"] = 0
    assert model_compute("llama-2-7b") == 8.4e22


def test_every_name_is_its_own():
    for name in list_models().index:
        assert find_model(name) == name
        assert find_model(name.replace("-", " ").upper()) == name
        assert find_model(f"some-org/{name}-hf") == name


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("Llama 2 7B", "llama-2-7b"),
        ("meta-llama/Llama-2-7b-hf", "llama-2-7b"),
        ("llama2-7b", "llama-2-7b"),
        ("Llama-2-7B-chat-hf ", "llama-2-7b"),
        ("LLAMA2_7B", "llama-2-7b"),
        ("/models/llama-2-7b/", "llama-2-7b"),
        ("Llama-2-70B", "llama-2-70b"),
        ("meta-llama/Meta-Llama-3.1-8B-Instruct", "llama-3.1-8b"),
        ("llama3.1:8b", "llama-3.1-8b"),
        ("llama3-1-8b", "llama-3.1-8b"),
        ("llama-3-8b", "llama-3-8b"),
        ("Llama 3.2 1B", "llama-3.2-1b"),
        ("codellama/CodeLlama-13b-hf", "codellama-13b"),
        ("Code Llama 13B", "codellama-13b"),
        ("Qwen/Qwen2.5-7B-Instruct", "qwen2.5-7b"),
        ("Qwen/Qwen3-30B-A3B", "qwen3-30b-a3b"),
        ("google/gemma-3-12b-it", "gemma-3-12b"),
        ("phi2", "phi-2"),
        ("GPT-2", "gpt2"),
        ("databricks/dbrx-base", "dbrx"),
    ],
)
def test_names_as_people_write_them(written, name):
    assert find_model(written) == name


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("llama-7b", "it is: llama-1-7b or llama-2-7b?"),
        ("huggyllama/llama-7b", "it is: llama-1-7b or llama-2-7b?"),
        ("Llama 2", "it is: llama-2-7b or llama-2-13b or llama-2-70b?"),
        ("Qwen3-30B", "it is: qwen3-30b-a3b?"),
        ("llama-13b", "it is: llama-2-13b?"),
        ("togethercomputer/LLaMA-2-7B-32K", "says more than llama-2-7b,"),
        ("Yi-1.5-9B-32K", "says more than yi-1.5-9b,"),
        ("CodeLlama-7b-Python-hf", "says more than codellama-7b,"),
        ("gpt2-xl", "says more than gpt2,"),
        ("Yarn-Llama-2-7b-128k", "nearest names are llama-2-7b,"),
        ("open_llama_7b", "nearest names are codellama-7b, llama-2-7b,"),
        ("google/gemma-2-9b", "nearest names are gemma-3-4b,"),
        ("zzzz", "list_models() shows all 51"),
        ("", "There is no model ''"),
    ],
)
def test_what_is_not_certain_is_refused_with_candidates(written, said):
    with pytest.raises(UnknownLabelError) as caught:
        find_model(written)
    assert said in str(caught.value)
    assert "training_flops(n_params, train_tokens" in str(caught.value)
    with pytest.raises(UnknownLabelError):
        model_compute(written)


def test_nothing_near_is_no_nearest_name():
    with pytest.raises(UnknownLabelError) as caught:
        find_model("zzzz")
    assert "nearest" not in str(caught.value)


@given(st.text(max_size=30))
def test_any_text_is_a_name_or_refused(text):
    try:
        name = find_model(text)
    except UnknownLabelError:
        return
    # Only by saying all that the name says: every digit of it, in order.
    digits = [c for c in text.rsplit("/", 1)[-1] if c in "0123456789"]
    assert [c for c in name if c in "0123456789"] == digits


@given(
    st.sampled_from(sorted(list_models().index)),
    st.sampled_from(["", "-instruct", "-hf", " chat", "_base"]),
    st.sampled_from(["", "org/", "a/b/"]),
    st.sampled_from([str.lower, str.upper, str.title]),
)
def test_a_written_name_keeps_its_model(name, ending, owner, case):
    assert find_model(case(owner + name + ending)) == name


def test_undisclosed_tokens():
    with pytest.raises(SpecificationError) as caught:
        model_compute("mistral-7b")
    assert "training tokens are not" in str(caught.value)
    assert "undisclosed" in str(caught.value)


def test_a_product_beyond_all_numbers_and_text_among_objects_are_refused():
    with pytest.raises(SpecificationError, match="beyond the largest number"):
        training_flops(1e200, 1e200)
    with pytest.raises(SpecificationError, match="`n_params` is array"):
        training_flops(np.array(["7e9"], dtype=object), 1e12)

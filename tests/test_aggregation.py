"""Item-level rows to cells: exact, whatever the order, the pieces and the file."""

import itertools
import time

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import bayes_ctxlaw.aggregation as aggregation
from bayes_ctxlaw.aggregation import aggregate_items
from bayes_ctxlaw.errors import FileFormatError, ObservationError, SpecificationError


def items(n=400, rng_seed=0, **changes):
    """`n` binary items in two tasks, two checkpoints and three numbers of shots."""
    rng = np.random.default_rng(rng_seed)
    llm = rng.integers(0, 2, n)
    frame = pd.DataFrame(
        {
            "item": np.arange(n),
            "task": np.array(["qa", "maths"])[rng.integers(0, 2, n)],
            "llm": np.array(["A-8k", "A-128k"])[llm],
            "compute": np.array([8e22, 8.1e22])[llm],
            "context_window": np.array([8192, 131072])[llm],
            "shots": rng.integers(0, 3, n),
            "metric": "accuracy",
            "score": rng.integers(0, 2, n),
            "prompt_tokens": rng.integers(10, 131072, n),
        }
    )
    for name, value in changes.items():
        frame = frame.drop(columns=name) if value is None else frame.assign(**{name: value})
    return frame


KEYS = ["task", "llm", "compute", "context_window", "shots", "metric"]


def plainly(frame, by):
    """The same by the shortest pandas there is."""
    cells = frame.groupby(by, dropna=False).agg(
        score=("score", "mean"),
        n_items=("score", "size"),
        prompt_tokens=("prompt_tokens", "mean"),
        prompt_tokens_sd=("prompt_tokens", lambda x: np.std(x.to_numpy(float))),
    )
    return cells.reset_index()


def close(a, b):
    xr.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-9)
    assert list(a) == list(b)
    for name in a:
        assert a[name].dtype == b[name].dtype
        assert a[name].attrs == b[name].attrs


def refusal(data, error=ObservationError, **options):
    with pytest.raises(error) as caught:
        aggregate_items(data, **options)
    return str(caught.value)


def test_agrees_with_plain_pandas():
    frame = items()
    cells = aggregate_items(frame)
    expected = plainly(frame, KEYS)
    assert cells.sizes["obs_id"] == len(expected) == 12
    for name in expected:
        values = cells[name].values
        if values.dtype == object:
            assert values.tolist() == expected[name].tolist()
        else:
            np.testing.assert_allclose(values, expected[name], rtol=1e-12)
    assert (cells["n_correct"] == cells["n_items"] * cells["score"]).all()
    assert cells["n_correct"].dtype == np.float64
    assert cells["shots"].dtype == np.int64
    assert "item" not in cells


def test_counts_and_binary_scores_are_exact():
    frame = items()
    cells = aggregate_items(frame)
    right = frame.groupby(KEYS)["score"].sum()
    assert cells["n_correct"].values.tolist() == right.tolist()
    assert cells["n_items"].values.sum() == len(frame)


def test_variance_of_long_prompts_does_not_cancel():
    frame = items(score=0.5, prompt_tokens=1e6 + np.arange(400) % 2, metric="F1", shots=None)
    cells = aggregate_items(frame, chunk_rows=7)
    expected = plainly(frame, [k for k in KEYS if k != "shots"])["prompt_tokens_sd"]
    np.testing.assert_allclose(cells["prompt_tokens_sd"], expected, rtol=1e-9)


def test_equal_prompts_have_no_spread():
    for chunk_rows in (3, 1000):
        cells = aggregate_items(items(prompt_tokens=1234.1), chunk_rows=chunk_rows)
        assert (cells["prompt_tokens"] == 1234.1).all()
        assert (cells["prompt_tokens_sd"] == 0).all()


def test_graded_items_have_no_counts():
    cells = aggregate_items(items(score=0.25, metric="F1"))
    assert "n_correct" not in cells
    assert (cells["score"] == 0.25).all()


def test_a_task_of_graded_items_has_no_counts_even_where_all_are_zero():
    frame = items()
    graded = frame["task"] == "maths"
    frame["metric"] = np.where(graded, "BLEU/100", "accuracy")
    frame["score"] = frame["score"].where(~graded | (frame["shots"] == 0), 0.3)
    frame.loc[graded & (frame["shots"] == 0), "score"] = 0
    cells = aggregate_items(frame)
    maths = cells["task"] == "maths"
    assert np.isnan(cells["n_correct"].values[maths.values]).all()
    assert np.isfinite(cells["n_correct"].values[~maths.values]).all()


def test_true_and_false_are_scores():
    frame = items()
    close(aggregate_items(frame.assign(score=frame["score"] == 1)), aggregate_items(frame))


def test_order_of_cells_is_that_of_the_keys():
    cells = aggregate_items(items()).to_dataframe()
    pd.testing.assert_frame_equal(cells, cells.sort_values(KEYS))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_order_of_rows_does_not_matter(seed):
    frame = items(60)
    shuffled = frame.sample(frac=1, random_state=seed)
    close(aggregate_items(shuffled), aggregate_items(frame))


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 80), st.integers(0, 100), st.booleans())
def test_pieces_do_not_matter(chunk_rows, seed, graded):
    frame = items(70, seed)
    if graded:
        frame = frame.assign(score=np.random.default_rng(seed).uniform(size=70), metric="F1")
    close(aggregate_items(frame, chunk_rows=chunk_rows), aggregate_items(frame))


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "parquet"])
@pytest.mark.parametrize("chunk_rows", [1, 13, 400, 10_000])
def test_files_are_streamed_to_the_same_result(tmp_path, kind, chunk_rows):
    frame = items(120, technique="None", fresh=True, seed=np.arange(120) % 2)
    path = tmp_path / f"items.{kind}"
    frame.to_parquet(path) if kind == "parquet" else frame.to_csv(path, index=False)
    by = [*KEYS, "technique", "fresh", "seed"]
    close(aggregate_items(path, by=by, chunk_rows=chunk_rows), aggregate_items(frame, by=by))


def test_a_column_typed_differently_in_two_pieces(tmp_path):
    frame = items(40, source=["1"] * 20 + ["1.0"] * 10 + ["1"] * 10, shots=None)
    frame.to_csv(tmp_path / "items.csv", index=False)
    whole = aggregate_items(tmp_path / "items.csv")
    close(aggregate_items(tmp_path / "items.csv", chunk_rows=20), whole)
    assert whole["n_items"].sum() == 40


def test_blank_design_values_make_their_own_cell(tmp_path):
    frame = items(60, shots=[1.0, np.nan] * 30)
    frame.to_csv(tmp_path / "items.csv", index=False)
    cells = aggregate_items(frame)
    assert np.isnan(cells["shots"].values).sum() == 4
    close(aggregate_items(tmp_path / "items.csv", chunk_rows=1), cells)


def test_other_kinds_of_input_and_mapped_columns():
    frame = items(50)
    cells = aggregate_items(frame)
    close(aggregate_items(frame.to_dict("records")), cells)
    close(aggregate_items(xr.Dataset.from_dataframe(frame)), cells)
    renamed = frame.rename(columns={"llm": "model", "prompt_tokens": "n"})
    close(aggregate_items(renamed, llm="model", prompt_tokens="n"), cells)


def test_categories_of_which_some_are_unused():
    frame = items(50)
    task = pd.Categorical(frame["task"], categories=["qa", "maths", "never"])
    close(aggregate_items(frame.assign(task=task)), aggregate_items(frame))


def test_parameters_in_place_of_compute():
    frame = items(50, compute=None, n_params=7e9, train_tokens=2e12)
    assert (aggregate_items(frame)["compute"] == 8.4e22).all()


def test_by_adds_a_column():
    cells = aggregate_items(items(item=np.arange(400) % 2), by=[*KEYS, "item"])
    assert cells.sizes["obs_id"] == 24


class TestRefusals:
    def test_all_faulty_items_of_all_pieces_in_one_message(self, tmp_path):
        frame = items(100)
        frame["score"] = frame["score"].astype(float)
        frame.loc[[3, 55, 99], "score"] = [55, np.nan, 88]
        frame.loc[7, "prompt_tokens"] = 0
        frame.loc[60, "task"] = "qa "
        frame.to_csv(tmp_path / "items.csv", index=False)
        message = refusal(tmp_path / "items.csv", chunk_rows=10)
        assert message.startswith("4 faults in the items of items.csv (rows counted from 0")
        assert "`score`, 2 rows (3, 99): found 55, 88" in message
        assert "`score`, row 55: found blank" in message
        assert "`prompt_tokens`, row 7: found 0" in message
        assert "`task`, row 60: found 'qa '" in message

    def test_text_in_one_piece_of_a_file(self, tmp_path):
        frame = items(30, prompt_tokens=pd.Series([100] * 25 + ["?"] + [100] * 4, dtype=object))
        frame.to_csv(tmp_path / "items.csv", index=False)
        message = refusal(tmp_path / "items.csv", chunk_rows=10)
        assert "`prompt_tokens`, row 25: found '?'" in message

    def test_row_labels_of_a_frame(self):
        frame = items(20, score=[2] + [1] * 19).set_index(pd.Index([f"i{k}" for k in range(20)]))
        assert "row i0: found 2" in refusal(frame)

    def test_missing_columns(self):
        frame = items(20).rename(columns={"prompt_tokens": "n_pmt", "score": "acc"})
        message = refusal(frame.drop(columns="context_window"))
        for words in ["score='acc'", "prompt_tokens='n_pmt'", "`context_window`"]:
            assert words in message
        assert "n_correct" not in message

    def test_rows_that_are_cells_already(self):
        message = refusal(items(20, n_items=10))
        assert "describes a cell, not an item" in message
        assert "as_observations" in message

    def test_no_items(self, tmp_path):
        assert "no rows" in refusal(items(0))
        items(0).to_csv(tmp_path / "items.csv", index=False)
        assert "no rows" in refusal(tmp_path / "items.csv")
        items(0).to_parquet(tmp_path / "items.parquet")
        assert "no rows" in refusal(tmp_path / "items.parquet")

    def test_a_single_cell(self):
        assert "single row" in refusal(
            items(30, task="qa", llm="A", compute=1, context_window=9, shots=0)
        )

    def test_faults_of_cells(self):
        message = refusal(items(40, family=["F", "G"] * 20))
        assert "in the cells (numbered from 0)" in message
        assert "one family for each `llm`" in message

    @pytest.mark.parametrize("name", ["Family", "techniqe", "Shots", "n_param"])
    def test_a_slip_in_the_name_of_what_tells_cells_apart(self, name):
        frame = items(20, shots=None, **{name: 1})
        assert f"`{name}` is nearly" in refusal(frame)
        assert "6·N·D" not in refusal(frame.rename(columns={"compute": "Compute"}))
        aggregate_items(frame, by=[k for k in KEYS if k != "shots"])

    def test_checkpoints_in_the_middle_of_a_run_are_not_pooled_with_its_end(self):
        message = refusal(items(checkpoint_tokens=[1e9, np.nan] * 200))
        assert "`checkpoint_tokens`, 12 rows" in message
        assert "takes the ends of runs" in message

    def test_numbers_without_end_are_faults_and_no_warnings(self):
        message = refusal(items(20, prompt_tokens=[np.inf, 5.0] * 10), chunk_rows=7)
        assert "`prompt_tokens`, 10 rows (0, 2, 4, 6, 8, …): found inf" in message

    def test_blank_compute_is_a_fault_of_its_cell(self):
        assert "`compute`, 12 rows" in refusal(items(compute=np.nan))

    @pytest.mark.parametrize(
        ("by", "words"),
        [
            (["task", "lllm"], "lllm"),
            ("task", r"by=['task']"),
            ([*KEYS, "score"], "score cannot be in by"),
            ([*KEYS, "prompt_tokens"], "holds the bin"),
            (["task", "llm"], "by leaves out compute, context_window"),
            (5, "by is 5; give a list of names"),
            ([["task"], "llm"], "give a list of names of columns, as text"),
        ],
    )
    def test_by(self, by, words):
        assert words in refusal(items(20), error=SpecificationError, by=by)

    @pytest.mark.parametrize("chunk_rows", [0, -5, 2.5, "many"])
    def test_chunk_rows(self, chunk_rows):
        assert "at least 1" in refusal(items(20), error=SpecificationError, chunk_rows=chunk_rows)

    def test_mapping_and_files(self):
        assert "llm" in refusal(items(20), error=SpecificationError, lm="llm")
        assert "does not exist" in refusal("nowhere.csv", error=FileFormatError)


def test_memory_is_that_of_a_piece(tmp_path, monkeypatch):
    items(1000).to_csv(tmp_path / "items.csv", index=False)
    seen = []
    summary = aggregation._summary
    monkeypatch.setattr(
        aggregation, "_summary", lambda frame, by: seen.append(len(frame)) or summary(frame, by)
    )
    aggregate_items(tmp_path / "items.csv", chunk_rows=64)
    assert max(seen) <= 64
    assert sum(seen) == 1000


def test_a_million_items_take_seconds():
    frame = pd.concat(itertools.repeat(items(100_000), 10), ignore_index=True)
    start = time.perf_counter()
    cells = aggregate_items(frame)
    assert cells["n_items"].sum() == 1_000_000
    assert time.perf_counter() - start < 20  # about 1.5 on a quiet machine


CELL = ("task", "llm", "compute", "context_window")


def test_a_source_is_taken_letter_for_letter():
    frame = items(5).assign(source=["01", "01", "1", "1", "2"], task="qa", llm="A", compute=8e22)
    frame = frame.assign(context_window=8192, shots=["01", "01", "1", "1", "2"])
    found = aggregate_items(frame.drop(columns="shots"), by=[*CELL, "source"])
    assert sorted(found["source"].values.tolist()) == ["01", "1", "2"]
    by_number = aggregate_items(frame.drop(columns="source"), by=[*CELL, "shots"])
    assert sorted(by_number["shots"].values.tolist()) == [1, 2]

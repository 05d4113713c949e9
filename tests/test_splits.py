"""What each split holds out, and what it says of one that suits no data."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bayes_ctxlaw as bcl
from bayes_ctxlaw import splits


def observations(prompt_tokens, context_window=8192.0, compute=8e22, family=None):
    """Rows of one task, as a Dataset of observations."""
    rows = len(prompt_tokens)
    columns = {"prompt_tokens": prompt_tokens, "context_window": context_window}
    columns |= {"compute": compute, "family": family or "A"}
    columns = {name: np.broadcast_to(value, rows) for name, value in columns.items()}
    # One llm a row: nothing here depends on it, and compute may then differ freely.
    return bcl.as_observations(
        [
            {"score": 0.2 + 0.5 * i / rows, "task": "qa", "llm": f"m{i}"}
            | {name: values[i] for name, values in columns.items()}
            for i in range(rows)
        ]
    )


def rows_of(fold):
    return fold.train.tolist(), fold.test.tolist()


def test_a_threshold_itself_belongs_to_the_fit():
    obs = observations([100, 10_000, 10_001])
    (fold,) = splits.beyond_context(10_000)(obs)
    assert rows_of(fold) == ([0, 1], [2])
    assert fold.name == "beyond 10,000 prompt tokens"


def test_the_window_restricts_what_is_predicted_but_not_what_is_fitted():
    obs = observations([100, 200, 5000, 9000, 8192])
    folds = {w: splits.beyond_context(1000, in_window=w)(obs)[0] for w in (None, True, False)}
    assert rows_of(folds[None]) == ([0, 1], [2, 3, 4])
    assert rows_of(folds[True]) == ([0, 1], [2, 4])
    assert rows_of(folds[False]) == ([0, 1], [3])


def test_the_papers_points_beyond_10k_are_those_that_the_table_marks(montgomery):
    (fold,) = splits.beyond_context(10_000, in_window=True)(montgomery)
    assert fold.test.tolist() == np.flatnonzero(montgomery["beyond_10k"].values).tolist()


def test_compute_divides_checkpoints():
    obs = observations([100, 200, 300, 400], compute=[1e22, 1e24, 2e24, 1e23])
    (fold,) = splits.beyond_compute(1e24)(obs)
    assert rows_of(fold) == ([0, 1, 3], [2])
    assert fold.name == "beyond 1e+24 FLOP"


def test_the_window_divides_by_the_ratio_of_prompt_to_window():
    obs = observations([4000, 8192, 9000, 9000], context_window=[8192, 8192, 8192, 32_768])
    assert rows_of(splits.beyond_window()(obs)[0]) == ([0, 1, 3], [2])


def test_a_ratio_below_one_predicts_rows_near_the_end_of_the_window():
    obs = observations([1000, 2000, 7000, 9000])
    assert rows_of(splits.beyond_window(0.5)(obs)[0]) == ([0, 1], [2, 3])


def test_each_label_is_left_out_once_in_the_order_of_the_data():
    obs = observations([1, 2, 3, 4], family=["B", "A", "B", "C"])
    folds = splits.leave_out("family")(obs)
    assert [fold.name for fold in folds] == ["family B", "family A", "family C"]
    assert [rows_of(fold)[1] for fold in folds] == [[0, 2], [1], [3]]
    assert all(sorted(np.concatenate(fold[1:])) == [0, 1, 2, 3] for fold in folds)


def test_labels_are_left_out_in_the_order_given():
    obs = observations([1, 2, 3, 4], family=["B", "A", "B", "C"])
    assert [f.name for f in splits.leave_out("family", ["C", "B"])(obs)] == ["family C", "family B"]
    assert [f.name for f in splits.leave_out("family", "A")(obs)] == ["family A"]


def test_joined_labels_are_left_out_together():
    obs = observations([1, 2, 3, 4], family=["B", "A", "B", "C"])
    folds = splits.leave_out("task:family", ["qa | B"])(obs)
    assert rows_of(folds[0]) == ([1, 3], [0, 2])


def test_rolling_origins_predict_up_to_the_next_or_everything():
    obs = observations([1000, 2000, 4000, 5000, 9000, 20_000])
    tokens = [2000, 4000, 8000]
    following = splits.rolling_context(tokens)(obs)
    assert [rows_of(f)[1] for f in following] == [[2], [3], [4, 5]]
    assert [rows_of(f)[0] for f in following] == [[0, 1], [0, 1, 2], [0, 1, 2, 3]]
    everything = splits.rolling_context(tokens, horizon="all")(obs)
    assert [rows_of(f)[1] for f in everything] == [[2, 3, 4, 5], [3, 4, 5], [4, 5]]
    inside = splits.rolling_context([2000], in_window=True)(obs)
    assert rows_of(inside[0])[1] == [2, 3]


def test_rolling_compute_is_the_same_along_compute():
    obs = observations([1, 2, 3, 4], compute=[1e22, 2e22, 5e23, 5e24])
    assert [rows_of(f) for f in splits.rolling_compute([1e23, 1e24])(obs)] == [
        ([0, 1], [2]),
        ([0, 1, 2], [3]),
    ]


@given(
    tokens=st.lists(st.integers(1, 10**6), min_size=4, max_size=30, unique=True),
    window=st.sampled_from([None, True, False]),
    horizon=st.sampled_from(["next", "all"]),
    data=st.data(),
)
def test_rows_are_never_both_fitted_and_predicted(tokens, window, horizon, data):
    obs = observations(tokens)
    cuts = sorted(data.draw(st.sets(st.sampled_from(tokens), min_size=1, max_size=3)))
    split = splits.rolling_context(cuts, in_window=window, horizon=horizon)
    try:
        folds = split(obs)
    except bcl.SpecificationError:
        return  # a fold without rows, which is said and not given
    for fold, cut in zip(folds, cuts, strict=True):
        assert not set(fold.train) & set(fold.test)
        assert set(fold.train) | set(fold.test) <= set(range(len(tokens)))
        assert max(obs["prompt_tokens"].values[fold.train]) <= cut
        assert min(obs["prompt_tokens"].values[fold.test]) > cut
    if horizon == "next":
        predicted = np.concatenate([fold.test for fold in folds])
        assert len(np.unique(predicted)) == len(predicted)


@given(st.lists(st.sampled_from("ABCD"), min_size=4, max_size=20).filter(lambda f: len(set(f)) > 2))
def test_leaving_out_every_label_predicts_every_row_once(family):
    obs = observations(range(1, len(family) + 1), family=family)
    folds = splits.leave_out("family")(obs)
    assert sorted(np.concatenate([f.test for f in folds])) == list(range(len(family)))
    for fold in folds:
        left_out = set(obs["family"].values[fold.test])
        assert len(left_out) == 1
        assert not left_out & set(obs["family"].values[fold.train])


def test_a_split_says_what_it_is_and_cannot_be_changed():
    split = splits.rolling_context([2000, 4000.5], in_window=True)
    assert str(split) == "rolling_context([2000, 4000.5], in_window=True, horizon='next')"
    assert split == splits.rolling_context([2000, 4000.5], in_window=True)
    with pytest.raises(dataclasses.FrozenInstanceError):
        split.thresholds = (1.0,)


# --- what cannot be ----------------------------------------------------------------------------


def test_nothing_to_predict_is_said_with_what_was_found():
    obs = observations([100, 200, 300])
    message = r"beyond_context\(1000\).*no row to predict.*from 100 to 300"
    with pytest.raises(bcl.SpecificationError, match=message):
        splits.beyond_context(1000)(obs)


def test_too_little_to_fit_is_said_with_what_was_found():
    obs = observations([100, 200, 300])
    with pytest.raises(bcl.SpecificationError, match=r"no row to fit.*from 100 to 300"):
        splits.beyond_context(10)(obs)
    with pytest.raises(bcl.SpecificationError, match="only one row to fit, at least 2"):
        splits.beyond_context(100)(obs)


def test_a_window_that_excludes_everything_is_said():
    obs = observations([100, 200, 300])
    message = "none of the 1 prompts there exceed their window"
    with pytest.raises(bcl.SpecificationError, match=message):
        splits.beyond_context(200, in_window=False)(obs)


def test_the_faults_of_all_folds_come_in_one_message():
    obs = observations([100, 200, 300])
    with pytest.raises(
        bcl.SpecificationError, match=r"beyond 10 .*to fit.*beyond 1,000 .*to predict"
    ):
        splits.rolling_context([10, 250, 1000])(obs)


def test_a_single_label_leaves_nothing_to_fit():
    with pytest.raises(bcl.SpecificationError, match=r"family A: no row to fit.*1 label"):
        splits.leave_out("family")(observations([1, 2]))


def test_unknown_labels_are_named_beside_the_known():
    with pytest.raises(bcl.UnknownLabelError, match=r"'X', 'Y'.*have: 'A'"):
        splits.leave_out("family", ["X", "A", "Y"])(observations([1, 2]))


def test_what_is_no_label_cannot_be_left_out():
    obs = observations([1, 2])
    with pytest.raises(bcl.SpecificationError, match=r"no `technique`.*Labels here are: task, llm"):
        splits.leave_out("technique")(obs)
    with pytest.raises(bcl.SpecificationError, match=r"`compute` is a measured number"):
        splits.leave_out("compute")(obs)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: splits.beyond_context(0),
        lambda: splits.beyond_context("10k"),
        lambda: splits.beyond_context([1000]),
        lambda: splits.beyond_context(True),
        lambda: splits.beyond_compute(float("nan")),
        lambda: splits.beyond_compute(float("inf")),
        lambda: splits.beyond_window(-1),
        lambda: splits.rolling_context(4000),
        lambda: splits.rolling_context([]),
        lambda: splits.rolling_context([8000, 4000]),
        lambda: splits.rolling_compute([1e23, 1e23]),
        lambda: splits.rolling_context([4000], horizon="last"),
        lambda: splits.beyond_context(4000, in_window="yes"),
        lambda: splits.leave_out("task", []),
        lambda: splits.leave_out("task", ["qa", "qa"]),
    ],
)
def test_senseless_arguments_are_refused_before_there_are_data(wrong):
    with pytest.raises(bcl.SpecificationError):
        wrong()


# --- the longest prompts in the window -----------------------------------------------------------


def test_the_longest_quarter_of_a_task_that_fits_its_window_is_predicted():
    obs = observations([100, 200, 300, 400, 9000, 8000, 7000, 6000, 5000])
    (fold,) = splits.longest_in_window()(obs)
    # Of 8 rows in the window 2; one beyond it is too long to fit, too.
    assert rows_of(fold) == ([0, 1, 2, 3, 7, 8], [5, 6])
    assert fold.name == "longest 25 % of each task's prompts in the window"
    (fold,) = splits.longest_in_window(0.5)(obs)
    assert rows_of(fold) == ([0, 1, 2, 3], [5, 6, 7, 8])


def test_rows_of_one_length_stay_together_but_the_shortest_are_fitted():
    (fold,) = splits.longest_in_window(0.25)(observations([100, 100, 200, 200, 200]))
    assert rows_of(fold) == ([0, 1], [2, 3, 4])
    (fold,) = splits.longest_in_window(0.9)(observations([100, 100, 100, 200]))
    assert rows_of(fold) == ([0, 1, 2], [3])


def test_every_task_is_divided_by_its_own_lengths(montgomery):
    obs = observations([100, 200, 3000, 4000])
    obs = bcl.as_observations(obs.assign(task=("obs_id", ["a", "a", "b", "b"])))
    (fold,) = splits.longest_in_window()(obs)
    assert rows_of(fold) == ([0, 2], [1, 3])
    (fold,) = splits.longest_in_window()(montgomery)
    assert set(montgomery["task"].values[fold.test]) == set(montgomery["task"].values)


def test_a_task_of_one_length_is_fitted_whole_and_all_of_them_are_refused():
    obs = observations([100, 100, 100, 200])
    obs = bcl.as_observations(obs.assign(task=("obs_id", ["a", "a", "b", "b"])))
    assert rows_of(splits.longest_in_window()(obs)[0]) == ([0, 1, 2], [3])
    with pytest.raises(bcl.SpecificationError, match="no task has prompts of two lengths"):
        splits.longest_in_window()(observations([100, 100, 100]))
    with pytest.raises(bcl.SpecificationError, match=r"only one row to fit.*1 of the tasks have"):
        splits.longest_in_window()(observations([100, 200, 200]))


@pytest.mark.parametrize("share", [0, 1, -0.5, "half", True])
def test_a_share_lies_between_0_and_1(share):
    with pytest.raises(bcl.SpecificationError, match="give a share between 0 and 1"):
        splits.longest_in_window(share)

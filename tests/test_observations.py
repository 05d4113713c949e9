"""The door: what passes, what comes out, and what every refusal says."""

import re
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from bayes_ctxlaw.errors import (
    BayesCtxlawError,
    FileFormatError,
    ObservationError,
    SpecificationError,
)
from bayes_ctxlaw.observations import as_design, as_observations, grid
from bayes_ctxlaw.schema import LABELS, NUMBERS, SCHEMA, schema_table


def table(n=6, **changes):
    """A sound table of `n` rows; `changes` replace or add columns, None removes one."""
    frame = pd.DataFrame(
        {
            "score": np.linspace(0.2, 0.8, n).round(2),
            "task": ["qa", "maths"] * (n // 2) + ["qa"] * (n % 2),
            "llm": "A-8k",
            "compute": 8e22,
            "prompt_tokens": np.geomspace(100, 7000, n).round(),
            "context_window": 8192,
        }
    )
    for name, value in changes.items():
        frame = frame.drop(columns=name) if value is None else frame.assign(**{name: value})
    return frame


def column(name, row, value, n=6):
    """A sound column with `value` in one row."""
    sound = {
        "n_items": 100.0,
        "n_correct": 50.0,
        "prompt_tokens_sd": 3.0,
        "chance": 0.1,
        "family": "F",
        "technique": "PI",
        "n_params": 7e9,
        "train_tokens": 2e12,
        "extension_tokens": 1e9,
        "task_loss": 0.8,
        "checkpoint_tokens": 1e11,
    }
    frame = table(n)
    values = frame[name].tolist() if name in frame else [sound[name]] * n
    values[row] = value
    return pd.Series(values, dtype=object if isinstance(value, str) else None)


def refusal(data, match=None, error=ObservationError, how=as_observations, **column_names):
    with pytest.raises(error, match=match) as caught:
        how(data, **column_names)
    return str(caught.value)


class TestWhatComesOut:
    def test_variables_types_and_attributes(self):
        obs = as_observations(table(family="F", n_items=100, shots=[0, 1, 3, 7, 15, 31]))
        assert obs.sizes == {"obs_id": 6}
        assert obs["obs_id"].values.tolist() == list(range(6))
        assert list(obs)[:3] == ["score", "task", "llm"]
        for name in obs:
            if name in NUMBERS:
                assert obs[name].dtype == np.float64
            if name in LABELS:
                assert obs[name].dtype == object
                assert all(type(v) is str for v in obs[name].values)
            if name in SCHEMA:
                assert obs[name].attrs["units"] == SCHEMA[name].units
                assert obs[name].attrs["long_name"]
        assert obs["shots"].dtype == np.int64
        assert "technique" not in obs

    def test_chance_is_zero_when_absent(self):
        chance = as_observations(table())["chance"]
        assert (chance == 0).all()
        assert chance.attrs["comment"] == "not given, taken as 0"
        assert "comment" not in as_observations(table(chance=0.0))["chance"].attrs

    def test_the_result_is_the_user_s_to_change_and_shares_no_memory(self):
        frame = table(shots=range(6))
        obs = as_observations(frame)
        obs["score"].values[0], obs["shots"].values[0] = 1.0, 99
        assert frame["score"][0] == 0.2
        assert frame["shots"][0] == 0

    def test_input_kinds_agree(self, tmp_path):
        frame = table(family="F", technique="None", n_items=100, seed=[1, 2, 3, 4, 5, 6])
        expected = as_observations(frame)
        frame.to_csv(tmp_path / "a.csv", index=False)
        frame.to_csv(tmp_path / "a.csv.gz")  # with its index, which only labels rows
        frame.to_parquet(tmp_path / "a.parquet")
        for data in [
            str(tmp_path / "a.csv"),
            tmp_path / "a.csv.gz",
            tmp_path / "a.parquet",
            frame.to_dict("records"),
            xr.Dataset.from_dataframe(frame.rename_axis("row")).drop_vars("row"),
            expected,
        ]:
            xr.testing.assert_identical(as_observations(data), expected)

    def test_columns_are_mapped(self):
        frame = table().rename(columns={"llm": "model", "prompt_tokens": "n_pmt"})
        obs = as_observations(frame, llm="model", prompt_tokens="n_pmt")
        xr.testing.assert_identical(obs, as_observations(table()))
        assert "model" not in obs

    def test_netcdf_round_trip(self, tmp_path):
        frame = table(
            family="Fθ", n_items=[1, 2, np.nan, 4, 5, 6], note=["a", None, "", "d", "e", "f"]
        )
        frame["score"] = [1, 0.5, 0.6, 0.75, 0.8, 1]
        frame["flag"] = [True, False] * 3
        frame["day"] = pd.date_range("2026-01-01", periods=6)
        obs = as_observations(frame)
        obs.to_netcdf(tmp_path / "obs.nc", engine="h5netcdf")
        back = as_observations(xr.load_dataset(tmp_path / "obs.nc", engine="h5netcdf"))
        xr.testing.assert_identical(back, obs)
        assert back["flag"].dtype == bool
        assert obs["note"].values.tolist() == ["a", "", "", "d", "e", "f"]

    def test_idempotent_keeping_attributes_and_row_numbers(self):
        obs = as_observations(table(shots=range(6))).assign_attrs(name="mine")
        obs["shots"].attrs["units"] = "demonstrations"
        part = obs.isel(obs_id=[4, 1, 3])
        xr.testing.assert_identical(as_observations(part), part)

    def test_dataset_with_several_dimensions(self):
        scores = xr.DataArray(
            np.linspace(0.1, 0.6, 6).reshape(2, 3),
            coords={"task": ["qa", "maths"], "prompt_tokens": [100, 1000, 8000]},
            name="score",
        )
        data = scores.to_dataset().assign(llm="A", compute=8e22, context_window=8192)
        obs = as_observations(data)
        assert obs.sizes["obs_id"] == 6
        assert obs["prompt_tokens"].values[:3].tolist() == [100, 1000, 8000]

    def test_named_index_is_data_and_unnamed_index_labels_rows(self):
        by_task = table().set_index(["task", "llm"])
        xr.testing.assert_equal(as_observations(by_task), as_observations(table()))
        message = refusal(table(score=column("score", 2, 55.0)).set_index(pd.Index(list("abcdef"))))
        assert "row c" in message

    def test_categorical_and_nullable_columns(self):
        frame = table(n_items=pd.array([1, 2, None, 4, 5, 6], dtype="Int64"))
        frame["score"] = [1, 0.5, 0.6, 0.75, 0.8, 1]
        frame["task"] = frame["task"].astype("category")
        frame["replica"] = pd.array([1, 2, 3, 4, 5, 6], dtype="Int64")
        obs = as_observations(frame)
        assert np.isnan(obs["n_items"].values[2])
        assert obs["task"].dtype == object
        assert obs["replica"].dtype == np.int64

    def test_compute_follows_from_parameters_and_tokens(self):
        frame = table(compute=None, n_params=7_000_000_000, train_tokens=2_000_000_000_000)
        assert as_observations(frame)["compute"].values[0] == 8.4e22
        frame["extension_tokens"] = 1e12
        assert as_observations(frame)["compute"].values[0] == pytest.approx(1.26e23)

    def test_compute_follows_where_it_is_blank(self):
        frame = table(compute=column("compute", 1, np.nan), llm=list("abcdef"))
        frame["n_params"] = [np.nan, 7e9, np.nan, np.nan, np.nan, np.nan]
        frame["train_tokens"] = 2e12
        assert as_observations(frame)["compute"].values[:2].tolist() == [8e22, 8.4e22]

    def test_compute_beyond_64_bit_integers(self):
        frame = table().assign(compute=pd.Series([8 * 10**22] * 6, dtype=object))
        assert as_observations(frame)["compute"].values[0] == 8e22

    def test_score_follows_from_counts(self):
        frame = table(score=None, n_correct=[1, 2, 3, 4, 5, 6], n_items=8)
        assert as_observations(frame)["score"].values[1] == 0.25

    def test_numbers_written_as_text_are_read(self):
        frame = table(score=["0.1", "0.2", "0.3", "0.4", "0.5", " 0.6"])
        assert as_observations(frame)["score"].values[5] == 0.6

    @pytest.mark.parametrize("name", ["None", "NA", "null", "nan"])
    def test_words_for_blank_are_labels_in_csv(self, tmp_path, name):
        table(technique=name, n_items=["NA", 2, 3, 4, 5, 6]).assign(
            score=[0.3, 0.5, 1 / 3, 0.75, 0.8, 1]
        ).to_csv(tmp_path / "a.csv", index=False)
        obs = as_observations(tmp_path / "a.csv")
        assert (obs["technique"] == name).all()
        assert np.isnan(obs["n_items"].values[0])

    def test_labels_that_look_like_numbers_stay_text_in_csv(self, tmp_path):
        table(llm="007").to_csv(tmp_path / "a.csv", index=False)
        assert as_observations(tmp_path / "a.csv")["llm"].values[0] == "007"


class TestWhatPasses:
    def test_replicates_stay(self):
        frame = pd.concat([table(seed=1), table(seed=2)])
        assert as_observations(frame).sizes["obs_id"] == 12

    def test_all_scores_equal_and_scores_at_the_ends(self):
        as_observations(table(score=0.5))
        as_observations(table(score=[0, 1, 0, 1, 0, 1.0]))

    def test_prompt_past_the_window(self):
        as_observations(table(prompt_tokens=column("prompt_tokens", 0, 20_000)))

    def test_compute_equal_to_six_digits(self):
        as_observations(table(compute=[8e22, 8e22 * (1 + 5e-7)] * 3))

    @pytest.mark.parametrize("metric", ["accuracy", "ACC", "Exact Match", "exact_match", "pass@1"])
    def test_scores_rounded_to_three_decimals(self, metric):
        k = np.arange(6)
        as_observations(table(score=(k / 7).round(3), n_items=7, metric=metric))

    def test_graded_metric_needs_no_whole_number_of_items(self):
        as_observations(table(n_items=7, metric="F1"))

    def test_extensions_of_known_names(self):
        as_observations(table(prompt_tokens_p5=3, score_sd=0.1, prompt_tokens_max=9, task_loss=1.0))


def spoil(name, value, row=2):
    return {name: column(name, row, value)}


ROW_FAULTS = [
    (spoil("score", 55.0), "`score`, row 2: found 55.*percentage.*divide the column by 100"),
    (spoil("score", 155.0), "`score`, row 2: found 155.*at least 0 and at most 1"),
    (spoil("score", -0.1), "`score`, row 2: found -0.1.*at least 0 and at most 1"),
    (spoil("score", np.nan), "`score`, row 2: found blank.*Fill these rows in or take them out"),
    (spoil("score", np.inf), "`score`, row 2: found inf.*Infinite"),
    (spoil("score", "0.5x"), "`score`, row 2: found '0.5x'.*not a number"),
    (spoil("compute", np.nan), "`compute`, row 2: found blank.*n_params.*train_tokens"),
    (spoil("compute", 0.0), "`compute`, row 2: found 0.*above 0.*overflow"),
    (spoil("compute", -np.inf), "`compute`, row 2: found -inf"),
    (spoil("prompt_tokens", 0), "`prompt_tokens`, row 2: found 0.*above 0"),
    (spoil("prompt_tokens", -7), "`prompt_tokens`, row 2: found -7.*above 0"),
    (spoil("prompt_tokens", np.nan), "`prompt_tokens`, row 2: found blank"),
    (spoil("context_window", 0), "`context_window`, row 2: found 0.*above 0"),
    (spoil("context_window", np.inf), "`context_window`, row 2: found inf"),
    (spoil("context_window", "8k"), "`context_window`, row 2: found '8k'.*not a number"),
    (spoil("n_items", 0), "`n_items`, row 2: found 0.*whole number, at least 1"),
    (spoil("n_items", 10.5), "`n_items`, row 2: found 10.5.*whole numbers"),
    (spoil("chance", 1.0), "`chance`, row 2: found 1.*below 1"),
    (spoil("chance", -0.25), "`chance`, row 2: found -0.25.*at least 0"),
    (spoil("chance", 25.0), "`chance`, row 2: found 25.*percentage"),
    (spoil("chance", np.nan), "`chance`, row 2: found blank.*Write 0"),
    (spoil("prompt_tokens_sd", -1.0), "`prompt_tokens_sd`, row 2: found -1.*at least 0"),
    (spoil("task", ""), "`task`, row 2: found ''.*not empty.*Label every row"),
    (spoil("task", "  "), "`task`, row 2: found '  '.*not empty"),
    (spoil("task", None), "`task`, row 2: found blank.*Label every row"),
    (spoil("llm", np.nan), "`llm`, row 2: found blank"),
    (spoil("technique", "PI "), "`technique`, row 2: found 'PI '.*two levels.*strip"),
    (spoil("family", None), "`family`, row 2: found blank.*or leave the whole column out"),
    (spoil("task", 7), r"`task`, row 2: found 7.*text.*astype\(str\)"),
    ({**spoil("n_params", -1.0), "train_tokens": 2e12}, "`n_params`, row 2: found -1.*above 0"),
    (
        {"compute": None, **spoil("n_params", np.nan), "train_tokens": 2e12},
        "`compute`, row 2: found blank.*`n_params` and `train_tokens`",
    ),
    (
        {
            "compute": None,
            "n_params": 7e9,
            "train_tokens": 2e12,
            **spoil("extension_tokens", np.nan),
        },
        "`extension_tokens`, row 2: found blank.*write 0",
    ),
    (
        {"score": 0.5, "n_items": 100, **spoil("n_correct", 110)},
        "`n_correct`, row 2: found 110 of 100.*at most `n_items`.*swapped",
    ),
    (
        {"score": 0.5, "n_items": 100, **spoil("n_correct", -1)},
        "`n_correct`, row 2: found -1.*at least 0",
    ),
    (
        {"score": 0.5, "n_items": 100, **spoil("n_correct", 40)},
        "`score`, row 2: found score 0.5 beside 40 of 100",
    ),
    (
        {"n_correct": 50, "score": 0.5, **spoil("n_items", np.nan)},
        "`n_correct`, row 2: found 50.*Give the number of items",
    ),
    (
        {"score": [0.1, 0.2, 0.34, 0.4, 0.5, 0.6], "n_items": 10, "metric": "Accuracy"},
        "`score`, row 2: found 0.34 with metric 'Accuracy' of 10 items.*whole number of items",
    ),
]


class TestFaultsOfRows:
    @pytest.mark.parametrize(("changes", "words"), ROW_FAULTS)
    def test_named_once_with_its_row(self, changes, words):
        message = refusal(table(**changes))
        assert message.startswith("1 fault in the DataFrame:")
        assert re.search(words, message), message

    @pytest.mark.parametrize(("changes", "words"), ROW_FAULTS)
    def test_the_same_in_a_design(self, changes, words):
        if "score`, row 2: found blank" in words:
            assert as_design(table(**changes)).sizes["obs_id"] == 6
        else:
            assert re.search(words, refusal(table(**changes), how=as_design))

    def test_bad_value_in_csv_is_named(self, tmp_path):
        table(score=column("score", 3, "0,5")).to_csv(tmp_path / "scores.csv", index=False)
        message = refusal(str(tmp_path / "scores.csv"))
        assert "scores.csv (rows counted from 0 below the header)" in message
        assert "`score`, row 3: found '0,5'" in message
        assert str(tmp_path) not in message

    def test_many_rows_are_counted_and_the_first_named(self):
        message = refusal(table(100, score=np.arange(2.0, 102.0)))
        assert "`score`, 99 rows (0, 1, 2, 3, 4, …): found 2, 3, 4, 5, 6, …" in message

    def test_your_column_is_named_too(self):
        frame = table(score=55.0).rename(columns={"score": "acc"})
        assert "`score` (your column `acc`), 6 rows" in refusal(frame, score="acc")

    def test_identical_rows(self):
        frame = pd.concat([table(), table().iloc[[1, 4]]], ignore_index=True)
        message = refusal(frame)
        assert "Identical rows, 4 rows (1, 4, 6, 7): found row 1 = 6, row 4 = 7" in message
        assert "`seed`" in message

    def test_llm_with_two_families(self):
        message = refusal(table(family=["F", "G"] * 3))
        assert "`family`, 6 rows" in message
        assert "'A-8k' with 2 of them (F, G)" in message
        assert "one family for each `llm`" in message

    def test_many_llms_with_two_families_are_found_in_one_pass(self):
        """A slip in one column is a fault of every checkpoint."""
        n = 60_000
        frame = table(n, llm=[f"m{i // 4}" for i in range(n)], score=np.linspace(0.0, 1.0, n))
        start = time.perf_counter()
        message = refusal(frame.assign(family=["F", "G"] * (n // 2)))
        assert time.perf_counter() - start < 20  # about 0.5; minutes with a pass for each
        assert f"`family`, {n} rows (0, 1, 2, 3, 4, …): found 'm0' with 2 of them (F, G)" in message

    def test_llm_with_two_values_of_compute(self):
        message = refusal(table(compute=[7.7723e22, 7.7846e22] * 3))
        assert "'A-8k' with 2 of them (7.7723e+22, 7.7846e+22)" in message
        assert "'X-8k' and 'X-128k'" in message

    def test_true_and_false_are_no_token_counts(self):
        assert "`prompt_tokens`, 6 rows" in refusal(table(prompt_tokens=True))

    def test_dates_are_no_numbers(self):
        assert "not a number" in refusal(table(compute=pd.Timestamp("2026-01-01")))


class TestFaultsOfTables:
    def test_several_faults_in_one_message(self):
        frame = table(
            compute=None,
            score=[55.0, 0.4, np.nan, 0.5, -1, 0.6],
            technique=["PI", "PI ", "", "PI", "PI", "PI"],
            prompt_tokens=[1, 2, 0, 4, 5, "many"],
        )
        message = refusal(frame)
        assert message.startswith("8 faults in the DataFrame:")
        for words in [
            "`compute` (training",
            "row 0: found 55",
            "row 2: found blank",
            "row 4: found -1",
        ]:
            assert words in message
        for words in [
            "row 1: found 'PI '",
            "row 2: found ''",
            "row 2: found 0",
            "row 5: found 'many'",
        ]:
            assert words in message

    def test_empty_table(self):
        assert "no rows" in refusal(table().iloc[:0])
        assert "no rows" in refusal([])
        assert "no rows" in refusal(table().iloc[:0], how=as_design)

    def test_single_point(self):
        message = refusal(table(1))
        assert "a single row, from which nothing can be fitted" in message
        assert "two rows" in message

    def test_missing_columns_with_suggestions(self):
        frame = table().rename(
            columns={"llm": "model", "prompt_tokens": "n_pmt", "score": "Accuracy"}
        )
        message = refusal(frame)
        for words in ["llm='model'", "prompt_tokens='n_pmt'", "score='Accuracy'"]:
            assert f"Perhaps {words}?" in message
        assert "`context_window`" not in message

    def test_missing_column_without_suggestion_lists_the_columns(self):
        message = refusal(table(context_window=None))
        assert "`context_window` (context window of the checkpoint; tokens) is missing" in message
        assert "The columns are: score, task, llm, compute, prompt_tokens" in message

    def test_columns_are_listed_once(self):
        message = refusal(table(context_window=None, llm=None, task=None))
        assert message.count("is missing") == 3
        assert message.count("The columns are: ") == 1

    @pytest.mark.parametrize(
        "name", ["n_item", "Family", "tehnique", "prompt_tokens_std", "chances"]
    )
    def test_near_miss_of_an_absent_optional_name(self, name):
        assert f"`{name}` is nearly" in refusal(table(**{name: 1}))

    def test_n_correct_alone(self):
        assert "without `n_items`" in refusal(table(n_correct=3))

    def test_column_names(self):
        frame = table()
        frame["a/b"], frame[7] = 1, 2
        frame = pd.concat([frame, frame[["score"]]], axis=1)
        message = refusal(frame)
        for words in ["'score' occurs 2 times", "7 is not text", "'a/b' holds a `/`"]:
            assert words in message

    @pytest.mark.parametrize(
        ("values", "words"),
        [
            ([1, "a", 2, "b", 3, "c"], "mixed"),
            ([[1], [2], [3], [4], [5], [6]], "mixed"),
            ([True, None, False, True, True, True], "true/false and blanks"),
            (pd.date_range("2026-01-01", periods=6, tz="UTC"), "without time zone"),
        ],
    )
    def test_carried_column_netcdf_cannot_keep(self, values, words):
        message = refusal(table().assign(extra=pd.Series(values)))
        assert "`extra`, carried along, holds" in message
        assert words in message

    def test_row_numbers(self):
        assert "each once" in refusal(table(obs_id=1))
        assert "whole numbers" in refusal(table(obs_id="a"))

    @pytest.mark.parametrize("data", [{"score": [1]}, 7, None, np.ones(3), pd.Series([1])])
    def test_other_kinds_are_refused_with_the_supported_ones(self, data):
        assert "list of dicts" in refusal(data)

    def test_list_of_something_else(self):
        assert "entry 1 is a int" in refusal([{"score": 1}, 3])

    def test_index_name_used_twice(self):
        frame = table()
        frame.index = frame["task"]
        assert "used twice (task)" in refusal(frame)

    def test_two_levels_of_column_names(self):
        frame = table()
        frame.columns = pd.MultiIndex.from_product([["a"], frame.columns])
        assert "one level" in refusal(frame)


class TestMapping:
    def test_misspelt_canonical_name(self):
        message = refusal(table(), error=SpecificationError, contxt_window="task")
        assert "did you mean 'context_window'" in message
        assert "The canonical names are: score, task, llm" in message

    def test_absent_column(self):
        message = refusal(table(), error=SpecificationError, llm="lllm")
        assert "there is no column 'lllm' (did you mean 'llm'?)" in message
        assert "Your columns are: score, task" in message

    def test_displaced_column(self):
        message = refusal(table(model="B"), error=SpecificationError, llm="model")
        assert "already has a column 'llm'" in message

    def test_canonical_column_mapped_away(self):
        message = refusal(table(score=None), error=SpecificationError, score="compute")
        assert "carries another name of the schema" in message

    def test_column_used_twice(self):
        frame = table(task=None, llm=None, name="x")
        assert "used for" in refusal(frame, error=SpecificationError, task="name", llm="name")

    @pytest.mark.parametrize("lengths", [(512, 8192), ("512", "8k")])
    def test_a_column_for_each_prompt_length_is_to_be_turned(self, lengths):
        wide = pd.DataFrame([{"llm": "A", "task": "qa"} | dict.fromkeys(lengths, 0.5)])
        message = refusal(wide)
        assert f"2 columns are called by numbers ({lengths[0]!r}, {lengths[1]!r})" in message
        assert "df.melt(id_vars=[...], var_name='prompt_tokens', value_name='score')" in message

    def test_a_mapping_that_is_none_or_the_other_way_round(self):
        with pytest.raises(SpecificationError) as caught:
            as_observations(table(), modle="llm")
        assert "your column 'llm' has a canonical name already: leave it out" in str(caught.value)
        assert "rename it in the table" not in str(caught.value)
        with pytest.raises(SpecificationError, match=r"the other way round, llm='model'"):
            as_observations(table().rename(columns={"llm": "model"}), model="llm")

    def test_constant_instead_of_a_name(self):
        message = refusal(table(), error=SpecificationError, chance=0.25)
        assert "df.assign(chance=0.25)" in message

    def test_an_option_that_is_misspelt_is_no_column(self):
        message = refusal(table(), error=SpecificationError, draw=200, tune=100, cores=2)
        assert "'draw' is no option here (did you mean 'draws'?)" in message
        assert "'tune' is no option here (it is one of fit" in message
        assert "fit_options={'tune': …}" in message
        assert "'cores' is no option here, and not a name" in message
        assert "df.assign" not in message
        message = refusal(table(), error=SpecificationError, kind="llm")
        assert "'kind' is no option here (it is one of another function)" in message

    def test_all_faults_at_once(self):
        message = refusal(table(), error=SpecificationError, lm="llm", task="tsk", chance=0.25)
        for words in ["'lm' is not a name", "no column 'tsk'", "chance=0.25"]:
            assert words in message

    def test_name_mapped_to_itself(self):
        as_observations(table(), llm="llm")


class TestFiles:
    def test_missing_file(self):
        message = refusal("nowhere/scores.csv", error=FileFormatError)
        assert "does not exist" in message
        assert ".parquet" in message

    def test_directory(self, tmp_path):
        assert "directory" in refusal(tmp_path, error=FileFormatError)

    def test_unsupported_kind(self, tmp_path):
        (tmp_path / "scores.xlsx").write_bytes(b"x")
        message = refusal(tmp_path / "scores.xlsx", error=FileFormatError)
        assert "Supported are .csv, .csv.gz, .parquet, .pq" in message

    @pytest.mark.parametrize(
        ("name", "content", "words"),
        [
            ("a.csv", b"", "empty"),
            ("a.csv", b"score,task\n1,2,3\n4,5,6\n", "Expected 2 fields in line 2, saw 3"),
            ("a.csv", b"score,task\n1,2\n4,5,6\n", "could not be read as CSV"),
            ("a.csv", b"score,task,score\n1,2,3\n", "twice: score"),
            ("a.csv", b"score,task,,llm\n1,2,3,4\n", "column 3 has no name"),
            ("a.csv", b"score;task;llm\n1;2;3\n", "other than commas"),
            ("a.csv", b"sc\xff\xfeore,task\n1,2\n", "could not be read as CSV"),
            ("a.csv.gz", b"not gzip", "could not be read as CSV"),
            ("a.parquet", b"not parquet", "could not be read as Parquet"),
        ],
    )
    def test_unreadable(self, tmp_path, name, content, words):
        (tmp_path / name).write_bytes(content)
        assert words in refusal(tmp_path / name, error=FileFormatError)

    def test_header_only(self, tmp_path):
        table().iloc[:0].to_csv(tmp_path / "a.csv", index=False)
        assert "no rows" in refusal(tmp_path / "a.csv")

    def test_byte_order_mark(self, tmp_path):
        table().to_csv(tmp_path / "a.csv", index=False, encoding="utf-8-sig")
        as_observations(tmp_path / "a.csv")

    def test_pyarrow_absent(self, tmp_path, monkeypatch):
        table().to_parquet(tmp_path / "a.parquet")
        monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
        message = refusal(tmp_path / "a.parquet", error=FileFormatError)
        assert "needs the package pyarrow" in message


class TestDesign:
    def test_needs_no_score_and_takes_single_and_repeated_rows(self):
        at = as_design(table(1, score=None))
        assert "score" not in at
        assert as_design(pd.concat([table(1), table(1)])).sizes["obs_id"] == 2

    def test_one_llm_with_several_values_of_compute(self):
        as_design(table(compute=np.geomspace(1e22, 1e24, 6)))

    def test_takes_observations(self):
        obs = as_observations(table(chance=0.1))
        xr.testing.assert_identical(as_design(obs), obs)

    def test_a_chance_that_is_not_given_is_left_to_the_fit(self):
        obs = as_observations(table())
        xr.testing.assert_identical(as_design(obs), obs.drop_vars("chance"))
        assert "chance" not in as_design(table())


def run_table(**changes):
    """Ends of training runs, without prompts and windows."""
    frame = table(prompt_tokens=None, context_window=None, compute=None, llm=list("abcdef"))
    frame = frame.assign(n_params=np.geomspace(1e8, 1e9, 6), train_tokens=1e11, task_loss=0.8)
    return frame.assign(**changes)


class TestTrainingRuns:
    def test_need_no_context_if_they_say_so(self):
        obs = as_observations(run_table(), needs_context=False)
        assert not {"prompt_tokens", "context_window"} & set(obs)
        assert obs["task_loss"].attrs["units"] == "bits/byte"
        assert obs["compute"].values[0] == pytest.approx(6e19)
        xr.testing.assert_identical(as_observations(obs, needs_context=False), obs)
        assert as_design(run_table(score=np.nan), needs_context=False).sizes["obs_id"] == 6

    def test_are_refused_where_context_is_needed(self):
        for how in (as_observations, as_design):
            message = refusal(run_table(), how=how)
            assert "`prompt_tokens` (mean prompt length of the cell; tokens) is missing" in message
            assert "needs_context=False" in message

    def test_a_context_that_is_there_is_checked_all_the_same(self):
        frame = run_table(prompt_tokens=-1, context_window=4096)
        with pytest.raises(ObservationError, match="`prompt_tokens`, 6 rows"):
            as_observations(frame, needs_context=False)

    @pytest.mark.parametrize("value", [0.0, -0.1, np.inf, "low"])
    def test_a_loss_is_a_number_above_0(self, value):
        frame = run_table(task_loss=column("task_loss", 2, value))
        with pytest.raises(ObservationError, match="`task_loss`, row 2: found"):
            as_observations(frame, needs_context=False)

    def test_checkpoints_share_the_tokens_of_their_run(self):
        frame = run_table(
            llm="a", n_params=1e9, checkpoint_tokens=[1e10, 2e10, 4e10, 8e10, 1e11, np.nan]
        )
        obs = as_observations(frame, needs_context=False)
        assert (obs["compute"] == 6e20).all()
        frame.loc[2, "checkpoint_tokens"] = 2e11
        with pytest.raises(ObservationError, match="row 2: found 2e\\+11 of 1e\\+11"):
            as_observations(frame, needs_context=False)

    def test_a_law_of_context_takes_no_checkpoints(self):
        frame = run_table(prompt_tokens=500, context_window=4096)
        as_observations(frame)
        frame["checkpoint_tokens"] = column("checkpoint_tokens", 3, np.nan)
        message = refusal(frame)
        assert "`checkpoint_tokens`, 5 rows (0, 1, 2, 4, 5): found 1e+11" in message
        assert "has not decayed" in message

    def test_the_flag_is_no_column(self):
        message = refusal(table(), error=SpecificationError, needs_context="context_window")
        assert "needs_context='context_window' must be True or False" in message

    def test_a_grid_of_sizes(self):
        at = grid(needs_context=False, task="qa", llm="x", n_params=[1e9, 1e10], train_tokens=1e12)
        assert at["compute"].values.tolist() == [6e21, 6e22]
        assert "`context_window`" in refusal(
            None, how=lambda _: grid(task="qa", llm="x", compute=1)
        )


POINT = {
    "task": "qa",
    "llm": "A",
    "compute": 8e22,
    "context_window": 8192,
    "prompt_tokens": 100,
}


class TestGrid:
    def test_scalars_make_one_point(self):
        at = grid(**POINT)
        assert at.sizes["obs_id"] == 1
        assert "chance" not in at  # that of the task in a fit

    def test_last_argument_varies_fastest(self):
        at = grid(**POINT | {"task": ["b", "a"], "prompt_tokens": np.array([3, 1, 2])}, n_items=9)
        assert at["task"].values.tolist() == ["b"] * 3 + ["a"] * 3
        assert at["prompt_tokens"].values.tolist() == [3, 1, 2] * 2
        assert (at["n_items"] == 9).all()

    @settings(deadline=None)
    @given(st.permutations(["compute", "context_window", "prompt_tokens"]))
    def test_order_of_arguments(self, names):
        axes = {n: [10.0 * k for k in range(1, 3 + i)] for i, n in enumerate(names)}
        at = grid(task="qa", llm="A", **axes)
        expected = pd.MultiIndex.from_product(axes.values(), names=names).to_frame(index=False)
        assert at.to_dataframe()[names].to_numpy().tolist() == expected.to_numpy().tolist()

    def test_other_kinds_of_axis(self):
        for axis in [
            (1, 2),
            range(1, 3),
            pd.Series([1, 2]),
            pd.Index([1, 2]),
            xr.DataArray([1, 2]),
        ]:
            assert grid(**POINT | {"prompt_tokens": axis}).sizes["obs_id"] == 2
        assert grid(**POINT | {"prompt_tokens": np.array(7)}).sizes["obs_id"] == 1

    def test_parameters_in_place_of_compute_and_carried_names(self):
        point = {k: v for k, v in POINT.items() if k != "compute"}
        at = grid(**point, n_params=[7e9, 13e9], train_tokens=2e12, shots=4, metric="F1")
        assert at["compute"].values.tolist() == [8.4e22, 1.56e23]
        assert at["shots"].values.tolist() == [4, 4]

    @pytest.mark.parametrize("name", ["contxt_window", "promt_tokens", "Task", "llms", "n_item"])
    def test_near_miss(self, name):
        point = {k: v for k, v in POINT.items() if k != "context_window"}
        assert f"`{name}` is nearly" in refusal(
            None,
            how=lambda _: grid(
                **{k: v for k, v in point.items() if k[0] != name[0].lower()}, **{name: 1}
            ),
        )

    def test_all_faults_at_once(self):
        message = refusal(
            None, how=lambda _: grid(task=" qa", llm="A", compute=-1, prompt_tokens=1)
        )
        assert message.startswith("3 faults in the grid (points counted from 0):")
        for words in ["`context_window`", "`task`, row 0", "`compute`, row 0"]:
            assert words in message

    @pytest.mark.parametrize(
        ("value", "words"),
        [
            ([], "is empty"),
            (np.ones((2, 2)), "2 dimensions"),
            ([[1, 2]], "nested"),
            ({"a": 1}, "is a dict"),
            (iter([1, 2]), "give a scalar, a list or an array"),
            (np.arange(1, 20_000_000), "2e\\+07 points"),
        ],
    )
    def test_axes_that_are_none(self, value, words):
        assert re.search(
            words, refusal(None, how=lambda _: grid(**POINT | {"prompt_tokens": value}))
        )


LABEL = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=6)


@st.composite
def frames(draw):
    n = draw(st.integers(2, 8))
    positive = st.floats(1e-3, 1e30, allow_nan=False)

    def many(values):
        return draw(st.lists(values, min_size=n, max_size=n))

    return pd.DataFrame(
        {
            "score": many(st.floats(0, 1)),
            "task": many(LABEL),
            "llm": [f"llm {i}" for i in range(n)],  # distinct: one compute value each
            "compute": many(positive),
            "prompt_tokens": many(positive),
            "context_window": many(st.integers(1, 10**9)),
            "chance": many(st.floats(0, 0.99)),
            "n_items": many(st.none() | st.integers(1, 10**6)),
            "note": many(st.text("abc xyz", max_size=4)),
            "seed": range(n),
        }
    )


class TestProperties:
    @settings(deadline=None)
    @given(frames())
    def test_frame_to_dataset_to_frame(self, frame):
        obs = as_observations(frame)
        back = obs.to_dataframe()
        for name in frame:
            expected = frame[name].to_numpy()
            if name in NUMBERS:
                expected = frame[name].to_numpy(dtype=float, na_value=np.nan)
            np.testing.assert_array_equal(back[name].to_numpy(), expected)
        xr.testing.assert_identical(as_observations(back), obs)
        xr.testing.assert_identical(as_observations(obs), obs)

    @settings(deadline=None)
    @given(frames(), st.data())
    def test_any_corrupted_cell_is_refused_and_its_row_named(self, frame, data):
        name = data.draw(st.sampled_from([*(n for n in frame if n in SCHEMA)]))
        row = data.draw(st.integers(0, len(frame) - 1))
        bad = ["", None, " x", "x "] if name in LABELS else [-1.0, "x", np.inf, -np.inf]
        if name in NUMBERS and not SCHEMA[name].blank:
            bad += [np.nan, None]
        if name in ("score", "chance"):
            bad += [1.5, 55.0]
        column = frame[name].astype(object)
        column[row] = data.draw(st.sampled_from(bad))
        labels = [f"cell{i}" for i in range(len(frame))]
        message = refusal(frame.assign(**{name: column}).set_axis(labels))
        assert message.startswith("1 fault in")
        assert f"`{name}`, row cell{row}: found" in message


def test_schema_table_covers_the_schema():
    printed = schema_table()
    assert list(printed.index) == list(SCHEMA)
    assert printed.loc["score", "allowed"] == "a number, at least 0 and at most 1"
    assert printed.loc["n_items", "allowed"] == "a whole number, at least 1, or blank for unknown"


def test_errors_are_ours_and_python_s():
    assert issubclass(ObservationError, BayesCtxlawError)
    assert issubclass(ObservationError, ValueError)


def test_import_is_light():
    code = "import bayes_ctxlaw.observations, sys; assert 'pyarrow.parquet' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_hundred_thousand_cells_pass_quickly():
    n = 100_000
    rng = np.random.default_rng(0)
    frame = table(n, score=rng.uniform(size=n), prompt_tokens=rng.uniform(1, 1e5, n), metric="F1")
    assert as_observations(frame).sizes["obs_id"] == n


@pytest.mark.parametrize("name", ["draw", "chain", "axis", "level", "forecaster", "samples"])
def test_names_that_predictions_use_are_refused(name):
    row = {"score": 0.3, "task": "qa", "llm": "A", "compute": 8e22, "prompt_tokens": 120}
    row |= {"context_window": 8192, name: 1}
    with pytest.raises(ObservationError, match=f"`{name}` is a name that predictions have"):
        as_observations([row])


def test_a_prediction_is_points_to_predict_as_well():
    at = grid(task="qa", llm="A", compute=8e22, context_window=8192, prompt_tokens=[100, 200])
    values = {name: ("obs_id", [0.1, 0.2]) for name in ("mean", "median", "lower", "upper")}
    draws = {"samples": (("chain", "draw", "obs_id"), np.zeros((2, 3, 2)))}
    beyond = {"extrapolation": (("obs_id", "axis"), np.zeros((2, 2)))}
    found = at.assign(values | draws | beyond).assign_attrs(prediction_kind="law")
    xr.testing.assert_identical(as_design(found).drop_attrs(), at.drop_attrs())


def test_large_whole_numbers_are_carried_as_they_are_or_refused():
    base = [
        {"score": s, "task": "qa", "llm": "A", "compute": 8e22, "prompt_tokens": n,
         "context_window": 8192} for s, n in ((0.31, 120), (0.42, 960), (0.5, 2000))
    ]  # fmt: skip
    frame = pd.DataFrame(base)
    large = [2**63 + 5, 2**64 - 1, 7]
    for column in (np.array(large, np.uint64), pd.array(large, dtype="UInt64")):
        assert as_observations(frame.assign(hash=column))["hash"].values.tolist() == large
    flops = [84 * 10**21, 7, 9]
    assert as_observations(frame.assign(total=flops))["total"].values.tolist() == [8.4e22, 7, 9]
    blank = pd.array([2**53, None, 7], dtype="Int64")
    assert as_observations(frame.assign(run=blank))["run"].values[0] == 2.0**53
    for bad in (pd.array([2**60 + 1, None, 7], dtype="Int64"), [2**70, 2**60 + 1, 9]):
        with pytest.raises(ObservationError, match="1 of them would change as floating numbers"):
            as_observations(frame.assign(run=bad))

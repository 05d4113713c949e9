"""References, codes and design arrays: the same at the fit and at prediction."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, ndtri

from bayes_ctxlaw.encoding import (
    APPROACH,
    BASE_LEVELS,
    INTERACTION_PARAMETERS,
    LEVEL_PARAMETERS,
    Encoding,
    level_dim,
    level_labels,
    parse_groups,
)
from bayes_ctxlaw.errors import ObservationError, SpecificationError
from bayes_ctxlaw.law import PARAMETERS, PENALTIES, LawTerms, mean_score
from bayes_ctxlaw.observations import as_design, as_observations, grid

LEVELS = parse_groups(["task", "technique", "llm", "task:technique"])


def table(**changes):
    rows = [
        {"task": t, "llm": m, "technique": k, "compute": c, "prompt_tokens": n,
         "context_window": 1000.0, "score": 0.001 * n / 4 + 0.1 * (t == "qa")}
        for t in ("qa", "maths")
        for m, k, c in (("small", "PI", 1e20), ("large", "YaRN", 1e22))
        for n in (10.0, 100.0, 1000.0)
    ]  # fmt: skip
    return [row | changes for row in rows]


@pytest.fixture(scope="module")
def obs():
    return as_observations(table())


@pytest.fixture(scope="module")
def encoding(obs):
    return Encoding.of(obs, LEVELS)


class TestReferences:
    def test_geometric_centre_of_the_data(self, encoding):
        assert encoding.compute_reference == pytest.approx(1e21, rel=1e-12)
        assert encoding.prompt_tokens_reference == pytest.approx(100.0, rel=1e-12)

    def test_ranges(self, encoding):
        assert encoding.ranges["compute"] == pytest.approx((1e20, 1e22))
        assert encoding.ranges["prompt_tokens"] == pytest.approx((10.0, 1000.0))
        assert encoding.ranges["window_ratio"] == pytest.approx((np.log(0.01), 0.0))

    @given(st.floats(-20, 20))
    def test_recentring_moves_z_and_nothing_else(self, by):
        obs = as_observations(table())
        encoding = Encoding.of(obs, LEVELS)
        before, after = (e.design(obs, LawTerms()) for e in (encoding, encoding.recentred(by)))
        np.testing.assert_allclose(before["z"] - after["z"], by, atol=1e-9)
        for name in ("x", "w", "chance"):
            np.testing.assert_array_equal(before[name], after[name])


class TestLabels:
    def test_in_the_order_of_first_appearance(self, encoding):
        assert encoding.labels["task"] == ("qa", "maths")
        assert encoding.labels["llm"] == ("small", "large")

    def test_interactions_join_the_labels(self, encoding, obs):
        assert encoding.labels["task:technique"][:2] == ("qa | PI", "qa | YaRN")
        assert level_labels(obs, "task:technique")[0] == "qa | PI"
        assert level_dim("task:technique") == "task_technique"

    def test_levels_that_the_data_lack_are_left_out(self, obs):
        encoding = Encoding.of(obs, parse_groups(["family", "task:family", "llm"]))
        assert set(encoding.labels) == {"task", "llm"}  # task labels are always kept

    def test_codes_lead_back_to_the_labels(self, encoding, obs):
        for level, labels in encoding.labels.items():
            codes = encoding.codes(obs, level)
            assert codes.min() >= 0
            np.testing.assert_array_equal(np.array(labels, object)[codes], level_labels(obs, level))

    def test_codes_of_unseen_labels_are_minus_one(self, encoding):
        at = as_design(table(llm="new", technique="PI"))
        assert (encoding.codes(at, "llm") == -1).all()
        assert (encoding.codes(at, "technique") == 0).all()

    @given(st.text(min_size=1).filter(lambda s: s not in ("qa", "maths")))
    def test_whatever_was_not_seen_has_no_code(self, label):
        encoding = Encoding(1.0, 1.0, {"task": ("qa", "maths")}, {}, {}, {})
        at = xr.Dataset({"task": ("obs_id", np.array([label, "maths"], dtype=object))})
        assert encoding.codes(at, "task").tolist() == [-1, 1]


class TestDesign:
    def test_log_ratios(self, encoding, obs):
        design = encoding.design(obs, LawTerms())
        np.testing.assert_allclose(design["x"][:6], np.log([0.1] * 3 + [10.0] * 3))
        np.testing.assert_allclose(design["z"][:3], np.log([0.1, 1.0, 10.0]), atol=1e-12)
        np.testing.assert_allclose(design["w"][:3], np.log([0.01, 0.1, 1.0]), atol=1e-12)
        np.testing.assert_array_equal(design["chance"], 0.0)
        assert "w_sd" not in design
        assert "excess_tokens" not in design

    def test_centred_on_the_data(self, encoding, obs):
        design = encoding.design(obs, LawTerms())
        assert design["x"].mean() == pytest.approx(0.0, abs=1e-12)
        assert design["z"].mean() == pytest.approx(0.0, abs=1e-12)

    def test_what_the_token_logistic_needs(self, encoding):
        at = as_design(table(prompt_tokens_sd=7.0))
        design = encoding.design(at, LawTerms(penalty="token_logistic"))
        assert design["excess_tokens"][:3].tolist() == [-990.0, -900.0, 0.0]
        assert (design["tokens_sd"] == 7.0).all()

    def test_spread_of_the_log_ratio_is_that_of_a_lognormal(self, encoding):
        at = as_design(table(prompt_tokens_sd=50.0))
        sd = encoding.design(at, LawTerms())["w_sd"][1]  # at 100 tokens
        rng = np.random.default_rng(1)
        draws = 100.0 * np.exp(sd * rng.standard_normal(400_000) - sd**2 / 2)
        assert draws.std() == pytest.approx(50.0, rel=0.01)

    @pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
    @pytest.mark.parametrize("kappa", [3.0, 10.0, 50.0])
    def test_the_penalty_of_a_cell_is_the_mean_over_its_prompts(self, encoding, share, kappa):
        means = np.geomspace(100.0, 4000.0, 40)  # through the window of 1000
        row = {"task": "qa", "llm": "small", "technique": "PI", "compute": 1e20}
        at = grid(**row, context_window=1000.0, prompt_tokens=means)
        at["prompt_tokens_sd"] = ("obs_id", share * means)
        design = encoding.design(at, LawTerms())
        # What the penalty leaves of a sure score.
        sure = {"log_A": 40.0, "alpha": 0.0, "log_B": 40.0, "beta": 0.0}
        terms = LawTerms(zero_context="none", dilution="none")
        found = mean_score(sure | {"kappa": kappa, "delta": 0.0}, design, terms)
        # Log-normal prompts of these means and standard deviations, at their quantiles.
        variance = np.log1p(share**2)
        unit = ndtri((np.arange(20_000) + 0.5) / 20_000)
        log_n = np.log(means)[:, None] - variance / 2 + np.sqrt(variance) * unit
        expected = expit(-kappa * (log_n - np.log(1000.0))).mean(axis=1)
        assert np.abs(found - expected).max() < 0.02

    def test_the_loss_inside_the_window_is_that_at_the_mean_length(self, encoding):
        """Whatever the penalty is; it alone is averaged over the prompts of a cell."""
        rows = as_design(table(prompt_tokens_sd=50.0))
        for penalty in PENALTIES:
            design = encoding.design(rows, LawTerms(penalty=penalty))
            ratio = rows["prompt_tokens"].values / rows["context_window"].values
            np.testing.assert_allclose(design["w"], np.log(ratio))

    def test_an_unknown_spread_is_none(self, encoding):
        rows = table(prompt_tokens_sd=50.0)
        rows[0]["prompt_tokens_sd"] = np.nan
        w_sd = encoding.design(as_design(rows), LawTerms())["w_sd"]
        assert w_sd[0] == 0.0
        assert (w_sd[1:] > 0).all()

    def test_a_chance_that_is_not_given_is_that_of_the_task_in_the_fit(self):
        rows = [row | {"chance": 0.25 * (row["task"] == "qa")} for row in table()]
        encoding = Encoding.of(as_observations(rows), LEVELS)
        assert encoding.chance == {"qa": 0.25, "maths": 0.0}
        at = as_design([*table(), table()[0] | {"task": "new"}])
        expected = [0.25] * 6 + [0.0] * 7
        with pytest.warns(UserWarning, match="'new', which the fit never saw; it is taken as 0"):
            np.testing.assert_array_equal(encoding.with_chance(at)["chance"], expected)
        # Said once, at the door.
        np.testing.assert_array_equal(encoding.design(at, LawTerms())["chance"], expected)
        # Going through the door once more, or through a part of the rows, states nothing.
        again = as_design(as_design(at).isel(obs_id=[0]))
        assert encoding.with_chance(again)["chance"].item() == 0.25

    @pytest.mark.parametrize("stated", [0.0, 0.5])
    def test_a_chance_that_is_given_stays(self, stated):
        encoding = Encoding.of(as_observations(table(chance=0.25)), LEVELS)
        at = as_design(table(chance=stated))
        with pytest.warns(UserWarning, match=r"where the fit has 0\.25"):
            assert encoding.with_chance(at) is at
        moved = as_observations(table())
        with xr.set_options(keep_attrs=True):
            moved = moved.assign(chance=moved["chance"] + 0.5)
        with pytest.warns(UserWarning, match=r"0\.5 is given, where the fit has 0\.25"):
            assert (encoding.with_chance(moved)["chance"] == 0.5).all()

    def test_of_several_chances_one_must_be_given(self):
        rows = table()
        rows[0] |= {"chance": 0.25}
        for row in rows[1:]:
            row |= {"chance": 0.0}
        encoding = Encoding.of(as_observations(rows), LEVELS)
        with pytest.raises(ObservationError, match=r"`chance` is not given.*'qa'.*give the column"):
            encoding.with_chance(as_design(table()))
        maths = as_design([row for row in table() if row["task"] == "maths"])
        assert (encoding.with_chance(maths)["chance"] == 0.0).all()

    def test_chance_comes_along(self):
        encoding = Encoding.of(as_observations(table(chance=0.25)), LEVELS)
        design = encoding.design(as_design(table(chance=0.25)), LawTerms())
        assert (design["chance"] == 0.25).all()


SHOWN = {"short": -3.0, "half": np.log(0.5), "over": np.log(4.0)}


class TestUntried:
    """How much nearer to its window's end a prompt is than any of its own checkpoint was."""

    def untried(self, llm, ratio):
        spans = {"qa": (0.0, 60.0, 0.0, 20.0, -5.0, np.log(2.0))}
        encoding = Encoding(1.0, 1.0, {"task": ("qa",)}, {}, spans, SHOWN)
        at = grid(task="qa", llm=llm, compute=1e21, prompt_tokens=1000.0 * ratio,
                  context_window=1000.0)  # fmt: skip
        return encoding.untried(at, encoding.beyond(at)["w"][1])

    @pytest.mark.parametrize(
        ("llm", "ratio", "expected"),
        [
            ("half", 0.5, 0.0),
            ("half", 1.0, np.log(2.0)),
            ("half", 8.0, np.log(4.0)),  # the rest is beyond the data of the task
            ("over", 2.0, 0.0),
            ("short", 0.25, 0.0),
            ("short", 1.0, np.log(4.0)),
            ("never seen", 1.0, np.log(4.0)),
        ],
    )
    def test_log_units(self, llm, ratio, expected):
        np.testing.assert_allclose(self.untried(llm, ratio), expected, atol=1e-12)

    @given(st.sampled_from([*SHOWN, "new"]), st.floats(1e-3, 1e3), st.floats(1.0, 1e3))
    def test_grows_along_the_window_until_no_window_was_seen(self, llm, ratio, further):
        near, far = self.untried(llm, ratio), self.untried(llm, ratio * further)
        assert 0.0 <= near <= far + 1e-12
        assert far <= np.log(2.0) - max(SHOWN.get(llm, APPROACH), APPROACH) + 1e-12 or far == 0


class TestPromptsPastTheirWindow:
    """They tell of the window, not of what longer prompts are good for."""

    def encoding(self, *rows):
        small, big = {"llm": "small", "context_window": 4096}, {"llm": "big"}
        rows = [small | {"prompt_tokens": n} for n in rows]
        rows += [big | {"prompt_tokens": n, "context_window": 131072} for n in (500, 2000)]
        rows = [{"task": "qa", "compute": 1e22} | row for row in rows]
        return Encoding.of(as_design(rows), {"task": ("A",)}), as_design(rows)

    def above(self, encoding, tokens, window=131072):
        at = grid(task="qa", llm="big", compute=1e22, prompt_tokens=tokens, context_window=window)
        return encoding.beyond(at)["z"][1]

    def test_the_longest_that_was_held_is_the_edge(self):
        encoding, rows = self.encoding(500, 2000, 64000)
        away = self.above(encoding, [2000.0, 4096.0, 16000.0, 64000.0])
        np.testing.assert_allclose(away, np.log([1, 1, 16000 / 4096, 64000 / 4096]), atol=1e-9)
        assert all((side == 0).all() for side in encoding.beyond(rows)["z"])

    @given(st.floats(1e3, 1e6), st.floats(1e3, 1e6))
    def test_without_them_nothing_changes(self, tokens, window):
        encoding, _ = self.encoding(500, 2000)
        expected = max(np.log(tokens / 2000.0), 0.0)
        np.testing.assert_allclose(self.above(encoding, tokens, window), expected, atol=1e-9)

    @given(st.floats(1e3, 1e6), st.floats(1e3, 1e6), st.floats(1.0, 10.0))
    def test_a_longer_prompt_is_as_far_beyond_or_further(self, tokens, window, times):
        encoding, _ = self.encoding(500, 2000, 64000)
        near = self.above(encoding, tokens, window)
        far = self.above(encoding, tokens * times, window)
        assert 0.0 <= near <= far + 1e-9


class TestExtrapolation:
    def at(self, **changes):
        fixed = {"task": "qa", "llm": "small", "compute": 1e21, "context_window": 1e4}
        return grid(**(fixed | {"prompt_tokens": 100.0} | changes))

    def test_decades_beyond_either_end(self, encoding):
        beyond = encoding.extrapolation(
            as_design(
                [
                    {"task": "qa", "llm": "s", "compute": c, "prompt_tokens": n,
                     "context_window": w}
                    for c, n, w in (
                        (1e21, 100.0, 1e3), (1e24, 1e5, 1e3), (1e17, 1.0, 1e3), (1e22, 1e3, 1e3)
                    )
                ]
            )
        )  # fmt: skip
        np.testing.assert_allclose(beyond["compute"], [0, 2, 3, 0], atol=1e-9)
        np.testing.assert_allclose(beyond["prompt_tokens"], [0, 2, 1, 0], atol=1e-9)
        np.testing.assert_allclose(beyond["window_ratio"], [0, 2, 1, 0], atol=1e-9)

    def test_none_on_the_data_themselves(self, encoding, obs):
        for values in encoding.extrapolation(obs).values():
            np.testing.assert_array_equal(values, 0.0)

    @given(st.floats(1e15, 1e28), st.floats(1, 1e7))
    def test_never_negative_and_zero_only_inside(self, compute, tokens):
        encoding = Encoding.of(as_observations(table()), LEVELS)
        beyond = encoding.extrapolation(self.at(compute=compute, prompt_tokens=tokens))
        assert all((value >= 0).all() for value in beyond.values())
        assert (beyond["compute"] > 1e-6).all() == (not 0.99999e20 < compute < 1.00001e22)


class TestGroups:
    def test_defaults(self):
        assert parse_groups(BASE_LEVELS) == dict(LEVEL_PARAMETERS)
        assert parse_groups("task") == {"task": PARAMETERS}
        assert parse_groups(["task:llm"]) == {"task:llm": INTERACTION_PARAMETERS}
        assert parse_groups(()) == {}

    def test_a_mapping_says_the_parameters(self):
        groups = {"llm": ["B", "A"], "task": "alpha", "family": None}
        assert parse_groups(groups) == {
            "llm": ("A", "B"),  # in the order of the law
            "task": ("alpha",),
            "family": LEVEL_PARAMETERS["family"],
        }

    def test_all_faults_in_one_message(self):
        with pytest.raises(SpecificationError) as caught:
            parse_groups({"tsk": None, "llm": ("gamma", "A"), "task:task": None, "a:b:c": None})
        message = str(caught.value)
        for part in ("'tsk'", "'gamma'", "'task:task'", "'a:b:c'", *BASE_LEVELS, *PARAMETERS):
            assert part in message

    @given(st.text(max_size=15))
    def test_only_levels_of_the_data_pass(self, level):
        parts = level.split(":")
        if 1 <= len(parts) <= 2 and len(set(parts)) == len(parts) and set(parts) <= {*BASE_LEVELS}:
            return
        with pytest.raises(SpecificationError, match="unknown"):
            parse_groups([level])


class TestInteractions:
    def labels(self, obs, *levels):
        return Encoding.of(obs, parse_groups(levels)).labels

    def test_one_that_parts_the_rows_as_its_own_part_does_is_left_out(self, obs):
        one_task = obs.isel(obs_id=np.flatnonzero(obs["task"].values == obs["task"].values[0]))
        found = self.labels(one_task, "task", "llm", "task:llm")
        assert "llm" in found
        assert "task:llm" not in found
        assert "task:llm" in self.labels(obs, "task", "llm", "task:llm")

    def test_one_with_a_single_row_for_each_label_is_left_out(self, obs):
        pairs = level_labels(obs, "task:llm")
        single = obs.isel(obs_id=np.unique(pairs.astype(str), return_index=True)[1])
        assert "task:llm" not in self.labels(single, "task", "llm", "task:llm")


def test_no_two_pairs_of_labels_are_joined_to_the_same():
    column = {name: ("obs_id", np.array(values, dtype=object)) for name, values in (
        ("task", ["a | b", "a", "a"]), ("llm", ["c", "b | c", "b"])
    )}  # fmt: skip
    found = level_labels(xr.Dataset(column), "task:llm").tolist()
    assert len(set(found)) == 3
    assert found[2] == "a | b"


def test_groups_that_are_no_names():
    with pytest.raises(SpecificationError, match="groups=3 must be names of levels"):
        parse_groups(3)

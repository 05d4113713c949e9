"""Effective windows: closed forms, ends, and what they refuse."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bayes_ctxlaw as bcl
from bayes_ctxlaw.encoding import APPROACH
from bayes_ctxlaw.errors import NotFittedError, SpecificationError, UnknownLabelError
from bayes_ctxlaw.law import window_end
from bayes_ctxlaw.predict import BREAKS, OWN_BREAK, Predictor
from bayes_ctxlaw.simulate import prior_draws
from bayes_ctxlaw.windows import _last_crossing, effective_window

SIZE = 400


class Drawn:
    """A law whose draws are chosen, not fitted: the penalty alone shapes its scores."""

    def __init__(self, obs, kappa=10.0, delta=0.0, penalty="log_logistic", groups=("task",)):
        law = bcl.ContextLaw(groups=groups, penalty=penalty, dilution="none")
        law._prepare(obs)
        self.obs, rng = obs, np.random.default_rng(1)
        draws = prior_draws(law.spec, law.encoding, SIZE, rng)
        for name in list(draws):
            if name.endswith(("_task", "_llm", "_sd")):
                draws[name] = 0.0 * draws[name]
        draws |= {"mu_B": np.full(SIZE, 40.0), "mu_rho": np.full(SIZE, 0.0)}
        draws |= {"mu_beta": np.full(SIZE, -5.0)}
        if penalty == "log_logistic":
            draws["mu_kappa"] = np.log(kappa - 2.0) + np.zeros(SIZE)
            draws["mu_delta"] = delta + np.zeros(SIZE)
        self.draws = draws
        self._predictor = Predictor(law.spec, law.encoding, draws, 1)

    def predictor(self, random_seed=None):
        return self._predictor


@pytest.fixture(scope="module")
def row(montgomery):
    return montgomery.isel(obs_id=[0]).drop_vars("prompt_tokens_sd", errors="ignore")


class TestClosedForm:
    @pytest.mark.parametrize("share", [0.5, 0.8, 0.95])
    @pytest.mark.parametrize("delta", [0.0, 0.4])
    def test_of_the_penalty_alone(self, montgomery, row, share, delta):
        found = effective_window(Drawn(montgomery, 10.0, delta), row, share=share).windows
        end = float(window_end(np.array(delta)))
        window = float(row["context_window"].values[0])
        expected = window * np.exp(end + np.log((1 - share) / share) / 10.0)
        assert float(found["effective"][0]) == pytest.approx(expected, rel=0.004)
        assert float(found["half"][0]) == pytest.approx(window * np.exp(end), rel=1e-9)
        assert float(found["ratio"][0]) == pytest.approx(expected / window, rel=0.004)

    def test_a_table_says_what_its_intervals_are(self, montgomery, row):
        table = effective_window(Drawn(montgomery), row, share=0.8, kind="law", ci_prob=0.5).table
        stated = table[["share", "prediction_kind", "ci_kind", "ci_prob"]].iloc[0].tolist()
        assert stated == [0.8, "law", "equal-tailed", 0.5]

    def test_its_interval_is_that_of_the_draws(self, montgomery, row):
        delta = np.random.default_rng(3).normal(0.5, 0.2, SIZE)
        found = effective_window(Drawn(montgomery, 50.0, delta), row, share=0.5).windows
        window = float(row["context_window"].values[0])
        low, high = np.quantile(window_end(delta), [0.05, 0.95])
        assert float(found["effective_lower"][0]) == pytest.approx(window * np.exp(low), rel=0.02)
        assert float(found["effective_upper"][0]) == pytest.approx(window * np.exp(high), rel=0.02)
        kept = float((window_end(delta) >= 0).mean())
        assert float(found["prob_nominal"][0]) == pytest.approx(kept, abs=0.02)

    def test_where_the_penalty_halves_the_score_is_as_unsure_as_any_prediction(self, montgomery):
        """Exponents break where a checkpoint was not tried, and where no prompt of its task was."""
        few = montgomery.isel(obs_id=np.flatnonzero(montgomery["prompt_tokens"] < 4000))
        row = few.isel(obs_id=[int(few["context_window"].values.argmax())])
        law = Drawn(few, 50.0, 0.3, groups=("task", "llm"))
        edges, shown = law._predictor.encoding.edges, law._predictor.encoding.shown
        past = edges[str(row["task"].values[0])][5]
        own = shown[str(row["llm"].values[0])]
        assert own < past < 0.3  # what is asked for lies beyond both
        window = float(row["context_window"].values[0])
        for kind, nearest in (("llm", max(own, APPROACH)), ("law", past)):
            found = effective_window(law, row, share=0.5, kind=kind).windows
            change = [
                law._predictor._change(*of)
                for of in (("llm", str(row["llm"].values[0]), OWN_BREAK),
                           ("w|1.0", str(row["task"].values[0]), BREAKS["w"]))
            ]  # fmt: skip
            # Solved for each draw: first at the checkpoint's own rate, then at the task's.
            upto = past + (max(past - nearest, 0.0) * change[0] if kind == "llm" else 0.0)
            ends = past + (window_end(np.array(0.3)) - upto) / (1.0 + change[1])
            before = nearest + (window_end(np.array(0.3)) - nearest) / (1.0 + change[0])
            ends = np.where(upto > window_end(np.array(0.3)), before, ends)
            wanted = window * np.exp(np.quantile(ends, [0.05, 0.5, 0.95]))
            got = [float(found[name][0]) for name in ("half_lower", "half", "half_upper")]
            np.testing.assert_allclose(got, wanted, rtol=0.02)
            assert got[2] / got[0] > 1.5

    def test_an_end_further_out_than_was_looked_is_infinite(self, montgomery, row):
        found = effective_window(Drawn(montgomery, penalty="none"), row, share=0.8)
        assert np.isinf(found.windows["effective"][0])
        assert float(found.windows["prob_beyond"][0]) == 1.0
        assert np.isnan(found.windows["half"][0])
        assert "more than 16 times" in found.sentence

    @given(st.floats(0.05, 0.95), st.floats(0.05, 0.95))
    def test_the_more_is_to_be_kept_the_shorter(self, one, other):
        at = np.linspace(-3, 3, 40)
        score = 1 / (1 + np.exp(4 * at))[None, :]
        found = [_last_crossing(score, np.array([s]), at)[0] for s in sorted((one, other))]
        assert found[0] >= found[1] - 1e-12


class TestRows:
    def test_lengths_of_one_checkpoint_are_one_row(self, law_all, montgomery):
        found = bcl.effective_window(law_all, montgomery)
        pairs = set(zip(montgomery["task"].values, montgomery["llm"].values, strict=True))
        assert found.windows.sizes["obs_id"] == len(pairs)

    def test_the_intervals_hold_their_medians_and_say_what_they_are(self, law_all, montgomery):
        windows = bcl.effective_window(law_all, montgomery, ci_prob=0.8).windows
        assert (windows["effective_lower"] <= windows["effective"]).all()
        assert (windows["effective"] <= windows["effective_upper"]).all()
        assert "80 % equal-tailed" in windows["effective_lower"].attrs["long_name"]
        assert windows.attrs["prediction_kind"] == "llm"

    def test_of_the_paper_s_points_the_short_windows_end_where_they_should(
        self, law_all, montgomery
    ):
        windows = bcl.effective_window(law_all, montgomery, share=0.5).windows
        short = windows["context_window"].values == 8192
        assert windows["ratio"].values[short].max() < 2.0

    def test_it_prints(self, law_all, montgomery):
        found = bcl.effective_window(law_all, montgomery)
        assert found.sentence in str(found)
        assert "effective" in found._repr_html_()


class TestRefusals:
    def test_before_a_fit(self, montgomery):
        with pytest.raises(NotFittedError):
            bcl.effective_window(bcl.ContextLaw(), montgomery)

    def test_all_faults_in_one_message(self, law_all, montgomery):
        with pytest.raises(SpecificationError) as error:
            bcl.effective_window(law_all, montgomery, share=80, kind="response")
        assert "share=80" in str(error.value)
        assert "no evaluation noise" in str(error.value)

    def test_labels_never_seen(self, law_all, montgomery):
        other = montgomery.isel(obs_id=[0]).assign(llm=("obs_id", np.array(["new"], dtype=object)))
        with pytest.raises(UnknownLabelError, match="'new'"):
            bcl.effective_window(law_all, other)

"""What a law says of itself, and what it says the data cannot tell."""

import pytest

from bayes_ctxlaw import advice
from bayes_ctxlaw.context_law import ContextLaw
from bayes_ctxlaw.law import PENALTIES, SATURATIONS, LawTerms
from bayes_ctxlaw.observations import as_observations
from bayes_ctxlaw.specification import Specification
from bayes_ctxlaw.summary import (
    formula,
    notes_on_chance,
    notes_on_design,
    notes_on_units,
    notes_on_windows,
)


def table(**changes):
    rows = [
        {"task": t, "llm": f"m{c}", "compute": c, "prompt_tokens": n, "context_window": 4096.0,
         "score": 0.1 + 0.0001 * n}
        for t in ("qa", "maths") for c in (1e21, 1e22, 1e23) for n in (50.0, 500.0, 4000.0)
    ]  # fmt: skip
    return [row | changes for row in rows]


def notes(rows, **options):
    law = ContextLaw(**options)
    spec = Specification(law.terms, "student_t", law.levels, law.priors)
    return notes_on_design(as_observations(rows), spec)


class TestPrinting:
    def test_an_unfitted_law_lists_its_likelihood_and_every_prior_with_numbers(self):
        law = ContextLaw(likelihood="beta_binomial", priors={"kappa": (5, 20), "A_llm_sd": 0.125})
        text = str(law)
        assert "likelihood: beta_binomial" in text
        lines = {line.split()[0]: line for line in text.splitlines() if " with 90 %" in line}
        assert set(lines) == set(law.priors)
        for name, prior in law.priors.items():
            assert str(prior) in lines[name]
        assert "between 5 and 20 with 90 %" in lines["kappa"]
        assert "HalfNormal(0.125)" in lines["A_llm_sd"]

    def test_levels_with_what_they_act_on(self):
        text = str(ContextLaw(groups={"task": ("A", "delta"), "task:llm": ("B",)}))
        assert "task on A, δ" in text
        assert "task:llm on B" in text
        assert "family" not in text

    def test_parameters_that_the_law_lacks_are_not_listed(self):
        text = str(ContextLaw(penalty="none"))
        assert "kappa" not in text
        assert "delta" not in text

    def test_a_law_that_has_seen_data_says_where_it_refers_to(self):
        law = ContextLaw()
        law.build_model(as_observations(table(family="F")))
        text = str(law)
        assert "C relative to 1e+22 FLOPs" in text
        assert "student_t (chosen from the scores)" in text
        assert "task on A, α, B, β, ρ, D, ψ, η, κ, δ: 2 labels" in text
        assert "family on A, α, B, β: one label, in the population value" in text
        assert "technique on A, B, β, D, κ, δ: not in the data" in text

    def test_every_form_has_its_formula(self):
        forms = {
            formula(LawTerms(context, compute, penalty))
            for context in SATURATIONS for compute in SATURATIONS for penalty in PENALTIES
        }  # fmt: skip
        assert len(forms) == 12


class TestNotes:
    def test_compute_in_another_unit_is_noticed(self):
        assert notes_on_units(as_observations(table())) == []
        small = [row | {"compute": row["compute"] / 1e18} for row in table()]
        (note,) = notes_on_units(as_observations(small))
        assert note.startswith("compute is 1e+05 FLOPs at most")
        assert "petaFLOP/s-days" in note

    def test_tokens_in_thousands_are_noticed(self):
        units = {"context_window": 1e-3, "prompt_tokens": 1e-3}
        rows = [row | {name: row[name] * unit for name, unit in units.items()} for row in table()]
        window, prompt = notes_on_units(as_observations(rows))
        assert window.startswith("context_window is ")
        assert "not in thousands" in window
        assert prompt.startswith("prompt_tokens is ")
        assert "less than one token" in prompt

    def test_a_rich_design_has_none(self):
        assert notes(table()) == []

    def test_a_single_compute_value_leaves_alpha_to_its_prior(self):
        (note,) = notes(table(compute=1e22))
        assert note == (
            "α (alpha) comes from the prior: there is a single compute value in the data."
        )

    def test_a_single_compute_value_of_one_task_is_named(self):
        rows = [r for r in table() if r["task"] == "qa" or r["compute"] == 1e22]
        (note,) = notes(rows)
        assert note.startswith("α (alpha) of 'maths' comes from the prior and the other tasks")

    def test_two_compute_values_are_few(self):
        (note,) = notes([r for r in table() if r["compute"] != 1e22])
        assert "rests on two compute values" in note

    def test_two_prompt_lengths_are_few(self):
        lengths = sorted({r["prompt_tokens"] for r in table()})[-2:]
        found = notes([r for r in table() if r["prompt_tokens"] in lengths])
        assert any(note.startswith("β (beta) rests on two prompt lengths") for note in found)

    @pytest.mark.parametrize("column", ["compute", "prompt_tokens"])
    def test_values_that_hardly_differ_are_one(self, column):
        """A base model and its extension: compute that differs by a thousandth."""
        first = table()[0][column]
        rows = [r | {column: first * (1 + 1e-3 * (r["llm"] == "m1e+21"))} for r in table()]
        symbol, what = {"compute": ("α", "compute value"), "prompt_tokens": ("β", "prompt length")}[
            column
        ]
        found = [note for note in notes(rows) if note.startswith(symbol)]
        assert len(found) == 1
        assert f"comes from the prior: every {what} is within 5% of one in the data" in found[0]

    def test_scores_below_chance_are_named(self):
        rows = [r | {"chance": 0.99 if r["task"] == "qa" else 0.0} for r in table()]
        (note,) = notes_on_chance(as_observations(rows))
        assert "scores of 'qa' inside the window are below chance (0.99)" in note
        assert notes_on_chance(as_observations(table())) == []
        (row,) = advice.of_chance([note])
        assert row[1:3] == ("REVIEW", "1 task below")

    def test_a_single_prompt_length_leaves_beta_to_its_prior(self):
        (note,) = notes([r for r in table() if r["prompt_tokens"] == 4000.0])
        assert note.startswith("β (beta) comes from the prior: there is a single prompt length")

    def test_prompts_far_inside_the_window_say_nothing_of_it(self):
        (note,) = notes(table(context_window=1e5))
        assert "κ (kappa) and δ (delta) come from the prior" in note
        assert notes(table(context_window=1e5), penalty="none") == []

    @pytest.mark.parametrize("compute", [1e22, None])
    def test_notes_are_printed_once_data_were_seen(self, compute):
        law = ContextLaw()
        law.build_model(as_observations(table(**({"compute": compute} if compute else {}))))
        assert ("What these data cannot tell" in str(law)) == (compute is not None)


def test_several_windows_under_one_label_are_noticed():
    assert notes_on_windows(as_observations(table())) == []
    rows = [row | {"context_window": 2 * row["context_window"]} for row in table()[:1]]
    (note,) = notes_on_windows(as_observations(rows + table()[1:]))
    assert "several context windows under one label" in note
    assert repr(rows[0]["llm"]) in note

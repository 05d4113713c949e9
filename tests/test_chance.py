"""Points to predict whose chance level nobody states: a fit knows that of its tasks."""

import numpy as np
import pytest
import xarray as xr

import bayes_ctxlaw as bcl

CHANCE = {"quiz": 0.25, "cloze": 0.0}
POINT = {"llm": "m2", "compute": 1e23, "context_window": 8192.0}
FEW = {"draws": 40, "tune": 60, "chains": 2, "random_seed": 1, "progressbar": False}


def rows():
    found = []
    for task, chance in CHANCE.items():
        for k, compute in enumerate((1e21, 1e22, 1e23)):
            for tokens in (100.0, 400.0, 1600.0, 6400.0):
                rise = 0.1 + 0.1 * k + 0.08 * np.log10(tokens)
                found.append(
                    {"task": task, "llm": f"m{k}", "compute": compute, "context_window": 8192.0,
                     "prompt_tokens": tokens, "chance": chance, "n_items": 500,
                     "score": round((chance + (1 - chance) * rise) * 500) / 500}
                )  # fmt: skip
    return found


@pytest.fixture(scope="module")
def obs():
    return bcl.as_observations(rows())


@pytest.fixture(scope="module")
def law(obs):
    law = bcl.ContextLaw(groups=("task", "llm"))
    law.fit(obs, **FEW)
    return law


FORECASTERS = {
    "the law": None,
    "compute only": lambda: bcl.rivals.ComputeOnlyLaw(resamples=10),
    "no pooling": bcl.rivals.NoPoolingLaw,
    "complete pooling": bcl.rivals.CompletePoolingLaw,
}


@pytest.mark.parametrize("name", FORECASTERS)
def test_predictions_are_those_of_the_stated_chance(law, obs, name):
    forecaster = law
    if name != "the law":
        forecaster = FORECASTERS[name]()
        known = {} if name == "compute only" else FEW
        forecaster.fit(obs, **({"random_seed": 1} | known))
    at = bcl.as_design([{k: v for k, v in row.items() if k != "chance"} for row in rows()])
    silent, stated = forecaster.predict(at), forecaster.predict(obs)
    np.testing.assert_array_equal(silent["chance"], obs["chance"])
    for value in ("mean", "lower", "upper"):
        np.testing.assert_array_equal(silent[value], stated[value])
    with pytest.warns(UserWarning, match="`chance` of 12 row"):
        zero = forecaster.predict(at.assign(chance=0.0 * obs["n_items"]))
    quiz = obs["task"].values == "quiz"
    assert (zero["mean"].values[quiz] < silent["mean"].values[quiz]).all()


def test_a_stack_takes_it_from_its_own_observations(law, obs):
    members = {"a": bcl.ContextLaw(groups=("task",)), "b": bcl.rivals.ComputeOnlyLaw(resamples=10)}
    split = bcl.splits.beyond_context(1000)
    stack = bcl.stack(members, split).fit(obs, **FEW)
    at = bcl.as_design(obs.drop_vars("chance"))
    xr.testing.assert_equal(stack.predict(at)["mean"], stack.predict(obs)["mean"])


def test_plans_windows_and_comparisons(law):
    at = POINT | {"task": "quiz"}
    stated = at | {"chance": 0.25}
    both = [bcl.required_context(law, target=0.65, at=where) for where in (at, stated)]
    np.testing.assert_array_equal(both[0]["lower"], both[1]["lower"])
    grids = [bcl.grid(**where, prompt_tokens=[100.0, 6400.0]) for where in (at, stated)]
    silent, said = (bcl.effective_window(law, where).windows for where in grids)
    np.testing.assert_array_equal(silent["effective"], said["effective"])
    assert (silent["chance"] == 0.25).all()
    silent, said = (bcl.contrast(law, "llm", "m1", "m2", at=where).scores for where in grids)
    np.testing.assert_array_equal(silent["a"], said["a"])
    assert (silent["chance"] == 0.25).all()


def test_a_saved_fit_knows_it_even_if_its_file_does_not_say(law, tmp_path, monkeypatch):
    at = bcl.grid(**POINT, task="quiz", prompt_tokens=[100.0, 6400.0])
    path = law.save(tmp_path / "fit.nc")
    same = bcl.ContextLaw.load(path).predict(at)
    xr.testing.assert_equal(same, law.predict(at))
    # Files of earlier versions have rows, but no chance levels by task.
    import bayes_ctxlaw.context_law as module

    read = module.read_fit

    def older(*arguments):
        tree, config = read(*arguments)
        del config["encoding"]["chance"], config["encoding"]["within"]
        return tree, config

    monkeypatch.setattr(module, "read_fit", older)
    assert bcl.ContextLaw.load(path).encoding == law.encoding
    assert law.encoding.chance == CHANCE


def test_points_say_nothing_of_a_chance_that_is_not_given_nor_does_their_table(law, obs):
    at = bcl.grid(task=["quiz", "cloze"], prompt_tokens=[200.0, 3000.0], **POINT)
    assert "chance" not in at
    direct, by_table = (law.predict(p, kind="llm") for p in (at, at.to_dataframe()))
    for name in ("chance", "lower", "median", "upper"):
        np.testing.assert_array_equal(direct[name], by_table[name])
    assert sorted(set(direct["chance"].values.tolist())) == [0.0, 0.25]


def test_a_chance_that_is_not_the_task_s_in_the_fit_counts_and_is_said(law):
    at = bcl.grid(task="quiz", prompt_tokens=200.0, chance=0.0, **POINT)
    with pytest.warns(UserWarning, match=r"of 'quiz' 0 is given, where the fit has 0\.25"):
        stated = law.predict(at, kind="llm")
    own = law.predict(at.drop_vars("chance"), kind="llm")
    assert stated["median"].item() < own["median"].item() - 0.1
    new = bcl.grid(task="new", prompt_tokens=200.0, chance=0.5, **POINT)
    law.predict(new, new_levels="uncertainty")  # a warning would be an error


def test_a_task_that_the_fit_never_saw_has_none_and_it_is_said(law):
    row = [POINT | {"task": "a third", "prompt_tokens": 1000.0}]
    with pytest.warns(UserWarning, match="`chance` is not given for 'a third'"):
        found = law.predict(row, new_levels="uncertainty")
    assert found["chance"].item() == 0.0
    stated = law.predict([row[0] | {"chance": 0.0}], new_levels="uncertainty")
    xr.testing.assert_equal(found["mean"], stated["mean"])

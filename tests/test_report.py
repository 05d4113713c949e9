"""The report, the demo's job, and the files both write."""

import html
import itertools
import re

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from browser import chromium, looked_at, needs_browser
from fake_law import FakeLaw, design_of, fake_idata, fake_prediction, observations
from two_techniques import simulated

import bayes_ctxlaw as bcl
from bayes_ctxlaw.demo import FILES, run_demo
from bayes_ctxlaw.errors import FileFormatError, NotFittedError, SpecificationError
from bayes_ctxlaw.judgement import convergence, held_out_scores, held_out_sentence, verdict
from bayes_ctxlaw.output import prediction_table, write_table, written_whole
from bayes_ctxlaw.report import Figure, designs, write_report
from bayes_ctxlaw.report.reproduce import call


@pytest.fixture
def law():
    law = FakeLaw()
    law.fit(observations().assign_attrs(name="own", description="made <up>", source="nowhere"))
    return law


@pytest.fixture
def held_out():
    obs = observations()
    score = 0.999 * obs["score"].values  # another evaluation
    score[0] = 1.0
    return fake_prediction(obs.assign(score=("obs_id", score)))


@pytest.fixture
def figure(tmp_path):
    path = tmp_path / "figure.png"
    drawn, _ = plt.subplots()
    drawn.savefig(path)
    plt.close(drawn)
    return Figure(path, 'A "figure" & its caption')


# --- tables ---------------------------------------------------------------------------------------


def test_convergence_of_good_chains_passes():
    checks = convergence(fake_idata())
    assert checks["passed"].all()
    assert checks.loc["divergent transitions", "value"] == 0
    assert verdict(checks).startswith("The chains agree")


def test_a_chain_that_differs_does_not_pass():
    checks = convergence(fake_idata(bias=3.0))
    assert not checks.loc["largest R-hat", "passed"]
    assert checks.loc["largest R-hat", "value"] > 1.1
    assert "largest R-hat" in verdict(checks)


def test_divergences_and_blank_draws_do_not_pass():
    tree = fake_idata()
    stats = tree["sample_stats"].to_dataset()
    stats["diverging"][0, 0] = True
    posterior = tree["posterior"].to_dataset()
    posterior["mu_A"][0, 0] = np.nan
    tree["sample_stats"], tree["posterior"] = type(tree)(stats), type(tree)(posterior)
    checks = convergence(tree)
    assert not checks.loc["divergent transitions", "passed"]
    assert not checks.loc["largest R-hat", "passed"]


def test_a_quantity_that_never_moves_is_no_failure():
    tree = fake_idata()
    posterior = tree["posterior"].to_dataset()
    posterior["mu_A"][:] = 0.0
    tree["posterior"] = type(tree)(posterior)
    assert convergence(tree)["passed"].all()


def test_held_out_scores_count_what_is_inside(held_out):
    scores = held_out_scores(held_out)
    assert list(scores.index) == ["maths", "qa", "all tasks"]
    total = scores.loc["all tasks"]
    assert (total["points"], total["covered"]) == (16, 15)
    assert total["coverage"] == pytest.approx(15 / 16)
    assert total["mean_width"] == pytest.approx(
        float((held_out["upper"] - held_out["lower"]).mean())
    )
    assert held_out_sentence(held_out).startswith(
        "15 of 16 held-out scores lie inside their 90 % equal-tailed interval (response)"
    )


def test_predictions_without_scores_cannot_be_judged(held_out):
    with pytest.raises(SpecificationError, match="no `score`"):
        held_out_scores(held_out.drop_vars("score"))
    blank = held_out.assign(score=held_out["score"].where(held_out["task"] == "qa"))
    with pytest.raises(SpecificationError, match="8 of 16 predictions have no score"):
        held_out_scores(blank)


def test_a_prediction_table_says_what_its_intervals_are():
    prediction = fake_prediction(design_of(), observations(), kind="llm", ci_prob=0.8)
    table = prediction_table(prediction)
    assert len(table) == prediction.sizes["obs_id"]
    assert table.index.name == "obs_id"
    assert set(table["prediction_kind"]) == {"llm"}
    assert set(table["ci_prob"]) == {0.8}
    np.testing.assert_array_equal(
        table["extrapolation_prompt_tokens"],
        prediction["extrapolation"].sel(axis="prompt_tokens"),
    )
    with_draws = prediction.assign(
        samples=(("chain", "draw", "obs_id"), np.zeros((2, 3, len(table))))
    )
    pd.testing.assert_frame_equal(prediction_table(with_draws), table)


# --- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.parquet"])
def test_tables_are_written_and_read_back(tmp_path, name):
    table = pd.DataFrame({"score": [0.1, 0.2]}, index=pd.Index([3, 4], name="obs_id"))
    path = write_table(table, tmp_path / name)
    read = pd.read_parquet if name.endswith("parquet") else pd.read_csv
    back = read(path)
    assert (back if "obs_id" not in back else back.set_index("obs_id")).equals(table)


def test_a_table_of_unknown_kind_is_refused(tmp_path):
    with pytest.raises(SpecificationError, match=r"not as 't.xlsx'"):
        write_table(pd.DataFrame(), tmp_path / "t.xlsx")


def test_a_file_that_fails_leaves_the_earlier_one(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("earlier", encoding="utf-8")

    def fail():
        with written_whole(path) as temporary:
            temporary.write_text("half", encoding="utf-8")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text(encoding="utf-8") == "earlier"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_that_is_not_there_is_the_packages_own_error(tmp_path):
    with pytest.raises(FileFormatError, match="cannot be written"):
        write_table(pd.DataFrame({"a": [1]}), tmp_path / "nowhere" / "t.csv")


# --- report ---------------------------------------------------------------------------------------


def test_the_report_is_one_self_contained_page(tmp_path, law, held_out, figure):
    path = write_report(
        tmp_path / "report.html", law, held_out=held_out, figures=[figure], settings={"seed": 7}
    )
    page = path.read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert "data:image/png;base64," in page
    assert not re.search(r"""(src|href)\s*=\s*["'](?!data:|#)""", page)
    for text in (
        "15 of 16 held-out scores",
        "90 % equal-tailed interval (response)",
        "largest R-hat",
        "divergent transitions",
        "made &lt;up&gt;",
        "A law &lt;of tests&gt; &amp; its priors",
        "A &quot;figure&quot; &amp; its caption",
        "seed",
        "noise of an evaluation",
    ):
        assert text in page
    assert "does not pass" not in page
    assert str(tmp_path) not in page


def test_the_report_warns_of_a_fit_that_does_not_pass(tmp_path, law):
    law.idata = fake_idata(bias=3.0)
    page = write_report(tmp_path / "r.html", law).read_text(encoding="utf-8")
    assert "The fit does not pass: largest R-hat" in page
    assert "Held-out scores" not in page


def test_long_tables_are_cut_and_say_so(tmp_path, law):
    prediction = fake_prediction(design_of(prompt_tokens=np.geomspace(50, 8000, 60)))
    scored = prediction.assign(score=prediction["median"])
    page = write_report(tmp_path / "r.html", law, held_out=scored).read_text(encoding="utf-8")
    assert "40 further points are not shown" in page


def test_there_is_no_report_without_a_fit(tmp_path):
    with pytest.raises(NotFittedError):
        write_report(tmp_path / "r.html", FakeLaw())
    assert not list(tmp_path.iterdir())


# --- a report of any fit --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sampled():
    """A short fit to simulated scores of two techniques; its intervals mean nothing."""
    rows = simulated(1).isel(obs_id=slice(None, None, 2))
    rows["compute"] = rows["compute"].where(rows["context_window"] < 20_000, 4e23)
    law = bcl.ContextLaw()
    law.fit(rows, draws=60, tune=80, chains=2, thin=1, random_seed=5, progressbar=False)
    return law


@pytest.fixture(scope="module")
def report(sampled, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    return write_report(path, sampled, ci_prob=0.8, title="Simulated <scores>")


def test_a_report_has_its_sections(report, sampled):
    page = report.read_text(encoding="utf-8")
    headings = re.findall(r'<h2 id="(.*?)">(.*?)</h2>', page)
    assert [heading for _, heading in headings] == [
        "Data", "Review", "Prompt length", "Training compute", "Beyond the data", "Contrasts",
        "Reading the intervals", "Law and priors", "Making it again",
    ]  # fmt: skip
    assert all(f'<a href="#{anchor}">' in page for anchor, _ in headings)
    assert "<h1>Simulated &lt;scores&gt;</h1>" in page
    assert "80 % equal-tailed interval (response)" in page
    assert "90 % equal-tailed interval" not in page
    assert all(label in page for label in set(sampled.obs["llm"].values))
    found = bcl.contrast(
        sampled, "technique", "X", "Y", designs.side_by_side(sampled.obs, "X", "Y"), ci_prob=0.8
    )
    assert found.sentence in page
    assert all(note in page for note in map(html.escape, found.confounding.notes))
    for check, row in sampled.review().table.iterrows():
        assert html.escape(check) in page
        assert f'class="{row["verdict"]}"' in page
    assert "random_seed=5" in page
    assert html.escape(str(sampled)) in page


def test_the_same_fit_gives_the_same_page(report, sampled, tmp_path):
    again = write_report(tmp_path / "r.html", sampled, ci_prob=0.8, title="Simulated <scores>")
    assert again.read_bytes() == report.read_bytes()


def test_a_fit_that_was_interrupted_says_so(tmp_path, law):
    law.idata["posterior"].attrs["interrupted"] = "sampling was interrupted: 2 chains are kept"
    page = write_report(tmp_path / "r.html", law).read_text(encoding="utf-8")
    assert '<p class="bad">Sampling was interrupted: 2 chains are kept.</p>' in page


def test_a_report_refuses_a_probability_out_of_range(tmp_path, law):
    with pytest.raises(SpecificationError, match="ci_prob"):
        write_report(tmp_path / "r.html", law, ci_prob=90)
    assert not list(tmp_path.iterdir())


def test_the_call_makes_the_same_law(law):
    own = bcl.ContextLaw(
        penalty="none",
        dilution="window",
        discrepancy="prompt_tokens",
        likelihood="normal",
        groups={"task": ["A", "B"], "llm": ["A"]},
        priors={"A": (0.1, 3), "A_task_sd": 0.3, "discrepancy_sd": 0.2},
        references={"compute": 1e23},
    )
    own.idata, own.obs = law.idata, law.obs
    lines = call(own).splitlines()
    assert lines[0] == "import bayes_ctxlaw as bcl"
    names = {"bcl": bcl, "Prior": bcl.Prior}
    made = eval(lines[-2].removeprefix("law = "), names)
    for part in ("terms", "levels", "priors", "references", "likelihood"):
        assert getattr(made, part) == getattr(own, part)
    default = bcl.ContextLaw()
    default.idata, default.obs = law.idata, law.obs
    assert "law = bcl.ContextLaw()\n" in call(default)
    assert "obs = bcl.as_observations(...)  # 16 observations" in call(default)
    default.obs = law.obs.assign_attrs(name="helmet_icl")
    assert "obs = bcl.load_dataset('helmet_icl')" in call(default)


@pytest.mark.parametrize(
    ("tasks", "llms"), [(1, 1), (2, 30), (25, 2)], ids=["least", "many llms", "many tasks"]
)
def test_every_task_and_no_more_curves_than_can_be_read(tasks, llms):
    obs = observations(
        tuple(f"task {n}" for n in range(tasks)), tuple(f"A-{n}" for n in range(min(llms, 9)))
    )
    cells = designs.cells_of(obs)
    figures = list(designs.context_figures(cells))
    shown = [task for some, _ in figures for task in dict.fromkeys(some["task"])]
    assert shown == list(dict.fromkeys(obs["task"].values))
    for some, left_out in figures:
        drawn = some["llm"].nunique()
        assert drawn <= designs.MAX_CURVES
        assert drawn + left_out == len(set(obs["llm"].values))


def test_tasks_with_checkpoints_of_their_own_have_figures_of_their_own():
    obs = observations(("a", "b", "c"), tuple(f"A-{n}" for n in range(8)))
    kept = (obs["task"] != "b") | (obs["llm"] == "A-0")
    cells = designs.cells_of(obs.isel(obs_id=np.flatnonzero(kept)))
    figures = [some for some, _ in designs.context_figures(cells)]
    assert [set(some["task"]) for some in figures] == [{"a", "c"}, {"b"}]
    assert set(figures[1]["llm"]) == {"A-0"}


def test_places_beyond_the_data_lie_beyond_and_inside_the_window():
    obs = bcl.load_dataset("helmet_icl")
    at = designs.beyond_data(designs.cells_of(obs), obs)
    new = at["llm"] == designs.NEW_LLM
    assert (at["prompt_tokens"] <= at["context_window"]).all()
    assert (at["prompt_tokens"][~new] > 131_072).all()
    np.testing.assert_allclose(at["compute"][new], 10 * obs["compute"].max())
    same = bcl.load_dataset("lceg_ruler")
    assert designs.along_compute(same) is None
    assert designs.beyond_data(designs.cells_of(same), same) is None


def test_compute_curves_are_drawn_where_most_checkpoints_were_evaluated():
    obs = bcl.load_dataset("montgomery2025")
    design, near, left_out = designs.along_compute(obs)
    assert left_out == 0
    assert set(design["task"].values) == set(obs["task"].values)
    assert design["compute"].max() == pytest.approx(10 * obs["compute"].max())
    assert (design["prompt_tokens"] <= design["context_window"]).all()
    for task in set(obs["task"].values):
        assert len(set(near["llm"].values[near["task"].values == task])) == 4


# --- in a browser ---------------------------------------------------------------------------------

REACHES_OUT = '<img src="https://example.org/a.png"><script>console.log("ran")</script></body>'


@needs_browser
@pytest.mark.parametrize("width", [400, 1100])
def test_a_browser_shows_the_page_whole_and_quietly(report, tmp_path, width):
    needed, images, drawn, background, console = looked_at(report, tmp_path, width)
    assert needed <= width
    assert images == drawn == 3
    assert background == "rgb(255, 255, 255)"
    assert console == []


@needs_browser
def test_a_browser_that_is_dark_has_a_dark_page(report, tmp_path):
    dark = looked_at(report, tmp_path, 800, "--blink-settings=preferredColorScheme=0")
    assert dark[3] == "rgb(26, 26, 26)"
    assert dark[4] == []


@needs_browser
def test_what_is_wrong_with_a_page_would_be_seen(report, tmp_path):
    text = report.read_text(encoding="utf-8")
    wide = '<div style="width: 2000px">wide</div></body>'
    bad = tmp_path / "bad.html"
    bad.write_text(text.replace("</body>", wide + REACHES_OUT), encoding="utf-8")
    needed, images, drawn, _, console = looked_at(bad, tmp_path, 400)
    assert needed >= 2000
    assert drawn == images - 1
    assert len(console) == 2
    assert all("Content Security Policy" in line for line in console)


@needs_browser
def test_the_page_can_be_printed(report, tmp_path):
    pdf = tmp_path / "report.pdf"
    _, console = chromium(report, tmp_path, f"--print-to-pdf={pdf}", "--no-pdf-header-footer")
    assert pdf.read_bytes().startswith(b"%PDF")
    assert console == []


# --- demo -----------------------------------------------------------------------------------------


@pytest.mark.slow  # the command's own tests run a quick demo
def test_the_demo_writes_what_it_promises(tmp_path, monkeypatch):
    monkeypatch.setattr("bayes_ctxlaw.context_law.ContextLaw", FakeLaw)
    steps = []
    paths = run_demo(tmp_path / "out", draws=5, random_seed=3, on_step=steps.append)
    assert set(paths) == set(FILES)
    assert {p.name for p in (tmp_path / "out").iterdir()} == {name for name, _ in FILES.values()}
    assert all(path.stat().st_size > 0 for path in paths.values())
    assert not plt.get_fignums()

    law = FakeLaw.made
    assert law.fitted_with["random_seed"] == 3
    assert law.obs.sizes["obs_id"] == 105
    assert not law.obs["beyond_10k"].any()
    beyond = pd.read_csv(paths["beyond_10k"])
    assert len(beyond) == 12
    expected = (beyond["score"] >= beyond["lower"]) & (beyond["score"] <= beyond["upper"])
    assert beyond["inside"].equals(expected)
    curves = pd.read_csv(paths["predictions"])
    assert len(curves.groupby(["task", "llm"])) == 12
    assert curves["prompt_tokens"].max() == pytest.approx(131072)
    page = paths["report"].read_text(encoding="utf-8")
    assert "The fit saw 105 observations of the table “montgomery2025”" in page
    assert "arXiv:2510.14919" in page
    assert any("105 observations" in step for step in steps)
    assert any("of 12 held-out scores" in step for step in steps)

    run_demo(tmp_path / "out", draws=5)  # a second run replaces its own files


def test_the_demo_refuses_a_file_for_a_folder(tmp_path):
    (tmp_path / "taken").write_text("", encoding="utf-8")
    with pytest.raises(FileFormatError, match="cannot be made a folder"):
        run_demo(tmp_path / "taken")


def test_held_out_must_be_a_prediction(tmp_path, law):
    for given in (observations(), observations().to_dataframe()):
        with pytest.raises(SpecificationError, match=r"held_out must be a prediction .*'median'"):
            write_report(tmp_path / "r.html", law, held_out=given)
    assert not list(tmp_path.iterdir())


def test_held_out_must_say_what_its_intervals_are(tmp_path, law, held_out):
    with pytest.raises(SpecificationError, match="no attribute 'ci_prob', the probability of its"):
        write_report(tmp_path / "r.html", law, held_out=held_out.drop_attrs())


def test_figures_must_be_png_files(tmp_path, law, figure):
    (tmp_path / "drawing.png").write_text("<svg/>", encoding="utf-8")
    wrong = [Figure(tmp_path / name, "No picture.") for name in ("absent.png", "drawing.png")]
    with pytest.raises(FileFormatError, match=r"absent\.png cannot be .*drawing\.png is not a PNG"):
        write_report(tmp_path / "r.html", law, figures=[figure, *wrong])
    assert not (tmp_path / "r.html").exists()


def test_a_checkpoint_with_several_windows_has_each_of_them(tmp_path, law):
    obs = observations(llms=("A", "B"))
    wide = obs["prompt_tokens"].values >= 4000
    obs = obs.assign(context_window=("obs_id", np.where(wide, 32_768.0, 2048.0)))
    law.fit(obs.isel(obs_id=slice(None, None, -1)))
    cells = designs.cells_of(law.obs)
    assert sorted(cells[cells["task"] == "qa"]["context_window"]) == [2048, 2048, 32_768, 32_768]
    assert cells["longest"].where(cells["context_window"] == 2048).max() == 1000
    (some, left_out), = designs.context_figures(cells)  # fmt: skip
    assert (len(some), left_out) == (8, 0)
    page = write_report(tmp_path / "r.html", law).read_text(encoding="utf-8")
    row = '<td class="number">{}</td><td class="number">{}</td><td class="number">4</td>'
    assert (
        page.count(row.format("2,048", "1,000")) == page.count(row.format("32,768", "8,000")) == 2
    )


def test_new_checkpoints_are_explained_where_there_are_any(tmp_path, law):
    page = write_report(tmp_path / "r.html", law).read_text(encoding="utf-8")
    assert len(set(law.obs["compute"].values)) == 1
    assert "Rows of a new checkpoint" not in page
    compute = law.obs["compute"] * np.where(law.obs["llm"] == "A-8k", 1.0, 4.0)
    law.fit(law.obs.assign(compute=compute))
    page = write_report(tmp_path / "r.html", law).read_text(encoding="utf-8")
    assert "Rows of a new checkpoint" in page


def test_rows_of_the_fit_are_not_called_held_out(tmp_path, law):
    seen = fake_prediction(law.obs)
    size = seen.sizes["obs_id"]
    with pytest.raises(SpecificationError, match=rf"{size} of {size} row\(s\) of held_out are in"):
        write_report(tmp_path / "r.html", law, held_out=seen)
    score = seen["score"].values.copy()
    score[1:] = np.clip(score[1:] + 0.01, 0, 1)
    with pytest.raises(SpecificationError, match=rf"1 of {size} .* in the fit as well \(rows 0\)"):
        write_report(tmp_path / "r.html", law, held_out=seen.assign(score=("obs_id", score)))


def test_places_beyond_the_data_do_not_depend_on_the_order_of_rows():
    obs = observations(("a", "b"), ("A-0", "A-1"))
    kinds = {"A-0": "YaRN", "A-1": "PI"}
    obs = obs.assign(
        technique=("obs_id", np.array([kinds[n] for n in obs["llm"].values], dtype=object)),
        # An extension adds a little.
        compute=("obs_id", np.where(obs["llm"].values == "A-1", 1.001e23, 1e23)),
        context_window=("obs_id", np.full(obs.sizes["obs_id"], 8192.0)),
    )
    small = obs.assign(
        llm=("obs_id", np.char.add(obs["llm"].values.astype(str), " small").astype(object)),
        compute=obs["compute"] / 10,
    )
    obs = xr.concat([obs, small], "obs_id").drop_vars("obs_id")
    tables = []
    for rows in (obs, obs.isel(obs_id=slice(None, None, -1))):
        at = designs.beyond_data(designs.cells_of(rows), rows)
        new = at.isel(obs_id=np.flatnonzero(at["llm"] == designs.NEW_LLM)).to_dataframe()
        assert sorted(zip(new["task"], new["technique"], strict=True)) == [
            ("a", "PI"), ("a", "YaRN"), ("b", "PI"), ("b", "YaRN"),
        ]  # fmt: skip
        tables.append(new.sort_values(["task", "technique"]).reset_index(drop=True))
    names = ["task", "technique", "compute", "context_window", "prompt_tokens"]
    assert tables[0][names].equals(tables[1][names])


def test_all_pairs_of_techniques_are_compared_at_one_window(sampled):
    obs = bcl.load_dataset("helmet_icl")
    windows = {
        designs.side_by_side(obs, *pair)["context_window"].values[0]
        for pair in itertools.combinations(sorted(set(obs["technique"].values)), 2)
    }
    assert windows == {designs.common_window(obs)}
    at = designs.side_by_side(sampled.obs, "X", "Y")
    assert (at["prompt_tokens"] <= at["context_window"] * (1 + 1e-9)).all()

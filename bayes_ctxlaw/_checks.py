"""The checks at the door. Each looks at one thing and adds what it finds to one list of faults."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from bayes_ctxlaw._faults import SHOWN, Described, Faults, show_label
from bayes_ctxlaw._tables import BLANK_WORDS, replaced
from bayes_ctxlaw._wording import wording
from bayes_ctxlaw.schema import (
    CARRIED,
    CONTEXT,
    COUNT_METRICS,
    LABELS,
    NUMBERS,
    OTHER_NAMES,
    SCHEMA,
    TAKEN,
    Variable,
)

ROUNDING = 0.0005 + 1e-9  # a score rounded to three decimals is this close to the exact one
SAME_COMPUTE = 1e-6  # relative; figures of compute are rarely given to more digits


def check_column_names(columns: Iterable[object], faults: Faults) -> None:
    """Names must be text a netCDF variable can bear, each once."""
    names = list(columns)
    lengths = [name for name in names if not isinstance(name, str) and _is_length(name)]
    if len(lengths) > 1:
        faults.table(f"{_called(lengths)}. {_turned()}; otherwise rename the columns.")
        names = [name for name in names if name not in lengths]
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            faults.table(f"The column name {name!r} occurs {names.count(name)} times; keep one.")
        if not isinstance(name, str) or not name:
            faults.table(f"The column name {name!r} is not text; rename the column.")
        elif "/" in name:
            faults.table(f"The column name {name!r} holds a `/`, which netCDF forbids; rename it.")


def _is_length(name: object) -> bool:
    """Whether a column is called as a prompt length is: 8192, "8,192", 8192.0 or "8k"."""
    return re.fullmatch(r"\d[\d,_]*(\.\d+)?\s?[kKmM]?", str(name).strip()) is not None


def _called(lengths: Sequence[object]) -> str:
    shown = ", ".join(map(repr, lengths[:SHOWN])) + (", …" if len(lengths) > SHOWN else "")
    return f"{len(lengths)} columns are called by numbers ({shown})"


def _turned() -> str:
    code = "df.melt(id_vars=[...], var_name='prompt_tokens', value_name='score')"
    return (
        "If these are prompt lengths, with a score under each, write one row for every score"
        f"{wording().in_pandas(code)}"
    )


def suggest_column(missing: str, columns: Sequence[str]) -> str:
    """Advice on which of the user's `columns` may be the `missing` one, or an empty text."""
    lower = {str(c).casefold(): str(c) for c in columns}
    near = [lower[n] for n in OTHER_NAMES.get(missing, ()) if n in lower]
    near += [lower[c] for c in difflib.get_close_matches(missing, lower, n=2, cutoff=0.7)]
    near = [c for c in dict.fromkeys(near) if c not in SCHEMA]
    return f" Perhaps {wording().column(missing, near[0])}?" if near else ""


def check_missing(
    needed: Iterable[str],
    columns: Sequence[str],
    faults: Faults,
    mappable: bool,
    items: bool = False,
    target: bool = False,
) -> None:
    """Required variables must be there, or what they follow from.

    `columns` are the user's names, offered if they are `mappable`; in rows of single `items` no
    score follows from counts; a `target` is to be predicted.
    """
    shown = f" The columns are: {', '.join(map(str, columns)) or 'none'}."
    for name in needed:
        if name in columns:
            continue
        variable = SCHEMA[name]
        text = f"`{name}` ({variable.long_name}; {variable.units}) is missing."
        if name == "compute":
            text += " Give it, or `n_params` and `train_tokens`, from which it follows as 6·N·D."
        if name == "score" and not items:
            text += " Give it, or `n_correct` and `n_items`, from which it follows."
        if name in CONTEXT and not items and (whose := wording().no_context(target)):
            text += f" ({whose})"
        lengths = [c for c in columns if name == "prompt_tokens" and _is_length(c)]
        if len(lengths) > 1:
            text += f" {_called(lengths)}. {_turned()}."
        elif mappable:
            text += suggest_column(name, columns) or (
                f" Name the column that holds it: {wording().column(name)}.{shown}"
            )
            shown = shown if shown not in text else ""  # once is enough
        faults.table(text)


def check_near_misses(
    columns: Iterable[str], faults: Faults, canonical: Iterable[str] = SCHEMA
) -> set[str]:
    """A name that is almost a `canonical` one, when that one is absent, is taken for a slip.

    Returns the canonical names that seem to be meant.
    """
    known = set(SCHEMA) | set(CARRIED)
    absent = [n for n in canonical if n not in set(columns)]
    all_meant = set()
    for column in columns:
        if column in known or not isinstance(column, str):
            continue
        meant = next((n for n in absent if _nearly(column, n)), None)
        if meant:
            all_meant.add(meant)
            faults.table(
                f"{faults.name(column)} is nearly `{meant}`, which is absent. Rename it to "
                f"`{meant}` if that is what it is, otherwise to something less like it."
            )
    return all_meant


def check_names(columns: Iterable[str], faults: Faults) -> None:
    """No column may have a name that predictions or backtests give to something else."""
    for column in columns:
        if column in TAKEN:
            faults.table(
                f"{faults.name(column)} is a name that predictions have for something else. Rename "
                f"it, such as to `own_{column}`, or drop it."
            )


def _nearly(column: str, canonical: str) -> bool:
    plain = column.strip().casefold().replace("-", "_").replace(" ", "_")
    if plain == canonical:
        return True
    ours, theirs = canonical.split("_"), plain.split("_")
    # Only what differs is compared: `prompt_tokens_p5` is not a slip for `prompt_tokens_sd`.
    left = "_".join(w for w in theirs if w not in ours)
    right = "_".join(w for w in ours if w not in theirs)
    return bool(left and right) and difflib.SequenceMatcher(None, left, right).ratio() >= 0.8


def as_numbers(
    column: pd.Series, name: str, faults: Faults, allowed: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """`column` as float64 with NaN for blank, and the mask of entries that are not numbers.

    The latter are NaN too, and already among the faults. What is `allowed` is said by the schema
    for the variables that it has.
    """
    dtype = column.dtype
    advice = "This is not a number; correct the entry."
    if pd.api.types.is_bool_dtype(dtype) and name in ("score", "n_correct"):
        return column.to_numpy(dtype=np.float64, na_value=np.nan), np.zeros(len(column), bool)
    if pd.api.types.is_any_real_numeric_dtype(dtype):
        return column.to_numpy(dtype=np.float64, na_value=np.nan), np.zeros(len(column), bool)
    words = column.astype(object)
    spelt = (isinstance(w, str) and w.strip().casefold() in BLANK_WORDS for w in words)
    blank = words.isna().to_numpy(bool) | np.fromiter(spelt, bool, len(words))
    if isinstance(dtype, np.dtype) and dtype.kind != "O":  # true/false, dates, complex numbers
        values = np.full(len(column), np.nan)
    else:
        converted = pd.to_numeric(replaced(words, blank, np.nan), errors="coerce")
        values = converted.to_numpy(dtype=np.float64, na_value=np.nan)
    bad = np.isnan(values) & ~blank
    faults.rows(name, bad, words.iloc.__getitem__, allowed or SCHEMA[name].allowed, advice)
    return values, bad


def check_range(
    name: str,
    values: np.ndarray,
    faults: Faults,
    named: np.ndarray,
    blank: bool | None = None,
    advice_if_blank: str | None = None,
) -> None:
    """Every number finite and inside its range; blank only where the schema allows it.

    Rows in `named` are already among the faults; `blank` overrides the schema.
    """
    v = SCHEMA[name]
    found = values.__getitem__
    if not (v.blank if blank is None else blank):
        advice = advice_if_blank or _blank_advice(name)
        faults.rows(name, np.isnan(values) & ~named, found, v.allowed, advice)
    infinite = np.isinf(values)
    faults.rows(name, infinite, found, v.allowed, "Infinite values mean nothing here.")
    percent = np.zeros(len(values), bool)
    if name in ("score", "chance"):
        percent = (values > 1) & (values <= 100)
        advice = "Is this a percentage? Then divide the column by 100."
        faults.rows(name, percent, found, v.allowed, advice)
    low = (values <= v.low) if v.low_open else (values < v.low)
    high = (values >= v.high) if v.high_open else (values > v.high)
    outside = (low | high) & ~infinite & ~percent
    faults.rows(name, outside, found, v.allowed, _range_advice(name))
    if v.whole:
        broken = np.isfinite(values) & (values != np.round(values)) & ~outside
        faults.rows(name, broken, found, v.allowed, "Counts are whole numbers.")


def _blank_advice(name: str) -> str:
    if name == "compute":
        return "Fill it in, or give `n_params` and `train_tokens` in these rows (6·N·D)."
    if name == "chance":
        return "Write 0 where guessing scores nothing."
    return "Fill these rows in or take them out; nothing is filled in for you."


def _range_advice(name: str) -> str:
    if name == "compute":
        return "6·N·D in 64-bit integers overflows; multiply as floats (6.0 * N * D)."
    if name in ("prompt_tokens", "context_window"):
        return "Take these rows out or correct the count of tokens."
    return ""


def check_labels(name: str, column: pd.Series, faults: Faults) -> np.ndarray:
    """Labels are text, not empty, without white space at the ends. Returns them as objects."""
    values = column.astype(object).to_numpy()
    blank = np.asarray(pd.isna(column))
    if pd.api.types.infer_dtype(values[~blank], skipna=False) in ("string", "empty"):
        text = ~blank
    else:
        text = np.array([isinstance(v, str) for v in values], bool)
    advice = f"Convert the column{wording().in_pandas('df[...].astype(str)')}."
    faults.rows(name, ~text & ~blank, values.__getitem__, SCHEMA[name].allowed, advice)
    result = np.full(len(values), "", dtype=object)
    codes, words = pd.factorize(values[text])
    stripped = np.array([w.strip() for w in words], dtype=object)
    empty, padded = np.zeros(len(values), bool), np.zeros(len(values), bool)
    if len(words):
        empty[text] = (stripped == "")[codes]
        padded[text] = (stripped != words)[codes] & ~empty[text]
        result[text] = np.array([str(w) for w in words], dtype=object)[codes]
    some = "Label every row (for instance 'none')" if SCHEMA[name].status == "optional" else ""
    advice = f"{some} or leave the whole column out." if some else "Label every row."
    faults.rows(name, blank | empty, values.__getitem__, SCHEMA[name].allowed, advice)
    shown = wording().in_pandas("df[...].str.strip()")
    advice = f"'PI ' and 'PI' would be two levels: strip the column{shown}."
    faults.rows(name, padded, values.__getitem__, SCHEMA[name].allowed, advice)
    return result


def _whole_numbers(name: str, present: pd.Series, blank: np.ndarray, faults: Faults) -> np.ndarray:
    """A carried column of whole numbers; with a blank, or beyond 64 bits, they are floating."""
    numbers = [int(v) for v in present]
    low, high = min(numbers), max(numbers)
    if not blank.any() and -(2**63) <= low and high < 2**63:
        return np.array(numbers, dtype=np.int64)
    if not blank.any() and low >= 0 and high < 2**64:
        return np.array(numbers, dtype=np.uint64)
    out = np.full(len(blank), np.nan)
    out[~blank] = numbers
    # Beyond 64 bits a number is a quantity, such as FLOPs, and within them perhaps a name.
    changed = sum(
        int(value) != number
        for value, number in zip(out[~blank], numbers, strict=True)
        if abs(number) < 2**64
    )
    if changed:
        text = wording().in_pandas("df[...].astype(str)")
        faults.table(
            f"{faults.name(name)}, carried along, holds whole numbers with blanks or beyond 64 "
            f"bits, and {changed} of them would change as floating numbers. Make it text{text}, or "
            "drop it."
        )
    return out


def check_carried(name: str, column: pd.Series, faults: Faults) -> np.ndarray:
    """A column that is only carried along, in a type that netCDF keeps."""
    dtype = column.dtype
    if isinstance(dtype, np.dtype) and dtype.kind in "bif":
        return column.to_numpy()
    if isinstance(dtype, np.dtype) and dtype.kind == "M":
        return column.to_numpy(dtype="datetime64[ns]")
    blank = column.isna().to_numpy(bool)
    kind = pd.api.types.infer_dtype(column.astype(object), skipna=True)
    if kind == "empty":  # nothing but blanks: of no type, so the one with a blank
        return np.full(len(column), np.nan)
    if kind == "string":
        return replaced(column, blank, "").map(str).to_numpy(object)
    if kind == "boolean" and not blank.any():
        return column.to_numpy(dtype=bool)
    if kind == "integer":
        return _whole_numbers(name, column[~blank], blank, faults)
    if kind in ("floating", "mixed-integer-float"):
        return replaced(column, blank, np.nan).to_numpy(dtype=np.float64)
    found = "true/false and blanks" if kind == "boolean" else f"{kind} values ({dtype})"
    faults.table(
        f"{faults.name(name)}, carried along, holds {found}. A carried column holds one of: "
        "numbers, text, true/false without blanks, dates without time zone. Convert it"
        f"{wording().in_pandas('df[...].astype(str)')}, or drop it."
    )
    return np.full(len(column), np.nan)


def check_counts(frame: pd.DataFrame, faults: Faults) -> None:
    """`n_correct` fits `n_items`, and `score` fits both."""
    if "n_correct" not in frame:
        return
    correct = frame["n_correct"].to_numpy()
    if "n_items" not in frame:
        faults.table("`n_correct` is given without `n_items`; give both, or neither.")
        return
    items = frame["n_items"].to_numpy()
    alone = np.isfinite(correct) & np.isnan(items)
    advice = "Give the number of items in these rows, or leave `n_correct` blank in them."
    allowed = "a count beside a count of items"
    faults.rows("n_correct", alone, correct.__getitem__, allowed, advice)
    over = correct > items

    def both(i: int) -> str:
        return Described(f"{correct[i]:g} of {items[i]:g}")

    faults.rows("n_correct", over, both, "at most `n_items`", "Are the two columns swapped?")
    if "score" not in frame:
        return
    score = frame["score"].to_numpy()
    sound = np.isfinite(score) & (items >= 1) & (correct >= 0) & ~over
    share = np.divide(correct, items, out=np.full(len(frame), np.nan), where=sound)
    against = sound & (np.abs(score - share) > ROUNDING)

    def beside(i: int) -> str:
        return Described(f"score {score[i]:g} beside {both(i)}")

    advice = "Correct one of the three; or leave `score` out and it is computed."
    allowed = "`n_correct` / `n_items`, to three decimals"
    faults.rows("score", against, beside, allowed, advice)


def check_checkpoints(frame: pd.DataFrame, faults: Faults, needs_context: bool) -> None:
    """A checkpoint has seen no more tokens than its run; a law of context takes ends of runs."""
    if "checkpoint_tokens" not in frame:
        return
    seen = frame["checkpoint_tokens"].to_numpy()
    if needs_context:
        advice = (
            "Before its end a run has seen fewer tokens, at a learning rate that has not decayed: "
            "a law of context takes the ends of runs. Take these rows out."
        )
        faults.rows("checkpoint_tokens", seen > 0, seen.__getitem__, "blank", advice)
    if "train_tokens" in frame:
        whole = frame["train_tokens"].to_numpy()
        faults.rows(
            "checkpoint_tokens",
            (seen > 0) & (seen > whole * (1.0 + SAME_COMPUTE)),
            lambda i: Described(f"{seen[i]:.7g} of {whole[i]:.7g}"),
            "at most `train_tokens`, the tokens of the whole run",
            "Rows of one run share its `train_tokens`; only `checkpoint_tokens` differs.",
        )


def check_count_metric(frame: pd.DataFrame, faults: Faults) -> None:
    """Where the metric counts items, the score must be a whole number of `n_items`."""
    if not {"metric", "n_items", "score"} <= set(frame.columns):
        return
    metric = frame["metric"].map(lambda m: str(m).casefold() in COUNT_METRICS).to_numpy(bool)
    score, items = frame["score"].to_numpy(), frame["n_items"].to_numpy()
    sound = metric & (score >= 0) & (score <= 1) & (items >= 1) & np.isfinite(items)
    nearest = np.divide(np.round(score * items), items, out=score.copy(), where=sound)
    impossible = sound & (np.abs(nearest - score) > ROUNDING)
    faults.rows(
        "score",
        impossible,
        lambda i: Described(
            f"{score[i]:g} with metric {frame['metric'].iloc[i]!r} of {items[i]:g} items"
        ),
        "a whole number of items over `n_items`, to three decimals, as this metric counts items",
        "Is `n_items` right? If the score averages something else, name the metric otherwise.",
    )


def check_one_value_per_llm(frame: pd.DataFrame, faults: Faults) -> None:
    """A checkpoint has one family and one training compute."""
    advice = (
        "One `llm` label stands for one checkpoint: a base extended to two windows is two, "
        "such as 'X-8k' and 'X-128k'."
    )
    llm = frame["llm"]
    if "family" in frame:
        labelled = frame["family"].mask(frame["family"] == "")  # blank is a fault of its own
        several = labelled.groupby(llm).nunique()
        _fault_of_llms(frame, several.index[several > 1], "family", "{}", faults, advice)
    if "compute" in frame:
        compute = frame["compute"].where(np.isfinite(frame["compute"]) & (frame["compute"] > 0))
        span = compute.groupby(llm).agg(["min", "max"])
        several = span.index[span["max"] - span["min"] > SAME_COMPUTE * span["max"]]
        _fault_of_llms(frame, several, "compute", "{:.7g}", faults, advice)


def _fault_of_llms(
    frame: pd.DataFrame, llms: pd.Index, column: str, form: str, faults: Faults, advice: str
) -> None:
    of_row = frame["llm"].to_numpy()
    # Blank labels are a fault of their own.
    bad = frame["llm"].isin(llms).to_numpy() & (of_row != "")
    values_of = dict(iter(frame[bad].groupby("llm", sort=False)[column]))

    def found(i: int) -> str:
        values = values_of[of_row[i]].drop_duplicates()
        shown = ", ".join(form.format(v) for v in values[:SHOWN])
        return Described(f"{of_row[i]!r} with {len(values)} of them ({shown})")

    faults.rows(column, bad, found, f"one {column} for each `llm`", advice)


def check_identical_rows(frame: pd.DataFrame, faults: Faults) -> None:
    """A row given twice counts twice, so it is refused; replicates differ somewhere."""
    again = frame.duplicated(keep=False).to_numpy()
    if not again.any():
        return
    places = np.flatnonzero(again)
    group = frame[again].groupby(list(frame.columns), sort=False, dropna=False).ngroup().to_numpy()

    def copies(i: int) -> str:
        same = places[group == group[np.searchsorted(places, i)]]
        shown = " = ".join(show_label(faults.labels[j]) for j in same[:SHOWN])
        return Described("row " + shown + (" = …" if len(same) > SHOWN else ""))

    advice = (
        "Take the copies out; if they are repeated evaluations, tell them apart by a column such "
        "as `seed`."
    )
    faults.rows("", again, copies, "each row once", advice, where="Identical rows")


def check_size(n_rows: int, faults: Faults, target: bool) -> None:
    """An empty table is always a fault, a single row only where something is to be learned."""
    if n_rows == 0:
        faults.table("The table has no rows.")
    elif n_rows == 1 and not target:
        faults.table(
            "The table has a single row, from which nothing can be fitted. At the very least two "
            "rows are needed; a useful fit wants, for each task, several prompt lengths and, "
            "somewhere in the table, two or more values of compute."
        )


def schema_columns(columns: Iterable[str], kind: str) -> list[Variable]:
    """The variables of one kind that are among `columns`, in the order of the schema."""
    names = set(NUMBERS if kind == "number" else LABELS) & set(columns)
    return [v for v in SCHEMA.values() if v.name in names]

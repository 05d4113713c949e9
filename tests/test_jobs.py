"""Loops of fits: the same results in the same order, however joblib spreads them."""

import time

import joblib
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import bayes_ctxlaw as bcl
from bayes_ctxlaw import jobs

BACKENDS = ["loky", "threading", "multiprocessing"]


def later_is_quicker(number):
    time.sleep(0.2 / number)
    return number**2


def fail(kind):
    if kind == "package":
        raise bcl.UnknownLabelError("no such label.")
    if kind == "other":
        raise ZeroDivisionError("division by zero")


def blas_threads():
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


@pytest.mark.parametrize("backend", BACKENDS)
def test_results_come_in_the_order_of_the_jobs(backend):
    table = {str(number): (number,) for number in (1, 2, 3, 4)}
    with joblib.parallel_config(backend=backend, n_jobs=2):
        found = jobs.run(later_is_quicker, table)
    assert list(found.items()) == [("1", 1), ("2", 4), ("3", 9), ("4", 16)]
    assert found == jobs.run(later_is_quicker, table)


def test_no_jobs_no_results():
    assert jobs.run(later_is_quicker, {}) == {}


@pytest.mark.parametrize("backend", [None, *BACKENDS])
def test_an_error_keeps_its_class_and_says_which_job_it_was(backend):
    with joblib.parallel_config(**({"backend": backend, "n_jobs": 2} if backend else {})):
        with pytest.raises(bcl.UnknownLabelError, match=r"^'law' in fold 1: no such label"):
            jobs.run(fail, {"'law' in fold 1": ("package",)})
        with pytest.raises(ZeroDivisionError, match=r"^division") as raised:
            jobs.run(fail, {"'law' in fold 2": ("other",)})
    assert raised.value.__notes__ == ["While working on 'law' in fold 2."]


def test_blas_has_one_thread_in_a_job():
    assert jobs.run(blas_threads, {"only": ()}) == {"only": {1}}


def test_progress_goes_to_stderr(capsys):
    jobs.run(later_is_quicker, {"a": (1,), "b": (2,)}, progressbar=True, title="folds")
    out, err = capsys.readouterr()
    assert out == ""
    assert "folds" in err
    assert "2/2" in err
    jobs.run(later_is_quicker, {"a": (1,)})
    assert capsys.readouterr() == ("", "")


def slept(before, after):
    time.sleep(before)
    first = blas_threads()
    time.sleep(after)
    return first, blas_threads()


def test_threads_that_overlap_have_one_blas_thread_each_and_leave_as_many_as_there_were():
    before = blas_threads()
    with threadpool_limits(2, user_api="blas"):
        with joblib.parallel_config(backend="threading", n_jobs=2):
            found = jobs.run(slept, {"A": (0.0, 0.3), "B": (0.15, 0.6)})
        assert blas_threads() <= {2} | before
        assert 2 in blas_threads()
    assert found == {name: ({1}, {1}) for name in "AB"}

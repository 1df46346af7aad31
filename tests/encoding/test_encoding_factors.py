"""The factorisation store: same numbers, no decomposition twice, nothing old, nothing damaged."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from threadpoolctl import threadpool_limits

from braid.encoding import (
    cross_validate_banded,
    factor_store,
    factors,
    fit_encoding,
    variance_partition,
)
from braid.encoding.__main__ import main
from braid.encoding.backend import NUMPY, NumpyBackend, TorchBackend
from braid.encoding.factors import FactorStore
from braid.encoding.folds import make_folds
from braid.encoding.gram import GramForm
from braid.encoding.grid import make_grid
from braid.encoding.layout import layout_of
from braid.encoding.solver import (
    centred,
    cross_validate,
    fit_fixed,
    predict_fixed,
    prepare,
)
from braid.encoding.spaces import prepare_spaces
from braid.inference import test_sites as permutation_test
from braid.transfer import transfer_sites

N = 96
GRID = make_grid([0.1, 1.0, 10.0, 100.0], "trace")
PARAMS = {
    "folds": {"scheme": "blocks", "n": 4, "embargo": 2.0},
    "ridge": {"alphas": {"low": -2, "high": 4, "n": 7}},
    "test": {"nulls": ["circular_shift"], "n": 19, "min_shift": 10, "alpha": "hybrid"},
}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Keep decompositions of any size."""
    monkeypatch.setattr(factors, "SMALLEST", 1)


@pytest.fixture
def root(tmp_path):
    return tmp_path / "factors"


@contextmanager
def counted():
    """Count the decompositions of the NumPy backend, which are made all the same."""
    calls: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        for name in ("eigh", "svd"):
            real = getattr(NumpyBackend, name)

            def wrapped(self, a, name=name, real=real):
                calls.append(name)
                return real(self, a)

            patch.setattr(NumpyBackend, name, wrapped)
        yield calls


def folds_for(n=N, k=4, embargo=2.0):
    return make_folds(np.zeros(n, dtype=int), np.arange(n) * 1.0, "blocks", n=k, embargo=embargo)


def design(kind, seed=0):
    rng = np.random.default_rng(seed)
    if kind == "rotated":  # nine stimuli, repeated
        return rng.standard_normal((9, 150))[rng.integers(0, 9, N)].astype(np.float32)
    width = {"kernel": 150, "svd_wide": 150, "many": 40}.get(kind, 12)
    return rng.standard_normal((N, width)).astype(np.float32)


def form_of(kind):
    return {"svd_wide": "svd", "many": "gram", "rotated": "auto", "kernel": "auto"}.get(kind, kind)


def solve(x, form="gram", backend=NUMPY, standardize=True, folds=None, seed=1):
    """All that is made of a design: choice, scores, predictions and weights."""
    y = np.random.default_rng(seed).standard_normal((N, 11)).astype(np.float32)
    y[:, :5] += x[:, :5]
    problem = prepare(x, folds or folds_for(), GRID, standardize, form, backend=backend)
    block, mean = centred(problem.arrange(y))
    found = cross_validate(problem, block, GRID)
    predicted = np.full(y.shape, np.nan, dtype=np.float32)
    predict_fixed(problem, block, found.alpha, predicted, mean)
    whole = fit_fixed(problem, block, problem.folds[0].train, found.alpha[0])
    return problem, [found.score, found.alpha, found.validation, predicted, *whole]


def same(a, b):
    return all(np.array_equal(one, other, equal_nan=True) for one, other in zip(a, b, strict=True))


def files(root):
    return sorted(path for path in root.rglob("*") if path.is_file())


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("backend", [NUMPY, TorchBackend()], ids=["numpy", "torch"])
@pytest.mark.parametrize(
    "kind", ["gram", "many", "streamed", "rotated", "kernel", "svd", "svd_wide"]
)
def test_numbers_are_the_same_to_the_last_bit(root, kind, backend, standardize):
    """Without a store, while it is filled, and from it: in every form and on both libraries."""
    x, arguments = design(kind), (form_of(kind), backend, standardize)
    problem, expected = solve(x, *arguments)
    assert (problem.rank is not None) == (kind == "rotated")
    with factor_store(root) as store:
        assert same(solve(x, *arguments)[1], expected)
        kept = files(root)
        written = store.n_written
        again, found = solve(x, *arguments)
    assert same(found, expected)
    assert store.n_read >= store.n_written == written
    assert files(root) == kept
    assert len(kept) > 2 * problem.n_sets
    assert again.form.name == problem.form.name
    assert again.why == problem.why


@pytest.mark.parametrize("kind", ["gram", "many", "streamed", "rotated", "kernel", "svd"])
def test_another_subject_with_the_same_rows_makes_no_decomposition(root, kind):
    x = design(kind)
    with factor_store(root):
        with counted() as calls:
            solve(x, form_of(kind), seed=1)
        assert calls
        with counted() as calls:
            _, found = solve(x.copy(), form_of(kind), seed=2)
    # weights of a part of the rows need the kernel's vectors in float64, which are not kept
    assert calls == (["eigh"] if kind == "kernel" else [])
    assert same(found, solve(x, form_of(kind), seed=2)[1])


def whole_study(design, response, alpha):
    """Fit, permutation test and transfer to the same runs, as one subject's jobs do them."""
    params = {**PARAMS, "test": {**PARAMS["test"], "alpha": alpha}}
    fit = fit_encoding(design, response, params)
    nulls, sites = permutation_test(design, response, fit, params, seed=3)
    own = design, response, fit
    return fit, nulls, sites, transfer_sites(*own, *own, params, seed=3)


@pytest.mark.parametrize("alpha", ["fixed", "hybrid"])
@pytest.mark.parametrize("p", [12, 320])
def test_subjects_and_tests_share_what_the_first_fit_made(root, pair, p, alpha):
    design, response = pair(p=p, targets=8, layers=2)
    second = response.copy(data=response.values[:, ::-1])
    expected = [whole_study(design, r, alpha) for r in (response, second)]
    with factor_store(root):
        with counted() as calls:
            first_fit = fit_encoding(design, response, PARAMS)
        assert calls
        with counted() as calls:
            permutation_test(design, response, first_fit, PARAMS, seed=3)
        assert calls == []
        first = whole_study(design, response, alpha)
        with counted() as calls:
            other = whole_study(design, second, alpha)
        assert calls == []
    for found, known in zip((first, other), expected, strict=True):
        for one, two in zip(found[:2], known[:2], strict=True):
            xr.testing.assert_identical(one, two)
        for one, two in zip(found[2:], known[2:], strict=True):
            assert one.equals(two)


def one_row(x, folds):
    x = x.copy()
    x[17, 3] = np.nextafter(x[17, 3], np.float32(9.0))
    return {"x": x}


@pytest.mark.parametrize("widths", [(12, 9), (90, 70)], ids=["gram", "kernel"])
def test_subsets_of_spaces_are_shared_and_other_weights_are_not_kept(root, widths):
    rng = np.random.default_rng(4)
    spaces = {name: rng.standard_normal((N, p)) for name, p in zip("ab", widths, strict=True)}
    first, second = (rng.standard_normal((N, 6)) + spaces["a"][:, :6] for _ in range(2))
    arguments = folds_for(), GRID
    expected = variance_partition(spaces, second, *arguments)
    other = {"a": spaces["a"], "b": spaces["b"][:, 1:]}
    with factor_store(root):
        variance_partition(spaces, first, *arguments)
        with counted() as calls:
            found = variance_partition(spaces, second, *arguments)
        assert calls == []
        xr.testing.assert_identical(found, expected)
        with counted() as calls:
            variance_partition(other, second, *arguments)
        assert calls
        gammas = np.array([[0.25, 0.75]])
        kept = files(root)
        banded = cross_validate_banded(spaces, second, *arguments, gammas=gammas)
    assert files(root) == kept
    xr.testing.assert_identical(
        banded, cross_validate_banded(spaces, second, *arguments, gammas=gammas)
    )


def test_which_features_make_a_space_is_part_of_the_key(root):
    x = design("many")
    halves = np.repeat([0, 1], 20)
    with factor_store(root):
        for space_of in (halves, np.roll(halves, 1)):
            problem = prepare_spaces(x, space_of, folds_for(), GRID).weighted(np.array([1.0, 0.0]))
            with counted() as calls:
                basis = problem.form.basis(np.ones(problem.form.layout.n_atoms, dtype=bool))
        expected = prepare_spaces(x, np.roll(halves, 1), folds_for(), GRID)
    # the first space of the second division was described while its condition was looked at
    assert calls == []
    anew = GramForm(x[:, np.roll(halves, 1) == 0], expected.form.layout, False)
    whole = anew.basis(np.ones(anew.layout.n_atoms, dtype=bool))
    assert basis.eigenvalues == pytest.approx(whole.eigenvalues)


CHANGES = {
    "the last bit of one number": one_row,
    "two rows exchanged": lambda x, folds: {"x": x[np.r_[1, 0, 2 : len(x)]]},
    "delay": lambda x, folds: {"x": np.roll(x, 1, axis=0)},
    "one feature less": lambda x, folds: {"x": x[:, :-1]},
    "columns in another order": lambda x, folds: {"x": np.ascontiguousarray(x[:, ::-1])},
    "number type": lambda x, folds: {"x": x.astype(np.float64)},
    "number of folds": lambda x, folds: {"folds": folds_for(k=3)},
    "embargo": lambda x, folds: {"folds": folds_for(embargo=3.0)},
    "standardize": lambda x, folds: {"standardize": False},
    "form": lambda x, folds: {"form": "streamed"},
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_was_changed_is_not_found(root, name):
    x = design("gram")
    changed = {"x": x, "form": "gram", "folds": folds_for(), **CHANGES[name](x, folds_for())}
    with factor_store(root):
        solve(x)
        before = set(files(root))
        with counted() as calls:
            _, found = solve(**changed)
    problem, expected = solve(**changed)
    assert len(calls) >= problem.n_sets
    assert same(found, expected)
    # all that was made is new beside what was there
    assert len(set(files(root)) - before) > problem.n_sets


def test_subjects_differ_in_the_numbers_of_their_rows_only(root):
    """The same rows at other places, as where a subject has more runs, are found."""
    x = design("gram")
    folds = folds_for()
    later = [
        type(fold)(
            fold.label,
            fold.train + 5,
            fold.test + 5,
            tuple(type(s)(s.train + 5, s.test + 5) for s in fold.inner),
        )
        for fold in folds
    ]
    with factor_store(root):
        prepare(x, folds, GRID)
        with counted() as calls:
            prepare(np.concatenate([np.ones((5, x.shape[1]), x.dtype), x]), later, GRID)
    assert calls == []


def test_code_libraries_and_threads_are_part_of_the_key(root, monkeypatch):
    x, layout = design("gram"), layout_of(N, folds_for())
    with factor_store(root):

        def problem():
            return factors.shelf_for(x, layout, True, 12, NUMPY).problem

        first = problem()
        assert problem() == first
        shelf = factors.shelf_for(x, layout, True, 12, NUMPY)
        names = []
        for threads in (1, 2):
            with threadpool_limits(threads, user_api="blas"):
                names.append(shelf.name("basis", [np.array([True, False])]))
        assert names[0] != names[1]
        assert factors.shelf_for(x, layout, True, 12, TorchBackend()).problem != first
        with monkeypatch.context() as patch:
            patch.setattr(factors, "_CODE", "another digest")
            assert problem() != first
        with monkeypatch.context() as patch:
            patch.setattr(np, "__version__", "9.9")
            factors._libraries.cache_clear()
            assert problem() != first
        factors._libraries.cache_clear()
        assert problem() == first


def test_the_code_of_the_key_is_all_of_the_room(tmp_path, monkeypatch):
    library = Path(factors.__file__).parents[1]
    for room in ("common", "encoding"):
        shutil.copytree(library / room, tmp_path / room)
    monkeypatch.setattr(factors, "__file__", str(tmp_path / "encoding" / "factors.py"))
    digests = [factors._code()]
    for name in ("encoding/gram.py", "encoding/rows.py", "encoding/backend.py", "common/random.py"):
        path = tmp_path / name
        path.write_text(path.read_text() + "\n# changed\n")
        digests.append(factors._code())
    assert len(set(digests)) == 5


def test_few_dimensions_are_not_worth_a_file(root, monkeypatch):
    monkeypatch.setattr(factors, "SMALLEST", 40)
    with factor_store(root):
        solve(design("gram"))
        assert not root.exists()
        solve(design("many"))
    assert files(root)


def test_without_memory_for_all_bases_they_are_read_again(root):
    x, y = design("kernel"), np.random.default_rng(1).standard_normal((N, 11)).astype(np.float32)

    def scores(keep):
        problem = prepare(x, folds_for(), GRID)
        problem.form.bases.keep = keep
        with counted() as calls:
            found = cross_validate(problem, centred(problem.arrange(y))[0], GRID)
        return found.score, len(calls)

    expected, _ = scores(None)
    anew, made = scores(2)
    assert made > 10
    assert np.array_equal(anew, expected)
    with factor_store(root):
        scores(None)
        read, made = scores(2)
    assert made == 0
    assert np.array_equal(read, expected)


@pytest.mark.parametrize("damage", ["cut", "empty", "of another", "rubbish"])
def test_damaged_files_are_said_and_computed_anew(root, damage):
    x = design("gram")
    with factor_store(root):
        _, expected = solve(x)
        kept = {path: path.read_bytes() for path in root.rglob("*.npz")}
        contents = list(kept.values())
        for number, (path, content) in enumerate(kept.items()):
            path.write_bytes(
                {
                    "cut": content[: len(content) // 2],
                    "empty": b"",
                    "of another": contents[number - 1],
                    "rubbish": bytes(reversed(content)),
                }[damage]
            )
        with pytest.warns(UserWarning, match=r"factor store: .*\.npz is damaged \(.*computed anew"):
            assert same(solve(x)[1], expected)
        # and are whole again
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert same(solve(x)[1], expected)
    assert {path for path in root.rglob("*.npz")} == set(kept)


def test_no_single_changed_byte_gives_another_number(root):
    """Every second byte of one file, one at a time: read as it was, or refused."""
    x = design("gram")[:, :3]
    store = FactorStore(root)
    with factor_store(root):
        prepare(x, folds_for(), GRID)
    path = min(root.rglob("basis-*.npz"))
    problem, name = path.parent.name, path.stem
    about, arrays = store.get(problem, name)
    content = path.read_bytes()
    refused = set()
    positions = range(0, len(content), 2)
    for position in positions:
        changed = bytearray(content)
        changed[position] ^= 1 << position % 8
        path.write_bytes(changed)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            found = store.get(problem, name)
        if found is None:
            refused.add(position)
            assert "is damaged" in str(said[0].message)
        else:
            assert found[0] == about
            assert same(found[1], arrays)
    # what is not refused are dates and the like: nothing within the arrays
    for array in arrays:
        data = array.tobytes(order="A")
        start = content.index(data)
        assert refused.issuperset(set(positions) & set(range(start, start + len(data))))


def test_a_store_that_cannot_be_written_to_is_said_once(tmp_path):
    x, root = design("gram"), tmp_path / "file"
    root.write_text("not a folder")
    _, expected = solve(x)
    with factor_store(root), warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert same(solve(x)[1], expected)
        assert same(solve(x)[1], expected)
    (message,) = [str(one.message) for one in said]
    assert "cannot be written to" in message
    assert "computed and not kept" in message


def test_what_is_there_is_read_where_nothing_can_be_written(root):
    x, other = design("gram"), design("gram", seed=5)
    with factor_store(root):
        _, expected = solve(x)
    problem = next(root.rglob("problem.json")).parent.name
    with factor_store(root):
        solve(other)
    for folder in root.glob("??"):
        if not (folder / problem).is_dir():
            shutil.rmtree(folder)
            folder.write_text("in the way")
    with factor_store(root), warnings.catch_warnings(record=True) as said, counted() as calls:
        warnings.simplefilter("always")
        solve(other)
        made = len(calls)
        assert same(solve(x)[1], expected)
    assert made > 0
    assert len(calls) == made
    assert len(said) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_to_write_is_read(root):
    x = design("gram")
    with factor_store(root):
        _, expected = solve(x)
    folders = [root, *(path for path in root.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    try:
        with factor_store(root), counted() as calls, warnings.catch_warnings():
            warnings.simplefilter("error")
            assert same(solve(x)[1], expected)
        assert calls == []
        with factor_store(root), pytest.warns(UserWarning, match="cannot be written to"):
            solve(design("gram", seed=5))
    finally:
        for folder in folders:
            folder.chmod(0o755)


def test_deleting_the_store_at_any_moment_breaks_nothing(root):
    x, y = design("gram"), np.random.default_rng(1).standard_normal((N, 11)).astype(np.float32)
    with factor_store(root):
        problem = prepare(x, folds_for(), GRID)
        shutil.rmtree(root)
        found = cross_validate(problem, centred(problem.arrange(y))[0], GRID)
        shutil.rmtree(root)
        again = prepare(x, folds_for(), GRID)
        assert same(
            [found.score],
            [cross_validate(again, centred(again.arrange(y))[0], GRID).score],
        )
    assert files(root)


PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from test_encoding_factors import design, factor_store, factors, solve
factors.SMALLEST = 1
import numpy as np
with factor_store(sys.argv[2]):
    _, found = solve(design("many"))
np.savez(sys.argv[3], *found)
"""


def test_two_processes_fill_one_store(root, tmp_path):
    outputs = [tmp_path / f"{number}.npz" for number in range(2)]
    folder = str(Path(__file__).parent)
    started = [
        subprocess.Popen([sys.executable, "-W", "error", "-c", PROGRAM, folder, root, output])
        for output in outputs
    ]
    assert [process.wait(120) for process in started] == [0, 0]
    _, expected = solve(design("many"))
    for output in outputs:
        with np.load(output) as found:
            assert same([found[name] for name in found.files], expected)
    assert not [path for path in files(root) if path.name.startswith(".")]
    with factor_store(root), counted() as calls:
        solve(design("many"))
    assert calls == []


@pytest.mark.parametrize("other", ["cv2", "sklearn", "torch"])
def test_what_else_was_imported_does_not_matter(other):
    """OpenCV brings an OpenBLAS of its own, in which nothing of ours is computed."""
    pytest.importorskip(other)
    code = (
        "import {}; from braid.encoding import factors; print(factors._libraries('numpy', 'cpu'))"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", code.format(name)], capture_output=True, text=True, check=True
        ).stdout
        for name in ("numpy", other)
    }
    assert len(told) == 1 and "blas" in told.pop()


def test_the_store_keeps_to_its_limit_and_drops_what_was_not_used(root):
    with factor_store(root, limit_gb=None) as store:
        solve(design("many", seed=0))
        size = sum(entry.size for entry in store.entries())
        for entry in store.entries():
            os.utime(entry.path, (entry.used - 1000, entry.used - 1000))
    with factor_store(root, limit_gb=1.5 * size / 1e9) as store:
        solve(design("many", seed=1))
        assert sum(entry.size for entry in store.entries()) <= 1.6 * size
        with counted() as calls:
            solve(design("many", seed=1))
        assert calls == []
    # reading counts as use
    used = {entry.path: entry.used for entry in store.entries()}
    oldest = store.entries()[0]
    store.get(oldest.path.parent.name, oldest.path.stem)
    assert oldest.path.stat().st_mtime > used[oldest.path]


def test_command_line_lists_and_cleans(root, capsys):
    with factor_store(root):
        solve(design("many"))
        solve(design("kernel"), "auto")
    fixed = ["--store", str(root)]
    assert main([*fixed, "ls"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [dict(zip(lines[0].split("\t"), line.split("\t"), strict=True)) for line in lines[1:]]
    assert {(row["form"], row["rows"], row["features"]) for row in rows} == {
        ("gram", "96", "40"),
        ("kernel", "96", "150"),
        ("rows", "96", "150"),
    }
    there = FactorStore(root).entries()
    assert sum(int(row["files"]) for row in rows) == len(there)
    for entry in there[:7]:
        os.utime(entry.path, (entry.used - 3 * 86400, entry.used - 3 * 86400))
    assert main([*fixed, "gc", "--older-than", "2"]) == 0
    assert f"7 of {len(there)} files" in capsys.readouterr().out
    assert len(FactorStore(root).entries()) == len(there)
    assert main([*fixed, "gc", "--older-than", "2", "--delete"]) == 0
    assert len(FactorStore(root).entries()) == len(there) - 7
    assert main([*fixed, "gc", "--above", "0", "--delete"]) == 0
    assert not files(root)
    assert main([*fixed, "gc"]) == 1
    assert "--older-than DAYS or --above GB" in capsys.readouterr().err


def test_no_store_is_used_outside_of_the_block(root):
    with factor_store(root), factor_store(None):
        solve(design("gram"))
    solve(design("gram"))
    assert not root.exists()

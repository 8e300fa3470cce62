"""Files of samples: two formats for the same data; other data are another problem; a mistake is one line."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest

import singleneuron as sn
from singleneuron.problem.data import identity, read_sample

X = np.array([[1.0, 0.0], [0.5, 2.0], [-1.0, 0.1]])
Y = np.array([1.0, 0.25, 0.0])


def table(folder, x=X, y=Y, name="own.csv"):
    lines = [",".join(map(repr, map(float, [*row, label]))) for row, label in zip(x, y, strict=True)]
    path = folder / name
    path.write_text("\n".join(["x1,x2,y", *lines]) + "\n", "utf-8")
    return path


def arrays(folder, **given):
    path = folder / "own.npz"
    np.savez(path, **given)
    return path


def test_both_formats_give_the_same_samples(tmp_path):
    for path in (table(tmp_path), arrays(tmp_path, x=X, y=Y)):
        data = read_sample(str(path))
        np.testing.assert_array_equal(data.x, X)
        np.testing.assert_array_equal(data.y, Y)
        assert data.provenance == {"file_sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def test_a_table_may_have_spaces_blank_lines_and_a_byte_order_mark(tmp_path):
    path = tmp_path / "own.csv"
    path.write_bytes(b"\xef\xbb\xbfx1, x2, y\r\n1, 0, 1\r\n\r\n0.5, 2, 0.25\r\n-1, 1e-1, 0\r\n")
    np.testing.assert_array_equal(read_sample(path).x, X)


def test_other_data_are_another_problem(tmp_path):
    one, other = read_sample(table(tmp_path)), read_sample(table(tmp_path, y=Y + 1e-12, name="other.csv"))
    again = read_sample(table(tmp_path, name="copy.csv"))
    assert identity(one) == identity(again)
    assert identity(one) != identity(other)
    assert identity(replace(one, y=one.y + 1)) != identity(one)
    mine = sn.Sample(x=X, y=Y)
    assert identity(mine) == identity(sn.Sample(x=X.copy(), y=list(Y)))
    for changed in (sn.Sample(x=X, y=2 * Y), sn.Sample(x=-X, y=Y), sn.Sample(x=X, y=Y, targets=2)):
        assert identity(changed) != identity(mine)
    assert identity(sn.Population(3)) != identity(sn.Population(3, targets=2))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("own.txt", "x1,y\n1,1\n", "must end in .npz or .csv, got"),
        ("own.csv", "", "first line of .* must be x1,...,xd,y, but is ''"),
        ("own.csv", "y\n1\n", "first line of .* but is 'y'"),
        ("own.csv", "x1,x3,y\n1,1,1\n", "first line of .* but is 'x1,x3,y'"),
        ("own.csv", "1,1\n2,2\n", "first line of .* but is '1,1'"),
        ("own.csv", "x1,y\n\n", "at least one sample below its first line"),
        ("own.csv", "x1,y\n1,1\n\n2,two\n", "line 4 of .* must hold 2 numbers, but is '2,two'"),
        ("own.csv", "x1,y\n1,1\n2,2,2\n", "line 3 of .* must hold 2 numbers, but is '2,2,2'"),
        ("own.csv", "x1,y\n1,nan\n", "own.csv' does not hold samples: y must be finite, but y.0. is nan"),
        ("own.npz", "no archive", "cannot read samples from .*; write it with numpy.savez"),
    ],
)
def test_a_bad_file_is_one_line_that_names_it(name, text, message, tmp_path):
    (tmp_path / name).write_text(text, "utf-8")
    with pytest.raises(ValueError, match=message) as caught:
        read_sample(tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"x": X}, "must hold the arrays x and y, but has no y"),
        ({"inputs": X}, "but has no x and no y"),
        ({"x": X, "y": Y[:2]}, "own.npz' does not hold samples: x must have shape"),
        ({"x": X, "y": np.array([None, 1, 2], dtype=object)}, "cannot read samples .* allow_pickle"),
    ],
)
def test_wrong_arrays_are_one_line(given, message, tmp_path):
    with pytest.raises(ValueError, match=message) as caught:
        read_sample(arrays(tmp_path, **given))
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_one_line(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    for name in ("missing.npz", "folder.csv"):
        with pytest.raises(ValueError, match=f"{name}' must be a readable file of samples"):
            read_sample(tmp_path / name)

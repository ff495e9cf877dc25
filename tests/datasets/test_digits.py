import subprocess
import sys

import numpy as np
import sklearn.datasets

from fastmlp.datasets import load, load_digits

GOLDEN = "3e322397afeb152ffdbda655b2ececc29a3722094ad6ba4f157cc8d076a4e837"


def test_digits_are_scikit_learns_in_a_fixed_order() -> None:
    data = load_digits()
    images, labels = sklearn.datasets.load_digits(return_X_y=True)
    assert (len(data.train), len(data.test)) == (1437, 360)
    assert data.shape == (1, 8, 8)
    assert data.images.dtype == np.uint8
    assert data.images.max() == 255  # as in a picture file, and nothing is lost
    levels = np.rint(data.images * (16 / 255)).astype(int)
    ours = np.column_stack([levels, data.labels])
    theirs = np.column_stack([images, labels]).astype(int)
    assert not np.array_equal(ours, theirs)
    assert np.array_equal(ours[np.lexsort(ours.T)], theirs[np.lexsort(theirs.T)])
    assert np.bincount(data.test.labels).min() >= 20
    # Guards the order: results on the test part are comparable between versions.
    assert data.checksum == GOLDEN
    assert load("digits").checksum == GOLDEN


def test_loading_imports_nothing_heavy() -> None:
    program = (
        "import sys; from fastmlp.datasets import load; load('digits');"
        "heavy = 'numba sklearn scipy matplotlib torch pooch PIL requests'.split();"
        "print([name for name in heavy if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.stdout == "[]\n", result.stderr

import subprocess
import sys

import numpy as np
import sklearn.datasets

from fastmlp.datasets import load, load_digits

GOLDEN = "f7b8fad146fdd70407b3d2544d90000ec8efaffe224375ddf8aa2050178aabd5"


def test_digits_are_scikit_learns_in_a_fixed_order() -> None:
    data = load_digits()
    images, labels = sklearn.datasets.load_digits(return_X_y=True)
    assert (len(data.train), len(data.test)) == (1437, 360)
    assert data.shape == (1, 8, 8)
    assert data.images.dtype == np.uint8
    ours = np.column_stack([data.images, data.labels])
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

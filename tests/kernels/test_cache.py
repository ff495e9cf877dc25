"""The machine code on disk: whose it is, and what happens where none can be kept."""

import errno

import numpy as np
import pytest

from fastmlp.kernels.jit import _digest, kernel


def doubled(x):
    return x + x


def test_two_processes_that_compile_at_once_never_mix_their_code_up(monkeypatch):
    # Each dispatcher is what one process has. Both have read an empty index when both begin to save; the first
    # writes its code after the second has.
    first, second, third = (kernel(doubled) for _ in range(3))
    files = first._cache._cache_file
    late = []
    with monkeypatch.context() as patch:
        patch.setattr(type(files), "_load_index", lambda self: {})
        patch.setattr(files, "_save_data", lambda *given: late.append(given))
        assert first(np.float32(1.5)) == 3
        assert second(np.float64(1.5)) == 3
    (given,) = late
    files._save_data(*given)
    assert third(np.float64(0.1)) == 0.2
    assert third.stats.cache_hits
    (signature,) = third.signatures
    assert third.overloads[signature].signature.return_type.bitwidth == 64


def test_a_full_disk_costs_a_warning_and_not_the_call(monkeypatch):
    def full(self, *_):
        raise OSError(errno.ENOSPC, "No space left on device")

    compiled = kernel(doubled)
    monkeypatch.setattr(type(compiled._cache._cache_file), "_save_index", full)
    with pytest.warns(RuntimeWarning, match="No space left on device"):
        assert compiled(np.int32(2)) == 4


def test_the_name_of_the_cache_follows_from_sources_at_any_depth(tmp_path):
    names = [_digest(tmp_path)]
    for path in ("a.py", "deep/b.py", "deep/deeper/c.py", "deep/d.py"):
        file = tmp_path / path
        file.parent.mkdir(exist_ok=True)
        file.write_text("x = 1")
        names.append(_digest(tmp_path))
    file.write_text("x = 2")
    names.append(_digest(tmp_path))
    file.rename(tmp_path / "deep" / "deeper" / "d.py")
    names.append(_digest(tmp_path))
    assert len(set(names)) == len(names)
    assert _digest(tmp_path) == names[-1]

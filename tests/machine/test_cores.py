"""Usable cores, from the affinity mask and from faked cgroup files."""

import math
import os
from pathlib import Path

import pytest

from fastmlp.machine import cores


def quota(folder: Path, membership: str, files: dict[str, str]) -> float:
    """Lay out a fake /proc/self/cgroup and /sys/fs/cgroup and read the quota from them."""
    (folder / "cgroup").write_text(membership)
    for name, text in files.items():
        path = folder / "mounts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return cores.cgroup_quota(folder / "cgroup", folder / "mounts")


V1 = "4:memory:/jobs/7\n3:cpu,cpuacct:/jobs/7\n"
FRACTION = {"cpu.cfs_quota_us": "150000\n", "cpu.cfs_period_us": "100000\n"}


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        pytest.param("0::/\n", {"cpu.max": "250000 100000\n"}, 2.5, id="container"),
        pytest.param("0::/\n", {"cpu.max": "max 100000\n"}, math.inf, id="no limit"),
        pytest.param("0::/\n", {}, math.inf, id="root has no cpu.max"),
        pytest.param(
            "0::/jobs/7\n",
            {"jobs/7/cpu.max": "max 100000\n", "jobs/cpu.max": "300000 100000\n"},
            3.0,
            id="an ancestor limits",
        ),
        pytest.param("0::/host/name\n", {"cpu.max": "50000 100000\n"}, 0.5, id="path of the host"),
        pytest.param("0::/../other\n", {"cpu.max": "50000 100000\n"}, 0.5, id="outside the view"),
        pytest.param(
            V1, {f"cpu,cpuacct/jobs/7/{k}": v for k, v in FRACTION.items()}, 1.5, id="version 1"
        ),
        pytest.param(V1, {f"cpu/{k}": v for k, v in FRACTION.items()}, 1.5, id="cpu link"),
        pytest.param(
            V1,
            {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"},
            math.inf,
            id="version 1, no limit",
        ),
        pytest.param(
            "1:name=systemd:/\n0::/x\n",
            {"unified/x/cpu.max": "400000 100000\n"},
            4.0,
            id="hybrid",
        ),
        pytest.param("0::/\n", {"cpu.max": "garbage\n"}, math.inf, id="unreadable"),
    ],
)
def test_cgroup_quota(
    tmp_path: Path, membership: str, files: dict[str, str], expected: float
) -> None:
    assert quota(tmp_path, membership, files) == expected


def test_no_cgroups_no_limit(tmp_path: Path) -> None:
    assert cores.cgroup_quota(tmp_path / "absent", tmp_path) == math.inf


@pytest.mark.parametrize(
    ("quota", "expected"), [(math.inf, 6), (2.5, 2), (1.5, 1), (0.2, 1), (9.0, 6), (2.0, 2)]
)
def test_usable_cores_takes_the_smaller_and_rounds_down(
    monkeypatch: pytest.MonkeyPatch, quota: float, expected: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    monkeypatch.setattr(cores, "cgroup_quota", lambda *_: quota)
    assert cores.usable_cores() == expected


def test_usable_cores_where_there_is_no_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores.usable_cores() == 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no affinity mask")
def test_usable_cores_obeys_the_affinity_mask() -> None:
    mask = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(mask)})
        assert cores.usable_cores() == 1
    finally:
        os.sched_setaffinity(0, mask)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no affinity mask")
def test_a_thread_of_a_full_team_begins_on_its_own_core_and_may_leave_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[set[int]] = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {5, 2, 7})
    monkeypatch.setattr(os, "sched_setaffinity", lambda _, mask: asked.append(mask))
    for rank in range(3):
        cores.take_own_core(rank, 3)
    assert asked == [{2}, {2, 5, 7}, {5}, {2, 5, 7}, {7}, {2, 5, 7}]
    cores.take_own_core(1, 2)  # others may share these cores
    assert len(asked) == 6
    for rank in range(6):
        cores.take_own_core(rank, 6)
    assert asked[6::2] == [{2}, {2}, {5}, {5}, {7}, {7}]

    def refuse(_: int, mask: set[int]) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setaffinity", refuse)
    cores.take_own_core(0, 3)

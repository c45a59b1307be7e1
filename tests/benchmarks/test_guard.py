"""The guard against slow-downs, and how growth is measured, at sizes that take seconds."""

import json
from pathlib import Path

import pytest

from sendplan.benchmarks import guard, scale

EXPECTED = {"load": 1.5, "solve": 4.0, "store": 1.2}


def test_a_ratio_that_has_doubled_is_told() -> None:
    # Twice 1.5 is 3: that alone is not too much yet.
    assert guard.complaints({"load": 3.0, "solve": 4.0, "store": 1.0}, EXPECTED) == []
    (told,) = guard.complaints({"load": 3.1, "solve": 4.0, "store": 1.0}, EXPECTED)
    assert "3.10" in told
    assert "1.50" in told


@pytest.mark.parametrize(
    ("measurements", "status", "tries"),
    [([1.0], 0, 1), ([9.0, 1.0], 0, 2), ([9.0, 9.0, 9.0, 1.0], 1, 3)],
    ids=["as expected", "slow by chance", "slow"],
)
def test_what_is_slow_is_measured_three_times(
    measurements: list[float],
    status: int,
    tries: int,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    told = iter(measurements)
    tried = []

    def measured() -> dict[str, float]:
        tried.append(next(told))
        return {name: tried[-1] * ratio for name, ratio in EXPECTED.items()}

    expected = tmp_path / "guard.json"
    expected.write_text(json.dumps(EXPECTED))
    monkeypatch.setattr(guard, "EXPECTED", expected)
    monkeypatch.setattr(guard, "measured", measured)
    assert guard.main([]) == status
    assert len(tried) == tries


def test_the_guard_expects_a_ratio_of_each_kind() -> None:
    assert set(json.loads(guard.EXPECTED.read_text())) == set(guard.RATIOS)


@pytest.mark.slow
def test_growth_is_measured_at_the_smallest_sizes(tmp_path: Path) -> None:
    results = tmp_path / "RESULTS.md"
    results.write_text("# Kept\n\n## Studies\n\nas they were\n")
    scale.main(["--sizes", "500,1000", "--output", str(results)])
    text = results.read_text()
    assert "as they were" in text
    assert text.count("| first |") == text.count("| ordinary |") == 2
    assert "to the power" in text

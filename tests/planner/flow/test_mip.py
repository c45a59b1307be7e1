"""HiGHS on whole models, against optima derived by hand."""

import numpy as np
import pytest

from sendplan.planner.flow.count_model import CountModel, build_count_model
from sendplan.planner.flow.mip import TOLERANCE, MipResult, solve_mip
from sendplan.tests.worlds.problems.arrays import Arrays
from sendplan.tests.worlds.problems.tiny import World


def model_of(world: World, **parameters: float) -> CountModel:
    return build_count_model(Arrays(world, **parameters).network(last=9))


def late(model: CountModel) -> np.ndarray:
    """Give a plan that leaves everything to the day that stands for all later ones."""
    network = model.network
    starting = np.zeros_like(network.arriving)
    starting[network.group != -1, network.sink] = network.waiting.sum()
    bound = np.zeros_like(network.arriving)
    bound[:, network.sink] = (
        network.arriving.sum(axis=1) + network.inflow(starting)[:, network.sink]
    )
    return model.solution(bound, starting)


def solved(world: World, unit: int | None = 1, **parameters: float) -> tuple[float, MipResult]:
    """Give what the best solution costs, and what was found."""
    model = model_of(world, **parameters)
    found = solve_mip(model, late(model), unit, seed=0)
    assert found.solution is not None
    assert found.on_time
    # Every row holds.
    rows = np.zeros(len(model.lower))
    np.add.at(rows, model.row, model.value * found.solution[model.column])
    assert (rows <= model.upper).all()
    assert (rows >= model.lower).all()
    return model.network.value(model.sends(found.solution)), found


def test_one_slot_a_day() -> None:
    # 0 + 1 + 2 days late.
    cost, _ = solved(World().sequence(1, (0,)).mailbox(5, 1).enroll(1, 2, 3))
    assert cost == pytest.approx(3.0)


def test_a_late_start_is_cheaper_than_a_slip() -> None:
    # Tuesday is full: Wednesday and Thursday, 2 + 2.
    cost, _ = solved(World().sequence(1, (0, 1)).mailbox(5, 1).use(5, 1, 1).enroll(1))
    assert cost == pytest.approx(4.0)


def test_the_bound_is_proven_but_for_what_arithmetic_may_lose() -> None:
    # Costs are multiples of a half: the bound is below the optimum of 1.5 by little more than one.
    world = World().sequence(1, (0,), priority=0.5).mailbox(5, 1).enroll(1, 2, 3)
    cost, found = solved(world, unit=2)
    constant = model_of(world).network.constant
    assert cost == pytest.approx(1.5)
    assert found.bound + constant == pytest.approx(1.5 - TOLERANCE / 2)


def test_emails_are_whole() -> None:
    # One a day. The chain with the wait of one day leaves on Monday and Tuesday, the one with two
    # on Wednesday and Friday, two days late each; the other way round one of them slips, or starts
    # on Thursday, which costs 6. Fractional chains would cost 3.
    world = World().sequence(1, (0, 1)).sequence(2, (0, 2)).mailbox(5, 1, (1, 2))
    cost, found = solved(world.enroll(1).enroll(2, sequence=2))
    assert cost == pytest.approx(4.0)
    constant = model_of(world).network.constant
    assert found.bound + constant == pytest.approx(4.0 - TOLERANCE)

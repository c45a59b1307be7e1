"""A fractional flow rounded: near its running sums, within capacity, at the least cost."""

import numpy as np
import pytest

from sendplan.planner.flow.network import FlowNetwork
from sendplan.planner.flow.rounding import round_flow
from sendplan.planner.model.stages import NONE

DAYS = 5  # and the sink


def network_of(
    arriving: list[list[int]],
    *,
    resource: list[int],
    following: list[int] | None = None,
    urgency: list[float] | None = None,
    first: list[bool] | None = None,
    room: int = 9,
    starts: int = 99,
    cost: np.ndarray | None = None,
) -> FlowNetwork:
    """Return commodities whose emails may leave on any day, follow-ups from the next day on."""
    count, days = len(arriving), DAYS + 1
    following = following or [NONE] * count
    none = np.full(count, NONE)
    table = np.zeros((count, days), dtype=np.int64)
    for commodity, counts in enumerate(arriving):
        table[commodity, : len(counts)] = counts
    each_day = np.arange(days)
    return FlowNetwork(
        resource=np.array(resource),
        following=np.array(following),
        remaining=np.array([1 if after == NONE else 2 for after in following]),
        first=np.array(first or [False] * count),
        sequence=np.zeros(count, dtype=np.int64),
        urgency=np.array(urgency or [1.0] * count),
        sends=np.ones((count, days), dtype=bool),
        cost=np.tile(each_day.astype(float), (count, 1)) if cost is None else cost,
        onward=np.tile(np.minimum(each_day + 1, DAYS), (count, 1)),
        arriving=table,
        group=none,
        waiting=np.zeros((0, days), dtype=np.int64),
        contact=none,
        room=np.full((max(resource) + 1, days), room),
        new_room=np.full((1, days), starts),
        constant=0.0,
    )


def rounded(network: FlowNetwork, targets: list[list[float]]) -> list[list[int]]:
    wanted = np.zeros(network.arriving.shape)
    for commodity, amounts in enumerate(targets):
        wanted[commodity, : len(amounts)] = amounts
    return [row[:DAYS] + row[DAYS:] for row in round_flow(network, wanted).tolist()]


def test_a_whole_flow_stays_as_it_is() -> None:
    network = network_of([[3]], resource=[0], first=[True])
    assert rounded(network, [[1, 0, 2]]) == [[1, 0, 2, 0, 0, 0]]


def test_fractions_of_emails_add_up_to_whole_ones() -> None:
    # Running sums are 0.4, 0.8, 1.2, 1.6 and 2, and above 0 and 1 on Monday and Wednesday.
    network = network_of([[2]], resource=[0], first=[True])
    assert rounded(network, [[0.4] * 5]) == [[1, 0, 1, 0, 0, 0]]


def test_the_cheapest_way_is_taken_resource_by_resource() -> None:
    # A place a day for two commodities, of which the flow sends 0.4 and 0.6 on Monday. Rounded up
    # from 0.4 on, the first goes first, as it is more urgent; else the second. At the first mailbox
    # it is the first commodity for which waiting is dear, at the second mailbox the second.
    weights = np.array([5.0, 1.0, 1.0, 5.0])
    network = network_of(
        [[1]] * 4,
        resource=[0, 0, 1, 1],
        urgency=[2.0, 1.0, 2.0, 1.0],
        room=1,
        cost=weights[:, None] * np.arange(DAYS + 1),
    )
    sends = rounded(network, [[0.4, 0.6], [0.6, 0.4]] * 2)
    assert [row[:2] for row in sends] == [[1, 0], [0, 1], [0, 1], [1, 0]]


def test_no_more_leave_than_have_room() -> None:
    network = network_of([[3]], resource=[0], room=1)
    assert rounded(network, [[3]]) == [[1, 1, 1, 0, 0, 0]]


@pytest.mark.parametrize(("urgency", "first"), [([1.0, 2.0], 1), ([2.0, 1.0], 0)])
def test_the_most_urgent_commodity_gets_the_room(urgency: list[float], first: int) -> None:
    network = network_of([[1], [1]], resource=[0, 0], urgency=urgency, room=1)
    sends = rounded(network, [[1], [1]])
    assert sends[first] == [1, 0, 0, 0, 0, 0]
    assert sends[1 - first] == [0, 1, 0, 0, 0, 0]


def test_few_may_start_on_a_day() -> None:
    network = network_of([[2]], resource=[0], first=[True], starts=1)
    assert rounded(network, [[2]]) == [[1, 1, 0, 0, 0, 0]]


def test_follow_ups_come_a_day_later_and_wait_for_nothing() -> None:
    # The fractional flow would let them wait until Friday; the room is there on Tuesday.
    network = network_of([[1], [0]], resource=[0, 0], following=[1, NONE], first=[True, False])
    assert rounded(network, [[1], [0, 0, 0, 0, 1]]) == [[1, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0]]


def test_what_the_flow_never_sends_goes_into_the_sink_with_all_that_follows() -> None:
    network = network_of([[2], [0]], resource=[0, 0], following=[1, NONE], first=[True, False])
    assert rounded(network, [[1], [0, 1]]) == [[1, 0, 0, 0, 0, 1], [0, 1, 0, 0, 0, 1]]

"""A divided flow made whole: near its running sums, within the room, at the least cost."""

import numpy as np
import pytest

from sendplan.planner.flow.network import FlowNetwork
from sendplan.planner.flow.rounding import round_flow
from sendplan.planner.model.stages import NONE

DAYS = 5  # and the sink


def lanes_of(
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
    """Write commodities down whose emails may leave on any day, follow-ups a day later at the
    soonest."""
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


def followed(network: FlowNetwork, targets: list[list[float]]) -> list[list[int]]:
    wanted = np.zeros(network.arriving.shape)
    for commodity, amounts in enumerate(targets):
        wanted[commodity, : len(amounts)] = amounts
    return [row[:DAYS] + row[DAYS:] for row in round_flow(network, wanted).tolist()]


def test_a_whole_flow_is_followed() -> None:
    network = lanes_of([[3]], resource=[0], first=[True])
    assert followed(network, [[1, 0, 2]]) == [[1, 0, 2, 0, 0, 0]]


def test_a_part_of_an_email_leaves_as_a_whole_one() -> None:
    # Running sums are 0.4, 0.8, 1.2, 1.6 and 2, and above 0 and 1 on Monday and Wednesday.
    network = lanes_of([[2]], resource=[0], first=[True])
    assert followed(network, [[0.4] * 5]) == [[1, 0, 1, 0, 0, 0]]


def test_the_cheapest_way_is_taken_box_by_box() -> None:
    # A place a day for two commodities, of which the flow sends 0.4 and 0.6 on Monday. Rounded up
    # from 0.4 on, the first goes first, as it is more urgent; else the second. At the first mailbox
    # it is the first commodity for which waiting is dear, at the second mailbox the second.
    weights = np.array([5.0, 1.0, 1.0, 5.0])
    network = lanes_of(
        [[1]] * 4,
        resource=[0, 0, 1, 1],
        urgency=[2.0, 1.0, 2.0, 1.0],
        room=1,
        cost=weights[:, None] * np.arange(DAYS + 1),
    )
    sends = followed(network, [[0.4, 0.6], [0.6, 0.4]] * 2)
    assert [row[:2] for row in sends] == [[1, 0], [0, 1], [0, 1], [1, 0]]


def test_no_more_leave_than_have_room() -> None:
    network = lanes_of([[3]], resource=[0], room=1)
    assert followed(network, [[3]]) == [[1, 1, 1, 0, 0, 0]]


@pytest.mark.parametrize(("urgency", "first"), [([1.0, 2.0], 1), ([2.0, 1.0], 0)])
def test_the_most_urgent_lane_gets_the_room(urgency: list[float], first: int) -> None:
    network = lanes_of([[1], [1]], resource=[0, 0], urgency=urgency, room=1)
    sends = followed(network, [[1], [1]])
    assert sends[first] == [1, 0, 0, 0, 0, 0]
    assert sends[1 - first] == [0, 1, 0, 0, 0, 0]


def test_few_may_start_on_a_day() -> None:
    network = lanes_of([[2]], resource=[0], first=[True], starts=1)
    assert followed(network, [[2]]) == [[1, 1, 0, 0, 0, 0]]


def test_follow_ups_come_a_day_later_and_wait_for_nothing() -> None:
    # The divided flow would let them wait until Friday; the room is there on Tuesday.
    network = lanes_of([[1], [0]], resource=[0, 0], following=[1, NONE], first=[True, False])
    assert followed(network, [[1], [0, 0, 0, 0, 1]]) == [[1, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0]]


def test_what_the_flow_never_sends_goes_into_the_sink_with_all_that_follows() -> None:
    network = lanes_of([[2], [0]], resource=[0, 0], following=[1, NONE], first=[True, False])
    assert followed(network, [[1], [0, 1]]) == [[1, 0, 0, 0, 0, 1], [0, 1, 0, 0, 0, 1]]

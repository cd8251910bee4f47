"""The jobs of a round with the head on the client: all of it, in order, and two crossings each way."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridsplit.scenarios.contracts.jobs import Resource, StatedCosts, crossings, round_jobs
from hybridsplit.scenarios.contracts.phases import HEAD_PHASES, Phase
from hybridsplit.scenarios.contracts.three_part import HeadCosts

OF_STEP = (
    Phase.CLIENT_COMPUTE, Phase.UPLINK, Phase.SERVER_COMPUTE, *HEAD_PHASES, Phase.DOWNLINK, Phase.CLIENT_COMPUTE,
)  # fmt: skip

AMOUNT = st.floats(0.01, 5.0)
SIZE = st.integers(1, 1_000_000)


@given(st.integers(1, 6), AMOUNT, AMOUNT, AMOUNT, AMOUNT, st.tuples(SIZE, SIZE, SIZE, SIZE), SIZE, SIZE, st.booleans())
def test_jobs_of_a_round_do_all_of_it_in_the_order_of_three_parts(
    steps: int, client_s: float, head_s: float, before_s: float, after_s: float,
    sizes: tuple[int, int, int, int], features: int, gradient: int, is_dedicated: bool,
) -> None:  # fmt: skip
    head = HeadCosts(head_s, features, gradient, after_s)
    phases = (Phase.MODEL_DOWNLOAD, Phase.UPLINK, Phase.DOWNLINK, Phase.MODEL_UPLOAD)
    costs = StatedCosts(client_s + head_s, before_s + after_s, dict(zip(phases, sizes, strict=True)), head=head)
    jobs = round_jobs(costs, steps, is_dedicated=is_dedicated)
    total = {phase: math.fsum(job.amount for job in jobs if job.phase is phase) for phase in Phase}
    assert [total[phase] for phase in phases] == list(sizes)
    assert (total[Phase.HEAD_DOWNLINK], total[Phase.HEAD_UPLINK]) == (features, gradient)
    of_resource = {of: math.fsum(job.amount for job in jobs if job.resource is of) for of in Resource}
    assert of_resource[Resource.DEVICE] == pytest.approx(client_s + head_s)
    assert of_resource[Resource.SERVER] == pytest.approx(before_s + after_s)
    assert total[Phase.SERVER_BACKWARD] == pytest.approx(after_s)
    order = {phase: place for place, phase in enumerate(OF_STEP)}
    for step in range(steps):
        own = [job.phase for job in jobs if job.step == step and job.phase in OF_STEP]
        assert own[0] is own[-1] is Phase.CLIENT_COMPUTE
        places = [order[phase] for phase in own[1:]]
        assert places == sorted(places)
    up, down = crossings(costs, steps)
    links = [job for job in jobs if job.resource not in (Resource.DEVICE, Resource.SERVER)]
    assert (up, down) == (sum(j.resource.is_up for j in links), sum(j.resource.is_down for j in links))

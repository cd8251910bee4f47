"""Replays that serve at the server or on the radio by a discipline of their own, instead of by the plan.

The server has jobs of so many seconds at the whole of it, and the radio transfers of so many bits at the rate that the
client's link has with the whole band; a part of either gives that part of the speed. What a client spends in a phase is
then the seconds of the whole resource that it used, and the rest is waiting.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hybridsplit.scenarios.contracts.disciplines import Disciplines
from hybridsplit.scenarios.contracts.jobs import Resource
from hybridsplit.scenarios.contracts.plan import ClientPlan, Plan
from hybridsplit.scenarios.errors import UsageError
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.scenarios.units import bits

if TYPE_CHECKING:
    import simpy

    from hybridsplit.runtime.replay.allocation import Rule
    from hybridsplit.runtime.replay.divided import DividedResource
    from hybridsplit.runtime.replay.speeds import RecordedSteps
    from hybridsplit.runtime.replay.traces import BandwidthTrace
    from hybridsplit.runtime.replay.work import ClientWork
    from hybridsplit.scenarios.contracts.jobs import Job

_LINKS = (Resource.UPLINK, Resource.DOWNLINK)


def plan_under(plan: Plan, disciplines: Disciplines | None) -> Plan:
    """Return a plan in which clients have the whole of what disciplines divide: what is served is served by all of it.

    Parameters
    ----------
    plan
        The plan.
    disciplines
        By what it is replayed; as it is when None.
    """
    if disciplines is None or disciplines.are_planned:
        return plan
    return plan.model_copy(update={"clients": tuple(_under(client, disciplines) for client in plan.clients)})


def _under(client: ClientPlan, disciplines: Disciplines) -> ClientPlan:
    shares = {"server_share": 1.0} if disciplines.server != "plan" and client.server_compute_s > 0 else {}
    if disciplines.radio != "plan" and not client.has_dedicated_link:
        shares |= {"uplink_share": 1.0, "downlink_share": 1.0}
    return client.model_copy(update=shares)


def check_disciplines(
    plan: Plan,
    scenario: Scenario,
    disciplines: Disciplines,
    traces: Mapping[str, BandwidthTrace],
    *,
    uses_recorded_rates: bool,
) -> None:
    """Refuse disciplines that a plan cannot be replayed by.

    Parameters
    ----------
    plan, scenario
        The plan and its scenario.
    disciplines
        By what it is to be replayed.
    traces
        Recorded links by client.
    uses_recorded_rates
        Whether all of them give the links' own rates.

    Raises
    ------
    UsageError
        If steps overlap, the plan changes between rounds, nobody uses what is to be divided, or recorded rates are
        those of the links, so that there is no band to divide.
    """
    if disciplines.are_planned:
        return
    asked = f"found {disciplines}, "
    if scenario.training.changes_plans:
        raise UsageError(
            f"{asked}and training.replanning changes the plan between rounds by the rates that its shares have shown; "
            "needs one plan for all rounds: plan with --set training.replanning.policy=static"
        )
    if any(client.overlaps for client in plan.clients):
        raise UsageError(
            f"{asked}and clients whose work overlaps, which have a queue of their own at constant shares; needs "
            "everything by the plan, or a plan without overlap: --set training.overlap.staleness=[0] --set "
            "training.overlap.micro_batches=[1]"
        )
    if disciplines.server != "plan" and not any(client.server_compute_s > 0 for client in plan.clients):
        raise UsageError(f"{asked}and a plan whose clients do not use the server; leave the server's discipline out")
    if disciplines.radio == "plan":
        return
    if not any(_uses_radio(client) for client in plan.clients):
        raise UsageError(
            f"{asked}and a plan whose clients send nothing over a shared radio; leave the radio's discipline out"
        )
    if uses_recorded_rates or any(trace.is_absolute for trace in traces.values()):
        raise UsageError(
            f"{asked}and recordings whose rates are those of the links, whatever part of the band a client has; a "
            "scheduler needs what the whole band carries: use the recordings without --absolute (trace.use: relative)"
        )


def _uses_radio(client: ClientPlan) -> bool:
    return client.uplink_bytes + client.downlink_bytes > 0 and not client.has_dedicated_link


@dataclass(frozen=True)
class Served:
    """What one client gets of the resources that disciplines divide.

    Parameters
    ----------
    resources
        The resources.
    place
        The client, from 0.
    recorded
        Its recorded links.
    """

    resources: Mapping[Resource, DividedResource]
    place: int
    recorded: Mapping[Resource, RecordedSteps]

    def ask(self, work: ClientWork, job: Job, now_s: float, origin_s: float) -> simpy.Event:
        """Ask for what a job wants, and return the event that it is done.

        Parameters
        ----------
        work, job
            Whose job, and which.
        now_s, origin_s
            The time, and when the client's recording stands at its beginning.

        Raises
        ------
        RunError
            If the link never carries it.
        """
        from hybridsplit.runtime.replay.speeds import ConstantSpeed

        resource = self.resources[job.resource]
        if job.resource is Resource.SERVER:
            return resource.serve(self.place, job.amount, ConstantSpeed(1.0))
        work.check(job)
        steps = self.recorded.get(job.resource)
        speed = ConstantSpeed(work.rate_bps(job.resource)) if steps is None else steps.begun(now_s, origin_s)
        return resource.serve(self.place, bits(job.amount), speed)

    def withdraw(self, job: Job) -> None:
        """Take back what a job wanted."""
        self.resources[job.resource].withdraw(self.place)


def divided(
    environment: simpy.Environment, work: Sequence[ClientWork], disciplines: Disciplines | None
) -> list[Served | None]:
    """Make the resources that are divided, and return what each client gets of them; None where all is by the plan.

    Parameters
    ----------
    environment
        The simulation.
    work
        One item a client, at the rates of the whole band and server where these are divided.
    disciplines
        By what.
    """
    if disciplines is None or disciplines.are_planned:
        return [None] * len(work)
    from hybridsplit.runtime.replay.divided import DividedResource
    from hybridsplit.runtime.replay.speeds import RecordedSteps

    of_radio = _LINKS if disciplines.radio != "plan" else ()
    names = [*of_radio, *([Resource.SERVER] if disciplines.server != "plan" else [])]
    resources = {name: DividedResource(environment, _rule(name, disciplines, len(work)), len(work)) for name in names}
    return [
        Served(
            resources,
            place,
            {
                link: RecordedSteps.of(trace, item.rate_bps(link))
                for link in of_radio
                if not item.is_dedicated and (trace := item.trace_of(link)) is not None
            },
        )
        for place, item in enumerate(work)
    ]


def _rule(resource: Resource, disciplines: Disciplines, num_clients: int) -> Rule:
    from hybridsplit.runtime.replay.allocation import EqualParts, EqualRates, FirstCome, ProportionalFair

    if resource is Resource.SERVER:
        return FirstCome() if disciplines.server == "first-come" else EqualParts()
    if disciplines.averaging_s is not None:
        return ProportionalFair(num_clients, disciplines.averaging_s)
    return EqualRates() if disciplines.radio == "max-min" else EqualParts()

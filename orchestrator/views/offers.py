"""What a plan's scenario lets the planner choose among: columns of its table."""

from __future__ import annotations

from hybridsplit.scenarios.contracts.plan import Plan


def offers_batch_sizes(plan: Plan) -> bool:
    """Whether the plan's scenario lets the planner choose among batch sizes."""
    training = plan.scenario["training"]
    return bool({*training.get("batch_sizes", ())} - {training["batch_size"]})


def offers_overlap(plan: Plan) -> bool:
    """Whether the plan's scenario lets clients go ahead of their gradients."""
    return any(plan.scenario["training"]["overlap"]["staleness"])


def offers_seldom_uploads(plan: Plan) -> bool:
    """Whether the plan's scenario lets clients with a loss of their own send smashed data in some steps only."""
    return any(every > 1 for every in plan.scenario["training"].get("local_loss", {}).get("upload_every", ()))


def offers_heads(plan: Plan) -> bool:
    """Whether the plan's scenario lets clients have the last blocks, with the loss, as well."""
    listed = plan.scenario["training"].get("head_blocks", 0)
    return any(listed) if isinstance(listed, list | tuple) else listed > 0


def offers_micro_batches(plan: Plan) -> bool:
    """Whether the plan's scenario lets batches be trained in parts."""
    return any(number > 1 for number in plan.scenario["training"]["overlap"].get("micro_batches", ()))

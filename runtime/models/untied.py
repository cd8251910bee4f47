"""Tied parameters get copies: a tensor on both sides of a cut would need its gradients exchanged every step.

Untying it for every cut alike keeps the trained model independent of the cut.
"""

from __future__ import annotations

from torch import nn

from hybridsplit.runtime.models.blocks import Block


def untie(blocks: list[Block]) -> list[str]:
    """Give every block its own copy of a parameter it shares with an earlier block; return the names of the copies."""
    owner: dict[int, int] = {}
    copies: list[str] = []
    for index, block in enumerate(blocks):
        for module_name, module in block.named_modules():
            for name, parameter in list(module._parameters.items()):
                if parameter is None:
                    continue
                if owner.setdefault(id(parameter), index) != index:
                    copy = nn.Parameter(parameter.detach().clone(), requires_grad=parameter.requires_grad)
                    module._parameters[name] = copy
                    copies.append(f"blocks.{index}.{module_name}.{name}")
    return copies


def shared_parameters(model: nn.Module) -> list[tuple[str, ...]]:
    """Return the names of parameters that are one tensor in several modules, by tensor; a module counts once.

    Parameters
    ----------
    model
        The model, before its parameters are untied.
    """
    names: dict[int, list[str]] = {}
    for prefix, module in model.named_modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                names.setdefault(id(parameter), []).append(f"{prefix}.{name}" if prefix else name)
    return [tuple(several) for several in names.values() if len(several) > 1]


def untie_tables(model: nn.Module) -> None:
    """Give every module its own copy of a parameter it shares with an earlier module.

    The rule for declared families, before tracing: an embedding tied to the head would be on both sides of every cut. A
    module that is called several times stays one; the cuts between its calls are not valid.
    """
    seen: set[int] = set()
    for module in model.modules():
        for name, parameter in list(module._parameters.items()):
            if parameter is None:
                continue
            if id(parameter) in seen:
                copy = nn.Parameter(parameter.detach().clone(), requires_grad=parameter.requires_grad)
                module._parameters[name] = copy
            else:
                seen.add(id(parameter))

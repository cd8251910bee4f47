"""The plan of one app that is cheapest at weights of units, whatever memories have room for."""

from __future__ import annotations

import numpy as np

from hybridsplit.scenarios.contracts.virtual_space import FloatArray, VirtualSpace
from hybridsplit.solver.virtual_space.columns import CNN, CPU, RX, TX, Part
from hybridsplit.solver.virtual_space.paths import cheapest_paths
from hybridsplit.solver.virtual_space.tables import hop_seconds, tables_of


def cheapest_by_weights(space: VirtualSpace, index: int, weights: FloatArray) -> tuple[Part, ...] | None:
    """Return the parts of an app's plan whose seconds, weighed by unit, are least; None where it has no plan.

    Parameters
    ----------
    space
        The space.
    index
        Position of the app.
    weights
        [D, 4] of every unit.
    """
    app, tables = space.apps[index], tables_of(space, space.apps[index])
    of = tables.class_of
    cnn, cpu = weights[:, CNN, None, None], weights[:, CPU, None, None]
    computing = cnn * np.where(np.isfinite(tables.compute_s), tables.compute_s, 0.0)[of] + cpu * tables.moving_s[of]
    stays = np.where(np.isfinite(tables.compute_s)[of] & (tables.stays > 0)[of], computing, np.inf)
    can_load = np.isfinite(tables.compute_s) & np.isfinite(tables.reload_s)
    loading = (cnn + cpu) * np.where(can_load, tables.reload_s, 0.0)[of]
    loads = np.where(can_load[of], computing + loading, np.inf)
    hop = hop_seconds(space, app) * (weights[:, None, TX] + weights[None, :, RX])
    found = cheapest_paths(stays, loads, hop, (app.source, app.target), space.most_cuts + 1, 1)
    return found[0][1] if found else None

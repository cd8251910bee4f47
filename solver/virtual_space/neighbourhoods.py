"""Shorter periods near a choice: the programme over parts, asked what some devices run, or where some apps run.

All else stays as it is, which leaves a programme that HiGHS is soon done with (a large neighbourhood search). That
finds choices where memories are nearly full, and moves of one app at a time do not: several have to give way at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from hybridsplit.scenarios.contracts.virtual_space import BoolArray
from hybridsplit.scenarios.streams import stream_seed
from hybridsplit.solver.virtual_space.columns import Column
from hybridsplit.solver.virtual_space.compact import LEAST_S, Decided, decided
from hybridsplit.solver.virtual_space.gaps import LEAST_STEP
from hybridsplit.solver.virtual_space.periods import frames_in, period_of
from hybridsplit.solver.virtual_space.pool import Clock
from hybridsplit.solver.virtual_space.reassign import Reassignment

_VAIN_S = 0.7
"""Seconds without a shorter period after which to stop."""
_ONE_S = 0.2
"""Seconds for one neighbourhood at least, if there are as many left."""
_MOST_VAIN = 40
"""Neighbourhoods in a row without a shorter period after which to stop."""
_OF_DEVICES = 0.5
"""Share of neighbourhoods that are of all apps on some devices; the others are of some apps on all devices."""
_REFUSALS = 3
"""Neighbourhoods of a size that are refused, after which they grow."""
_FIRST_SIZE, _LEAST_SIZE = 4, 2
_MARGIN_S = 0.05
"""Seconds by which HiGHS may end late."""


@dataclass
class Neighbourhoods:
    """Searches near choices.

    Parameters
    ----------
    of
        The space, with what its parts take; it keeps choices that are found.
    gap
        Gap at which to stop.
    clock
        Says when to stop.
    seed
        What random draws follow from.
    """

    of: Reassignment
    gap: float
    clock: Clock
    seed: int = 0
    _sizes: dict[bool, int] = field(init=False)
    _refusals: dict[bool, int] = field(init=False)

    def __post_init__(self) -> None:
        self._sizes = {False: _FIRST_SIZE, True: _FIRST_SIZE}
        self._refusals = {False: 0, True: 0}
        self._draw = np.random.default_rng(stream_seed(self.seed, "virtual-space", "neighbourhoods"))

    def search(self, best: tuple[Column, ...], bound: float, times: float) -> tuple[Column, ...]:
        """Return the choice that was come to, or what it began with.

        Parameters
        ----------
        best
            One plan of every app, which memories have room for.
        bound
            What no period is below.
        times
            How many times as long as the first search it may take.
        """
        num_vain, vain_s, objective = 0, 0.0, period_of(self.of.space, best)
        while objective > bound * (1 + self.gap) and num_vain < _MOST_VAIN * times and vain_s < times * _VAIN_S:
            is_of_devices = bool(self._draw.random() < _OF_DEVICES)
            free = self.neighbourhood(best, self._sizes[is_of_devices], is_of_devices)
            begun = self.clock.now()
            answer = self._asked(best, free, objective / self._step, times * _VAIN_S - vain_s)
            if answer is None:
                break
            if answer.choice is None:
                num_vain, vain_s = num_vain + 1, vain_s + self.clock.now() - begun
                self._resize(is_of_devices, answer.is_refused)
            while answer is not None and answer.choice is not None:
                best, num_vain, vain_s = answer.choice, 0, 0.0
                objective = period_of(self.of.space, best)
                # What is shorter by one step may be so by many.
                most_s = min(objective, (objective * max(bound, objective / 4)) ** 0.5) / self._step
                answer = self._asked(best, free, most_s, times * _VAIN_S)
        return best

    @property
    def _step(self) -> float:
        """Factor by which a period has to be shorter to be looked for."""
        return 1 + max(self.gap, LEAST_STEP)

    def _asked(self, best: tuple[Column, ...], free: BoolArray, period_s: float, most_s: float) -> Decided | None:
        """Ask for a period near a choice; None where no time is left."""
        left_s = min(max(_ONE_S, most_s / 3), self.clock.left_s() - _MARGIN_S)
        if left_s < LEAST_S:
            return None
        return decided(self.of, period_s, left_s, near=(best, free))

    def neighbourhood(self, best: tuple[Column, ...], size: int, is_of_devices: bool) -> BoolArray:
        """Draw where a choice may change; one of the devices or apps has the busiest unit: [A, D].

        Parameters
        ----------
        best
            The choice.
        size
            Number of devices or apps, at least 1.
        is_of_devices
            Whether all apps may change on some devices, or some apps on all devices.
        """
        space, draw = self.of.space, self._draw
        frames = frames_in(space, period_of(space, best))
        busy = np.sum([one.busy_s * frames[one.app] for one in best], axis=0)
        busiest, unit = (int(one) for one in np.unravel_index(int(np.argmax(busy)), busy.shape))
        free = np.zeros((len(space.apps), len(space.devices)), dtype=bool)
        if is_of_devices:
            devices = draw.permutation([one for one in range(len(space.devices)) if one != busiest])
            free[:, [busiest, *devices[: size - 1].tolist()]] = True
        else:
            first = int(draw.choice([one.app for one in best if one.busy_s[busiest, unit] > 0]))
            apps = draw.permutation([one for one in range(len(space.apps)) if one != first])
            free[[first, *apps[: size - 1].tolist()]] = True
        return free

    def _resize(self, is_of_devices: bool, is_refused: bool) -> None:
        """Change the size: what is refused several times can be larger, and what takes too long smaller."""
        self._refusals[is_of_devices] += is_refused
        if is_refused and self._refusals[is_of_devices] < _REFUSALS:
            return
        self._refusals[is_of_devices] = 0
        most = len(self.of.space.devices if is_of_devices else self.of.space.apps) - 1
        size = self._sizes[is_of_devices] + (1 if is_refused else -1)
        self._sizes[is_of_devices] = max(1, min(most, max(_LEAST_SIZE, size)))

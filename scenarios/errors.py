"""The errors and warnings a user can meet.

Every error derives from :class:`HybridSplitError` *and* from the built-in a caller would expect, and carries
the exit code of the command line. A message says what was found, what is needed, the likely cause and the fix.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any


class ExitCode(IntEnum):
    """Exit codes of every ``hybridsplit`` command."""

    DONE = 0
    WRONG_USAGE = 2
    INFEASIBLE = 3
    FAILED = 4


class HybridSplitWarning(UserWarning):
    """Base of all warnings of this package; the command line prints it as one line, without its place in the source."""


class InputWarning(HybridSplitWarning):
    """Something in the user's files was passed over, or completed, in a way that the user should know."""


class Notice(HybridSplitWarning):
    """Something went otherwise than the user would expect, and was taken care of."""


class HybridSplitError(Exception):
    """Base of all errors of this package; the command line prints it without a traceback."""

    exit_code: ExitCode = ExitCode.FAILED


class ScenarioError(HybridSplitError, ValueError):
    """The scenario, or something it names, is not valid."""

    exit_code = ExitCode.WRONG_USAGE


class UnitError(ScenarioError):
    """A quantity has no unit, an unknown unit, or a unit of another dimension."""


class UsageError(HybridSplitError, ValueError):
    """A command was given arguments that do not go together."""

    exit_code = ExitCode.WRONG_USAGE


class ContractError(HybridSplitError, ValueError):
    """A file that travels between stages is damaged, incomplete or of another version."""

    exit_code = ExitCode.WRONG_USAGE


class AlteredError(ContractError):
    """A file is whole, but not as it was written.

    Parameters
    ----------
    message
        For the user.
    document
        What the file holds now, as far as it is JSON.
    """

    def __init__(self, message: str, document: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.document = document


class ProfileError(HybridSplitError, RuntimeError):
    """A cost could not be determined; it is never replaced by zero."""

    exit_code = ExitCode.FAILED


class InfeasibleError(HybridSplitError, ValueError):
    """No plan satisfies the hard limits of the scenario."""

    exit_code = ExitCode.INFEASIBLE


class SolverFailure(HybridSplitError, RuntimeError):
    """A solver stopped without a plan that passes verification."""

    exit_code = ExitCode.FAILED


class RunError(HybridSplitError, RuntimeError):
    """Training or replay failed while running."""

    exit_code = ExitCode.FAILED


class BudgetExceededError(RunError):
    """A client used more memory than its budget."""

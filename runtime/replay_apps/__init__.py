"""Play a plan of an inference task in simulated time: every unit does one thing at a time, frame after frame."""

from hybridsplit.runtime.replay_apps.processes import PlayedApp, PlayedPlan, play

__all__ = ["PlayedApp", "PlayedPlan", "play"]

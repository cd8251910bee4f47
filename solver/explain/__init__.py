"""Why a plan is as it is, and what more of each resource would bring."""

"""Both tables' life: named, declared, described, planned, converged, cleared and removed."""

__all__ = [
    "aspects",
    "autoscaling",
    "clearing",
    "convergence",
    "describing",
    "descriptions",
    "desired",
    "names",
    "plans",
    "removal",
    "setup",
    "startup",
    "steps",
    "waiting",
]

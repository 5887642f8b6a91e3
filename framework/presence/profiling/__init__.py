"""Time of each stage beside its floor: counted work over rates measured in the same run."""

from presence.profiling.rates import Rates, measure_rates
from presence.profiling.report import Stage, table
from presence.profiling.run import PARTS, profile

__all__ = ["PARTS", "Rates", "Stage", "measure_rates", "profile", "table"]

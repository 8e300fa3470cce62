"""The union of all kinds of table. Each kind is a validated configuration that computes one Dataset."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from singleneuron.presets.tables.explorer import Explorer
from singleneuron.presets.tables.levels import Levels
from singleneuron.presets.tables.maps import Map, VectorField
from singleneuron.presets.tables.noise import Crossings, Slide
from singleneuron.presets.tables.paths import AngleFlows, Conservation, Paths
from singleneuron.presets.tables.studies import CrossingLaw, Hops, Study

Table = Annotated[
    Map
    | Paths
    | VectorField
    | Levels
    | Crossings
    | Slide
    | AngleFlows
    | Conservation
    | Explorer
    | Study
    | Hops
    | CrossingLaw,
    Field(discriminator="kind"),
]
"""A table of a preset. Its entry `kind` selects the class."""

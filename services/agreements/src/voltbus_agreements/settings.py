"""The settings of the agreements service (environment, prefix ``VOLTBUS_``)."""

from __future__ import annotations

from pydantic import Field

from voltbus_backbone.settings import StoreSettings


class Settings(StoreSettings):
    """``approval_required``: a draft is submitted and approved, not activated at once.

    ``clock_s``: how often, at the latest, the clock looks for agreements that begin or end; it also
    wakes at the next such time.
    """

    mongo_database: str = "voltbus_agreements"
    approval_required: bool = False
    clock_s: float = Field(default=5.0, gt=0)

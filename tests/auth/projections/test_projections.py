"""What agreements and config tell, kept as auth's own projection, on both stores (design 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from auth.auth_examples import HOUR, NOW, REF, STATION, asked, state, terms
from voltbus_auth.projections.handlers.projections import Projecting
from voltbus_backbone.contract import registry
from voltbus_backbone.contract.agreements import AgreementSnapshot
from voltbus_backbone.contract.auth import StationLogin
from voltbus_backbone.contract.values import OpeningHours

if TYPE_CHECKING:
    from auth.conftest import Shelf
    from voltbus_backbone.bus.envelope import Event
    from voltbus_backbone.contract.registry import MessageType
    from voltbus_backbone.contract.stations import StationState


def of(message: AgreementSnapshot | StationState, row: MessageType[AgreementSnapshot]) -> Event:
    event = asked(StationLogin(station_id="x"))
    name = row.name if isinstance(message, AgreementSnapshot) else registry.STATION_STATE.name
    event.type, event.message = name, message
    return event


async def project(shelf: Shelf, *messages: AgreementSnapshot | StationState) -> None:
    events = [of(message, registry.AGREEMENT_UPDATED) for message in messages]
    assert await Projecting(shelf).handle(events) == []


async def priority(shelf: Shelf) -> int | None:
    """What is known of the card's agreement."""
    found = (await shelf.coverages({REF})).get(REF, [])
    return found[0].terms.charging_priority if found else None


async def test_the_newest_revision_counts(shelf: Shelf) -> None:
    """An older or the same revision changes nothing, in one batch or in several."""
    await project(shelf, terms(revision=2, charging_priority=2), terms(charging_priority=1))
    assert await priority(shelf) == 2
    await project(shelf, terms(charging_priority=1))
    assert await priority(shelf) == 2
    await project(shelf, terms(revision=3, charging_priority=3))
    assert await priority(shelf) == 3


async def test_names_and_notes_are_not_kept(shelf: Shelf) -> None:
    """Authorization keeps nothing of an agreement that it has no use for."""
    await project(shelf, terms(metadata={"note": "private"}))
    (known,) = (await shelf.coverages({REF}))[REF]
    assert known.terms.tokens[0].ref == REF


async def test_deleted_agreement(shelf: Shelf) -> None:
    """A deleted agreement is gone, and a late older snapshot does not bring it back."""
    await project(shelf, terms())
    gone = of(terms(revision=2), registry.AGREEMENT_DELETED)
    await Projecting(shelf).handle([gone])
    assert await priority(shelf) is None
    assert (await shelf.coverages({REF})).get(REF, []) == []
    await project(shelf, terms())
    assert (await shelf.coverages({REF})).get(REF, []) == []


async def test_station_state(shelf: Shelf) -> None:
    """The newest state of a station counts."""
    await project(shelf, state(revision=2, site_id="new"), state(site_id="old"))
    assert (await shelf.places({STATION}))[STATION].site_id == "new"
    await project(shelf, state(site_id="old"))
    assert (await shelf.places({STATION}))[STATION].site_id == "new"


async def test_station_removed_and_made_again(shelf: Shelf) -> None:
    """A station that is registered again after its removal counts, though its revision is 1."""
    await project(shelf, state(revision=5))
    await shelf.drop_stations({STATION: NOW})
    assert await shelf.registered({STATION}) == set()
    await project(shelf, state(revision=1, at=NOW + HOUR, site_id="again"))
    assert (await shelf.places({STATION}))[STATION].site_id == "again"


async def test_unreadable_hours(shelf: Shelf) -> None:
    """Hours in a zone that nobody knows are refused: the record goes to the dead letters."""
    nowhere = OpeningHours(timezone="Europe/Atlantis", weekly={})
    with pytest.raises(ValueError, match="hours"):
        await project(shelf, state(opening_hours=nowhere))
    with pytest.raises(ValueError, match="hours"):
        await project(shelf, terms(schedule=nowhere))

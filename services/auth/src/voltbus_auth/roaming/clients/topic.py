"""Other systems on Kafka: whoever answers on `providers.requests`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voltbus_auth.roaming.domain.ocpi import Unusable
from voltbus_backbone.contract.auth import GetEvCertificateAnswer
from voltbus_backbone.contract.providers import ProviderAuthorizeAnswer
from voltbus_backbone.contract.registry import PROVIDER_AUTHORIZE, PROVIDER_EV_CERTIFICATE
from voltbus_backbone.errors import Unavailable

if TYPE_CHECKING:
    from voltbus_backbone.bus.rpc import Requester
    from voltbus_backbone.contract.auth import GetEvCertificate
    from voltbus_backbone.contract.providers import ProviderAuthorize
    from voltbus_backbone.contract.registry import MessageType
    from voltbus_backbone.contract.values import Message

_OTHER_TYPE = "an answer of another type"


class TopicDoor:
    """Asks on `providers.requests`; the answer comes to this instance's partition of its inbox."""

    def __init__(self, requester: Requester) -> None:
        self._requester = requester

    async def ask(self, question: ProviderAuthorize, budget_s: float) -> ProviderAuthorizeAnswer:
        """Its answer; see `Door`."""
        answer = await _asked(self._requester, PROVIDER_AUTHORIZE, question, budget_s)
        if not isinstance(answer, ProviderAuthorizeAnswer):
            raise Unusable(_OTHER_TYPE)
        return answer

    async def close(self) -> None:
        """Nothing of its own: the requester belongs to the process."""


class CertificateDoor:
    """Asks for cars' contract certificates."""

    def __init__(self, requester: Requester) -> None:
        self._requester = requester

    async def __call__(self, wish: GetEvCertificate, budget_s: float) -> GetEvCertificateAnswer:
        """The provider's answer; see `handlers.ev_certificates.Provider`."""
        answer = await _asked(self._requester, PROVIDER_EV_CERTIFICATE, wish, budget_s)
        if not isinstance(answer, GetEvCertificateAnswer):
            raise Unavailable(_OTHER_TYPE)
        return answer


async def _asked(
    requester: Requester, row: MessageType[Any], question: Message, budget_s: float
) -> Message:
    """What is answered, of whatever type."""
    # Tenths of a second: whoever waits equally long shares one timer.
    return await requester.ask(row, question, deadline_s=max(round(budget_s, 1), 0.1))

"""An example of each message, with values as they come in life.

A field that stands at its default is left out, as on the wire.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from voltbus_backbone.contract_docs.schemas import REF, Schema, schema_of

if TYPE_CHECKING:
    from voltbus_backbone.contract.registry import MessageType
    from voltbus_backbone.contract.values import Message

AT = "2026-03-14T09:26:53.589Z"

# By struct and field where a name means different things, else by field.
_VALUES: dict[str, Any] = {
    "AdditionalId.type": "VIN",
    "AdditionalId.value": "WVWZZZE1ZMP010760",
    "Authorize.certificate": "-----BEGIN CERTIFICATE----- ...",
    "CloseConnection.code": 1008,
    "CloseConnection.reason": "The station has a newer connection",
    "Decision.certificate_status": "Accepted",
    "CertificateStatus.ocsp_response": "MIIBzQoBAKCCAcYwggHCBgkrBgEF",
    "GetEvCertificate.action": "Install",
    "GetEvCertificate.exi_request": "gJgCFmFFJVdFZBiQ",
    "GetEvCertificate.max_chains": 1,
    "GetEvCertificate.prioritized_emaids": ["NLTNMC00122045K"],
    "GetEvCertificate.schema_version": "urn:iso:15118:2:2013:MsgDef",
    "GetEvCertificateAnswer.exi_response": "gJgCFmFFJVdFZBiR",
    "GetEvCertificateAnswer.remaining_contracts": 0,
    "ProviderAuthorize.evse_ids": [1, 2],
    "authorization_reference": "auth-8f2c",
    "ProviderAuthorizeAnswer.evse_ids": [1],
    "ProviderAuthorizeAnswer.keep_s": 300.0,
    "ProviderAuthorizeAnswer.message": "Tack!",
    "ProviderAuthorizeAnswer.valid_until": "2027-01-01T00:00:00Z",
    "PutToken.credit": 40.0,
    "PutToken.evse_kinds": ["dc"],
    "PutToken.expected_revision": 4,
    "PutToken.expires_at": "2027-01-01T00:00:00Z",
    "PutToken.id_token": "04A2B3C4D5E680",
    "PutToken.max_concurrent": 1,
    "PutToken.sites": ["uppsala-nord"],
    "PutToken.status": "accepted",
    "PutToken.type": "ISO14443",
    "PutToken.valid_from": "2026-01-01T00:00:00Z",
    "PutTokenAnswer.outcome": "updated",
    "RemoveToken.erase": False,
    "RemoveToken.expected_revision": 4,
    "RemoveToken.id_token": "04A2B3C4D5E680",
    "RemoveToken.type": "ISO14443",
    "RemoveTokenAnswer.outcome": "removed",
    "SignCertificate.certificate_type": "ChargingStationCertificate",
    "SignCertificate.csr": "-----BEGIN CERTIFICATE REQUEST----- ...",
    "CertificateWanted.certificate_type": "ChargingStationCertificate",
    "CertificateWanted.common_name": "CP-0042",
    "CertificateWanted.csr": "-----BEGIN CERTIFICATE REQUEST----- ...",
    "CertificateWanted.organization": "Nordlade AB",
    "CertificateWanted.request_id": "9f2c61d051aa07c37c1ed5a04b9f3f21-1",
    "CertificateMade.request_id": "9f2c61d051aa07c37c1ed5a04b9f3f21-1",
    "CertificateMade.chain": "-----BEGIN CERTIFICATE----- ...",
    "CertificateMade.refusal": "The station is not on our list.",
    "SignCertificateAnswer.reason_code": "InvalidCSR",
    "SignCertificateAnswer.reason": "The key is too weak.",
    "certificate_serial": "3f21",
    "OcspHash.further_urls": ["http://ocsp2.example.com"],
    "OcspHash.hash_algorithm": "SHA256",
    "OcspHash.issuer_key_hash": "7c1ed5",
    "OcspHash.issuer_name_hash": "a04b9f",
    "OcspHash.responder_url": "http://ocsp.example.com",
    "OcspHash.serial_number": "3f21",
    "PasswordVerifier.n": 16_384,
    "PasswordVerifier.p": 1,
    "PasswordVerifier.r": 8,
    "ReservationChanged.id": "rsv-019c8f2c61d0000001a1b2c3d4",
    "ReservationChanged.reason": "the station answered Occupied",
    "ReservationChanged.state": "rejected",
    "Sample.multiplier": 0,
    "Sample.phase": "L1",
    "SignedMeterValue.encoding_method": "OCMF",
    "SignedMeterValue.public_key": "",
    "SignedMeterValue.signing_method": "ECDSA-secp256r1-SHA256",
    "StationLogin.certificate_serial": "3f21",
    "TokenFound.type": "ISO14443",
    "TransactionAnswer.transaction_id": 1_048_577,
    "TransactionChanged.closed_by": "policy",
    "TransactionChanged.details": {"timeSpentCharging": 3540, "numberOfPhasesUsed": 3},
    "TransactionChanged.state": "ended",
    "TransactionMessage.details": {"meterStop": 1_227_480},
    "address": "198.51.100.7",
    "agreement_id": "agr_5Q8RZK",
    "cause": "list:CP-0042:7",
    "certificate_cn": "DU22-004711",
    "charging_priority": 0,
    "connections": 4211,
    "detail": "RebootRequired",
    "energy_cap_wh": 5_000_000,
    "error_description": "",
    "evses": ["CP-0042/1"],
    "exhausted": False,
    "group_id": "motorway",
    "group_ref": "tok_51aa07c3",
    "hex_password": False,
    "iccid": "8946071512350000004",
    "idempotency_key": "reset-2026-03-14",
    "imsi": "240071234567890",
    "info": "",
    "leaving": False,
    "locations": ["uppsala-nord"],
    "max_cost": 25.0,
    "max_power_w": 11_000,
    "missing_seq_nos": [3],
    "repairs": ["stopReason: unknown value left out"],
    "offline": False,
    "personal_message": "Tack!",
    "phase": "started",
    "prepaid": False,
    "registration": "Accepted",
    "removed": False,
    "remote_start_id": 17,
    "reservation_id": 5,
    "revision": 4,
    "seq_no": 0,
    "stations": ["CP-0042"],
    "status_reason": "invoice paid",
    "stopped_reason": "EVDisconnected",
    "supersedes": "agr_4P7QYJ",
    "told": {"listVersion": 7},
    "tariff": "night-2026",
    "tech_info": "chain incomplete",
    "total_cost": 8.4,
    "trigger": "CablePluggedIn",
    "vendor_error_code": "E17",
    "vendor_id": "se.nordlade",
    "AgreementSnapshot.id": "agr_5Q8RZK",
    "AgreementSnapshot.kind": "driver",
    "AgreementSnapshot.name": "Private charging",
    "AgreementSnapshot.status": "active",
    "AgreementSnapshot.valid_from": "2026-01-01T00:00:00Z",
    "AgreementSnapshot.valid_to": "2028-01-01T00:00:00Z",
    "Scope.evse_kinds": ["dc"],
    "AgreementToken.ref": "tok_9f2c61d0",
    "AgreementToken.type": "ISO14443",
    "Boot.reason": "PowerUp",
    "StationBooted.reason": "PowerUp",
    "CallEnded.payload": {"status": "Accepted"},
    "CommandAccepted.status": "queued",
    "CommandChanged.status": "answered",
    "CommandRequested.payload": {"type": "OnIdle"},
    "Fault.code": "unavailable",
    "Fault.detail": "MongoDB does not answer",
    "FirmwareStatusReported.status": "Installed",
    "IdToken.type": "ISO14443",
    "IdToken.value": "04A2B3C4D5E680",
    "LogStatusReported.status": "Uploaded",
    "Party.id": "customer-1077",
    "Party.role": "customer",
    "PasswordVerifier.digest": "5d0c6fbe1a",
    "PasswordVerifier.salt": "9c1185a5c5",
    "PasswordVerifier.algorithm": "sha256",
    "RetrieveAgreement.id": "agr_5Q8RZK",
    "Sample.value": 12345.6,
    "SecurityEventReported.type": "InvalidCentralSystemCertificate",
    "SendCall.payload": {"type": "OnIdle"},
    "SignedMeterValue.data": "T0NNRnx7fQ==",
    "StationDisconnected.reason": "",
    "StationRefused.action": "StatusNotification",
    "StationRefused.count": 12,
    "StationRefused.kind": "call",
    "StationRefused.reason": "PropertyConstraintViolation",
    "DuplicateIdentity.count": 5,
    "DuplicateIdentity.pause_s": 10.0,
    "StationRegistered.status": "Accepted",
    "StationRepaired.action": "StopTransaction",
    "StationReported.action": "NotifyMonitoringReport",
    "StationReported.payload": {"requestId": 7, "seqNo": 0},
    "StatusReported.status": "Available",
    "TokenChanged.status": "accepted",
    "TokenChanged.type": "ISO14443",
    "action": "Reset",
    "answer_status": "Accepted",
    "charging_state": "Charging",
    "code": 1006,
    "command_id": "cmd_7C1X2D",
    "connection_id": "0195923a1f60c1f5",
    "contract_id": "NL-TNM-C00122045-K",
    "doubts": ["register_backwards"],
    "energy_source": "register",
    "energy_wh": 23_480,
    "error_code": "NoError",
    "evse_kinds": {"1": "dc", "2": "ac"},
    "exceptions": {"2026-12-24": []},
    "firmware_version": "3.2.1",
    "gateway_id": "gateway-1",
    "groups": ["motorway"],
    "interval": 300,
    "key": "charging_speed",
    "language": "sv",
    "layer": "station",
    "limit": 11_000,
    "location_id": "uppsala-nord",
    "metadata": {"crm": "C-1077"},
    "meter_start_wh": 1_204_000,
    "meter_stop_wh": 1_227_480,
    "meter_wh": 1_204_000,
    "model": "Duo 22",
    "other_address": "203.0.113.20",
    "payment_methods": ["rfid", "app"],
    "protocol": "ocpp2.0.1",
    "provider_id": "SE-NDL",
    "security_profile": 2,
    "serial_number": "DU22-004711",
    "site_id": "uppsala-nord",
    "state": "in_sync",
    "station_id": "CP-0042",
    "status": "Accepted",
    "timeout_s": 30,
    "timezone": "Europe/Stockholm",
    "token_ref": "tok_9f2c61d0",
    "transaction_id": "b5b2c1a8-7d6f",
    "transaction_ref": "trx_4K7M2Q",
    "unit": "W",
    "Sample.unit": "Wh",
    "vendor": "Nordlade",
    "weekly": {"mon": [["06:00", "22:00"]], "sat": [["08:00", "20:00"]]},
}


def example_of(row: MessageType[Any], *, full: bool = True) -> Message:
    """A message of this type: with all its fields, or with the required ones only."""
    schema = schema_of(row)
    body = _Maker(schema["$defs"], full=full).value(schema, "", "")
    message: Message = row.decoder.decode(msgspec.json.encode(body))
    return message


class _Maker:
    def __init__(self, definitions: dict[str, Schema], *, full: bool) -> None:
        self._definitions = definitions
        self._full = full

    def value(self, schema: Schema, struct: str, field: str) -> Any:
        """An example of what the schema describes."""
        if "$ref" in schema:
            name = schema["$ref"].removeprefix(REF)
            target = self._definitions[name]
            return self._object(name, target) if "properties" in target else target["enum"][0]
        if "anyOf" in schema:
            return self.value(schema["anyOf"][0], struct, field)
        if schema.get("type") == "array":
            if "prefixItems" in schema:
                return [self.value(item, struct, field) for item in schema["prefixItems"]]
            return [self.value(schema["items"], struct, field)]
        if schema.get("type") == "object":
            return {}
        return self._scalar(schema, field)

    def _object(self, name: str, schema: Schema) -> dict[str, Any]:
        made = {}
        for field, inner in schema["properties"].items():
            if not self._full and field not in schema["required"]:
                continue
            known = _VALUES.get(f"{name}.{field}", _VALUES.get(field))
            fits = known is not None and self._fits(known, _first(inner))
            made[field] = known if fits else self.value(inner, name, field)
        return made

    def _fits(self, value: Any, schema: Schema) -> bool:
        if "$ref" in schema:
            options: list[Any] = self._definitions[schema["$ref"].removeprefix(REF)].get("enum", [])
            return value in options
        return isinstance(value, _JSON_TYPES.get(schema.get("type", ""), ()))

    def _scalar(self, schema: Schema, field: str) -> Any:
        if "enum" in schema:
            return schema["enum"][0]
        if schema.get("format") == "date-time":
            return AT
        if schema.get("default"):
            return schema["default"]
        return {"integer": 1, "number": 1.0, "boolean": True}.get(
            schema["type"], field.replace("_", " ")
        )


def _first(schema: Schema) -> Schema:
    found: Schema = schema["anyOf"][0] if "anyOf" in schema else schema
    return found


_JSON_TYPES: dict[str, tuple[type, ...]] = {
    "integer": (int,),
    "number": (int, float),
    "string": (str,),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}

"""Subscriptions of NGSI-LD read, with everything that is refused; what counts as a change of an entity."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.domain.city.ngsi import TYPES, Entity, Form
from services.domain.city.ngsi.asking import AskedWrongly, Fault
from services.domain.city.ngsi.changes import compare, gone, happened, marks_of, notification
from services.domain.city.ngsi.entity import GeoProperty, Property, Relationship
from services.domain.city.ngsi.subscribing import (
    HIDDEN,
    NULL,
    USUAL,
    Subscription,
    Trigger,
    check_future,
    kept,
    merged,
    read,
    read_id,
)

AT = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
CONTEXT = "https://linhub.example.cn/ngsi-ld/v1/jsonldContexts/linhub"
LEAST: dict[str, Any] = {
    "type": "Subscription",
    "entities": [{"type": "WasteContainer"}],
    "notification": {"endpoint": {"uri": "https://city.example.cn/notify"}},
}
BIN = Entity(
    "urn:ngsi-ld:WasteContainer:test-bin-1",
    "WasteContainer",
    {
        "fillingLevel": Property(0.82, AT, "C62"),
        "status": Property("ok"),
        "binLoggedTime": Property(AT),
        "refDevice": Relationship(("urn:ngsi-ld:Device:test-bin-1",)),
        "location": GeoProperty(116.0, 29.7),
    },
)


def with_(**more: Any) -> dict[str, Any]:
    return LEAST | more


def notified(**more: Any) -> dict[str, Any]:
    return with_(notification=LEAST["notification"] | more)


def sent_to(**more: Any) -> dict[str, Any]:
    return notified(endpoint=LEAST["notification"]["endpoint"] | more)


def header(key: Any, value: Any) -> dict[str, Any]:
    return sent_to(receiverInfo=[{"key": key, "value": value}])


def test_subscribing_least_that_can_be_asked() -> None:
    asked = read(LEAST)
    assert [kind.name for kind in asked.kinds] == ["WasteContainer"] and asked.watched == frozenset()
    assert asked.triggers == USUAL and asked.representation.form is Form.NORMALIZED
    assert (asked.accept, asked.headers, asked.throttling_s, asked.active) == ("application/json", (), 0.0, True)
    assert asked.selects("WasteContainer", "x", "urn:ngsi-ld:WasteContainer:x")
    assert not asked.selects("Device", "x", "urn:ngsi-ld:Device:x")


def test_subscribing_everything_that_can_be_asked() -> None:
    asked = read(
        with_(
            id="urn:ngsi-ld:Subscription:1", subscriptionName="桶", description="满了", localOnly=True,
            entities=[
                {"type": TYPES["WasteContainer"].uri, "id": ["urn:ngsi-ld:WasteContainer:a"], "idPattern": "b"},
                {"type": "ParkingSpot,Device", "idPattern": "^urn:ngsi-ld:ParkingSpot:east-.*"},
                {"type": "Alert", "id": "urn:ngsi-ld:Alert:1"},
            ],
            watchedAttributes=["https://smartdatamodels.org/dataModel.WasteManagement/fillingLevel", "status"],
            q='fillingLevel>0.8|status=="burning"', throttling=0.5, isActive=False,
            expiresAt="2027-01-01T00:00:00+08:00",
            notificationTrigger=["entityCreated", "attributeDeleted"], jsonldContext=CONTEXT,
            status="active", createdAt="2026-11-22T08:00:00Z", modifiedAt="2026-11-22T08:00:00Z",
            notification={
                "attributes": ["fillingLevel"], "pick": ["status", "id"], "omit": ["location"], "format": "keyValues",
                "endpoint": {
                    "uri": "http://10.0.0.1:9000/x", "accept": "application/ld+json",
                    "receiverInfo": [{"key": "Authorization", "value": "Bearer x"}],
                },
                "timesSent": 4, "lastNotification": "2026-11-22T08:00:00Z", "sysAttrs": False,
            },
        )
    )  # fmt: skip
    assert [kind.name for kind in asked.kinds] == ["Alert", "Device", "ParkingSpot", "WasteContainer"]
    assert asked.selects("WasteContainer", "a", "urn:ngsi-ld:WasteContainer:a"), "an id goes before a pattern"
    assert not asked.selects("WasteContainer", "b", "urn:ngsi-ld:WasteContainer:b")
    assert asked.selects("ParkingSpot", "east-1", "urn:ngsi-ld:ParkingSpot:east-1")
    assert not asked.selects("Device", "east-1", "urn:ngsi-ld:Device:east-1")
    assert asked.watched == {"fillingLevel", "status"} and asked.wants(BIN)
    assert asked.triggers == {Trigger.ENTITY_CREATED, Trigger.ATTRIBUTE_DELETED}
    assert asked.representation.form is Form.SIMPLIFIED and asked.representation.pick == {"fillingLevel", "status"}
    assert asked.headers == (("authorization", "Bearer x"),) and asked.accept == "application/ld+json"
    assert asked.throttling_s == 0.5 and not asked.active and asked.context == CONTEXT
    assert asked.expires_at == datetime(2026, 12, 31, 16, 0, tzinfo=UTC)


def test_subscribing_to_attributes_alone_is_about_every_type() -> None:
    asked = read({name: value for name, value in LEAST.items() if name != "entities"} | {"watchedAttributes": ["pm25"]})
    assert len(asked.kinds) == len(TYPES)
    assert len(read(with_(entities=[{"type": "*"}])).kinds) == len(TYPES)


UNSUPPORTED: tuple[dict[str, Any], ...] = (
    *(with_(**{name: "x"}) for name in ("geoQ", "scopeQ", "csf", "temporalQ", "timeInterval", "lang", "datasetId")),
    with_(splitEntities=True), with_(localOnly=False), with_(q="a~=b"), with_(entities=[{"type": "Device;Alert"}]),
    with_(entities=[{"type": "Device", "idPattern": "(a|b)+"}]), sent_to(uri="mqtt://broker/topic"),
    sent_to(accept="application/geo+json"), sent_to(notifierInfo=[]), sent_to(timeout=500), sent_to(cooldown=5),
    notified(showChanges=True), notified(sysAttrs=True), notified(join="inline"), notified(format="sysAttrs"),
)  # fmt: skip
WRONG: tuple[dict[str, Any], ...] = (
    with_(type="Sub"), {k: v for k, v in LEAST.items() if k != "type"}, with_(colour="red"), with_(q=None),
    {k: v for k, v in LEAST.items() if k != "entities"}, with_(entities=[]), with_(entities={}), with_(entities=[1]),
    with_(entities=[{"type": "Device"}] * 21), with_(entities=[{}]), with_(entities=[{"type": "Cat"}]),
    with_(entities=[{"type": ""}]), with_(entities=[{"type": 5}]), with_(entities=[{"type": "Device", "x": 1}]),
    with_(entities=[{"type": "Device", "id": "x"}]), with_(entities=[{"type": "Device", "id": []}]),
    with_(entities=[{"type": "Device", "id": [3]}]), with_(entities=[{"type": "Device", "idPattern": 3}]),
    with_(watchedAttributes=[]), with_(watchedAttributes="status"), with_(watchedAttributes=[""]),
    with_(watchedAttributes=["a"] * 51), with_(watchedAttributes=[None]), with_(q=""), with_(q=3), with_(q="a=="),
    with_(q="a" * 3000), with_(isActive="yes"), with_(isActive=1), with_(throttling=0), with_(throttling=-1),
    with_(throttling="5"), with_(throttling=True), with_(throttling=1e9), with_(throttling=float("nan")),
    with_(expiresAt="tomorrow"), with_(expiresAt="2027-01-01T00:00:00"), with_(expiresAt=5), with_(expiresAt=NULL),
    with_(notificationTrigger=[]), with_(notificationTrigger=["sometimes"]), with_(notificationTrigger="entityCreated"),
    with_(subscriptionName=""), with_(subscriptionName="x" * 201), with_(description=5), with_(jsonldContext=5),
    with_(notification=None), with_(notification=[]), with_(notification={}), notified(endpoint=None),
    notified(endpoint={}), notified(endpoint={"uri": ""}), notified(endpoint={"uri": 5}), notified(x=1),
    notified(attributes=[]), notified(attributes="a"), notified(pick=[5]), notified(omit=None), sent_to(x=1),
    notified(format="concise,simplified"), sent_to(accept="text/html"), sent_to(accept=None),
    sent_to(receiverInfo={}), sent_to(receiverInfo=[{"key": "a"}]), sent_to(receiverInfo=[5]),
    sent_to(receiverInfo=[{"key": f"a{n}", "value": "x"} for n in range(11)]),
    sent_to(receiverInfo=[{"key": "A", "value": "x"}, {"key": "a", "value": "x"}]),
    header("Host", "x"), header("Content-Length", "5"), header("transfer-encoding", "chunked"), header("a b", "x"),
    header("a\r\nb", "x"), header("", "x"), header(5, "x"), header("a", "x\r\nHost: y"), header("a", ""),
    header("a", "中"), header("a", " x"), header("a", 5), header("a", "x" * 3000), header("a", HIDDEN),
    header("webhook-signature", "v1,x"),
)  # fmt: skip


@pytest.mark.parametrize("document", UNSUPPORTED, ids=range(len(UNSUPPORTED)))
def test_subscribing_refuses_by_name_what_is_not_done(document: dict[str, Any]) -> None:
    with pytest.raises(AskedWrongly) as refused:
        read(document)
    assert refused.value.fault is Fault.UNSUPPORTED and refused.value.zh and refused.value.en


@pytest.mark.parametrize("document", WRONG, ids=range(len(WRONG)))
def test_subscribing_refuses_what_is_wrong(document: dict[str, Any]) -> None:
    with pytest.raises(AskedWrongly) as refused:
        read(document)
    assert refused.value.fault in (Fault.BAD_REQUEST_DATA, Fault.INVALID_REQUEST)
    assert refused.value.zh and refused.value.en


@pytest.mark.parametrize(
    "id", [5, "", "x", "urn:", "urn:a b", "urn:a/b", "urn:a?b", "urn:a#b", "urn:" + "x" * 300, "urn:中"]
)
def test_subscribing_refuses_ids_that_make_no_address(id: Any) -> None:
    with pytest.raises(AskedWrongly):
        read_id({"id": id})
    assert read_id({}) is None and read_id({"id": "urn:ngsi-ld:Subscription:1"}) == "urn:ngsi-ld:Subscription:1"


def test_subscribing_in_the_past_is_refused() -> None:
    asked = read(with_(expiresAt="2026-11-22T08:00:00Z"))
    check_future(asked, AT - timedelta(seconds=1))
    with pytest.raises(AskedWrongly):
        check_future(asked, AT)


def test_subscribing_keeps_no_secret_and_reads_what_it_kept() -> None:
    document = sent_to(receiverInfo=[{"key": "Authorization", "value": "secret"}]) | {
        "status": "active",
        "@context": "x",
    }
    found = kept(document, CONTEXT)
    assert "secret" not in json.dumps(found) and "status" not in found and "@context" not in found
    assert replace(read(document), headers=(), context=CONTEXT) == read(found)
    with pytest.raises(AskedWrongly):
        kept(with_(jsonldContext="https://elsewhere.example/c"), CONTEXT)


def test_subscribing_changes_replace_whole_members() -> None:
    before = kept(with_(id="urn:x:1", q="status", description="x", throttling=5), CONTEXT)
    after = merged(before, {"q": NULL, "throttling": 7, "id": "urn:x:1", "status": "paused", "@context": "x"})
    assert (after["throttling"], after["description"]) == (7, "x") and "q" not in after
    assert "jsonldContext" not in after, "where our @context is, is said anew"
    for change in ({}, {"status": "paused"}, {"id": "urn:x:2"}, {"id": NULL}):
        with pytest.raises(AskedWrongly):
            merged(before, change)
    with pytest.raises(AskedWrongly):
        read(merged(before, {"notification": {"format": "concise"}}))


# -- changes -------------------------------------------------------------------------------------------------------


def asking(**more: Any) -> Subscription:
    return read(with_(**more))


def changed(entity: Entity = BIN, **attributes: Any) -> Entity:
    found = {name: one for name, one in {**entity.attributes, **attributes}.items() if one is not None}
    return replace(entity, attributes=found)


def test_changes_are_of_values_and_units_not_of_when_they_were_observed() -> None:
    before = marks_of(BIN, ())
    later = AT + timedelta(hours=1)
    assert marks_of(changed(fillingLevel=Property(0.82, later, "C62")), ()) == before
    for other in (Property(0.83, AT, "C62"), Property(0.82, AT, "P1"), Property("0.82", AT, "C62"), Relationship("x")):
        assert marks_of(changed(fillingLevel=other), ()) != before
    assert marks_of(changed(location=GeoProperty(116.0, 29.8)), ()) != before
    assert set(marks_of(BIN, {"status", "nothing"})) == {"status"}
    assert "0.82" not in json.dumps(before)


@pytest.mark.parametrize(
    ("now", "before", "expected"),
    [
        ({"a": "1"}, None, "entityCreated attributeCreated"),
        ({}, None, "entityCreated"),
        ({"a": "1"}, {"a": "1"}, ""),
        ({"a": "2"}, {"a": "1"}, "attributeUpdated entityUpdated"),
        ({"a": "1", "b": "1"}, {"a": "1"}, "attributeCreated entityUpdated"),
        ({}, {"a": "1"}, "attributeDeleted entityUpdated"),
        (
            {"b": "1", "c": "2"},
            {"a": "1", "c": "1"},
            "attributeCreated attributeUpdated attributeDeleted entityUpdated",
        ),
    ],
)
def test_changes_have_names(now: dict[str, str], before: dict[str, str] | None, expected: str) -> None:
    assert happened(now, before) == {Trigger(one) for one in expected.split()}


def test_changes_of_what_is_watched_are_told_and_others_are_not() -> None:
    asked = asking(watchedAttributes=["fillingLevel"])
    before = marks_of(BIN, asked.watched)
    assert compare(asked, changed(status=Property("burning")), before, first=False) is None
    seen = compare(asked, changed(fillingLevel=Property(0.9, AT, "C62")), before, first=False)
    assert seen is not None and seen.told is not None
    assert seen.told["fillingLevel"]["value"] == 0.9 and "status" in seen.told


def test_changes_that_the_query_does_not_hold_for_are_passed_over_and_remembered() -> None:
    asked = asking(q="fillingLevel>0.85")
    seen = compare(asked, BIN, None, first=True)
    assert seen is not None and seen.told is None and seen.marks == marks_of(BIN, ())
    full = compare(asked, changed(fillingLevel=Property(0.9)), seen.marks, first=False)
    assert full is not None and full.told is not None


def test_changes_first_tell_what_is_there_whatever_triggers() -> None:
    asked = asking(notificationTrigger=["entityDeleted"])
    first, later = compare(asked, BIN, None, first=True), compare(asked, BIN, None, first=False)
    assert first is not None and first.told is not None and later is not None and later.told is None
    unwatched = compare(asking(watchedAttributes=["pm25"]), BIN, None, first=True)
    assert unwatched is not None and unwatched.told is None


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("normalized", {"refDevice": {"type": "Relationship", "object": NULL},
                        "status": {"type": "Property", "value": NULL},
                        "location": {"type": "GeoProperty", "value": NULL}}),
        ("concise", {"refDevice": NULL, "status": NULL, "location": NULL}),
        ("simplified", {"refDevice": NULL, "status": NULL, "location": NULL}),
    ],
)  # fmt: skip
def test_changes_tell_of_attributes_that_went(form: str, expected: dict[str, Any]) -> None:
    asked = read(notified(format=form) | {"notificationTrigger": ["attributeDeleted"]})
    bare = changed(refDevice=None, status=None, location=None)
    seen = compare(asked, bare, marks_of(BIN, ()), first=False)
    assert seen is not None and seen.told is not None and expected.items() <= dict(seen.told).items()
    picked = read(
        notified(format=form, pick=["fillingLevel"]) | {"notificationTrigger": ["entityUpdated", "attributeDeleted"]}
    )
    seen = compare(picked, bare, marks_of(BIN, ()), first=False)
    assert seen is not None and seen.told is not None and set(seen.told) == {"id", "type", "fillingLevel"}
    usual = compare(read(notified(format=form)), bare, marks_of(BIN, ()), first=False)
    assert usual is not None and usual.told is None and usual.marks is not None


def test_changes_tell_that_an_entity_went_only_where_asked_and_where_it_did() -> None:
    asked = asking(notificationTrigger=["entityDeleted"])
    told = gone(asked, BIN.id, AT).told
    assert told == {"id": BIN.id, "type": "WasteContainer", "deletedAt": "2026-11-22T08:00:00.000Z"}
    assert gone(asked, BIN.id, AT, told=False).told is None and gone(read(LEAST), BIN.id, AT).told is None


def test_notification_is_as_the_standard_has_it() -> None:
    found = notification("urn:ngsi-ld:Notification:1", "urn:ngsi-ld:Subscription:1", AT, [{"id": "x"}])
    assert found == {
        "id": "urn:ngsi-ld:Notification:1", "type": "Notification", "subscriptionId": "urn:ngsi-ld:Subscription:1",
        "notifiedAt": "2026-11-22T08:00:00.000Z", "data": [{"id": "x"}],
    }  # fmt: skip
    assert notification("i", "s", AT, [], CONTEXT)["@context"] == CONTEXT

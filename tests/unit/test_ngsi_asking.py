"""NGSI-LD requests read: the query language, id patterns, representations, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from services.domain.city.ngsi import Entity, Form, asking, pattern, query
from services.domain.city.ngsi.asking import AskedWrongly, Fault
from services.domain.city.ngsi.entity import GeoProperty, Property, Relationship

AT = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
BIN = Entity(
    "urn:ngsi-ld:WasteContainer:test-bin-1",
    "WasteContainer",
    {
        "fillingLevel": Property(0.82, AT, "C62"),
        "status": Property("ok"),
        "binLoggedTime": Property(AT),
        "data": Property({"team": "cleaning", "deep": {"n": 3}, "yes": True}),
        "category": Property(["fixed", "ground"]),
        "refDevice": Relationship(("urn:ngsi-ld:Device:test-bin-1",)),
        "location": GeoProperty(116.0, 29.7),
    },
)

HOLDS = (
    "fillingLevel", "!temperature", "fillingLevel>0.8", "fillingLevel>=0.82", "fillingLevel<=0.82", "fillingLevel!=0.5",
    "fillingLevel==0.8..0.9", 'status=="ok"', 'status=="burning","ok"', "status==ok", 'status!="burning"',
    'status=="burning"|fillingLevel>0.8', 'status=="ok";fillingLevel>0.8', '(status=="x"|status=="ok");fillingLevel<1',
    'data[team]=="cleaning"', "data[deep.n]==3", 'data.team=="cleaning"', "data[yes]==true", 'category=="ground"',
    "binLoggedTime==2026-11-22T08:00:00Z", "binLoggedTime>=2026-11-22T16:00:00+08:00", "!binLoggedTime|status",
    "fillingLevel.observedAt<2026-11-22T08:00:01Z", 'fillingLevel.unitCode=="C62"',
    'refDevice=="urn:ngsi-ld:Device:test-bin-1"', "refDevice==urn:ngsi-ld:Device:test-bin-1", 'location.type=="Point"',
    ' status == "ok" '.replace(" ", ""), 'status=="ok"|status=="x";temperature>3',
)  # fmt: skip
FAILS = (
    "temperature", "!fillingLevel", "fillingLevel>0.82", 'fillingLevel=="0.82"', "temperature>0", 'category!="ground"',
    'status=="x"', "fillingLevel==0.1..0.2", "data[nothing]==3", "status>5", "binLoggedTime<2026-11-22T08:00:00Z",
    "binLoggedTime>2026-11-22T08:00:00", "data[yes]==1", "fillingLevel==true", "status==2026-11-22T08:00:00Z",
    "location.observedAt",
)  # fmt: skip
WRONG = (
    "", ";", "a;", "a|", "(a", "a)", "a==", "==3", "a==1;;b", "a=1", "!a==3", "a>1,2", "a>1..2", "a[b", "1a==2", "a b",
    'a=="x', "(" * 20 + "a" + ")" * 20, ";".join(["a"] * 60), "a" * 3000, "a==1..", "a==2026-99-99T08:00:00Z",
)  # fmt: skip


@pytest.mark.parametrize("text", HOLDS)
def test_query_holds(text: str) -> None:
    assert query.holds(query.read(text), BIN)


@pytest.mark.parametrize("text", FAILS)
def test_query_does_not_hold(text: str) -> None:
    assert not query.holds(query.read(text), BIN)


@pytest.mark.parametrize("text", WRONG)
def test_query_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(query.QueryError):
        query.read(text)


def test_query_with_patterns_is_said_not_to_be_done() -> None:
    with pytest.raises(AskedWrongly) as told:
        asking.query_of("status~=ok.*")
    assert told.value.fault is Fault.UNSUPPORTED


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("urn:ngsi-ld:WasteContainer:.*", True),
        ("^urn:ngsi-ld:Waste.*-1$", True),
        ("bin", True),
        ("^bin", False),
        ("bin$", False),
        ("^.*$", True),
        ("test.bin.1$", True),
        ("test\\.bin", False),
        ("test\\-bin", True),
        ("^urn:.+:Waste.+$", True),
        ("bin-1.+$", False),
        ("", True),
        ("^$", False),
    ],
)
def test_pattern_matches(text: str, matches: bool) -> None:
    read = pattern.read(text)
    assert read is not None and read.matches(BIN.id) is matches


@pytest.mark.parametrize("text", ["(a+)+$", "[a-z]", "a*", "a{3}", "a|b", "a?", "\\d", "a" * 300, "a+", "\\"])
def test_pattern_that_is_more_than_this_is_refused(text: str) -> None:
    assert pattern.read(text) is None


def test_pattern_full_of_runs_takes_steps_and_no_eternity() -> None:
    read = pattern.read(".*a" * 80 + "$")
    assert read is not None
    assert not read.matches("a" * 2_000 + "b"), "backtracking over every run would not end"


def test_representations_say_the_same() -> None:
    normalized = BIN.document()
    assert normalized["fillingLevel"] == {
        "type": "Property", "value": 0.82, "unitCode": "C62", "observedAt": "2026-11-22T08:00:00.000Z",
    }  # fmt: skip
    assert normalized["binLoggedTime"]["value"] == {"@type": "DateTime", "@value": "2026-11-22T08:00:00.000Z"}
    assert normalized["refDevice"] == {"type": "Relationship", "object": ["urn:ngsi-ld:Device:test-bin-1"]}
    concise = BIN.document(Form.CONCISE)
    assert concise["status"] == "ok" and concise["data"]["value"]["team"] == "cleaning"
    assert concise["location"] == {"type": "Point", "coordinates": [116.0, 29.7]}
    simplified = BIN.document(Form.SIMPLIFIED, "https://x/context")
    assert simplified["fillingLevel"] == 0.82 and simplified["binLoggedTime"] == "2026-11-22T08:00:00.000Z"
    assert simplified["@context"] == "https://x/context"


def test_request_is_read() -> None:
    asked = asking.read(
        {"type": "WasteContainer,https://smartdatamodels.org/dataModel.Alert/Alert,Cat", "limit": "5", "offset": "10",
         "count": "true", "attrs": "fillingLevel,https://smartdatamodels.org/dataModel.Parking/refDevice",
         "options": "keyValues"}
    )  # fmt: skip
    assert [kind.name for kind in asked.kinds] == ["Alert", "WasteContainer"]
    assert (asked.limit, asked.offset, asked.count) == (5, 10, True)
    assert set(asked.representation.of(BIN).attributes) == {"fillingLevel", "refDevice"}
    assert asked.representation.form is Form.SIMPLIFIED
    named = asking.read({"id": "urn:ngsi-ld:Device:a,urn:ngsi-ld:Device:b,urn:x:y"})
    assert named.names is not None and named.names["Device"] == {"a", "b"} and not named.names["Alert"]


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({}, Fault.BAD_REQUEST_DATA),
        ({"limit": "3"}, Fault.BAD_REQUEST_DATA),
        ({"type": "Alert", "limit": "1001"}, Fault.BAD_REQUEST_DATA),
        ({"type": "Alert", "limit": "-1"}, Fault.BAD_REQUEST_DATA),
        ({"type": "Alert", "limit": "٣"}, Fault.BAD_REQUEST_DATA),
        ({"type": "Alert", "limit": "0"}, Fault.BAD_REQUEST_DATA),
        ({"type": "Alert", "count": "yes"}, Fault.BAD_REQUEST_DATA),
        ({"type": "Alert", "q": "a=="}, Fault.BAD_REQUEST_DATA),
        ({"type": "Alert", "colour": "red"}, Fault.INVALID_REQUEST),
        ({"type": "Alert", "options": "purple"}, Fault.INVALID_REQUEST),
        ({"type": "Alert", "options": "keyValues", "format": "concise"}, Fault.INVALID_REQUEST),
        ({"type": "Alert", "options": "sysAttrs"}, Fault.UNSUPPORTED),
        ({"type": "Alert", "georel": "near"}, Fault.UNSUPPORTED),
        ({"type": "(Alert;Device)"}, Fault.UNSUPPORTED),
        ({"type": "Alert", "idPattern": "(a|b)+"}, Fault.UNSUPPORTED),
        ({"id": "bin-1"}, Fault.BAD_REQUEST_DATA),
        ({"id": ",".join(f"urn:x:{n}" for n in range(201))}, Fault.BAD_REQUEST_DATA),
    ],
)
def test_request_that_makes_no_sense_is_refused(given: dict[str, str], fault: Fault) -> None:
    with pytest.raises(AskedWrongly) as told:
        asking.read(given)
    assert told.value.fault is fault and told.value.zh and told.value.en

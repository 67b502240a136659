from __future__ import annotations

from sessions_dynamo import schema
from sessions_dynamo.tables.aspects.creation import create_request
from sessions_dynamo.tables.desired import Billing, Desired
from sessions_dynamo.tables.names import named_tables


def test_the_declared_tables_need_no_attribute_that_no_key_uses() -> None:
    for table in named_tables():
        request = create_request(table, Desired("test"))
        used = {element["AttributeName"] for element in request["KeySchema"]}
        for index in request["GlobalSecondaryIndexes"]:
            used |= {element["AttributeName"] for element in index["KeySchema"]}
        assert {item["AttributeName"] for item in request["AttributeDefinitions"]} == used
        assert schema.TTL_ATTRIBUTE not in used


def test_leaves_out_what_nobody_declared() -> None:
    request = create_request(named_tables()[0], Desired("test"))

    assert request["BillingMode"] == "PAY_PER_REQUEST"
    assert not {"ProvisionedThroughput", "DeletionProtectionEnabled", "SSESpecification"} & request.keys()


def test_gives_the_table_and_each_index_the_declared_capacity() -> None:
    desired = Desired("test", billing=Billing("PROVISIONED", 7, 3), deletion_protection=True)

    request = create_request(named_tables()[0], desired)

    capacity = {"ReadCapacityUnits": 7, "WriteCapacityUnits": 3}
    assert (request["BillingMode"], request["ProvisionedThroughput"]) == ("PROVISIONED", capacity)
    assert [index["ProvisionedThroughput"] for index in request["GlobalSecondaryIndexes"]] == [capacity] * 3
    assert request["DeletionProtectionEnabled"] is True

from __future__ import annotations

from sessions_dynamo import schema
from sessions_dynamo.tables.aspects.change import Subject
from sessions_dynamo.tables.aspects.creation import create_request
from sessions_dynamo.tables.desired import Billing, Desired
from sessions_dynamo.tables.names import named_tables
from tests.sessions_dynamo.tables.aspects.aws import StubbedAws


def test_the_declared_tables_need_no_attribute_that_no_key_uses(aws: StubbedAws) -> None:
    for table in named_tables():
        request = create_request(Subject(table, None, Desired("test"), aws.client()))
        used = {element["AttributeName"] for element in request["KeySchema"]}
        for index in request["GlobalSecondaryIndexes"]:
            used |= {element["AttributeName"] for element in index["KeySchema"]}
        assert {item["AttributeName"] for item in request["AttributeDefinitions"]} == used
        assert schema.TTL_ATTRIBUTE not in used


def test_leaves_out_what_nobody_declared(aws: StubbedAws) -> None:
    request = create_request(Subject(named_tables()[0], None, Desired("test"), aws.client()))

    assert request["BillingMode"] == "PAY_PER_REQUEST"
    assert not {"ProvisionedThroughput", "DeletionProtectionEnabled", "SSESpecification"} & request.keys()


def test_gives_the_table_and_each_index_the_declared_capacity(aws: StubbedAws) -> None:
    desired = Desired("test", billing=Billing("PROVISIONED", 7, 3), deletion_protection=True)

    request = create_request(Subject(named_tables()[0], None, desired, aws.client()))

    capacity = {"ReadCapacityUnits": 7, "WriteCapacityUnits": 3}
    assert (request["BillingMode"], request["ProvisionedThroughput"]) == ("PROVISIONED", capacity)
    assert [index["ProvisionedThroughput"] for index in request["GlobalSecondaryIndexes"]] == [capacity] * 3
    assert request["DeletionProtectionEnabled"] is True

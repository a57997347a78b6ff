"""What aiokafka asks of a broker: `aiokafka_client.py BOOTSTRAP`. Ends with 0 when all of it is answered right."""

import asyncio
import sys

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.structs import OffsetAndMetadata

BOOTSTRAP = sys.argv[1]
TOPIC, GROUP = "aiokafka", "aiokafka-group"


async def topics(admin):
    made = await admin.create_topics([NewTopic(TOPIC, 2, 1, topic_configs={"retention.ms": "1234567"})])
    assert [error[1] for error in made.topic_errors] == [0], made
    grown = await admin.create_partitions({TOPIC: NewPartitions(3)})
    assert [error[1] for error in grown.topic_errors] == [0], grown
    assert TOPIC in await admin.list_topics()
    [described] = await admin.describe_topics([TOPIC])
    assert len(described["partitions"]) == 3, described
    resource = ConfigResource(ConfigResourceType.TOPIC, TOPIC)
    [answer] = await admin.describe_configs([resource])
    entries = {entry[0]: entry[1] for entry in answer.resources[0][4]}
    assert entries["retention.ms"] == "1234567", entries


async def produce():
    async with AIOKafkaProducer(bootstrap_servers=BOOTSTRAP, enable_idempotence=True, compression_type="gzip") as producer:
        sent = []
        for n in range(300):
            headers = [("n", str(n).encode())]
            sent.append(await producer.send(TOPIC, b"value-%d" % n, b"key-%d" % n, partition=n % 3, headers=headers))
        placed = [await delivery for delivery in sent]
        assert sorted({place.offset for place in placed}) == list(range(100))


async def consume():
    partitions = [TopicPartition(TOPIC, p) for p in range(3)]
    consumer = AIOKafkaConsumer(
        TOPIC, bootstrap_servers=BOOTSTRAP, group_id=GROUP, auto_offset_reset="earliest", enable_auto_commit=False
    )
    async with consumer:
        seen = {}
        while len(seen) < 300:
            for records in (await consumer.getmany(timeout_ms=1000)).values():
                for record in records:
                    assert record.headers == (("n", record.key.removeprefix(b"key-")),), record
                    assert record.key not in seen
                    seen[record.key] = record
        assert seen[b"key-299"].value == b"value-299"
        assert await consumer.end_offsets(partitions) == dict.fromkeys(partitions, 100)
        assert await consumer.beginning_offsets(partitions) == dict.fromkeys(partitions, 0)
        found = await consumer.offsets_for_times({partitions[0]: seen[b"key-0"].timestamp})
        assert found[partitions[0]].offset == 0, found
        await consumer.commit({partitions[1]: OffsetAndMetadata(42, "noted")})
        assert await consumer.committed(partitions[1]) == 42
        await consumer.seek_to_beginning(partitions[2])
        assert (await consumer.getone(partitions[2])).offset == 0


async def groups(admin):
    listed = await admin.list_consumer_groups()
    assert GROUP in [group[0] for group in listed], listed
    [described] = await admin.describe_consumer_groups([GROUP])
    assert described.groups[0][0] == 0 and described.groups[0][1] == GROUP, described
    offsets = await admin.list_consumer_group_offsets(GROUP)
    assert offsets[TopicPartition(TOPIC, 1)].offset == 42, offsets
    deleted = await admin.delete_records({TopicPartition(TOPIC, 0): RecordsToDelete(60)})
    assert deleted == {TopicPartition(TOPIC, 0): 60}, deleted
    gone = await admin.delete_topics([TOPIC])
    assert [code for _, code in gone.topic_error_codes] == [0], gone


async def main():
    admin = AIOKafkaAdminClient(bootstrap_servers=BOOTSTRAP)
    await admin.start()
    try:
        await topics(admin)
        await produce()
        await consume()
        await groups(admin)
    finally:
        await admin.close()


asyncio.run(asyncio.wait_for(main(), 60))

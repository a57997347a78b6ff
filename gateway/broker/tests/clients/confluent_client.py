"""What confluent-kafka asks of a broker: `confluent_client.py BOOTSTRAP`. Ends with 0 when all of it is answered right."""

import sys

from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

BOOTSTRAP = sys.argv[1]
TOPIC, GROUP = "confluent", "confluent-group"
PATIENCE = 30


def done(futures):
    return {key: future.result(PATIENCE) for key, future in futures.items()}


def value_of(admin, name):
    resource = ConfigResource(ResourceType.TOPIC, TOPIC)
    return done(admin.describe_configs([resource]))[resource][name].value


def topics(admin):
    done(admin.create_topics([NewTopic(TOPIC, 2, 1, config={"retention.ms": "1234567"})]))
    assert value_of(admin, "retention.ms") == "1234567"
    changes = [
        ConfigEntry("retention.ms", "7654321", incremental_operation=AlterConfigOpType.SET),
        ConfigEntry("cleanup.policy", "compact", incremental_operation=AlterConfigOpType.APPEND),
    ]
    resource = ConfigResource(ResourceType.TOPIC, TOPIC, incremental_configs=changes)
    done(admin.incremental_alter_configs([resource]))
    assert value_of(admin, "retention.ms") == "7654321"
    assert value_of(admin, "cleanup.policy") == "delete,compact"
    undone = [
        ConfigEntry("cleanup.policy", "compact", incremental_operation=AlterConfigOpType.SUBTRACT),
        ConfigEntry("retention.ms", None, incremental_operation=AlterConfigOpType.DELETE),
    ]
    done(admin.incremental_alter_configs([ConfigResource(ResourceType.TOPIC, TOPIC, incremental_configs=undone)]))
    assert value_of(admin, "retention.ms") == "604800000"
    done(admin.create_partitions([NewPartitions(TOPIC, 3)]))
    assert len(admin.list_topics(TOPIC, timeout=PATIENCE).topics[TOPIC].partitions) == 3
    try:
        done(admin.create_topics([NewTopic(TOPIC, 1, 1)]))
        raise AssertionError("a topic was made twice")
    except KafkaException as error:
        assert error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS, error


def records(admin):
    delivered = []
    producer = Producer({"bootstrap.servers": BOOTSTRAP, "enable.idempotence": True, "compression.type": "lz4"})
    for n in range(300):
        producer.produce(
            TOPIC, f"value-{n}", f"key-{n}", partition=n % 3, headers={"n": str(n)},
            on_delivery=lambda error, message: delivered.append((error, message.offset())),
        )
    assert producer.flush(PATIENCE) == 0
    assert len(delivered) == 300 and all(error is None for error, _ in delivered)
    ends = done(admin.list_offsets({TopicPartition(TOPIC, p): OffsetSpec.latest() for p in range(3)}))
    assert [result.offset for result in ends.values()] == [100, 100, 100]
    consumer = Consumer(
        {"bootstrap.servers": BOOTSTRAP, "group.id": GROUP, "auto.offset.reset": "earliest", "enable.auto.commit": False}
    )
    consumer.subscribe([TOPIC])
    seen = {}
    while len(seen) < 300:
        message = consumer.poll(PATIENCE)
        assert message is not None and message.error() is None, message
        assert message.headers() == [("n", message.key().decode().removeprefix("key-").encode())]
        assert seen.setdefault(message.key(), message.value()) == message.value()
    assert seen[b"key-299"] == b"value-299"
    consumer.commit(asynchronous=False)
    members = done(admin.describe_consumer_groups([GROUP]))[GROUP].members
    assert [p.topic for p in members[0].assignment.topic_partitions] == [TOPIC] * 3
    consumer.close()


def groups(admin):
    listed = admin.list_consumer_groups().result(PATIENCE)
    assert GROUP in [group.group_id for group in listed.valid] and not listed.errors
    asked = ConsumerGroupTopicPartitions(GROUP)
    committed = done(admin.list_consumer_group_offsets([asked]))[GROUP].topic_partitions
    assert sorted((p.partition, p.offset) for p in committed) == [(0, 100), (1, 100), (2, 100)]
    back = ConsumerGroupTopicPartitions(GROUP, [TopicPartition(TOPIC, 1, 42)])
    done(admin.alter_consumer_group_offsets([back]))
    committed = done(admin.list_consumer_group_offsets([asked]))[GROUP].topic_partitions
    assert (1, 42) in [(p.partition, p.offset) for p in committed]
    deleted = done(admin.delete_records([TopicPartition(TOPIC, 0, 60)]))
    assert [result.low_watermark for result in deleted.values()] == [60]
    done(admin.delete_consumer_groups([GROUP]))
    listed = admin.list_consumer_groups().result(PATIENCE)
    assert GROUP not in [group.group_id for group in listed.valid]
    done(admin.delete_topics([TOPIC]))
    assert TOPIC not in admin.list_topics(timeout=PATIENCE).topics


client = AdminClient({"bootstrap.servers": BOOTSTRAP})
topics(client)
records(client)
groups(client)

#!/usr/bin/env bash
# Runs one node of Apache Kafka 4 (KRaft, no ZooKeeper) until it is stopped.
#
#   start.sh fetch                    fetches the jars by Maven, once
#   start.sh run FOLDER PORT          formats FOLDER when it is new, then serves on 127.0.0.1:PORT (and PORT+1)
#   start.sh tool CLASS ARGUMENT...   runs one of Kafka's console tools, as in
#                                     start.sh tool org.apache.kafka.tools.TopicCommand --list ...
#
# `run` becomes the broker's own process: the process id to stop is the script's. It serves once the port answers
# and "Kafka Server started" is in its output; coordinators may take a moment longer (clients retry).
# Jars are kept in target/kafka of this repository; KAMF_KAFKA_JARS names another folder.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
jars=${KAMF_KAFKA_JARS:-$here/../../target/kafka}

fetch() {
  mkdir -p "$jars"
  exec 9>"$jars/.lock"
  flock 9
  local profile folder plugin=org.apache.maven.plugins:maven-dependency-plugin:3.8.1
  for profile in broker tools; do
    folder=$jars/$profile
    if [ -f "$folder/.pom" ] && cmp -s "$here/pom.xml" "$folder/.pom"; then continue; fi
    echo "fetching the jars of Kafka's $profile by Maven" >&2
    rm -rf "$folder"
    # A failed download is tried again: repositories have bad moments.
    local attempt
    for attempt in 1 2 3; do
      if mvn -B -q -f "$here/pom.xml" -P "$profile" "$plugin:copy-dependencies" \
          -DincludeScope=runtime -DoutputDirectory="$folder" >&2; then break; fi
      if [ "$attempt" = 3 ]; then echo "Maven could not fetch the jars" >&2; exit 1; fi
      sleep 5
    done
    cp "$here/pom.xml" "$folder/.pom"
  done
  exec 9>&-
}

properties() {
  local folder=$1 port=$2 controller=$(($2 + 1))
  cat <<EOF
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:$controller
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
log.dirs=$folder/data
# One node is all the replicas there are.
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
# Tests want it small and quick.
offsets.topic.num.partitions=8
transaction.state.log.num.partitions=8
share.coordinator.state.topic.num.partitions=8
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
log.cleaner.dedupe.buffer.size=8388608
log.retention.check.interval.ms=2000
log.initial.task.delay.ms=2000
log.cleaner.backoff.ms=1000
EOF
}

run() {
  local port=$2 folder
  fetch
  mkdir -p "$1"
  folder=$(cd "$1" && pwd)
  properties "$folder" "$port" >"$folder/server.properties"
  if [ ! -f "$folder/data/meta.properties" ]; then
    java -cp "$jars/broker/*" kafka.tools.StorageTool format --standalone -t 4L6g3nShT-eMCtK--X86sw \
      -c "$folder/server.properties" >"$folder/format.txt" 2>&1 || { cat "$folder/format.txt" >&2; exit 1; }
  fi
  exec java -Xms64m -Xmx256m -Dlog4j2.configurationFile="$here/log4j2.properties" \
    -cp "$jars/broker/*" kafka.Kafka "$folder/server.properties"
}

case ${1:-} in
  fetch) fetch ;;
  run) [ $# = 3 ] || { echo "usage: start.sh run FOLDER PORT" >&2; exit 2; }; run "$2" "$3" ;;
  tool) shift; fetch; exec java -Xmx128m -Dlog4j2.configurationFile="$here/log4j2.properties" -cp "$jars/tools/*" "$@" ;;
  *) sed -n '2,12p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac

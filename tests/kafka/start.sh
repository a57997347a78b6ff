#!/usr/bin/env bash
# Runs one node of Apache Kafka 4 (KRaft, no ZooKeeper), alone or of a cluster of three, until it is stopped.
#
#   start.sh fetch                    fetches the jars by Maven, once
#   start.sh run FOLDER PORT          formats FOLDER when it is new, then serves on 127.0.0.1:PORT (and PORT+1)
#   start.sh node FOLDER N PORT PORT PORT
#                                     the same for node N (1, 2 or 3) of a cluster of three, whose nodes have these ports
#                                     (and the next ones); topics need two copies of a record to acknowledge it
#   start.sh tool CLASS ARGUMENT...   runs one of Kafka's console tools, as in
#                                     start.sh tool org.apache.kafka.tools.TopicCommand --list ...
#
# `run` and `node` become the broker's own process: the process id to stop is the script's. It serves once the port answers
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

# properties FOLDER NODE COPIES NEEDED PORT... (of all nodes)
properties() {
  local folder=$1 node=$2 copies=$3 needed=$4 voters= number=0 port own
  shift 4
  for port in "$@"; do
    number=$((number + 1))
    voters+=${voters:+,}$number@127.0.0.1:$((port + 1))
    if [ "$number" = "$node" ]; then own=$port; fi
  done
  cat <<EOF
process.roles=broker,controller
node.id=$node
controller.quorum.voters=$voters
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:$own,CONTROLLER://127.0.0.1:$((own + 1))
advertised.listeners=PLAINTEXT://127.0.0.1:$own,CONTROLLER://127.0.0.1:$((own + 1))
log.dirs=$folder/data
default.replication.factor=$copies
min.insync.replicas=$needed
offsets.topic.replication.factor=$copies
transaction.state.log.replication.factor=$copies
transaction.state.log.min.isr=$needed
share.coordinator.state.topic.replication.factor=$copies
share.coordinator.state.topic.min.isr=$needed
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

# start FOLDER NODE COPIES NEEDED PORT...
start() {
  local folder
  fetch
  mkdir -p "$1"
  folder=$(cd "$1" && pwd)
  shift
  properties "$folder" "$@" >"$folder/server.properties"
  if [ ! -f "$folder/data/meta.properties" ]; then
    java -cp "$jars/broker/*" kafka.tools.StorageTool format -t 4L6g3nShT-eMCtK--X86sw \
      -c "$folder/server.properties" >"$folder/format.txt" 2>&1 || { cat "$folder/format.txt" >&2; exit 1; }
  fi
  exec java -Xms64m -Xmx256m -Dlog4j2.configurationFile="$here/log4j2.properties" \
    -cp "$jars/broker/*" kafka.Kafka "$folder/server.properties"
}

case ${1:-} in
  fetch) fetch ;;
  run) [ $# = 3 ] || { echo "usage: start.sh run FOLDER PORT" >&2; exit 2; }; start "$2" 1 1 1 "$3" ;;
  node) [ $# = 6 ] || { echo "usage: start.sh node FOLDER N PORT PORT PORT" >&2; exit 2; }; start "$2" "$3" 3 2 "${@:4}" ;;
  tool) shift; fetch; exec java -Xmx128m -Dlog4j2.configurationFile="$here/log4j2.properties" -cp "$jars/tools/*" "$@" ;;
  *) sed -n '2,15p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac

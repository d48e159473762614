#!/bin/sh
# Runs Apache Cassandra from the jars beside this script, on loopback, in the foreground.
#   cassandra.sh DATA_FOLDER CQL_PORT STORAGE_PORT
# What is in the data folder is gone on with. With CLARION_WITH_PARENT set it ends when its parent does.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
data=$(cd "$1" && pwd)

cat > "$data/cassandra.yaml" <<END
cluster_name: clarion-test
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
endpoint_snitch: SimpleSnitch
num_tokens: 1
auto_bootstrap: false
seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters:
      - seeds: "127.0.0.1:$3"
listen_address: 127.0.0.1
rpc_address: 127.0.0.1
native_transport_port: $2
storage_port: $3
# What is acknowledged is on the disk.
commitlog_sync: batch
commitlog_segment_size: 8MiB
commitlog_total_space: 256MiB
commitlog_directory: $data/commitlog
data_file_directories: [$data/data]
saved_caches_directory: $data/saved_caches
hints_directory: $data/hints
cdc_raw_directory: $data/cdc
paxos_variant: v2
auto_snapshot: false
hinted_handoff_enabled: false
# Small and quick: a test's server, not a cluster's.
disk_access_mode: standard
memtable_allocation_type: heap_buffers
memtable_heap_space: 128MiB
key_cache_size: 8MiB
concurrent_reads: 8
concurrent_writes: 8
concurrent_compactors: 1
native_transport_max_threads: 32
END

cat > "$data/logback.xml" <<END
<configuration>
  <appender name="OUT" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%-5level %date{ISO8601} %logger{20} %msg%n</pattern></encoder>
  </appender>
  <root level="INFO"><appender-ref ref="OUT"/></root>
</configuration>
END

opens=""
for package in java.io java.lang java.lang.module java.lang.reflect java.nio java.util java.util.concurrent \
  java.util.concurrent.atomic jdk.internal.loader jdk.internal.math jdk.internal.module jdk.internal.ref \
  jdk.internal.reflect jdk.internal.util.jar sun.nio.ch; do
  opens="$opens --add-opens java.base/$package=ALL-UNNAMED"
done
exports=""
for package in java.base/java.lang.ref java.base/jdk.internal.misc java.management.rmi/com.sun.jmx.remote.internal.rmi \
  java.rmi/sun.rmi.registry java.rmi/sun.rmi.server java.sql/java.sql jdk.unsupported/sun.misc; do
  exports="$exports --add-exports $package=ALL-UNNAMED"
done

with_parent=""
if [ -n "${CLARION_WITH_PARENT:-}" ] && command -v setpriv >/dev/null; then
  with_parent="setpriv --pdeathsig KILL"
fi

cd "$data"
# shellcheck disable=SC2086
exec $with_parent java -Xms256m -Xmx1024m -Xss512k -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:+PerfDisableSharedMem \
  -XX:+ExitOnOutOfMemoryError -Djdk.attach.allowAttachSelf=true $opens $exports \
  --add-opens java.rmi/sun.rmi.transport.tcp=ALL-UNNAMED \
  --add-opens jdk.management/com.sun.management.internal=ALL-UNNAMED \
  -Dcassandra.config="file://$data/cassandra.yaml" -Dlogback.configurationFile="$data/logback.xml" \
  -Dcassandra.storagedir="$data" -Dcassandra.triggers_dir="$data" -Dcassandra-foreground=yes \
  -Dcassandra.initial_token=0 -Dcassandra.ring_delay_ms=1 -Dcassandra.skip_wait_for_gossip_to_settle=0 \
  -Dcassandra.superuser_setup_delay_ms=0 -Dio.netty.eventLoopThreads=2 -Dio.netty.tryReflectionSetAccessible=true \
  -cp "$here/lib/*" org.apache.cassandra.service.CassandraDaemon

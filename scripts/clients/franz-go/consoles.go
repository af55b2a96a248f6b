// What Redpanda Console asks, which is this client: at its start, for its overview, and for its pages of topics, groups and messages. Called by main.go.
package main

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func consoles(ctx context.Context) {
	name, group := topic(ctx, "go-console", 2, nil), fresh("go-console")
	start := time.UnixMilli(1_700_000_000_000)
	records := make([]*kgo.Record, 10)
	for i := range records {
		records[i] = &kgo.Record{Topic: name, Value: []byte{byte(i)}, Timestamp: start.Add(time.Duration(i) * time.Second)}
	}
	send(ctx, records)
	committed := kadm.Offsets{}
	committed.AddOffset(name, 0, 4, -1)
	must(admin.CommitAllOffsets(ctx, group, committed))

	// The overview: who is there, which versions, which configurations, how much data.
	metadata := value(admin.Metadata(ctx))
	equal(1, len(metadata.Brokers), "brokers")
	equal(true, metadata.Cluster != "" && metadata.Controller == metadata.Brokers[0].NodeID, "cluster and controller")
	equal(true, metadata.Topics["__consumer_offsets"].IsInternal && !metadata.Topics[name].IsInternal, "internal topics")
	raw := client()
	defer raw.Close()
	versions := value(kmsg.NewPtrApiVersionsRequest().RequestWith(ctx, raw))
	equal(true, len(versions.ApiKeys) > 40, "advertised")
	for _, broker := range value(admin.ApiVersions(ctx)) {
		must(broker.Err)
	}
	for _, configs := range value(admin.DescribeBrokerConfigs(ctx, metadata.Brokers[0].NodeID)) {
		must(configs.Err)
		equal(true, len(configs.Configs) > 150, "a broker's configurations")
	}
	for _, configs := range value(admin.DescribeTopicConfigs(ctx, metadata.Topics.Names()...)) {
		must(configs.Err)
	}
	size := int64(0)
	for _, dirs := range value(admin.DescribeAllLogDirs(ctx, nil)) {
		must(dirs.Error())
		dirs.Each(func(dir kadm.DescribedLogDir) {
			if partition, ok := dir.Topics.Lookup(name, 0); ok {
				size += partition.Size
			}
		})
	}

	// A topic's page.
	partition, _ := value(admin.ListStartOffsets(ctx, name)).Lookup(name, 0)
	equal(0, partition.Offset, "start")
	partition, _ = value(admin.ListEndOffsets(ctx, name)).Lookup(name, 0)
	equal(true, partition.Offset >= 0 && partition.Err == nil, "end")
	ends := int64(0)
	value(admin.ListEndOffsets(ctx, name)).Each(func(end kadm.ListedOffset) { ends += end.Offset })
	equal(10, ends, "ends of both")
	after := int64(0)
	value(admin.ListOffsetsAfterMilli(ctx, start.UnixMilli()+3_500, name)).Each(func(found kadm.ListedOffset) {
		must(found.Err)
		after += found.Offset
	})
	equal(4, after, "offsets by time, of both")
	equal(true, size > 0 || ends > 0, "its size")
	equal(0, len(value(admin.ListPartitionReassignments(ctx, nil))), "reassignments")

	// A group's page: everything about all groups.
	listed := value(admin.ListGroups(ctx))
	equal("Empty", listed[group].State, "listed")
	described := value(admin.DescribeGroups(ctx, listed.Groups()...))
	must(described[group].Err)
	equal("Empty", described[group].State, "described")
	fetched := admin.FetchManyOffsets(ctx, listed.Groups()...)
	must(fetched[group].Err)
	found, _ := fetched[group].Fetched.Lookup(name, 0)
	equal(4, found.At, "committed")
	lag := value(admin.Lag(ctx, group))[group]
	must(lag.Error())
	first, _ := value(admin.ListEndOffsets(ctx, name)).Lookup(name, 0)
	equal(first.Offset-4, lag.Lag[name][0].Lag, "lag")

	// Security's pages of a broker that has none.
	equal(0, len(value(admin.DescribeUserSCRAMs(ctx))), "SCRAM users")
	equal(0, len(value(admin.DescribeClientQuotas(ctx, false, nil))), "quotas")

	// Messages from a time on.
	consumer := reader(name, kgo.NewOffset().AfterMilli(start.UnixMilli()+7_000))
	defer consumer.Close()
	for _, record := range take(ctx, consumer, 3) {
		equal(true, record.Value[0] >= 7, fmt.Sprint("value ", record.Value[0]))
	}
}

// Groups of both protocols, and what administrators change. Called by main.go.
package main

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const partitions = 6

// A member of a group: its client, and what it is assigned now.
type member struct {
	client   *kgo.Client
	mutex    sync.Mutex
	assigned map[int32]bool
}

func (one *member) count() int {
	one.mutex.Lock()
	defer one.mutex.Unlock()
	return len(one.assigned)
}

func join(group, topic string, options ...kgo.Opt) *member {
	one := &member{assigned: map[int32]bool{}}
	changed := func(is bool) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, changed map[string][]int32) {
			one.mutex.Lock()
			defer one.mutex.Unlock()
			for _, partition := range changed[topic] {
				if is {
					one.assigned[partition] = true
				} else {
					delete(one.assigned, partition)
				}
			}
		}
	}
	one.client = client(append([]kgo.Opt{
		kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(),
		kgo.FetchMaxWait(100 * time.Millisecond),
		kgo.OnPartitionsAssigned(changed(true)), kgo.OnPartitionsRevoked(changed(false)), kgo.OnPartitionsLost(changed(false)),
	}, options...)...)
	return one
}

// poll asks each member once; what came is added as partition:offset.
func poll(ctx context.Context, came map[string]bool, members ...*member) {
	for _, one := range members {
		short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		fetches := one.client.PollFetches(short)
		cancel()
		fetches.EachRecord(func(record *kgo.Record) { came[fmt.Sprintf("%d:%d", record.Partition, record.Offset)] = true })
		must(ctx.Err())
	}
}

func pollUntil(ctx context.Context, done func(came map[string]bool) bool, members ...*member) map[string]bool {
	came := map[string]bool{}
	for !done(came) {
		poll(ctx, came, members...)
	}
	return came
}

func text(came map[string]bool) string {
	var all []string
	for one := range came {
		all = append(all, one)
	}
	sort.Strings(all)
	return strings.Join(all, " ")
}

func offsets(from, to int64) string {
	all := map[string]bool{}
	for partition := range partitions {
		for offset := from; offset < to; offset++ {
			all[fmt.Sprintf("%d:%d", partition, offset)] = true
		}
	}
	return text(all)
}

func fill(ctx context.Context, topic string, perPartition int) {
	var sent []*kgo.Record
	for partition := range int32(partitions) {
		for range perPartition {
			sent = append(sent, &kgo.Record{Topic: topic, Partition: partition, Value: []byte("value")})
		}
	}
	send(ctx, sent)
}

// Two members share a topic, one leaves, and who comes after them goes on where they committed.
func shared(ctx context.Context, options ...kgo.Opt) {
	name, group := topic(ctx, "go-shared", partitions, nil), fresh("go-shared")
	fill(ctx, name, 10)
	first := join(group, name, options...)
	came := pollUntil(ctx, func(came map[string]bool) bool { return len(came) == 60 }, first)
	equal(offsets(0, 10), text(came), "what one member read")
	must(first.client.CommitUncommittedOffsets(ctx))
	second := join(group, name, options...)
	even := func(map[string]bool) bool { return first.count() == 3 && second.count() == 3 }
	came = pollUntil(ctx, even, first, second)
	fill(ctx, name, 5)
	later := pollUntil(ctx, func(later map[string]bool) bool { return len(later) == 30 }, first, second)
	equal(offsets(10, 15), text(later), "what two members read")
	must(first.client.CommitUncommittedOffsets(ctx))
	must(second.client.CommitUncommittedOffsets(ctx))
	second.client.Close()
	pollUntil(ctx, func(map[string]bool) bool { return first.count() == partitions }, first)
	first.client.Close()
	told := value(admin.FetchOffsets(ctx, group))
	for partition := range int32(partitions) {
		offset, ok := told.Lookup(name, partition)
		equal(true, ok, "committed")
		equal(int64(15), offset.At, "committed")
	}
	fill(ctx, name, 1)
	third := join(group, name, options...)
	came = pollUntil(ctx, func(came map[string]bool) bool { return len(came) >= partitions }, third)
	equal(offsets(15, 16), text(came), "what a later member read")
	third.client.Close()
}

// Of the classic protocol: in the new one this client leaves its instance taken until the session has timed out.
func static(ctx context.Context) {
	name, group := topic(ctx, "go-static", partitions, nil), fresh("go-static")
	instance := func(id string) *member {
		return join(group, name, kgo.InstanceID(id))
	}
	first, second := instance("instance-0"), instance("instance-1")
	pollUntil(ctx, func(map[string]bool) bool { return first.count() == 3 && second.count() == 3 }, first, second)
	had := fmt.Sprint(second.assigned)
	second.client.Close()
	again := instance("instance-1")
	pollUntil(ctx, func(map[string]bool) bool { return again.count() == 3 }, first, again)
	equal(had, fmt.Sprint(again.assigned), "assigned")
	for _, one := range []*member{first, again} {
		one.client.Close()
	}
	for _, left := range value(admin.LeaveGroup(ctx, kadm.LeaveGroup(group).InstanceIDs("instance-0", "instance-1"))) {
		must(left.Err)
	}
	equal("Empty", value(admin.DescribeGroups(ctx, group))[group].State, "state without its static members")
}

func administered(ctx context.Context) {
	name, group := topic(ctx, "go-groups", partitions, nil), fresh("go-groups")
	fill(ctx, name, 10)
	var seven kadm.Offsets
	for partition := range int32(partitions) {
		seven.Add(kadm.Offset{Topic: name, Partition: partition, At: 7, LeaderEpoch: -1, Metadata: "a note"})
	}
	must(admin.CommitAllOffsets(ctx, group, seven))
	one := join(group, name)
	came := pollUntil(ctx, func(came map[string]bool) bool { return len(came) >= 18 }, one)
	equal(offsets(7, 10), text(came), "what is read from the offsets that were set")
	equal("Stable", value(admin.ListGroups(ctx))[group].State, "listed")
	described := value(admin.DescribeGroups(ctx, group))[group]
	must(described.Err)
	equal("Stable consumer 1", fmt.Sprint(described.State, " ", described.ProtocolType, " ", len(described.Members)), "described")
	equal(true, value(admin.DeleteGroups(ctx, group))[group].Err != nil, "deleting a group with a member is refused")
	one.client.Close()
	told, ok := value(admin.FetchOffsets(ctx, group)).Lookup(name, 3)
	equal(true, ok, "told")
	equal("a note", told.Metadata, "metadata of a commit")
	must(value(admin.DeleteOffsets(ctx, group, kadm.TopicsSet{name: {3: {}}})).Error())
	_, ok = value(admin.FetchOffsets(ctx, group)).Lookup(name, 3)
	equal(false, ok, "an offset that was deleted is told")
	must(value(admin.DeleteGroups(ctx, group))[group].Err)
	_, there := value(admin.ListGroups(ctx))[group]
	equal(false, there, "it is still listed")
}

func describedNew(ctx context.Context) {
	name, group := topic(ctx, "go-new", partitions, nil), fresh("go-new")
	one := join(group, name, next())
	defer one.client.Close()
	pollUntil(ctx, func(map[string]bool) bool { return one.count() == partitions }, one)
	listed := value(admin.ListGroupsByType(ctx, []string{"consumer"}))[group]
	equal("Stable", listed.State, "listed")
	described := value(admin.DescribeConsumerGroups(ctx, group))[group]
	must(described.Err)
	equal("Stable uniform 1", fmt.Sprint(described.State, " ", described.AssignorName, " ", len(described.Members)), "described")
	equal(partitions, len(described.AssignedPartitions()[name]), "partitions assigned")
}

// An expression of RE2, which the broker resolves.
func pattern(ctx context.Context) {
	names := []string{topic(ctx, "go-pattern", partitions, nil), topic(ctx, "go-pattern", partitions, nil)}
	topic(ctx, "go-other", 1, nil)
	for _, name := range names {
		fill(ctx, name, 1)
	}
	common := 0
	for names[0][common] == names[1][common] {
		common++
	}
	one := join(fresh("go-pattern-group"), "^"+names[0][:common]+".*", kgo.ConsumeRegex(), next())
	defer one.client.Close()
	came := map[string]int{}
	for came[names[0]]+came[names[1]] < 2*partitions {
		fetches := one.client.PollFetches(ctx)
		must(fetches.Err())
		fetches.EachRecord(func(record *kgo.Record) { came[record.Topic]++ })
	}
	equal(2, len(came), "topics found")
}

// How this version of the client is told to use the new protocol.
func next() kgo.Opt {
	return kgo.WithContext(context.WithValue(context.Background(), "opt_in_kafka_next_gen_balancer_beta", true)) //nolint:staticcheck
}

func changes(ctx context.Context) {
	name := topic(ctx, "go-changes", 1, nil)
	limit := "1234"
	for _, answer := range value(admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: &limit}}, name)) {
		must(answer.Err)
	}
	for _, answer := range value(admin.UpdatePartitions(ctx, 3, name)) {
		must(answer.Err)
	}
	eventually(func() {
		equal(3, len(value(admin.ListTopics(ctx, name))[name].Partitions), "partitions")
		told := ""
		for _, config := range value(admin.DescribeTopicConfigs(ctx, name))[0].Configs {
			if config.Key == "retention.ms" {
				told = config.MaybeValue()
			}
		}
		equal(limit, told, "retention.ms")
	})
}

func administeredNode(ctx context.Context) {
	name := topic(ctx, "go-node", 1, nil)
	send(ctx, []*kgo.Record{{Topic: name, Value: []byte("value")}})
	sizes := value(admin.DescribeAllLogDirs(ctx, kadm.TopicsSet{name: {0: {}}}))
	found := false
	sizes.Each(func(dir kadm.DescribedLogDir) {
		must(dir.Err)
		if partition, ok := dir.Topics.Lookup(name, 0); ok {
			found = partition.Size > 0
		}
	})
	equal(true, found, "the log's size is told")
	acls := value(admin.DescribeACLs(ctx, kadm.NewACLs().AnyResource().Allow().Deny().AllowHosts().DenyHosts().Operations().ResourcePatternType(kadm.ACLPatternAny)))
	equal(true, len(acls) > 0, "ACLs are answered")
	for _, answer := range acls {
		equal(true, errors.Is(answer.Err, kerr.SecurityDisabled), fmt.Sprint("ACLs: ", answer.Err))
	}
	elected := value(admin.ElectLeaders(ctx, kadm.ElectPreferredReplica, kadm.TopicsSet{name: {0: {}}}))
	equal(true, errors.Is(elected[name][0].Err, kerr.ElectionNotNeeded), fmt.Sprint("election: ", elected[name][0].Err))
	equal(0, len(value(admin.ListPartitionReassignments(ctx, nil))), "reassignments")
}

func deleteRecords(ctx context.Context) {
	name := topic(ctx, "go-deleted", 1, nil)
	var records []*kgo.Record
	for i := range 10 {
		records = append(records, &kgo.Record{Topic: name, Value: []byte{byte(i)}})
	}
	send(ctx, records)
	below := kadm.Offsets{}
	below.AddOffset(name, 0, 4, -1)
	answer, _ := value(admin.DeleteRecords(ctx, below)).Lookup(name, 0)
	must(answer.Err)
	equal(4, answer.LowWatermark, "low watermark")
	equal(4, read(ctx, name, kgo.NewOffset().AtStart(), 6)[0].Value[0], "the first that is left")
	beyond := kadm.Offsets{}
	beyond.AddOffset(name, 0, 11, -1)
	answer, _ = value(admin.DeleteRecords(ctx, beyond)).Lookup(name, 0)
	equal(true, errors.Is(answer.Err, kerr.OffsetOutOfRange), fmt.Sprint("beyond the end: ", answer.Err))
}

func groupChecks() {
	check("records below an offset are deleted", deleteRecords)
	check("log directories, ACLs, elections, reassignments", administeredNode)
	balancers := map[string]kgo.GroupBalancer{
		"range": kgo.RangeBalancer(), "roundrobin": kgo.RoundRobinBalancer(), "sticky": kgo.StickyBalancer(),
		"cooperative-sticky": kgo.CooperativeStickyBalancer(),
	}
	quick := []kgo.Opt{kgo.HeartbeatInterval(300 * time.Millisecond), kgo.SessionTimeout(10 * time.Second)}
	for _, name := range []string{"range", "roundrobin", "sticky", "cooperative-sticky"} {
		check("a classic group of "+name, func(ctx context.Context) {
			shared(ctx, append([]kgo.Opt{kgo.Balancers(balancers[name])}, quick...)...)
		})
	}
	check("static members of a classic group", static)
	check("groups are listed, described and deleted, offsets altered and deleted", administered)
	for name, balancer := range map[string]kgo.GroupBalancer{"uniform": balancers["sticky"], "range": balancers["range"]} {
		check("a group of the new protocol with "+name, func(ctx context.Context) { shared(ctx, kgo.Balancers(balancer), next()) })
	}
	check("a pattern of the new protocol", pattern)
	check("a group of the new protocol is listed and described", describedNew)
}

// franz-go, the Go client: produce, fetch, admin, with sessions and topic ids of the newest versions. Run by scripts/clients/franz-go/run.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	patience = 60 * time.Second
	records  = 300
)

var (
	bootstrap = os.Getenv("CORELOG_BOOTSTRAP")
	// Nothing is tried twice: for a broker that answers a change only when it is in force.
	_, strict = os.LookupEnv("CORELOG_STRICT")
	codecs    = map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	names                  = []string{"none", "gzip", "snappy", "lz4", "zstd"}
	passed, failed, topics int
	admin                  *kadm.Client
)

type timed func(ctx context.Context)

func check(what string, body timed) {
	start := time.Now()
	defer func() {
		if failure := recover(); failure != nil {
			failed++
			fmt.Printf("FAILED  franz-go: %s (%d ms)\n%v\n", what, time.Since(start).Milliseconds(), failure)
			return
		}
		passed++
		fmt.Printf("ok      franz-go: %s (%d ms)\n", what, time.Since(start).Milliseconds())
	}()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	body(ctx)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func value[T any](value T, err error) T {
	must(err)
	return value
}

func equal[T comparable](expected, actual T, what string) {
	if expected != actual {
		panic(fmt.Sprintf("%s: expected %v, got %v", what, expected, actual))
	}
}

// eventually runs a body until it does not panic; a strict broker does not get a second chance.
func eventually(body func()) {
	deadline := time.Now().Add(patience)
	for {
		failure := func() (failure any) {
			defer func() { failure = recover() }()
			body()
			return nil
		}()
		if failure == nil {
			return
		}
		if strict || time.Now().After(deadline) {
			panic(failure)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func client(options ...kgo.Opt) *kgo.Client {
	options = append([]kgo.Opt{kgo.SeedBrokers(bootstrap), kgo.RecordPartitioner(kgo.ManualPartitioner())}, options...)
	return value(kgo.NewClient(options...))
}

func fresh(prefix string) string {
	topics++
	return fmt.Sprintf("%s-%x-%d", prefix, time.Now().UnixNano(), topics)
}

func topic(ctx context.Context, prefix string, partitions int32, configs map[string]*string) string {
	name := fresh(prefix)
	must(value(admin.CreateTopic(ctx, partitions, 1, configs, name)).Err)
	eventually(func() {
		must(value(admin.ListEndOffsets(ctx, name)).Error())
	})
	return name
}

func workload(topic string, count int, start time.Time) []*kgo.Record {
	sent := make([]*kgo.Record, count)
	for i := range sent {
		var key []byte
		if i%3 != 0 {
			key = []byte("k" + strconv.Itoa(i))
		}
		sent[i] = &kgo.Record{
			Topic: topic, Key: key, Value: bytes.Repeat([]byte{byte(i % 251)}, i*7%900),
			Timestamp: start.Add(time.Duration(i) * time.Millisecond),
			Headers:   []kgo.RecordHeader{{Key: "h", Value: []byte(strconv.Itoa(i))}, {Key: "null"}},
		}
	}
	return sent
}

func send(ctx context.Context, sent []*kgo.Record, options ...kgo.Opt) {
	producer := client(append([]kgo.Opt{kgo.ProducerLinger(20 * time.Millisecond)}, options...)...)
	defer producer.Close()
	must(producer.ProduceSync(ctx, sent...).FirstErr())
}

func reader(topic string, offset kgo.Offset, options ...kgo.Opt) *kgo.Client {
	at := map[string]map[int32]kgo.Offset{topic: {0: offset}}
	return client(append([]kgo.Opt{kgo.ConsumePartitions(at)}, options...)...)
}

func take(ctx context.Context, consumer *kgo.Client, count int) []*kgo.Record {
	var came []*kgo.Record
	for len(came) < count {
		fetches := consumer.PollFetches(ctx)
		must(fetches.Err())
		came = append(came, fetches.Records()...)
	}
	return came
}

func read(ctx context.Context, topic string, offset kgo.Offset, count int) []*kgo.Record {
	consumer := reader(topic, offset)
	defer consumer.Close()
	return take(ctx, consumer, count)
}

func codec(ctx context.Context, name string, options ...kgo.Opt) {
	target := topic(ctx, "go-"+name, 1, nil)
	sent := workload(target, records, time.Now().Add(-100*time.Second).Truncate(time.Millisecond))
	send(ctx, sent, append(options, kgo.ProducerBatchCompression(codecs[name]))...)
	came := read(ctx, target, kgo.NewOffset().AtStart(), records)
	for i, record := range came {
		equal(int64(i), sent[i].Offset, "offset answered")
		equal(int64(i), record.Offset, "offset")
		equal(sent[i].Timestamp.UnixMilli(), record.Timestamp.UnixMilli(), "timestamp")
		equal(string(sent[i].Key), string(record.Key), "key")
		equal(sent[i].Key == nil, record.Key == nil, "null key")
		equal(string(sent[i].Value), string(record.Value), "value")
		equal(strconv.Itoa(i), string(record.Headers[0].Value), "header")
		equal(true, record.Headers[1].Value == nil, "null header")
	}
}

func times(ctx context.Context, name string) {
	target := topic(ctx, "go-times", 1, nil)
	start := time.Now().Add(-100 * time.Second).Truncate(time.Millisecond)
	send(ctx, workload(target, 100, start), kgo.ProducerBatchCompression(codecs[name]))
	for _, at := range []int64{0, 1, 50, 99} {
		found, ok := value(admin.ListOffsetsAfterMilli(ctx, start.UnixMilli()+at, target)).Lookup(target, 0)
		equal(true, ok, "answered")
		must(found.Err)
		equal(at, found.Offset, "offset")
		equal(start.UnixMilli()+at, found.Timestamp, "timestamp")
	}
	equal(int64(42), read(ctx, target, kgo.NewOffset().AfterMilli(start.UnixMilli()+42), 1)[0].Offset, "consuming from a time")
}

func positions(ctx context.Context) {
	target := topic(ctx, "go-positions", 1, nil)
	send(ctx, workload(target, 100, time.Now()))
	equal(int64(0), read(ctx, target, kgo.NewOffset().AtStart(), 1)[0].Offset, "from the start")
	equal(int64(57), read(ctx, target, kgo.NewOffset().At(57), 1)[0].Offset, "from an offset")
	equal(int64(95), read(ctx, target, kgo.NewOffset().AtEnd().Relative(-5), 1)[0].Offset, "five before the end")
	consumer := reader(target, kgo.NewOffset().At(500), kgo.ConsumeResetOffset(kgo.NoResetOffset()))
	defer consumer.Close()
	equal(true, errors.Is(consumer.PollFetches(ctx).Err(), kerr.OffsetOutOfRange), "out of range")
}

func waiting(ctx context.Context) {
	target := topic(ctx, "go-waiting", 1, nil)
	consumer := reader(target, kgo.NewOffset().AtStart(), kgo.FetchMaxWait(10*time.Second))
	defer consumer.Close()
	short, cancel := context.WithTimeout(ctx, time.Second)
	equal(0, consumer.PollFetches(short).NumRecords(), "records before any was written")
	cancel()
	start := time.Now()
	send(ctx, workload(target, 1, start))
	take(ctx, consumer, 1)
	if took := time.Since(start); took > 2*time.Second {
		panic(fmt.Sprintf("woken after %v", took))
	}
}

// Many partitions in one session: what is written to any of them comes, and partitions that come and go are followed.
func sessions(ctx context.Context) {
	target := topic(ctx, "go-sessions", 30, nil)
	at := map[int32]kgo.Offset{}
	for partition := int32(0); partition < 20; partition++ {
		at[partition] = kgo.NewOffset().AtStart()
	}
	consumer := client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{target: at}), kgo.FetchMaxPartitionBytes(2_000))
	defer consumer.Close()
	producer := client()
	defer producer.Close()
	write := func(partition int32, value string) {
		must(producer.ProduceSync(ctx, &kgo.Record{Topic: target, Partition: partition, Value: []byte(value)}).FirstErr())
	}
	for i := range 60 {
		write(int32(i%20), strconv.Itoa(i))
		equal(strconv.Itoa(i), string(take(ctx, consumer, 1)[0].Value), "value")
	}
	consumer.PauseFetchPartitions(map[string][]int32{target: {0}})
	consumer.AddConsumePartitions(map[string]map[int32]kgo.Offset{target: {25: kgo.NewOffset().AtStart()}})
	write(0, "paused")
	write(25, "added")
	equal("added", string(take(ctx, consumer, 1)[0].Value), "value of the partition that was added")
	consumer.ResumeFetchPartitions(map[string][]int32{target: {0}})
	equal("paused", string(take(ctx, consumer, 1)[0].Value), "value of the partition that was paused")
}

func administration(ctx context.Context) {
	limit := "12345"
	name := topic(ctx, "go-topics", 4, map[string]*string{"max.message.bytes": &limit})
	described := value(admin.ListTopics(ctx, name))
	equal(4, len(described[name].Partitions), "partitions")
	again := value(admin.CreateTopics(ctx, 1, 1, nil, name))[name]
	equal(true, errors.Is(again.Err, kerr.TopicAlreadyExists), "created twice")
	for _, resource := range value(admin.DescribeTopicConfigs(ctx, name)) {
		must(resource.Err)
		for _, config := range resource.Configs {
			if config.Key == "max.message.bytes" {
				equal(limit, config.MaybeValue(), config.Key)
				limit = ""
			}
		}
	}
	equal("", limit, "max.message.bytes was not told")
	must(value(admin.DeleteTopics(ctx, name))[name].Err)
	eventually(func() {
		equal(false, value(admin.ListTopics(ctx)).Has(name), "it is still there")
	})
	equal(1, len(value(admin.BrokerMetadata(ctx)).Brokers), "brokers")
}

func main() {
	connected := client()
	defer connected.Close()
	admin = kadm.NewClient(connected)
	for _, name := range names {
		check("produce "+name, func(ctx context.Context) { codec(ctx, name, kgo.DisableIdempotentWrite()) })
	}
	for _, name := range names {
		check("idempotent "+name, func(ctx context.Context) { codec(ctx, name) })
	}
	for name, acks := range map[string]kgo.Acks{"acks=0": kgo.NoAck(), "acks=1": kgo.LeaderAck()} {
		check(name, func(ctx context.Context) {
			target := topic(ctx, "go-acks", 1, nil)
			send(ctx, workload(target, 50, time.Now()), kgo.RequiredAcks(acks), kgo.DisableIdempotentWrite())
			read(ctx, target, kgo.NewOffset().AtStart(), 50)
		})
	}
	check("fetch from start, offset and end", positions)
	for _, name := range names {
		check("offsets by time in "+name, func(ctx context.Context) { times(ctx, name) })
	}
	check("a waiting fetch is woken", waiting)
	check("sessions of many partitions", sessions)
	check("topics and configs", administration)
	check("alter configs, add partitions", changes)
	check("what Redpanda Console asks", consoles)
	groupChecks()
	fmt.Printf("%d passed, %d failed\n", passed, failed)
	if failed > 0 {
		os.Exit(1)
	}
}

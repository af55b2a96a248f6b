// kafkajs, which speaks the versions of years ago, with codecs in plain JavaScript. Run by scripts/clients/kafkajs/run.
'use strict'

const {
  AclOperationTypes, AclPermissionTypes, AclResourceTypes, CompressionCodecs, CompressionTypes, ConfigResourceTypes, Kafka, ResourcePatternTypes,
  logLevel,
} = require('kafkajs')
const groups = require('./groups')
const snappy = require('snappyjs')
const lz4 = require('lz4js')
const xxh32 = require('lz4js/xxh32.js')
const { ZstdCodec } = require('zstd-codec')
const assert = require('node:assert/strict')

const BOOTSTRAP = process.env.CORELOG_BOOTSTRAP
// Nothing is tried twice: for a broker that answers a change only when it is in force.
const STRICT = process.env.CORELOG_STRICT !== undefined
const PATIENCE_MS = 60_000
const RECORDS = 300
const CODECS = { none: CompressionTypes.None, gzip: CompressionTypes.GZIP, snappy: CompressionTypes.Snappy, lz4: CompressionTypes.LZ4, zstd: CompressionTypes.ZSTD }

// Kafka's snappy comes in xerial's framing or as one raw block.
const XERIAL = Buffer.from([130, 83, 78, 65, 80, 80, 89, 0])
CompressionCodecs[CompressionTypes.Snappy] = () => ({
  compress: encoder => Buffer.from(snappy.compress(encoder.buffer)),
  decompress: buffer => {
    if (!buffer.subarray(0, 8).equals(XERIAL)) return Buffer.from(snappy.uncompress(buffer))
    const chunks = []
    for (let at = 16; at < buffer.length;) {
      const length = buffer.readUInt32BE(at)
      chunks.push(Buffer.from(snappy.uncompress(buffer.subarray(at + 4, at + 4 + length))))
      at += 4 + length
    }
    return Buffer.concat(chunks)
  },
})
// The package does not say that its blocks stand alone, which Kafka insists on; with up to 4 MiB there is one block, and it does.
function lz4Frame(buffer) {
  const frame = Buffer.from(lz4.compress(buffer))
  frame[4] |= 0x20
  frame[6] = (xxh32.hash(0, frame, 4, 2) >>> 8) & 0xff
  return frame
}
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: encoder => lz4Frame(encoder.buffer),
  decompress: buffer => Buffer.from(lz4.decompress(buffer)),
})
const zstd = new Promise(resolve => ZstdCodec.run(codec => resolve(new codec.Streaming())))
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async encoder => Buffer.from((await zstd).compress(encoder.buffer)),
  decompress: async buffer => Buffer.from((await zstd).decompress(buffer)),
})

const kafka = new Kafka({ clientId: 'suite', brokers: [BOOTSTRAP], logLevel: logLevel.NOTHING, retry: { retries: STRICT ? 3 : 10 } })
const admin = kafka.admin()
let passed = 0
let failed = 0
let topics = 0

async function check(what, body) {
  const start = Date.now()
  let timer
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error('it hangs')), PATIENCE_MS) })
  try {
    await Promise.race([body(), late])
    passed++
    console.log(`ok      kafkajs: ${what} (${Date.now() - start} ms)`)
  } catch (error) {
    failed++
    console.log(`FAILED  kafkajs: ${what} (${Date.now() - start} ms)\n${error.stack}`)
  } finally {
    clearTimeout(timer)
  }
}

// Kafka shows a change a moment after it has answered it; a strict broker does not get a second chance.
async function eventually(body) {
  const deadline = Date.now() + PATIENCE_MS
  for (;;) {
    try {
      return await body()
    } catch (error) {
      if (STRICT || Date.now() > deadline) throw error
      await new Promise(resolve => setTimeout(resolve, 50))
    }
  }
}

async function topic(prefix, numPartitions = 1, configEntries = []) {
  const name = `${prefix}-${process.pid}-${Date.now().toString(36)}-${++topics}`
  await admin.createTopics({ topics: [{ topic: name, numPartitions, replicationFactor: 1, configEntries }], waitForLeaders: true })
  return name
}

// kafkajs reads through groups alone; this reads one partition over its cluster as its own consumer does.
async function read(topic, offset, count, { partition = 0, isolationLevel = 0, maxWaitTime = 1_000 } = {}) {
  const cluster = internals()
  await cluster.connect()
  await cluster.addTargetTopic(topic)
  const records = []
  const deadline = Date.now() + PATIENCE_MS
  let next = BigInt(offset)
  try {
    while (records.length < count) {
      assert.ok(Date.now() < deadline, `${records.length} of ${count} records came in time`)
      const [nodeId] = Object.keys(cluster.findLeaderForPartitions(topic, [partition]))
      const broker = await cluster.findBroker({ nodeId })
      const answer = await broker.fetch({
        replicaId: -1, isolationLevel, maxWaitTime, minBytes: 1, maxBytes: 10 << 20, rackId: '',
        topics: [{ topic, partitions: [{ partition, fetchOffset: next.toString(), maxBytes: 1 << 20 }] }],
      })
      for (const message of answer.responses[0].partitions[0].messages) {
        if (BigInt(message.offset) < next) continue
        records.push(message)
        next = BigInt(message.offset) + 1n
      }
    }
  } finally {
    await cluster.disconnect()
  }
  return records.slice(0, count)
}

function internals() {
  const Cluster = require('kafkajs/src/cluster')
  const { createLogger, LEVELS } = require('kafkajs/src/loggers')
  const ConsoleLogger = require('kafkajs/src/loggers/console')
  const socketFactory = require('kafkajs/src/network/socketFactory')
  return new Cluster({
    logger: createLogger({ level: LEVELS.NOTHING, logCreator: ConsoleLogger }),
    socketFactory: socketFactory(), brokers: [BOOTSTRAP], clientId: 'suite', connectionTimeout: 1_000,
    authenticationTimeout: 1_000, requestTimeout: 30_000, enforceRequestTimeout: true, metadataMaxAge: 300_000,
    retry: { retries: 5 }, allowAutoTopicCreation: false, maxInFlightRequests: null, isolationLevel: 0,
    instrumentationEmitter: null, offsets: new Map(),
  })
}

function workload(count, start) {
  return Array.from({ length: count }, (_, i) => ({
    key: i % 3 ? `k${i}` : null,
    value: Buffer.alloc((i * 7) % 900, i % 251),
    timestamp: String(start + i),
    headers: { h: String(i) },
    partition: 0,
  }))
}

async function send(topic, messages, { compression = CompressionTypes.None, acks = -1, ...settings } = {}) {
  const producer = kafka.producer({ allowAutoTopicCreation: false, ...settings })
  await producer.connect()
  try {
    return await producer.send({ topic, messages, compression, acks })
  } finally {
    await producer.disconnect()
  }
}

async function codec(name, settings = {}) {
  const target = await topic(`js-${name}`)
  const start = Date.now() - 100_000
  const sent = workload(RECORDS, start)
  const [answer] = await send(target, sent, { compression: CODECS[name], ...settings })
  assert.equal(answer.baseOffset, '0')
  const came = await read(target, 0, RECORDS)
  came.forEach((record, i) => {
    assert.equal(record.offset, String(i))
    assert.equal(record.timestamp, sent[i].timestamp)
    assert.equal(record.key === null ? null : record.key.toString(), sent[i].key)
    assert.deepEqual(record.value, sent[i].value)
    assert.equal(record.headers.h.toString(), String(i))
  })
}

async function main() {
  await admin.connect()
  for (const name of Object.keys(CODECS)) await check(`produce ${name}`, () => codec(name))
  await check('idempotent', () => codec('gzip', { idempotent: true, maxInFlightRequests: 1 }))
  for (const acks of [0, 1, -1]) {
    await check(`acks=${acks}`, async () => {
      const target = await topic('js-acks')
      await send(target, workload(50, Date.now()), { acks })
      assert.equal((await read(target, 0, 50)).length, 50)
    })
  }
  await check('keys, headers and nulls', async () => {
    const target = await topic('js-shapes')
    const sent = []
    for (const key of [null, '', '1']) for (const value of [null, '', '2']) sent.push({ key, value, headers: { a: ['', '2'] }, partition: 0 })
    await send(target, sent)
    const came = await read(target, 0, sent.length)
    const text = part => (part === null ? null : part.toString())
    assert.deepEqual(came.map(one => [text(one.key), text(one.value)]), sent.map(one => [one.key, one.value]))
    assert.deepEqual(came[0].headers.a.map(text), ['', '2'])
  })
  await check('fetch from start and offset, offsets of both ends', async () => {
    const target = await topic('js-positions')
    await send(target, workload(100, Date.now()))
    for (const offset of [0, 57, 99]) assert.equal((await read(target, offset, 1))[0].offset, String(offset))
    assert.deepEqual(await admin.fetchTopicOffsets(target), [{ partition: 0, offset: '100', high: '100', low: '0' }])
  })
  await check('an offset out of range', async () => {
    const target = await topic('js-range')
    await send(target, workload(10, Date.now()))
    await assert.rejects(read(target, 50, 1), { type: 'OFFSET_OUT_OF_RANGE' })
  })
  for (const name of Object.keys(CODECS)) {
    await check(`offsets by time in ${name}`, async () => {
      const target = await topic('js-times')
      const start = Date.now() - 100_000
      await send(target, workload(100, start), { compression: CODECS[name] })
      for (const offset of [0, 1, 50, 99]) {
        assert.deepEqual(await admin.fetchTopicOffsetsByTimestamp(target, start + offset), [{ partition: 0, offset: String(offset) }])
      }
    })
  }
  await check('a waiting fetch is woken', async () => {
    const target = await topic('js-waiting')
    const reading = read(target, 0, 1, { maxWaitTime: 10_000 })
    await new Promise(resolve => setTimeout(resolve, 1_000))
    const start = Date.now()
    await send(target, workload(1, start))
    await reading
    assert.ok(Date.now() - start < 2_000, `woken after ${Date.now() - start} ms`)
  })
  await check('create, describe and delete topics', async () => {
    const name = await topic('js-topics', 4)
    const { topics: [described] } = await admin.fetchTopicMetadata({ topics: [name] })
    assert.equal(described.partitions.length, 4)
    assert.ok((await admin.listTopics()).includes(name))
    assert.equal(await admin.createTopics({ topics: [{ topic: name }] }), false)
    await admin.deleteTopics({ topics: [name] })
    const deadline = Date.now() + (STRICT ? 0 : PATIENCE_MS)
    while ((await admin.listTopics()).includes(name)) assert.ok(Date.now() < deadline, 'it is still there')
  })
  await check('describe configs', async () => {
    const name = await topic('js-configs', 1, [{ name: 'max.message.bytes', value: '12345' }])
    const answer = await admin.describeConfigs({ includeSynonyms: false, resources: [{ type: ConfigResourceTypes.TOPIC, name }] })
    const entry = answer.resources[0].configEntries.find(one => one.configName === 'max.message.bytes')
    assert.equal(entry.configValue, '12345')
  })
  await check('alter configs, add partitions', async () => {
    const name = await topic('js-changes')
    const resource = { type: ConfigResourceTypes.TOPIC, name }
    await admin.alterConfigs({ validateOnly: false, resources: [{ ...resource, configEntries: [{ name: 'retention.ms', value: '1234' }] }] })
    await admin.createPartitions({ topicPartitions: [{ topic: name, count: 3 }] })
    await eventually(async () => {
      const answer = await admin.describeConfigs({ includeSynonyms: false, resources: [resource] })
      assert.equal(answer.resources[0].configEntries.find(one => one.configName === 'retention.ms').configValue, '1234')
      const { topics: [described] } = await admin.fetchTopicMetadata({ topics: [name] })
      assert.equal(described.partitions.length, 3)
    })
  })
  await check('records below an offset are deleted', async () => {
    const name = await topic('js-deleted')
    await send(name, [...Array(10).keys()].map(number => ({ value: String(number), partition: 0 })))
    // kafkajs looks for the leader of a topic that it knows already.
    await admin.fetchTopicOffsets(name)
    await admin.deleteTopicRecords({ topic: name, partitions: [{ partition: 0, offset: '4' }] })
    const [{ low, high }] = await admin.fetchTopicOffsets(name)
    assert.deepEqual([low, high], ['4', '10'])
    await assert.rejects(admin.deleteTopicRecords({ topic: name, partitions: [{ partition: 0, offset: '11' }] }))
  })
  await check('without an authorizer there are no ACLs', () => assert.rejects(admin.describeAcls({
    resourceType: AclResourceTypes.ANY, resourcePatternType: ResourcePatternTypes.ANY, operation: AclOperationTypes.ANY,
    permissionType: AclPermissionTypes.ANY,
  }), { type: 'SECURITY_DISABLED' }))
  await check('a partition is reassigned to where it is', async () => {
    const name = await topic('js-reassigned')
    const { brokers: [{ nodeId }] } = await admin.describeCluster()
    await admin.alterPartitionReassignments({ topics: [{ topic: name, partitionAssignment: [{ partition: 0, replicas: [nodeId] }] }] })
    await eventually(async () => {
      const { topics: moving } = await admin.listPartitionReassignments({ topics: [{ topic: name, partitions: [0] }] })
      assert.deepEqual(moving, [])
    })
  })
  await groups.checks({ kafka, admin, check, topic, send })
  await check('describe cluster', async () => {
    const { brokers, clusterId } = await admin.describeCluster()
    assert.equal(brokers.length, 1)
    assert.ok(clusterId)
  })
  await admin.disconnect()
  console.log(`${passed} passed, ${failed} failed`)
  process.exit(failed === 0 ? 0 : 1)
}

main().catch(error => {
  console.log(`FAILED  kafkajs: ${error.stack}`)
  process.exit(1)
})

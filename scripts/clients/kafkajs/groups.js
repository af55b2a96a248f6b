// Consumer groups of kafkajs: members that share, leave and come after each other; what its admin client sees. Called by suite.js.
'use strict'

const { PartitionAssigners } = require('kafkajs')
const assert = require('node:assert/strict')

const PARTITIONS = 6
const PATIENCE_MS = 60_000

async function until(condition, what) {
  const deadline = Date.now() + PATIENCE_MS
  while (!(await condition())) {
    assert.ok(Date.now() < deadline, `${what}: not in time`)
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}

// A running member: what it read, and what it is assigned now.
async function member(kafka, groupId, topic) {
  const consumer = kafka.consumer({
    groupId, sessionTimeout: 10_000, heartbeatInterval: 300, rebalanceTimeout: 10_000, maxWaitTimeInMs: 200,
    partitionAssigners: [PartitionAssigners.roundRobin],
  })
  const one = { consumer, read: [], assigned: [] }
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => { one.assigned = payload.memberAssignment[topic] ?? [] })
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  await consumer.run({
    autoCommitInterval: 100,
    eachMessage: async ({ partition, message }) => { one.read.push(`${partition}:${message.offset}`) },
  })
  return one
}

const sorted = several => [...several].sort()

const offsets = (from, to) => {
  const all = []
  for (let partition = 0; partition < PARTITIONS; partition++) {
    for (let offset = from; offset < to; offset++) all.push(`${partition}:${offset}`)
  }
  return all.sort()
}

exports.checks = async ({ kafka, admin, check, topic, send }) => {
  const fresh = prefix => `${prefix}-${process.pid}-${Date.now().toString(36)}`
  const fill = (name, perPartition) => {
    const messages = []
    for (let partition = 0; partition < PARTITIONS; partition++) {
      for (let number = 0; number < perPartition; number++) messages.push({ value: String(number), partition })
    }
    // A retry must not write them twice: they are counted by their offsets.
    return send(name, messages, { idempotent: true, maxInFlightRequests: 1 })
  }
  const committed = async (groupId, name) => {
    const [told] = await admin.fetchOffsets({ groupId, topics: [name] })
    return told.partitions.map(one => one.offset)
  }

  await check('a classic group: members share, leave, and who comes later goes on', async () => {
    const name = await topic('js-shared', PARTITIONS)
    const groupId = fresh('js-shared')
    await fill(name, 10)
    const first = await member(kafka, groupId, name)
    await until(() => first.read.length >= 60, 'one member')
    assert.deepEqual(sorted(first.read), offsets(0, 10))
    const second = await member(kafka, groupId, name)
    await until(() => first.assigned.length === 3 && second.assigned.length === 3, 'two members')
    assert.deepEqual(sorted([...first.assigned, ...second.assigned]), [0, 1, 2, 3, 4, 5])
    await fill(name, 5)
    const fromHere = () => sorted(new Set([...first.read, ...second.read])).filter(one => Number(one.split(':')[1]) >= 10)
    await until(() => fromHere().length === 30, 'what two members read')
    assert.deepEqual(fromHere(), offsets(10, 15))
    assert.ok(second.read.length > 0, 'the second member read nothing')
    await second.consumer.disconnect()
    await until(() => first.assigned.length === PARTITIONS, 'one member again')
    await first.consumer.disconnect()
    assert.deepEqual(await committed(groupId, name), Array(PARTITIONS).fill('15'))
    await fill(name, 1)
    const third = await member(kafka, groupId, name)
    await until(() => third.read.length >= PARTITIONS, 'a later member')
    assert.deepEqual(sorted(third.read), offsets(15, 16))
    await third.consumer.disconnect()
  })

  await check('groups are listed, described and deleted, offsets set and reset', async () => {
    const name = await topic('js-groups', PARTITIONS)
    const groupId = fresh('js-groups')
    await fill(name, 10)
    const partitions = Array.from({ length: PARTITIONS }, (_, partition) => ({ partition, offset: '7' }))
    await admin.setOffsets({ groupId, topic: name, partitions })
    assert.deepEqual(await committed(groupId, name), Array(PARTITIONS).fill('7'))
    const one = await member(kafka, groupId, name)
    await until(() => one.read.length >= 18, 'what is read from the offsets that were set')
    assert.deepEqual(sorted(one.read), offsets(7, 10))
    const { groups: listed } = await admin.listGroups()
    assert.deepEqual(listed.find(group => group.groupId === groupId), { groupId, protocolType: 'consumer' })
    const { groups: [described] } = await admin.describeGroups([groupId])
    assert.deepEqual([described.state, described.protocol, described.members.length], ['Stable', 'RoundRobinAssigner', 1])
    await one.consumer.disconnect()
    await admin.resetOffsets({ groupId, topic: name, earliest: true })
    // This client commits what stands for the earliest offset in its protocol.
    assert.deepEqual(await committed(groupId, name), Array(PARTITIONS).fill('-2'))
    await admin.deleteGroups([groupId])
    const left = (await admin.listGroups()).groups.map(group => group.groupId)
    assert.ok(!left.includes(groupId), 'it is still listed')
  })
}

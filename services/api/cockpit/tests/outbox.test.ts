import 'fake-indexeddb/auto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ApiError } from '../src/api/client'
import type { Move, Order, OrderDetail, OrderState } from '../src/api/types'
import { predict } from '../src/phone/outbox/predict'
import type { Ports } from '../src/phone/outbox/send'
import { mine, sendAll, stillMeant, waitMs } from '../src/phone/outbox/send'
import type { Db } from '../src/phone/outbox/store'
import { all, filesOf, openStore, put, remove } from '../src/phone/outbox/store'
import type { Entry, NewEntry, Sent } from '../src/phone/outbox/types'
import { fitted } from '../src/phone/lib/image'
import { routeOf } from '../src/phone/lib/route'
import { byNeed, partOf } from '../src/phone/lib/orders'
import { order as plainOrder } from './fixtures/snapshot'

const NEXT: Partial<Record<OrderState, { move: Move; to: OrderState }>> = {
  dispatched: { move: 'accept', to: 'accepted' },
  accepted: { move: 'arrive', to: 'arrived' },
  arrived: { move: 'resolve', to: 'resolved' },
}
const detail = (id: string, more: Partial<OrderDetail> = {}): OrderDetail => ({
  ...plainOrder(id, { moves: ['accept', 'return', 'note'] }),
  assignee_id: null,
  history: [],
  ...more,
})

/** As services/adapters/orders does it: a key that is known changes nothing, another version is a conflict. */
class Server {
  readonly orders = new Map<string, OrderDetail>()
  readonly keys = new Set<string>()
  /** What was carried out, in order. */
  readonly done: string[] = []
  calls = 0

  constructor(ids: readonly string[]) {
    for (const id of ids) this.orders.set(id, detail(id))
  }

  order(id: string): OrderDetail {
    const found = this.orders.get(id)
    if (!found) throw new ApiError(404, { title: 'Not Found', status: 404, detail: '' })
    return found
  }

  /** The system warns of a deadline: nothing that a person on the way would care about. */
  warn(id: string): void {
    const one = this.order(id)
    this.orders.set(id, { ...one, version: one.version + 1 })
  }

  taken(id: string, by: string): void {
    const one = this.order(id)
    this.orders.set(id, {
      ...one,
      version: one.version + 1,
      state: 'accepted',
      assignee_id: by,
      assignee: by,
      moves: ['note'],
    })
  }

  take(entry: Entry, version: number): Sent {
    this.calls += 1
    const { act, key } = entry
    if (act.kind === 'report') {
      if (!this.keys.has(key)) this.done.push(`report ${key}`)
      this.keys.add(key)
      return {}
    }
    const before = this.order(act.order)
    if (this.keys.has(key)) return { order: before as Order }
    if (act.kind === 'evidence') {
      this.keys.add(key)
      this.done.push(`${act.order} photo`)
      this.orders.set(act.order, { ...before, version: before.version + 1 })
      return {}
    }
    if (version !== before.version) {
      throw new ApiError(409, { title: 'Conflict', status: 409, detail: '版本', current: before as Order })
    }
    const next = NEXT[before.state]
    if (!next || next.move !== act.body.move) {
      throw new ApiError(422, {
        title: 'Unprocessable',
        status: 422,
        detail: '不能',
        errors: [{ code: 'state' }],
      })
    }
    this.keys.add(key)
    this.done.push(`${act.order} ${act.body.move}`)
    const after = NEXT[next.to]
    const order: OrderDetail = {
      ...before,
      state: next.to,
      version: before.version + 1,
      assignee_id: entry.account,
      moves: after ? [after.move, 'note'] : ['note'],
    }
    this.orders.set(act.order, order)
    return { order: order as Order }
  }
}

let db: Db
let names = 0
beforeEach(async () => {
  db = await openStore(`test-${(names += 1)}`)
})
afterEach(() => db.close())

let keys = 0
const key = () => `key-${(keys += 1)}`
const head = (id: string, account: string | null = 'me') => ({
  key: key(),
  account,
  accountName: 'Me',
  lane: `order:${id}`,
  about: id,
  madeAt: 0,
})
/** `basis`: what the person saw, acts that waited included. */
const moveOf = (id: string, move: Move, state: OrderState, version = 2, account = 'me'): NewEntry => ({
  ...head(id, account),
  act: {
    kind: 'move',
    order: id,
    body: { move, version },
    basis: { state, assignee_id: state === 'dispatched' ? null : account },
  },
})
const photoOf = (id: string): NewEntry => ({
  ...head(id),
  act: { kind: 'evidence', order: id, sort: 'photo', phase: 'after', takenAt: '2026-11-22T02:00:00Z' },
})
const FILE = { name: 'a.jpg', type: 'image/jpeg', bytes: new Uint8Array([1, 2, 3]).buffer }

async function fourSteps(id: string): Promise<void> {
  await put(db, moveOf(id, 'accept', 'dispatched'))
  await put(db, moveOf(id, 'arrive', 'accepted'))
  await put(db, photoOf(id), [FILE])
  await put(db, moveOf(id, 'resolve', 'arrived'))
}
const STEPS = (id: string) => [`${id} accept`, `${id} arrive`, `${id} photo`, `${id} resolve`]
const ports = (server: Server, more: Partial<Ports> = {}): Ports => ({
  account: 'me',
  send: (entry, version) => Promise.resolve().then(() => server.take(entry, version)),
  ...more,
})
const unreachable = () => new ApiError(0, { title: 'unreachable', status: 0, detail: '' })
const refusal = (status: number) => new ApiError(status, { title: `${status}`, status, detail: `${status}` })

describe('the outbox', () => {
  it('sends the four steps in order, at the version each answer brought', async () => {
    const server = new Server(['a'])
    await fourSteps('a')
    expect(await sendAll(db, ports(server))).toBe('empty')
    expect(server.done).toEqual(STEPS('a'))
    expect(await all(db)).toEqual([])
    expect(await db.getAll('files')).toEqual([])
  })

  it('keeps files with their act and lets them go together', async () => {
    const kept = await put(db, photoOf('a'), [FILE])
    const [file] = await filesOf(db, kept)
    expect([...new Uint8Array(file?.bytes ?? new ArrayBuffer(0))]).toEqual([1, 2, 3])
    await remove(db, kept)
    expect(await filesOf(db, kept)).toEqual([])
  })

  it('stops at a dead network and loses nothing', async () => {
    await fourSteps('a')
    expect(await sendAll(db, ports(new Server(['a']), { send: () => Promise.reject(unreachable()) }))).toBe(
      'network',
    )
    const left = await all(db)
    expect(left.map((entry) => [entry.state, entry.tries])).toEqual([
      ['waiting', 1],
      ['waiting', 0],
      ['waiting', 0],
      ['waiting', 0],
    ])
  })

  it('goes on after a warning raised the version, and never when somebody else took it', async () => {
    const server = new Server(['a', 'b'])
    await put(db, moveOf('a', 'accept', 'dispatched'))
    await put(db, moveOf('b', 'accept', 'dispatched'))
    await put(db, moveOf('b', 'arrive', 'accepted'))
    server.warn('a')
    server.warn('a')
    server.taken('b', 'other')
    expect(await sendAll(db, ports(server))).toBe('blocked')
    expect(server.done).toEqual(['a accept'])
    const left = await all(db)
    expect(left.map((entry) => [entry.lane, entry.state])).toEqual([
      ['order:b', 'conflict'],
      ['order:b', 'waiting'],
    ])
    expect(left[0]?.problem?.current?.assignee).toBe('other')
    // It stays so until the person has decided.
    expect(await sendAll(db, ports(server))).toBe('blocked')
    expect(server.done).toEqual(['a accept'])
  })

  it.each([
    [401, 'login'],
    [412, 'account'],
    [429, 'busy'],
    [503, 'busy'],
    [507, 'busy'],
  ] as const)('keeps everything waiting on %i and says why', async (status, ending) => {
    await fourSteps('a')
    expect(await sendAll(db, ports(new Server(['a']), { send: () => Promise.reject(refusal(status)) }))).toBe(
      ending,
    )
    expect((await all(db)).every((entry) => entry.state === 'waiting')).toBe(true)
  })

  it.each([400, 403, 404, 413, 415, 422])(
    'gives %i to the person, and the next order does not wait',
    async (status) => {
      const server = new Server(['b'])
      await put(db, moveOf('a', 'accept', 'dispatched'))
      await put(db, moveOf('b', 'accept', 'dispatched'))
      const send = (entry: Entry, version: number) =>
        entry.lane === 'order:a'
          ? Promise.reject(refusal(status))
          : Promise.resolve(server.take(entry, version))
      expect(await sendAll(db, ports(server, { send }))).toBe('blocked')
      expect(server.done).toEqual(['b accept'])
      expect((await all(db)).map((entry) => [entry.state, entry.problem?.status])).toEqual([
        ['conflict', status],
      ])
    },
  )

  it('never sends what somebody else did on this phone', async () => {
    const server = new Server(['a', 'b'])
    await put(db, moveOf('a', 'accept', 'dispatched', 2, 'before'))
    await put(db, moveOf('b', 'accept', 'dispatched'))
    expect(await sendAll(db, ports(server))).toBe('blocked')
    expect(server.done).toEqual(['b accept'])
    expect(await sendAll(db, ports(server, { account: null }))).toBe('blocked')
    expect(server.done).toEqual(['b accept'])
    expect(await sendAll(db, ports(server, { account: 'before' }))).toBe('empty')
    expect(server.done).toEqual(['b accept', 'a accept'])
  })

  it('sends a report by nobody in particular whoever is logged in', () => {
    const entry = { account: null } as Entry
    expect([mine(entry, null), mine(entry, 'me'), mine({ account: 'me' } as Entry, null)]).toEqual([
      true,
      true,
      false,
    ])
  })

  it('asks again only for what still is what it was', () => {
    const { act } = moveOf('a', 'accept', 'dispatched')
    if (act.kind !== 'move') throw new Error('a move')
    const now = detail('a') as Order
    expect(stillMeant(act, now, 'me')).toBe(true)
    expect(stillMeant(act, { ...now, state: 'accepted' }, 'me')).toBe(false)
    expect(stillMeant(act, { ...now, assignee_id: 'other' }, 'me')).toBe(false)
    expect(stillMeant(act, { ...now, moves: [] }, 'me')).toBe(false)
  })

  it('waits longer each time, never longer than a minute', () => {
    expect(waitMs(0, 1)).toBe(2000)
    expect(waitMs(3, 0)).toBe(8000)
    expect(waitMs(50, 1)).toBe(60_000)
  })
})

/** A small generator with a seed: what fails can be seen again. */
function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9) | 0
    let mixed = Math.imul(state ^ (state >>> 12), 0x297a2d39)
    mixed ^= mixed >>> 15
    return (mixed >>> 0) / 2 ** 32
  }
}

class Killed extends Error {}

describe('whatever the network and the battery do', () => {
  const seeds = Array.from({ length: Number(process.env.LINHUB_OUTBOX_SEEDS ?? 60) }, (_, index) => index + 1)
  it.each(seeds)('each act happens once and in order (seed %i)', async (seed) => {
    const dice = random(seed)
    const ids = ['a', 'b', 'c']
    const server = new Server(ids)
    const stolen = new Set<string>()
    const queue = new Map(ids.map((id) => [id, 0]))
    const makers = (id: string): [NewEntry, (typeof FILE)[]][] => [
      [moveOf(id, 'accept', 'dispatched'), []],
      [moveOf(id, 'arrive', 'accepted'), []],
      [photoOf(id), [FILE]],
      [moveOf(id, 'resolve', 'arrived'), []],
    ]
    const plans = new Map(ids.map((id) => [id, makers(id)]))
    const send = async (entry: Entry, version: number): Promise<Sent> => {
      const fate = dice()
      if (fate < 0.15) throw unreachable()
      if (fate < 0.2) throw refusal(503)
      if (fate < 0.25) throw refusal(401)
      if (fate < 0.3) throw new Killed()
      const sent = server.take(entry, version)
      // Carried out, and nobody here hears of it.
      if (fate < 0.45) throw unreachable()
      if (fate < 0.55) throw new Killed()
      return sent
    }
    const round = async (): Promise<void> => {
      try {
        await sendAll(db, ports(server, { send }))
      } catch (error) {
        if (!(error instanceof Killed)) throw error
        // The tab is gone; another one opens the same store.
        const { name } = db
        db.close()
        db = await openStore(name)
      }
    }
    for (let turn = 0; turn < 60; turn += 1) {
      const id = ids[Math.floor(dice() * ids.length)] ?? 'a'
      const fate = dice()
      const at = queue.get(id) ?? 0
      const plan = plans.get(id)?.[at]
      if (fate < 0.4 && plan) {
        await put(db, ...plan)
        queue.set(id, at + 1)
      } else if (fate < 0.5) {
        server.warn(id)
      } else if (fate < 0.53 && server.order(id).state === 'dispatched') {
        server.taken(id, 'other')
        stolen.add(id)
      } else if (fate < 0.9) {
        // Sometimes two tabs at once.
        await Promise.all(
          dice() < 0.3 ? [round(), round()].map((one) => one.catch(swallowClosed)) : [round()],
        )
      }
    }
    for (const id of ids) {
      for (const plan of plans.get(id)?.slice(queue.get(id)) ?? []) await put(db, ...plan)
    }
    // The network is good in the end.
    await sendAll(db, ports(server))
    await sendAll(db, ports(server))
    for (const id of ids) {
      const done = server.done.filter((line) => line.startsWith(`${id} `))
      if (!stolen.has(id)) expect(done).toEqual(STEPS(id))
      else expect(done).toEqual([])
    }
    const left = await all(db)
    expect(new Set(left.map((entry) => entry.lane))).toEqual(new Set([...stolen].map((id) => `order:${id}`)))
    for (const id of stolen)
      expect(left.find((entry) => entry.lane === `order:${id}`)?.state).toBe('conflict')
  })

  function swallowClosed(error: unknown): void {
    // Of two tabs in one process, the kill of one closes the database under the other: it dies as well.
    if (error instanceof DOMException) return
    throw error
  }
})

describe('what is shown before it is sent', () => {
  const waits = async (...entries: [NewEntry, (typeof FILE)[]?][]): Promise<Entry[]> => {
    for (const [entry, files] of entries) await put(db, entry, files)
    return all(db)
  }

  it('is the order as it will stand, with the next step', async () => {
    const order = detail('a', {
      order_class: { id: 'x', pause_reasons: [], pause_longest_s: 0, needs: { resolve: ['photo_after'] } },
    })
    const accepted = predict(order, await waits([moveOf('a', 'accept', 'dispatched')]), 'me')
    expect([accepted.state, accepted.moves[0], accepted.assignee_id, accepted.pending]).toEqual([
      'accepted',
      'arrive',
      'me',
      1,
    ])
    const arrived = predict(order, await waits([moveOf('a', 'arrive', 'accepted')]), 'me')
    expect([arrived.state, arrived.moves[0], arrived.needs?.resolve]).toEqual([
      'arrived',
      'resolve',
      ['photo_after'],
    ])
    const shot = predict(order, await waits([photoOf('a'), [FILE]]), 'me')
    expect([shot.photos_after, shot.needs?.resolve]).toEqual([1, []])
    const resolved = predict(order, await waits([moveOf('a', 'resolve', 'arrived')]), 'me')
    expect([resolved.state, resolved.pending, resolved.due]).toEqual(['resolved', 4, null])
  })

  it('is the order as the server has it while something was refused', async () => {
    const [entry] = await waits([moveOf('a', 'accept', 'dispatched')])
    const shown = predict(detail('a'), entry ? [{ ...entry, state: 'conflict' }] : [], 'me')
    expect([shown.state, shown.conflict?.seq, shown.pending]).toEqual(['dispatched', entry?.seq, 1])
  })

  it('has nothing to do with other orders', async () => {
    expect(predict(detail('b'), await waits([moveOf('a', 'accept', 'dispatched')]), 'me')).toMatchObject({
      pending: 0,
      state: 'dispatched',
    })
  })
})

describe('my orders', () => {
  const me = { id: 'me', team: 'patrol', role: 'staff' } as const

  it('are told apart by whose turn it is', () => {
    const of = (more: Partial<OrderDetail>) => partOf(detail('a', more), me)
    expect(of({})).toBe('offered')
    expect(of({ moves: ['note'] })).toBe('team')
    expect(of({ moves: ['note'], team: 'cleaning' })).toBeNull()
    expect(of({ state: 'accepted', assignee_id: 'me', moves: ['arrive'] })).toBe('mine')
    expect(of({ state: 'paused', assignee_id: 'me', team: 'cleaning', moves: ['resume'] })).toBe('mine')
    expect(of({ state: 'accepted', assignee_id: 'other', moves: [] })).toBe('team')
    expect(of({ state: 'resolved', assignee_id: 'me', moves: ['note'] })).toBe('done')
    expect(of({ state: 'resolved', assignee_id: 'other', moves: ['verify'] })).toBe('check')
    expect(of({ state: 'closed', assignee_id: 'me', moves: [] })).toBeNull()
  })

  it('have the gravest first, then what is due first', () => {
    const list = [
      detail('minor', { severity: 'minor', due: '2026-11-22T02:00:00Z' }),
      detail('later', { severity: 'critical', due: '2026-11-22T03:00:00Z' }),
      detail('sooner', { severity: 'critical', due: '2026-11-22T02:30:00Z' }),
      detail('never', { severity: 'critical', due: null }),
    ]
    expect(list.sort(byNeed).map((one) => one.id)).toEqual(['sooner', 'later', 'never', 'minor'])
  })
})

it('knows its own paths', () => {
  expect(routeOf('/m/')).toEqual({ name: 'home' })
  expect(routeOf('/m')).toEqual({ name: 'home' })
  expect(routeOf('/m/o/1-2')).toEqual({ name: 'order', id: '1-2' })
  expect(routeOf('/m/r/9')).toEqual({ name: 'follow', id: '9' })
  expect(routeOf('/m/report')).toEqual({ name: 'report' })
  expect(routeOf('/m/nothing')).toEqual({ name: 'home' })
})

it('makes pictures smaller and never larger', () => {
  expect(fitted(4000, 3000)).toEqual([1600, 1200])
  expect(fitted(300, 4000)).toEqual([120, 1600])
  expect(fitted(640, 480)).toEqual([640, 480])
})

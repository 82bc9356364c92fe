/** The orders that concern whoever holds this phone: from the phone at once, from the server when it answers, and live. */
import { computed, ref, shallowRef } from 'vue'
import { ApiError, api, call } from '../../api/client'
import type { Order, OrderDetail, Page, StreamEvent, Snapshot, User } from '../../api/types'
import { rank } from '../../lib/severity'
import type { LinkStatus, Source } from '../../live/link'
import { Link } from '../../live/link'
import { isEnded } from '../../live/state'
import { STALE_AFTER_S } from '../../live/useLive'
import { takeTurns } from '../../live/turns'
import { store, useOutbox } from '../outbox/outbox'
import type { Predicted } from '../outbox/predict'
import { predict } from '../outbox/predict'
import { useSession } from './session'

/** Opened beforehand, so that they can be read and worked on in a cellar. */
const AHEAD = 20
const CHECKERS: ReadonlySet<string> = new Set(['grid', 'desk', 'street', 'admin'])

const session = useSession()
const outbox = useOutbox()
const known = shallowRef<ReadonlyMap<string, OrderDetail>>(new Map())
const status = ref<LinkStatus>('connecting')
const listed = ref(false)
const listedAt = ref<number | null>(null)
const now = ref(Date.now())
const offset = ref(0)
const news = new Set<(order: Order) => void>()
let link: Link | null = null
let leave: (() => void) | null = null

/** The server's clock, as far as this page knows it. */
const serverNow = computed(() => now.value + offset.value)

export type Part = 'offered' | 'mine' | 'team' | 'check' | 'done'

export function partOf(order: OrderDetail, user: Pick<User, 'id' | 'team' | 'role'>): Part | null {
  if (isEnded(order.state)) return null
  const own = order.assignee_id === user.id
  if (order.state === 'dispatched') {
    if (own || order.moves.includes('accept')) return 'offered'
    return order.team === user.team ? 'team' : null
  }
  if (order.state === 'resolved' || order.state === 'verified') {
    if (order.moves.includes('verify') || order.moves.includes('close')) return 'check'
    return own ? 'done' : null
  }
  if (own) return 'mine'
  return order.team === user.team ? 'team' : null
}

/** The gravest first, then what is due first, then the oldest. */
export function byNeed(a: OrderDetail, b: OrderDetail): number {
  const due = (order: OrderDetail) => (order.due === null ? Infinity : Date.parse(order.due))
  return (
    rank(b.severity) - rank(a.severity) || (due(a) === due(b) ? 0 : due(a) - due(b)) || a.number - b.number
  )
}

const shown = computed((): ReadonlyMap<string, Predicted> => {
  const who = session.user.value
  if (!who) return new Map()
  const own = outbox.own.value
  return new Map([...known.value].map(([id, order]) => [id, predict(order, own, who.id)]))
})

const parts = computed(() => {
  const found: Record<Part, Predicted[]> = { offered: [], mine: [], team: [], check: [], done: [] }
  const who = session.user.value
  if (!who) return found
  for (const order of shown.value.values()) {
    const part = partOf(order, who)
    if (part) found[part].push(order)
    // What was refused stays in sight, wherever the order has gone.
    else if (order.conflict) found.mine.push(order)
  }
  for (const list of Object.values(found)) list.sort(byNeed)
  return found
})

async function put(order: OrderDetail): Promise<void> {
  const who = session.user.value
  if (!who) return
  // Answers overtake each other on a slow line: what an older one says, is over.
  if ((known.value.get(order.id)?.version ?? 0) > order.version) return
  const next = new Map(known.value)
  next.set(order.id, order)
  known.value = next
  await (await store()).put('orders', { account: who.id, id: order.id, order: plain(order) })
}

function plain<T>(value: T): T {
  return JSON.parse(JSON.stringify(value)) as T
}

/** What a list tells, over what one order opened has told. */
function merged(order: Order): OrderDetail {
  const before = known.value.get(order.id)
  if (before && before.version > order.version) return before
  return { ...(before ?? { history: [] }), ...order } as OrderDetail
}

/** Raises ApiError. */
async function open(id: string): Promise<OrderDetail> {
  const order = await api.order(id)
  await put(order)
  return order
}

async function list(): Promise<void> {
  const who = session.user.value
  const where = session.community.value
  if (!who || !where) return
  const base = `/communities/${encodeURIComponent(where.id)}/orders?limit=100`
  const asked = [`${base}&assignee=me`]
  if (who.team) asked.push(`${base}&team=${who.team}`)
  if (CHECKERS.has(who.role)) asked.push(`${base}&state=resolved`)
  const pages = await Promise.all(asked.map((path) => call<Page<Order>>('GET', path)))
  const found = new Map(pages.flatMap((page) => page.items).map((order) => [order.id, order]))
  const before = known.value
  const next = new Map<string, OrderDetail>()
  for (const order of found.values()) {
    next.set(order.id, merged(order))
    if (listed.value && !before.has(order.id)) tell(order)
  }
  // An order with acts that wait stays in sight whatever has become of it.
  const waits = new Set(outbox.own.value.map((entry) => entry.lane))
  for (const order of before.values())
    if (waits.has(`order:${order.id}`) && !next.has(order.id)) next.set(order.id, order)
  known.value = next
  listed.value = true
  listedAt.value = Date.now()
  const db = await store()
  const tx = db.transaction('orders', 'readwrite')
  await tx.store.clear()
  for (const order of next.values()) void tx.store.put({ account: who.id, id: order.id, order: plain(order) })
  await tx.done
  await db.put('meta', listedAt.value, 'listedAt')
  await openAhead([...next.values()], before)
}

async function openAhead(orders: OrderDetail[], before: ReadonlyMap<string, OrderDetail>): Promise<void> {
  const who = session.user.value
  if (!who) return
  const wanted = orders
    .filter((order) => ['offered', 'mine'].includes(partOf(order, who) ?? ''))
    .filter((order) => !order.order_class || before.get(order.id)?.version !== order.version)
    .sort(byNeed)
    .slice(0, AHEAD)
  for (const order of wanted) await open(order.id)
}

/** Each is told of once, and again after it came back, whether the list or the stream brought it. */
const toldOf = new Set<string>()

/** A new order that I am asked to take. */
function tell(order: Order): void {
  const mark = [order.id, order.returns, order.reworks].join()
  if (toldOf.has(mark)) return
  toldOf.add(mark)
  if (order.state === 'dispatched' && order.moves.includes('accept'))
    for (const listener of news) listener(order)
}

/** Changes of one turn are asked for once. */
const changed = new Set<string>()
let asking: ReturnType<typeof setTimeout> | undefined

function hear(event: StreamEvent): void {
  if (event.type === 'hello' || event.type === 'hb') {
    offset.value = Date.parse(event.data.at) - Date.now()
    if (event.type === 'hello') void quietly(list())
    return
  }
  if (event.type !== 'order') return
  const order = event.data
  const who = session.user.value
  const before = known.value.get(order.id)
  const concerns = before !== undefined || order.team === who?.team || order.assignee_id === who?.id
  if (!concerns || (before && before.version >= order.version)) return
  changed.add(order.id)
  clearTimeout(asking)
  // The stream speaks to a whole class of readers; what *I* may do is told by the order itself.
  asking = setTimeout(() => {
    const ids = [...changed]
    changed.clear()
    for (const id of ids) void quietly(reopen(id))
  }, 150)
}

async function reopen(id: string): Promise<void> {
  const fresh = !known.value.has(id)
  const order = await open(id)
  if (fresh) tell(order)
  if (isEnded(order.state)) drop(id)
}

function drop(id: string): void {
  if (outbox.own.value.some((entry) => entry.lane === `order:${id}`)) return
  const next = new Map(known.value)
  next.delete(id)
  known.value = next
}

async function quietly(work: Promise<unknown>): Promise<void> {
  try {
    await work
  } catch (error) {
    if (!(error instanceof ApiError)) throw error
    if (error.status === 401) session.expire()
  }
}

async function fromPhone(): Promise<void> {
  const who = session.user.value
  if (!who) return
  const db = await store()
  const kept = await db.getAllFromIndex('orders', 'account', who.id)
  // How old what lies on the phone is: shown with it until the server has answered.
  listedAt.value ??= ((await db.get('meta', 'listedAt')) as number | undefined) ?? null
  if (known.value.size === 0) known.value = new Map(kept.map((one) => [one.id, one.order]))
}

async function begin(): Promise<void> {
  const where = session.community.value
  await fromPhone()
  if (!where || link) return
  const made = new Link(
    {
      // Two hundred bytes that say whether the session stands; the list comes with the stream's first word.
      snapshot: async () => {
        await api.me()
        return { cursor: -1 } as unknown as Snapshot
      },
      open: () => new EventSource(api.streamUrl(where.id, 0).replace(/\?.*$/, '')) as unknown as Source,
      now: Date.now,
      after: (ms, run) => {
        const timer = setTimeout(run, ms)
        return () => clearTimeout(timer)
      },
      random: Math.random,
    },
    {
      onSnapshot: () => undefined,
      onEvent: hear,
      onStatus: (value) => (status.value = value),
      onRefused: () => session.expire(),
    },
    STALE_AFTER_S * 1000,
  )
  link = made
  // Each notice that is tapped opens a tab of its own, and a browser has six connections for all of them.
  leave = takeTurns(where.id, { take: () => made.start(), rest: () => made.stop() })
}

/** When somebody else logs in, or nobody is. */
function end(): void {
  leave?.()
  leave = null
  link?.stop()
  link = null
  known.value = new Map()
  listed.value = false
  listedAt.value = null
  status.value = 'connecting'
}

outbox.onSent((entry, sent) => {
  if (sent.order) {
    const order = sent.order
    void put(merged(order)).then(() => quietly(reopen(order.id)))
  } else if ('order' in entry.act) void quietly(reopen(entry.act.order))
})

if (typeof addEventListener !== 'undefined') {
  setInterval(() => (now.value = Date.now()), 1000)
  addEventListener('online', () => link?.hurry())
  document.addEventListener('visibilitychange', () => {
    if (document.visibilityState === 'visible') link?.hurry()
  })
  document.addEventListener('resume', () => link?.hurry())
}

export function useOrders() {
  return {
    shown,
    parts,
    status,
    listed,
    listedAt,
    serverNow,
    begin,
    end,
    open,
    list: () => quietly(list()),
    /** A new order that I am asked to take. */
    onNews: (listener: (order: Order) => void) => {
      news.add(listener)
      return () => news.delete(listener)
    },
  }
}

/** What a list of orders says about time: how long is left, how near the breach is, what comes first. */
import type { Alert, DueFor, Move, Order } from '../api/types'
import { rank } from './severity'

export type Pressure = 'none' | 'calm' | 'soon' | 'over'

/** The last quarter of the allowed time is amber. */
export const SOON_SHARE = 0.25

function phaseStart(order: Order, phase: DueFor): string {
  switch (phase) {
    case 'accept':
      return order.dispatched_at ?? order.created_at
    case 'arrive':
      return order.accepted_at ?? order.dispatched_at ?? order.created_at
    case 'resolve':
      return order.arrived_at ?? order.accepted_at ?? order.created_at
    case 'verify':
      return order.resolved_at ?? order.created_at
  }
}

export function leftMs(order: Order, nowMs: number): number | null {
  return order.due === null ? null : Date.parse(order.due) - nowMs
}

export function pressure(order: Order, nowMs: number): Pressure {
  const left = leftMs(order, nowMs)
  if (left === null || order.due === null) return 'none'
  if (left <= 0) return 'over'
  const start = Date.parse(phaseStart(order, order.due_for ?? 'resolve'))
  const allowed = Date.parse(order.due) - start
  return left <= allowed * SOON_SHARE ? 'soon' : 'calm'
}

const PRESSURE_RANK: Record<Pressure, number> = { over: 3, soon: 2, calm: 1, none: 0 }

/** Breached first, then the worst, then what is due next, then the oldest. */
export function sortOrders(orders: Iterable<Order>, nowMs: number): Order[] {
  const keyed = Array.from(orders, (order) => ({
    order,
    over: PRESSURE_RANK[pressure(order, nowMs)] === 3 ? 1 : 0,
    due: order.due === null ? Infinity : Date.parse(order.due),
  }))
  keyed.sort(
    (a, b) =>
      b.over - a.over ||
      rank(b.order.severity) - rank(a.order.severity) ||
      (a.due === b.due ? 0 : a.due - b.due) ||
      a.order.number - b.order.number,
  )
  return keyed.map((item) => item.order)
}

/** Worst first, then the newest. */
export function sortAlerts(alerts: Iterable<Alert>): Alert[] {
  return [...alerts].sort(
    (a, b) => rank(b.severity) - rank(a.severity) || Date.parse(b.fired_at) - Date.parse(a.fired_at),
  )
}

export type Field = 'reason' | 'note' | 'place' | 'team'

/** What a move asks of the person; `must`: it is not sent without. */
export const MOVE_FIELDS: Partial<Record<Move, { field: Field; must: boolean }>> = {
  arrive: { field: 'place', must: false },
  resolve: { field: 'note', must: true },
  verify: { field: 'note', must: false },
  close: { field: 'note', must: false },
  return: { field: 'reason', must: true },
  pause: { field: 'reason', must: true },
  reopen: { field: 'reason', must: true },
  cancel: { field: 'reason', must: true },
  false_alarm: { field: 'reason', must: true },
  escalate: { field: 'reason', must: false },
  transfer: { field: 'team', must: true },
  dispatch: { field: 'team', must: false },
}

const FORWARD: readonly Move[] = ['accept', 'arrive', 'resolve', 'verify', 'close', 'resume', 'dispatch']
/** Moves a button can carry; the others are made by the system or need another order. */
const SIDEWAYS: readonly Move[] = [
  'return',
  'transfer',
  'pause',
  'escalate',
  'reopen',
  'false_alarm',
  'cancel',
]

/** The one move that leads on, and the ones that lead elsewhere, of those the API offers. */
export function splitMoves(moves: readonly Move[]): { forward: Move | null; others: Move[] } {
  const forward = FORWARD.find((move) => moves.includes(move)) ?? null
  const others = [...FORWARD, ...SIDEWAYS].filter((move) => moves.includes(move) && move !== forward)
  return { forward, others }
}

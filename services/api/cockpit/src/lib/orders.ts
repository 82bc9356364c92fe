/** What a list of orders says about time: how long is left, how near the breach is, what comes first. */
import type { Alert, Move, Order } from '../api/types'
import { rank } from './severity'

export type Pressure = 'none' | 'calm' | 'soon' | 'over'

/** The last quarter of the allowed time is amber. */
export const SOON_SHARE = 0.25

export function leftMs(order: Order, nowMs: number): number | null {
  return order.due === null ? null : Date.parse(order.due) - nowMs
}

export function pressure(order: Order, nowMs: number): Pressure {
  const left = leftMs(order, nowMs)
  if (left === null || order.due === null) return 'none'
  if (left <= 0) return 'over'
  // Every deadline of an order is counted from its dispatch.
  const allowed = Date.parse(order.due) - Date.parse(order.dispatched_at ?? order.created_at)
  return left <= allowed * SOON_SHARE ? 'soon' : 'calm'
}

/** The worst first, then what is breached, then what is due next, then the oldest; `mineFirst`: what I can move before all. */
export function sortOrders(orders: Iterable<Order>, nowMs: number, mineFirst = false): Order[] {
  const keyed = Array.from(orders, (order) => ({
    order,
    mine: mineFirst && order.moves.some((move) => BUTTONS.includes(move)) ? 1 : 0,
    over: pressure(order, nowMs) === 'over' ? 1 : 0,
    due: order.due === null ? Infinity : Date.parse(order.due),
  }))
  keyed.sort(
    (a, b) =>
      b.mine - a.mine ||
      rank(b.order.severity) - rank(a.order.severity) ||
      b.over - a.over ||
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

const BUTTONS: readonly Move[] = [...FORWARD, ...SIDEWAYS]

/** The one move that leads on, and the ones that lead elsewhere, of those the API offers. */
export function splitMoves(moves: readonly Move[]): { forward: Move | null; others: Move[] } {
  const forward = FORWARD.find((move) => moves.includes(move)) ?? null
  const others = BUTTONS.filter((move) => moves.includes(move) && move !== forward)
  return { forward, others }
}

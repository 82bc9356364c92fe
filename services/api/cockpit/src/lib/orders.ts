/** What a list of orders says about time: how long is left, how near the breach is, what comes first. */
import type { Alert, Clock, Move, Order } from '../api/types'
import { rank } from './severity'

export type Pressure = 'none' | 'calm' | 'soon' | 'over'

/** The last quarter of the allowed time is amber where the API does not say when amber begins. */
export const SOON_SHARE = 0.25

export function leftMs(order: Order, nowMs: number): number | null {
  return order.due === null ? null : Date.parse(order.due) - nowMs
}

export function pressure(order: Order, nowMs: number): Pressure {
  const left = leftMs(order, nowMs)
  if (left === null || order.due === null) return 'none'
  if (left <= 0) return 'over'
  const running = order.clocks?.find((one) => one.name === order.due_for)
  if (running) {
    return running.warn_at !== null && nowMs >= Date.parse(running.warn_at) ? 'soon' : 'calm'
  }
  // Every deadline of an order is counted from its dispatch.
  const allowed = Date.parse(order.due) - Date.parse(order.dispatched_at ?? order.created_at)
  return left <= allowed * SOON_SHARE ? 'soon' : 'calm'
}

/** The worst first, then what is breached, then what is due next, then the oldest; `mineFirst`: what I can move before all. */
export function sortOrders(orders: Iterable<Order>, nowMs: number, mineFirst = false): Order[] {
  const keyed = Array.from(orders, (order) => ({
    order,
    mine: mineFirst && order.moves.some((move) => FORWARD.includes(move)) ? 1 : 0,
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

export const PAUSE_REASONS = [
  'waiting_parts',
  'waiting_resident',
  'weather',
  'third_party',
  'approval',
] as const
export const OUTCOMES = ['satisfied', 'unsatisfied', 'unreached'] as const

const FORWARD: readonly Move[] = ['accept', 'arrive', 'resolve', 'verify', 'close', 'resume', 'dispatch']
/** Moves a button can carry; the others are made by the system, or need a picture. */
const SIDEWAYS: readonly Move[] = [
  'urge',
  'note',
  'return',
  'assign',
  'transfer',
  'pause',
  'escalate',
  'call_back',
  'reopen',
  'merge',
  'false_alarm',
  'cancel',
]

/** The one move that leads on, and the ones that lead elsewhere, of those the API offers. */
export function splitMoves(moves: readonly Move[]): { forward: Move | null; others: Move[] } {
  // Taking over from whoever has it is no step forward.
  const taken = moves.includes('arrive') || moves.includes('resume')
  const forward = FORWARD.find((move) => moves.includes(move) && !(taken && move === 'accept')) ?? null
  const others = [...FORWARD, ...SIDEWAYS].filter((move) => moves.includes(move) && move !== forward)
  return { forward, others }
}

/** Orders this one may become part of: open, of the same community, the likeliest first. */
export function mergeTargets(order: Order, orders: Iterable<Order>): Order[] {
  const near = (other: Order) =>
    (other.building_id !== null && other.building_id === order.building_id ? 2 : 0) +
    (other.kind === order.kind ? 1 : 0)
  return [...orders]
    .filter((other) => other.id !== order.id && other.community_id === order.community_id)
    .sort((a, b) => near(b) - near(a) || b.number - a.number)
}

export interface ClockView {
  state: 'done' | 'late' | 'held' | Pressure
  /** Milliseconds left, below 0 once over; null: nothing counts any more. */
  left: number | null
}

/** One clock as it is now: `held` while the order is paused, `late` once it was answered too late. */
export function clockView(clock: Clock, paused: boolean, nowMs: number): ClockView {
  if (clock.done_at !== null) return { state: clock.late ? 'late' : 'done', left: null }
  if (clock.left_s === null) return { state: clock.late ? 'late' : 'none', left: null }
  if (paused) return { state: 'held', left: clock.left_s * 1000 }
  const left = Date.parse(clock.due) - nowMs
  if (left <= 0) return { state: 'over', left }
  const amber = clock.warn_at !== null && nowMs >= Date.parse(clock.warn_at)
  return { state: amber ? 'soon' : 'calm', left }
}

/** The order as it will stand once what waits is sent: what the page shows, plainly marked as not sent yet. */
import type { Move, OrderDetail, OrderState } from '../../api/types'
import type { Entry, MoveAct } from './types'

/** State after a move of somebody who has the order in hand, and what they may do then (services/domain/orders/moves.py). */
const AFTER: Partial<Record<Move, { state: OrderState; moves: readonly Move[] }>> = {
  accept: { state: 'accepted', moves: ['arrive', 'return', 'pause', 'note', 'evidence'] },
  arrive: { state: 'arrived', moves: ['resolve', 'pause', 'false_alarm', 'note', 'evidence'] },
  resolve: { state: 'resolved', moves: ['note', 'evidence'] },
  return: { state: 'returned', moves: [] },
  transfer: { state: 'dispatched', moves: [] },
  pause: { state: 'paused', moves: ['resume', 'note', 'evidence'] },
  false_alarm: { state: 'false_alarm', moves: [] },
  cancel: { state: 'cancelled', moves: [] },
  verify: { state: 'verified', moves: ['note'] },
  reopen: { state: 'dispatched', moves: [] },
}

export interface Predicted extends OrderDetail {
  /** Acts that wait to be sent. */
  pending: number
  conflict: Entry | null
}

export function predict(order: OrderDetail, entries: readonly Entry[], account: string): Predicted {
  const own = entries.filter((entry) => 'order' in entry.act && entry.act.order === order.id)
  const conflict = own.find((entry) => entry.state === 'conflict') ?? null
  // What stands behind a refusal may never happen: the order is shown as the server has it.
  const told = conflict ? [] : own
  let shown: OrderDetail = { ...order }
  for (const { act, madeAt } of told) {
    if (act.kind === 'evidence') shown = withEvidence(shown, act.phase, act.sort)
    else if (act.kind === 'move') shown = withMove(shown, act, madeAt, account)
  }
  return { ...shown, pending: own.length, conflict }
}

function withEvidence(order: OrderDetail, phase: string, sort: string): OrderDetail {
  const more = (n: number | undefined) => (n ?? 0) + 1
  if (sort === 'signature') return unneed({ ...order, signatures: more(order.signatures) }, 'signature')
  if (sort !== 'photo') return order
  if (phase === 'before')
    return unneed({ ...order, photos_before: more(order.photos_before) }, 'photo_before')
  if (phase === 'after') return unneed({ ...order, photos_after: more(order.photos_after) }, 'photo_after')
  return order
}

function unneed(order: OrderDetail, need: string): OrderDetail {
  const needs = Object.fromEntries(
    Object.entries(order.needs ?? {}).map(([move, list]) => [move, list.filter((one) => one !== need)]),
  )
  return { ...order, needs }
}

function withMove(order: OrderDetail, act: MoveAct, madeAt: number, account: string): OrderDetail {
  const { move, position, code } = act.body
  if (move === 'resume') {
    const state: OrderState = order.arrived_at ? 'arrived' : 'accepted'
    const after = AFTER[state === 'arrived' ? 'arrive' : 'accept']
    return { ...order, state, moves: [...(after?.moves ?? [])], needs: needsOf(order, after?.moves ?? []) }
  }
  const after = AFTER[move]
  if (!after) return order
  const next: OrderDetail = {
    ...order,
    state: after.state,
    moves: [...after.moves],
    assignee_id: move === 'accept' ? account : order.assignee_id,
    due: null,
    due_for: null,
    ...(move === 'arrive' ? { arrived_at: new Date(madeAt).toISOString() } : {}),
    ...(move === 'arrive' && (position || code) ? { on_site: position ? 'position' : 'code' } : {}),
  }
  return { ...next, needs: needsOf(next, after.moves) }
}

/** What the class asks of moves to come, less what is there. */
function needsOf(order: OrderDetail, moves: readonly Move[]): Partial<Record<Move, string[]>> {
  const there: Record<string, boolean> = {
    photo_before: (order.photos_before ?? 0) > 0,
    photo_after: (order.photos_after ?? 0) > 0,
    signature: (order.signatures ?? 0) > 0,
    on_site: Boolean(order.on_site),
  }
  const own: Partial<Record<Move, string[]>> = {
    return: ['reason'],
    pause: ['pause_reason'],
    false_alarm: ['reason'],
    note: ['note'],
  }
  return Object.fromEntries(
    moves.map((move) => [
      move,
      [...new Set([...(own[move] ?? []), ...(order.order_class?.needs?.[move] ?? [])])].filter(
        (need) => !there[need],
      ),
    ]),
  )
}

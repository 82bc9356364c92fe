import { describe, expect, it } from 'vitest'
import {
  clockView,
  leftMs,
  mergeTargets,
  pressure,
  sortAlerts,
  sortOrders,
  splitMoves,
} from '../src/lib/orders'
import type { Clock } from '../src/api/types'
import { AT, alert, order } from './fixtures/snapshot'

const T0 = Date.parse(AT)

describe('pressure', () => {
  it('is calm, amber in the last quarter of the allowed time, and over at the deadline', () => {
    const one = order('o1')
    expect(pressure(one, T0)).toBe('calm')
    expect(pressure(one, T0 + 44_999)).toBe('calm')
    expect(pressure(one, T0 + 45_000)).toBe('soon')
    expect(pressure(one, T0 + 59_999)).toBe('soon')
    expect(pressure(one, T0 + 60_000)).toBe('over')
    expect(leftMs(one, T0 + 61_000)).toBe(-1000)
  })

  it('counts every deadline from the dispatch', () => {
    const arriving = order('o1', {
      state: 'accepted',
      accepted_at: '2026-11-22T02:00:40Z',
      due: '2026-11-22T02:10:00Z',
      due_for: 'arrive',
    })
    expect(pressure(arriving, Date.parse('2026-11-22T02:07:29Z'))).toBe('calm')
    expect(pressure(arriving, Date.parse('2026-11-22T02:07:31Z'))).toBe('soon')
  })

  const clock = (warn_at: string | null) => ({
    name: 'accept' as const,
    label: { zh: '接单', en: 'Acceptance' },
    due: '2026-11-22T02:01:00Z',
    warn_at,
    done_at: null,
    left_s: 60,
    late: false,
  })

  it('turns amber when the class of the order says so, where the API tells', () => {
    const one = order('o1', { clocks: [clock('2026-11-22T02:00:10Z')] })
    expect(pressure(one, Date.parse('2026-11-22T02:00:09Z'))).toBe('calm')
    expect(pressure(one, Date.parse('2026-11-22T02:00:10Z'))).toBe('soon')
    expect(pressure(one, T0 + 60_000)).toBe('over')
    expect(pressure(order('o2', { clocks: [clock(null)] }), T0 + 59_999)).toBe('calm')
  })

  it('is none where no deadline runs', () => {
    expect(pressure(order('o1', { due: null, due_for: null }), T0)).toBe('none')
  })
})

describe('sortOrders', () => {
  it('puts the worst first, then the breached, then the next due', () => {
    const orders = [
      order('minor-over', { severity: 'minor', due: '2026-11-22T01:00:00Z' }),
      order('minor', { severity: 'minor', due: '2026-11-22T02:00:30Z' }),
      order('late', { due: '2026-11-22T03:00:00Z', number: 3 }),
      order('soon', { due: '2026-11-22T02:30:00Z', number: 4 }),
      order('none', { due: null, number: 5 }),
    ]
    const sorted = sortOrders(orders, T0).map((one) => one.id)
    expect(sorted).toEqual(['soon', 'late', 'none', 'minor-over', 'minor'])
  })

  it('puts what a field worker can move before everything else', () => {
    const orders = [order('theirs', { moves: ['note', 'urge'] }), order('mine', { severity: 'minor' })]
    expect(sortOrders(orders, T0, true).map((one) => one.id)).toEqual(['mine', 'theirs'])
    expect(sortOrders(orders, T0).map((one) => one.id)).toEqual(['theirs', 'mine'])
  })
})

describe('sortAlerts', () => {
  it('puts the worst first and the newest before the older', () => {
    const alerts = [
      alert('minor', { severity: 'minor' }),
      alert('old'),
      alert('new', { fired_at: '2026-11-22T02:00:01Z' }),
    ]
    expect(sortAlerts(alerts).map((one) => one.id)).toEqual(['new', 'old', 'minor'])
  })
})

describe('splitMoves', () => {
  it('makes the move that leads on the large one', () => {
    expect(splitMoves(['return', 'resolve', 'pause'])).toEqual({
      forward: 'resolve',
      others: ['return', 'pause'],
    })
  })

  it('offers nothing the API did not', () => {
    expect(splitMoves(['accept', 'arrive', 'note', 'urge'])).toEqual({
      forward: 'arrive',
      others: ['accept', 'urge', 'note'],
    })
    expect(splitMoves([])).toEqual({ forward: null, others: [] })
    expect(splitMoves(['repeat', 'create', 'warn', 'breach', 'evidence', 'rate'])).toEqual({
      forward: null,
      others: [],
    })
  })
})

describe('mergeTargets', () => {
  it('are the other open orders here, what is of the same building and kind first', () => {
    const one = order('o1', { building_id: 'b1', kind: 'bin', number: 1 })
    const others = [
      one,
      order('elsewhere', { building_id: null, kind: 'bin', number: 4 }),
      order('near', { building_id: 'b1', kind: 'bin', number: 2 }),
      order('other-community', { community_id: 'x', building_id: 'b1', kind: 'bin', number: 9 }),
      order('far', { building_id: null, kind: 'gate', number: 5 }),
    ]
    expect(mergeTargets(one, others).map((found) => found.id)).toEqual(['near', 'elsewhere', 'far'])
  })
})

describe('clockView', () => {
  const clock = (more: Partial<Clock> = {}): Clock => ({
    name: 'arrive',
    label: { zh: '到场', en: 'Arrival' },
    due: '2026-11-22T02:10:00Z',
    warn_at: '2026-11-22T02:07:30Z',
    done_at: null,
    left_s: 600,
    late: false,
    ...more,
  })

  it('counts down by the clock of the server, turns amber at its warning and red at its end', () => {
    expect(clockView(clock(), false, T0)).toEqual({ state: 'calm', left: 600_000 })
    expect(clockView(clock(), false, T0 + 450_000).state).toBe('soon')
    expect(clockView(clock(), false, T0 + 600_000)).toEqual({ state: 'over', left: 0 })
    expect(clockView(clock({ warn_at: null }), false, T0 + 599_000).state).toBe('calm')
  })

  it('holds still while the order is paused, and stops once it is answered or has ended', () => {
    expect(clockView(clock({ left_s: 90 }), true, T0 + 9_000_000)).toEqual({ state: 'held', left: 90_000 })
    const done = { done_at: '2026-11-22T02:05:00Z', left_s: null }
    expect(clockView(clock(done), false, T0)).toEqual({ state: 'done', left: null })
    expect(clockView(clock({ ...done, late: true }), true, T0).state).toBe('late')
    expect(clockView(clock({ left_s: null }), false, T0)).toEqual({ state: 'none', left: null })
  })
})

import { describe, expect, it } from 'vitest'
import { fold, fromSnapshot } from '../src/live/state'
import { AT, alert, device, order, snapshot } from './fixtures/snapshot'

const LATER = '2026-11-22T02:00:05Z'
const start = () => fromSnapshot(snapshot(), null)

describe('fold', () => {
  it('adds a new alert and leaves the state before untouched', () => {
    const before = start()
    const after = fold(before, { type: 'alert', data: alert('a1') }, 8)
    expect([...after.alerts.keys()]).toEqual(['a1'])
    expect(after.cursor).toBe(8)
    expect(before.alerts.size).toBe(0)
    expect(before.cursor).toBe(7)
    expect(after.devices).toBe(before.devices)
  })

  it('takes a cleared alert away and remembers since when all is well', () => {
    const fired = fold(start(), { type: 'alert', data: alert('a1') })
    const cleared = fold(fired, { type: 'alert', data: alert('a1', { state: 'cleared', cleared_at: LATER }) })
    expect(cleared.alerts.size).toBe(0)
    expect(cleared.lastClearedAt).toBe(LATER)
  })

  it('keeps the order of an alert when a later word does not name it', () => {
    const fired = fold(start(), { type: 'alert', data: alert('a1', { order_id: 'o1' }) })
    const again = fold(fired, { type: 'alert', data: alert('a1', { occurrences: 2, last_at: LATER }) })
    expect(again.alerts.get('a1')).toMatchObject({ order_id: 'o1', occurrences: 2 })
  })

  it('ignores an alert older than the known one, in whatever form its time is written', () => {
    const fired = fold(start(), {
      type: 'alert',
      data: alert('a1', { occurrences: 3, last_at: '2026-11-22T02:00:05.250Z' }),
    })
    const stale = fold(fired, {
      type: 'alert',
      data: alert('a1', { occurrences: 1, last_at: '2026-11-22T02:00:05Z' }),
    })
    expect(stale.alerts.get('a1')?.occurrences).toBe(3)
  })

  it('never goes back to an older version of an order', () => {
    const accepted = fold(start(), { type: 'order', data: order('o1', { version: 3, state: 'accepted' }) })
    const stale = fold(accepted, { type: 'order', data: order('o1', { version: 2 }) })
    expect(stale.orders.get('o1')?.state).toBe('accepted')
  })

  it('drops an order that has ended', () => {
    const open = fold(start(), { type: 'order', data: order('o1') })
    for (const state of ['closed', 'cancelled', 'false_alarm', 'merged'] as const) {
      expect(fold(open, { type: 'order', data: order('o1', { version: 9, state }) }).orders.size).toBe(0)
    }
  })

  it('takes the alerts of an order along into the one it was merged into', () => {
    const alerts = ['a1', 'a2'].map((id, i) => alert(id, { order_id: `o${i + 1}` }))
    const before = alerts.reduce((state, data) => fold(state, { type: 'alert', data }), start())
    const data = order('o1', { version: 9, state: 'merged', merged_into: 'o7' })
    const after = fold(before, { type: 'order', data })
    expect([...after.alerts.values()].map((one) => one.order_id)).toEqual(['o7', 'o2'])
    expect(before.alerts.get('a1')?.order_id).toBe('o1')
  })

  it('merges what a device sent into what it sent before', () => {
    const item = {
      id: 'd1',
      online: true,
      ts: LATER,
      values: { battery: 3 },
      last_event: 'alarm',
      last_event_at: LATER,
    }
    const after = fold(start(), { type: 'devices', data: { at: LATER, items: [item] } })
    expect(after.devices.get('d1')).toMatchObject({
      values: { lel: 0, battery: 3 },
      last_event: 'alarm',
      last_seen_at: LATER,
      place: '1号楼101室',
    })
    expect(after.devicesAt).toBe(LATER)
  })

  it('leaves out a device that the snapshot did not place', () => {
    const item = { ...device('unknown'), values: {} }
    const after = fold(start(), { type: 'devices', data: { at: LATER, items: [item] } })
    expect(after.devices.has('unknown')).toBe(false)
  })

  it('moves its time on with every heartbeat', () => {
    expect(fold(start(), { type: 'hb', data: { at: LATER } }).at).toBe(LATER)
  })

  it('takes figures as they come', () => {
    const kpis = { at: LATER, items: [] }
    const after = fold(start(), { type: 'kpis', data: kpis })
    expect(after.kpis).toBe(kpis)
    expect(after.at).toBe(LATER)
  })
})

describe('fromSnapshot', () => {
  it('holds open things only', () => {
    const state = fromSnapshot(
      snapshot({
        alerts: [alert('a1'), alert('a2', { state: 'cleared', cleared_at: AT })],
        orders: [order('o1'), order('o2', { state: 'closed' })],
      }),
      null,
    )
    expect([...state.alerts.keys()]).toEqual(['a1'])
    expect([...state.orders.keys()]).toEqual(['o1'])
  })

  it('does not forget since when all is well', () => {
    const before = { ...start(), lastClearedAt: AT }
    expect(fromSnapshot(snapshot(), before).lastClearedAt).toBe(AT)
  })
})

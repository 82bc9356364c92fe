import { describe, expect, it } from 'vitest'
import { shallowRef } from 'vue'
import { PATTERNS, dangerOf, lengthOf } from '../src/alarm/chimes'
import { DEFAULT, isQuiet, readSettings } from '../src/alarm/settings'
import {
  createTakeover,
  deafSinceOf,
  ordersByAlert,
  standingOf,
  unattendedOf,
} from '../src/alarm/useTakeover'
import { wordsOf } from '../src/alarm/useVoice'
import type { Alert, Order } from '../src/api/types'
import type { Live } from '../src/live/useLive'
import { tooMany } from '../src/live/useSelfHealing'

const alert = (id: string, more: Partial<Alert> = {}): Alert =>
  ({
    id,
    severity: 'critical',
    state: 'firing',
    fired_at: '2026-11-22T08:00:00Z',
    title: { zh: '燃气泄漏报警', en: 'Gas alarm' },
    place: '3号楼2单元501室',
    ...more,
  }) as Alert

const order = (id: string, alert_id: string | null, more: Partial<Order> = {}): Order =>
  ({ id, alert_id, state: 'dispatched', version: 2, accepted_at: null, ...more }) as Order
const ordersOf = (...orders: Order[]) => new Map(orders.map((one) => [one.id, one]))

describe('an alarm that nobody has', () => {
  it('is critical, standing, sent out and not accepted; the newest comes first', () => {
    const alerts = [
      alert('a'),
      alert('b', { fired_at: '2026-11-22T08:05:00Z' }),
      alert('c', { severity: 'major' }),
      alert('d', { state: 'cleared' }),
      alert('e', { shadow: true }),
      alert('f', { held: ['silence:1'] }),
      alert('g', { acknowledged_at: '2026-11-22T08:01:00Z' }),
      alert('h'),
    ]
    const orders = ordersByAlert(
      alerts,
      ordersOf(order('1', 'h', { accepted_at: '2026-11-22T08:01:00Z' }), order('2', 'a')),
    )
    expect(unattendedOf(alerts, orders).map((one) => one.alerts.map((alert) => alert.id))).toEqual([
      ['b'],
      ['a'],
    ])
  })

  it('is said in Mandarin with its place first', () => {
    expect(wordsOf(alert('a'))).toBe('紧急告警。3号楼2单元501室。燃气泄漏报警。请立即处置。')
  })
})

describe('alarms of one incident', () => {
  // Two detectors of one building, and the fire that their alarms together are: one order, opened for the fire.
  const smoke = (id: string, minute: number) =>
    alert(id, { order_id: 'o1', fired_at: `2026-11-22T08:0${minute}:00Z` })
  const fire = alert('fire', { order_id: 'o1', building_id: 'b1', fired_at: '2026-11-22T08:02:00Z' })
  const members = [smoke('s1', 1), fire, smoke('s2', 3)]
  const screen = (alerts: Alert[], orders: Order[]) => {
    const state = shallowRef({
      alerts: new Map(alerts.map((one) => [one.id, one])),
      orders: ordersOf(...orders),
    })
    return { state, takeover: createTakeover({ state } as unknown as Live) }
  }

  it('are one, shown as what the order was opened for, with its order', () => {
    const { takeover } = screen(members, [order('o1', 'fire')])
    expect(takeover.alert.value?.id).toBe('fire')
    expect(takeover.order.value?.id).toBe('o1')
    expect(takeover.unattended.value.map((one) => one.alerts.length)).toEqual([3])
  })

  it('lead to the order also where only a member still stands', () => {
    const { takeover } = screen([smoke('s1', 1)], [order('o1', 'fire')])
    expect([takeover.alert.value?.id, takeover.order.value?.id]).toEqual(['s1', 'o1'])
  })

  it('end together when the order is accepted', () => {
    const { takeover } = screen(members, [order('o1', 'fire', { accepted_at: '2026-11-22T08:04:00Z' })])
    expect(takeover.alert.value).toBeNull()
    expect(takeover.unattended.value).toEqual([])
  })

  it('are put aside together, until another one joins them', () => {
    const other = alert('gas', { fired_at: '2026-11-22T08:00:00Z' })
    const { state, takeover } = screen([...members, other], [order('o1', 'fire')])
    expect(takeover.unattended.value.length).toBe(2)
    takeover.putAside()
    expect(takeover.alert.value?.id).toBe('gas')
    takeover.putAside()
    expect(takeover.alert.value).toBeNull()
    const alerts = new Map(state.value.alerts).set('s3', smoke('s3', 5))
    state.value = { ...state.value, alerts }
    expect([takeover.alert.value?.id, takeover.order.value?.id]).toEqual(['s3', 'o1'])
  })
})

describe('signals', () => {
  it('differ by danger and are short', () => {
    const shapes = Object.values(PATTERNS).map((tones) => JSON.stringify(tones))
    expect(new Set(shapes).size).toBe(shapes.length)
    for (const danger of ['fire', 'gas', 'help', 'water', 'other'] as const) {
      expect(lengthOf(danger)).toBeLessThan(3)
      expect(lengthOf(danger)).toBeGreaterThan(0.5)
    }
    expect([dangerOf('smoke_detector'), dangerOf('sos_button'), dangerOf('bin')]).toEqual([
      'fire',
      'help',
      'other',
    ])
  })
})

describe('quiet hours', () => {
  const night = { ...DEFAULT, quiet: true, from: '22:00', to: '07:00' }
  it('go over midnight and end on the minute', () => {
    expect(['21:59', '22:00', '03:00', '06:59', '07:00'].map((at) => isQuiet(night, at))).toEqual([
      false,
      true,
      true,
      true,
      false,
    ])
    expect(isQuiet({ ...night, quiet: false }, '23:00')).toBe(false)
    expect(isQuiet({ ...night, from: '12:00', to: '14:00' }, '13:00')).toBe(true)
    expect(isQuiet({ ...night, from: '12:00', to: '12:00' }, '12:00')).toBe(false)
  })

  it('are read from what was remembered, whatever it is', () => {
    for (const bad of [null, '', 'nonsense', '[]', '7', '{"volume":9,"from":"25:00","on":"yes"}'])
      expect(readSettings(bad)).toEqual(DEFAULT)
    expect(readSettings('{"on":false,"volume":0.2,"quiet":true,"from":"20:30"}')).toEqual({
      on: false,
      volume: 0.2,
      quiet: true,
      from: '20:30',
      to: '07:00',
    })
  })
})

describe('a wall that goes on failing', () => {
  it('is loaded anew, and not again and again', () => {
    const now = 1_000_000
    expect(tooMany([now - 1, now - 2], now, 0)).toBe(false)
    expect(tooMany([now - 1, now - 2, now - 3], now, 0)).toBe(true)
    expect(tooMany([now - 1, now - 2, now - 70_000], now, 0)).toBe(false)
    expect(tooMany([now - 1, now - 2, now - 3], now, now - 60_000)).toBe(false)
  })
})

describe('what a room is told', () => {
  const screen = (alerts: Alert[], orders: Order[]) => {
    const state = shallowRef({
      alerts: new Map(alerts.map((one) => [one.id, one])),
      orders: ordersOf(...orders),
    })
    return createTakeover({ state } as unknown as Live)
  }

  it('is the newest alarm that nobody has, also one that was put aside on the plan', () => {
    const takeover = screen([alert('a'), alert('b', { fired_at: '2026-11-22T08:05:00Z' })], [order('1', 'b')])
    takeover.putAside()
    expect(takeover.alert.value?.id).toBe('a')
    const told = standingOf(takeover, deafSinceOf('live', 1))
    expect([told.alert?.id, told.order?.id, told.more, told.deafSince]).toEqual(['b', '1', 1, null])
  })

  it('is nothing once somebody has it, and that nothing can be heard when the link is gone', () => {
    const taken = order('1', 'a', { accepted_at: '2026-11-22T08:01:00Z' })
    const takeover = screen([alert('a')], [taken])
    expect(standingOf(takeover, deafSinceOf('live', 7))).toEqual({
      alert: null,
      order: null,
      more: 0,
      deafSince: null,
    })
    expect(standingOf(takeover, deafSinceOf('stale', 7)).deafSince).toBe(7)
    expect(standingOf(takeover, deafSinceOf('connecting', 0)).deafSince).toBeNull()
  })
})

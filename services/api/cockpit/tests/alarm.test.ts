import { describe, expect, it } from 'vitest'
import { PATTERNS, dangerOf, lengthOf } from '../src/alarm/chimes'
import { DEFAULT, isQuiet, readSettings } from '../src/alarm/settings'
import { ordersByAlert, unattendedOf } from '../src/alarm/useTakeover'
import { wordsOf } from '../src/alarm/useVoice'
import type { Alert, Order } from '../src/api/types'
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
    const orders = ordersByAlert([
      { alert_id: 'h', accepted_at: '2026-11-22T08:01:00Z' } as Order,
      { alert_id: 'a', accepted_at: null } as Order,
    ])
    expect(unattendedOf(alerts, orders).map((one) => one.id)).toEqual(['b', 'a'])
  })

  it('is said in Mandarin with its place first', () => {
    expect(wordsOf(alert('a'))).toBe('紧急告警。3号楼2单元501室。燃气泄漏报警。请立即处置。')
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

import { describe, expect, it } from 'vitest'
import type { Spot } from '../src/plan/cluster'
import { cluster } from '../src/plan/cluster'
import { deviceAt } from '../src/plan/draw'
import { between, fit, focus, panned, toPlan, toScreen, zoomed } from '../src/plan/view'
import { device } from './fixtures/snapshot'

const PLAN = { width: 600, height: 400 }
const SCREEN = { width: 900, height: 700 }

describe('view', () => {
  it('fits the whole plan inside the margins', () => {
    const view = fit(PLAN, SCREEN)
    const [left, top] = toScreen(view, SCREEN, 0, 0)
    const [right, bottom] = toScreen(view, SCREEN, 600, 400)
    expect(left).toBeGreaterThanOrEqual(20)
    expect(top).toBeGreaterThanOrEqual(20)
    expect(right).toBeLessThanOrEqual(880)
    expect(bottom).toBeLessThanOrEqual(680)
  })

  it('goes from screen to plan and back', () => {
    const view = { cx: 120, cy: 80, scale: 3 }
    const [x, y] = toPlan(view, SCREEN, 33, 444)
    const [px, py] = toScreen(view, SCREEN, x, y)
    expect(px).toBeCloseTo(33)
    expect(py).toBeCloseTo(444)
  })

  it('keeps the point under the cursor when it zooms', () => {
    const view = fit(PLAN, SCREEN)
    const before = toPlan(view, SCREEN, 300, 300)
    const after = toPlan(zoomed(view, SCREEN, PLAN, 2, 300, 300), SCREEN, 300, 300)
    expect(after[0]).toBeCloseTo(before[0])
    expect(after[1]).toBeCloseTo(before[1])
  })

  it('never loses the plan, however far it is dragged or zoomed', () => {
    let view = panned(fit(PLAN, SCREEN), 1e6, -1e6, PLAN)
    expect(view.cx).toBe(0)
    expect(view.cy).toBe(400)
    for (let i = 0; i < 50; i++) view = zoomed(view, SCREEN, PLAN, 0.5, 0, 0)
    expect(view.scale).toBeGreaterThan(0.5)
    for (let i = 0; i < 50; i++) view = zoomed(view, SCREEN, PLAN, 2, 0, 0)
    expect(view.scale).toBe(24)
  })

  it('flies from one view to exactly the other', () => {
    const from = fit(PLAN, SCREEN)
    const to = focus(PLAN, SCREEN, 50, 60)
    expect(between(from, to, 0)).toEqual(from)
    const end = between(from, to, 1)
    expect(end.cx).toBeCloseTo(50)
    expect(end.scale).toBeCloseTo(to.scale)
  })
})

describe('cluster', () => {
  const spot = (id: string, x: number, severity: Spot['severity']): Spot => ({
    id,
    x,
    y: 0,
    severity,
    label: id,
  })

  it('joins what lies on each other and shows the worst', () => {
    const found = cluster([spot('a', 0, 'minor'), spot('b', 5, 'critical'), spot('c', 100, 'info')], 20)
    expect(found.map((one) => [one.key, one.severity, one.members.length])).toEqual([
      ['b', 'critical', 2],
      ['c', 'info', 1],
    ])
  })

  it('holds every spot exactly once in a storm', () => {
    const spots = Array.from({ length: 500 }, (_, i) => spot(`s${i}`, (i * 37) % 400, 'major'))
    const members = cluster(spots, 20).flatMap((one) => one.members.map((member) => member.id))
    expect(new Set(members).size).toBe(500)
    expect(members).toHaveLength(500)
  })
})

describe('deviceAt', () => {
  it('finds the nearest within reach and nothing beyond', () => {
    const view = { cx: 0, cy: 0, scale: 10 }
    const devices = [device('near', { x: 1, y: 0 }), device('far', { x: 3, y: 0 })]
    expect(deviceAt(devices, view, SCREEN, 450 + 12, 350)?.id).toBe('near')
    expect(deviceAt(devices, view, SCREEN, 450 + 200, 350)).toBeNull()
  })
})

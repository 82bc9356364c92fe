import { describe, expect, it } from 'vitest'
import { cell } from '../src/rooms/registry/api'
import { rowsShown } from '../src/rooms/registry/rows'
import { EMPTY, did, redo, undo, unsaved } from '../src/rooms/plan/history'
import { land, scaled } from '../src/rooms/plan/snap'

const step = (to: number, id = 'a') => ({
  id,
  sort: 'device' as const,
  from: { x: 0, y: 0 },
  to: { x: to, y: 0 },
})

describe('steps of the editor', () => {
  it('are undone and done again in order', () => {
    const [back, last] = undo(did(did(EMPTY, step(1)), step(2)))
    expect(last?.to.x).toBe(2)
    expect(redo(back)[1]?.to.x).toBe(2)
    expect(undo(EMPTY)[1]).toBeNull()
  })
  it('join while the same thing is nudged, and never across things', () => {
    expect(did(did(EMPTY, step(1)), step(2), true).done).toHaveLength(1)
    expect(did(did(EMPTY, step(1)), step(2, 'b'), true).done).toHaveLength(2)
  })
  it('leave what stands elsewhere than it was loaded', () => {
    const loaded = new Map([
      ['a', { x: 1, y: 1 }],
      ['b', { x: 1, y: 1 }],
    ])
    expect(
      unsaved(
        [
          { id: 'a', x: 1, y: 1 },
          { id: 'b', x: 2, y: 1 },
        ],
        loaded,
      ).map((one) => one.id),
    ).toEqual(['b'])
  })
})

describe('a device', () => {
  const box = { id: 'b1', x: 10, y: 10, width: 40, depth: 12 }
  const units = new Map([['b1', ['u1', 'u2']]])
  it('lands in the building and entrance under it', () => {
    expect(land(45.2, 21, [box], units, true)).toEqual({ x: 45, y: 21, building: 'b1', unit: 'u2' })
    expect(land(9, 9, [box], units, true)).toEqual({ x: 10.5, y: 10.5, building: 'b1', unit: 'u1' })
  })
  it('lands outdoors on the half metre, or anywhere without snapping', () => {
    expect(land(80.3, 5.1, [box], units, true)).toEqual({ x: 80.5, y: 5, building: null, unit: null })
    expect(land(20.33, 15.04, [box], units, false)).toEqual({ x: 20.3, y: 15, building: null, unit: null })
  })
})

it('scales a drawing', () => {
  expect(scaled([{ points: [[10, 20]] as [number, number][] }], 2.5)[0]?.points).toEqual([[25, 50]])
})

it('shows the rows on the screen and keeps the height of all', () => {
  const shown = rowsShown(5000, 44, 44_000, 440, 8)
  expect([shown.from, shown.to]).toEqual([992, 1018])
  expect(shown.before + shown.after + (shown.to - shown.from) * 44).toBe(5000 * 44)
})

it('writes no formulas into a CSV', () => {
  expect(cell('=1+1')).toBe(`"'=1+1"`)
  expect(cell('a"b')).toBe('"a""b"')
})

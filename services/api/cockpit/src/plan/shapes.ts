/** What the drawn shapes are called, and where their names stand. */
import type { PlanShape } from '../api/types'

export interface Name {
  name: string
  x: number
  y: number
}

const WIDE_LETTER = 0x2e7f

/** Width of a text in letters: Chinese ones are twice as wide as Latin ones, or nearly. */
export function letters(text: string): number {
  return [...text].reduce((sum, one) => sum + (one.charCodeAt(0) > WIDE_LETTER ? 1 : 0.58), 0)
}

/** Names of places, each where it fits into its shape at this scale; of ground that spans much of the plan none. */
export function labelled(shapes: readonly PlanShape[], scale: number, px: number): Name[] {
  const found: Name[] = []
  for (const shape of shapes) {
    if (!shape.name || !NAMED.has(shape.kind) || shape.points.length < 3) continue
    const xs = shape.points.map((point) => point[0])
    const ys = shape.points.map((point) => point[1])
    const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)]
    const fits = letters(shape.name) * px <= (right - left) * scale && px * 1.2 <= (bottom - top) * scale
    if (fits || shape.kind === 'gate')
      found.push({ name: shape.name, x: (left + right) / 2, y: (top + bottom) / 2 })
  }
  return found
}

const NAMED: ReadonlySet<string> = new Set(['centre', 'court', 'play', 'green', 'water', 'parking', 'gate'])

/** Where a thing lands: on the half metre, and inside a building in the part that is its entrance's. Pure. */
export interface Box {
  id: string
  x: number
  y: number
  width: number
  depth: number
}

export interface Landing {
  x: number
  y: number
  building: string | null
  unit: string | null
}

const STEP = 0.5
const REACH = 1.5
const INSET = 0.5

const round = (value: number) => Math.round(value / STEP) * STEP

/** `units`: those of each building, from west to east; the building's length is shared out among them. */
export function land(
  x: number,
  y: number,
  boxes: Iterable<Box>,
  units: ReadonlyMap<string, readonly string[]>,
  snapping: boolean,
): Landing {
  if (!snapping) return { x: Math.round(x * 10) / 10, y: Math.round(y * 10) / 10, building: null, unit: null }
  for (const box of boxes) {
    if (
      x < box.x - REACH ||
      x > box.x + box.width + REACH ||
      y < box.y - REACH ||
      y > box.y + box.depth + REACH
    )
      continue
    const inX = Math.min(box.x + box.width - INSET, Math.max(box.x + INSET, round(x)))
    const inY = Math.min(box.y + box.depth - INSET, Math.max(box.y + INSET, round(y)))
    const mine = units.get(box.id) ?? []
    const nth = Math.min(mine.length - 1, Math.floor(((inX - box.x) / box.width) * mine.length))
    return { x: inX, y: inY, building: box.id, unit: mine[nth] ?? null }
  }
  return { x: round(x), y: round(y), building: null, unit: null }
}

/** The drawing `factor` times as large, about its upper left corner. */
export function scaled<T extends { points: [number, number][] }>(shapes: readonly T[], factor: number): T[] {
  const one = (value: number) => Math.round(value * factor * 10) / 10
  return shapes.map((shape) => ({
    ...shape,
    points: shape.points.map(([x, y]) => [one(x), one(y)] as [number, number]),
  }))
}

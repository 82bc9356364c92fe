/** Severities, least first: rank, colour token and shape. Colour never speaks alone. */
import type { Severity } from '../api/types'

export const SEVERITIES: readonly Severity[] = ['critical', 'major', 'minor', 'info']

const RANK: Record<Severity, number> = { info: 0, minor: 1, major: 2, critical: 3 }

export function rank(severity: Severity): number {
  return RANK[severity]
}

/** Outlines in a box of −1…1: octagon (stop), triangle (warning), diamond, circle. */
export const SHAPES: Record<Severity, readonly (readonly [number, number])[] | null> = {
  critical: [
    [-0.41, -1],
    [0.41, -1],
    [1, -0.41],
    [1, 0.41],
    [0.41, 1],
    [-0.41, 1],
    [-1, 0.41],
    [-1, -0.41],
  ],
  major: [
    [0, -1.02],
    [1.1, 0.86],
    [-1.1, 0.86],
  ],
  minor: [
    [0, -1.08],
    [1.08, 0],
    [0, 1.08],
    [-1.08, 0],
  ],
  info: null,
}

export function worst(severities: Iterable<Severity>): Severity | null {
  let found: Severity | null = null
  for (const severity of severities) if (found === null || RANK[severity] > RANK[found]) found = severity
  return found
}

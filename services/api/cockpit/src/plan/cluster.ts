/** Alerts that would lie on each other on the screen become one mark with a count and the worst severity. */
import type { Severity } from '../api/types'
import { rank } from '../lib/severity'

export interface Spot {
  id: string
  x: number
  y: number
  severity: Severity
  label: string
}

export interface Cluster {
  /** Stable while its worst member stays: the mark is not rebuilt as others come and go. */
  key: string
  x: number
  y: number
  severity: Severity
  members: Spot[]
}

/** Greedy, worst first: a spot joins the first cluster within `reach` of its head. */
export function cluster(spots: readonly Spot[], reach: number): Cluster[] {
  const ordered = [...spots].sort((a, b) => rank(b.severity) - rank(a.severity) || a.id.localeCompare(b.id))
  const clusters: Cluster[] = []
  for (const spot of ordered) {
    const home = clusters.find((one) => (one.x - spot.x) ** 2 + (one.y - spot.y) ** 2 <= reach ** 2)
    if (home) home.members.push(spot)
    else clusters.push({ key: spot.id, x: spot.x, y: spot.y, severity: spot.severity, members: [spot] })
  }
  return clusters
}

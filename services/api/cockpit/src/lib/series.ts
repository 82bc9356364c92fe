/** A curve in the unit in which it reads best. */
import type { Series } from '../api/types'
import { unitFor } from './format'

export function readable(series: Series): Series {
  const largest = series.points.reduce((most, point) => Math.max(most, Math.abs(point.value ?? 0)), 0)
  const { factor, unit } = unitFor(largest, series.unit)
  if (factor === 1) return series
  return {
    ...series,
    unit,
    points: series.points.map((point) => ({
      ...point,
      value: point.value === null ? null : point.value * factor,
    })),
  }
}

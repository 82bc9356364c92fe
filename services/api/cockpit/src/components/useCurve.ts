/** One of the community's curves: what was observed beside what was foretold, or the last day alone. */
import type { Ref } from 'vue'
import { computed, watch } from 'vue'
import { ApiError, api } from '../api/client'
import type { BandPoint, Forecast } from '../api/tiles'
import type { Series } from '../api/types'
import type { Word } from '../i18n/words'
import { readable } from '../lib/series'
import type { Live } from '../live/useLive'
import { usePolled } from '../live/usePolled'

export const CURVES: readonly { name: string; word: Word }[] = [
  { name: 'power', word: 'power' },
  { name: 'water', word: 'water' },
  { name: 'gas', word: 'gas_use' },
  { name: 'pv', word: 'pv' },
]

const HOURS = 24
const AHEAD_H = 12
/** No finer than the meters speak, or every second point is missing. */
const BUCKET_S: Record<string, number> = { power: 900, pv: 900, water: 1800, gas: 3600 }
const HOUR_MS = 3_600_000
export const CURVE_EVERY_MS = 60_000

interface Answer {
  name: string
  forecast: Forecast | null
  series: Series | null
}

export interface CurveView {
  series: Series
  band: BandPoint[]
  /** Yesterday's error as a share; null where it is not known. */
  error: number | null
  /** Why there is no band, in the API's words. */
  missing: Forecast['detail'] | null
}

export function useCurve(live: Live, name: Ref<string>) {
  const polled = usePolled<Answer>(live, CURVE_EVERY_MS, async () => {
    const community = live.state.value?.community.id ?? ''
    const asked = name.value
    const forecast = await api.forecast(community, asked).catch((error: unknown) => {
      if (error instanceof ApiError && error.status !== 0) return null
      throw error
    })
    const ready = forecast?.status === 'ready' && forecast.actual.some((point) => point.value !== null)
    const series = ready ? null : await api.series(community, asked, HOURS, BUCKET_S[asked] ?? 900)
    return { name: asked, forecast, series }
  })
  watch(name, () => void polled.again())

  /** What is shown changes by the minute: with the second, every chart would be drawn anew each second. */
  const { minute } = live
  const curve = computed<CurveView | null>(() => {
    const answer = polled.value.value
    if (!answer || answer.name !== name.value) return null
    const { forecast } = answer
    if (answer.series)
      return { series: readable(answer.series), band: [], error: null, missing: forecast?.detail ?? null }
    if (!forecast) return null
    const now = minute.value
    const inside = (point: { ts_ms: number }) =>
      point.ts_ms >= hourOf(now) - HOURS * HOUR_MS && point.ts_ms <= hourOf(now) + AHEAD_H * HOUR_MS
    const points = forecast.actual.filter((point) => inside(point) && point.ts_ms <= now)
    return {
      series: {
        name: forecast.name,
        unit: forecast.unit,
        label: forecast.label,
        bucket_s: forecast.bucket_s,
        points,
      },
      band: forecast.points.filter(inside),
      error: forecast.yesterday?.wape ?? null,
      missing: null,
    }
  })
  return { curve, polled, minute }
}

/** The beginning of its hour. */
function hourOf(ms: number): number {
  return Math.floor(ms / HOUR_MS) * HOUR_MS
}

/** Lamp schedules in words, and as a form holds them. */
import type { Lamps, LampsWish } from '../../api/commands'
import { t } from '../../i18n'

/** Heights of the sun with a name; any other stands as its number. */
export const DEGREES = [
  { deg: -0.833, word: 'lamp_deg_set' },
  { deg: -6, word: 'lamp_deg_civil' },
  { deg: 3, word: 'lamp_deg_early' },
] as const
export const LOWEST_DEG = -12
export const HIGHEST_DEG = 6
export const DIMS_MOST = 12

export function degWords(deg: number): string {
  const known = DEGREES.find((one) => one.deg === deg)
  return known ? t(known.word) : t('lamp_deg_other', { n: deg })
}

export function lightWords(when: 'now' | 'next', light: number, at = ''): string {
  if (light <= 0) return t(`lamp_${when}_off`, { at })
  return light >= 100 ? t(`lamp_${when}_full`, { at }) : t(`lamp_${when}_dim`, { n: light, at })
}

export interface LampFields {
  id: string
  zh: string
  en: string
  tags: string
  grids: string[]
  on_deg: number
  off_deg: number
  dims: { at: string; brightness: number | null }[]
  enabled: boolean
}

export function lampFields(lamps: Lamps | null, taken: readonly string[]): LampFields {
  let n = 1
  while (taken.includes(`lamps_${n}`)) n += 1
  return {
    id: lamps?.id ?? `lamps_${n}`,
    zh: lamps?.title.zh ?? '',
    en: lamps?.title.en ?? '',
    tags: lamps?.tags.join(' ') ?? '',
    grids: [...(lamps?.grids ?? [])],
    on_deg: lamps?.on_deg ?? -0.833,
    off_deg: lamps?.off_deg ?? -0.833,
    dims: (lamps?.dims ?? []).map((one) => ({ at: one.at.slice(0, 5), brightness: one.brightness })),
    enabled: lamps?.enabled ?? true,
  }
}

/** As the API takes it. Where nobody gave a name in English, the Chinese one stands there too. */
export function lampWish(fields: LampFields, tags: readonly string[]): LampsWish {
  return {
    title: { zh: fields.zh.trim(), en: fields.en.trim() || fields.zh.trim() },
    tags: [...tags],
    grids: [...fields.grids],
    on_deg: fields.on_deg,
    off_deg: fields.off_deg,
    dims: nightly(fields.dims).map((one) => ({ at: one.at, brightness: one.brightness ?? 100 })),
    enabled: fields.enabled,
  }
}

/** In the order of a night, noon to noon. */
export function nightly<T extends { at: string }>(dims: readonly T[]): T[] {
  const minute = ({ at }: T) => {
    const [h = 0, m = 0] = at.split(':').map(Number)
    return (h * 60 + m + 720) % 1440
  }
  return dims.toSorted((a, b) => minute(a) - minute(b))
}

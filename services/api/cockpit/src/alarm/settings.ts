/** How loud this screen is, and when it is quiet; remembered on this machine. */
import { ref, watch } from 'vue'

export interface SoundSettings {
  on: boolean
  /** 0 to 1. */
  volume: number
  quiet: boolean
  /** hh:mm, in the community's time; over midnight where `from` is later than `to`. */
  from: string
  to: string
}

const KEY = 'linhub.sound'
const CLOCK = /^([01]\d|2[0-3]):[0-5]\d$/
export const DEFAULT: SoundSettings = { on: true, volume: 0.6, quiet: false, from: '22:00', to: '07:00' }

/** What was remembered, with defaults for whatever cannot be used. */
export function readSettings(text: string | null): SoundSettings {
  let found: Partial<Record<keyof SoundSettings, unknown>> = {}
  try {
    const parsed: unknown = JSON.parse(text ?? '{}')
    if (typeof parsed === 'object' && parsed !== null) found = parsed
  } catch {
    return { ...DEFAULT }
  }
  const hour = (value: unknown, otherwise: string) =>
    typeof value === 'string' && CLOCK.test(value) ? value : otherwise
  return {
    on: typeof found.on === 'boolean' ? found.on : DEFAULT.on,
    volume:
      typeof found.volume === 'number' && found.volume >= 0 && found.volume <= 1
        ? found.volume
        : DEFAULT.volume,
    quiet: typeof found.quiet === 'boolean' ? found.quiet : DEFAULT.quiet,
    from: hour(found.from, DEFAULT.from),
    to: hour(found.to, DEFAULT.to),
  }
}

/** Whether hh:mm lies in the quiet hours; from = to: never. */
export function isQuiet(settings: SoundSettings, now: string): boolean {
  if (!settings.quiet || settings.from === settings.to) return false
  if (settings.from < settings.to) return now >= settings.from && now < settings.to
  return now >= settings.from || now < settings.to
}

export const sound = ref<SoundSettings>(
  readSettings(typeof localStorage === 'undefined' ? null : localStorage.getItem(KEY)),
)
watch(sound, (value) => localStorage.setItem(KEY, JSON.stringify(value)), { deep: true })

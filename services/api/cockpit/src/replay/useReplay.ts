/** The cockpit as it was (回放): a moment that is past, fetched as a snapshot and shown in place of the live state. */
import type { ComputedRef, InjectionKey, Ref } from 'vue'
import { computed, inject, onUnmounted, ref, shallowRef } from 'vue'
import { ApiError, api } from '../api/client'
import type { ReplayMark } from '../api/types'
import type { Live } from '../live/useLive'
import { minuteOf } from '../live/useLive'
import type { State } from '../live/state'
import { fromSnapshot } from '../live/state'

/** Seconds of the past a second of playing shows. */
export const SPEEDS = [60, 300, 900] as const
/** Hours that the line spans. */
export const SPANS = [1, 6, 24] as const
const STEP_MS = 1000
const MARKS_EVERY_MS = 60_000
const SETTLE_MS = 160

export interface Replay {
  /** The moment that is shown; null: the present. */
  at: Ref<number | null>
  frame: Ref<State | null>
  from: ComputedRef<number>
  to: ComputedRef<number>
  span: Ref<number>
  marks: Ref<readonly ReplayMark[]>
  playing: Ref<boolean>
  speed: Ref<number>
  failed: Ref<string | null>
  /** False where this account may not look back. */
  able: Ref<boolean>
  seek(ms: number): void
  play(): void
  pause(): void
  leave(): void
}

const REPLAY: InjectionKey<Replay> = Symbol('replay')
export { REPLAY }

/** Where nothing is replayed, such as in the rooms: the present. */
const PRESENT = { at: ref(null) } as unknown as Replay

export function useReplay(): Replay {
  return inject(REPLAY, PRESENT)
}

export function createReplay(community: string, live: Live, permitted: boolean): Replay {
  const at = ref<number | null>(null)
  const frame = shallowRef<State | null>(null)
  const span = ref<number>(24)
  const marks = shallowRef<readonly ReplayMark[]>([])
  const playing = ref(false)
  const speed = ref<number>(SPEEDS[1])
  const failed = ref<string | null>(null)
  const able = ref(permitted)
  /** The line's right end stands still while somebody looks back. */
  const anchor = ref<number | null>(null)
  let wanted: number | null = null
  let asking = false
  let settle: ReturnType<typeof setTimeout> | undefined
  let stepper: ReturnType<typeof setInterval> | undefined

  const { minute } = live
  const to = computed(() => anchor.value ?? minute.value)
  const from = computed(() => to.value - span.value * 3_600_000)

  /** One question at a time, always for the latest wish. */
  async function fetchWanted(): Promise<void> {
    if (asking) return
    asking = true
    try {
      while (wanted !== null && at.value !== null) {
        const ms = wanted
        wanted = null
        try {
          const past = await api.replay(community, new Date(ms))
          const now = live.state.value
          if (at.value === null || !now) return
          // The plan is today's; everything on it is of then.
          const { plan, build, cursor } = now
          frame.value = fromSnapshot(
            {
              ...past,
              cursor,
              build,
              plan,
              community: now.community,
              kpis: { at: past.at, items: past.kpis },
            },
            null,
          )
          failed.value = null
        } catch (error) {
          if (!(error instanceof ApiError)) throw error
          failed.value = error.message
          playing.value = false
        }
      }
    } finally {
      asking = false
    }
  }

  function show(ms: number, soon: boolean): void {
    anchor.value ??= minute.value
    at.value = Math.min(Math.max(ms, from.value), to.value)
    wanted = at.value
    clearTimeout(settle)
    if (soon) settle = setTimeout(() => void fetchWanted(), SETTLE_MS)
    else void fetchWanted()
  }

  function pause(): void {
    playing.value = false
    clearInterval(stepper)
  }

  function play(): void {
    if (at.value === null || at.value >= to.value) show(from.value, false)
    pause()
    playing.value = true
    stepper = setInterval(() => {
      if (at.value === null || !playing.value) return pause()
      // Waiting for an answer, the past stands still: nothing is skipped.
      if (asking) return
      const next = at.value + speed.value * STEP_MS
      show(next, false)
      if (next >= to.value) pause()
    }, STEP_MS)
  }

  function leave(): void {
    pause()
    clearTimeout(settle)
    at.value = null
    anchor.value = null
    frame.value = null
    failed.value = null
    wanted = null
    void loadMarks()
  }

  async function loadMarks(): Promise<void> {
    if (!able.value || live.status.value !== 'live' || anchor.value !== null) return
    try {
      marks.value = await api.replayMarks(community, new Date(to.value - 24 * 3_600_000), new Date(to.value))
    } catch (error) {
      if (!(error instanceof ApiError)) throw error
      if (error.status === 403 || error.status === 404) able.value = false
    }
  }

  const timer = setInterval(() => void loadMarks(), MARKS_EVERY_MS)
  setTimeout(() => void loadMarks(), 2000)
  onUnmounted(() => {
    pause()
    clearTimeout(settle)
    clearInterval(timer)
  })

  return {
    at,
    frame,
    from,
    to,
    span,
    marks,
    playing,
    speed,
    failed,
    able,
    seek: (ms) => show(ms, true),
    play,
    pause,
    leave,
  }
}

/** The live community, or in its place the moment that is replayed: for everything that is looked at, nothing that acts. */
export function shownBy(live: Live, replay: Replay): Live {
  return {
    ...live,
    state: computed(() =>
      replay.at.value === null ? live.state.value : (replay.frame.value ?? live.state.value),
    ) as unknown as Live['state'],
    serverNow: computed(() => replay.at.value ?? live.serverNow.value),
    minute: computed(() => (replay.at.value === null ? live.minute.value : minuteOf(replay.at.value))),
  }
}

/** The page's one live community: its state, how true it is, and the server's clock. */
import type { InjectionKey, Ref, ShallowRef } from 'vue'
import { computed, inject, onUnmounted, ref, shallowReactive, shallowRef } from 'vue'
import type { ApiError } from '../api/client'
import { api } from '../api/client'
import type { Order } from '../api/types'
import type { LinkStatus } from './link'
import { Link } from './link'
import { canShare, openSource } from './sharedSource'
import type { State } from './state'
import { fold, fromSnapshot } from './state'
import { takeTurns } from './turns'

/** Seconds of silence after which the page calls itself stale; the server's heart beats every 5. */
export const STALE_AFTER_S = 15

export interface Live {
  /** Each part is watched by itself: what reads the orders is not drawn anew because a device spoke. */
  state: ShallowRef<State | null>
  status: Ref<LinkStatus>
  /** This machine's clock when the server last spoke. */
  heardAt: Ref<number>
  /** Ticks each second: this machine's clock. */
  now: Ref<number>
  /** The server's clock now, epoch ms: what deadlines are measured by. */
  serverNow: Ref<number>
  /** The beginning of the server's minute: for what need not be drawn anew each second. */
  minute: Ref<number>
  staleAfterMs: number
  /** The server runs another build than this page: it is loaded anew when all is quiet. */
  outdated: Ref<boolean>
  /** Joins at once where the link is not well. */
  hurry(): void
  /** Folds in what the server answered to this page, ahead of the stream. */
  learn(order: Order): void
}

export const LIVE: InjectionKey<Live> = Symbol('live')

export function useLive(): Live {
  const live = inject(LIVE)
  if (!live) throw new Error('no live community above this component')
  return live
}

export function minuteOf(ms: number): number {
  return Math.floor(ms / 60_000) * 60_000
}

export function createLive(
  community: string,
  /** Who looks: streams are shared among this account's tabs alone. */
  reader: string,
  staleAfterS: number,
  onRefused: (error: ApiError) => void,
): Live {
  let known: State | null = null
  const state = shallowRef<State | null>(null)
  const status = ref<LinkStatus>('connecting')
  const heardAt = ref(0)
  const now = ref(Date.now())
  const offset = ref(0)
  const outdated = ref(false)
  const staleAfterMs = staleAfterS * 1000

  const link = new Link(
    {
      snapshot: (limitS) => api.snapshot(community, limitS),
      open: (cursor, at) =>
        openSource(`${reader} ${community}`, api.streamUrl(community, cursor), cursor, at),
      now: Date.now,
      after: (ms, run) => {
        const timer = setTimeout(run, ms)
        return () => clearTimeout(timer)
      },
      random: Math.random,
    },
    {
      onSnapshot(snapshot) {
        if (known && snapshot.build !== known.build) outdated.value = true
        heard(snapshot.at)
        show(fromSnapshot(snapshot, known))
      },
      onEvent(event, cursor) {
        if (!known) return
        if (event.type === 'hello' && event.data.build !== known.build) outdated.value = true
        if (event.type === 'hello' || event.type === 'hb') heard(event.data.at)
        else heardAt.value = Date.now()
        show(fold(known, event, cursor))
      },
      onStatus: (value) => (status.value = value),
      onRefused,
    },
    staleAfterMs,
  )

  function show(next: State): void {
    known = next
    if (state.value) Object.assign(state.value, next)
    else state.value = shallowReactive({ ...next })
  }

  function heard(at: string): void {
    heardAt.value = Date.now()
    offset.value = Date.parse(at) - heardAt.value
  }

  const tick = setInterval(() => (now.value = Date.now()), 1000)
  const hurry = () => {
    if (document.visibilityState === 'visible') link.hurry()
  }
  document.addEventListener('visibilitychange', hurry)
  // A page that the browser had frozen: nothing ran in it meanwhile, not even its watchdog.
  document.addEventListener('resume', hurry)
  addEventListener('online', hurry)
  const leave = canShare()
    ? null
    : takeTurns(`${reader} ${community}`, { take: () => link.start(), rest: () => link.stop() })
  if (!leave) link.start()
  onUnmounted(() => {
    clearInterval(tick)
    document.removeEventListener('visibilitychange', hurry)
    document.removeEventListener('resume', hurry)
    removeEventListener('online', hurry)
    leave?.()
    link.stop()
  })

  const serverNow = computed(() => now.value + offset.value)

  return {
    state,
    status,
    heardAt,
    now,
    serverNow,
    minute: computed(() => minuteOf(serverNow.value)),
    staleAfterMs,
    outdated,
    hurry: () => link.hurry(),
    learn: (order) => {
      if (known) show(fold(known, { type: 'order', data: order }))
    },
  }
}

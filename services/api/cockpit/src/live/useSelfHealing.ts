/** A wall that nobody looks after: it keeps awake, notices that it slept, loads a new build when all is quiet. */
import type { Ref } from 'vue'
import { onUnmounted, ref, watch } from 'vue'
import type { Live } from './useLive'

const LOOK_MS = 5_000
/** A tick this late means that the machine slept or the page was stopped. */
const SLEPT_MS = 20_000
/** A page that goes on failing is loaded again, at most this often. */
const RELOAD_EVERY_MS = 5 * 60_000
const FAULTS_BEFORE_RELOAD = 3
const FAULT_WINDOW_MS = 60_000
const RELOADED_AT = 'linhub.reloaded'

export interface Healing {
  /** A new build waits for a quiet moment. */
  waiting: Ref<boolean>
}

/** Whether so many faults lately warrant loading the page anew. */
export function tooMany(faults: readonly number[], now: number, reloadedAt: number): boolean {
  const lately = faults.filter((at) => now - at < FAULT_WINDOW_MS).length
  return lately >= FAULTS_BEFORE_RELOAD && now - reloadedAt >= RELOAD_EVERY_MS
}

export function useSelfHealing(live: Live, wall: Ref<boolean>, busy: () => boolean): Healing {
  let faults: number[] = []
  let seen = Date.now()
  let lock: WakeLockSentinel | null = null
  const waiting = ref(false)

  function reload(): void {
    sessionStorage.setItem(RELOADED_AT, String(Date.now()))
    location.reload()
  }

  function fault(): void {
    faults = [...faults.slice(-9), Date.now()]
    if (wall.value && tooMany(faults, Date.now(), Number(sessionStorage.getItem(RELOADED_AT) ?? 0))) reload()
  }

  /** The parts of an older build are gone from the server: this page can only become the new one. */
  function partMissing(): void {
    live.outdated.value = true
  }

  async function keepAwake(): Promise<void> {
    if (!wall.value || document.visibilityState !== 'visible' || (lock && !lock.released)) return
    // Only on https and this machine itself; elsewhere the screen's own settings decide.
    lock = (await navigator.wakeLock?.request('screen').catch(() => null)) ?? null
  }

  const timer = setInterval(() => {
    const now = Date.now()
    if (now - seen > SLEPT_MS + LOOK_MS) live.hurry()
    seen = now
    waiting.value = live.outdated.value && busy()
    if (live.outdated.value && !busy()) reload()
  }, LOOK_MS)
  const shown = () => void keepAwake()
  const release = () => {
    void lock?.release().catch(() => undefined)
    lock = null
  }
  watch(wall, (on) => (on ? void keepAwake() : release()), { immediate: true })
  document.addEventListener('visibilitychange', shown)
  addEventListener('error', fault)
  addEventListener('unhandledrejection', fault)
  addEventListener('vite:preloadError', partMissing)
  onUnmounted(() => {
    clearInterval(timer)
    release()
    document.removeEventListener('visibilitychange', shown)
    removeEventListener('error', fault)
    removeEventListener('unhandledrejection', fault)
    removeEventListener('vite:preloadError', partMissing)
  })
  return { waiting }
}

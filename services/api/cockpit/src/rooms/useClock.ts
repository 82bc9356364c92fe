/** The server's time on this page, each second: what counts down to an expiry goes by the clock that decides. */
import type { Ref } from 'vue'
import { onMounted, onUnmounted, ref } from 'vue'

export interface ServerClock {
  now: Ref<number>
  /** The `Date` of an answer: HTTP writes whole seconds. */
  heard(date: string | null): void
}

export function useClock(): ServerClock {
  const now = ref(Date.now())
  let ahead = 0
  let timer = 0
  const tick = () => (now.value = Date.now() + ahead)
  function heard(date: string | null): void {
    const said = date === null ? NaN : Date.parse(date)
    if (Number.isNaN(said)) return
    const off = said - Date.now()
    // A whole second is the header's own grain.
    if (Math.abs(off - ahead) > 1500) ahead = off
    tick()
  }
  onMounted(() => (timer = window.setInterval(tick, 1000)))
  onUnmounted(() => window.clearInterval(timer))
  return { now, heard }
}

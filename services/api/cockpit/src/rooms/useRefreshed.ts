/** Asked again and again while it is looked at: soon while something is under way, seldom else, at once on coming back. */
import type { Ref, ShallowRef } from 'vue'
import { onMounted, onUnmounted, ref, shallowRef } from 'vue'
import { ApiError } from '../api/client'
import { inWords } from '../lib/refusals'

const SOON_MS = 2000
const SELDOM_MS = 10_000

export interface Refreshed<T> {
  value: ShallowRef<T | null>
  /** Why what is shown is older than it should be; empty: it is not. */
  trouble: Ref<string>
  /** When it was answered, by this machine's clock. */
  at: Ref<number>
  again(): Promise<void>
}

export function useRefreshed<T>(ask: () => Promise<T>, underWay: (value: T) => boolean): Refreshed<T> {
  const value = shallowRef<T | null>(null)
  const trouble = ref('')
  const at = ref(0)
  let turn = 0
  let timer = 0
  let over = false

  async function again(): Promise<void> {
    window.clearTimeout(timer)
    const mine = ++turn
    try {
      const answer = await ask()
      if (mine !== turn || over) return
      value.value = answer
      at.value = Date.now()
      trouble.value = ''
    } catch (error) {
      if (!(error instanceof ApiError)) throw error
      if (mine !== turn || over) return
      trouble.value = inWords(error)
    }
    const soon = value.value === null || underWay(value.value)
    timer = window.setTimeout(look, soon ? SOON_MS : SELDOM_MS)
  }

  /** Nobody looks: the next look is when somebody comes back. */
  function look(): void {
    if (!document.hidden) void again()
  }
  function seen(): void {
    if (!document.hidden && Date.now() - at.value > SOON_MS) void again()
  }

  onMounted(() => {
    document.addEventListener('visibilitychange', seen)
    void again()
  })
  onUnmounted(() => {
    over = true
    window.clearTimeout(timer)
    document.removeEventListener('visibilitychange', seen)
  })
  return { value, trouble, at, again }
}

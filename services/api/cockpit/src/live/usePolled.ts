/** What is asked for again and again beside the live stream: gently, while somebody looks and the link is up. */
import type { Ref, ShallowRef } from 'vue'
import { onScopeDispose, ref, shallowRef, watch } from 'vue'
import { ApiError } from '../api/client'
import type { Live } from './useLive'

export interface Polled<T> {
  value: ShallowRef<T | null>
  /** This machine's clock at the latest answer; 0 before the first. */
  at: Ref<number>
  /** The last question went unanswered, or the server says that this is not for this account. */
  failed: Ref<boolean>
  refused: Ref<boolean>
  again(): Promise<void>
}

/** Up to a fifth earlier or later, so that a hundred walls do not ask in the same second. */
const JITTER = 0.2
/**
 * After a loss, what is shown already is asked for anew within so long, at random: two hundred walls come back together,
 * and each of them needs its snapshot and its stream first. Until then a tile says its age.
 */
export const RETURN_MS = 5_000

export function usePolled<T>(live: Live, everyMs: number, ask: () => Promise<T>): Polled<T> {
  const value = shallowRef<T | null>(null)
  const at = ref(0)
  const failed = ref(false)
  const refused = ref(false)
  let turn = 0
  let timer: ReturnType<typeof setTimeout> | undefined
  let over = false

  async function again(): Promise<void> {
    clearTimeout(timer)
    const mine = ++turn
    if (live.status.value === 'live' && !refused.value) {
      try {
        const answer = await ask()
        if (mine !== turn || over) return
        value.value = answer
        at.value = Date.now()
        failed.value = false
      } catch (error) {
        if (mine !== turn || over) return
        if (!(error instanceof ApiError)) throw error
        failed.value = true
        refused.value = error.status === 403 || error.status === 404
      }
    }
    wait(everyMs * (1 - JITTER / 2 + Math.random() * JITTER))
  }

  function wait(ms: number): void {
    clearTimeout(timer)
    timer = setTimeout(() => void again(), ms)
  }

  function joined(): void {
    if (at.value === 0) void again()
    else wait(Math.random() * RETURN_MS)
  }

  watch(live.status, (status) => status === 'live' && joined(), { immediate: true })
  onScopeDispose(() => {
    over = true
    clearTimeout(timer)
  })
  return { value, at, failed, refused, again }
}

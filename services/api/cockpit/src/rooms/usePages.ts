/** A list read page by page, newest first: a new look begins anew, "more" goes on where the last page ended. */
import type { Ref, ShallowRef } from 'vue'
import { ref, shallowRef } from 'vue'
import { ApiError } from '../api/client'
import { inWords } from '../lib/refusals'

export interface Pages<T> {
  rows: ShallowRef<readonly T[] | null>
  next: Ref<string | null>
  busy: Ref<boolean>
  trouble: Ref<string>
  again(): Promise<void>
  more(): Promise<void>
}

export function usePages<T>(
  ask: (cursor: string | null) => Promise<{ items: T[]; next: string | null }>,
): Pages<T> {
  const rows = shallowRef<readonly T[] | null>(null)
  const next = ref<string | null>(null)
  const busy = ref(false)
  const trouble = ref('')
  /** Only the newest question is answered: what an earlier one brings is of another filter. */
  let turn = 0

  async function read(cursor: string | null): Promise<void> {
    const mine = ++turn
    busy.value = true
    try {
      const page = await ask(cursor)
      if (mine !== turn) return
      rows.value = cursor === null ? page.items : [...(rows.value ?? []), ...page.items]
      next.value = page.next
      trouble.value = ''
    } catch (error) {
      if (!(error instanceof ApiError)) throw error
      if (mine !== turn) return
      trouble.value = inWords(error)
      rows.value ??= []
    } finally {
      if (mine === turn) busy.value = false
    }
  }

  return {
    rows,
    next,
    busy,
    trouble,
    again: () => read(null),
    more: async () => {
      if (next.value !== null) await read(next.value)
    },
  }
}

/** What is worked out anew with each batch and is mostly the same: who reads it is drawn anew when it is not. */
import type { ComputedRef } from 'vue'
import { computed } from 'vue'

/** Keeps the answer of before where the new one says the same; `T` is plain data. */
export function steady<T>(find: () => T): ComputedRef<T> {
  let words: string | undefined
  return computed<T>((before) => {
    const now = find()
    const said = JSON.stringify(now)
    if (before !== undefined && said === words) return before
    words = said
    return now
  })
}

/** Keeps the list of before where the new one holds the very same things in the same order. */
export function steadyList<T>(find: () => readonly T[]): ComputedRef<readonly T[]> {
  return computed<readonly T[]>((before) => {
    const now = find()
    const same = before?.length === now.length && now.every((one, index) => one === before[index])
    return same ? before : now
  })
}

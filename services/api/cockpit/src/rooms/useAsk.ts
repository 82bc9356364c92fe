/** Asking the API from a room: one question at a time, its trouble in the reader's words. */
import type { Ref } from 'vue'
import { ref } from 'vue'
import { ApiError } from '../api/client'
import { inWords } from '../lib/refusals'

export interface Asking {
  busy: Ref<boolean>
  trouble: Ref<string>
  /** Runs it; undefined, with `trouble` set, where the API refused or could not be reached. */
  ask<T>(question: () => Promise<T>): Promise<T | undefined>
}

export function useAsk(): Asking {
  const busy = ref(false)
  const trouble = ref('')
  async function ask<T>(question: () => Promise<T>): Promise<T | undefined> {
    busy.value = true
    trouble.value = ''
    try {
      return await question()
    } catch (error) {
      if (!(error instanceof ApiError)) throw error
      trouble.value = inWords(error)
      return undefined
    } finally {
      busy.value = false
    }
  }
  return { busy, trouble, ask }
}

/** Asks again and again until there is an answer: nobody stands by a wall to press a button. */
import { backoffMs } from './link'

const FIRST_MS = 1_000
export const LONGEST_MS = 30_000

export interface Retry {
  /** After a failure: once more, later than the last time. `leastS`: what the server asked to be waited. */
  later(leastS?: number | null): void
  /** At once, if something waits: the network came back. False: nothing does. */
  hurry(): boolean
  /** It has worked, or is not wanted any more: the next failure waits shortly again. */
  done(): void
}

/** No answer, too many questions, or a server that cannot answer now; another refusal stays one. */
export function isAway(status: number): boolean {
  return status === 0 || status === 429 || status >= 500
}

export function createRetry(run: () => void, random: () => number = Math.random): Retry {
  let attempt = 0
  let timer: ReturnType<typeof setTimeout> | undefined

  function go(): void {
    clearTimeout(timer)
    timer = undefined
    run()
  }

  return {
    later(leastS = null) {
      clearTimeout(timer)
      const wait = Math.max(backoffMs(attempt, random(), FIRST_MS, LONGEST_MS), (leastS ?? 0) * 1000)
      attempt += 1
      timer = setTimeout(go, Math.min(wait, LONGEST_MS))
    },
    hurry() {
      if (timer === undefined) return false
      go()
      return true
    },
    done() {
      clearTimeout(timer)
      timer = undefined
      attempt = 0
    },
  }
}
